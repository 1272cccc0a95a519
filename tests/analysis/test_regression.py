"""Mixtures of targets given inputs, row by row against plain formulas."""

import mpmath
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.optimize import brentq
from scipy.stats import norm

from fastgmm.analysis import regression
from fastgmm.analysis.regression import ConditionalMixture, Draws, mixture_quantiles
from fastgmm.data.sources.array import ArraySource
from tests import oracle
from tests.em.block_source import BlockSource
from tests.incomplete_rows import mixture, parameters_of, rows_of


def expected(truth, targets, x):
    """Return weights, means and covariances of the targets given one row of inputs."""
    weights, means, S = truth
    inputs = np.setdiff1d(np.arange(means.shape[1]), targets)
    seen, x = inputs[~np.isnan(x)], x[~np.isnan(x)]
    if not len(seen):
        return weights, means[:, targets], S[:, targets][:, :, targets]
    gains = S[:, targets][:, :, seen] @ np.linalg.inv(S[:, seen][:, :, seen])
    shares = oracle.responsibilities(x[None], weights, means[:, seen], S[:, seen][:, :, seen])[0]
    moved = means[:, targets] + np.einsum("kij,kj->ki", gains, x - means[:, seen])
    return shares, moved, S[:, targets][:, :, targets] - gains @ S[:, seen][:, :, targets]


@pytest.mark.parametrize("share", [0.0, 0.4])
@pytest.mark.parametrize("diagonal", [False, True])
def test_moments_of_each_row(diagonal, share):
    truth, targets = mixture(5, 3, diagonal=diagonal), np.array([3, 1])
    X = rows_of(truth, 60, share)[:, [0, 2, 4]]
    conditional = ConditionalMixture(parameters_of(*truth, diagonal=diagonal), targets)
    source = ArraySource(X, incomplete=bool(share))

    def evaluated(evaluation):
        return np.concatenate(list(conditional.evaluate(source, evaluation)))

    mean = evaluated(lambda found, _: found.mean())
    deviation = evaluated(lambda found, _: found.deviation())
    covariance = evaluated(lambda found, _: found.covariance())
    for i, x in enumerate(X):
        weights, means, covariances = expected(truth, targets, x)
        middle = weights @ means
        spread = np.einsum("k,kij->ij", weights, covariances) + np.einsum(
            "k,ki,kj->ij", weights, means - middle, means - middle
        )
        assert_allclose(mean[i], middle, rtol=1e-9, atol=1e-11)
        assert_allclose(covariance[i], spread, rtol=1e-8, atol=1e-11)
        assert_allclose(deviation[i], np.sqrt(np.diag(spread)), rtol=1e-8)


def test_log_density():
    truth, targets = mixture(4, 3), np.array([0, 2])
    rows = rows_of(truth, 50, 0.0)
    conditional = ConditionalMixture(parameters_of(*truth), targets)
    found = conditional.log_density(ArraySource(rows))
    for value, row in zip(found, rows, strict=True):
        parts = expected(truth, targets, row[[1, 3]])
        assert_allclose(value, oracle.log_density(row[None, targets], *parts)[0], rtol=1e-9)


def test_draws_have_the_moments():
    truth, targets = mixture(3, 2), np.array([0, 1])
    conditional = ConditionalMixture(parameters_of(*truth), targets)
    x = np.array([[0.5]])
    draws = Draws(40_000, 2, seed=3)
    (found,) = conditional.evaluate(ArraySource(x), draws, begin=draws.begin)
    weights, means, covariances = expected(truth, targets, x[0])
    middle = weights @ means
    spread = np.einsum("k,kij->ij", weights, covariances) + np.einsum(
        "k,ki,kj->ij", weights, means - middle, means - middle
    )
    error = np.sqrt(np.diag(spread) / 40_000)
    assert (np.abs(found[0].mean(axis=1) - middle) < 4.5 * error).all()
    assert_allclose(np.cov(found[0]), spread, rtol=0.05, atol=0.03 * spread.max())


@pytest.mark.parametrize("incomplete", [False, True])
def test_values_do_not_depend_on_blocks(incomplete, monkeypatch):
    monkeypatch.setattr(regression, "_PIECE_BYTES", 1)
    truth, targets = mixture(4, 2), np.array([3])
    X = rows_of(truth, 5000, 0.2 if incomplete else 0.0)[:, :3]
    conditional = ConditionalMixture(parameters_of(*truth), targets)
    draws = Draws(2, 1, seed=0)

    def found(source):
        source.incomplete = incomplete
        pieces = list(conditional.evaluate(source, draws, begin=draws.begin))
        assert len(pieces) == 5
        return np.concatenate(pieces)

    assert_array_equal(found(ArraySource(X)), found(BlockSource(X)))


def test_remembered_patterns_are_bounded(monkeypatch):
    monkeypatch.setattr(regression, "_REMEMBERED_BYTES", 0)
    truth, targets = mixture(5, 2), np.array([4])
    X = rows_of(truth, 100, 0.4)[:, :4]
    conditional = ConditionalMixture(parameters_of(*truth), targets)
    (found,) = conditional.evaluate(ArraySource(X, incomplete=True), lambda each, _: each.mean())
    assert len(conditional._by_pattern) <= 2
    weights, means, _ = expected(truth, targets, X[7])
    assert_allclose(found[7], weights @ means, rtol=1e-9)


def test_inputs_far_from_the_origin_lose_no_digits():
    truth, targets = mixture(3, 2), np.array([2])
    weights, means, covariances = truth
    X = rows_of(truth, 20, 0.0)[:, :2]
    near = ConditionalMixture(parameters_of(*truth), targets)
    shift = np.array([2.0**27, 0.0, 0.0])
    far = ConditionalMixture(parameters_of(weights, means + shift, covariances), targets)
    (expected_mean,) = near.evaluate(ArraySource(X), lambda found, _: found.mean())
    (found,) = far.evaluate(ArraySource(X + shift[:2]), lambda each, _: each.mean())
    assert_allclose(found, expected_mean, atol=1e-6)


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
