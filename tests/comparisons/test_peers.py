import io
import json
from dataclasses import asdict, replace

import pytest
from rich.console import Console

from comparisons import peers
from comparisons.peers import GRID, MEMORY_CASE, QUICK_EFFORT, check_targets, row_line, rows_table
from fastgmm.bench.grid import Case, quick_grid
from fastgmm.bench.machine import Machine, Peak
from fastgmm.bench.report import PLAIN_WIDTH
from harness.lines import megabytes
from harness.measurement import Figures, Row
from harness.throughput import Throughput

PEAK = Peak(5e10, 1e11, 512)
MACHINE = Machine("p", "s", 2, 0.0, {"float64": PEAK, "float32": PEAK}, (), {}, "omp")
THROUGHPUT = Throughput(*[{"float64": 2e9, "float32": 2e9}] * 2, 3e9, 4e9)


def row_of(case):
    seconds = 0.5 if case.dtype == "float32" else 1.0
    return Row(
        case,
        {
            "fastgmm": Figures(seconds=seconds, memory=90_000_000),
            "scikit-learn": Figures(seconds=30 * seconds),
            "oneDAL": Figures(seconds=3 * seconds),
        },
    )


@pytest.fixture
def targets():
    return {target.subject: target for target in check_targets(list(map(row_of, GRID)), MACHINE)}


@pytest.mark.parametrize(
    ("subject", "limit", "measured"),
    [
        ("share of FMA peak, 1,000,000×8, K=16", 30, 2.304),
        ("share of FMA peak, 500,000×16, K=32", 50, 8.704),
        ("share of FMA peak, 10,000×512, K=4", 70, 21.012),
        ("against scikit-learn, 1,000,000×2, K=8", 60, 30),
        ("against scikit-learn, 1,000,000×8, K=16", 60, 30),
        ("against scikit-learn, 500,000×16, K=32", 40, 30),
        ("against scikit-learn, 200,000×32, K=64", 23, 30),
        ("against scikit-learn, 100,000×64, K=32", 12, 30),
        ("against oneDAL, 1,000,000×2, K=8", 1.8, 3),
        ("against oneDAL, 2,000,000×3, K=8", 2.3, 3),
        ("against oneDAL, 1,000,000×8, K=16", 4, 3),
        ("against oneDAL, 500,000×16, K=32", 4.5, 3),
        ("against oneDAL, 200,000×32, K=64", 5, 3),
        ("against oneDAL, 100,000×64, K=32", 4, 3),
        ("diagonal against oneDAL, 1,000,000×16, K=64", 2.5, 3),
        ("diagonal against scikit-learn, 1,000,000×16, K=64", 10, 30),
        ("float32 against oneDAL, 2,000,000×3, K=8", 1.3, 3),
        ("float32 against oneDAL, 1,000,000×8, K=16", 2, 3),
        ("float32 against float64, 1,000,000×8, K=16", 1.7, 2),
        ("memory above the data, fit of 10,000,000×8, K=16", 100, 90),
        ("scoring against scikit-learn, 1,000,000×8, K=16", 40, 30),
    ],
)
def test_every_target_beside_its_figure(targets, subject, limit, measured):
    target = targets[subject]
    assert target.limit == limit
    assert target.measured == pytest.approx(measured, rel=1e-3)
    assert target.met == (measured >= limit if target.at_least else measured <= limit)


def test_targets_without_a_figure_are_neither_met_nor_missed():
    targets = check_targets([], None)
    assert targets
    assert all(target.measured is None and target.met is None for target in targets)


def test_small_data_settles_nothing():
    rows = [row_of(replace(case, n_samples=1_000)) for case in GRID]
    assert all(target.met is None for target in check_targets(rows, MACHINE))


def test_peer_with_other_results_settles_nothing(targets):
    case = GRID[0]
    row = row_of(case)
    row = Row(case, {**row.figures, "oneDAL": Figures(seconds=3.0, note="results differ: …")})
    checked = {target.subject: target for target in check_targets([row], MACHINE)}
    assert targets["against oneDAL, 1,000,000×2, K=8"].met
    assert checked["against oneDAL, 1,000,000×2, K=8"].met is None


