"""Commands on CSV as others write it."""

import json
import re

import numpy as np
import pytest

from fastgmm import GaussianMixture, GaussianMixtureClassifier, GaussianMixtureOutlierDetector
from tests.cli_process import refuse, succeed

OPTIONS = [
    "--decimal",
    ",",
    "--comment",
    "#",
    "--na-values",
    "?,-",
    "--delimiter",
    ";",
    "--encoding",
    "latin-1",
    "--header",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("csv")
    X = np.random.default_rng(0).normal(size=(60, 2)) + 9.0 * (np.arange(60) % 2)[:, None]
    lines = [f"{a};{b};{i % 2}\n".replace(".", ",") for i, (a, b) in enumerate(X.tolist())]
    lines[7] = "?;-;1 # lost\n"
    text = "# by me\nX;Y;größe\n" + "".join(lines)
    (folder / "rows.txt").write_bytes(text.encode("latin-1"))
    known, labels = np.delete(X, 7, axis=0), np.delete(np.arange(60) % 2, 7)
    GaussianMixture(2, missing="model", random_state=0).fit(known).save(folder / "model.fgm")
    GaussianMixtureClassifier(covariance_type="EII").fit(known, labels).save(folder / "kinds.fgm")
    GaussianMixtureOutlierDetector(1, random_state=0).fit(known).save(folder / "usual.fgm")
    return folder


@pytest.mark.parametrize(
    "arguments",
    [
        "fit rows.txt -k 2 --columns X,Y --missing drop --seed 0",
        "select rows.txt -k 1:2 --columns X,Y --structures EII --missing drop -o table.csv",
        "score two.txt -m model.fgm",
        "predict two.txt -m model.fgm -o labels.csv",
        "impute two.txt -m model.fgm -o filled.csv",
        "detect rows.txt -k 1 --columns X,Y --missing drop",
        "detect two.txt -m usual.fgm --missing drop",
        "classify rows.txt -k 1 --label-column größe --structures EII --missing drop",
        "classify two.txt -m kinds.fgm --missing drop",
        "info rows.txt",
        "plot two.txt -m model.fgm -o plot.png --missing drop",
    ],
)
def test_every_command_takes_the_options(folder, arguments):
    text = (folder / "rows.txt").read_text(encoding="latin-1")
    two = [line.rpartition(";")[0] for line in text.splitlines()[1:]]
    (folder / "two.txt").write_text("# by me\n" + "\n".join(two) + "\n", encoding="latin-1")
    command, *others = arguments.split()
    succeed(command, *others, *OPTIONS, cwd=folder)
    refuse(command, *others, cwd=folder)


def test_values_are_those_of_the_file(folder):
    found = json.loads(succeed("info", "rows.txt", "--json", *OPTIONS, cwd=folder))
    assert found["n_samples"] == 60
    assert [column["name"] for column in found["columns"]] == ["X", "Y", "größe"]
    assert [column["n_missing"] for column in found["columns"]] == [1, 1, 0]


def test_a_tab_is_spelled_as_in_shells(folder):
    (folder / "tabs.txt").write_text("1 2\t3\n4 5\t6\n")
    (folder / "numbers.txt").write_text("2020\t2021\n4\t6\n")
    arguments = ("--delimiter", "\\t", "--header", "--json")
    found = json.loads(succeed("info", "numbers.txt", *arguments, cwd=folder))
    assert [column["name"] for column in found["columns"]] == ["2020", "2021"]
    found = json.loads(succeed("info", "numbers.txt", "--no-header", "--json", cwd=folder))
    assert found["n_samples"] == 2


def test_a_row_index_is_left_out_and_said_to_be(folder):
    (folder / "index.csv").write_text(",X,Y\n0,1,2\n1,2,3.5\n2,4,5\n3,2,1\n")
    found = succeed("fit", "index.csv", "-k", "1", cwd=folder)
    assert "columns         X, Y" in found
    assert "left out        '' (row index)" in found
    found = succeed("fit", "index.csv", "-k", "1", "--columns", ",X", cwd=folder)
    assert "2 columns" in found
    assert re.search(r"\n'' +int64, row index", succeed("info", "index.csv", cwd=folder))


def test_options_that_cannot_be(folder):
    message = "--decimal is for CSV, and 'model.fgm' is a model: leave it out"
    assert message in refuse("info", "model.fgm", "--decimal", ",", cwd=folder)
    arguments = ("plot", "-m", "model.fgm", "-o", "x.png", "--no-header")
    assert "--header is for CSV, and no data are given" in refuse(*arguments, cwd=folder)
    np.save(folder / "x.npy", np.zeros((3, 2)))
    found = refuse("fit", "x.npy", "-k", "1", "--na-values", "?", cwd=folder)
    assert "'x.npy' is not CSV, which 'na_values' is for" in found
    assert "delimiter must be one character" in refuse(
        "info", "rows.txt", "--delimiter", "ab", cwd=folder
    )


def test_damage_is_skipped_only_where_a_command_can(tmp_path):
    rows = "".join(f"{a},{b}\n" for a, b in np.random.default_rng(0).normal(size=(50, 2)))
    (tmp_path / "a.csv").write_text("a,b\n" + rows)
    succeed("fit", "a.csv", "-k", 1, "-q", "-o", "m.fgm", cwd=tmp_path)
    (tmp_path / "a.csv").write_text("a,b\n" + rows + "1\n")
    where = "line 52 of 'a.csv': Expected 2 columns, got 1: 1: repair the file"
    shown = refuse("fit", "a.csv", "-k", 1, "-q", "-o", "n.fgm", cwd=tmp_path)
    assert f"{where}, or leave such parts out with --on-error skip" in shown
    shown = refuse("score", "a.csv", "-m", "m.fgm", cwd=tmp_path)
    assert shown.strip().endswith(where)
    succeed("fit", "a.csv", "-k", 1, "-q", "--on-error", "skip", "-o", "n.fgm", cwd=tmp_path)
