"""Fits to resamples: together or alone, in memory or not, they are the same."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from fastgmm.analysis.batched_fits import MOST_STACKED_ROWS, EMSettings, fit_each, fits_at_once
from fastgmm.analysis.bootstrap import BOOTSTRAP_KINDS, bootstrap
from fastgmm.data.sources.array import ArraySource
from fastgmm.em.e_step.batched import stacked
from fastgmm.mixture.regularization import Regularization
from fastgmm.mixture.structures import structure
from tests.em.batch_fits import fit_em, initialize
from tests.em.block_source import BlockSource

FULL = structure("full")
SETTINGS = EMSettings(FULL, Regularization.none(2), 1e-9, 1000)


def rows(n_samples=300, seed=0):
    rng = np.random.default_rng(seed)
    centers = np.array([[0.0, 0.0], [5.0, 3.0]])
    return centers[rng.integers(2, size=n_samples)] + rng.normal(size=(n_samples, 2))


def fitted(source, settings=SETTINGS):
    start, _ = initialize(
        source,
        2,
        settings.structure,
        settings.regularization,
        random_state=np.random.RandomState(0),
    )
    return fit_em(
        source, start, settings.structure, settings.regularization, tol=1e-10, max_iter=1000
    )[0]


def all_fits(replicates):
    return stacked([fits.parameters for fits in replicates.fits])


@pytest.mark.parametrize("kind", BOOTSTRAP_KINDS)
def test_resamples_of_files_are_those_of_arrays(kind):
    X = rows(12)
    copies = np.random.default_rng(2).integers(0, 30, size=len(X)).astype(float)
    parameters = fitted(ArraySource(X, copies))
    together, apart = (
        bootstrap(source, parameters, SETTINGS, kind=kind, n_resamples=5, seed=3)
        for source in (ArraySource(X, copies), BlockSource(X, copies))
    )
    assert_allclose(all_fits(together).means, all_fits(apart).means, atol=1e-4)
    assert_allclose(all_fits(together).weights, all_fits(apart).weights, atol=1e-4)
    assert_array_equal(together.multiplicities, apart.multiplicities)


def test_the_jackknife_of_weights_is_that_of_copies():
    X = rows(40)
    copies = np.random.default_rng(2).integers(0, 4, size=len(X))
    parameters = fitted(ArraySource(X, copies))
    weighted, repeated = (
        bootstrap(source, parameters, SETTINGS, kind="jackknife", n_resamples=2, seed=0)
        for source in (ArraySource(X, copies.astype(float)), ArraySource(X.repeat(copies, axis=0)))
    )
    assert_array_equal(weighted.multiplicities, copies[copies > 0])
    assert_array_equal(repeated.multiplicities, np.ones(copies.sum()))
    each = all_fits(weighted).means.reshape(-1, 2, 2)
    assert_allclose(
        each.repeat(copies[copies > 0], axis=0),
        all_fits(repeated).means.reshape(-1, 2, 2),
        atol=1e-6,
    )


def test_a_number_has_its_resample_however_many_there_are():
    source = ArraySource(rows())
    parameters = fitted(source)
    few, many = (
        bootstrap(source, parameters, SETTINGS, kind="nonparametric", n_resamples=n, seed=1)
        for n in (3, 8)
    )
    assert_array_equal(all_fits(few).means, all_fits(many).means[: 3 * 2])


def test_large_rows_are_fitted_to_one_by_one():
    assert fits_at_once(MOST_STACKED_ROWS + 1, 2, 2, drawn=False) == 1
    assert fits_at_once(272, 2, 3, drawn=False) > 1000
    assert 1 <= fits_at_once(MOST_STACKED_ROWS, 60, 50, drawn=True) < 10
    X = rows(MOST_STACKED_ROWS + 1)
    source = ArraySource(X)
    found = bootstrap(source, fitted(source), SETTINGS, kind="nonparametric", n_resamples=2, seed=1)
    assert [len(fits.failed) for fits in found.fits] == [1, 1]
    error = all_fits(found).means - np.tile(fitted(source).means, (2, 1))
    assert 0.0 < np.abs(error).max() < 6.0 / np.sqrt(len(X) / 2)


@pytest.mark.parametrize("cls", [ArraySource, BlockSource])
def test_a_fit_that_collapses_fails_and_the_others_do_not(cls):
    """The second component is left with a single row where the others are out."""
    X = rows(100)
    X[:3] = [[50.0, 50.0], [51.0, 50.0], [50.0, 51.0]]
    weights = np.ones((3, 100))
    weights[1, :2] = 0.0
    start = fitted(ArraySource(X))
    sources = [cls(X, each) for each in weights]
    fits = fit_each(sources, np.arange(3), stacked([start] * 3), SETTINGS)
    assert_array_equal(fits.failed, [False, True, False])
    assert_array_equal(fits.converged, [True, False, True])
    assert fits.log_likelihoods[1] == -np.inf
    alone = fit_each(sources[2:], np.array([0]), start, SETTINGS)
    assert_allclose(fits.of(np.array([2])).parameters.means, alone.parameters.means, rtol=1e-12)


def test_a_collapsed_fit_is_held_up_by_the_regularization():
    X = rows(100)
    X[:3] = [[50.0, 50.0], [51.0, 50.0], [50.0, 51.0]]
    weights = np.ones(100)
    weights[:2] = 0.0
    held = EMSettings(FULL, Regularization(np.full(2, 1e-6), np.zeros(2, dtype=bool)), 1e-8, 1000)
    source = ArraySource(X, weights)
    start = fitted(ArraySource(X), held)
    fits = fit_each([source], np.array([0]), start, held)
    alone, info = fit_em(source, start, FULL, held.regularization, tol=1e-8, max_iter=1000)
    assert not fits.failed.any()
    assert_allclose(fits.parameters.means, alone.means, atol=1e-6)
    assert fits.log_likelihoods[0] == pytest.approx(info.trace[-1], abs=1e-6)


def test_rows_in_memory_of_other_numbers_are_fitted_to_alone():
    sources = [ArraySource(rows(n)) for n in (50, 60)]
    starts = stacked([fitted(each) for each in sources])
    fits = fit_each(sources, np.arange(2), starts, SETTINGS)
    assert fits.converged.all()
    assert_allclose(fits.parameters.means, starts.means, atol=1e-4)


@pytest.mark.parametrize("kind", BOOTSTRAP_KINDS)
def test_weights_must_be_numbers_of_copies(kind):
    X = rows(20)
    source = ArraySource(X, np.full(20, 0.05))
    with pytest.raises(ValueError, match="total weight of 2 or more, but got 1: a weight of w"):
        bootstrap(source, fitted(source), SETTINGS, kind=kind, n_resamples=2, seed=0)
