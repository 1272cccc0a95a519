"""The commands on data as it comes: many files, standard input, budgets, checkpoints."""

import itertools
import json
import os
import shlex
import signal
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

import fastgmm
from fastgmm.cli.fit_with_progress import FitProgress
from tests.cli_process import COMMAND, TIMEOUT, in_here, in_process, refuse, succeed
from tests.written_data import NAMES, arrow_table, rows, write_csv, write_parquet

posix_only = pytest.mark.skipif(os.name == "nt", reason="Windows sends no such signals")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The same rows in one file, in parts and as CSV; and a model of them."""
    folder = tmp_path_factory.mktemp("large")
    X = rows(6000)
    write_parquet(folder / "whole.parquet", X)
    (folder / "parts").mkdir()
    write_parquet(folder / "parts" / "1.parquet", X[:2500])
    write_parquet(folder / "parts" / "2.parquet", X[2500:])
    write_csv(folder / "rows.csv", X)
    fit(folder, "whole.parquet", "-o", "model.fgm")
    return folder


def fit(folder, *arguments, run=in_here):
    return succeed("fit", *arguments, "-k", 2, "--seed", 0, "-q", cwd=folder, run=run)


def assert_same_model(folder, one, other):
    first, second = (fastgmm.load(folder / name) for name in (one, other))
    np.testing.assert_array_equal(first.means_, second.means_)
    np.testing.assert_array_equal(first.covariances_, second.covariances_)
    np.testing.assert_array_equal(first.trace_, second.trace_)


@pytest.mark.parametrize(
    "data",
    [["parts"], ["parts/*.parquet"], ["parts/1.parquet", "parts/2.parquet"], ["rows.csv"]],
)
def test_paths_patterns_and_folders(folder, data):
    text = fit(folder, *data, "-o", "other.fgm", "--memory", "300kB")
    assert "6000 rows, 3 columns" in text
    assert_same_model(folder, "model.fgm", "other.fgm")


def pipe(folder, source, *arguments):
    with (folder / source).open("rb") as stream:
        return subprocess.run(
            [*COMMAND, *map(str, arguments)],
            cwd=folder,
            stdin=stream,
            capture_output=True,
            check=False,
            timeout=TIMEOUT,
        )


def test_standard_input(folder):
    arguments = ("fit", "-", "-k", 2, "--seed", 0, "-q", "-o", "piped.fgm")
    done = pipe(folder, "rows.csv", *arguments)
    assert done.returncode == 0, done.stderr
    assert_same_model(folder, "model.fgm", "piped.fgm")
    done = pipe(folder, "rows.csv", "predict", "-", "-m", "model.fgm")
    assert done.stdout.decode() == succeed(
        "predict", "whole.parquet", "-m", "model.fgm", cwd=folder
    )


def test_standard_input_that_is_no_table(tmp_path):
    (tmp_path / "text").write_text("a,b\n1,x\n")
    done = pipe(tmp_path, "text", "fit", "-", "-k", 1)
    assert done.returncode == 2
    assert b"standard input" in done.stderr
    assert b"'b' (string, as 'x' in line 2)" in done.stderr


def test_online(folder):
    text = fit(folder, "whole.parquet", "--online", "-o", "online.fgm")
    assert "6000 rows, 3 columns" in text
    online, batch = fastgmm.load(folder / "online.fgm"), fastgmm.load(folder / "model.fgm")
    assert type(online).__name__ == "MiniBatchGaussianMixture"
    order = [np.argsort(model.means_[:, 0]) for model in (online, batch)]
    np.testing.assert_allclose(online.means_[order[0]], batch.means_[order[1]], atol=0.1)
    done = pipe(folder, "rows.csv", "fit", "-", "-k", 2, "--online", "--seed", 0, "-q", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["n_samples"] == 6000


def test_predict_from_many_files_into_one(folder):
    succeed("predict", "parts", "-m", "model.fgm", "-o", "labels.parquet", cwd=folder)
    labels = parquet.read_table(folder / "labels.parquet")["component"].to_numpy()
    model = fastgmm.load(folder / "model.fgm")
    np.testing.assert_array_equal(labels, model.predict(arrow_table(rows(6000))))


def test_rows_with_missing_values_may_be_left_out(tmp_path):
    X = rows(500)
    holes = X.copy()
    holes[7, 1] = np.nan
    write_parquet(tmp_path / "holes.parquet", holes)
    assert "column 'b' in row 7, counted from 0" in refuse(
        "fit", "holes.parquet", "-k", 2, cwd=tmp_path
    )
    text = fit(tmp_path, "holes.parquet", "--missing", "drop")
    assert "499 rows" in text


def test_missing_values_may_be_modeled(tmp_path):
    X = rows(3000)
    holes = X.copy()
    holes[np.random.default_rng(0).random(X.shape) < 0.2] = np.nan
    nulls = {name: pa.array(holes[:, j], from_pandas=True) for j, name in enumerate(NAMES)}
    parquet.write_table(pa.table(nulls), tmp_path / "holes.parquet", row_group_size=700)
    text = fit(tmp_path, "holes.parquet", "--missing", "model", "-o", "model.fgm")
    assert "3000 rows" in text
    fitted = fastgmm.load(tmp_path / "model.fgm")
    expected = fastgmm.GaussianMixture(2, missing="model", random_state=0).fit(holes)
    np.testing.assert_array_equal(fitted.means_, expected.means_)
    np.testing.assert_array_equal(fitted.trace_, expected.trace_)
    command = ("holes.parquet", "-m", "model.fgm")
    document = json.loads(succeed("score", *command, "--json", cwd=tmp_path))
    assert document["log_likelihood"] == fitted.lower_bound_
    succeed("predict", *command, "-o", "labels.parquet", cwd=tmp_path)
    labels = parquet.read_table(tmp_path / "labels.parquet")["component"].to_numpy()
    np.testing.assert_array_equal(labels, expected.predict(holes))
    succeed("impute", *command, "-o", "whole.parquet", cwd=tmp_path)
    table = parquet.read_table(tmp_path / "whole.parquet")
    assert table.column_names == list(NAMES)
    whole = np.column_stack([table[name].to_numpy() for name in NAMES])
    np.testing.assert_array_equal(whole, expected.impute(holes))
    succeed("impute", *command, "--draws", 1, "-o", "drawn.parquet", cwd=tmp_path)
    drawn = parquet.read_table(tmp_path / "drawn.parquet")[NAMES[0]].to_numpy()
    seen = ~np.isnan(holes[:, 0])
    np.testing.assert_array_equal(drawn[seen], X[seen, 0])
    assert np.isfinite(drawn).all()
    assert not np.isin(drawn[~seen], whole[:, 0]).any()


def test_missing_values_of_standard_input_may_be_modeled(tmp_path):
    holes = rows(600)
    holes[::5, 0] = np.nan
    write_csv(tmp_path / "holes.csv", holes)
    options = ("-k", 2, "--seed", 0, "-q", "--missing", "model", "-o", "piped.fgm")
    done = pipe(tmp_path, "holes.csv", "fit", "-", *options)
    assert done.returncode == 0, done.stderr
    fit(tmp_path, "holes.csv", "--missing", "model", "-o", "file.fgm")
    assert_same_model(tmp_path, "piped.fgm", "file.fgm")


def test_damaged_files_may_be_left_out(tmp_path):
    write_parquet(tmp_path / "1.parquet", rows(500))
    (tmp_path / "2.parquet").write_bytes((tmp_path / "1.parquet").read_bytes()[:-50])
    data = ("1.parquet", "2.parquet")
    assert "'2.parquet'" in refuse("fit", *data, "-k", 2, cwd=tmp_path)
    done = in_here("fit", *data, "-k", 2, "-q", "--on-error", "skip", cwd=tmp_path)
    assert done.returncode == 0
    assert done.stderr.startswith("warning: left out because it is damaged:")
    assert "500 rows" in done.stdout


def test_weights_and_columns_by_name(tmp_path):
    X = rows(800)
    table = arrow_table(X).append_column("w", pa.array(np.ones(800)))
    table = table.append_column("kind", pa.array(["x"] * 800))
    parquet.write_table(table, tmp_path / "x.parquet")
    write_parquet(tmp_path / "plain.parquet", X)
    columns = ",".join(NAMES)
    fit(tmp_path, "x.parquet", "--columns", columns, "--weight-column", "w", "-o", "w.fgm")
    fit(tmp_path, "plain.parquet", "-o", "plain.fgm")
    one, other = (fastgmm.load(tmp_path / name) for name in ("w.fgm", "plain.fgm"))
    np.testing.assert_allclose(one.means_, other.means_, rtol=1e-12)


def test_info_of_several_files(folder):
    document = json.loads(succeed("info", "parts", "--json", cwd=folder))
    assert document["n_samples"] == 6000
    assert [column["name"] for column in document["columns"]] == list(NAMES)
    X = rows(6000)
    assert document["columns"][0]["minimum"] == X[:, 0].min()
    assert document["columns"][0]["n_missing"] == 0


# -- checkpoints ----------------------------------------------------------------------------------

ENDLESS = ("fit", "whole.parquet", "-k", 4, "--tol", 0, "--seed", 1, "--max-iter", 10**9)
KEPT = ("--checkpoint", "run.fgm", "--checkpoint-interval", 0)


@posix_only
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_leaves_the_checkpoint_and_resume_continues(tmp_path, number, status):
    write_parquet(tmp_path / "whole.parquet", rows(30_000))
    command = [*COMMAND, *map(str, (*ENDLESS, *KEPT[:2], "-o", "end.fgm"))]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        while not process.stderr.readline().startswith("pass 1:"):
            pass
        process.send_signal(number)
        _, stderr = process.communicate(timeout=TIMEOUT)
    assert process.returncode == status
    assert stderr.splitlines()[-1] == (
        "interrupted: the state of the fit is in 'run.fgm', and --resume continues from it"
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run.fgm", "whole.parquet"]
    trace = json.loads(succeed("info", "run.fgm", "--json", cwd=tmp_path))["trace"]
    whole = (*ENDLESS[:-1], len(trace) + 5, "-q")
    succeed(*whole, *KEPT[:2], "--resume", "-o", "end.fgm", cwd=tmp_path)
    succeed(*whole, "-o", "alone.fgm", cwd=tmp_path)
    assert_same_model(tmp_path, "end.fgm", "alone.fgm")


def test_a_checkpoint_that_is_there_is_not_overwritten(tmp_path):
    write_parquet(tmp_path / "whole.parquet", rows(500))
    arguments = ("fit", "whole.parquet", "-k", 2, *KEPT, "--seed", 0)
    succeed(*arguments, "-q", cwd=tmp_path)
    assert "from it with --resume," in refuse(*arguments, cwd=tmp_path)
    assert "n_components: 2 then, 3 now" in refuse(
        *arguments[:2], "-k", 3, *arguments[4:], "--resume", cwd=tmp_path
    )
    succeed(*arguments, "--resume", "-q", cwd=tmp_path)


QUOTA = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
from fastgmm.cli.application import run
sys.exit(run(sys.argv[1:]))
"""


