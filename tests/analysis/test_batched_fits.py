"""EM of many mixtures at once finds what EM of each of them finds."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from fastgmm.analysis import batched_fits
from fastgmm.analysis.batched_fits import EMSettings, fit_each
from fastgmm.data.sources.array import ArraySource
from fastgmm.em.e_step.passes import log_likelihood, mixture_statistics
from fastgmm.mixture.regularization import Regularization
from fastgmm.mixture.structures import STRUCTURE_NAMES, structure
from fastgmm.mixture.structures.parsimonious import Tied
from tests.em.batch_fits import fit_em, initialize

K = 3


class OwnTied(Tied):
    """A structure that compiled code knows nothing about."""


def rows(seed=0, n_samples=150, n_features=2):
    rng = np.random.default_rng(seed)
    centers = np.array([[0.0] * n_features, [4.0] * n_features, [0.0, 5.0, 1.0][:n_features]])
    return centers[rng.integers(3, size=n_samples)] + rng.normal(size=(n_samples, n_features))


def start_at(X, kind):
    none = Regularization.none(X.shape[1])
    return initialize(ArraySource(X), K, kind, none)[0]


def settings_of(kind, amount=0.0, tol=1e-8, max_iter=2000):
    amounts = Regularization(np.array([amount, 2.0 * amount]), np.zeros(2, dtype=bool))
    return EMSettings(kind, amounts, tol, max_iter)


def kinds():
    known = [structure(name) for name in STRUCTURE_NAMES]
    return [*(kind for kind in known if not kind.needs_single_feature), OwnTied("own")]


@pytest.mark.parametrize("amount", [1e-6, 0.1])
@pytest.mark.parametrize("kind", kinds(), ids=lambda kind: kind.name)
def test_each_mixture_is_fitted_to_its_own_weights(kind, amount):
    X, settings = rows(), settings_of(kind, amount)
    start = start_at(X, kind)
    weights = np.random.default_rng(1).integers(1, 4, size=(3, len(X))).astype(float)
    sources = [ArraySource(X, each) for each in weights]
    for source, fit in zip(
        sources, fit_each([(source, start) for source in sources], settings), strict=True
    ):
        alone, info = fit_em(source, start, kind, settings.regularization, tol=1e-11, max_iter=5000)
        found = fit.parameters()
        assert fit.failure is None
        assert fit.converged
        assert fit.log_likelihood >= source.total_weight * (info.trace[-1] - 1e-6)
        assert_allclose(fit.log_likelihood, log_likelihood(source, found), rtol=1e-12)
        if amount < 0.01:  # what is most likely is not where EM ends if much is added
            again = kind.solve(mixture_statistics(source, found), settings.regularization, found)
            for each in (alone, again):
                assert_allclose(found.means, each.means, atol=2e-2)
                assert_allclose(found.weights, each.weights, atol=2e-2)
                assert_allclose(found.covariances(), each.covariances(), atol=5e-2)


def test_each_mixture_is_fitted_to_its_own_rows():
    kind = structure("full")
    sources = [ArraySource(rows(seed)) for seed in range(3)]
    starts = [start_at(source.X, kind) for source in sources]
    settings = settings_of(kind, tol=1e-10)
    fits = fit_each(list(zip(sources, starts, strict=True)), settings)
    for source, start, fit in zip(sources, starts, fits, strict=True):
        alone, _ = fit_em(source, start, kind, settings.regularization, tol=1e-11, max_iter=5000)
        assert_allclose(fit.parameters().means, alone.means, atol=1e-3)
        assert_allclose(fit.parameters().covariances(), alone.covariances(), atol=1e-3)


@pytest.mark.parametrize("name", ["VVV", "EEI", "VEE"])
def test_a_start_with_regularized_covariances_is_where_a_fit_begins(name):
    """No M-step is taken: what the regularization added to the start is not added again."""
    X, kind = rows(), structure(name)
    settings = settings_of(kind, amount=0.5, max_iter=0)
    start = kind.solve(
        mixture_statistics(ArraySource(X), start_at(X, kind)), settings.regularization
    )
    (fit,) = fit_each([(ArraySource(X), start)], settings)
    assert_allclose(fit.parameters().means, start.means, rtol=1e-9, atol=1e-9)
    assert_allclose(fit.parameters().covariances(), start.covariances(), rtol=1e-6, atol=1e-9)


def test_the_tolerance_is_one_of_the_mean_log_likelihood():
    X, kind = rows(n_samples=400), structure("full")
    start = start_at(X, kind)

    def fitted(n_copies, tol):
        source = ArraySource(X, np.full(len(X), n_copies))
        (fit,) = fit_each([(source, start)], settings_of(kind, tol=tol))
        return fit.n_iter, fit.log_likelihood / source.total_weight

    assert fitted(1.0, 1e-5)[0] == fitted(1000.0, 1e-5)[0] < fitted(1.0, 1e-11)[0]
    best = fitted(1.0, 1e-13)[1]
    for tol in (1e-4, 1e-6, 1e-8):
        assert best - tol < fitted(1.0, tol)[1] <= best + 1e-12


def test_too_few_iterations_are_reported():
    X, kind = rows(), structure("diag")
    problems = [(ArraySource(X), start_at(X, kind))]
    (fit,) = fit_each(problems, settings_of(kind, tol=0.0, max_iter=2))
    assert not fit.converged
    assert fit.failure is None
    assert fit.n_iter == 2


@pytest.mark.parametrize("amount", [0.0, 1e-6])
@pytest.mark.parametrize("name", ["full", "diag", "tied"])
def test_a_mixture_that_degenerates_does_not_spoil_the_others(name, amount):
    X, kind = rows(), structure(name)
    settings = settings_of(kind, amount, tol=1e-9)
    weights = np.ones((3, len(X)))
    weights[1] = 0.0
    weights[1, 0] = len(X)  # a single row is left
    start = start_at(X, kind)
    fits = fit_each([(ArraySource(X, each), start) for each in weights], settings)
    assert [fit.failure is None for fit in fits] == [True, amount > 0.0, True]
    alone, _ = fit_em(ArraySource(X), start, kind, settings.regularization, tol=1e-9, max_iter=2000)
    for m in (0, 2):
        assert_allclose(fits[m].parameters().means, alone.means, atol=1e-2)


def test_a_fit_that_ends_below_where_it_had_been_continues_by_itself(monkeypatch):
    X, kind = rows(), structure("full")
    start, settings = start_at(X, kind), settings_of(kind)
    problems = [(ArraySource(X), start)] * 2
    expected = fit_each(problems, settings)
    fit_small = batched_fits.fit_small

    def lower(problems, **others):
        one, other = fit_small(problems, **others)
        return [one, replace(other, converged=False)]

    monkeypatch.setattr(batched_fits, "fit_small", lower)
    one, other = fit_each(problems, settings)
    assert one.log_likelihood == expected[0].log_likelihood
    assert other.converged
    assert other.log_likelihood >= expected[1].log_likelihood - 1e-9
    assert other.n_iter < 5  # it begins where it had been


def test_the_number_of_threads_does_not_change_a_bit():
    X, kind = rows(n_samples=400), structure("full")
    weights = np.random.default_rng(1).integers(0, 4, size=(200, len(X))).astype(float)
    start = start_at(X, kind)
    problems = [(ArraySource(X, each), start) for each in weights]
    one, two, some = (
        fit_each(problems[:n], replace(settings_of(kind, tol=1e-6), n_jobs=n_jobs))
        for n, n_jobs in ((200, 1), (200, 2), (7, 2))
    )
    for first, second in (*zip(one, two, strict=True), *zip(one, some, strict=False)):
        assert_array_equal(first.parameters().means, second.parameters().means)
        assert first.log_likelihood == second.log_likelihood
