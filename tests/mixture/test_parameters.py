"""Parameters against their definitions, at every scale."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from fastgmm.mixture.parameters import MixtureParameters, cholesky_factors, invert_triangles
from tests import oracle

SCALES = [1e-150, 1e-4, 1.0, 1e8, 1e150]


def draw(n_components=3, n_features=4, seed=0):
    rng = np.random.default_rng(seed)
    roots = rng.normal(size=(n_components, n_features, 2 * n_features))
    covariances = roots @ roots.transpose(0, 2, 1) / (2 * n_features)
    return (
        rng.dirichlet(np.ones(n_components)),
        rng.normal(size=(n_components, n_features)),
        covariances,
    )


def joint(parameters, X):
    """Evaluate the log-densities as the class defines them."""
    offsets = X[:, None, :] - parameters.means
    if parameters.is_diagonal:
        whitened = offsets * parameters.whiteners
    else:
        whitened = np.einsum("kij,nkj->nki", parameters.whiteners, offsets)
    return parameters.log_weights + parameters.log_normalizers - 0.5 * (whitened**2).sum(axis=2)


def test_log_densities_are_those_of_the_mixture():
    weights, means, covariances = draw()
    X = np.random.default_rng(1).normal(size=(20, 4))
    expected = oracle.joint_log_density(X, weights, means, covariances)
    parameters = MixtureParameters.from_covariances(weights, means, covariances)
    assert_allclose(joint(parameters, X), expected, rtol=1e-12)
    precisions = np.linalg.inv(covariances)
    again = MixtureParameters.from_precisions(weights, means, precisions)
    assert_allclose(joint(again, X), expected, rtol=1e-11)


def test_diagonal_log_densities_are_those_of_the_mixture():
    weights, means, _ = draw()
    variances = np.random.default_rng(2).uniform(0.5, 2.0, size=(3, 4))
    X = np.random.default_rng(1).normal(size=(20, 4))
    matrices = np.array([np.diag(each) for each in variances])
    expected = oracle.joint_log_density(X, weights, means, matrices)
    for parameters in (
        MixtureParameters.from_covariances(weights, means, variances),
        MixtureParameters.from_precisions(weights, means, 1.0 / variances),
    ):
        assert parameters.is_diagonal
        assert_allclose(joint(parameters, X), expected, rtol=1e-12)


@pytest.mark.parametrize("scale", SCALES)
def test_covariances_and_precisions_come_back_at_every_scale(scale):
    weights, means, covariances = draw()
    scales = scale * np.array([1.0, 1e-3, 1e3, 1.0])
    scaled = covariances * scales[:, None] * scales
    parameters = MixtureParameters.from_covariances(weights, means, scaled)
    assert_allclose(parameters.covariances(), scaled, rtol=1e-12)
    assert_array_equal(np.triu(parameters.whiteners, 1), 0.0)
    assert np.isfinite(parameters.log_normalizers).all()
    precisions = parameters.precisions()
    assert_allclose(
        precisions * scales[:, None] * scales, np.linalg.inv(covariances), rtol=1e-11, atol=1e-13
    )
    again = MixtureParameters.from_precisions(weights, means, precisions)
    assert_allclose(again.whiteners, parameters.whiteners, rtol=1e-10, atol=0)


@pytest.mark.parametrize("scale", SCALES)
def test_diagonal_covariances_come_back_at_every_scale(scale):
    weights, means, _ = draw()
    variances = np.random.default_rng(2).uniform(0.5, 2.0, size=(3, 4)) * scale * scale
    parameters = MixtureParameters.from_covariances(weights, means, variances)
    assert_allclose(parameters.covariances(), variances, rtol=1e-14)
    assert_allclose(parameters.precisions(), 1.0 / variances, rtol=1e-14)


def test_normalizers_keep_their_digits_when_the_determinant_overflows():
    n_features = 40
    covariance = 1e300 * np.eye(n_features)[None]
    parameters = MixtureParameters.from_covariances(
        np.ones(1), np.zeros((1, n_features)), covariance
    )
    expected = -0.5 * n_features * (np.log(2 * np.pi) + 300 * np.log(10))
    assert parameters.log_normalizers[0] == pytest.approx(expected, rel=1e-14)


def test_a_weight_of_zero_is_allowed():
    _, means, covariances = draw(2)
    parameters = MixtureParameters.from_covariances(np.array([0.0, 1.0]), means, covariances)
    assert_array_equal(parameters.log_weights, [-np.inf, 0.0])
    assert_array_equal(parameters.weights, [0.0, 1.0])


def test_covariances_and_precisions_are_exactly_symmetric():
    parameters = MixtureParameters.from_covariances(*draw(3, 9))
    for matrices in (parameters.covariances(), parameters.precisions()):
        assert_array_equal(matrices, matrices.transpose(0, 2, 1))


def test_shapes_are_reported():
    parameters = MixtureParameters.from_covariances(*draw(3, 4))
    assert (parameters.n_components, parameters.n_features) == (3, 4)
    assert not parameters.is_diagonal


@pytest.mark.parametrize("n_features", [1, 5, 63, 64, 130])
def test_cholesky_factors_small_and_large(n_features):
    _, _, covariances = draw(3, n_features)
    factors = cholesky_factors(covariances)
    assert_allclose(factors, np.linalg.cholesky(covariances), atol=1e-13)
    assert_array_equal(np.triu(factors, 1), 0.0)
    assert_array_equal(cholesky_factors(covariances[1:2])[0], factors[1])
    covariances[1, -1, -1] = -1.0
    with pytest.raises(np.linalg.LinAlgError, match="positive definite"):
        cholesky_factors(covariances)


def test_inverses_of_triangles():
    triangles = np.tril(np.random.default_rng(0).normal(size=(5, 7, 7))) + 5 * np.eye(7)
    inverses = invert_triangles(triangles)
    assert_allclose(inverses @ triangles, np.broadcast_to(np.eye(7), (5, 7, 7)), atol=1e-13)
    assert_array_equal(np.triu(inverses, 1), 0.0)


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (MixtureParameters.from_covariances, "covariance"),
        (MixtureParameters.from_precisions, "precision"),
    ],
)
def test_matrices_that_are_not_positive_definite_are_named(make, what):
    weights, means, matrices = draw()
    matrices[1, 0, 0] = -1.0
    with pytest.raises(ValueError, match=f"the {what} of component 1 is not positive: .* is -1"):
        make(weights, means, matrices)
    matrices[1] = np.ones((4, 4)) - 0.5 * np.eye(4)[::-1]
    with pytest.raises(ValueError, match=rf"the {what} of component 1 is not positive definite"):
        make(weights, means, matrices)
    with pytest.raises(ValueError, match=f"the {what} of component 0 is not positive: .* is 0"):
        make(weights, means, np.zeros((3, 4)))