@posix_only
@pytest.mark.parametrize("name", ["run.fgm", "model.fgm", "labels.csv"])
def test_a_full_disk_leaves_the_old_file_whole(tmp_path, name):
    write_parquet(tmp_path / "whole.parquet", rows(2000))
    fit(tmp_path, "whole.parquet", "-o", "model.fgm")
    command = [*COMMAND, *map(str, (*ENDLESS, *KEPT))]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        while not (tmp_path / "run.fgm").exists():
            assert process.stderr.readline()
        process.kill()
    (tmp_path / "labels.csv").write_bytes(b"old")
    before = (tmp_path / name).read_bytes()
    arguments = {
        "run.fgm": (*ENDLESS, *KEPT, "--resume", "-q"),
        "model.fgm": ("fit", "whole.parquet", "-k", 4, "-q", "-o", name),
        "labels.csv": ("predict", "whole.parquet", "-m", "model.fgm", "-o", name),
    }[name]
    done = subprocess.run(
        [sys.executable, "-c", QUOTA, *map(str, arguments)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert "file too large" in done.stderr
    assert (tmp_path / name).read_bytes() == before
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(f".{name}")]


# -- progress -------------------------------------------------------------------------------------


def test_rates_of_reading(capsys, monkeypatch):
    clock = itertools.count(0.0, 3.0)
    monkeypatch.setattr("fastgmm.cli.fit_with_progress.time.monotonic", lambda: next(clock))
    progress = FitProgress(tolerance=1e-3, max_passes=10, n_starts=1, quiet=False)
    progress._lines = True
    for done in (1_000_000, 2_000_000, 3_000_000):
        progress.add_rows(done, expected=5_000_000, bytes_per_row=32)
    shown = capsys.readouterr().err.splitlines()
    assert "M rows of 5.0M" in shown[-1]
    assert "rows/s" in shown[-1]
    assert "MB/s" in shown[-1]
    assert "left of this pass" in shown[-1]


def test_lines_tell_rates(folder):
    done = in_process("fit", "whole.parquet", "-k", 2, cwd=folder)
    lines = [line for line in done.stderr.splitlines() if not line.startswith("reading")]
    assert lines[0].startswith("pass 1: log-likelihood ")


@posix_only
def test_streams_that_are_closed(folder, tmp_path):
    data = folder / "whole.parquet"
    fit = f"fit {data} -k 2 --max-iter 2 -o {tmp_path / 'model.fgm'}"
    for command, status, output in (
        ("fit - -k 2 <&-", 2, "error: standard input is closed\n"),
        (f"{fit} -q >&-", 2, "error: standard output is closed\n"),
        (f"{fit} --json 2>&-", 0, ""),
    ):
        run = subprocess.run(
            f"{shlex.join(COMMAND)} {command}",
            shell=True, cwd=tmp_path, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert (run.returncode, run.stderr.splitlines(True)[-1:]) == (
            status,
            [output] * bool(output),
        )
