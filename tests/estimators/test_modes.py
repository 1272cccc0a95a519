"""Modes of mixtures, and rows that ascend to them."""

import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.optimize import minimize

from fastgmm import BayesianGaussianMixture, GaussianMixture, find_modes
from tests import oracle
from tests.structures import DISTINCT


def mixture_of(weights, means, covariances, **settings):
    """Return a mixture that was put together by hand."""
    means = np.asarray(means, dtype=float)
    mixture = GaussianMixture(len(means), **settings)
    mixture.weights_ = np.asarray(weights, dtype=float)
    mixture.means_, mixture.covariances_ = means, np.asarray(covariances, dtype=float)
    mixture.precisions_cholesky_ = np.array(
        [np.linalg.cholesky(np.linalg.inv(each)) for each in mixture.covariances_]
    )
    mixture.n_features_in_ = means.shape[1]
    return mixture


def fitted(name="full", offset=0.0, scale=1.0):
    rng = np.random.default_rng(3)
    X = np.concatenate(
        [rng.normal(0, 1, (200, 3)), rng.normal(1, 2, (300, 3)), rng.normal(-5, 0.5, (150, 3))]
    )
    X = offset + scale * X
    return GaussianMixture(6, covariance_type=name, random_state=0, max_iter=20, tol=1e-2).fit(X), X


@pytest.mark.parametrize("name", DISTINCT)
def test_modes_are_where_a_general_optimizer_ends(name):
    mixture, _ = fitted(name)
    found = find_modes(mixture)
    covariances = oracle.fitted_covariances(mixture)

    def negative(x):
        return -oracle.log_density(x[None], mixture.weights_, mixture.means_, covariances)[0]

    assert (np.diff(found.log_densities) <= 0.0).all()
    for k, mode in enumerate(found.components):
        end = minimize(negative, mixture.means_[k], method="Nelder-Mead", options={"xatol": 1e-6})
        assert_allclose(negative(found.locations[mode]), end.fun, atol=1e-5)
    for location, value in zip(found.locations, found.log_densities, strict=True):
        assert value == pytest.approx(-negative(location), rel=1e-12)
        steps = 1e-4 * np.concatenate([np.eye(3), -np.eye(3)])
        assert all(negative(location + step) > negative(location) for step in steps)


def test_hessians_are_those_of_differences():
    mixture, _ = fitted()
    found = find_modes(mixture)
    h = 1e-4 * np.eye(3)
    for location, covariance in zip(found.locations, found.covariances, strict=True):
        hessian = np.empty((3, 3))
        for i in range(3):
            for j in range(3):
                corners = [location + a * h[i] + b * h[j] for a in (1, -1) for b in (1, -1)]
                values = mixture.score_samples(np.array(corners))
                hessian[i, j] = -(values[0] - values[1] - values[2] + values[3]) / (4 * 1e-8)
        assert_allclose(np.linalg.inv(hessian), covariance, rtol=1e-3, atol=1e-5)


def test_two_equal_normals_have_one_mode_up_to_two_deviations():
    unit = np.ones((2, 1, 1))
    near = find_modes(mixture_of([0.5, 0.5], [[-0.99], [0.99]], unit))
    assert_allclose(near.locations, [[0.0]], atol=1e-8)
    assert_array_equal(near.components, [0, 0])
    far = find_modes(mixture_of([0.5, 0.5], [[-1.01], [1.01]], unit))
    assert_allclose(far.locations.sum(), 0.0, atol=1e-8)
    assert len(far.locations) == 2


def test_a_mean_on_a_saddle_point_leaves_it():
    means = [[-4.0, 0.0], [0.0, 0.0], [4.0, 0.0]]
    covariances = [np.eye(2), 25.0 * np.eye(2), np.eye(2)]
    found = find_modes(mixture_of([0.45, 0.1, 0.45], means, covariances))
    assert len(found.locations) == 2
    assert_allclose(np.sort(found.locations[:, 0]), [-4.0, 4.0], atol=0.1)
    assert found.components[1] in (0, 1)


@pytest.mark.parametrize(("offset", "scale"), [(1e8, 1.0), (0.0, 1e-100), (0.0, 1e100), (-3.0, 10)])
def test_units_and_places_of_features_do_not_matter(offset, scale):
    plain, X = fitted()
    expected = find_modes(plain)
    moved = mixture_of(
        plain.weights_,
        offset + scale * plain.means_,
        plain.covariances_ * scale * scale,
    )
    found = find_modes(moved)
    assert_allclose((found.locations - offset) / scale, expected.locations, atol=1e-6)
    assert_array_equal(found.components, expected.components)
    assert_array_equal(found.predict(offset + scale * X), expected.predict(X))


def test_rows_ascend_to_the_mode_of_their_hill():
    mixture, X = fitted()
    found = find_modes(mixture)
    labels = found.predict(X)
    assert labels.min() >= 0
    assert_array_equal(found.predict(found.locations), np.arange(len(found.locations)))
    assert_array_equal(found.predict(mixture.means_), found.components)
    order = np.random.default_rng(0).permutation(len(X))
    assert_array_equal(found.predict(X[order]), labels[order])


def test_rows_come_from_files_and_collections(tmp_path):
    array = pytest.importorskip("dask.array")
    mixture, X = fitted()
    found = find_modes(mixture)
    np.save(tmp_path / "rows.npy", X)
    assert_array_equal(found.predict(tmp_path / "rows.npy"), found.predict(X))
    lazy = found.predict(array.from_array(X, chunks=(200, 3)))
    assert_array_equal(lazy.compute(), found.predict(X))
    assert_array_equal(found.predict(X.astype(np.float32)), found.predict(X))


def test_mixtures_with_noise_and_posteriors_have_modes():
    _, X = fitted()
    noisy = GaussianMixture(3, noise_volume=1e4, random_state=0).fit(X)
    found = find_modes(noisy)
    assert len(found.components) == 3
    assert found.predict(X).min() >= 0
    assert len(find_modes(BayesianGaussianMixture(3, random_state=0).fit(X)).components) == 3


def test_modes_are_pickled():
    mixture, X = fitted()
    found = find_modes(mixture)
    assert_array_equal(pickle.loads(pickle.dumps(found)).predict(X), found.predict(X))


def test_rows_that_lack_values_are_refused():
    mixture, X = fitted()
    X[3, 1] = np.nan
    with pytest.raises(ValueError, match="first in row 3, column 1"):
        find_modes(mixture).predict(X)
