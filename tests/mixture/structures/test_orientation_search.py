"""Derivatives of the criterion by differences, and what the search does with its starts."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.linalg import expm

from fastgmm.mixture.structures import orientation_search
from fastgmm.mixture.structures.orientation_search import OrientationSearch, _Curvature

equal_or_not = pytest.mark.parametrize("equal_volumes", [False, True])


def search_for(equal_volumes, seed=0, n_components=3, n_features=4):
    rng = np.random.default_rng(seed)
    A = rng.normal(size=(n_components, n_features, 2 * n_features))
    shares = rng.dirichlet(np.full(n_components, 3.0))
    axes = np.linalg.qr(rng.normal(size=(n_features, n_features)))[0]
    return OrientationSearch(A @ A.transpose(0, 2, 1), shares, equal_volumes), axes


def skew(seed, n_features=4):
    X = np.random.default_rng(seed).normal(size=(n_features, n_features))
    return X - X.T


@equal_or_not
def test_the_value_is_the_criterion(equal_volumes):
    search, axes = search_for(equal_volumes)
    variances = np.array([np.diag(axes.T @ each @ axes) for each in search.covariances])
    if equal_volumes:
        expected = 4 * np.log(search.shares @ variances.prod(axis=1) ** 0.25)
    else:
        expected = search.shares @ np.log(variances).sum(axis=1)
    assert search._at(axes).value == pytest.approx(expected, rel=1e-12)


@equal_or_not
def test_gradient_and_hessian_are_those_of_differences(equal_volumes):
    search, axes = search_for(equal_volumes)
    curvature = _Curvature(search._at(axes), equal_volumes)
    step = 1e-3
    for seed in range(3):
        X = skew(seed)
        values = [search._at(axes @ expm(s * step * X)).value for s in (-2, -1, 0, 1, 2)]
        slope = np.dot([1, -8, 0, 8, -1], values) / (12 * step)
        bend = np.dot([-1, 16, -30, 16, -1], values) / (12 * step**2)
        assert np.vdot(curvature.gradient, X) == pytest.approx(slope, rel=1e-6)
        product = curvature.times(X)
        assert np.vdot(product, X) == pytest.approx(bend, rel=1e-5)
        assert_allclose(product, -product.T, atol=1e-12)
        other = skew(seed + 10)
        assert np.vdot(product, other) == pytest.approx(np.vdot(curvature.times(other), X))


@equal_or_not
def test_products_of_many_features_take_another_way_to_the_same_end(equal_volumes, monkeypatch):
    search, axes = search_for(equal_volumes, 0, 3, 6)
    few = _Curvature(search._at(axes), equal_volumes).times(skew(0, 6))
    monkeypatch.setattr(orientation_search, "_MOST_FEATURES_OF_TENSOR", 5)
    many = _Curvature(search._at(axes), equal_volumes).times(skew(0, 6))
    assert_allclose(many, few, rtol=1e-12, atol=1e-12)


@equal_or_not
def test_the_search_ends_where_the_gradient_vanishes(equal_volumes):
    for seed in range(5):
        search, axes = search_for(equal_volumes, seed, 5, 6)
        found = search.best([axes])
        assert_allclose(found.T @ found, np.eye(6), atol=1e-13)
        assert np.abs(_Curvature(search._at(found), equal_volumes).gradient).max() < 1e-9
        assert search._at(found).value < search._at(axes).value


@equal_or_not
def test_of_several_starts_the_best_end_counts(equal_volumes):
    search, _ = search_for(equal_volumes, 4, 4, 6)
    starts = [search_for(equal_volumes, seed, 4, 6)[1] for seed in range(4)]
    ends = [search._at(search.best([each])).value for each in starts]
    assert search._at(search.best(starts)).value == pytest.approx(min(ends), abs=1e-12)


@equal_or_not
def test_other_starts_are_followed_only_if_they_begin_better(equal_volumes):
    search, axes = search_for(equal_volumes)
    best = search.best([axes])
    assert_array_equal(search.best([axes], best), search.best([], best))
    assert search._at(search.best([best], axes)).value <= search._at(best).value + 1e-12


def test_axes_whose_variances_vanish_in_rounding_are_no_error():
    covariances = np.diag([1.0, 1e-300])[None] * np.ones((2, 1, 1))
    search = OrientationSearch(covariances, np.array([0.5, 0.5]), False)
    assert np.isfinite(search._at(np.array([[1.0, 0.0], [-1e-200, 1.0]])).value)
    assert np.isfinite(search.best([np.eye(2)])).all()
