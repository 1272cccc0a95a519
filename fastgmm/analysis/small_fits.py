"""Fits of many small mixtures at once, each from first to last in compiled code."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

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


@dataclass(frozen=True, slots=True, eq=False)
class SmallFit:
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
    source: ArraySource,
    candidates: list[tuple[CovarianceStructure, int]],
    partitions: dict[int, npt.NDArray[np.int64]],
    *,
    tol: float,
    max_iter: int,
    starts: Sequence[MixtureParameters] | None = None,
    n_jobs: int | None = None,
) -> list[SmallFit]:
    """Fit mixtures of several structures and sizes to the same few rows, without regularization."""
    if not candidates:
        return []
    n_samples, n_features = source.n_samples, source.n_features
    X = source.X.astype(np.float64, order="C")
    weights = np.ones(n_samples) if source.weights is None else source.weights
    center = np.average(X, axis=0, weights=weights)
    X -= center
    most = max(n_components for _, n_components in candidates)
    labels = np.zeros((most, n_samples), dtype=np.int64)
    n_fits = len(candidates)
    mixture_weights = np.zeros((n_fits, most))
    means = np.zeros((n_fits, most, n_features))
    covariances = np.zeros((n_fits, most, n_features, n_features))
    if starts is None:
        for n_components in {n_components for _, n_components in candidates}:
            labels[n_components - 1] = partitions[n_components]
    else:
        for i, start in enumerate(starts):
            K = start.n_components
            mixture_weights[i, :K] = start.weights
            means[i, :K] = start.means - center
            own = start.covariances()
            covariances[i, :K] = own[:, :, None] * np.eye(n_features) if own.ndim == 2 else own
    task = SmallFits(
        run_pass=pass_address(),
        X=X,
        weights=weights,
        labels=labels,
        given=np.full(n_fits, starts is not None),
        n_components=np.array([n_components for _, n_components in candidates]),
        letters=np.array([[_LETTERS[each] for each in kind.letters] for kind, _ in candidates]),
        tol=tol,
        max_iter=max_iter,
        smallest=smallest_raised(n_features) / 16.0,
        smallest_share=EMPTY_SHARE,
        rounding=ROUNDING[8],
        covariances=covariances,
        mixture_weights=mixture_weights,
        means=means,
        whiteners=np.zeros_like(covariances),
        log_likelihood=np.zeros(n_fits),
        entropy=np.zeros(n_fits),
        n_iter=np.zeros(n_fits, dtype=np.int64),
        status=np.zeros(n_fits, dtype=np.int64),
    )
    operations = n_fits * most * n_samples * n_features * n_features * _ITERATION_COST
    run_slots(small_fit_slot, task, n_fits, n_jobs, operations, uneven=True)
    values = (task.log_likelihood, task.entropy, task.n_iter, task.status)
    return [
        SmallFit(
            partial(_mixture, task, i, kind, center),
            log_likelihood,
            entropy,
            n_iter,
            status == small_em.CONVERGED,
            _FAILURES.get(status),
        )
        for i, ((kind, _), log_likelihood, entropy, n_iter, status) in enumerate(
            zip(candidates, *(each.tolist() for each in values), strict=True)
        )
    ]


def _mixture(
    task: SmallFits, i: int, kind: CovarianceStructure, center: FloatArray
) -> MixtureParameters:
    """Return the mixture that a fit found."""
    n_components = int(task.n_components[i])
    whiteners = task.whiteners[i, :n_components]
    return MixtureParameters.from_whiteners(
        task.mixture_weights[i, :n_components],
        center + task.means[i, :n_components],
        np.einsum("kii->ki", whiteners) if kind.is_diagonal else whiteners,
    )
