"""Quantiles of univariate mixtures, against bisection and closed forms."""

import mpmath
import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.optimize import brentq
from scipy.stats import norm

from fastgmm.analysis.mixture_quantiles import mixture_quantiles

LEVELS = [1e-12, 0.01, 0.3, 0.5, 0.77, 0.999]


def mixtures(n_rows=40, n_components=4, separation=3.0, seed=0):
    rng = np.random.default_rng(seed)
    shares = rng.dirichlet(np.full(n_components, 0.3), size=n_rows)
    means = separation * rng.normal(size=(n_rows, n_components))
    return shares, means, rng.uniform(0.1, 2.0, n_components)


@pytest.mark.parametrize("separation", [0.1, 3.0, 100.0])
@pytest.mark.parametrize("level", LEVELS)
def test_roots_of_the_distribution_function(level, separation):
    shares, means, deviations = mixtures(separation=separation)
    found = mixture_quantiles(shares, means, deviations, level)
    for share, mean, quantile in zip(shares, means, found, strict=True):

        def excess(t, share=share, mean=mean):
            if level > 0.5:
                return (1.0 - level) - share @ norm.sf(t, mean, deviations)
            return share @ norm.cdf(t, mean, deviations) - level

        ends = norm.ppf(level, mean, deviations)
        expected = brentq(excess, ends.min() - 1e-6, ends.max() + 1e-6, xtol=1e-13, rtol=1e-14)
        # where the density is next to nothing, many points have the level but for rounding
        slope = share @ norm.pdf(quantile, mean, deviations)
        slack = 4e-16 * max(level, 1.0 - level) / max(slope, 1e-300)
        assert abs(quantile - expected) <= 1e-10 + slack


def test_one_component_has_a_closed_form():
    means = np.array([[0.0], [1e8]])
    found = mixture_quantiles(np.ones((2, 1)), means, np.array([2.0]), 0.975)
    assert_allclose(found, means[:, 0] + 2.0 * norm.ppf(0.975), rtol=1e-15)


def test_far_tails_keep_their_digits():
    shares, means, deviations = mixtures(n_rows=1)
    for level in (1e-300, 1e-20):
        found = mixture_quantiles(shares, means, deviations, level)[0]
        with mpmath.workdps(30):
            total = sum(
                mpmath.mpf(w) * mpmath.ncdf((mpmath.mpf(found) - mpmath.mpf(m)) / mpmath.mpf(s))
                for w, m, s in zip(shares[0], means[0], deviations, strict=True)
            )
            assert abs(float(total / level) - 1.0) < 1e-10


def test_components_without_weight_do_not_count():
    shares = np.array([[1.0, 0.0]])
    means = np.array([[0.0, 50.0]])
    found = mixture_quantiles(shares, means, np.array([1.0, 1.0]), 0.9)
    assert_allclose(found, norm.ppf(0.9), rtol=1e-13)


def test_mirrored_mixtures_have_mirrored_quantiles():
    shares, means, deviations = mixtures()
    np.testing.assert_array_equal(
        mixture_quantiles(shares, means, deviations, 0.75),
        -mixture_quantiles(shares, -means, deviations, 0.25),
    )
