"""Passes over rows with errors against the oracle: each row by a covariance of its own."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import logsumexp, softmax

from fastgmm.data.sources.array import ArraySource
from fastgmm.data.sources.measured import MeasuredRows, with_error_covariance
from fastgmm.em.e_step import passes
from fastgmm.em.measurement_errors import error_pass
from fastgmm.em.measurement_errors.denoising import denoised_blocks
from fastgmm.kernels.passes.error_pass import DEVIATIONS
from tests import oracle
from tests.incomplete_rows import mixture, parameters_of, rows_of
from tests.pairwise import parametrize_pairwise

FORMS = ["variances", "covariances", "deviations", "one variance", "one covariance"]


def errors_of(form, n_samples, n_features, seed=3):
    """Return errors as they are given, and the covariance of each row's."""
    rng = np.random.default_rng(seed)
    factors = rng.normal(size=(n_samples, n_features, n_features))
    variances = rng.gamma(1.0, size=(n_samples, n_features))
    variances[::3] = 0.0
    if form == "covariances":
        return (given := factors @ factors.transpose(0, 2, 1)), given
    if form == "one covariance":
        given = factors[0] @ factors[0].T
        return given, np.repeat(given[None], n_samples, axis=0)
    if form == "one variance":
        variances = np.repeat(variances[1:2], n_samples, axis=0)
    return (
        variances[0] if form == "one variance" else variances,
        variances[:, :, None] * np.eye(n_features),
    )


def measured(X, given, form, weights=None):
    source = ArraySource(X, weights, incomplete=bool(np.isnan(X).any()))
    if form != "deviations":
        return with_error_covariance(source, given)
    wide = ArraySource(np.hstack([X, np.sqrt(given)]), weights, incomplete=source.incomplete)
    return MeasuredRows(wide, X.shape[1], DEVIATIONS)


@parametrize_pairwise(
    D=[1, 2, 5, 9],
    form=FORMS,
    dtype=[np.float64, np.float32],
    diagonal=[False, True],
    share=[0.0, 0.3],
)
def test_every_value_of_a_pass(D, form, dtype, diagonal, share):
    truth = mixture(D, 3, diagonal=diagonal)
    X = rows_of(truth, 150, share, dtype)
    if share:
        X[7] = np.nan
    given, errors = errors_of(form, len(X), D)
    given = given.astype(dtype)  # the rows are of the wider type of both
    weights = np.random.default_rng(2).uniform(0, 2, len(X))
    source = measured(X, given, form, weights)
    parameters = parameters_of(*truth, diagonal=diagonal)
    joint = oracle.measured_joint_log_density(X, errors, *truth)
    density, shares = logsumexp(joint, axis=1), softmax(joint, axis=1)
    tolerance = 1e-11 if dtype is np.float64 else 1e-4

    found = passes.mixture_statistics(source, parameters, n_jobs=1)
    counts, first, second = oracle.true_moments(
        X, errors, shares, found.reference, truth[1], truth[2], weights
    )
    if diagonal:
        second = np.einsum("kii->ki", second)
    assert_allclose(found.counts, counts, atol=tolerance * counts.max())
    assert_allclose(found.first, first, atol=tolerance * np.abs(second).max())
    assert_allclose(found.second, second, atol=tolerance * np.abs(second).max())
    assert found.weight == source.total_weight
    assert found.log_likelihood == pytest.approx(weights @ density, rel=tolerance)
    assert passes.log_likelihood(source, parameters, n_jobs=1) == pytest.approx(
        found.log_likelihood, rel=1e-14
    )
    values = passes.log_density(source, parameters, n_jobs=1)
    assert values.dtype == dtype
    assert_allclose(values, density, rtol=tolerance, atol=50 * tolerance)
    values = passes.responsibilities(source, parameters, n_jobs=1)
    assert values.dtype == dtype
    assert_allclose(values, shares, atol=50 * tolerance)
    labels = passes.labels(source, parameters, n_jobs=1)
    margin = np.sort(shares, axis=1)[:, -1] - np.sort(shares, axis=1)[:, -2]
    assert_array_equal(labels[margin > 1e-3], shares.argmax(axis=1)[margin > 1e-3])


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("diagonal", [False, True])
def test_true_values_given_rows(form, diagonal):
    truth = mixture(3, 2, diagonal=diagonal)
    X = rows_of(truth, 60, 0.2)
    given, errors = errors_of(form, len(X), 3)
    source = measured(X, given, form)
    parameters = parameters_of(*truth, diagonal=diagonal)
    ((means, covariances),) = denoised_blocks(source, parameters)
    shares = softmax(oracle.measured_joint_log_density(X, errors, *truth), axis=1)
    for n, x in enumerate(X):
        each = [oracle.true_values(x, errors[n], m, c) for m, c in zip(*truth[1:], strict=True)]
        mean = sum(r * b for r, (b, _) in zip(shares[n], each, strict=True))
        second = sum(
            r * (B + np.outer(b - mean, b - mean))
            for r, (b, B) in zip(shares[n], each, strict=True)
        )
        assert_allclose(means[n], mean, atol=1e-12)
        assert_allclose(covariances[n], second, atol=1e-12)


