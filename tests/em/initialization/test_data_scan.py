"""The first look at the data."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from fastgmm.data.sources.array import ArraySource
from fastgmm.em.degeneracy import regularization_for
from fastgmm.em.initialization import data_scan as module
from fastgmm.em.initialization.data_scan import sample_size, scan_data
from tests.problems import problem


def look(X, weights=None, *, seed=0):
    return scan_data(ArraySource(X, weights), 2, 1e-6, "auto", seed=seed)


def test_small_data_are_used_as_they_are():
    source = ArraySource(problem("overlapping").X)
    found = scan_data(source, 3, 1e-6, "auto", seed=0)
    assert found.sample is source
    assert not found.subsampled


@pytest.mark.parametrize("few", [False, True])
def test_rows_without_weight_are_left_out_of_the_sample(few, monkeypatch):
    monkeypatch.setattr(module, "SMALLEST_SAMPLE", 100)
    monkeypatch.setattr(module, "ROWS_PER_PARAMETER", 1)
    X = np.arange(1000.0)[:, None]
    weights = np.where(np.arange(1000) < 30, 2.0, 0.0) if few else np.arange(1000.0) % 4
    found = look(X, weights)
    rows = found.sample
    assert found.subsampled is not few
    assert rows.n_samples == (30 if few else 100)
    assert_array_equal(rows.weights, weights[rows.X[:, 0].astype(int)])
    assert rows.weights.min() > 0
    assert (np.diff(rows.X[:, 0]) > 0).all()
    assert_array_equal(look(X, weights).sample.X, rows.X)


def test_another_seed_takes_other_rows(monkeypatch):
    monkeypatch.setattr(module, "SMALLEST_SAMPLE", 100)
    monkeypatch.setattr(module, "ROWS_PER_PARAMETER", 1)
    X = np.arange(1000.0)[:, None]
    assert not np.array_equal(look(X).sample.X, look(X, seed=1).sample.X)


def test_the_regularization_is_that_of_all_rows():
    X = problem("overlapping").X
    expected = regularization_for(ArraySource(X), 1e-3, "relative")
    found = scan_data(ArraySource(X), 2, 1e-3, "relative", seed=0).regularization
    assert_array_equal(found.amounts, expected.amounts)


@pytest.mark.parametrize(
    ("n_components", "n_features", "itemsize", "expected"),
    [
        (3, 2, 8, 25_000),
        (64, 32, 8, 105_600),
        (4, 512, 8, 16_384),
        (4, 512, 4, 32_768),
        (1000, 10_000, 8, 50_000),
    ],
)
def test_the_size_of_a_sample(n_components, n_features, itemsize, expected):
    assert sample_size(n_components, n_features, itemsize) == expected


@pytest.mark.parametrize("diagonal", [True, False])
def test_the_moments_are_those_of_all_rows(diagonal):
    X = np.random.default_rng(1).normal(size=(60_000, 3)) * [1.0, 1e-3, 1e4] + 1e6
    weights = np.random.default_rng(2).integers(0, 3, size=len(X)).astype(np.float64)
    found = scan_data(ArraySource(X, weights), 4, 1e-6, "auto", seed=0, diagonal=diagonal)
    assert found.subsampled
    expected = np.cov(X.T, aweights=weights, ddof=0)
    deviations = np.sqrt(np.diag(expected))
    scales = np.outer(deviations, deviations)
    covariance = found.moments.covariances()[0]
    correlation = np.diag(covariance) / scales if diagonal else covariance / scales
    assert_allclose(found.moments.means()[0], np.average(X, axis=0, weights=weights), rtol=1e-12)
    assert_allclose(correlation, np.eye(3) if diagonal else expected / scales, atol=1e-9)
