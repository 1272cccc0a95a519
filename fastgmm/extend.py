"""What others build on: structures, priors, rules and sources of their own, and blockwise passes.

A new covariance structure is a `CovarianceStructure`, a new prior a `Prior`, a new rule for
convergence a `StoppingRule`, data from somewhere else a `Source`; instances are values of
``covariance_type``, ``priors``, ``tol`` and ``X``. Where rows are
on many machines, `block_statistics` is the E-step of a block, `merge` adds up what the blocks gave,
and the `solve` of a structure is the M-step.
"""

from __future__ import annotations

from functools import reduce
from operator import add

import numpy as np
import numpy.typing as npt

from fastgmm.data.selection import Selection
from fastgmm.data.source import Rows, Source
from fastgmm.data.sources.array_like import as_matrix
from fastgmm.data.sources.frames import checked_rows
from fastgmm.em.e_step.passes import mixture_statistics
from fastgmm.em.stopping import StoppingRule
from fastgmm.mixture.parameters import MixtureParameters
from fastgmm.mixture.priors.prior import Prior
from fastgmm.mixture.regularization import IllDefinedCovarianceError, Regularization
from fastgmm.mixture.statistics import SufficientStatistics
from fastgmm.mixture.structures import CovarianceStructure, Spread, structure

__all__ = [
    "CovarianceStructure",
    "IllDefinedCovarianceError",
    "MixtureParameters",
    "Prior",
    "Regularization",
    "Rows",
    "Source",
    "Spread",
    "StoppingRule",
    "SufficientStatistics",
    "block_statistics",
    "merge",
    "structure",
]


def block_statistics(
    parameters: MixtureParameters,
    block: Rows | npt.ArrayLike,
    *,
    n_jobs: int | None = None,
) -> SufficientStatistics:
    """Return the statistics of the responsibilities of some rows: the E-step of a block.

    Parameters
    ----------
    parameters : MixtureParameters
        The mixture.
    block : Rows, or array-like of shape (n_rows, n_features)
        Rows, with or without weights; there may be none. Values that are NaN are missing, and
        integrated out.
    n_jobs : int, default=None
        Number of threads; None and -1 mean all.

    Returns
    -------
    SufficientStatistics
        Moments about the means of the mixture, to be merged with those of other blocks under the
        same mixture.

    Raises
    ------
    DataError
        If the block is no matrix of numbers, a value is infinite, or a weight is negative or no
        number.
    ValueError
        If the rows have other features than the mixture.
    """
    rows = block if isinstance(block, Rows) else Rows(as_matrix("the block", block), None)
    found = Selection().of_matrix("the block", rows.X)
    X = np.asarray(found.values, found.dtype)
    if X.shape[1] != parameters.n_features:
        raise ValueError(
            f"the block has {X.shape[1]} features, and the mixture {parameters.n_features}: give "
            "the columns that the mixture is of"
        )
    weights = None if rows.weights is None else np.asarray(rows.weights, np.float64)
    source = checked_rows("the block", X, found._replace(weights=weights), "model")
    if not source.n_samples:
        counts, first = np.zeros(parameters.n_components), np.zeros_like(parameters.means)
        second = np.zeros_like(parameters.whiteners)
        return SufficientStatistics(parameters.means, counts, first, second, 0.0, 0.0)
    return mixture_statistics(source, parameters, n_jobs=n_jobs)


def merge(*statistics: SufficientStatistics) -> SufficientStatistics:
    """Return the statistics of several blocks of rows together.

    Parameters
    ----------
    *statistics : SufficientStatistics
        Those of each block; one at least. Their sum has the same bits whenever they come in the
        same order.

    Returns
    -------
    SufficientStatistics
        Their sum.
    """
    return reduce(add, statistics)
