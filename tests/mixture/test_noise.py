"""Uniform noise as the last component."""

import numpy as np
from numpy.testing import assert_allclose

from fastgmm.data.sources.array import ArraySource
from fastgmm.em.e_step import passes
from fastgmm.mixture.noise import UniformNoise, statistics_without_noise, without_noise
from fastgmm.mixture.parameters import MixtureParameters
from tests import oracle


def mixture():
    weights, means = np.array([0.25, 0.75]), np.array([[0.0, 0.0], [4.0, 1.0]])
    covariances = np.array([[[1.0, 0.5], [0.5, 2.0]], [[2.0, 0.0], [0.0, 1.0]]])
    return weights, means, covariances


def test_noise_has_the_same_density_everywhere():
    weights, means, covariances = mixture()
    gaussians = MixtureParameters.from_covariances(weights, means, covariances)
    noisy = UniformNoise(np.log(50.0)).added(gaussians, 0.1)
    X = np.random.default_rng(0).uniform(-20, 20, size=(2000, 2))
    joint = oracle.joint_log_density(X, 0.9 * weights, means, covariances)
    joint = np.column_stack([joint, np.full(len(X), np.log(0.1 / 50.0))])
    densities = np.logaddexp.reduce(joint, axis=1)

    for dtype, tolerance in ((np.float64, 1e-12), (np.float32, 2e-4)):
        source = ArraySource(X.astype(dtype))
        assert_allclose(passes.log_density(source, noisy), densities, rtol=tolerance)
        found = passes.responsibilities(source, noisy)
        assert_allclose(found, np.exp(joint - densities[:, None]), atol=tolerance)


def test_noise_is_taken_off_again():
    gaussians = MixtureParameters.from_covariances(*mixture())
    noisy = UniformNoise(3.0).added(gaussians, 0.2)

    assert_allclose(noisy.weights, [0.2, 0.6, 0.2])
    again = without_noise(noisy)
    assert_allclose(again.weights, gaussians.weights)
    for name in ("means", "whiteners", "log_normalizers"):
        assert_allclose(getattr(again, name), getattr(gaussians, name))


def test_statistics_without_noise_are_those_of_the_others():
    noisy = UniformNoise(5.0).added(MixtureParameters.from_covariances(*mixture()), 0.3)
    X = np.random.default_rng(0).normal(size=(500, 2)) * 3.0
    statistics = passes.mixture_statistics(ArraySource(X), noisy)

    others, share = statistics_without_noise(statistics)

    shares = passes.responsibilities(ArraySource(X), noisy)
    assert_allclose(share, shares[:, 2].mean())
    assert_allclose(others.counts, shares[:, :2].sum(axis=0))
    assert_allclose(others.means(), (shares.T @ X)[:2] / others.counts[:, None])
