"""The moments of rows of which some lack values, as if they were of one component."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import Any

import numpy as np
import numpy.typing as npt

from fastgmm.data.column_names import default_names
from fastgmm.data.recutting import recut
from fastgmm.data.source import Source
from fastgmm.inference.incomplete import run_incomplete
from fastgmm.kernels import mixture_pass
from fastgmm.kernels.tiles import BLOCK_ROWS
from fastgmm.model.regularisation import Regularisation
from fastgmm.model.statistics import FloatArray, SufficientStatistics
from fastgmm.model.structures import structure

_PIECE_BYTES = 2**20
"""Bytes of the rows that are looked at together."""

_MOST_PASSES = 20
_TOLERANCE = 1e-3


def observed_moments(
    source: Source,
    *,
    diagonal: bool,
    observe: Callable[[npt.NDArray[Any], FloatArray | None], None] | None = None,
    n_jobs: int | None = None,
) -> SufficientStatistics:
    """Return the moments of rows that lack values, as estimated from what is observed.

    Parameters
    ----------
    source : Source
        The rows.
    diagonal : bool
        Whether only the diagonal of the second moments is wanted. It is that of the values
        observed of each feature; a whole matrix is fitted by some steps of EM.
    observe : callable or None
        Called with the rows and weights of some at a time, all once.
    n_jobs : int or None
        Number of threads.

    Returns
    -------
    SufficientStatistics
        The moments, of a single component.

    Raises
    ------
    ValueError
        If a feature has no value in any row that has weight, or if the squares of the rows, times
        their weights, overflow.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        moments = _by_feature(source, observe)
    if diagonal:
        return moments
    full = structure("full")
    small = Regularisation.from_variances(
        1e-6, "relative", moments.means()[0], moments.variances()[0]
    )
    parameters = full.solve(_with_matrix(moments), small)
    before = -np.inf
    for _ in range(_MOST_PASSES):
        done = run_incomplete(source, parameters, mixture_pass.MOMENTS, n_jobs=n_jobs)
        statistics = done.statistics(source.total_weight)
        parameters = full.solve(statistics, small)
        if statistics.mean_log_likelihood - before < _TOLERANCE:
            break
        before = statistics.mean_log_likelihood
    return statistics


def _by_feature(
    source: Source, observe: Callable[[npt.NDArray[Any], FloatArray | None], None] | None
) -> SufficientStatistics:
    """Return the moments of each feature's values, scaled to the weight of all rows.

    Means and sums of squares of pieces are joined as by Chan, Golub and LeVeque (1979, "Updating
    formulae and a pairwise algorithm for computing sample variances").
    """
    n_features = source.n_features
    present, means, squares = (np.zeros(n_features) for _ in range(3))
    n_rows = BLOCK_ROWS * max(1, _PIECE_BYTES // (8 * n_features * BLOCK_ROWS))
    with closing(source.blocks()) as blocks:  # type: ignore[type-var]
        for X, weights in recut(blocks, n_rows):
            if observe is not None:
                observe(X, weights)
            values = X.astype(np.float64, order="C")
            shares = (~np.isnan(values)).astype(np.float64)
            if weights is not None:
                shares *= weights[:, None]
            values[shares == 0.0] = 0.0
            added = shares.sum(axis=0)
            divisors = np.where(added > 0.0, added, 1.0)
            centres = (shares * values).sum(axis=0) / divisors
            offsets = values - centres
            both = present + added
            shifts = (centres - means) * (added / np.where(both > 0.0, both, 1.0))
            squares += (shares * offsets * offsets).sum(axis=0)
            squares += (centres - means) * shifts * present
            means += shifts
            present = both
    names = source.feature_names or default_names(n_features)
    for j in np.flatnonzero(present == 0.0):
        raise ValueError(
            f"column {names[j]!r} has no value in any row that counts, so there is nothing to "
            "model it from: leave the column out"
        )
    weight = source.total_weight
    second = squares * (weight / present)
    for j in np.flatnonzero(~np.isfinite(second)):
        raise ValueError(
            f"the values of feature {j} are too large: their squares, times the sample weights, "
            "overflow; divide the feature or the weights by a constant"
        )
    return SufficientStatistics(
        reference=means[None],
        counts=np.array([weight]),
        first=np.zeros((1, n_features)),
        second=second[None],
        log_likelihood=float("nan"),
        weight=weight,
    )


def _with_matrix(moments: SufficientStatistics) -> SufficientStatistics:
    """Return diagonal moments as a matrix."""
    return SufficientStatistics(
        reference=moments.reference,
        counts=moments.counts,
        first=moments.first,
        second=moments.second[:, :, None] * np.eye(moments.n_features),
        log_likelihood=moments.log_likelihood,
        weight=moments.weight,
    )