REPORTED = replace(MACHINE, peaks=dict.fromkeys(MACHINE.peaks, Peak(129e9, 258e9, 512)))
PEERS = ("scikit-learn", "oneDAL")


def text_of(renderable):
    console = Console(file=io.StringIO(), width=PLAIN_WIDTH)
    console.print(renderable)
    return console.file.getvalue()


def row(case=None, own=None, **peers):
    case = case or Case("pass", "full", 1_000_000, 8, 16)
    names = {"sklearn": "scikit-learn", "onedal": "oneDAL"}
    own = own or Figures(seconds=0.03, memory=600_000)
    return Row(case, {"fastgmm": own, **{names[key]: value for key, value in peers.items()}})


@pytest.mark.parametrize(
    ("n_bytes", "text"), [(None, "–"), (600_000, "0.6 MB"), (782_000_000, "782 MB")]
)
def test_megabytes(n_bytes, text):
    assert megabytes(n_bytes) == text


def test_row_with_its_peers():
    figures = Figures(seconds=1.8, memory=682_000_000)
    text = text_of(rows_table([row(sklearn=figures)], REPORTED, PEERS))
    line = next(line for line in text.splitlines() if "pass/full/1Mx8" in line)
    assert line.split() == [
        "pass/full/1Mx8/K16/float64",
        "30.0",
        "ms",
        "76.8",
        "30%",
        "0.6",
        "MB",
        "1.80",
        "s",
        "682",
        "MB",
        "60.0×",
        "–",
        "–",
        "–",
    ]
    assert "agree to 1e-09 (float32: 0.0001)" in text
    assert "2 standard deviations apart on average (overlapping)" in text


def test_row_on_one_line():
    figures = Figures(seconds=1.8, memory=682_000_000)
    failed = Figures(note="failed: it broke")
    line = row_line(row(sklearn=figures, onedal=failed))
    assert line == (
        "pass/full/1Mx8/K16/float64: 30.0 ms, 0.6 MB, scikit-learn 60.0×, oneDAL failed: it broke"
    )
    assert row_line(row(own=failed)) == "pass/full/1Mx8/K16/float64: failed: it broke"


def test_separated_data_is_said_to_be():
    case = Case("pass", "full", 1_000, 2, 2, overlap="separated")
    text = text_of(rows_table([row(case)], REPORTED, ()))
    assert "12 standard deviations apart on average (separated)" in text


def test_what_is_not_installed_is_said_once():
    missing = Figures(note="not installed: pip install scikit-learn-intelex")
    text = text_of(rows_table([row(onedal=missing), row(onedal=missing)], REPORTED, PEERS))
    assert text.count("oneDAL not installed: pip install scikit-learn-intelex") == 1


def test_failures_and_differences_are_said_with_the_row():
    case = Case("pass", "full", 1_000, 2, 2)
    text = text_of(
        rows_table(
            [
                row(
                    case,
                    sklearn=Figures(seconds=1.0, note="results differ: 1 against 2 of fastgmm"),
                    onedal=Figures(note="failed: it broke"),
                ),
                row(case, own=Figures(note="failed: out of [cheese]")),
            ],
            REPORTED,
            PEERS,
        )
    )
    for words in (
        f"{case.identifier}: scikit-learn results differ: 1 against 2 of fastgmm",
        f"{case.identifier}: oneDAL failed: it broke",
        f"{case.identifier}: fastgmm failed: out of [cheese]",
    ):
        assert words in text


