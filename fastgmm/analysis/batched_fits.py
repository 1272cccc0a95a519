"""Fits of the same kind to many sets of rows: together where these are small, else one by one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from fastgmm.analysis.small_fits import EMFit, SmallProblem, fit_small
from fastgmm.data.source import Source
from fastgmm.data.sources.array import ArraySource
from fastgmm.em.loop import Starts, fit_best
from fastgmm.em.problem import EMProblem
from fastgmm.em.stopping import SmallChange
from fastgmm.mixture.parameters import MixtureParameters
from fastgmm.mixture.regularization import IllDefinedCovarianceError, Regularization
from fastgmm.mixture.structures import CovarianceStructure, is_built_in

MOST_ROWS_TOGETHER = 2**14
"""Sets of no more rows than this are fitted together: a pass over them is shorter than a call."""

_BYTES_TOGETHER = 2**26
"""Rows, weights and mixtures of the fits that are done together."""


@dataclass(frozen=True, slots=True)
class EMSettings:
    """How each mixture is fitted."""

    structure: CovarianceStructure  # the structure of the covariances
    regularization: Regularization  # amounts added to the variances
    # smallest change of the mean log-likelihood, in nats, that is worth another iteration
    tol: float
    max_iter: int  # most M-steps
    n_jobs: int | None = None  # number of threads


def fits_at_once(n_samples: int, n_features: int, n_components: int) -> int:
    """Return to how many sets of rows mixtures of so many components in all are best fitted."""
    if n_samples > MOST_ROWS_TOGETHER:
        return 1
    numbers = (n_features + 1) * (n_samples + 2 * n_components * n_features)
    return max(1, _BYTES_TOGETHER // (8 * numbers))


def fit_each(
    problems: Sequence[tuple[Source, MixtureParameters]], settings: EMSettings
) -> list[EMFit]:
    """Fit a mixture to each source from a start.

    Fits that fail have a log-likelihood of minus infinity, and where they began as their mixture.
    """
    small = _small_problems(problems, settings.structure)
    if len(small) < len(problems):
        return [_fit_alone(source, start, settings) for source, start in problems]
    fits = fit_small(
        small,
        max_iter=settings.max_iter,
        mean_tol=settings.tol,
        amounts=settings.regularization.amounts,
        n_jobs=settings.n_jobs,
    )
    found = []
    for fit, (source, start) in zip(fits, problems, strict=True):
        if fit.converged or (fit.failure is None and fit.n_iter == settings.max_iter):
            found.append(fit)
        else:
            # A component lost its points or its spread, or the steps led below where they had been.
            begun = start if fit.failure is not None else fit.parameters()
            found.append(_fit_alone(source, begun, settings))
    return found


def _fit_alone(source: Source, start: MixtureParameters, settings: EMSettings) -> EMFit:
    problem = EMProblem(source, settings.structure, settings.regularization, n_jobs=settings.n_jobs)
    try:
        parameters, info = fit_best(
            problem, Starts.at(start), SmallChange(settings.tol), settings.max_iter
        )
    except IllDefinedCovarianceError as error:
        return EMFit(lambda: start, -math.inf, math.nan, 0, False, str(error))
    log_likelihood = source.total_weight * info.trace[-1]
    return EMFit(
        lambda: parameters, log_likelihood, math.nan, info.n_iter, info.converged, failure=None
    )


def _small_problems(
    problems: Sequence[tuple[Source, MixtureParameters]], structure: CovarianceStructure
) -> list[SmallProblem]:
    """Return problems of few whole rows, as many each, of a built-in structure."""
    n_rows = problems[0][0].n_samples
    return [
        SmallProblem(source, structure, start.n_components, start)
        for source, start in problems
        if isinstance(source, ArraySource)
        and not source.incomplete
        and source.n_samples == n_rows
        and source.n_samples <= MOST_ROWS_TOGETHER
        and is_built_in(structure)
    ]
