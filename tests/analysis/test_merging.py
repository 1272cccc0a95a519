"""Merging by entropy against plain sums and mclust's merges, and the change point."""

import json
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from fastgmm.analysis import criteria
from fastgmm.analysis.criteria import assignment_entropy
from fastgmm.analysis.merging import (
    change_point,
    merge_by_entropy,
    merged_responsibilities,
    two_lines,
)
from fastgmm.data.sources.array import ArraySource
from fastgmm.mixture.parameters import MixtureParameters
from tests import oracle
from tests.em.block_source import BlockSource

REFERENCE = Path(__file__).parents[1] / "reference"
MERGING = json.loads((REFERENCE / "merging.json").read_text("utf-8"))
DATA = [name for name in MERGING if name != "mclust"]


def fitted_by_mclust(name):
    """Return the features of a data set and the mixture that mclust merged components of."""
    values = MERGING[name]
    weights, means, covariances = (
        np.array(values[each]) for each in ("weights", "means", "covariances")
    )
    table = np.genfromtxt(REFERENCE / f"{name}.csv", delimiter=",", skip_header=1)
    X = table[:, : means.shape[1]]
    return X, (weights / weights.sum(), means, covariances)


def plain_entropy(shares):
    with np.errstate(divide="ignore", invalid="ignore"):
        return -np.where(shares > 0, shares * np.log(shares), 0.0).sum(axis=1)


def plain_merges(shares, weights):
    """Return entropies and partitions of components, by trying every pair in every step."""
    parts = [frozenset([k]) for k in range(shares.shape[1])]

    def entropy(parts):
        merged = np.stack([shares[:, sorted(part)].sum(axis=1) for part in parts], axis=1)
        return weights @ plain_entropy(merged)

    history = [(entropy(parts), set(parts))]
    while len(parts) > 1:
        tried = []
        for a, b in combinations(range(len(parts)), 2):
            others = [part for i, part in enumerate(parts) if i not in (a, b)]
            tried.append([*others, parts[a] | parts[b]])
        parts = min(tried, key=entropy)
        history.append((entropy(parts), set(parts)))
    return history


def partition(clusters):
    return {frozenset(np.flatnonzero(clusters == each).tolist()) for each in set(clusters)}


@pytest.mark.parametrize("name", DATA)
def test_merges_are_those_of_mclust(name):
    X, truth = fitted_by_mclust(name)
    history = merge_by_entropy(ArraySource(X), MixtureParameters.from_covariances(*truth))
    expected = MERGING[name]
    assert_allclose(history.entropies, expected["entropies"][::-1], rtol=1e-9, atol=1e-9)
    for ours, theirs in zip(history.clusters, expected["clusters"][::-1], strict=True):
        assert partition(ours) == partition(np.array(theirs))
    assert len(truth[0]) - change_point(history.entropies) == expected["elbow"]


@pytest.mark.parametrize("weighted", [False, True])
def test_each_step_is_the_best_of_all_pairs(weighted):
    X, truth = fitted_by_mclust("baudry_4_1")
    weights = np.random.default_rng(0).integers(0, 4, size=len(X)).astype(float)
    weights = weights if weighted else np.ones(len(X))
    shares = oracle.responsibilities(X, *truth)
    expected = plain_merges(shares, weights)
    parameters = MixtureParameters.from_covariances(*truth)
    history = merge_by_entropy(ArraySource(X, weights if weighted else None), parameters)
    assert_allclose(history.entropies, [each[0] for each in expected], rtol=1e-9, atol=1e-9)
    assert [partition(row) for row in history.clusters] == [each[1] for each in expected]
    merged_rows = 0.0
    for i, (a, b) in enumerate(history.merges):
        before = history.clusters[i]
        merged_rows += weights @ shares[:, (before == a) | (before == b)].sum(axis=1)
        assert history.n_merged[i + 1] == pytest.approx(merged_rows)
        same = (before == a) | (before == b)
        assert len(set(history.clusters[i + 1][same])) == 1
    assert history.n_merged[0] == 0.0


def test_clusters_are_numbered_by_their_first_components():
    X, truth = fitted_by_mclust("baudry_4_2")
    history = merge_by_entropy(ArraySource(X), MixtureParameters.from_covariances(*truth))
    for row in history.clusters:
        _, first = np.unique(row, return_index=True)
        assert (np.diff(first) > 0).all()
        assert set(row) == set(range(len(first)))
    assert (history.merges[:, 0] < history.merges[:, 1]).all()