@pytest.mark.parametrize("form", ["variances", "covariances"])
@pytest.mark.parametrize("size", [1e8, 1e30])
def test_a_very_large_error_is_a_missing_value(form, size):
    truth = mixture(4, 2)
    parameters = parameters_of(*truth)
    X = rows_of(truth, 200, 0.3)
    lacking = np.isnan(X)
    errors = np.where(lacking, size, 0.5)
    shift = 0.5 * lacking.sum() * np.log(2 * np.pi * size)
    given = errors if form == "variances" else errors[:, :, None] * np.eye(4)
    large = with_error_covariance(ArraySource(np.where(lacking, 0.0, X)), given)
    missing = with_error_covariance(ArraySource(X, incomplete=True), np.full(X.shape, 0.5))
    one, other = (passes.mixture_statistics(each, parameters) for each in (large, missing))
    assert one.log_likelihood + shift == pytest.approx(other.log_likelihood, rel=1e2 / size + 1e-12)
    for name in ("counts", "first", "second"):
        value = getattr(other, name)
        assert_allclose(getattr(one, name), value, atol=np.abs(value).max() * (1e2 / size + 1e-11))


def test_nearly_dependent_features_keep_their_digits():
    rng = np.random.default_rng(0)
    D = 4
    covariances = 1e-9 * np.eye(D) + np.ones((D, D))
    parameters = parameters_of(np.ones(1), np.zeros((1, D)), covariances[None])
    X = rng.multivariate_normal(np.zeros(D), covariances, 500)
    plain = passes.mixture_statistics(ArraySource(X), parameters)
    none = passes.mixture_statistics(
        with_error_covariance(ArraySource(X), np.zeros(X.shape)), parameters
    )
    directions = np.linalg.eigh(covariances)[1]
    for name in ("counts", "first"):
        assert_allclose(getattr(none, name), getattr(plain.about(none.reference), name), rtol=1e-9)
    ours, theirs = (
        np.diag(directions.T @ each.about(none.reference).second[0] @ directions)
        for each in (none, plain)
    )
    assert_allclose(ours, theirs, rtol=1e-6)


def test_threads_and_chunks_change_no_bit(monkeypatch):
    truth = mixture(3, 4)
    X = rows_of(truth, 5000, 0.1)
    given, _ = errors_of("variances", len(X), 3)
    parameters = parameters_of(*truth)
    source = measured(X, given, "variances")
    one = passes.mixture_statistics(source, parameters, n_jobs=1)
    two = passes.mixture_statistics(source, parameters, n_jobs=2)
    monkeypatch.setattr(error_pass, "_CHUNK_BYTES", 1)
    cut = passes.mixture_statistics(source, parameters, n_jobs=2)
    for other in (two, cut):
        assert_array_equal(one.second, other.second)
        assert_array_equal(one.first, other.first)
        assert one.log_likelihood == other.log_likelihood


def test_weights_are_copies_and_known_components_are_kept():
    truth = mixture(3, 2)
    X = rows_of(truth, 300, 0.0)
    given, errors = errors_of("covariances", len(X), 3)
    copies = np.random.default_rng(0).integers(0, 4, len(X))
    parameters = parameters_of(*truth)
    known = np.arange(len(X)) % 3 - 1
    one = passes.mixture_statistics(
        measured(X, given, "covariances", copies.astype(float)), parameters, known=known
    )
    other = passes.mixture_statistics(
        measured(np.repeat(X, copies, axis=0), np.repeat(given, copies, axis=0), "covariances"),
        parameters,
        known=np.repeat(known, copies),
    )
    assert_allclose(one.second, other.second, rtol=1e-12)
    joint = oracle.measured_joint_log_density(X, errors, *truth)
    some = known >= 0
    joint[some] = np.where(np.arange(2) == known[some, None], joint[some], -np.inf)
    assert_allclose(one.log_likelihood, copies @ logsumexp(joint, axis=1), rtol=1e-12)
    assert_allclose(one.counts, copies @ softmax(joint, axis=1), rtol=1e-12)
