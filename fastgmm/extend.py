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

from fastgmm.data.source import Rows, Source
from fastgmm.data.sources.array import ArraySource
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
    block: Rows | npt.NDArray[np.floating],
    *,
    n_jobs: int | None = None,
) -> SufficientStatistics:
    """Return the statistics of the responsibilities of some rows: the E-step of a block.

    Parameters
    ----------
    parameters : MixtureParameters
        The mixture.
    block : Rows, or ndarray of shape (n_rows, n_features)
        Rows without missing values, float32 or float64, with or without weights.
    n_jobs : int, default=None
        Number of threads; None and -1 mean all.

    Returns
    -------
    SufficientStatistics
        Moments about the means of the mixture, to be merged with those of other blocks under the
        same mixture.
    """
    rows = block if isinstance(block, Rows) else Rows(block, None)
    return mixture_statistics(ArraySource(rows.X, rows.weights), parameters, n_jobs=n_jobs)


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
