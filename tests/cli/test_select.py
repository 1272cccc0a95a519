"""``fastgmm select``: what it tries, prints, writes and refuses."""

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import csv, parquet
from sklearn.datasets import load_iris

import fastgmm
from fastgmm.cli.fit_with_progress import SearchProgress
from fastgmm.cli.interruption import Interrupted
from tests.cli_process import in_here, refuse, succeed

COLUMNS = ["sepal_length", "sepal_width", "petal_length", "petal_width"]
FEW = ("-k", "1:3", "--structures", "EEE,VEV,VVV", "-q")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("select")
    X = load_iris().data
    parquet.write_table(pa.table({n: X[:, j] for j, n in enumerate(COLUMNS)}), folder / "i.parquet")
    np.save(folder / "iris.npy", X)
    holes = X.copy()
    holes[7, 1] = np.nan
    np.save(folder / "holes.npy", holes)
    np.save(folder / "same.npy", np.ones((20, 2)))
    return folder


def search(X=None, **parameters):
    given = {"structures": ["EEE", "VEV", "VVV"], **parameters}
    return fastgmm.MixtureSearch([1, 2, 3], **given).fit(load_iris().data if X is None else X)


def test_the_best_are_printed_and_the_best_is_saved(folder):
    text = succeed("select", "i.parquet", *FEW, "-o", "best.fgm", cwd=folder)
    expected = search()
    lines = [line.split() for line in text.splitlines() if line.strip()]
    assert lines[0][:3] == ["structure", "components", "parameters"]
    assert lines[2][:3] == ["VEV", "2", "26"]
    assert [line[0] for line in lines[2:11]].count("VVV") == 3
    bic = [float(line[4]) for line in lines[2:11]]
    assert bic == sorted(bic)
    assert f"2 components, VEV, BIC {expected.best_score_:.2f}" in text
    assert "9 of 9 could be fitted" in text
    loaded = fastgmm.load(folder / "best.fgm")
    np.testing.assert_allclose(loaded.means_, expected.best_estimator_.means_, rtol=1e-9)
    assert list(loaded.feature_names_in_) == COLUMNS


def test_factor_analyzers_are_among_the_candidates(folder):
    options = ("-k", 1, "--structures", "CCU,EEE", "--n-factors", 1, "-q", "-o", "t.csv")
    text = succeed("select", "iris.npy", *options, "-o", "factors.fgm", "--force", cwd=folder)
    assert "CCU, q=1" in text
    table = pd.read_csv(folder / "t.csv").set_index("covariance_type")
    assert table.n_factors.to_dict() == {"CCU": 1, "EEE": 0}
    fitted = "fit", "iris.npy", "-k", 2, "--covariance-type", "UUU", "--n-factors", 1, "--seed", 0
    text = succeed(*fitted, "-o", "fitted.fgm", cwd=folder)
    assert "2 components, UUU" in text
    X = load_iris().data
    expected = fastgmm.GaussianMixture(2, covariance_type="UUU", n_factors=1, random_state=0).fit(X)
    loaded = fastgmm.load(folder / "fitted.fgm")
    np.testing.assert_array_equal(loaded.factor_loadings_, expected.factor_loadings_)


@pytest.mark.parametrize("output", ["table.csv", "table.parquet", "-"])
def test_the_table_has_all_candidates_the_best_first(folder, output):
    text = succeed("select", "iris.npy", *FEW, "-o", output, cwd=folder)
    if output == "-":
        lines = text.splitlines()
        assert lines[0].startswith("covariance_type,n_components,n_parameters,log_likelihood,bic,")
        assert len(lines) == 10
        return
    path = folder / output
    table = (csv.read_csv if path.suffix == ".csv" else parquet.read_table)(path).to_pydict()
    expected = search().results_
    assert list(table) == list(expected)
    assert table["bic"] == sorted(table["bic"])
    found, wanted = (
        {(name, number): bic for name, number, bic in zip(*columns, strict=True)}
        for columns in (
            [each[name] for name in ("covariance_type", "n_components", "bic")]
            for each in (table, expected)
        )
    )
    assert found == pytest.approx(wanted, rel=1e-5)  # the tolerance of the fits


def test_as_json_by_another_criterion(folder):
    options = ("--criterion", "icl", "--json")
    document = json.loads(succeed("select", "iris.npy", *FEW, *options, cwd=folder))
    expected = search(criterion="icl")
    score = pytest.approx(expected.best_score_, rel=1e-12)
    assert document["best"] == {**expected.best_params_, "icl": score}
    assert document["n_samples"] == 150
    assert len(document["candidates"]) == 9
    assert document["candidates"][0]["icl"] == score


def test_numbers_and_structures_of_any_choice(folder):
    options = ("-k", "4,1:2,2", "--structures", "VII", "-q", "--json")
    document = json.loads(succeed("select", "iris.npy", *options, cwd=folder))
    numbers = sorted(each["n_components"] for each in document["candidates"])
    assert numbers == [1, 2, 4]
    assert {each["covariance_type"] for each in document["candidates"]} == {"VII"}


def test_candidates_without_a_maximum_are_last_and_say_why(folder):
    X = load_iris().data
    np.save(folder / "flat.npy", np.column_stack([X, X[:, 0]]))
    options = ("-k", 2, "--structures", "VVV,VVI", "-q", "--json")
    document = json.loads(succeed("select", "flat.npy", *options, cwd=folder))
    first, last = document["candidates"]
    assert first["covariance_type"] == "VVI"
    assert last["bic"] is None
    assert "the likelihood has no maximum" in last["failure"]
    text = succeed("select", "flat.npy", *options[:-1], cwd=folder)
    assert "1 of 2 could be fitted" in text
    assert "VVV" not in text


