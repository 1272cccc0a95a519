"""One orientation for all components: the best that is found, and never a worse one than before."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from fastgmm.mixture.parameters import MixtureParameters
from fastgmm.mixture.regularization import IllDefinedCovarianceError, Regularization
from fastgmm.mixture.structures import Spread, structure
from tests import oracle

every_structure = pytest.mark.parametrize("name", ["EVE", "VVE"])


def draw(seed=0, n_components=3, n_features=3, common=False, n_samples=None):
    rng = np.random.default_rng(seed)
    axes = [np.linalg.qr(rng.normal(size=(n_features,) * 2))[0] for _ in range(n_components)]
    points = rng.normal(size=(n_components, n_samples or 3 * n_features, n_features))
    points *= np.exp(rng.normal(size=(n_components, 1, n_features)))
    turned = points @ (axes[0] if common else np.array(axes)).swapaxes(-1, -2)
    covariances = turned.transpose(0, 2, 1) @ turned
    return covariances, rng.dirichlet(np.full(n_components, 3.0))


def solved(name, covariances, counts, before=None):
    K, D = covariances.shape[:2]
    kind = structure(name)
    whiteners = kind.whiten(Spread(covariances.copy(), counts, Regularization.none(D), before))
    return kind.assemble(counts / counts.sum(), np.zeros((K, D)), whiteners)


def criterion(parameters, covariances, counts):
    return oracle.criterion(parameters.covariances(), covariances, counts)


def rotation(angle):
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def best_along(name, axes, covariances, counts):
    """Return the best covariances that have the given axes."""
    turned = axes.T @ covariances @ axes
    diagonal = oracle.best_covariances("EVI" if name == "EVE" else "VVI", turned, counts)
    return axes @ diagonal @ axes.T


@every_structure
@pytest.mark.parametrize("seed", range(8))
def test_in_a_plane_no_other_angle_is_better(name, seed):
    covariances, counts = draw(seed, 4, 2)
    values = [
        oracle.criterion(
            best_along(name, rotation(angle), covariances, counts), covariances, counts
        )
        for angle in np.linspace(0.0, np.pi / 2, 400)
    ]
    reached = criterion(solved(name, covariances, counts), covariances, counts)
    assert reached <= min(values) + 1e-12
    assert reached == pytest.approx(min(values), abs=1e-3)


@every_structure
@pytest.mark.parametrize("n_features", [2, 3, 5])
def test_where_axes_are_common_all_is_as_the_oracle_says(name, n_features):
    covariances, counts = draw(1, 3, n_features, common=True, n_samples=200)
    expected = oracle.best_covariances(name, covariances, counts)
    found = solved(name, covariances, counts).covariances()
    assert_allclose(found, expected, rtol=1e-9, atol=1e-9 * expected.max())


@every_structure
@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=20)
def test_the_optimum_is_no_worse_than_the_oracles_and_stationary(name, seed):
    covariances, counts = draw(seed, 3, 4)
    plain = oracle.best_covariances(name, covariances, counts)
    parameters = solved(name, covariances, counts)
    reached = criterion(parameters, covariances, counts)
    assert reached <= oracle.criterion(plain, covariances, counts) + 1e-10
    again = solved(name, covariances, counts, parameters)
    assert_allclose(again.covariances(), parameters.covariances(), rtol=1e-7, atol=1e-7)
    assert criterion(again, covariances, counts) <= reached + 1e-12


@every_structure
@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=30)
def test_the_result_is_never_worse_than_before(name, seed):
    """From mixtures of the structure that are the best of other points, near and far."""
    covariances, counts = draw(seed, 3, 4)
    for distance in (1e-6, 1e-2, 1.0):
        other, _ = draw(seed + 1, 3, 4)
        before = solved(name, (1 - distance) * covariances + distance * other, counts)
        after = solved(name, covariances, counts, before)
        gain = criterion(before, covariances, counts) - criterion(after, covariances, counts)
        assert gain >= -1e-12


@every_structure
def test_axes_are_recognized_where_the_mean_of_the_components_is_a_sphere(name):
    """Components that differ by the order of their axes only: sums of them have no axes."""
    axes = rotation(0.3)
    covariances = axes @ np.array([np.diag([4.0, 0.25]), np.diag([0.25, 4.0])]) @ axes.T
    before = MixtureParameters.from_covariances(np.ones(2) / 2, np.zeros((2, 2)), covariances)
    found = solved(name, covariances, np.ones(2), before)
    assert_allclose(found.covariances(), covariances, rtol=1e-12)
    assert_allclose(solved(name, covariances, np.ones(2)).covariances(), covariances, rtol=1e-12)


@every_structure
def test_spheres_have_any_orientation(name):
    covariances = np.array([1.0, 2.0])[:, None, None] * np.eye(3)
    found = solved(name, covariances, np.ones(2)).covariances()
    expected = oracle.best_covariances(name, covariances, np.ones(2))
    assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


@every_structure
def test_a_rotation_of_the_data_rotates_the_covariances(name):
    covariances, counts = draw(3, common=True)
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    found = solved(name, covariances, counts).covariances()
    turned = solved(name, turn @ covariances @ turn.T, counts).covariances()
    assert_allclose(turned, turn @ found @ turn.T, rtol=1e-8, atol=1e-8 * found.max())


@every_structure
def test_each_component_needs_spread_in_all_directions(name):
    covariances, counts = draw()
    direction = np.array([[1.0, 2.0, -1.0]])
    covariances[2] = direction.T @ direction
    with pytest.raises(IllDefinedCovarianceError, match=r"component 2.*linearly dependent"):
        solved(name, covariances, counts)
