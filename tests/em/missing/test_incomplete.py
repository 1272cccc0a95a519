"""Passes over rows that lack values against the oracle: each row by its own marginal."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import logsumexp, softmax

from fastgmm.data.source import Rows, Source
from fastgmm.data.sources.array import ArraySource
from fastgmm.em.e_step import passes
from fastgmm.em.missing import incomplete
from fastgmm.em.missing.incomplete import chunk_rows
from fastgmm.mixture.noise import UniformNoise
from fastgmm.mixture.regularization import Regularization
from fastgmm.mixture.structures import structure
from tests import oracle
from tests.em.batch_fits import fit_em
from tests.incomplete_rows import mixture, parameters_of, rows_of

by_route = pytest.mark.parametrize("many", [1, 10**9], ids=["by pattern", "row by row"])
by_kind = pytest.mark.parametrize("diagonal", [False, True], ids=["full", "diag"])


@pytest.fixture
def route(monkeypatch):
    """Return a function that sets from how many rows on a pattern gets a pass of its own."""

    def choose(many):
        monkeypatch.setattr(incomplete, "_rows_of_large_group", lambda _: many)

    return choose


def test_rows_without_gaps_give_the_same_bits():
    truth = mixture(4, 3)
    X = rows_of(truth, 5000, 0.0)
    weights = np.random.default_rng(0).uniform(0, 2, len(X))
    parameters = parameters_of(*truth)
    complete, flagged = ArraySource(X, weights), ArraySource(X, weights, incomplete=True)
    expected = passes.mixture_statistics(complete, parameters)
    found = passes.mixture_statistics(flagged, parameters)
    assert_same_bits(found, expected)
    for evaluate in (passes.log_density, passes.responsibilities, passes.labels):
        np.testing.assert_array_equal(evaluate(flagged, parameters), evaluate(complete, parameters))


class Blocks(Source):
    """Rows of arrays in blocks of given sizes, each overwritten by the next."""

    replayable = incomplete = True
    feature_names = None

    def __init__(self, X, weights, sizes, order="C"):
        self.X, self.given, self.sizes, self.order = X, weights, sizes, order
        self.dtype, self.n_features = X.dtype, X.shape[1]

    n_samples = None
    has_weights = property(lambda self: self.given is not None)
    total_weight = property(lambda self: float(self.given.sum()))
    fingerprint = None

    def blocks(self):
        room = np.empty_like(self.X, order=self.order)
        first = 0
        for size in self.sizes:
            part = slice(first, first + size)
            n_rows = len(self.X[part])
            room[:n_rows] = self.X[part]
            yield Rows(room[:n_rows], self.given[part].copy())
            first += size


@by_kind
def test_threads_and_blocks_do_not_change_a_bit(diagonal, monkeypatch):
    # chunks of 1024 rows, patterns with a pass of their own and without, and one too many
    monkeypatch.setattr(incomplete, "_CHUNK_BYTES", 1)
    monkeypatch.setattr(incomplete, "_PATTERN_BYTES", 1)
    truth = mixture(5, 4, diagonal=diagonal)
    X = rows_of(truth, 6000, 0.3, n_patterns=9)
    X[:500] = rows_of(truth, 500, 0.5, seed=5)
    weights = np.full(len(X), 0.25)
    parameters = parameters_of(*truth, diagonal=diagonal)
    whole = ArraySource(X, weights, incomplete=True)
    expected = passes.mixture_statistics(whole, parameters, n_jobs=1)
    for source in (
        whole,
        ArraySource(np.asfortranarray(X), weights, incomplete=True),
        Blocks(X, weights, [1024, 3072, 2048]),
        Blocks(X, weights, [2048, 2048, 2048], order="F"),
    ):
        assert_same_bits(passes.mixture_statistics(source, parameters, n_jobs=2), expected)
        assert passes.log_likelihood(source, parameters, n_jobs=2) == expected.log_likelihood


def assert_same_bits(found, expected):
    for name in ("reference", "counts", "first", "second", "log_likelihood", "weight"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), err_msg=name)


@by_kind
def test_both_ways_give_the_same_statistics(diagonal, route):
    truth = mixture(6, 3, diagonal=diagonal)
    X = rows_of(truth, 4000, 0.3, n_patterns=30)
    source = ArraySource(X, incomplete=True)
    parameters = parameters_of(*truth, diagonal=diagonal)
    found = []
    for many in (1, 50, 10**9):
        route(many)
        found.append(passes.mixture_statistics(source, parameters))
    for each in found[1:]:
        each = each.about(found[0].reference)
        np.testing.assert_allclose(each.counts, found[0].counts, rtol=1e-12)
        np.testing.assert_allclose(each.first, found[0].first, atol=1e-9)
        np.testing.assert_allclose(each.second, found[0].second, atol=1e-9)
        assert each.log_likelihood == pytest.approx(found[0].log_likelihood, rel=1e-13)


@settings(max_examples=25)
@given(st.integers(0, 10**6), st.integers(1, 6), st.integers(1, 3), st.booleans())
def test_weights_are_repetitions_and_order_does_not_matter(seed, D, K, diagonal):
    truth = mixture(D, K, diagonal=diagonal, seed=seed)
    X = rows_of(truth, 40, 0.4, seed=seed)
    weights = np.random.default_rng(seed).integers(0, 4, len(X))
    if not weights.any():
        weights[0] = 1
    parameters = parameters_of(*truth, diagonal=diagonal)
    one = passes.mixture_statistics(ArraySource(X, weights, incomplete=True), parameters)
    repeated = np.random.default_rng(seed).permutation(X.repeat(weights, axis=0))
    other = passes.mixture_statistics(ArraySource(repeated, incomplete=True), parameters)
    other = other.about(one.reference)
    np.testing.assert_allclose(one.counts, other.counts, atol=1e-9)
    np.testing.assert_allclose(one.means(), other.means(), atol=1e-7)
    np.testing.assert_allclose(one.second, other.second, atol=1e-7 * np.abs(one.second).max())
    assert one.log_likelihood == pytest.approx(other.log_likelihood, rel=1e-10)


@by_route
def test_rows_of_known_component(many, route):
    route(many)
    truth = mixture(4, 3)
    X = rows_of(truth, 200, 0.4)
    X[5] = X[6] = X[7] = np.nan
    known = np.where(np.arange(200) % 3 == 0, np.arange(200) % 2, -1)
    parameters = parameters_of(*truth)
    source = ArraySource(X, incomplete=True)
    joint = oracle.observed_joint_log_density(X, *truth)
    for n in np.flatnonzero(known >= 0):
        joint[n, np.arange(3) != known[n]] = -np.inf
    found = passes.mixture_statistics(source, parameters, known=known)
    counts, first, second = oracle.expected_moments(
        X, softmax(joint, axis=1), found.reference, truth[1], truth[2]
    )
    np.testing.assert_allclose(found.counts, counts, rtol=1e-11)
    np.testing.assert_allclose(found.first, first, atol=1e-9)
    np.testing.assert_allclose(found.second, second, atol=1e-9)
    assert found.log_likelihood == pytest.approx(logsumexp(joint, axis=1).sum(), rel=1e-11)
    total = passes.log_likelihood(source, parameters, known=known)
    assert total == found.log_likelihood


@by_route
def test_far_from_the_origin_and_of_very_different_scales(many, route):
    route(many)
    truth = mixture(4, 2)
    scales = np.array([1e-8, 1.0, 1e6, 1e3])
    moved = truth[0], 1e8 * scales + truth[1] * scales, truth[2] * np.outer(scales, scales)
    X = rows_of(truth, 300, 0.3)
    expected = passes.mixture_statistics(ArraySource(X, incomplete=True), parameters_of(*truth))
    found = passes.mixture_statistics(
        ArraySource(1e8 * scales + X * scales, incomplete=True), parameters_of(*moved)
    )
    # the rows themselves are rounded to 1e-8 of their spread
    means = (found.means() - 1e8 * scales) / scales
    np.testing.assert_allclose(means, expected.means(), atol=1e-6)
    covariances = found.covariances() / np.outer(scales, scales)
    np.testing.assert_allclose(covariances, expected.covariances(), atol=1e-6)


@by_route
def test_nearly_dependent_features(many, route):
    route(many)
    rng = np.random.default_rng(0)
    factor = np.array([[1.0, 0.0, 0.0], [1.0, 1e-5, 0.0], [0.5, 0.0, 1.0]])
    covariance = factor @ factor.T
    truth = np.ones(1), np.zeros((1, 3)), covariance[None]
    X = rng.normal(size=(200, 3)) @ factor.T
    X[rng.random(X.shape) < 0.3] = np.nan
    source = ArraySource(X, incomplete=True)
    found = passes.mixture_statistics(source, parameters_of(*truth))
    _, first, second = oracle.expected_moments(X, np.ones((200, 1)), found.reference, *truth[1:])
    np.testing.assert_allclose(found.first, first, atol=1e-4)
    np.testing.assert_allclose(found.second, second, atol=1e-4)


def test_one_pattern_among_very_many_features(route):
    route(1)
    truth = mixture(70, 2)
    X = rows_of(truth, 80, 0.4, n_patterns=3)
    parameters = parameters_of(*truth)
    source = ArraySource(X, incomplete=True)
    joint = oracle.observed_joint_log_density(X, *truth)
    np.testing.assert_allclose(
        passes.log_density(source, parameters), logsumexp(joint, axis=1), rtol=1e-10
    )


def test_a_component_of_no_weight_takes_no_part():
    _, means, covariances = mixture(3, 2)
    truth = np.array([1.0, 0.0]), means, covariances
    X = rows_of(truth, 100, 0.4)
    X[3] = np.nan
    found = passes.mixture_statistics(ArraySource(X, incomplete=True), parameters_of(*truth))
    np.testing.assert_array_equal(found.counts, [100.0, 0.0])
    assert np.isfinite(found.log_likelihood)


@pytest.mark.parametrize("name", ["full", "tied", "diag", "spherical"])
def test_the_likelihood_of_what_is_observed_does_not_fall(name):
    kind = structure(name)
    truth = mixture(5, 3, separation=1.5)
    X = rows_of(truth, 1500, 0.25)
    start = mixture(5, 3, separation=1.0, seed=4)
    weights, means, covariances = start
    user = {
        "full": covariances,
        "tied": covariances[0],
        "diag": np.einsum("kii->ki", covariances),
        "spherical": np.ones(3),
    }
    parameters = kind.from_covariances(weights, means, user[name])
    amounts = Regularization(np.full(5, 1e-6), np.zeros(5, dtype=bool))
    source = ArraySource(X, incomplete=True)
    _, info = fit_em(source, parameters, kind, amounts, tol=0.0, max_iter=40)
    assert info.n_iter == 40
    assert np.diff(info.trace).min() > -1e-12 * abs(info.trace[0])
    assert info.trace[-1] > info.trace[0]


def test_a_step_of_em_is_that_of_the_oracle():
    truth = mixture(3, 2, seed=3)
    X = rows_of(truth, 120, 0.3)
    joint = oracle.observed_joint_log_density(X, *truth)
    shares = softmax(joint, axis=1)
    counts, first, second = oracle.expected_moments(X, shares, truth[1], *truth[1:])
    means = truth[1] + first / counts[:, None]
    shift = first / counts[:, None]
    covariances = second / counts[:, None, None] - shift[:, :, None] * shift[:, None, :]
    statistics = passes.mixture_statistics(ArraySource(X, incomplete=True), parameters_of(*truth))
    found = structure("full").solve(statistics, Regularization.none(3))
    np.testing.assert_allclose(found.weights, counts / 120, rtol=1e-12)
    np.testing.assert_allclose(found.means, means, rtol=1e-11)
    np.testing.assert_allclose(found.covariances(), covariances, rtol=1e-9)


def test_noise_is_refused():
    truth = mixture(2, 2)
    noisy = UniformNoise(3.0).added(parameters_of(*truth), 0.1)
    with pytest.raises(ValueError, match="noise has no density for part of a row"):
        passes.log_likelihood(ArraySource(rows_of(truth, 20), incomplete=True), noisy)


def test_chunks_depend_on_the_number_of_features_only():
    assert chunk_rows(8) == 262_144
    assert chunk_rows(10**7) == 1024
