"""EM of many mixtures at once finds what EM of each of them finds."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from fastgmm.data.sources.array import ArraySource
from fastgmm.em.e_step.batched import RowSets, components_of, fit_stack, stacked
from fastgmm.mixture.regularization import Regularization
from fastgmm.mixture.structures import STRUCTURE_NAMES, structure
from fastgmm.mixture.structures.parsimonious import Tied
from tests.em.batch_fits import fit_em, initialize

K = 3


class OwnTied(Tied):
    """A structure that the stack knows nothing about."""


def rows(seed=0, n_samples=150, n_features=2):
    rng = np.random.default_rng(seed)
    centers = np.array([[0.0] * n_features, [4.0] * n_features, [0.0, 5.0, 1.0][:n_features]])
    return centers[rng.integers(3, size=n_samples)] + rng.normal(size=(n_samples, n_features))


def start_at(X, kind, seed=0):
    random_state = np.random.RandomState(seed)
    none = Regularization.none(X.shape[1])
    return initialize(ArraySource(X), K, kind, none, random_state=random_state)[0]


def kinds():
    known = [structure(name) for name in STRUCTURE_NAMES]
    return [*(kind for kind in known if not kind.needs_single_feature), OwnTied("own")]


@pytest.mark.parametrize("kind", kinds(), ids=lambda kind: kind.name)
def test_each_mixture_is_fitted_to_its_own_weights(kind):
    X = rows()
    regularization = Regularization(np.full(2, 1e-6), np.zeros(2, dtype=bool))
    weights = np.random.default_rng(1).integers(1, 4, size=(4, len(X))).astype(float)
    start = start_at(X, kind)
    together = fit_stack(
        RowSets.reweighted(X, weights),
        stacked([start] * 4),
        kind,
        regularization,
        tol=1e-7,
        max_iter=500,
    )
    assert together.sound.all()
    assert together.converged.all()
    for m in range(4):
        alone, info = fit_em(
            ArraySource(X, weights[m]), start, kind, regularization, tol=1e-7, max_iter=500
        )
        own = together.parameters.of(components_of(np.array([m]), K))
        assert together.n_iter[m] == info.n_iter - 1  # the last M-step is not taken
        assert together.log_likelihoods[m] == pytest.approx(info.trace[-2], rel=1e-10)
        assert_allclose(own.means, alone.means, atol=1e-2)
        assert_allclose(own.weights, alone.weights, atol=1e-2)
        assert own.weights.sum() == pytest.approx(1.0)
        assert_allclose(own.covariances(), alone.covariances(), atol=1e-2)


def test_each_mixture_is_fitted_to_its_own_rows():
    kind = structure("full")
    none = Regularization.none(2)
    X = np.array([rows(seed) for seed in range(3)])
    starts = [start_at(each, kind) for each in X]
    together = fit_stack(RowSets.separate(X), stacked(starts), kind, none, tol=1e-9, max_iter=1000)
    for m in range(3):
        alone, _ = fit_em(ArraySource(X[m]), starts[m], kind, none, tol=1e-9, max_iter=1000)
        own = together.parameters.of(components_of(np.array([m]), K))
        assert_allclose(own.means, alone.means, atol=1e-3)
        assert_allclose(own.covariances(), alone.covariances(), atol=1e-3)


def test_too_few_iterations_are_reported():
    X = rows()
    kind = structure("diag")
    start = start_at(X, kind)
    fit = fit_stack(
        RowSets.separate(X[None]), start, kind, Regularization.none(2), tol=0.0, max_iter=2
    )
    assert not fit.converged.any()
    assert fit.sound.all()
    assert_array_equal(fit.n_iter, [2])


@pytest.mark.parametrize("amount", [0.0, 1e-6])
@pytest.mark.parametrize("name", ["full", "diag", "tied"])
def test_a_mixture_that_degenerates_does_not_spoil_the_others(name, amount):
    X = rows()
    kind = structure(name)
    regularization = Regularization(np.full(2, amount), np.zeros(2, dtype=bool))
    weights = np.ones((3, len(X)))
    weights[1] = 0.0
    weights[1, 0] = len(X)  # a single row is left
    start = start_at(X, kind)
    fit = fit_stack(
        RowSets.reweighted(X, weights),
        stacked([start] * 3),
        kind,
        regularization,
        tol=1e-7,
        max_iter=500,
    )
    assert_array_equal(fit.sound, [True, False, True])
    assert np.isfinite(fit.log_likelihoods[[0, 2]]).all()
    alone, _ = fit_em(ArraySource(X), start, kind, regularization, tol=1e-7, max_iter=500)
    for m in (0, 2):
        own = fit.parameters.of(components_of(np.array([m]), K))
        assert_allclose(own.means, alone.means, atol=1e-2)


def test_the_number_of_threads_does_not_change_a_bit():
    X = rows(n_samples=400)
    kind = structure("full")
    weights = np.random.default_rng(1).integers(0, 4, size=(200, len(X))).astype(float)
    starts = stacked([start_at(X, kind)] * 200)
    one, two = (
        fit_stack(
            RowSets.reweighted(X, weights),
            starts,
            kind,
            Regularization.none(2),
            tol=1e-6,
            max_iter=100,
            n_jobs=n_jobs,
        )
        for n_jobs in (1, 2)
    )
    assert_array_equal(one.parameters.means, two.parameters.means)
    assert_array_equal(one.log_likelihoods, two.log_likelihoods)
