import io
from dataclasses import replace

import pytest

pytest.importorskip("rich")

from rich.console import Console

from fastgmm.bench.grid import Case
from fastgmm.bench.machine import Machine, Rates
from fastgmm.bench.measurement import Figures, Row
from fastgmm.bench.report import (
    PLAIN_WIDTH,
    duration,
    machine_table,
    make_console,
    megabytes,
    row_line,
    rows_table,
    startup_table,
    targets_table,
)
from fastgmm.bench.startup import Startup
from fastgmm.bench.targets import Target

RATES = Rates(129e9, 258e9, 512, 100e9, 200e9)
MACHINE = Machine(
    "Abacus 3",
    "Linux",
    2,
    0.1,
    {"float64": RATES, "float32": RATES},
    56e9,
    45e9,
    ("openblas 0.3 SkylakeX",),
    ("OPENBLAS_CORETYPE=Haswell",),
    {"python": "3.11"},
    "omp",
)
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


@pytest.mark.parametrize(
    ("n_bytes", "text"), [(None, "–"), (600_000, "0.6 MB"), (782_000_000, "782 MB")]
)
def test_megabytes(n_bytes, text):
    assert megabytes(n_bytes) == text


def test_machine():
    text = text_of(machine_table(MACHINE))
    for words in (
        "Abacus 3, 2 threads",
        "258 GFLOP/s, one thread 129 (512-bit vectors)",
        "200 GFLOP/s, one thread 100 (78% of the peak)",
        "read 56.0 GB/s, triad 45.0 GB/s",
        "openblas 0.3 SkylakeX",
        "OPENBLAS_CORETYPE=Haswell",
    ):
        assert words in text


def test_busy_machine_is_said_to_be_busy():
    assert "busy" not in text_of(machine_table(MACHINE))
    text = text_of(machine_table(replace(MACHINE, load=1.5)))
    assert "1.5 processes wanted to run" in text


def test_row_with_its_peers():
    figures = Figures(seconds=1.8, memory=682_000_000)
    text = text_of(rows_table([row(sklearn=figures)], MACHINE, PEERS))
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
    text = text_of(rows_table([row(case)], MACHINE, ()))
    assert "12 standard deviations apart on average (separated)" in text


def test_what_is_not_installed_is_said_once():
    missing = Figures(note="not installed: pip install scikit-learn-intelex")
    text = text_of(rows_table([row(onedal=missing), row(onedal=missing)], MACHINE, PEERS))
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
            MACHINE,
            PEERS,
        )
    )
    for words in (
        f"{case.identifier}: scikit-learn results differ: 1 against 2 of fastgmm",
        f"{case.identifier}: oneDAL failed: it broke",
        f"{case.identifier}: fastgmm failed: out of [cheese]",
    ):
        assert words in text


def test_startup():
    text = text_of(startup_table(Startup(1.0, 0.0123, 1.2, 10.0, 0.3)))
    assert "12.3 ms" in text
    assert "10.0 s" in text


def test_targets():
    targets = [
        Target("speed", 2.0, "x", True, 3.0),
        Target("share", 70.0, "%", True, 69.0),
        Target("memory", 100.0, "MB", False, None),
        Target("start", 0.6, "s", False, 0.31),
        Target("gap", 0.1, "%", False, 0.0253),
    ]
    lines = [line.split() for line in text_of(targets_table(targets)).splitlines()]
    assert ["speed", "≥", "2.0×", "3.0×", "met"] in lines
    assert ["share", "≥", "70", "%", "69", "%", "missed"] in lines
    assert ["memory", "≤", "100", "MB", "–", "not", "measured"] in lines
    assert ["start", "≤", "0.60", "s", "0.31", "s", "met"] in lines
    assert ["gap", "≤", "0.100", "%", "0.025", "%", "met"] in lines


def test_console_for_a_file_is_wide_enough(capsys):
    assert make_console().width == PLAIN_WIDTH
    make_console(stderr=True).print("to standard error")
    assert capsys.readouterr().err == "to standard error\n"
