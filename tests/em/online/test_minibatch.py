"""Epochs of batches: every row once, rows held out, stopping, and going on to the last bit."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from fastgmm.data.source import Rows, Source
from fastgmm.data.sources.array import ArraySource
from fastgmm.em.e_step.passes import log_likelihood
from fastgmm.em.online import minibatch
from fastgmm.em.online.minibatch import MinibatchPlan, MinibatchState, fit_minibatch
from fastgmm.em.online.start import OnlineStart, begin_online
from fastgmm.em.online.steps import StepSchedule
from fastgmm.estimators.shared.fit_states import minibatch_from_state, minibatch_to_state
from fastgmm.io.states import Size, State
from fastgmm.mixture.structures import structure
from tests.em.batch_fits import fit_em

FULL = structure("full")


class Blocks(Source):
    """Rows of arrays, in blocks of any size, each of which is overwritten by the next."""

    feature_names = None

    def __init__(self, X, weights=None, sizes=(1024,), replayable=True):
        self.X, self.given, self.sizes = X, weights, sizes
        self.n_features, self.dtype, self.replayable = X.shape[1], X.dtype, replayable
        self.n_read = 0

    n_samples = None
    total_weight = None

    @property
    def has_weights(self):
        return self.given is not None

    def fingerprint(self):
        return {}

    def blocks(self):
        if self.n_read and not self.replayable:
            raise ValueError("only once")
        self.n_read += 1
        room = np.empty((max(self.sizes), self.n_features), self.dtype)
        first, turn = 0, 0
        while first < len(self.X):
            size = min(self.sizes[turn % len(self.sizes)], len(self.X) - first)
            room[:size] = self.X[first : first + size]
            weights = None if self.given is None else self.given[first : first + size]
            yield Rows(room[:size], weights)
            room[:] = np.nan
            first, turn = first + size, turn + 1


def groups(n_rows, seed=0, distance=6.0):
    rng = np.random.default_rng(seed)
    labels = rng.random(n_rows) > 1 / 3
    return rng.normal(size=(n_rows, 2)) + distance * labels[:, None]


def fit(source, plan, *, sample_rows=300, schedule=None, resumed=None, seed=0, observe=None):
    def begin(sample):
        state, _ = begin_online(
            sample,
            2,
            FULL,
            OnlineStart(1e-6, "auto", np.random.RandomState(0), "k-means++"),
            unit=float(plan.batch_size),
        )
        return state

    plan = replace(plan, sample_rows=sample_rows, schedule=schedule or StepSchedule())
    return fit_minibatch(source, resumed or begin, plan, FULL, seed=seed, observe=observe)


def assert_same(left, right):
    values, arrays = minibatch_to_state(left)
    other_values, other_arrays = minibatch_to_state(right)
    assert values == other_values
    for name, array in arrays.items():
        assert_array_equal(array, other_arrays[name])


class LearnedRows:
    """Collects the rows that reach the online step, instead of learning them."""

    def __init__(self, monkeypatch):
        self.batches = []

        def learn(state, batch, *_, **__):
            weights = np.ones(batch.n_samples) if batch.weights is None else batch.weights
            self.batches.append((batch.X.copy(), weights.copy()))
            return state, 0.0

        monkeypatch.setattr(minibatch, "online_step", learn)

    @property
    def sizes(self):
        return [len(X) for X, _ in self.batches]

    @property
    def rows(self):
        return np.concatenate([X for X, _ in self.batches])

    @property
    def weights(self):
        return np.concatenate([weights for _, weights in self.batches])


@pytest.mark.parametrize("size", [1, 10, 64, 100, 999, 1000, 5000])
@pytest.mark.parametrize("weighted", [False, True])
def test_every_row_of_an_array_is_learned_once_an_epoch(monkeypatch, size, weighted):
    n_rows = 1000
    X = np.column_stack([np.arange(n_rows), np.random.default_rng(0).normal(size=n_rows)])
    weights = np.arange(1.0, n_rows + 1) if weighted else None
    state = fit(ArraySource(X), MinibatchPlan(10))[0]
    seen = LearnedRows(monkeypatch)
    fit(
        ArraySource(X, weights),
        MinibatchPlan(size, max_epochs=2),
        resumed=MinibatchState(state.online, 0),
    )
    orders = np.split(seen.rows[:, 0], 2)
    assert_array_equal(np.sort(orders[0]), np.arange(n_rows))
    assert_array_equal(np.sort(orders[1]), np.arange(n_rows))
    if size < 5000:
        assert (orders[0] != orders[1]).any()
    if weighted:
        assert_array_equal(seen.weights, seen.rows[:, 0] + 1.0)
    assert set(seen.sizes[: -(-n_rows // size) - 1]) <= {size}


@settings(max_examples=30)
@given(
    sizes=st.lists(st.integers(1, 400), min_size=1, max_size=5),
    size=st.integers(1, 600),
    weighted=st.booleans(),
    replayable=st.booleans(),
)
def test_rows_of_a_stream_come_once_in_order_however_they_are_cut(
    sizes, size, weighted, replayable
):
    n_rows = 1000
    X = np.column_stack([np.arange(n_rows), np.random.default_rng(0).normal(size=n_rows)])
    weights = np.arange(1.0, n_rows + 1) if weighted else None
    with pytest.MonkeyPatch.context() as monkeypatch:
        seen = LearnedRows(monkeypatch)
        fit(Blocks(X, weights, sizes, replayable), MinibatchPlan(size))
    assert_array_equal(seen.rows, X)
    if weighted:
        assert_array_equal(seen.weights, weights)
    assert seen.sizes[:-1] == [size] * (n_rows // size - (n_rows % size == 0))


def test_rows_of_an_array_in_order_of_group_are_mixed():
    X = np.sort(groups(100_000, distance=20.0), axis=0)
    state, reason = fit(ArraySource(X), MinibatchPlan(4096), sample_rows=2_000)
    assert reason == "max_epochs"
    assert_allclose(np.sort(state.online.parameters.weights), [1 / 3, 2 / 3], atol=0.03)
    labels = X[:, 0] > 10.0
    means = [X[~labels].mean(axis=0), X[labels].mean(axis=0)]
    assert_allclose(np.sort(state.online.parameters.means, axis=0), means, atol=0.15)


def test_neither_the_layout_of_an_array_nor_threads_matter(monkeypatch):
    X = groups(3001)
    weights = np.random.default_rng(1).integers(0, 3, 3001) * 1.0
    plan = MinibatchPlan(640)
    expected, _ = fit(ArraySource(X, weights), plan)
    wide = np.empty((6002, 4))
    wide[::2, 1:3] = X
    monkeypatch.setattr(minibatch, "_BYTES_FOR_THREADS", 0)
    for each in (X, np.asfortranarray(X), wide[::2, 1:3]):
        assert_same(fit(ArraySource(each, weights), plan)[0], expected)


def test_batches_are_large_enough_to_be_worth_their_step_and_small_enough_for_an_epoch():
    assert minibatch.batch_rows(8, 2, None) == 2**18
    assert minibatch.batch_rows(8, 2, 10_000_000) == 250_000
    assert minibatch.batch_rows(64, 32, 10_000_000) == 2**15
    assert minibatch.batch_rows(4, 512, None) > 2**15 - 1
    assert minibatch.batch_rows(2, 2, 30) == 1


def test_one_row_in_so_many_is_held_out():
    n_rows = 1000
    X = np.column_stack([np.arange(n_rows), np.random.default_rng(0).normal(size=n_rows)])
    plan = MinibatchPlan(64, max_epochs=2, held_out_every=10, tol=-np.inf)
    samples = []
    for source in (ArraySource(X), Blocks(X), ArraySource(X, np.ones(n_rows))):
        with pytest.MonkeyPatch.context() as patched:
            seen = LearnedRows(patched)

            def begin(sample):
                samples.append(sample.X[:, 0])
                return begin_online(
                    sample,
                    1,
                    FULL,
                    OnlineStart(1e-6, "auto", np.random.RandomState(0), "k-means++"),
                )[0]

            state, _ = fit_minibatch(source, begin, replace(plan, sample_rows=300), FULL)
        held = seen.rows[seen.weights == 0.0][:, 0]
        assert_array_equal(np.sort(held), np.repeat(np.arange(9, n_rows, 10), 2))
        assert len(samples[-1]) == 300
        assert len(np.unique(samples[-1])) == 300
        assert not np.isin(samples[-1], held).any()
        # Nothing was learned, so that all judge the same mixture.
        judges = ArraySource(X[9::10])
        expected = log_likelihood(judges, state.online.parameters) / 100
        assert_allclose(state.scores[1:], [expected] * 2, rtol=1e-12)


def test_a_single_epoch_learns_all_rows():
    source = ArraySource(groups(2000))
    plan = MinibatchPlan(100, max_epochs=1, held_out_every=10)
    assert_same(fit(source, plan)[0], fit(source, MinibatchPlan(100))[0])


def test_a_plan_is_followed_as_far_as_it_suits_the_rows():
    plan = MinibatchPlan(100, max_epochs=5, held_out_every=10, tol=0.5, patience=3, averaging=True)
    X = groups(50)
    assert plan.suited_to(ArraySource(X)) == plan
    once = MinibatchPlan(
        100, max_epochs=1, held_out_every=None, tol=0.5, patience=3, averaging=True
    )
    assert plan.suited_to(Blocks(X, replayable=False)) == once
    assert replace(plan, max_epochs=1).suited_to(ArraySource(X)) == once


def test_the_fit_ends_when_the_rows_held_out_no_longer_improve():
    source = ArraySource(groups(5000))
    plan = MinibatchPlan(100, max_epochs=50, held_out_every=5, tol=1e-3, patience=2)
    state, reason = fit(source, plan)
    assert reason == "held_out"
    assert 3 <= state.epoch < 20
    assert len(state.scores) == state.epoch + 1
    ended, reason = fit(source, plan, resumed=state)
    assert ended is state
    assert reason == "held_out"
    best = np.maximum.accumulate(state.scores[1:])
    assert max(state.scores[-2:]) < best[-3] + plan.tol


def test_an_iterator_is_read_once():
    X = groups(3000)
    source = Blocks(X, replayable=False)
    state, reason = fit(source, MinibatchPlan(200, max_epochs=5))
    assert reason == "max_epochs"
    assert state.epoch == 1
    assert source.n_read == 1
    assert state.online.n_steps == 15
    assert_same(state, fit(Blocks(X), MinibatchPlan(200))[0])


@pytest.mark.parametrize("kind", ["array", "weighted array", "stream", "weighted stream"])
@pytest.mark.parametrize("averaging", [False, True])
def test_a_fit_resumes_at_any_batch_as_if_never_interrupted(kind, averaging):
    X = groups(1030)
    weights = np.random.default_rng(1).integers(0, 3, 1030) * 1.0 if "weighted" in kind else None
    plan = MinibatchPlan(100, max_epochs=3, held_out_every=7, tol=-np.inf, averaging=averaging)

    def source():
        if "array" in kind:
            return ArraySource(X, weights)
        return Blocks(X, weights, (300, 77))

    states = []
    whole, reason = fit(source(), plan, seed=5, observe=states.append)
    assert len(states) == 1 + 3 * (11 + 1)
    size = Size(*whole.online.parameters.means.shape, whole.online.parameters.is_diagonal)
    for state in states:
        values, arrays = minibatch_to_state(state)
        copied = minibatch_from_state(State(json.loads(json.dumps(values)), arrays), FULL, size)
        resumed, same_reason = fit(source(), plan, resumed=copied)
        assert_same(resumed, whole)
        assert same_reason == reason


def test_blocks_do_not_matter():
    X = groups(3000)
    weights = np.random.default_rng(1).integers(0, 3, 3000) * 1.0
    plan = MinibatchPlan(130, max_epochs=2, held_out_every=9)
    fits = [fit(Blocks(X, weights, sizes), plan)[0] for sizes in [(1024,), (50, 700), (3000,)]]
    assert_same(fits[0], fits[1])
    assert_same(fits[0], fits[2])


def test_first_rows_without_weight_are_passed_over():
    X = groups(3000)
    weights = np.ones(3000)
    weights[:2000] = 0.0
    state, _ = fit(Blocks(X, weights), MinibatchPlan(100))
    assert state.online.n_steps == 10
    assert state.n_rows == 0


def test_two_epochs_get_near_the_optimum_of_batch_em():
    source = ArraySource(groups(30_000, distance=3.0))
    state, _ = fit(source, MinibatchPlan(500, max_epochs=2, averaging=True))
    estimate = state.online.estimate(FULL)
    _, info = fit_em(source, estimate, FULL, state.online.regularization, tol=1e-8)
    gap = info.trace[-1] - log_likelihood(source, estimate) / 30_000
    assert 0.0 <= gap < 3e-4 * abs(info.trace[-1])