def test_rows_that_lack_values_may_be_left_out(folder):
    options = ("--missing", "drop", "--json")
    document = json.loads(succeed("select", "holes.npy", *FEW, *options, cwd=folder))
    expected = search(np.delete(load_iris().data, 7, axis=0))
    assert document["best"]["bic"] == pytest.approx(expected.best_score_, rel=1e-12)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("missing.npy", "there is no file 'missing.npy'"),
        ("holes.npy", "column 'x1' in row 7, counted from 0, is missing"),
        ("iris.npy -k 0:3", "must be numbers from 1 on, as 1:9 for those from 1 to 9"),
        ("iris.npy -k 5:3", "must be numbers from 1 on"),
        ("iris.npy -k many", "must be numbers from 1 on, as 1:9 for those from 1 to 9, or 2,4,8"),
        ("iris.npy --structures VVV,round", "--structures must be all, or some of full"),
        ("iris.npy --criterion gap", "'gap' is not one of 'bic', 'aic', 'icl'"),
        ("iris.npy -o table.npy", "take .csv or .parquet"),
        ("iris.npy -o table.txt", "must end in one of"),
        ("iris.npy -o nowhere/table.csv", "there is no folder 'nowhere'"),
        ("iris.npy -o best.npz", "must end in one of .npy, .csv, .parquet"),
        ("iris.npy -o - --json", "--output - and --json both write to standard output"),
        ("iris.npy --columns x0,x9", "has no column 'x9'"),
        ("same.npy -k 2 --structures VVV", "none of the mixtures could be fitted"),
    ],
)
def test_refused(folder, arguments, words):
    assert words in refuse("select", *arguments.split(), "-q", cwd=folder)


def test_a_failed_run_leaves_the_old_results(folder):
    options = ("-o", "kept.csv", "-o", "kept.fgm")
    succeed("select", "iris.npy", *FEW, *options, cwd=folder)
    before = [(folder / name).read_bytes() for name in options[1::2]]
    refuse("select", "holes.npy", *FEW, *options, cwd=folder)
    assert [(folder / name).read_bytes() for name in options[1::2]] == before
    assert not list(folder.glob(".*"))


def test_reading_is_shown_where_it_takes_long(folder, monkeypatch):
    monkeypatch.setattr("fastgmm.cli.fit_with_progress._SECONDS_BETWEEN_LINES", 0.0)
    outcome = in_here("select", "i.parquet", *FEW[:-1], cwd=folder)
    assert outcome.returncode == 0
    assert outcome.stderr.startswith("reading: 150 rows of 150")


def test_the_time_left_does_not_count_what_comes_before_the_first_candidate(monkeypatch, capsys):
    times = iter([0.0, 100.0, 103.0, 106.0])  # two candidates are known after 100 s
    monkeypatch.setattr("fastgmm.cli.fit_with_progress.time.monotonic", lambda: next(times))
    monkeypatch.setattr(SearchProgress, "_line", lambda _, text: print(text))
    progress = SearchProgress("starting", quiet=True)
    for done in (2, 4, 10):
        progress.add_candidate(SimpleNamespace(counts=(done, 10)))
    assert capsys.readouterr().out.splitlines() == [
        "2 of 10 candidates",
        "4 of 10 candidates, about 9 s left",
        "10 of 10 candidates, comparing the best",
    ]


def test_a_search_that_is_interrupted_leaves_the_best_of_what_is_known(folder, monkeypatch):
    def add_candidate(progress, known):
        progress.known = known
        if known.counts == (4, 6):
            raise Interrupted(2)

    monkeypatch.setattr("fastgmm.cli.fit_with_progress.SearchProgress.add_candidate", add_candidate)
    options = ("--structures", "EII,VVV", "--reg-covar", 1e-6, "--checkpoint", "search.fgm")
    arguments = ("select", "iris.npy", "-k", "1:3", *options, "-o", "part.fgm", "-o", "part.csv")
    outcome = in_here(*arguments, cwd=folder)
    assert outcome.returncode == 130
    assert "interrupted: 4 candidates are fitted so far" in outcome.stderr
    assert "4 of 6 could be fitted" in outcome.stdout
    table = pd.read_csv(folder / "part.csv")
    assert table["failure"].notna().sum() == 2
    kept = fastgmm.load(folder / "part.fgm")
    assert (kept.covariance_type, kept.n_components) == tuple(
        table.loc[0, ["covariance_type", "n_components"]]
    )
    monkeypatch.undo()
    assert "candidates     4" in succeed("info", "search.fgm", cwd=folder)
    text = succeed(*arguments, "--resume", "-q", cwd=folder)
    assert "6 of 6 could be fitted" in text


def test_says_how_many_are_shown_and_when_the_best_is_the_largest(folder):
    options = ("-k", "1:2", "--structures", "EII,VII,EEI,VEI,EVI,VVI", "-q")
    text = succeed("select", "iris.npy", *options, cwd=folder)
    assert "12 of 12 could be fitted, 10 of 12 shown" in text
    assert "the best number of components is the largest tried" in text
    text = succeed("select", "iris.npy", *options, "--all", cwd=folder)
    assert "shown" not in text
    assert text.count("VVI") == 3  # two candidates, and the best of all