def test_the_first_entropy_is_that_of_the_mixture():
    X, truth = fitted_by_mclust("iris")
    parameters = MixtureParameters.from_covariances(*truth)
    history = merge_by_entropy(ArraySource(X), parameters)
    expected = assignment_entropy(ArraySource(X), parameters)
    assert history.entropies[0] == pytest.approx(expected)
    assert history.entropies[-1] == pytest.approx(0.0, abs=1e-10)


def test_blocks_of_rows_change_nothing(monkeypatch):
    X, truth = fitted_by_mclust("baudry_4_1")
    X = np.repeat(X, 8, axis=0)
    parameters = MixtureParameters.from_covariances(*truth)
    whole = merge_by_entropy(ArraySource(X), parameters)
    monkeypatch.setattr(criteria, "_BLOCK_BYTES", 8 * 6 * 100)
    held = []
    shares = criteria.responsibilities

    def responsibilities(source, *arguments, **options):
        held.append(source.n_samples)
        return shares(source, *arguments, **options)

    monkeypatch.setattr(criteria, "responsibilities", responsibilities)
    cut = merge_by_entropy(BlockSource(X), parameters)
    assert max(held) == 100
    assert_array_equal(cut.clusters, whole.clusters)
    assert_allclose(cut.entropies, whole.entropies, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("n_components", [1, 2])
def test_few_components(n_components):
    X, (_, means, covariances) = fitted_by_mclust("iris")
    parameters = MixtureParameters.from_covariances(
        np.full(n_components, 1.0 / n_components), means[:n_components], covariances[:n_components]
    )
    history = merge_by_entropy(ArraySource(X), parameters)
    assert history.clusters.shape == (n_components, n_components)
    assert history.merges.shape == (n_components - 1, 2)
    assert len(history.entropies) == len(history.n_merged) == n_components


def test_a_component_without_weight_is_matched_with_any():
    X, (weights, means, covariances) = fitted_by_mclust("iris")
    weights = np.append(weights[:3], 0.0)
    parameters = MixtureParameters.from_covariances(
        weights / weights.sum(), means[:4], covariances[:4]
    )
    history = merge_by_entropy(ArraySource(X), parameters)
    assert np.isfinite(history.entropies).all()
    assert (np.diff(history.entropies) <= 1e-9).all()


def test_responsibilities_of_clusters_are_sums():
    shares = np.array([[0.1, 0.2, 0.3, 0.4], [0.7, 0.1, 0.1, 0.1]], dtype=np.float32)
    merged = merged_responsibilities(shares, np.array([0, 1, 0, 2]))
    assert merged.dtype == np.float64
    assert_allclose(merged, [[0.4, 0.2, 0.4], [0.8, 0.1, 0.1]], rtol=1e-6)


def test_the_change_point_is_the_knot_of_two_lines():
    assert change_point(np.array([9.0, 6.0, 3.0, 0.0, 0.0, 0.0])) == 3
    assert change_point(np.array([50.0, 1.0, 0.0])) == 1
    rng = np.random.default_rng(0)
    for _ in range(20):
        values = np.sort(rng.exponential(size=7) ** 2)[::-1]
        left = [np.polyfit(np.arange(c + 1), values[: c + 1], 1, full=True)[1] for c in range(1, 6)]
        right = [np.polyfit(np.arange(7 - c), values[c:], 1, full=True)[1] for c in range(1, 6)]
        squares = [sum(a.sum() for a in pair) for pair in zip(left, right, strict=True)]
        assert change_point(values) == 1 + int(np.argmin(squares))


def test_two_lines():
    values = np.array([9.0, 6.0, 3.0, 1.0, 0.0, 0.0])
    (left, left_line), (right, right_line) = two_lines(values, 2)
    assert_array_equal(left, [9.0, 6.0, 3.0])
    assert_allclose(left_line, left)
    assert_array_equal(right, [3.0, 1.0, 0.0, 0.0])
    expected = np.polyval(np.polyfit(np.arange(4), right, 1), np.arange(4))
    assert_allclose(right_line, expected, atol=1e-12)
