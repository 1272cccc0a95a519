from dataclasses import replace

import pytest

from fastgmm.bench.grid import FULL_GRID
from fastgmm.bench.machine import Machine, Rates
from fastgmm.bench.measurement import Figures, Row
from fastgmm.bench.startup import Startup
from fastgmm.bench.targets import Target, check_targets

RATES = Rates(5e10, 1e11, 512, 4e10, 8e10)
MACHINE = Machine(
    "p", "s", 2, 0.0, {"float64": RATES, "float32": RATES}, 1.0, 1.0, (), (), {}, "omp"
)
STARTUP = Startup(1.0, 0.1, 1.2, 10.0, 0.3)


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
    return {
        target.subject: target
        for target in check_targets(list(map(row_of, FULL_GRID)), MACHINE, STARTUP)
    }


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
        ("first fit in a process, empty numba cache", 12, 10),
        ("first fit in a process, filled numba cache", 0.6, 0.3),
        ("import of the estimator, beyond that of sklearn.mixture", 0.3, 0.2),
    ],
)
def test_every_promise_beside_its_figure(targets, subject, limit, measured):
    target = targets[subject]
    assert target.limit == limit
    assert target.measured == pytest.approx(measured, rel=1e-3)
    assert target.met == (measured >= limit if target.at_least else measured <= limit)


def test_promises_without_a_figure_are_neither_kept_nor_broken():
    targets = check_targets([], None, None)
    assert targets
    assert all(target.measured is None and target.met is None for target in targets)


def test_small_data_settles_nothing():
    rows = [row_of(replace(case, n_samples=1_000)) for case in FULL_GRID]
    assert all(target.met is None for target in check_targets(rows, MACHINE, None))


def test_peer_with_other_results_settles_nothing(targets):
    case = FULL_GRID[0]
    row = row_of(case)
    row = Row(case, {**row.figures, "oneDAL": Figures(seconds=3.0, note="results differ: …")})
    checked = {target.subject: target for target in check_targets([row], MACHINE, None)}
    assert targets["against oneDAL, 1,000,000×2, K=8"].met
    assert checked["against oneDAL, 1,000,000×2, K=8"].met is None


def test_json_has_the_verdict():
    assert Target("speed", 2.0, "x", True, 3.0).to_dict() == {
        "subject": "speed",
        "limit": 2.0,
        "unit": "x",
        "at_least": True,
        "measured": 3.0,
        "met": True,
    }
