"""Passes at factor analyzers against the oracle: values, accuracy, reproducibility."""

import mpmath
import numpy as np
import pytest

from fastgmm.data.sources.array import ArraySource
from fastgmm.em.e_step import passes
from fastgmm.kernels.passes.factor_pass import factor_lanes
from fastgmm.mixture.noise import UniformNoise
from fastgmm.mixture.parameters import factor_axes
from tests import oracle
from tests.em.block_source import BlockSource
from tests.factors import factor_mixture, factor_rows, parameters_of, truth_of
from tests.pairwise import parametrize_pairwise


@parametrize_pairwise(
    size=[(1, 3, 1), (3, 6, 3), (2, 9, 4), (4, 21, 5)],
    weighted=[False, True],
    dtype=[np.float64, np.float32],
    order=["C", "F"],
)
def test_every_value_of_a_pass(size, weighted, dtype, order):
    mixture = factor_mixture(*size)
    truth, parameters = truth_of(*mixture), parameters_of(*mixture)
    X = np.asarray(factor_rows(mixture, 1300)[0], dtype, order)
    weights = np.random.default_rng(2).uniform(0, 2, len(X)) if weighted else None
    source = ArraySource(X, weights)
    density, shares = oracle.log_density(X, *truth), oracle.responsibilities(X, *truth)

    found = passes.mixture_statistics(source, parameters)
    counts, first, second = oracle.moments(X, shares, mixture[1], weights)
    np.testing.assert_allclose(found.counts, counts, rtol=1e-10)
    np.testing.assert_allclose(found.first, first, atol=1e-10 * np.abs(second).max())
    axes, _, _ = factor_axes(parameters.whiteners)
    directions = axes / np.sqrt(mixture[3])[:, :, None]
    expected = [np.einsum("kii->ki", second)[:, :, None], second @ directions]
    expected = np.concatenate(expected, axis=2)
    np.testing.assert_allclose(found.second, expected, atol=1e-10 * np.abs(expected).max())
    total = np.average(density, weights=weights) * source.total_weight
    assert found.log_likelihood == pytest.approx(total, rel=1e-12)
    assert passes.log_likelihood(source, parameters) == found.log_likelihood

    tolerance = 1e-11 if dtype is np.float64 else 1e-6
    for values, right in (
        (passes.log_density(source, parameters), density),
        (passes.responsibilities(source, parameters), shares),
        (passes.component_log_densities(source, parameters) + np.log(mixture[0]).astype(dtype),
         oracle.joint_log_density(X, *truth)),
    ):  # fmt: skip
        assert values.dtype == dtype
        np.testing.assert_allclose(values, right, rtol=tolerance, atol=tolerance)
    np.testing.assert_array_equal(passes.labels(source, parameters), shares.argmax(axis=1))
    beta = np.swapaxes(mixture[2], 1, 2) @ np.linalg.inv(truth[2])
    best = shares.argmax(axis=1)
    scores = np.einsum("nqd,nd->nq", beta[best], X - mixture[1][best])
    found = passes.factor_scores(source, parameters)
    np.testing.assert_allclose(found, scores, atol=10 * tolerance)


@pytest.mark.parametrize("known", [False, True])
def test_results_do_not_depend_on_threads_or_on_how_rows_arrive(known):
    mixture = factor_mixture(3, 10, 2)
    X, labels = factor_rows(mixture, 5000)
    weights = np.random.default_rng(2).uniform(0, 2, len(X))
    parameters = parameters_of(*mixture)
    labels = np.where(np.arange(len(X)) % 2, labels, -1) if known else None
    found = [
        passes.mixture_statistics(source(X, weights), parameters, known=labels, n_jobs=n_jobs)
        for source, n_jobs in ((ArraySource, 1), (ArraySource, 2), (BlockSource, 2))
    ]
    for other in found[1:]:
        for name in ("counts", "first", "second"):
            np.testing.assert_array_equal(getattr(found[0], name), getattr(other, name))
        assert other.log_likelihood == found[0].log_likelihood
    if known:
        shares = oracle.responsibilities(X, *truth_of(*mixture))
        shares[1::2] = oracle.one_hot(labels[1::2], 3)
        np.testing.assert_allclose(found[0].counts, weights @ shares, rtol=1e-10)


@pytest.mark.parametrize(("signal", "offset"), [(1.0, 1e8), (1e4, 0.0), (1e8, 0.0)])
def test_densities_keep_their_digits_where_factors_are_far_stronger_than_the_noise(signal, offset):
    weights, means, loadings, noise = factor_mixture(1, 7, 2)
    loadings, means = signal * loadings, means + offset
    X = factor_rows((weights, means, loadings, noise), 20)[0]
    found = passes.log_density(ArraySource(X), parameters_of(weights, means, loadings, noise))
    with mpmath.workdps(80):
        covariance = mpmath.matrix(loadings[0].tolist())
        covariance = covariance * covariance.T + mpmath.diag(noise[0].tolist())
        inverse, determinant = covariance**-1, mpmath.det(2 * mpmath.pi * covariance)
        exact = []
        for row in X:
            offsets = mpmath.matrix([mpmath.mpf(a) - mpmath.mpf(b) for a, b in zip(row, means[0])])  # noqa: B905
            square = (offsets.T * inverse * offsets)[0]
            exact.append(float(-(mpmath.log(determinant) + square) / 2))
    # What rounding of the loadings themselves does to the distance is signal * 1e-16.
    np.testing.assert_allclose(found, exact, rtol=1e-12 + 4e-16 * signal, atol=4e-16 * signal)


def test_uniform_noise_is_a_component_of_the_pass():
    mixture = factor_mixture(2, 6, 1)
    X = factor_rows(mixture, 200)[0]
    noisy = UniformNoise(4.0).added(parameters_of(*mixture), 0.1)
    found = passes.log_density(ArraySource(X), noisy)
    gaussian = 0.9 * np.exp(oracle.log_density(X, *truth_of(*mixture)))
    np.testing.assert_allclose(found, np.log(gaussian + 0.1 * np.exp(-4.0)), rtol=1e-12)
    statistics = passes.mixture_statistics(ArraySource(X), noisy)
    assert np.isfinite(statistics.second).all()
    assert statistics.counts.sum() == pytest.approx(200)


def test_moments_of_incomplete_rows_are_those_of_a_pass():
    mixture = factor_mixture(2, 6, 2)
    parameters = parameters_of(*mixture)
    X = factor_rows(mixture, 300)[0]
    whole = passes.mixture_statistics(ArraySource(X), parameters)
    lacking = passes.mixture_statistics(ArraySource(X, incomplete=True), parameters)
    scale = np.abs(whole.second).max()
    np.testing.assert_allclose(lacking.first, whole.first, atol=1e-9 * scale)
    np.testing.assert_allclose(lacking.second, whole.second, atol=1e-9 * scale)


@pytest.mark.parametrize(("n_features", "lanes"), [(10, 128), (512, 64), (3000, 32)])
def test_tiles_of_many_features_are_narrow(n_features, lanes):
    assert factor_lanes(n_features) == lanes
