import io
import json

import pytest

pytest.importorskip("rich")

from rich.console import Console

from fastgmm.bench import run
from fastgmm.bench.grid import FULL_GRID, quick_grid
from fastgmm.bench.machine import Machine, Rates
from fastgmm.bench.measurement import Figures, Row
from fastgmm.bench.run import run_benchmark
from fastgmm.bench.startup import Startup, StartupError
from fastgmm.bench.subprocesses import WorkerError
from fastgmm.cli.application import run as command

RATES = Rates(129e9, 258e9, 512, 100e9, 200e9)
MACHINE = Machine(
    "Abacus 3",
    "Linux",
    2,
    None,
    {"float64": RATES, "float32": RATES},
    56e9,
    45e9,
    (),
    (),
    {},
    "omp",
)


class Pretence:
    """Stands in for everything that takes time, and records what was asked for."""

    def __init__(self, monkeypatch):
        self.cases, self.peers, self.startups = [], None, 0
        self.own = Figures(seconds=1e-3, memory=1)
        monkeypatch.setattr(run, "_measure_machine", lambda *_: MACHINE)
        monkeypatch.setattr(run, "measure_case", self.measure_case)
        monkeypatch.setattr(run, "measure_startup", self.measure_startup)

    def measure_case(self, case, peers, **_):
        self.cases.append(case)
        self.peers = peers
        if isinstance(self.own, BaseException):
            raise self.own
        return Row(case, {"fastgmm": self.own, **dict.fromkeys(peers, Figures(seconds=0.1))})

    def measure_startup(self, _, n_repeats):
        self.startups += n_repeats
        return Startup(1.0, 0.1, 1.2, 10.0, 0.3)


@pytest.fixture
def pretence(monkeypatch):
    return Pretence(monkeypatch)


@pytest.fixture
def console():
    return Console(file=io.StringIO(), width=150)


def test_everything_by_default(pretence, console):
    result = run_benchmark(console=console)
    assert tuple(pretence.cases) == FULL_GRID
    assert pretence.peers == ("scikit-learn", "oneDAL")
    assert pretence.startups > 0
    assert result.failures == ()
    assert result.targets == ()
    text = console.file.getvalue()
    assert "Abacus 3" in text
    assert "pass/full/1Mx8/K16/float64" in text
    assert "first fit, empty numba cache" in text


def test_quick_runs_the_small_grid(pretence, console):
    assert run_benchmark(quick=True, console=console).quick
    assert tuple(pretence.cases) == quick_grid()


@pytest.mark.parametrize(
    ("rows", "n_cases", "startup"),
    [(["startup"], 0, True), (["scoring"], 1, False), (["scoring", "startup"], 1, True)],
)
def test_chosen_rows(pretence, console, rows, n_cases, startup):
    result = run_benchmark(rows=rows, peers=[], console=console)
    assert len(pretence.cases) == n_cases
    assert (result.startup is not None) == startup


def test_unknown_peer(pretence, console):
    with pytest.raises(ValueError, match="among scikit-learn, oneDAL, got 'MATLAB'"):
        run_benchmark(peers=["MATLAB"], console=console)
    assert pretence.cases == []


def test_unknown_row(pretence, console):
    with pytest.raises(ValueError, match="'3Mx4' matches no row"):
        run_benchmark(rows=["3Mx4"], console=console)
    assert pretence.cases == []


def test_promises_are_for_the_full_sizes(pretence, console):
    with pytest.raises(ValueError, match="leave out quick"):
        run_benchmark(quick=True, check_targets=True, console=console)
    assert pretence.cases == []


def test_promises_are_printed(pretence, console):
    result = run_benchmark(check_targets=True, console=console)
    assert all(target.measured is not None for target in result.targets)
    assert "share of FMA peak, 1,000,000×8, K=16" in console.file.getvalue()
    assert pretence.cases


