"""Fits of many small mixtures at once, each from first to last in compiled code."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fastgmm.data.sources.array import ArraySource
from fastgmm.em.e_step.accumulator import FARTHEST_SHARED
from fastgmm.em.problem import ROUNDING
from fastgmm.kernels import small_em
from fastgmm.kernels.mixture_pass import pass_address
from fastgmm.kernels.small_em import SmallFits, small_fit_slot
from fastgmm.kernels.threads import run_slots
from fastgmm.mixture.parameters import MixtureParameters
from fastgmm.mixture.statistics import EMPTY_SHARE, FloatArray
from fastgmm.mixture.structures import CovarianceStructure, smallest_raised

LARGEST_SAMPLE = 4096
LARGEST_DIMENSION = 16
"""Larger problems gain from the kernels of ordinary passes, and from LAPACK."""

_LETTERS = {"E": 0, "V": 1, "I": 2}
_ITERATION_COST = 50

_FAILURES = {
    small_em.EMPTY: "a component has lost all its points",
    small_em.SINGULAR: "a covariance is singular: the likelihood has no maximum",
    small_em.FALLEN: "the log-likelihood fell: a component shrinks to the rounding of the rows",
}


class SmallProblem(NamedTuple):
    """A mixture to be fitted."""

    source: ArraySource  # the rows
    structure: CovarianceStructure  # a built-in structure
    n_components: int  # number of components
    # the mixture that EM begins from, or the cluster of each row
    start: MixtureParameters | npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class EMFit:
    """What one fit came to."""

    parameters: Callable[[], MixtureParameters]  # returns the mixture, of a fit that did not fail
    log_likelihood: float  # that of all rows, in nats
    entropy: float  # entropy of the responsibilities, summed over the rows, in nats
    n_iter: int  # number of iterations
    # whether the log-likelihood is to rise by no more than the tolerance, as its last gains suggest
    converged: bool
    failure: str | None  # why the fit failed


def is_small(n_samples: int, n_features: int) -> bool:
    """Say whether data are so small that `fit_small` is the quickest way to fit them."""
    return n_samples <= LARGEST_SAMPLE and n_features <= LARGEST_DIMENSION


def fit_small(
    problems: Sequence[SmallProblem],
    *,
    max_iter: int,
    tol: float = 0.0,
    mean_tol: float = 0.0,
    amounts: FloatArray | None = None,
    n_jobs: int | None = None,
) -> list[EMFit]:
    """Fit mixtures to sets of as many rows each.

    A fit ends when the log-likelihood l is to rise by less than ``tol * (1 + abs(l))``, or when an
    iteration changes it by less than `mean_tol` for each unit of weight. The amounts are added to
    variances in each M-step.
    """
    if not problems:
        return []
    sources = list(dict.fromkeys(each.source for each in problems))
    n_samples, n_features = sources[0].n_samples, sources[0].n_features
    X = np.empty((len(sources), n_samples, n_features))
    weights = np.ones((len(sources), n_samples))
    for s, source in enumerate(sources):
        X[s] = source.X
        if source.weights is not None:
            weights[s] = source.weights
    places = {source: s for s, source in enumerate(sources)}
    rows_of = np.array([places[each.source] for each in problems])

    labels = np.zeros((len(problems), n_samples), dtype=np.int64)
    letters = np.array([[_LETTERS[each] for each in p.structure.letters] for p in problems])
    task = _task(
        SmallSets(X, weights, rows_of, labels),
        letters,
        np.array([each.n_components for each in problems]),
        amounts=np.zeros(n_features) if amounts is None else amounts,
        tol=tol,
        mean_tol=mean_tol,
        max_iter=max_iter,
    )
    for i, (_, _, K, start) in enumerate(problems):
        if not isinstance(start, MixtureParameters):
            task.labels[i] = start
            continue
        task.given[i] = True
        task.mixture_weights[i, :K] = start.weights
        task.means[i, :K] = start.means
        diagonals = np.einsum("kii->ki", task.whiteners[i, :K])
        (diagonals if start.is_diagonal else task.whiteners[i, :K])[:] = start.whiteners
    _run(task, n_jobs)
    values = (task.log_likelihood, task.entropy, task.n_iter, task.status)
    return [
        EMFit(
            partial(
                _mixture,
                task.mixture_weights[i, : problem.n_components],
                task.means[i, : problem.n_components],
                task.whiteners[i, : problem.n_components],
                problem.structure.is_diagonal,
            ),
            log_likelihood,
            entropy,
            n_iter,
            status == small_em.CONVERGED,
            _FAILURES.get(status),
        )
        for i, (problem, log_likelihood, entropy, n_iter, status) in enumerate(
            zip(problems, *(each.tolist() for each in values), strict=True)
        )
    ]


class SmallSets(NamedTuple):
    """Sets of as many rows each, and where the fits to them begin."""

    X: FloatArray  # (S, N, D): the rows
    weights: FloatArray  # (S, N): their weights
    rows_of: npt.NDArray[np.int64]  # (C,): which rows each mixture is fitted to
    labels: npt.NDArray[np.int64]  # (C, N): the cluster of each row, -1 for none


def fit_sets(
    sets: SmallSets,
    structure: CovarianceStructure,
    n_components: int,
    *,
    amounts: FloatArray,
    mean_tol: float,
    max_iter: int,
    n_jobs: int | None = None,
) -> SmallFits:
    """Fit mixtures of one kind to sets of rows from clusters, and return all that was found."""
    n_fits = len(sets.rows_of)
    letters = np.tile([_LETTERS[each] for each in structure.letters], (n_fits, 1))
    task = _task(
        sets,
        letters,
        np.full(n_fits, n_components),
        amounts=amounts,
        tol=0.0,
        mean_tol=mean_tol,
        max_iter=max_iter,
    )
    _run(task, n_jobs)
    return task


def _task(
    sets: SmallSets,
    letters: npt.NDArray[np.int64],
    n_components: npt.NDArray[np.int64],
    *,
    amounts: FloatArray,
    tol: float,
    mean_tol: float,
    max_iter: int,
) -> SmallFits:
    """Return the fits of mixtures to sets of rows, which begin from clusters."""
    n_fits, most, D = len(n_components), int(n_components.max()), sets.X.shape[2]
    return SmallFits(
        run_pass=pass_address(),
        X=sets.X,
        weights=sets.weights,
        rows_of=sets.rows_of,
        labels=sets.labels,
        given=np.zeros(n_fits, dtype=np.bool_),
        n_components=n_components,
        letters=letters,
        amounts=amounts,
        tol=tol,
        mean_tol=mean_tol,
        max_iter=max_iter,
        smallest=smallest_raised(D) / 16.0,
        smallest_share=EMPTY_SHARE,
        rounding=ROUNDING[8],
        farthest_shared=FARTHEST_SHARED[np.dtype(np.float64)],
        mixture_weights=np.zeros((n_fits, most)),
        means=np.zeros((n_fits, most, D)),
        whiteners=np.zeros((n_fits, most, D, D)),
        log_likelihood=np.zeros(n_fits),
        entropy=np.zeros(n_fits),
        n_iter=np.zeros(n_fits, dtype=np.int64),
        status=np.zeros(n_fits, dtype=np.int64),
    )


def _run(task: SmallFits, n_jobs: int | None) -> None:
    """Run fits from first to last."""
    n_fits, most, D = task.means.shape
    operations = n_fits * most * task.X.shape[1] * D * D * _ITERATION_COST
    run_slots(small_fit_slot, task, n_fits, n_jobs, operations)


def _mixture(
    weights: FloatArray,
    means: FloatArray,
    whiteners: FloatArray,
    diagonal: bool,
) -> MixtureParameters:
    """Return the mixture that a fit found."""
    return MixtureParameters.from_whiteners(
        weights, means, np.einsum("kii->ki", whiteners) if diagonal else whiteners
    )
