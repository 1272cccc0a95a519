"""Uncertainty of fitted mixtures: the same fit to many resamples of the rows.

Every fit starts from the mixture fitted to all rows, so that component k of a resample is that of
the mixture, and none changes places with another (O'Hagan, Murphy, Scrucca and Gormley, 2019,
"Investigation of parameter uncertainty in clustering using a Gaussian mixture model via jackknife,
bootstrap and weighted likelihood bootstrap", Computational Statistics 34).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from fastgmm.analysis.batched_fits import EMSettings, ManyFits, fit_each, fits_at_once
from fastgmm.analysis.resampling import (
    Draw,
    DrawnSource,
    JackknifeSource,
    ResampledSource,
    ReweightedSource,
    block_weights,
)
from fastgmm.data.source import Source
from fastgmm.data.sources.array import ArraySource
from fastgmm.em.e_step.batched import stacked
from fastgmm.mixture.parameters import MixtureParameters
from fastgmm.mixture.statistics import FloatArray

BootstrapKind = Literal["nonparametric", "weighted", "parametric", "jackknife"]

BOOTSTRAP_KINDS: tuple[BootstrapKind, ...] = (
    "nonparametric",
    "weighted",
    "parametric",
    "jackknife",
)

_DRAWS: dict[str, Draw] = {"nonparametric": "counts", "weighted": "weights"}

_HELD_BYTES = 2**28
"""Rows drawn from a mixture are held up to this size, and drawn anew in each pass beyond it."""


@dataclass(frozen=True, slots=True, eq=False)
class Replicates:
    """Mixtures fitted to resamples.

    Attributes
    ----------
    fits : tuple of ManyFits
        The fits in the order of the resamples.
    multiplicities : ndarray of shape (n_resamples,)
        How many times each of them counts: for the jackknife, the number of copies of the row
        that was left out.
    """

    fits: tuple[ManyFits, ...]
    multiplicities: FloatArray


def bootstrap(
    source: Source,
    parameters: MixtureParameters,
    settings: EMSettings,
    *,
    kind: BootstrapKind,
    n_resamples: int,
    seed: int,
) -> Replicates:
    """Fit a mixture to resamples of the rows that it was fitted to."""
    if not source.total_weight >= 2.0:
        raise ValueError(
            f"resampling needs rows of a total weight of 2 or more, but got "
            f"{source.total_weight:g}: a weight of w means w copies of a row, so multiply them"
        )
    make, multiplicities = _resamples(source, parameters, kind, n_resamples, seed)
    assert source.n_samples is not None  # its weight is known
    at_once = fits_at_once(
        source.n_samples,
        source.n_features,
        parameters.n_components,
        drawn=kind == "parametric",
    )
    fits = []
    numbers = np.flatnonzero(multiplicities)
    for some in batches(numbers, at_once):
        sources = [make(number) for number in some.tolist()]
        starts = stacked([parameters] * len(sources))
        fits.append(fit_each(sources, np.arange(len(sources)), starts, settings))
    return Replicates(tuple(fits), multiplicities[numbers])


def drawn_rows(
    parameters: MixtureParameters,
    n_samples: int,
    dtype: np.dtype[np.floating],
    seed: int,
    number: int,
) -> Source:
    """Return rows drawn from a mixture, in memory unless they are very many."""
    drawn = DrawnSource(parameters, n_samples, dtype, seed, number)
    small = n_samples * parameters.n_features * dtype.itemsize <= _HELD_BYTES
    return drawn.held() if small else drawn


def batches(numbers: np.ndarray, size: int) -> Iterator[np.ndarray]:
    """Yield numbers, so many at once."""
    for first in range(0, len(numbers), size):
        yield numbers[first : first + size]


def _resamples(
    source: Source,
    parameters: MixtureParameters,
    kind: BootstrapKind,
    n_resamples: int,
    seed: int,
) -> tuple[Callable[[int], Source], FloatArray]:
    """Return what makes the resample of a number, and how often each of them counts."""
    ones = np.ones(n_resamples)
    if kind == "parametric":
        n_rows = round(source.total_weight)
        return lambda number: drawn_rows(parameters, n_rows, source.dtype, seed, number), ones
    if kind == "jackknife":
        counts = _row_weights(source)
        return lambda row: _held(JackknifeSource(source, row, counts[row])), counts
    draw, sums = _DRAWS[kind], block_weights(source)
    return lambda number: _held(ResampledSource(source, draw, sums, seed, number)), ones


def _row_weights(source: Source) -> FloatArray:
    """Return the weight of every row."""
    return np.concatenate(
        [np.ones(len(X)) if weights is None else weights.copy() for X, weights in source.blocks()]
    )


def _held(resample: ReweightedSource) -> Source:
    """Return a resample with its weights in memory, if the rows are."""
    source = resample.source
    if not isinstance(source, ArraySource):
        return resample
    weights = resample.reweighted(0, source.weights, source.n_samples)
    return ArraySource(source.stored, weights, incomplete=source.incomplete)
