"""Passes at many mixtures in one call are the passes at each of them."""

import numpy as np
import pytest

from fastgmm.data.sources.array import ArraySource
from fastgmm.em.e_step import passes
from fastgmm.em.e_step.batched import RowSets, stacked, stacked_statistics
from tests import oracle
from tests.kernels.test_mixture_pass import mixture, parameters_of, rows_of


@pytest.mark.parametrize("diagonal", [False, True])
@pytest.mark.parametrize(("D", "K", "N"), [(1, 3, 40), (2, 1, 64), (5, 4, 300)])
def test_sums_of_each_mixture(D, K, N, diagonal):
    truths = [mixture(D, K, diagonal=diagonal, seed=seed) for seed in range(3)]
    X = np.array([rows_of(truth[1], N, seed=seed) for seed, truth in enumerate(truths)])
    weights = np.random.default_rng(5).integers(0, 3, size=(2, N)).astype(float)
    rows_of_each, weights_of_each = np.array([2, 0, 2]), np.array([1, 1, 0])
    found, values = stacked_statistics(
        RowSets(X, weights, rows_of_each, weights_of_each),
        stacked([parameters_of(*truth, diagonal=diagonal) for truth in truths]),
        n_jobs=1,
    )
    assert found.weight == weights.sum(axis=1).max()
    for m, truth in enumerate(truths):
        own, w = X[rows_of_each[m]], weights[weights_of_each[m]]
        shares = oracle.responsibilities(own, *truth)
        counts, first, second = oracle.moments(own, shares, truth[1], w)
        if diagonal:
            second = np.einsum("kii->ki", second)
        places = slice(m * K, (m + 1) * K)
        np.testing.assert_allclose(found.counts[places], counts, rtol=1e-11, atol=1e-12)
        np.testing.assert_allclose(found.first[places], first, atol=1e-11 * np.abs(first).max())
        np.testing.assert_allclose(found.second[places], second, atol=1e-11 * second.max())
        expected = np.average(oracle.log_density(own, *truth), weights=w)
        assert values[m] == pytest.approx(expected, rel=1e-12)
    np.testing.assert_array_equal(found.reference, np.concatenate([truth[1] for truth in truths]))


def test_rows_of_any_layout_and_without_weights():
    truth = mixture(3, 2, diagonal=False)
    X = rows_of(truth[1], 130)
    strided = np.asfortranarray(np.repeat(X, 2, axis=0))[::2]
    parameters = parameters_of(*truth, diagonal=False)
    found, values = stacked_statistics(RowSets.separate(strided[None]), parameters, n_jobs=1)
    expected = passes.mixture_statistics(ArraySource(X), parameters, n_jobs=1)
    np.testing.assert_allclose(found.counts, expected.counts, rtol=1e-12)
    assert values[0] == pytest.approx(expected.mean_log_likelihood, rel=1e-12)