class Pretence:
    """Stands in for everything that takes time, and records what was asked for."""

    def __init__(self, monkeypatch):
        self.cases, self.peers = [], None
        self.own = Figures(seconds=1e-3, memory=1)
        monkeypatch.setattr(peers, "_measure_machine", lambda *_: (MACHINE, THROUGHPUT))
        monkeypatch.setattr(peers, "measure_case", self.measure_case)

    def measure_case(self, case, names, **_):
        self.cases.append(case)
        self.peers = names
        return Row(case, {"fastgmm": self.own, **dict.fromkeys(names, Figures(seconds=0.1))})


@pytest.fixture
def pretence(monkeypatch):
    return Pretence(monkeypatch)


def test_everything_by_default(pretence, capsys):
    peers.main([])
    assert tuple(pretence.cases) == GRID
    assert tuple(pretence.peers) == (*PEERS, "pomegranate")
    text = capsys.readouterr().out
    for words in (
        "triad 4.0 GB/s",
        "GFLOP/s",
        MEMORY_CASE.identifier,
        "share of FMA peak, 1,000,000×8, K=16",
    ):
        assert words in text


def test_small_data_has_no_targets(pretence, capsys):
    assert peers.main(["--quick", "--peers", "none"]) == 0
    assert tuple(pretence.cases) == quick_grid(GRID)
    assert pretence.peers == []
    assert "Targets" not in capsys.readouterr().out


def test_missed_target_is_a_failure(pretence):
    assert peers.main(["--rows", "scoring"]) == 0
    pretence.own = Figures(seconds=10.0)
    assert peers.main(["--rows", "scoring"]) == 1


def test_own_failure_is_a_failure(pretence, capsys):
    pretence.own = Figures(note="failed: it broke")
    assert peers.main(["--rows", "scoring", "--quick"]) == 1
    error = capsys.readouterr().err
    assert "error: scoring/full/50kx8/K16/float64: failed: it broke" in error


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--peers", "MATLAB"], "among scikit-learn, oneDAL, pomegranate, got 'MATLAB'"),
        (["--rows", "3Mx4"], "'3Mx4' matches no row"),
    ],
)
def test_wrong_arguments(pretence, capsys, arguments, message):
    with pytest.raises(SystemExit):
        peers.main(arguments)
    assert message in capsys.readouterr().err
    assert pretence.cases == []


@pytest.mark.usefixtures("pretence")
@pytest.mark.parametrize("to_file", [False, True])
def test_json_document(capsys, tmp_path, to_file):
    path = tmp_path / "results.json"
    peers.main(["--rows", "scoring", *(["--output", str(path)] if to_file else ["--json"])])
    document = json.loads(path.read_text("utf-8") if to_file else capsys.readouterr().out)
    assert set(document) == {"created", "machine", "throughput", "rows", "targets"}
    (row,) = document["rows"]
    assert set(row) == {"id", "case", "flops_per_pass", "competitors", "share_of_peak"}
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
    assert {each["subject"] for each in document["targets"]} == {
        "scoring against scikit-learn, 1,000,000×8, K=16"
    }


def test_interrupted_run_shows_what_was_measured(pretence, capsys, monkeypatch):
    def interrupt_second(case, names, **values):
        if pretence.cases:
            raise KeyboardInterrupt
        return pretence.measure_case(case, names, **values)

    monkeypatch.setattr(peers, "measure_case", interrupt_second)
    with pytest.raises(KeyboardInterrupt):
        peers.main([])
    assert capsys.readouterr().out.count(pretence.cases[0].identifier) == 2


def test_machine_is_measured_in_a_worker_of_its_own(monkeypatch):
    class FakeWorker:
        def __init__(self, environment):
            assert environment == {"A": "b"}

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def ask(self, action, **_):
            assert action == "machine"
            machine = asdict(replace(MACHINE, blas=("openblas",)))
            return json.loads(json.dumps({"machine": machine, "throughput": asdict(THROUGHPUT)}))

    monkeypatch.setattr(peers, "WorkerProcess", FakeWorker)
    machine, throughput = peers._measure_machine({"A": "b"}, QUICK_EFFORT)
    assert machine == replace(MACHINE, blas=("openblas",))
    assert throughput == THROUGHPUT
