"""Information criteria: how well a mixture fits, for the number of parameters it takes."""

from __future__ import annotations

import math

import numpy as np
from scipy.special import entr

from fastgmm.data.array import ArraySource
from fastgmm.data.source import Source
from fastgmm.inference.passes import log_likelihood, responsibilities
from fastgmm.model.parameters import MixtureParameters
from fastgmm.model.structures import CovarianceStructure

_BLOCK_BYTES = 2**25
"""Responsibilities held at once while their entropy is taken."""


def bayesian_criterion(
    source: Source,
    parameters: MixtureParameters,
    structure: CovarianceStructure,
    *,
    n_jobs: int | None = None,
) -> float:
    """Return -2 log L + p log n (Schwarz, 1978); n is the total weight of the rows.

    Parameters
    ----------
    source : Source
        The rows and their weights.
    parameters : MixtureParameters
        The mixture.
    structure : CovarianceStructure
        Says how many free parameters p it has.
    n_jobs : int or None
        Number of threads.
    """
    n_parameters = structure.n_parameters(parameters.n_components, parameters.n_features)
    penalty = n_parameters * math.log(source.total_weight)
    return -2.0 * log_likelihood(source, parameters, n_jobs=n_jobs) + penalty


def akaike_criterion(
    source: Source,
    parameters: MixtureParameters,
    structure: CovarianceStructure,
    *,
    n_jobs: int | None = None,
) -> float:
    """Return -2 log L + 2 p (Akaike, 1974).

    Parameters
    ----------
    source, parameters, structure, n_jobs
        As for `bayesian_criterion`.
    """
    n_parameters = structure.n_parameters(parameters.n_components, parameters.n_features)
    return -2.0 * log_likelihood(source, parameters, n_jobs=n_jobs) + 2.0 * n_parameters


def assignment_entropy(
    source: Source, parameters: MixtureParameters, *, n_jobs: int | None = None
) -> float:
    """Return the entropy of the responsibilities, summed over the rows by weight, in nats.

    Parameters
    ----------
    source : Source
        The rows and their weights.
    parameters : MixtureParameters
        The mixture.
    n_jobs : int or None
        Number of threads.
    """
    total = 0.0
    n_rows = max(1, _BLOCK_BYTES // (8 * parameters.n_components))
    for X, weights in source.blocks():
        for begin in range(0, len(X), n_rows):
            some = slice(begin, begin + n_rows)
            shares = responsibilities(ArraySource(X[some]), parameters, n_jobs=n_jobs)
            entropies = entr(shares).sum(axis=1, dtype=np.float64)
            total += float(entropies.sum() if weights is None else weights[some] @ entropies)
    return total
