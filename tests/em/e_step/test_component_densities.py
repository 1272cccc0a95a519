"""Densities of single components, against plain NumPy."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from fastgmm.data.sources.array import ArraySource
from fastgmm.em.e_step.passes import component_log_densities, log_density
from tests import oracle
from tests.incomplete_rows import mixture, parameters_of, rows_of


@pytest.mark.parametrize("diagonal", [False, True])
def test_every_component_by_itself(diagonal):
    weights, means, covariances = mixture(3, 4, diagonal=diagonal)
    X = rows_of((weights, means, covariances), 50, 0.0)
    parameters = parameters_of(weights, means, covariances, diagonal=diagonal)
    found = component_log_densities(ArraySource(X), parameters)
    expected = oracle.joint_log_density(X, np.ones(4), means, covariances)
    assert_allclose(found, expected, rtol=1e-10)
    total = np.logaddexp.reduce(found + np.log(weights), axis=1)
    assert_allclose(total, log_density(ArraySource(X), parameters), rtol=1e-10)


def test_a_component_without_weight_has_a_density():
    _, means, covariances = mixture(2, 2)
    parameters = parameters_of(np.array([1.0, 0.0]), means, covariances)
    found = component_log_densities(ArraySource(means), parameters)
    assert np.isfinite(found).all()
