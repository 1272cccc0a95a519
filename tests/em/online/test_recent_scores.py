"""Blended distributions of scores against all scores with their faded weights."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from fastgmm.analysis.quantiles import quantile_cut
from fastgmm.em.online import recent_scores
from fastgmm.em.online.recent_scores import RecentScores


def share_below(batches, steps, cut):
    """Return the share of all scores, each with the weight that the steps leave it."""
    total = 0.0
    for scores, step in zip(batches, steps, strict=True):
        total = (1.0 - step) * total + step * np.mean(scores < cut)
    return total


def test_few_scores_are_exact():
    rng = np.random.default_rng(0)
    scores, weights = rng.normal(size=500), rng.integers(0, 3, 500).astype(float)
    recent = RecentScores.nothing().blended(scores, weights, 1.0, 0.1)
    assert_allclose(recent.masses.sum(), 1.0)
    for share in (0.02, 0.1, 0.5):
        assert recent.cut(share) == quantile_cut(lambda: [(scores, weights)], share)


def test_the_first_scores_have_all_of_the_mass():
    recent = RecentScores.nothing().blended(np.array([1.0, 0.0]), None, 0.25, 0.1)
    assert_array_equal(recent.masses, [0.5, 0.5])


def test_the_mass_of_a_batch_is_its_step():
    recent = RecentScores.nothing().blended(np.array([1.0, 3.0]), None, 1.0, 0.1)
    recent = recent.blended(np.array([2.0, 4.0]), np.array([3.0, 1.0]), 0.4, 0.1)
    assert_array_equal(recent.values, [1.0, 2.0, 3.0, 4.0])
    assert_allclose(recent.masses, [0.3, 0.3, 0.3, 0.1])


def test_scores_without_weight_change_nothing():
    recent = RecentScores.nothing().blended(np.array([1.0, 3.0]), None, 1.0, 0.1)
    assert recent.blended(np.zeros(2), np.zeros(2), 0.5, 0.1) is recent
    assert recent.blended(np.zeros(0), None, 0.5, 0.1) is recent


@pytest.mark.parametrize("share", [0.001, 0.05, 0.5])
@pytest.mark.parametrize("forgetting", [0.8, 0.99, None])
def test_long_streams_are_forgotten_as_said(forgetting, share):
    rng = np.random.default_rng(1)
    # The stream moves up and widens, so that what was far from the quantile comes near.
    batches = [rng.normal(0.05 * t, 1.0 + 0.02 * t, 3000) for t in range(150)]
    steps = [1.0 / (1 + t) if forgetting is None else 1.0 - forgetting for t in range(150)]
    steps[0] = 1.0
    recent = RecentScores.nothing()
    for scores, step in zip(batches, steps, strict=True):
        recent = recent.blended(scores, None, step, share)
    assert len(recent.values) <= recent_scores.MOST_POINTS
    assert_allclose(recent.masses.sum(), 1.0)
    found = share_below(batches, steps, recent.cut(share))
    # The share is met to a hundredth of it, although 450,000 scores became a few thousand.
    assert_allclose(found, share, rtol=0.01)


def test_other_quantiles_are_not_far_off():
    rng = np.random.default_rng(2)
    scores = rng.normal(size=100_000)
    recent = RecentScores.nothing().blended(scores, None, 1.0, 0.01)
    assert len(recent.values) < 8192
    for share in (0.002, 0.3, 0.9):
        assert_allclose(np.mean(scores < recent.cut(share)), share, atol=0.005)


def test_one_row_at_a_time_is_like_many():
    rng = np.random.default_rng(3)
    scores = rng.normal(size=400)
    single = RecentScores.nothing().blended(scores[:100], None, 1.0, 0.1)
    whole = single.blended(scores[100:], None, 1.0 - 0.99**300, 0.1)
    for score in scores[100:]:
        single = single.blended(np.array([score]), None, 0.01, 0.1)
    assert_array_equal(single.values, whole.values)
    assert abs(single.cut(0.1) - whole.cut(0.1)) < 0.2


def test_what_faded_away_is_dropped():
    recent = RecentScores.nothing().blended(np.array([-100.0]), None, 1.0, 0.1)
    for _ in range(80):
        recent = recent.blended(np.array([1.0, 2.0]), None, 0.5, 0.1)
    assert recent.values[0] == 1.0
