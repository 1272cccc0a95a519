"""Fits of many small mixtures at once, each from first to last in compiled code."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fastgmm.data.sources.array import ArraySource
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
    added = np.zeros(n_features) if amounts is None else amounts

    @cache  # resamples have a start in common
    def spread(start: MixtureParameters) -> FloatArray:
        own = start.covariances()
        own = own[:, :, None] * np.eye(n_features) if own.ndim == 2 else own
        return own - np.diag(added)

    n_fits, most = len(problems), max(each.n_components for each in problems)
    labels = np.zeros((n_fits, n_samples), dtype=np.int64)
    given = np.zeros(n_fits, dtype=np.bool_)
    mixture_weights = np.zeros((n_fits, most))
    means = np.zeros((n_fits, most, n_features))
    covariances = np.zeros((n_fits, most, n_features, n_features))
    whiteners = np.zeros_like(covariances)
    for i, (_, _, K, start) in enumerate(problems):
        if not isinstance(start, MixtureParameters):
            labels[i] = start
            continue
        given[i] = True
        mixture_weights[i, :K] = start.weights
        means[i, :K] = start.means
        covariances[i, :K] = spread(start)
    task = SmallFits(
        run_pass=pass_address(),
        X=X,
        weights=weights,
        rows_of=rows_of,
        labels=labels,
        given=given,
        n_components=np.array([each.n_components for each in problems]),
        letters=np.array([[_LETTERS[each] for each in p.structure.letters] for p in problems]),
        amounts=added,
        tol=tol,
        mean_tol=mean_tol,
        max_iter=max_iter,
        smallest=smallest_raised(n_features) / 16.0,
        smallest_share=EMPTY_SHARE,
        rounding=ROUNDING[8],
        covariances=covariances,
        mixture_weights=mixture_weights,
        means=means,
        whiteners=whiteners,
        log_likelihood=np.zeros(n_fits),
        entropy=np.zeros(n_fits),
        n_iter=np.zeros(n_fits, dtype=np.int64),
        status=np.zeros(n_fits, dtype=np.int64),
    )
    operations = n_fits * most * n_samples * n_features * n_features * _ITERATION_COST
    run_slots(small_fit_slot, task, n_fits, n_jobs, operations, uneven=True)
    values = (task.log_likelihood, task.entropy, task.n_iter, task.status)
    return [
        EMFit(
            partial(
                _mixture,
                mixture_weights[i, : problem.n_components],
                means[i, : problem.n_components],
                whiteners[i, : problem.n_components],
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
