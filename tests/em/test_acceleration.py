"""Accelerated fits: as high as plain EM, in fewer passes, and never down."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from fastgmm.data.sources.array import ArraySource
from fastgmm.em.acceleration import Squarem
from fastgmm.em.e_step.passes import mixture_statistics
from fastgmm.em.loop import Fit, StartState, run
from fastgmm.em.problem import EMProblem
from fastgmm.em.stopping import SmallChange
from fastgmm.mixture.regularization import Regularization
from fastgmm.mixture.structures import structure
from tests.em.batch_fits import start_of

NONE = Regularization.none(2)


def overlapping():
    rng = np.random.default_rng(0)
    centers = np.array([[0.0, 0.0], [2.0, 1.0], [0.0, 2.5]])
    return ArraySource(centers[rng.integers(3, size=2000)] + rng.normal(size=(2000, 2)))


def fitted(source, name, acceleration, max_iter=5000):
    start, _ = start_of(source, 3, name)
    fit = Fit(
        EMProblem(source, structure(name), NONE),
        StartState(start),
        SmallChange(1e-10),
        max_iter,
        acceleration,
    )
    ((parameters, info),) = run([fit.steps()])
    return parameters, info


@pytest.mark.parametrize("name", ["EII", "VVI", "EEE", "VVV"])
def test_an_accelerated_fit_is_as_high_in_fewer_passes_and_never_falls(name):
    source = overlapping()
    _, plain = fitted(source, name, None)
    _, quick = fitted(source, name, Squarem())
    assert quick.converged
    assert quick.trace[-1] > plain.trace[-1] - 1e-7
    assert 2 * quick.n_passes < plain.n_passes
    assert (np.diff(quick.trace) >= -1e-10).all()


class TooFar(Squarem):
    """Proposes what no mixture is better for: all components in one place."""

    def propose(self, statistics):
        means = np.repeat([statistics.means().mean(axis=0)], 3, axis=0)
        return type(statistics).from_covariances(statistics.counts, means, statistics.covariances())


def test_a_step_that_lowers_the_objective_is_taken_back():
    source = overlapping()
    found, plain = fitted(source, "VVV", None, max_iter=5)
    same, info = fitted(source, "VVV", TooFar(), max_iter=5)
    assert info.trace == plain.trace
    assert info.n_passes > plain.n_passes
    assert_allclose(same.means, found.means, rtol=1e-12)


def test_what_approaches_a_limit_geometrically_is_extrapolated_to_it():
    source = overlapping()
    start, _ = start_of(source, 3, "VVV")
    limit = mixture_statistics(source, start)
    away = mixture_statistics(source, start_of(source, 3, "VVV", seed=1)[0]).about(limit.reference)
    squarem, found = Squarem(), None
    for share in (1e-2, 0.5e-2, 0.25e-2):
        found = squarem.propose(limit.blended(away, share))
    about = found.about(limit.reference)
    for name in ("counts", "first", "second"):
        assert_allclose(getattr(about, name), getattr(limit, name), rtol=1e-9, atol=1e-6)
