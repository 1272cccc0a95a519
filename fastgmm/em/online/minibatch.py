"""Online EM over data that can be read more than once: epochs of batches, and when to stop."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from fastgmm.data.source import Rows, Source
from fastgmm.data.sources.array import ArraySource
from fastgmm.data.sources.rechunking import joined, recut
from fastgmm.em.blas_threads import one_blas_thread
from fastgmm.em.e_step.passes import log_likelihood
from fastgmm.em.initialization.random_rows import is_held_out, random_rows
from fastgmm.em.online.steps import OnlineState, StepSchedule, online_step
from fastgmm.kernels.threads import effective_threads
from fastgmm.mixture.structures import CovarianceStructure

_PIECE_ROWS = 64
"""Rows of an array that stay together: enough of them to be read at the speed of memory."""

_PIECES_IN_BATCH = 64
"""The fewest pieces that a batch is made of, so that rows in order of component are mixed."""

_MOST_GATHERING = 4
"""Threads that fill the way to memory."""

_BYTES_FOR_THREADS = 2**18

_OPERATIONS_IN_BATCH = 4 * 10**8
_EXPONENTIAL = 40
_SMALLEST_BATCH = 2**15
_LARGEST_BATCH = 2**18
_BATCHES_IN_EPOCH = 40

EndReason = Literal["max_epochs", "held_out", "callback"]


@dataclass(frozen=True, slots=True)
class MinibatchPlan:
    """How a fit reads its rows."""

    batch_size: int  # rows of a batch
    max_epochs: int = 1  # most times to go through the rows
    held_out_every: int | None = None
    """One row in so many is never learned, and judges the fit instead: each epoch's estimate is the
    mean log-likelihood of these rows, each under the parameters at the time it went by. None to
    learn all.
    """
    tol: float = 1e-3  # smallest rise of the estimate, in nats, that is worth another epoch
    patience: int = 1  # the fit ends after so many epochs without such a rise
    averaging: bool = False  # whether statistics are averaged over time
    sample_rows: int = 2**16  # rows that the start is found from
    schedule: StepSchedule = field(default_factory=StepSchedule)  # how much each batch counts

    def suited_to(self, source: Source) -> MinibatchPlan:
        """Return the plan as far as it can be followed, and is of use, with a source."""
        max_epochs = self.max_epochs if source.replayable else 1
        held_out_every = self.held_out_every if max_epochs > 1 else None
        return replace(self, max_epochs=max_epochs, held_out_every=held_out_every)


@dataclass(frozen=True, slots=True, eq=False)
class MinibatchState:
    """Where a fit stands between two batches; enough to resume from as if never interrupted."""

    online: OnlineState  # what was learned
    seed: int  # together with the number of the epoch, seed of the order of the rows
    epoch: int = 0  # number of epochs that are over
    n_rows: int = 0  # rows of the present epoch that went by
    held_out: tuple[float, float] = (0.0, 0.0)
    """Log-likelihood and weight of the rows of the present epoch that were held out."""
    scores: tuple[float, ...] = ()
    """Mean log-likelihood, in nats, of the start and after each epoch that is over: that of the
    rows held out in the epoch, or of the recent rows if none were.
    """


def batch_rows(n_components: int, n_features: int, n_samples: int | None) -> int:
    """Return how many rows a batch should have.

    So many that a pass over them takes a few times as long as what is done once for a batch;
    but no more than a fortieth of the data, so that an epoch has enough steps.
    """
    per_row = n_components * (2 * n_features * (n_features + 1) + _EXPONENTIAL)
    wanted = max(_OPERATIONS_IN_BATCH // per_row, 64 * n_features, _SMALLEST_BATCH)
    wanted = min(wanted, _LARGEST_BATCH)
    return wanted if n_samples is None else max(1, min(wanted, n_samples // _BATCHES_IN_EPOCH))


def fit_minibatch(
    source: Source,
    begin: Callable[[ArraySource], OnlineState] | MinibatchState,
    plan: MinibatchPlan,
    structure: CovarianceStructure,
    *,
    seed: int = 0,
    n_jobs: int | None = None,
    observe: Callable[[MinibatchState], bool | None] | None = None,
) -> tuple[MinibatchState, EndReason]:
    """Fit a mixture by online EM on batches of rows.

    Rows in memory come in a random order that is new in each epoch, except that some that lie
    next to each other stay together. Other rows come in their own order, which should be a
    random one.
    """
    plan = plan.suited_to(source)
    every = plan.held_out_every
    with one_blas_thread():
        blocks: Iterator[Rows] | None = None
        if isinstance(begin, MinibatchState):
            state = begin
        else:
            if isinstance(source, ArraySource):
                sample = random_rows(source, plan.sample_rows, seed, held_out_every=every)
            else:
                sample, blocks = _first_rows(source, plan.sample_rows, every)
            online = begin(sample)
            state = MinibatchState(online, seed, scores=(online.statistics.mean_log_likelihood,))
        if observe is not None and observe(state):
            return state, "callback"
        reason = _end(state, plan)
        while reason is None:
            for rows, numbers in _batches(source, blocks, plan.batch_size, state, every, n_jobs):
                batch = ArraySource(*rows, incomplete=source.incomplete)
                state = _learn(state, batch, numbers, plan, structure, n_jobs)
                if observe is not None and observe(state):
                    return state, "callback"
            blocks = None
            state = _close_epoch(state)
            if observe is not None and observe(state):
                return state, "callback"
            reason = _end(state, plan)
    return state, reason


def _learn(
    state: MinibatchState,
    batch: ArraySource,
    numbers: npt.NDArray[np.int64] | None,
    plan: MinibatchPlan,
    structure: CovarianceStructure,
    n_jobs: int | None,
) -> MinibatchState:
    """Judge the parameters by the rows of a batch that are held out, and learn the others."""
    X, weights, incomplete = batch.X, batch.weights, batch.incomplete
    held_out = state.held_out
    if plan.held_out_every is not None:
        assert numbers is not None
        held = is_held_out(numbers, plan.held_out_every)
        judges = ArraySource(
            X[held], None if weights is None else weights[held], incomplete=incomplete
        )
        if judges.total_weight > 0.0:
            total = log_likelihood(judges, state.online.parameters, n_jobs=n_jobs)
            held_out = held_out[0] + total, held_out[1] + judges.total_weight
        # Rows without weight are absent to a pass, and cost less than a copy of the others.
        weights = np.where(held, 0.0, 1.0 if weights is None else weights)
    online, _ = online_step(
        state.online,
        ArraySource(X, weights, incomplete=incomplete),
        plan.schedule,
        structure,
        averaging=plan.averaging,
        n_jobs=n_jobs,
    )
    return replace(state, online=online, n_rows=state.n_rows + len(X), held_out=held_out)


def _close_epoch(state: MinibatchState) -> MinibatchState:
    total, weight = state.held_out
    score = total / weight if weight > 0.0 else state.online.statistics.mean_log_likelihood
    return replace(
        state,
        epoch=state.epoch + 1,
        n_rows=0,
        held_out=(0.0, 0.0),
        scores=(*state.scores, score),
    )


def _end(state: MinibatchState, plan: MinibatchPlan) -> EndReason | None:
    """Say why the fit is over, if it is."""
    best, since = -np.inf, 0
    for score in state.scores[1:] if plan.held_out_every is not None else ():
        since = 0 if score >= best + plan.tol else since + 1
        best = max(best, score)
    if since >= plan.patience:
        return "held_out"
    return "max_epochs" if state.epoch >= plan.max_epochs else None


def _batches(
    source: Source,
    blocks: Iterator[Rows] | None,
    size: int,
    state: MinibatchState,
    every: int | None,
    n_jobs: int | None,
) -> Iterator[tuple[Rows, npt.NDArray[np.int64] | None]]:
    """Yield the batches of an epoch that are to come, and the numbers of their rows if needed."""
    if isinstance(source, ArraySource):
        order = np.random.default_rng([state.seed, state.epoch])
        yield from _shuffled(source, size, state.n_rows, order, every is not None, n_jobs)
        return
    first = state.n_rows
    with closing(source.blocks() if blocks is None else blocks) as read:  # type: ignore[type-var]
        for rows in recut(read, size, first):
            numbers = np.arange(first, first + len(rows.X)) if every is not None else None
            yield rows, numbers
            first += len(rows.X)


def _shuffled(
    source: ArraySource,
    size: int,
    skipped: int,
    order: np.random.Generator,
    numbered: bool,
    n_jobs: int | None,
) -> Iterator[tuple[Rows, npt.NDArray[np.int64] | None]]:
    """Yield batches of pieces in random order; the rows after the last whole piece come last.

    A batch may be overwritten once the next one is asked for.
    """
    piece = max(1, min(_PIECE_ROWS, size // _PIECES_IN_BATCH))
    n_pieces = source.n_samples // piece
    whole = n_pieces * piece
    pieces = source.stored[:whole].reshape(n_pieces, piece, source.n_features)
    weights = None if source.weights is None else source.weights[:whole].reshape(-1, piece)
    shuffled = order.permutation(n_pieces)
    most = -(-size // piece) + 1
    X_room = np.empty((most, piece, source.n_features), source.dtype)
    weight_room = np.empty((most, piece))
    n_threads = min(effective_threads(n_jobs), _MOST_GATHERING)
    with ThreadPoolExecutor(n_threads) as pool:
        for first in range(skipped, source.n_samples, size):
            last = min(first + size, source.n_samples)
            chosen = shuffled[first // piece : -(-last // piece)]
            part = slice(first % piece, first % piece + min(last, whole) - first)
            _gather(pieces, chosen, X_room, pool, n_threads)
            X, w = X_room.reshape(-1, source.n_features)[part], None
            if weights is not None:
                _gather(weights, chosen, weight_room, pool, n_threads)
                w = weight_room.reshape(-1)[part]
            numbers = None
            if numbered:
                numbers = (chosen[:, None] * piece + np.arange(piece)).reshape(-1)[part]
            batch = Rows(X, w)
            if last > whole:
                rest = max(first, whole)
                batch = joined([batch, source.slice(rest, last)])
                if numbers is not None:
                    numbers = np.append(numbers, np.arange(rest, last))
            yield batch, numbers


def _gather(
    pieces: npt.NDArray[Any],
    chosen: npt.NDArray[np.int64],
    room: npt.NDArray[Any],
    pool: ThreadPoolExecutor,
    n_threads: int,
) -> None:
    """Copy pieces that lie apart, on several threads, since each of them waits for memory."""

    def copy(first: int, last: int) -> None:
        if pieces.flags.c_contiguous and pieces.dtype == room.dtype:
            np.take(pieces, chosen[first:last], axis=0, out=room[first:last], mode="clip")
        else:  # of which take would copy the whole first, or converts nothing
            room[first:last] = pieces[chosen[first:last]]

    if room.nbytes < _BYTES_FOR_THREADS:
        copy(0, len(chosen))
        return
    edges = np.linspace(0, len(chosen), n_threads + 1).astype(int).tolist()
    for _ in pool.map(copy, edges[:-1], edges[1:]):
        pass


def _first_rows(source: Source, size: int, every: int | None) -> tuple[ArraySource, Iterator[Rows]]:
    """Return the first rows that are to be learned, and all blocks, with those read for that."""
    blocks = source.blocks()
    read: list[Rows] = []
    sample: list[Rows] = []
    n_read = n_sampled = 0
    for block in blocks:
        X = block.X.copy()
        weights = None if block.weights is None else block.weights.copy()
        read.append(Rows(X, weights))
        learned = np.ones(len(X), dtype=bool) if weights is None else weights > 0.0
        if every is not None:
            learned &= ~is_held_out(np.arange(n_read, n_read + len(X)), every)
        chosen = np.flatnonzero(learned)[: size - n_sampled]
        sample.append(Rows(X[chosen], None if weights is None else weights[chosen]))
        n_read += len(X)
        n_sampled += len(chosen)
        if n_sampled == size:
            break
    first = ArraySource(*joined(sample), incomplete=source.incomplete)
    return first, _followed(read, blocks)


def _followed(read: list[Rows], blocks: Iterator[Rows]) -> Iterator[Rows]:
    """Yield blocks that were read before, and then the others."""
    with closing(blocks):  # type: ignore[type-var]
        while read:
            yield read.pop(0)
        yield from blocks
