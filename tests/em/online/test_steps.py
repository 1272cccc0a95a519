"""Online EM: the step formula, the blend, what must hold of any stream, and exact resumption."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from fastgmm.data.sources.array import ArraySource
from fastgmm.em.e_step.passes import log_likelihood
from fastgmm.em.online.steps import OnlineState, StepSchedule, online_step
from fastgmm.estimators.shared.fit_states import online_from_state, online_to_state
from fastgmm.io.states import Size, State
from fastgmm.mixture.regularization import IllDefinedCovarianceError
from fastgmm.mixture.structures import structure
from tests import oracle
from tests.em.batch_fits import em_step, fit_em
from tests.em.online_states import begin, two_groups
from tests.problems import problem
from tests.structures import every_structure

FULL = structure("full")


def learn(state, X, size, schedule, *, kind=FULL, averaging=False):
    for first in range(0, len(X), size):
        batch = ArraySource(X[first : first + size])
        state, _ = online_step(state, batch, schedule, kind, averaging=averaging)
    return state


def assert_same(left, right):
    """Assert that two states are equal to the last bit."""
    values, arrays = online_to_state(left)
    other_values, other_arrays = online_to_state(right)
    assert values == other_values
    assert arrays.keys() == other_arrays.keys()
    for name, array in arrays.items():
        assert_array_equal(array, other_arrays[name])


@given(
    exponent=st.floats(0.51, 1.0),
    offset=st.floats(0.0, 100.0),
    forgetting=st.floats(0.5, 1.0),
    time=st.integers(1, 10_000),
)
def test_a_batch_of_one_unit_has_the_step_of_its_number(exponent, offset, forgetting, time):
    schedule = StepSchedule(exponent, offset, forgetting)
    expected = max((time + 1 + offset) ** -exponent, 1.0 - forgetting)
    assert_allclose(schedule.step(float(time), 1.0), expected, rtol=1e-12)


@given(
    exponent=st.floats(0.51, 1.0),
    forgetting=st.floats(0.5, 1.0),
    time=st.floats(1.0, 1e4),
    lengths=st.lists(st.floats(1e-3, 20.0), min_size=1, max_size=8),
)
def test_cutting_a_batch_changes_nothing_of_what_is_kept(exponent, forgetting, time, lengths):
    schedule = StepSchedule(exponent, 1.0, forgetting)
    kept, now = 1.0, time
    for length in lengths:
        kept *= 1.0 - schedule.step(now, length)
        now += length
    assert_allclose(1.0 - schedule.step(time, now - time), kept, rtol=1e-7, atol=1e-14)


def test_a_batch_of_ever_so_many_units_is_weighted_at_once():
    assert_allclose(StepSchedule(1.0, 0.0).step(1.0, 1e9), 1.0, rtol=1e-4)
    assert_allclose(StepSchedule(1.0, 0.0).step(1e9, 1e6), 1e6 / (1e9 + 1e6), rtol=1e-4)


@given(st.floats(1.0, 100.0), st.floats(0.01, 100.0))
def test_the_average_weights_late_statistics_more_and_forgets_with_them(time, length):
    share = StepSchedule().averaging_step(time, length)
    assert_allclose(share, 1.0 - (time / (time + length)) ** 3, rtol=1e-9)
    forgetful = StepSchedule(forgetting=0.5).averaging_step(time, length)
    assert forgetful >= max(share, 1.0 - 0.5**length)


@every_structure
def test_a_step_is_the_blend_of_the_oracle(name):
    X = two_groups(400)
    state = begin(X[:200], name=name)
    batch = X[200:]
    after, step = online_step(state, ArraySource(batch), StepSchedule(0.7, 0.0), structure(name))
    assert_allclose(step, 2.0**-0.7)
    weights, means = state.parameters.weights, state.parameters.means
    covariances = oracle.covariance_matrices(
        name, structure(name).covariances(state.parameters), 2, 2
    )
    # The first unit was looked at under the parameters before its own M-step, so the blend is
    # made from the state's moments and the oracle's of the batch.
    shares = oracle.responsibilities(batch, weights, means, covariances)
    counts, first, second = oracle.moments(batch, shares, np.zeros((2, 2)))
    before = state.statistics.about(np.zeros((2, 2)))
    counts = (1 - step) * before.counts + step * counts / len(batch)
    first = (1 - step) * before.first + step * first / len(batch)
    if structure(name).is_diagonal:
        second = np.einsum("kii->ki", second)
    second = (1 - step) * before.second + step * second / len(batch)
    got = after.statistics.about(np.zeros((2, 2)))
    assert_allclose(got.counts, counts, rtol=1e-10)
    assert_allclose(got.first, first, rtol=1e-9, atol=1e-10)
    # where one covariance is common to all components, it is all that second moments are for
    pooled = structure(name).needs_pooled_only
    got_second = got.second.sum(axis=0) if pooled else got.second
    assert_allclose(got_second, second.sum(axis=0) if pooled else second, rtol=1e-9, atol=1e-10)
    assert_allclose(after.parameters.means, first / counts[:, None], rtol=1e-9)
    assert_allclose(after.statistics.first, 0.0, atol=1e-12)
    assert after.n_rows == 400
    assert after.n_steps == 1
    assert after.time == 2.0


def test_with_an_exponent_of_one_all_rows_count_alike():
    X = two_groups(3_000)
    state = begin(X[:500], n_components=1)
    after = learn(state, X[500:], 250, StepSchedule(1.0, 0.0))
    mean, covariance = oracle.exact_moments(X)
    # Halves of a unit are interpolated; whole units are exact.
    assert_allclose(after.parameters.means[0], mean, rtol=0.03)
    exact = learn(state, X[500:], 500, StepSchedule(1.0, 0.0))
    assert_allclose(exact.parameters.means[0], mean, rtol=1e-12)
    covariance = covariance + np.diag(state.regularization.amounts)
    assert_allclose(exact.parameters.covariances()[0], covariance, rtol=1e-10)


def test_with_a_step_of_one_a_batch_of_all_rows_is_a_step_of_em():
    X = two_groups(600, distance=2.0)
    state = begin(X[:300])
    everything = ArraySource(X)
    after, step = online_step(state, everything, StepSchedule(forgetting=1e-300), FULL)
    assert step == 1.0
    expected, _ = em_step(everything, state.parameters, FULL, state.regularization)
    assert_allclose(after.parameters.means, expected.means, rtol=1e-12)
    assert_allclose(after.parameters.covariances(), expected.covariances(), rtol=1e-10)


def test_without_a_step_nothing_moves():
    X = two_groups(600)
    state = begin(X)
    after, step = online_step(state, ArraySource(X[:10]), StepSchedule(1.0, offset=1e300), FULL)
    assert step < 1e-300
    assert_allclose(after.parameters.means, state.parameters.means, rtol=1e-14)


@settings(max_examples=25)
@given(
    counts=st.lists(st.integers(0, 3), min_size=40, max_size=40).filter(any),
    factor=st.sampled_from([1e-6, 1.0, 1e6]),
)
def test_weights_are_repetitions_and_their_unit_does_not_matter(counts, factor):
    X = two_groups(340, distance=2.0)
    schedule = StepSchedule()
    weights = np.array(counts, dtype=np.float64)
    repeated, _ = online_step(
        begin(X[:300]), ArraySource(np.repeat(X[300:], counts, axis=0)), schedule, FULL
    )
    weighted, _ = online_step(
        begin(X[:300], weights=np.full(300, factor)),
        ArraySource(X[300:], weights * factor),
        schedule,
        FULL,
    )
    assert_allclose(weighted.parameters.means, repeated.parameters.means, rtol=1e-7)
    assert_allclose(weighted.parameters.covariances(), repeated.parameters.covariances(), rtol=1e-6)
    assert_allclose(weighted.time, repeated.time)


def test_a_batch_without_weight_is_no_batch():
    state = begin(two_groups(300))
    batch = ArraySource(np.full((3, 2), 1e300), np.zeros(3))
    after, step = online_step(state, batch, StepSchedule(), FULL)
    assert after is state
    assert step == 0.0


@pytest.mark.parametrize("size", [1, 7])
def test_tiny_batches_do_not_make_the_mixture_jump(size):
    X = two_groups(2_000)
    state = begin(X[:1000])
    farthest = 0.0
    for first in range(1000, 1400, size):
        before = state.parameters
        state, _ = online_step(state, ArraySource(X[first : first + size]), StepSchedule(), FULL)
        moved = np.abs(state.parameters.means - before.means).max()
        farthest = max(farthest, moved)
        assert np.isfinite(state.parameters.whiteners).all()
    # A row counts as one in a thousand: it cannot pull a mean farther than its own distance.
    assert farthest < 0.02 * size
    assert_allclose(np.sort(state.parameters.means[:, 0]), [0.0, 6.0], atol=0.3)
    assert_allclose(state.parameters.covariances(), [np.eye(2)] * 2, atol=0.25)


def test_a_component_that_a_batch_does_not_touch_keeps_its_shape():
    X = two_groups(2_000, distance=100.0)
    state = begin(X[:1000])
    low = X[X[:, 0] < 50.0]
    after = learn(state, low, 50, StepSchedule())
    k = int(state.parameters.means[:, 0].argmax())
    assert_allclose(after.parameters.means[k], state.parameters.means[k], rtol=1e-12)
    assert_allclose(after.parameters.covariances()[k], state.parameters.covariances()[k], rtol=1e-9)
    assert 0.0 < after.parameters.weights[k] < state.parameters.weights[k]


def test_a_component_that_is_forgotten_stays_where_it_was():
    X = two_groups(1_000, distance=100.0)
    state = begin(X)
    k = int(state.parameters.means[:, 0].argmax())
    low = X[X[:, 0] < 50.0][:100]
    after = learn(state, np.tile(low, (600, 1)), 1000, StepSchedule(forgetting=0.3))
    assert after.parameters.weights[k] == 0.0
    assert_allclose(after.parameters.means[k], state.parameters.means[k])
    assert np.isfinite(after.parameters.whiteners).all()


def test_a_mixture_that_moves_is_followed_only_with_forgetting():
    rng = np.random.default_rng(0)
    state = begin(two_groups(1000))
    following = standing = state
    for shift in np.linspace(0.0, 30.0, 300):
        batch = ArraySource(two_groups(200, seed=rng.integers(2**31)) + np.array([shift, 0.0]))
        following, _ = online_step(following, batch, StepSchedule(forgetting=0.5), FULL)
        standing, _ = online_step(standing, batch, StepSchedule(1.0), FULL)
    fresh = ArraySource(two_groups(5000, seed=99) + np.array([30.0, 0.0]))
    true = log_likelihood(fresh, begin(fresh.X).parameters) / 5000
    assert log_likelihood(fresh, following.parameters) / 5000 > true - 0.25
    assert log_likelihood(fresh, standing.parameters) / 5000 < true - 2.0
    assert_allclose(np.sort(following.parameters.means[:, 0]), [30.0, 36.0], atol=1.5)


def test_averaging_lowers_the_variance():
    schedule = StepSchedule(0.51)
    spreads = {}
    for averaging in (False, True):
        means = []
        for seed in range(25):
            X = two_groups(3_000, seed=seed)
            state = learn(begin(X[:300]), X[300:], 100, schedule, averaging=averaging)
            means.append(np.sort(state.estimate(FULL).means[:, 0]))
        spreads[averaging] = np.var(means, axis=0).sum()
    assert spreads[True] < 0.8 * spreads[False]


def test_the_recursion_continues_without_the_average():
    X = two_groups(2_000)
    state = begin(X[:500])
    plain = learn(state, X[500:], 100, StepSchedule())
    averaged = learn(state, X[500:], 100, StepSchedule(), averaging=True)
    assert_array_equal(averaged.parameters.means, plain.parameters.means)
    assert np.abs(averaged.estimate(FULL).means - plain.estimate(FULL).means).max() > 1e-6


@pytest.mark.parametrize("name", ["shifted_1e8", "tiny_scale_1e-150", "huge_scale_1e150"])
def test_whatever_the_scale_the_fit_is_that_of_the_groups(name):
    hard = problem(name)
    state = begin(hard.X, 3, n_init=5)
    after = learn(state, np.tile(hard.X, (30, 1)), 45, StepSchedule(1.0))
    for k in range(3):
        group = hard.X[hard.labels == k]
        near = np.abs(after.parameters.means - group.mean(axis=0)).sum(axis=1).argmin()
        scale = group.std(axis=0)
        assert_allclose((after.parameters.means[near] - group.mean(axis=0)) / scale, 0, atol=0.3)
        variances = np.diag(after.parameters.covariances()[near]) - after.regularization.amounts
        assert_allclose(variances / scale**2, 1.0, atol=0.3)


@every_structure
@pytest.mark.parametrize("averaging", [False, True])
def test_a_state_survives_json_to_the_last_bit(name, averaging):
    X = two_groups(900)
    kind = structure(name)
    state = learn(
        begin(X[:300], name=name), X[300:600], 100, StepSchedule(), kind=kind, averaging=averaging
    )
    values, arrays = online_to_state(state)
    copied = online_from_state(
        OnlineState,
        State(json.loads(json.dumps(values)), {key: array.copy() for key, array in arrays.items()}),
        kind,
        Size(*state.parameters.means.shape, kind.is_diagonal),
    )
    assert_same(copied, state)
    further = [
        learn(each, X[600:], 100, StepSchedule(), kind=kind, averaging=averaging)
        for each in (state, copied)
    ]
    assert_same(*further)


def test_rows_that_are_impossibly_far_are_refused():
    state = begin(two_groups(300))
    with pytest.raises(ValueError, match=r"impossibly far .* nothing of the batch was learned"):
        online_step(state, ArraySource(np.array([[1e200, 0.0]])), StepSchedule(), FULL)


def test_a_collapse_without_regularization_is_an_error():
    X = np.random.default_rng(0).normal(size=(300, 2))
    state = begin(X, 1, reg_covar=0.0)
    flat = np.column_stack([np.ones(100), X[:100, 1]])
    with pytest.raises(IllDefinedCovarianceError, match="reg_covar"):
        learn(state, np.tile(flat, (2000, 1)), 20_000, StepSchedule(forgetting=0.01))


def test_one_pass_of_small_batches_gets_near_the_optimum_of_batch_em():
    X = two_groups(40_000, distance=3.0)
    state = begin(X[:500])
    state = learn(state, X[500:], 200, StepSchedule(), averaging=True)
    source = ArraySource(X)
    _, info = fit_em(source, state.parameters, FULL, state.regularization, tol=1e-8)
    gap = info.trace[-1] - log_likelihood(source, state.estimate(FULL)) / len(X)
    assert 0.0 <= gap < 1e-3 * abs(info.trace[-1])
