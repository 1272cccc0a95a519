"""Information criteria: how well a mixture fits, for the number of parameters it takes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import partial
from operator import add
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import entr

from fastgmm.data.source import Source
from fastgmm.em.e_step.passes import log_likelihood, responsibilities
from fastgmm.em.missing.incomplete import annotated_pieces
from fastgmm.mixture.parameters import MixtureParameters
from fastgmm.mixture.statistics import FloatArray

_BLOCK_BYTES = 2**25
"""Responsibilities held at once."""


class Scores(NamedTuple):
    """How well a mixture explains some rows."""

    weight: float  # sum of the rows' weights, or their number, n
    log_likelihood: float  # weighted sum of the rows' log-densities, log L, in nats
    bic: float  # -2 log L + p log n, with p free parameters (Schwarz, 1978)
    aic: float  # -2 log L + 2 p (Akaike, 1974)


def score(
    source: Source,
    parameters: MixtureParameters,
    n_parameters: int,
    *,
    n_jobs: int | None = None,
) -> Scores:
    """Return the log-likelihood of rows and the information criteria, from one pass."""
    total = log_likelihood(source, parameters, n_jobs=n_jobs)
    weight = source.total_weight
    return Scores(
        weight,
        total,
        bic=-2.0 * total + n_parameters * math.log(weight),
        aic=-2.0 * total + 2.0 * n_parameters,
    )


def assignment_entropy(
    source: Source, parameters: MixtureParameters, *, n_jobs: int | None = None
) -> float:
    """Return the entropy of the responsibilities, summed over the rows by weight, in nats."""
    return assignment_entropies(source, [parameters], n_jobs=n_jobs)[0]


def assignment_entropies(
    source: Source, mixtures: Sequence[MixtureParameters], *, n_jobs: int | None = None
) -> list[float]:
    """Return the entropy of the responsibilities of each of several mixtures, from one pass."""
    work = partial(_entropies, mixtures=mixtures)
    found: FloatArray = source.fold(work, add)(n_jobs=n_jobs)
    return [float(each) for each in found]


def _entropies(
    source: Source, *, mixtures: Sequence[MixtureParameters], n_jobs: int | None
) -> FloatArray:
    totals = np.zeros(len(mixtures))
    n_rows = _rows_at_once(max(each.n_components for each in mixtures))
    for some in annotated_pieces(source, n_rows):
        for m, each in enumerate(mixtures):
            shares = responsibilities(some, each, n_jobs=n_jobs)
            entropies = entr(shares).sum(axis=1, dtype=np.float64)
            totals[m] += float(
                entropies.sum() if some.weights is None else some.weights @ entropies
            )
    return totals


def _rows_at_once(n_components: int) -> int:
    return max(1, _BLOCK_BYTES // (8 * n_components))


def responsibility_blocks(
    source: Source, parameters: MixtureParameters, *, n_jobs: int | None = None
) -> Iterator[tuple[npt.NDArray[Any], FloatArray | None]]:
    """Yield the responsibilities of the rows, so many at once that they take little memory."""
    for some in annotated_pieces(source, _rows_at_once(parameters.n_components)):
        yield responsibilities(some, parameters, n_jobs=n_jobs), some.weights
