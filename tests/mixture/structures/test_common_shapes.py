"""Volumes that vary, of one shape: the only optimum is found, or that there is none is reported."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.optimize import minimize

from fastgmm.mixture.parameters import MixtureParameters
from fastgmm.mixture.regularization import IllDefinedCovarianceError, Regularization
from fastgmm.mixture.structures import Spread, structure
from tests import oracle

every_structure = pytest.mark.parametrize("name", ["VEI", "VEE", "VEV"])


def draw(seed=0, n_components=3, n_features=3, spread_of_volumes=1.0):
    rng = np.random.default_rng(seed)
    A = rng.normal(size=(n_components, n_features, 3 * n_features))
    A *= np.exp(spread_of_volumes * rng.normal(size=n_components))[:, None, None]
    A = rng.normal(size=(n_features, n_features)) @ A
    return A @ A.transpose(0, 2, 1), rng.dirichlet(np.ones(n_components))


def matrices(name, covariances, counts, *, before=None, amount=0.0):
    kind = structure(name)
    K, D = covariances.shape[:2]
    regularization = Regularization(np.full(D, amount), np.zeros(D, dtype=bool))
    given_covariances = covariances + amount * np.eye(D)
    if kind.is_diagonal:
        given_covariances = np.einsum("kii->ki", given_covariances).copy()
    spread = Spread(given_covariances.copy(), counts, regularization, before)
    parameters = kind.assemble(np.ones(K) / K, np.zeros((K, D)), kind.whiten(spread))
    found = parameters.covariances()
    return np.array([np.diag(each) for each in found]) if kind.is_diagonal else found


@every_structure
def test_the_criterion_has_no_lower_value(name):
    """Maximized numerically, over the logarithms of volumes and the entries of a factor."""
    covariances, counts = draw(n_features=2)
    axes = np.repeat(np.eye(2)[None], 3, axis=0)
    observed = covariances
    if name == "VEV":
        variances, axes = np.linalg.eigh(covariances)
        observed = np.array([np.diag(each) for each in variances])
    if name == "VEI":
        observed = observed * np.eye(2)

    def value(x):
        factor = np.array([[np.exp(x[0]), 0.0], [0.0 if name != "VEE" else x[1], 1.0]])
        return oracle.criterion(
            np.exp(x[2:])[:, None, None] * (factor @ factor.T), observed, counts
        )

    best = minimize(value, np.zeros(5), method="BFGS", options={"gtol": 1e-9})
    found = axes.transpose(0, 2, 1) @ matrices(name, covariances, counts) @ axes
    assert oracle.criterion(found, observed, counts) <= best.fun + 1e-12
    assert oracle.criterion(found, observed, counts) == pytest.approx(best.fun, abs=1e-8)


@every_structure
@given(seed=st.integers(0, 2**32 - 1))
@example(seed=214829921)  # a condition number of 1e11
@settings(max_examples=10)
def test_volumes_of_very_different_sizes(name, seed):
    """The error is no more than what rounding the observed covariances may change."""
    covariances, counts = draw(seed, 4, 3, spread_of_volumes=20.0)
    expected = oracle.exact_covariances_of_one_shape(name, covariances, counts)
    found = matrices(name, covariances, counts)
    size = np.sqrt(np.einsum("kii->ki", expected))
    error = (found - expected) / size[:, :, None] / size[:, None, :]
    condition = 1.0 if name == "VEI" else np.linalg.cond(covariances).max()
    assert np.abs(error).max() < 4 * np.finfo(np.float64).eps * max(condition, 10.0)


@every_structure
def test_the_optimum_does_not_depend_on_where_it_is_looked_for(name):
    covariances, counts = draw()
    expected = matrices(name, covariances, counts)
    kind = structure(name)
    for seed in range(1, 5):
        other, _ = draw(seed, spread_of_volumes=5.0)
        others = matrices(name, other, counts)
        if kind.is_diagonal:
            others = np.einsum("kii->ki", others)
        before = MixtureParameters.from_covariances(counts, np.zeros((3, 3)), others)
        found = matrices(name, covariances, counts, before=before)
        assert_allclose(found, expected, rtol=1e-9, atol=1e-10)


@every_structure
def test_components_of_too_few_dimensions_for_their_number_are_named(name):
    """More than a third of the points on a line: there its volume shrinks without end."""
    covariances, _ = draw()
    covariances[1] = np.diag([1.0, 0.0, 0.0])
    matrices(name, covariances, np.array([0.4, 0.3, 0.3]))
    message = r"component 1 is ill-defined: its points lie in too few directions.*reg_covar > 0"
    with pytest.raises(IllDefinedCovarianceError, match=message):
        matrices(name, covariances, np.array([0.3, 0.4, 0.3]))


@every_structure
@pytest.mark.parametrize("amount", [1e-6, 1e-9])
def test_the_regularization_gives_them_an_optimum(name, amount):
    covariances, _ = draw()
    covariances[1] = np.diag([1.0, 0.0, 0.0])
    counts = np.array([0.3, 0.4, 0.3])
    found = matrices(name, covariances, counts, amount=amount)
    observed = covariances + amount * np.eye(3)
    if name == "VEI":
        observed = observed * np.eye(3)
    plain = oracle.best_covariances(name, observed, counts)
    lowest = oracle.criterion(plain, observed, counts)
    assert oracle.criterion(found, observed, counts) <= lowest + 1e-7 * abs(lowest)


def test_components_on_a_plane_and_on_a_line_may_have_a_shape_in_common():
    """Neither alone is of full rank, but no subspace has too many of the points."""
    covariances = np.stack([np.diag([1.0, 4.0, 0.0]), np.diag([0.0, 0.0, 2.0])])
    counts = np.array([0.6, 0.4])
    with pytest.raises(IllDefinedCovarianceError, match="component 1"):
        matrices("VEI", covariances, counts)
    third = np.concatenate([covariances, np.eye(3)[None]])
    found = matrices("VEE", third, np.array([0.3, 0.1, 0.6]))
    assert_allclose(found, oracle.best_covariances("VEE", third, np.array([0.3, 0.1, 0.6])))
