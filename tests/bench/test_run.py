import io
import json
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("rich")

from rich.console import Console

from fastgmm.bench import run
from fastgmm.bench.grid import FULL_GRID, Case, quick_grid
from fastgmm.bench.machine import Machine, Peak
from fastgmm.bench.mixture_problem import make_problem
from fastgmm.bench.passes import Passes, Row, measure_case
from fastgmm.bench.report import PLAIN_WIDTH, duration, machine_table, make_console, rows_table
from fastgmm.bench.run import run_benchmark
from fastgmm.cli.application import run as command

PEAK = Peak(129e9, 258e9, 512)
MACHINE = Machine(
    "Abacus 3",
    "Linux",
    2,
    0.1,
    {"float64": PEAK, "float32": PEAK},
    ("openblas 0.3 SkylakeX",),
    {"python": "3.11"},
    "omp",
)


def text_of(renderable):
    console = Console(file=io.StringIO(), width=PLAIN_WIDTH)
    console.print(renderable)
    return console.file.getvalue()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (12.345, "12.3 s"),
        (1.5, "1.50 s"),
        (0.1234, "123 ms"),
        (0.01234, "12.3 ms"),
        (0.0000123, "12.3 µs"),
        (123.4, "123 s"),
        (1e-7, "0.10 µs"),
    ],
)
def test_duration(seconds, text):
    assert duration(seconds) == text


def test_machine():
    text = text_of(machine_table(MACHINE))
    for words in (
        "Abacus 3, 2 threads",
        "258 GFLOP/s, one thread 129 (512-bit vectors)",
        "openblas 0.3 SkylakeX",
    ):
        assert words in text


def test_busy_machine_is_said_to_be_busy():
    assert "busy" not in text_of(machine_table(MACHINE))
    text = text_of(machine_table(replace(MACHINE, load=1.5)))
    assert "1.5 processes wanted to run" in text


def test_console_for_a_file_is_wide_enough(capsys):
    assert make_console().width == PLAIN_WIDTH
    make_console(stderr=True).print("to standard error")
    assert capsys.readouterr().err == "to standard error\n"


def test_rows():
    cases = (
        Case("pass", "full", 1_000_000, 8, 16),
        Case("pass", "full", 1_000, 2, 2, overlap="separated"),
    )
    text = text_of(rows_table([Row(case, 0.03, 0.04, 5) for case in cases], MACHINE))
    line = next(line for line in text.splitlines() if "pass/full/1Mx8" in line)
    assert line.split() == ["pass/full/1Mx8/K16/float64", "30.0", "ms", "33.33", "76.8", "30%"]
    assert "2 standard deviations apart on average (overlapping)" in text
    assert "12 standard deviations apart on average (separated)" in text


def test_share_of_peak_is_that_of_the_type_of_the_data():
    peaks = {"float64": Peak(1, 1e6, 512), "float32": Peak(1, 2e6, 512)}
    case = Case("pass", "full", 1_000, 2, 3, dtype="float32")
    row = Row(case, case.flops / 1e6, 1.0, 1)
    assert row.share_of_peak(replace(MACHINE, peaks=peaks)) == pytest.approx(0.5)


@pytest.mark.parametrize("task", ["pass", "scoring", "k-means"])
def test_a_case_is_timed(task):
    row = measure_case(Case(task, "diag", 500, 2, 3), 0.0)
    assert 0 < row.seconds <= row.median_seconds
    assert row.n_repeats == 1


@pytest.mark.parametrize("task", ["pass", "scoring", "k-means"])
def test_every_run_starts_from_the_start(task):
    case = Case(task, "full", 2_000, 2, 3)
    passes = Passes(case, make_problem(case))

    def results():
        passes.run(2)
        return passes.parameters.means, passes.centers, passes.scores

    for first, second in zip(results(), results(), strict=True):
        np.testing.assert_array_equal(first, second)


class Pretence:
    """Stands in for everything that takes time, and records what was asked for."""

    def __init__(self, monkeypatch):
        self.cases = []
        monkeypatch.setattr(run, "measure_machine", lambda **_: MACHINE)
        monkeypatch.setattr(run, "measure_case", self.measure_case)

    def measure_case(self, case, seconds):
        self.cases.append(case)
        assert seconds > 0
        return Row(case, 1e-3, 2e-3, 7)


@pytest.fixture
def pretence(monkeypatch):
    return Pretence(monkeypatch)


@pytest.fixture
def console():
    return Console(file=io.StringIO(), width=150)


def test_everything_by_default(pretence, console):
    result = run_benchmark(console=console)
    assert tuple(pretence.cases) == FULL_GRID
    assert len(result.rows) == len(FULL_GRID)
    text = console.file.getvalue()
    assert "Abacus 3" in text
    assert "pass/full/1Mx8/K16/float64" in text


def test_quick_runs_the_small_grid(pretence, console):
    assert run_benchmark(quick=True, console=console).quick
    assert tuple(pretence.cases) == quick_grid()


def test_unknown_row(pretence, console):
    with pytest.raises(ValueError, match="'3Mx4' matches no row"):
        run_benchmark(words=["3Mx4"], console=console)
    assert pretence.cases == []


@pytest.mark.usefixtures("pretence")
def test_json_document(console):
    document = json.loads(json.dumps(run_benchmark(words=["scoring"], console=console).to_dict()))
    assert set(document) == {"schema_version", "created", "quick", "machine", "rows"}
    assert document["schema_version"] == 2
    assert document["quick"] is False
    assert document["machine"]["threading_layer"] == "omp"
    (row,) = document["rows"]
    assert set(row) == {
        "id",
        "case",
        "seconds",
        "median_seconds",
        "n_repeats",
        "passes_per_second",
        "flops_per_pass",
        "flops_per_second",
        "share_of_peak",
    }
    assert row["passes_per_second"] == 1000.0


def test_interrupted_run_shows_what_was_measured(pretence, console, monkeypatch):
    def interrupt_second(case, seconds):
        if pretence.cases:
            raise KeyboardInterrupt
        return pretence.measure_case(case, seconds)

    monkeypatch.setattr(run, "measure_case", interrupt_second)
    with pytest.raises(KeyboardInterrupt):
        run_benchmark(console=console)
    # Once as it came in, and once in the table.
    assert console.file.getvalue().count(pretence.cases[0].identifier) == 2


class TestCommand:
    def test_arguments(self, pretence, capsys):
        assert command(["bench", "--rows", "scoring,k-means", "--quick"]) == 0
        assert [case.task for case in pretence.cases] == ["scoring", "k-means"]
        assert "k-means" in capsys.readouterr().out

    @pytest.mark.usefixtures("pretence")
    def test_json_alone_goes_to_standard_output(self, capsys):
        assert command(["bench", "--rows", "scoring", "--json"]) == 0
        captured = capsys.readouterr()
        assert json.loads(captured.out)["rows"]
        assert "Abacus 3" in captured.err

    def test_unknown_row_is_an_error(self, pretence, capsys):
        assert command(["bench", "--rows", "fit"]) == 2
        assert "'fit' matches no row" in capsys.readouterr().err
        assert pretence.cases == []
