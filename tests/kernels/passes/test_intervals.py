"""Moments of intervals against high precision, and of boxes against quadrature."""

import mpmath
import numba
import numpy as np
import pytest
import scipy.stats
from numpy.testing import assert_allclose
from scipy.special import log_ndtr, ndtri_exp

from fastgmm.em.missing.limited import lattice
from fastgmm.kernels.passes import intervals
from tests import oracle

INTERVALS = [
    (-np.inf, 0.3), (-np.inf, -5.0), (-np.inf, -12.9), (-np.inf, -13.1), (-np.inf, -49.0),
    (-np.inf, -51.0), (-np.inf, -1000.0), (-np.inf, 5.0), (1.0, np.inf), (20.0, np.inf),
    (-1.0, 2.0), (-3.0, -2.0), (5.0, 6.0), (-20.0, -19.0), (0.1, 0.102), (100.0, 101.0),
    (3.0, 3.0001), (-0.5, 0.5), (-np.inf, np.inf),
]  # fmt: skip


def exact_moments(low, high):
    """Return the logarithm of the probability, the mean and the variance, of many digits."""
    if low > 0:
        found, mean, variance = exact_moments(-high, -low)
        return found, -mean, variance
    with mpmath.workdps(500):
        a, b = (mpmath.mpf(side) for side in (low, high))

        def part(t, power):
            return mpmath.mpf(0) if mpmath.isinf(t) else t**power * mpmath.npdf(t)

        mass = mpmath.ncdf(b) - mpmath.ncdf(a)
        mean = (part(a, 0) - part(b, 0)) / mass
        second = 1 + (part(a, 1) - part(b, 1)) / mass
        return float(mpmath.log(mass)), float(mean), float(second - mean**2)


@numba.njit
def moments(low, high):
    return intervals.interval_moments(low, high)


@numba.njit
def draw(low, high, w):
    return intervals.interval_draw(low, high, w)


@numba.njit
def quantile(log_p):
    return intervals.quantile(log_p)


@numba.njit
def box(lower, offsets, lows, highs, points, scales, z, mean, second):
    n = len(z)
    return intervals.box_moments(lower, 0, n, offsets, lows, highs, points, scales, z, mean, second)


def box_of(mean, covariance, lows, highs):
    """Return log-probability, mean and covariance of x in a box, as the pass finds them."""
    n = len(mean)
    lower = np.linalg.cholesky(covariance)
    z, z_mean, second = np.empty(n), np.empty(n), np.empty((n, n))
    points = lattice(127, 1) if n < 3 else lattice(1021, n - 1)
    found = box(lower, mean, lows, highs, *points, z, z_mean, second)
    second = np.tril(second) + np.tril(second, -1).T
    return found, mean + lower @ z_mean, lower @ second @ lower.T


@pytest.mark.parametrize(("low", "high"), INTERVALS)
def test_moments_of_intervals(low, high):
    rtol = 1e-6 if high - low < 0.01 else 1e-8  # where the density is taken to be linear
    assert_allclose(moments(low, high), exact_moments(low, high), rtol=rtol, atol=1e-15)


@pytest.mark.parametrize("log_p", [-1e-12, -1e-3, -0.3, -0.7, -1.0, -5.0, -50.0, -700.0, -1e5])
def test_quantiles(log_p):
    assert quantile(log_p) == pytest.approx(ndtri_exp(log_p), abs=1e-9)


@pytest.mark.parametrize(("low", "high"), INTERVALS)
def test_draws_lie_in_the_interval_in_their_order(low, high):
    w = np.linspace(0.01, 0.99, 50)
    found = np.array([draw(low, high, each) for each in w])
    mass, mean, variance = moments(low, high)
    assert_allclose(found[:, 0], mass, rtol=1e-6, atol=1e-15)
    z = found[:, 1]
    assert (low <= z).all()
    assert (z <= high).all()
    assert (np.diff(z) >= 0.0).all()
    assert abs(np.median(z) - mean) < np.sqrt(variance)


def test_far_out_nothing_is_lost():
    for t in (-1e3, -1e8, -1e150):
        mass, mean, variance = moments(-np.inf, t)
        assert mass == pytest.approx(log_ndtr(t), rel=1e-12)
        assert mean == pytest.approx(t, rel=1e-5)
        assert variance == pytest.approx(t**-2, rel=1e-5)


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("seed", range(4))
def test_boxes_against_quadrature(n, seed):
    rng = np.random.default_rng(seed)
    A = rng.normal(size=(n, n))
    covariance, mean = A @ A.T + 0.5 * np.eye(n), rng.normal(size=n)
    lows = np.where(rng.random(n) < 0.5, -np.inf, mean - 1.0)
    highs = np.where(np.isinf(lows), mean + rng.normal(size=n), np.inf)
    found = box_of(mean, covariance, lows, highs)
    tolerance = {1: 1e-10, 2: 3e-5, 3: 1e-5}[n]
    for one, other in zip(found, oracle.box_moments(mean, covariance, lows, highs), strict=True):
        assert_allclose(one, other, atol=tolerance)


@pytest.mark.parametrize(
    ("n", "accuracy", "of_means"),
    [
        (2, 1e-8, 1e-6),
        (3, 1e-8, 1e-6),
        (4, 1e-7, 1e-6),
        (5, 1e-6, 1e-4),
        (6, 1e-4, 2e-2),
        (8, 1e-3, 2e-2),
        (12, 1e-3, 5e-2),
    ],
)
def test_accuracy_by_number_of_features(n, accuracy, of_means):
    for correlation in (0.2, 0.6):
        highs = np.linspace(-0.5, 2.0, n)
        covariance = np.full((n, n), correlation) + (1.0 - correlation) * np.eye(n)
        found, mean, _ = box_of(np.zeros(n), covariance, np.full(n, -np.inf), highs)
        exact, expected = oracle.equicorrelated_box(highs, correlation)
        assert found == pytest.approx(exact, abs=accuracy)
        assert_allclose(mean, expected, atol=of_means)


def test_probabilities_against_scipy():
    rng = np.random.default_rng(0)
    for n in (2, 3, 4, 5):
        A = rng.normal(size=(n, n))
        covariance = A @ A.T / n + 0.5 * np.eye(n)
        highs = np.abs(rng.normal(size=n))
        found = box_of(np.zeros(n), covariance, np.full(n, -np.inf), highs)[0]
        normal = scipy.stats.multivariate_normal(np.zeros(n), covariance, seed=0)
        exact = scipy.stats.multivariate_normal.cdf(
            highs, normal.mean, covariance, maxpts=1_000_000, abseps=1e-7, releps=1e-7
        )
        assert np.exp(found) == pytest.approx(exact, abs=1e-4)


def test_a_box_without_probability_is_none():
    far = np.full(2, -1e200)
    with np.errstate(over="ignore"):
        found, *_ = box_of(np.zeros(2), np.eye(2), np.full(2, -np.inf), far)
    assert found == -np.inf


def test_lattices_are_in_the_cube_and_nested():
    points, weights = lattice(1021, 7)
    assert (points > 0.0).all()
    assert (points < 1.0).all()
    assert_allclose(weights.mean(axis=0), 1.0, rtol=1e-2)
    fewer, _ = lattice(1021, 3)
    assert_allclose(points[:, :3], fewer)
