"""Stochastic variational inference: what a step is, and where a stream leads."""

import json
from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from fastgmm.data.sources.array import ArraySource
from fastgmm.em.e_step.passes import mixture_statistics, responsibility_statistics, source_moments
from fastgmm.em.online.start import OnlineStart
from fastgmm.em.online.steps import StepSchedule
from fastgmm.em.online.variational import (
    VariationalOnlineState,
    begin_from_posterior,
    begin_variational_online,
    variational_online_step,
)
from fastgmm.estimators.shared.fit_states import online_from_state, online_to_state
from fastgmm.io.states import Size, State
from fastgmm.mixture.priors.variational import GivenPrior, VariationalPosterior
from fastgmm.mixture.priors.weights import WEIGHT_PRIOR_NAMES, weight_prior
from fastgmm.mixture.regularization import Regularization
from fastgmm.mixture.structures import structure
from tests.em.batch_fits import fit_variational

SIX = ("full", "tied", "diag", "spherical", "tied_diag", "tied_spherical")
CENTERS = np.array([[0.0, 0.0], [6.0, 0.0], [0.0, 5.0]])

every_six = pytest.mark.parametrize("name", SIX)
every_prior = pytest.mark.parametrize("weights", WEIGHT_PRIOR_NAMES)


def rows(n_samples=3000, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.choice(3, size=n_samples, p=[0.5, 0.3, 0.2])
    return CENTERS[labels] + rng.normal(size=(n_samples, 2))


def prior_of(name, weights, concentration=0.1):
    def prior_for(moments, regularization):
        return GivenPrior(weight_prior(weights, concentration)).completed(
            moments, structure(name), regularization
        )

    return prior_for


def begun(X, name="full", weights="dirichlet_process", n_components=4, sample_weight=None):
    state, _ = begin_variational_online(
        ArraySource(X, sample_weight),
        n_components,
        structure(name),
        prior_of(name, weights),
        OnlineStart(1e-6, "auto", np.random.RandomState(0), "kmeans"),
    )
    return state


def learn(state, X, name="full", *, size=200, schedule=None, **options):
    schedule = schedule or StepSchedule()
    for first in range(0, len(X), size):
        batch = ArraySource(X[first : first + size])
        state, _ = variational_online_step(state, batch, schedule, structure(name), **options)
    return state


def weights_of(posterior):
    return posterior.mean_parameters().weights


@every_six
@every_prior
def test_a_step_of_size_one_over_all_rows_is_a_batch_step(name, weights):
    X = rows(400)
    source, kind = ArraySource(X), structure(name)
    regularization = Regularization(np.full(2, 1e-6), np.zeros(2, dtype=bool))
    prior = prior_of(name, weights)(
        source_moments(source, diagonal=kind.is_diagonal), regularization
    )
    shares = np.random.default_rng(0).dirichlet(np.ones(4), size=len(X))
    start = VariationalPosterior.solve(
        prior,
        responsibility_statistics(source, shares, diagonal=kind.is_diagonal),
        kind,
        regularization,
    )
    expected, _ = fit_variational(source, start, kind, regularization, max_iter=1)
    parameters = start.expected_parameters()
    before = VariationalOnlineState(
        statistics=mixture_statistics(ArraySource(X[:7]), parameters),
        averaged=None,
        parameters=parameters,
        regularization=regularization,
        unit=400.0,
        time=0.0,
        weight=0.0,
        n_rows=0,
        n_steps=0,
        posterior=start,
        mass=0.0,
    )
    after, step = variational_online_step(before, source, StepSchedule(offset=0.0), kind)
    assert step == 1.0
    assert after.mass == 400.0
    found = after.posterior
    assert_allclose(found.concentrations, expected.concentrations, rtol=1e-12)
    assert_allclose(found.means, expected.means, rtol=1e-10, atol=1e-12)
    assert_allclose(found.mean_precisions, expected.mean_precisions, rtol=1e-12)
    assert_allclose(found.whiteners, expected.whiteners, rtol=1e-9, atol=1e-12)
    assert_allclose(found.degrees_of_freedom, expected.degrees_of_freedom, rtol=1e-12)


@every_prior
@pytest.mark.parametrize("averaging", [False, True])
def test_a_stream_leads_to_where_batches_do(weights, averaging):
    X = rows(30_000)
    state = begun(X[:500], weights=weights, n_components=3)
    state = learn(state, X[500:], averaging=averaging)
    found = state.estimated_posterior(structure("full"))
    batch, _ = fit_variational(
        ArraySource(X), found, structure("full"), state.regularization, max_iter=200
    )
    assert state.mass == pytest.approx(30_000.0)
    assert_allclose(weights_of(found), weights_of(batch), atol=0.005)
    assert_allclose(found.means, batch.means, atol=0.03)
    assert_allclose(
        found.mean_parameters().covariances(), batch.mean_parameters().covariances(), atol=0.06
    )
    assert_allclose(found.mean_precisions, batch.mean_precisions, rtol=0.03)


@every_prior
def test_with_surplus_components_the_lower_bound_comes_close_to_that_of_batches(weights):
    X = rows(30_000)
    state = learn(begun(X[:500], weights=weights, n_components=6), X[500:])
    fixed = (structure("full"), state.regularization)
    _, reached = fit_variational(ArraySource(X), state.posterior, *fixed, max_iter=0)
    _, best = fit_variational(ArraySource(X), state.posterior, *fixed, max_iter=100)
    assert (best.trace[-1] - reached.trace[0]) / len(X) < 2e-3


def test_the_posterior_is_as_certain_as_there_were_rows():
    X = rows(4000)
    state = learn(begun(X[:400]), X[400:2000])
    counts = state.posterior.prior.weights.counts(state.posterior.concentrations)
    assert_allclose(counts.sum(), 2000.0)
    later = learn(state, X[2000:])
    counts = later.posterior.prior.weights.counts(later.posterior.concentrations)
    assert_allclose(counts.sum(), 4000.0)


def test_batches_of_any_size_lead_to_about_the_same():
    X = rows(6000)
    small = learn(begun(X[:400]), X[400:], size=50)
    large = learn(begun(X[:400]), X[400:], size=800)
    assert small.mass == pytest.approx(large.mass)
    assert_allclose(weights_of(small.posterior), weights_of(large.posterior), atol=0.02)


def test_with_forgetting_the_posterior_follows_the_stream():
    X = rows(20_000)
    drifted = np.add(rows(20_000, seed=1), [3.0, -2.0])
    schedule = StepSchedule(forgetting=0.9)
    state = learn(begun(X[:400]), np.concatenate([X[400:], drifted]), schedule=schedule)
    # as many units as 0.9 + 0.9² + ...; a unit is of 400 rows
    assert 400.0 / 0.1 <= state.mass + 400.0 < 4800.0
    remembering = learn(begun(X[:400]), np.concatenate([X[400:], drifted]))
    middle = weights_of(state.posterior) @ state.posterior.means
    assert_allclose(middle, drifted.mean(axis=0), atol=0.25)
    lagging = weights_of(remembering.posterior) @ remembering.posterior.means
    assert np.abs(lagging - drifted.mean(axis=0)).max() > np.abs(middle - drifted.mean(0)).max()


def test_weights_count_as_copies():
    X = rows(600)
    copies = np.random.default_rng(3).integers(0, 3, size=300)
    state = begun(X[:300])
    weighted, one = variational_online_step(
        state, ArraySource(X[300:], copies.astype(float)), StepSchedule(), structure("full")
    )
    repeated, other = variational_online_step(
        state, ArraySource(np.repeat(X[300:], copies, axis=0)), StepSchedule(), structure("full")
    )
    assert one == other
    assert_allclose(weighted.mass, repeated.mass)
    assert_allclose(weighted.posterior.means, repeated.posterior.means, rtol=1e-9)


def test_a_batch_without_weight_changes_nothing():
    X = rows(400)
    state = begun(X)
    after, step = variational_online_step(
        state, ArraySource(X[:5], np.zeros(5)), StepSchedule(), structure("full")
    )
    assert after is state
    assert step == 0.0


def test_rows_far_from_the_origin_keep_their_digits():
    shift = 2.0**26
    X = np.round(rows(1200) * 2.0**20) * 2.0**-20
    near = learn(begun(X[:400]), X[400:])
    far = learn(begun(X[:400] + shift), X[400:] + shift)
    assert_allclose(far.posterior.means - shift, near.posterior.means, atol=1e-5)
    assert_allclose(far.posterior.whiteners, near.posterior.whiteners, rtol=1e-5, atol=1e-6)


@every_six
@every_prior
def test_a_posterior_continues_as_what_it_came_from(name, weights):
    X = rows(1500)
    kind = structure(name)
    state = begun(X[:1000], name, weights)
    fitted, _ = fit_variational(
        ArraySource(X[:1000]), state.posterior, kind, state.regularization, max_iter=100
    )
    batch = ArraySource(X[1000:])
    on = begin_from_posterior(fitted, kind, batch, reg_covar=1e-6, scale="auto")
    assert on.mass == pytest.approx(1000.0)
    assert on.time == pytest.approx(2.0)
    assert on.n_rows == 0
    again = on.solved(kind).posterior
    assert_allclose(again.concentrations, fitted.concentrations, rtol=1e-9)
    assert_allclose(again.means, fitted.means, rtol=1e-7, atol=1e-9)
    assert_allclose(again.whiteners, fitted.whiteners, rtol=1e-4, atol=1e-9)
    after, _ = variational_online_step(on, batch, StepSchedule(exponent=1.0), kind)
    assert after.mass == pytest.approx(1500.0)
    whole, _ = fit_variational(ArraySource(X), fitted, kind, state.regularization, max_iter=1)
    # A step of 1/t blends all rows alike, as one batch of all of them would.
    assert_allclose(after.posterior.concentrations, whole.concentrations, rtol=0.1, atol=3.0)


def test_the_lower_bound_is_that_of_recent_rows_for_all():
    X = rows(4000)
    state = learn(begun(X[:400]), X[400:])
    _, info = fit_variational(
        ArraySource(X), state.posterior, structure("full"), state.regularization, max_iter=0
    )
    assert_allclose(state.lower_bound(), info.trace[0], rtol=0.02)


def test_a_state_comes_back_from_files():
    X = rows(1200)
    state = learn(begun(X[:400]), X[400:800], averaging=True)
    values, arrays = online_to_state(state)
    size = Size(*state.posterior.means.shape, state.posterior.whiteners.ndim == 2)
    again = online_from_state(
        VariationalOnlineState,
        State(json.loads(json.dumps(values)), arrays),
        structure("full"),
        size,
    )
    assert isinstance(again, VariationalOnlineState)
    one = learn(again, X[800:], averaging=True)
    other = learn(state, X[800:], averaging=True)
    assert one.mass == other.mass
    for attribute in ("concentrations", "means", "whiteners"):
        assert_array_equal(
            getattr(one.estimated_posterior(structure("full")), attribute),
            getattr(other.estimated_posterior(structure("full")), attribute),
        )


def test_the_first_rows_may_be_many():
    X = rows(60_000)
    state = begun(X, n_components=3)
    assert state.mass == state.unit == 60_000.0
    assert state.n_rows == 60_000
    assert_allclose(np.sort(weights_of(state.posterior)), [0.2, 0.3, 0.5], atol=0.01)


def test_rows_impossibly_far_are_reported_and_not_learned():
    X = rows(400)
    state = begun(X)
    far = replace(state)
    with pytest.raises(ValueError, match="nothing of the batch was learned; leave such rows out"):
        variational_online_step(
            far, ArraySource(np.full((2, 2), 1e200)), StepSchedule(), structure("full")
        )
