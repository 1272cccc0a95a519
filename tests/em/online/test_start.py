"""Where online EM begins: at first rows, or at a mixture from elsewhere."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from fastgmm.data.sources.array import ArraySource
from fastgmm.em.e_step.passes import log_likelihood, mixture_statistics
from fastgmm.em.online import start as online_start
from fastgmm.em.online.start import (
    OnlineStart,
    begin_from_mixture,
    begin_online,
    rows_of_start,
    rows_to_begin,
)
from fastgmm.em.online.steps import StepSchedule, online_step
from fastgmm.mixture.parameters import MixtureParameters
from fastgmm.mixture.structures import structure
from tests.em.online_states import begin, two_groups
from tests.structures import every_structure

FULL = structure("full")


def test_the_start_is_fitted_to_a_sample_of_many_rows(monkeypatch):
    monkeypatch.setattr(online_start, "sample_size", lambda *_: 500)
    monkeypatch.setattr(online_start, "LARGEST_SAMPLE_BYTES", 0)
    X = two_groups(4_000)
    weights = np.ones(4_000)
    weights[::2] = 0.0
    X[::2] = 1e300
    state, info = begin_online(
        ArraySource(X, weights),
        2,
        FULL,
        OnlineStart(1e-6, "auto", np.random.RandomState(0), "k-means++"),
    )
    assert info.trace[-1] < 0
    assert state.weight == 2_000
    assert_allclose(np.sort(state.parameters.means[:, 0]), [0.0, 6.0], atol=0.2)


def test_rows_to_begin_and_of_the_start():
    assert rows_to_begin(4, 3) == 160
    assert rows_of_start(4, 3, FULL, 8) == 25_000
    assert rows_of_start(32, 16, FULL, 8) == 20 * FULL.n_parameters(32, 16)
    assert rows_of_start(8, 200, FULL, 8) == 64 * 2**20 // 1600


def test_a_mixture_from_elsewhere_counts_as_one_unit():
    X = two_groups(5_000)
    parameters = MixtureParameters.from_covariances(
        np.array([1 / 3, 2 / 3]), np.array([[0.0, 0.0], [6.0, 6.0]]), np.array([np.eye(2)] * 2)
    )
    batch = ArraySource(X[:1000])
    state = begin_from_mixture(parameters, batch, reg_covar=1e-6, scale="auto")
    assert state.unit == 1000
    assert_allclose(FULL.solve(state.statistics, state.regularization).means, parameters.means)
    assert_allclose(
        FULL.solve(state.statistics, state.regularization).covariances(),
        parameters.covariances(),
        rtol=1e-12,
    )
    few = begin_from_mixture(parameters, ArraySource(X[:10]), reg_covar=1e-6, scale="auto")
    assert few.unit == rows_to_begin(2, 2)
    after, step = online_step(state, batch, StepSchedule(1.0, 0.0), FULL)
    assert_allclose(step, 0.5)
    expected = 0.5 * (parameters.means + mixture_statistics(batch, parameters).means())
    assert_allclose(after.parameters.means, expected, atol=0.05)
    assert_allclose(
        state.statistics.log_likelihood, log_likelihood(batch, parameters) / 1000, rtol=1e-12
    )


@every_structure
def test_a_mixture_from_elsewhere_is_itself_until_rows_come(name):
    X = two_groups(500)
    parameters = begin(X, name=name).parameters
    state = begin_from_mixture(parameters, ArraySource(X), reg_covar=1e-6, scale="auto")
    again = structure(name).solve(state.statistics, state.regularization)
    assert_allclose(again.means, parameters.means, rtol=1e-12)
    assert_allclose(again.covariances(), parameters.covariances(), rtol=1e-12, atol=1e-14)
    assert_allclose(again.weights, parameters.weights, rtol=1e-12)


def test_fewer_rows_than_components():
    with pytest.raises(ValueError, match="n_components=3 needs at least as many rows; got 2"):
        begin(np.eye(2), 3)