def test_json_document(pretence, console):
    result = run_benchmark(rows=["scoring", "startup"], check_targets=True, console=console)
    document = json.loads(json.dumps(result.to_dict()))
    assert set(document) == {
        "schema_version",
        "created",
        "quick",
        "machine",
        "rows",
        "startup",
        "targets",
    }
    assert document["schema_version"] == 1
    assert document["quick"] is False
    assert Machine.from_dict(document["machine"]).processor == "Abacus 3"
    (row,) = document["rows"]
    assert set(row) == {
        "id",
        "case",
        "flops_per_pass",
        "competitors",
        "flops_per_second",
        "share_of_peak",
    }
    assert set(row["competitors"]) == {"fastgmm", *pretence.peers}
    assert set(row["competitors"]["oneDAL"]) == {
        "seconds",
        "median_seconds",
        "n_repeats",
        "memory",
        "memory_method",
        "result",
        "arithmetic",
        "note",
        "ratio",
    }
    assert document["startup"]["first_fit_cold"] == 10.0
    assert {"subject", "limit", "unit", "at_least", "measured", "met"} == set(
        document["targets"][0]
    )


def test_own_failures_are_collected(pretence, console):
    pretence.own = Figures(note="failed: it broke")
    result = run_benchmark(rows=["scoring"], console=console)
    assert result.failures == ("scoring/full/1Mx8/K16/float64: failed: it broke",)


def test_failed_startup_is_reported_and_loses_nothing_else(pretence, console, monkeypatch):
    def fail(*_, **__):
        raise StartupError("code 1: no disk [left]")

    monkeypatch.setattr(run, "measure_startup", fail)
    result = run_benchmark(rows=["scoring", "startup"], console=console)
    assert result.failures == ("startup: failed: code 1: no disk [left]",)
    assert len(result.rows) == len(pretence.cases) == 1
    assert "no disk [left]" in console.file.getvalue()


def test_interrupted_run_shows_what_was_measured(pretence, console, monkeypatch):
    def interrupt_second(case, peers, **values):
        if pretence.cases:
            raise KeyboardInterrupt
        return pretence.measure_case(case, peers, **values)

    monkeypatch.setattr(run, "measure_case", interrupt_second)
    with pytest.raises(KeyboardInterrupt):
        run_benchmark(console=console)
    assert pretence.cases[0].identifier in console.file.getvalue()


class TestCommand:
    def test_status_and_arguments(self, pretence, capsys):
        assert command(["bench", "--rows", "scoring,k-means", "--peers", "none", "--quick"]) == 0
        assert [case.task for case in pretence.cases] == ["scoring", "k-means"]
        assert pretence.peers == ()
        assert "k-means" in capsys.readouterr().out

    def test_missed_promise_is_a_failure(self, pretence):
        pretence.own = Figures(seconds=10.0)
        assert command(["bench", "--rows", "scoring", "--check-targets"]) == 1

    def test_own_failure_is_a_failure(self, pretence, capsys):
        pretence.own = Figures(note="failed: it broke")
        assert command(["bench", "--rows", "scoring"]) == 1
        assert "error: scoring/full/1Mx8/K16/float64: failed: it broke" in capsys.readouterr().err

    def test_bad_arguments(self, pretence, capsys):
        assert command(["bench", "--peers", "MATLAB"]) == 2
        assert "got 'MATLAB'" in capsys.readouterr().err
        assert pretence.cases == []

    def test_machine_that_cannot_be_measured(self, pretence, capsys):
        pretence.own = WorkerError("the process ended")
        assert command(["bench", "--rows", "scoring"]) == 2
        assert "error: the process ended" in capsys.readouterr().err


def test_machine_is_measured_in_a_worker_of_its_own(monkeypatch, console):
    class FakeWorker:
        def __init__(self, environment):
            assert environment == {"A": "b"}

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def ask(self, action, **values):
            assert action == "machine"
            assert values["overrides_cleared"] == ["C=d"]
            return {
                "processor": "p",
                "system": "s",
                "n_threads": 1,
                "load": None,
                "rates": {"float64": dict.fromkeys(Rates.__slots__, 1.0)},
                "read_bandwidth": 1.0,
                "triad_bandwidth": 1.0,
                "blas": [],
                "overrides_cleared": ["C=d"],
                "versions": {},
                "threading_layer": "omp",
            }

    monkeypatch.setattr(run, "WorkerProcess", FakeWorker)
    machine = run._measure_machine({"A": "b"}, ("C=d",), run.QUICK_EFFORT, console)
    assert machine.overrides_cleared == ("C=d",)
