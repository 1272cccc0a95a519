from dataclasses import replace

import pytest
from scipy.special import logsumexp

from fastgmm.bench.grid import Case
from fastgmm.bench.mixture_problem import make_problem
from harness.competitors import (
    COMPETITORS,
    PEERS,
    FastGMM,
    OneDAL,
    Pomegranate,
    ScikitLearn,
    judge_centers,
    judge_mixture,
)
from harness.measurement import TOLERANCES
from tests import oracle

CASES = [
    Case("pass", "full", 3_000, 3, 4),
    Case("pass", "full", 3_000, 3, 4, dtype="float32"),
    Case("pass", "full", 3_000, 3, 4, overlap="separated"),
    Case("pass", "full", 600, 20, 2),
    Case("pass", "diag", 3_000, 5, 4),
    Case("pass", "diag", 3_000, 5, 4, dtype="float32"),
    Case("scoring", "full", 3_000, 3, 4),
    Case("scoring", "full", 3_000, 3, 4, dtype="float32"),
    Case("k-means", "diag", 3_000, 3, 4),
    Case("k-means", "diag", 3_000, 3, 4, dtype="float32"),
]


def run(kind, case, n_passes):
    competitor = kind(case, make_problem(case))
    competitor.run(n_passes)
    return competitor.result()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.identifier)
@pytest.mark.parametrize("peer", [ScikitLearn, OneDAL, Pomegranate], ids=lambda peer: peer.name)
def test_same_start_and_passes_lead_to_the_same_result(case, peer):
    if not peer.takes(case):
        pytest.skip(f"{peer.name} has no such task")
    pytest.importorskip(peer.module)
    expected = run(FastGMM, case, 3)
    assert run(peer, case, 3) == pytest.approx(expected, rel=TOLERANCES[case.dtype])
    if case.task != "scoring":
        # The comparison can see one pass more or less.
        assert run(peer, case, 2) != pytest.approx(expected, rel=TOLERANCES[case.dtype])


@pytest.mark.parametrize("kind", COMPETITORS.values(), ids=lambda kind: kind.name)
@pytest.mark.parametrize("task", ["pass", "k-means"])
def test_every_run_starts_from_the_start(kind, task):
    pytest.importorskip(kind.module)
    case = Case(task, "diag", 1_000, 2, 3)
    competitor = kind(case, make_problem(case))
    competitor.run(2)
    first = competitor.result()
    competitor.run(2)
    assert competitor.result() == pytest.approx(first, rel=1e-12)


@pytest.mark.parametrize("kind", COMPETITORS.values(), ids=lambda kind: kind.name)
def test_repeat_leaves_out_what_is_done_once(kind):
    pytest.importorskip(kind.module)
    case = Case("pass", "full", 1_000, 2, 3, n_passes=2)
    whole, once = kind(case, make_problem(case)).repeat()
    assert whole > 0
    assert (once > 0) == (kind is OneDAL)


def test_fit_of_the_estimator_raises_the_likelihood():
    case = Case("fit", "full", 2_000, 2, 3, n_passes=3)
    competitor = FastGMM(case, make_problem(case))
    before = competitor.result()
    competitor.run(3)
    assert competitor.result() > before


def test_peers_are_all_but_fastgmm():
    assert PEERS == ("scikit-learn", "oneDAL", "pomegranate")
    assert all(kind.is_installed() for kind in (FastGMM, ScikitLearn))


CASE = Case("pass", "full", 3_000, 3, 4)


def log_joint(problem, X):
    return oracle.joint_log_density(X, problem.weights, problem.means, problem.covariances)


@pytest.mark.parametrize("structure", ["full", "diag"])
def test_judge_is_the_mean_log_likelihood(structure):
    problem = make_problem(replace(CASE, structure=structure))
    judged = judge_mixture(problem.X, problem.weights, problem.means, problem.covariances)
    expected = logsumexp(log_joint(problem, problem.X), axis=1).mean()
    assert judged == pytest.approx(expected, rel=1e-12)


def test_judge_of_centers_is_the_mean_squared_distance():
    problem = make_problem(CASE)
    distances = ((problem.X[:, None] - problem.means) ** 2).sum(axis=2)
    assert judge_centers(problem.X, problem.means) == pytest.approx(distances.min(axis=1).mean())
