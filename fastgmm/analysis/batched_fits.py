"""Fits of the same kind to many sets of rows: together where these are small, else one by one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fastgmm.data.source import Source
from fastgmm.data.sources.array import ArraySource
from fastgmm.em.e_step.batched import (
    IndexArray,
    RowSets,
    components_of,
    fit_stack,
    stacked,
)
from fastgmm.em.loop import Starts, fit_best
from fastgmm.em.problem import EMProblem
from fastgmm.em.stopping import SmallChange
from fastgmm.mixture.parameters import MixtureParameters
from fastgmm.mixture.regularization import IllDefinedCovarianceError, Regularization
from fastgmm.mixture.statistics import FloatArray
from fastgmm.mixture.structures import CovarianceStructure

MOST_STACKED_ROWS = 2**14
"""Sets of no more rows than this are fitted together: a pass over them is shorter than a call."""

_STACK_BYTES = 2**26
"""Rows, weights and statistics of the fits that are done together."""


@dataclass(frozen=True, slots=True)
class EMSettings:
    """How each mixture is fitted."""

    structure: CovarianceStructure  # the structure of the covariances
    regularization: Regularization  # amounts added to the variances
    # smallest change of the mean log-likelihood, in nats, that is worth another iteration
    tol: float
    max_iter: int  # most M-steps
    n_jobs: int | None = None  # number of threads


@dataclass(frozen=True, slots=True, eq=False)
class ManyFits:
    """What EM of many mixtures found."""

    # the fitted mixtures, stacked: the components of the first one first
    parameters: MixtureParameters
    # (n_mixtures,): mean log-likelihood of each, in nats; minus infinity for those that failed
    log_likelihoods: FloatArray
    converged: npt.NDArray[np.bool_]  # (n_mixtures,): which of them converged
    # (n_mixtures,): which of them have no likelihood that is finite, because a component collapsed
    # without regularization
    failed: npt.NDArray[np.bool_]

    def of(self, mixtures: IndexArray) -> ManyFits:
        """Return some of the fits."""
        n_components = self.parameters.n_components // len(self.failed)
        return ManyFits(
            self.parameters.of(components_of(mixtures, n_components)),
            self.log_likelihoods[mixtures],
            self.converged[mixtures],
            self.failed[mixtures],
        )


def fits_at_once(n_samples: int, n_features: int, n_components: int, *, drawn: bool) -> int:
    """Return to how many sets of rows a mixture is best fitted at once."""
    if n_samples > MOST_STACKED_ROWS:
        return 1
    per_row = n_features if drawn else 1
    numbers = n_samples * per_row + 8 * n_components * n_features * (n_features + 1)
    return max(1, _STACK_BYTES // (8 * numbers))


def fit_each(
    sources: Sequence[Source],
    source_of: IndexArray,
    starts: MixtureParameters,
    settings: EMSettings,
) -> ManyFits:
    """Fit many mixtures by EM, each from one start."""
    n_mixtures = len(source_of)
    n_components = starts.n_components // n_mixtures
    sets = _row_sets(sources, source_of)
    if sets is None:
        found = [
            _fit_alone(
                sources[source_of[m]],
                starts.of(components_of(np.array([m]), n_components)),
                settings,
            )
            for m in range(n_mixtures)
        ]
        return _joined(found)
    fit = fit_stack(
        sets,
        starts,
        settings.structure,
        settings.regularization,
        tol=settings.tol,
        max_iter=settings.max_iter,
        n_jobs=settings.n_jobs,
    )
    together = ManyFits(
        fit.parameters, fit.log_likelihoods, fit.converged, np.zeros(n_mixtures, dtype=bool)
    )
    if fit.sound.all():
        return together
    found = []
    for m in range(n_mixtures):
        one = np.array([m])
        if fit.sound[m]:
            found.append(together.of(one))
        else:
            start = starts.of(components_of(one, n_components))
            found.append(_fit_alone(sources[source_of[m]], start, settings))
    return _joined(found)


def _fit_alone(source: Source, start: MixtureParameters, settings: EMSettings) -> ManyFits:
    try:
        parameters, info = fit_best(
            EMProblem(source, settings.structure, settings.regularization, n_jobs=settings.n_jobs),
            Starts.at(start),
            SmallChange(settings.tol),
            settings.max_iter,
        )
    except IllDefinedCovarianceError:
        return ManyFits(start, np.array([-np.inf]), np.array([False]), np.array([True]))
    return ManyFits(
        parameters, np.array([info.trace[-1]]), np.array([info.converged]), np.array([False])
    )


def _joined(fits: list[ManyFits]) -> ManyFits:
    return ManyFits(
        stacked([each.parameters for each in fits]),
        np.concatenate([each.log_likelihoods for each in fits]),
        np.concatenate([each.converged for each in fits]),
        np.concatenate([each.failed for each in fits]),
    )


def _row_sets(sources: Sequence[Source], source_of: IndexArray) -> RowSets | None:
    """Return sources of few whole rows, as many each, as the sets of a stack; None for others."""
    held = [each for each in sources if isinstance(each, ArraySource) and not each.incomplete]
    n_samples = held[0].n_samples if held else 0
    few = all(each.n_samples == n_samples <= MOST_STACKED_ROWS for each in held)
    weighted = {each.weights is not None for each in held}
    if len(held) < len(sources) or not few or len(weighted) > 1:
        return None
    # Resamples share their rows, and rows that were drawn have no weights.
    tables = list({id(each.stored): each.stored for each in held}.values())
    place = {id(X): i for i, X in enumerate(tables)}
    rows_of = np.array([place[id(each.stored)] for each in held])
    weights = [each.weights for each in held if each.weights is not None]
    weights_of = np.arange(len(held)) if weights else np.zeros(len(held), np.int64)
    return RowSets(
        np.stack(tables).astype(np.float64, copy=False),
        np.stack(weights) if weights else None,
        rows_of[source_of],
        weights_of[source_of],
    )
