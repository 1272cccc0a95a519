"""Passes over rows with limits against the oracle: quadrature of each row's box."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import logsumexp, softmax

from fastgmm.data.sources.array import ArraySource
from fastgmm.data.sources.limited import with_limits
from fastgmm.em.e_step import passes
from fastgmm.em.missing import incomplete
from fastgmm.em.missing.limited import expected_blocks
from tests import oracle
from tests.incomplete_rows import mixture, parameters_of, rows_of
from tests.pairwise import parametrize_pairwise


def limited_rows(truth, n_samples, missing=0.0, most=None, seed=4):
    """Return rows of which some values are limits, or missing, and the flags."""
    rng = np.random.default_rng(seed)
    X = rows_of(truth, n_samples, 0.0, seed=seed)
    flags = rng.choice([-1, 0, 1], p=[0.2, 0.6, 0.2], size=X.shape)
    if most is not None:
        flags[np.cumsum(flags != 0, axis=1) > most] = 0
    X = X - flags * np.abs(rng.normal(size=X.shape))
    X[(rng.random(X.shape) < missing) & (flags == 0)] = np.nan
    return X, flags


def limited(X, flags, weights=None):
    return with_limits(ArraySource(X, weights, incomplete=bool(np.isnan(X).any())), flags)


@parametrize_pairwise(
    D=[1, 2, 3, 5],
    dtype=[np.float64, np.float32],
    diagonal=[False, True],
    missing=[0.0, 0.3],
    most=[1, 3],
)
def test_every_value_of_a_pass(D, dtype, diagonal, missing, most):
    truth = mixture(D, 3, diagonal=diagonal)
    X, flags = limited_rows(truth, 30, missing, most)
    X = X.astype(dtype)
    weights = np.random.default_rng(2).uniform(0, 2, len(X))
    source = limited(X, flags, weights)
    parameters = parameters_of(*truth, diagonal=diagonal)
    joint, expected, spreads = oracle.limited_statistics(X, flags, *truth)
    density, shares = logsumexp(joint, axis=1), softmax(joint, axis=1)
    exact = diagonal or most == 1
    tolerance = (1e-9 if exact else 1e-4) if dtype is np.float64 else 1e-4

    found = passes.mixture_statistics(source, parameters, n_jobs=1).about(truth[1])
    r = shares * weights[:, None]
    offsets = expected - truth[1]
    first = np.einsum("nk,nki->ki", r, offsets)
    second = np.einsum("nk,nki,nkj->kij", r, offsets, offsets)
    second += np.einsum("nk,nkij->kij", r, spreads)
    if diagonal:
        second = np.einsum("kii->ki", second)
    assert_allclose(found.counts, r.sum(axis=0), atol=tolerance * r.sum())
    assert_allclose(found.first, first, atol=tolerance * np.abs(second).max())
    assert_allclose(found.second, second, atol=tolerance * np.abs(second).max())
    assert found.weight == source.total_weight
    assert found.log_likelihood == pytest.approx(weights @ density, rel=tolerance)
    assert passes.log_likelihood(source, parameters) == pytest.approx(found.log_likelihood)
    values = passes.log_density(source, parameters)
    assert values.dtype == dtype
    assert_allclose(values, density, rtol=tolerance, atol=50 * tolerance)
    assert_allclose(passes.responsibilities(source, parameters), shares, atol=50 * tolerance)
    labels = passes.labels(source, parameters)
    margin = np.sort(shares, axis=1)[:, -1] - np.sort(shares, axis=1)[:, -2]
    assert_array_equal(labels[margin > 1e-3], shares.argmax(axis=1)[margin > 1e-3])
    (rows,) = expected_blocks(source, parameters)
    assert rows.dtype == dtype
    assert_allclose(rows, np.einsum("nk,nki->ni", shares, expected), atol=50 * tolerance)
    known = (flags == 0) & ~np.isnan(X)
    assert_array_equal(rows[known.all(axis=1)], X[known.all(axis=1)])


def test_rows_without_limits_take_the_pass_of_others():
    truth = mixture(3, 2)
    parameters = parameters_of(*truth)
    X = rows_of(truth, 3000, 0.2)
    plain = passes.mixture_statistics(ArraySource(X, incomplete=True), parameters)
    none = passes.mixture_statistics(limited(X, np.zeros(X.shape)), parameters)
    assert_array_equal(plain.second, none.second)
    assert plain.log_likelihood == none.log_likelihood


def test_threads_and_forms_change_no_bit(monkeypatch):
    truth = mixture(3, 2)
    X, flags = limited_rows(truth, 1000, 0.1)
    parameters = parameters_of(*truth)
    source = limited(X, flags)
    one = passes.mixture_statistics(source, parameters, n_jobs=1)
    two = passes.mixture_statistics(source, parameters, n_jobs=2)
    assert_array_equal(one.second, two.second)
    assert one.log_likelihood == two.log_likelihood
    monkeypatch.setattr(incomplete, "_CHUNK_BYTES", 1)
    cut = passes.mixture_statistics(source, parameters)
    assert_allclose(one.second, cut.second, rtol=1e-12)


def test_weights_are_copies_and_known_components_are_kept():
    truth = mixture(3, 2)
    X, flags = limited_rows(truth, 80, 0.1, most=1)
    copies = np.random.default_rng(0).integers(0, 4, len(X))
    parameters = parameters_of(*truth)
    known = np.arange(len(X)) % 3 - 1
    one = passes.mixture_statistics(
        limited(X, flags, copies.astype(float)), parameters, known=known
    )
    repeated = (np.repeat(each, copies, axis=0) for each in (X, flags))
    other = passes.mixture_statistics(
        limited(*repeated), parameters, known=np.repeat(known, copies)
    )
    assert_allclose(one.second, other.second, rtol=1e-12, atol=1e-12)
    joint, _, _ = oracle.limited_statistics(X, flags, *truth)
    some = known >= 0
    joint[some] = np.where(np.arange(2) == known[some, None], joint[some], -np.inf)
    assert_allclose(one.log_likelihood, copies @ logsumexp(joint, axis=1), rtol=1e-10)
    assert_allclose(one.counts, copies @ softmax(joint, axis=1), rtol=1e-9)


def test_limits_beyond_all_values_are_missing_values():
    truth = mixture(4, 3)
    parameters = parameters_of(*truth)
    X = rows_of(truth, 200, 0.3)
    lacking = np.isnan(X)
    wide = limited(np.where(lacking, 1e6, X), np.where(lacking, -1, 0))
    one = passes.mixture_statistics(wide, parameters)
    other = passes.mixture_statistics(ArraySource(X, incomplete=True), parameters)
    assert one.log_likelihood == pytest.approx(other.log_likelihood, rel=1e-3)
    for name in ("counts", "first", "second"):
        value = getattr(other.about(truth[1]), name)
        found = getattr(one.about(truth[1]), name)
        assert_allclose(found, value, atol=3e-3 * np.abs(value).max())
