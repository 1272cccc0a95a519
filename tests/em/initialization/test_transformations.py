"""Coordinates in which clusters are sought."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from fastgmm.em.initialization.hierarchical import TRANSFORMATIONS, transformed
from tests import mclust

every_transformation = pytest.mark.parametrize("name", TRANSFORMATIONS)


def some_rows(n=40, n_features=3, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, n_features)) @ rng.normal(size=(n_features, n_features)) + 5.0


@every_transformation
@pytest.mark.parametrize("data_set", mclust.DATA_SETS)
def test_the_rows_are_those_of_mclust(name, data_set):
    X = mclust.rows(data_set)
    theirs = np.array(mclust.results(data_set)["transformed_rows"][name])
    if name in ("VARS", "STD"):
        theirs = theirs - (X.mean(axis=0) if name == "VARS" else 0.0)
        assert_allclose(transformed(X, np.ones(len(X)), name)[:5], theirs, rtol=1e-9, atol=1e-12)
    else:
        # Singular vectors have no sign of their own, and neither program chooses it.
        ours = transformed(X, np.ones(len(X)), name)[:5]
        assert_allclose(np.abs(ours), np.abs(theirs), rtol=1e-8, atol=1e-10)


@every_transformation
def test_a_weight_is_a_number_of_copies(name):
    X = some_rows()
    weights = np.random.default_rng(1).integers(1, 4, size=len(X))
    ours = transformed(X, weights.astype(float), name)
    copies = transformed(np.repeat(X, weights, axis=0), np.ones(weights.sum()), name)
    first = np.cumsum(weights) - weights
    assert_allclose(np.abs(ours), np.abs(copies[first]), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ["STD", "PCR", "SVD", "SPH"])
@pytest.mark.parametrize("factor", [1e-150, 1e150])
def test_units_and_origin_do_not_matter(name, factor):
    X = some_rows()
    factors = factor * (np.ones(3) if name == "SPH" else np.array([1.0, 1e3, 1e-3]))
    near = transformed(X, np.ones(len(X)), name)
    far = transformed((X + 64.0) * factors, np.ones(len(X)), name)
    assert_allclose(np.abs(far), np.abs(near), rtol=1e-8, atol=1e-10)


@every_transformation
def test_a_feature_that_does_not_vary_is_left_out(name):
    X = some_rows()
    with_constant = np.insert(X, 1, 0.1, axis=1)
    expected = transformed(X, np.ones(len(X)), name)
    assert_allclose(transformed(with_constant, np.ones(len(X)), name), expected)
    assert transformed(np.full((4, 2), 0.1), np.ones(4), name).shape == (4, 0)


@pytest.mark.parametrize("name", ["PCS", "PCR", "SVD", "SPH"])
def test_directions_without_variance_are_left_out(name):
    X = some_rows()
    dependent = np.column_stack([X, X @ [1.0, -2.0, 0.5]])
    assert transformed(dependent, np.ones(len(X)), name).shape == (40, 3)
    few = some_rows(n=3, n_features=6)
    assert transformed(few, np.ones(3), name).shape == (3, 2)


def test_single_precision_rows_are_transformed_in_double():
    X = some_rows().astype(np.float32)
    ours = transformed(X, np.ones(len(X)), "SVD")
    assert ours.dtype == np.float64
    assert_allclose(ours, transformed(X.astype(np.float64), np.ones(len(X)), "SVD"))


def test_an_unknown_transformation_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"transformation='svd' is not known: .*'SVD', 'VARS'"):
        transformed(some_rows(), np.ones(40), "svd")
