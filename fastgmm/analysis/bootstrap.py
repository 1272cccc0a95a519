"""Uncertainty of fitted mixtures: the same fit to many resamples of the rows.

Every fit starts from the mixture fitted to all rows, so that component k of a resample is that of
the mixture, and none changes places with another (O'Hagan, Murphy, Scrucca and Gormley, 2019,
"Investigation of parameter uncertainty in clustering using a Gaussian mixture model via jackknife,
bootstrap and weighted likelihood bootstrap", Computational Statistics 34).

A row that is drawn three times is a row of weight 3, so that no resample copies the data. What is
random is drawn block by block of rows, each block from a seed of its own, so that weights of a file
are never held as a whole, and do not depend on how the rows are stored.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from fastgmm.analysis.batched_fits import EMSettings, fit_each, fits_at_once
from fastgmm.analysis.small_fits import EMFit
from fastgmm.data.source import FloatArray, Rows, Source
from fastgmm.data.sources.array import ArraySource
from fastgmm.data.sources.wrapped import WrappedSource
from fastgmm.kernels.tiles import BLOCK_ROWS
from fastgmm.mixture.parameters import MixtureParameters, invert_triangles

Draw = Literal["counts", "weights"]
"""Whether rows are drawn with replacement, or weighted by continuous random numbers."""

_BLOCKS_AT_ONCE = 64
"""Blocks of drawn rows that are handed out together."""

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
    """Mixtures fitted to resamples."""

    fits: list[EMFit]
    # (n_resamples,): how many times each of them counts: for the jackknife, the number of copies of
    # the row that was left out
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
    at_once = fits_at_once(source.n_samples, source.n_features, parameters.n_components)
    fits: list[EMFit] = []
    numbers = np.flatnonzero(multiplicities)
    for some in batches(numbers, at_once):
        fits += fit_each([(make(number), parameters) for number in some.tolist()], settings)
    return Replicates(fits, multiplicities[numbers])


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
        return lambda row: JackknifeSource(source, row, counts[row]).held(), counts
    draw, sums = _DRAWS[kind], block_weights(source)
    return lambda number: ResampledSource(source, draw, sums, seed, number).held(), ones


def _row_weights(source: Source) -> FloatArray:
    """Return the weight of every row."""
    return np.concatenate(
        [np.ones(len(X)) if weights is None else weights.copy() for X, weights in source.blocks()]
    )


class ReweightedSource(WrappedSource):
    """The rows of another source under other weights."""

    @property
    def n_samples(self) -> int | None:
        """Number of rows, with those of weight 0."""
        return self._source.n_samples

    @property
    def has_weights(self) -> bool:
        """Whether the rows have weights: always."""
        return True

    def blocks(self) -> Iterator[Rows]:
        """Yield the blocks of the source with the other weights."""
        n_rows = 0
        for X, weights in self._wrapped_blocks():
            yield Rows(X, self.reweighted(n_rows, weights, len(X)))
            n_rows += len(X)

    def held(self) -> Source:
        """Return the rows with their weights in memory, if the rows are."""
        source = self._source
        if not isinstance(source, ArraySource):
            return self
        weights = self.reweighted(0, source.weights, source.n_samples)
        return ArraySource(source.stored, weights, incomplete=source.incomplete)

    @abstractmethod
    def reweighted(self, first: int, weights: FloatArray | None, n_rows: int) -> FloatArray:
        """Return the other weights of rows that follow each other."""

    def fingerprint(self) -> dict[str, Any]:
        """Return that of the source: resamples are not distinguished."""
        return self._source.fingerprint()


class ResampledSource(ReweightedSource):
    """The rows of another source under random weights.

    The weights of whole blocks are drawn first and then shared out within each block; the result
    is distributed as if all had been drawn at once.
    """

    def __init__(
        self, source: Source, draw: Draw, block_weights: FloatArray, seed: int, number: int
    ) -> None:
        super().__init__(source)
        self.draw = draw
        self._seed = seed
        self._number = number
        total = float(block_weights.sum())
        self._shares = self._share_out(
            np.random.default_rng([seed, number]),  # a 0 at the end would give the same numbers
            block_weights,
            round(total) if draw == "counts" else total,
        )

    @cached_property
    def total_weight(self) -> float:
        """Sum of the weights, which is that of the source's, rounded if copies are drawn."""
        return float(self._shares.sum())

    def reweighted(self, first: int, weights: FloatArray | None, n_rows: int) -> FloatArray:
        """Return the random weights of rows that follow each other."""
        drawn = np.empty(n_rows)
        for begin in range(0, n_rows, BLOCK_ROWS):
            here = slice(begin, min(begin + BLOCK_ROWS, n_rows))
            block = (first + begin) // BLOCK_ROWS
            own = np.ones(here.stop - begin) if weights is None else weights[here]
            random = np.random.default_rng([self._seed, self._number, 1 + block])
            drawn[here] = self._share_out(random, own, self._shares[block])
        return drawn

    def _share_out(
        self, random: np.random.Generator, weights: FloatArray, total: float
    ) -> FloatArray:
        """Return random numbers, proportional to weights on the average, of a given sum."""
        if self.draw == "counts":
            sum_of_weights = weights.sum()
            if not sum_of_weights > 0.0:
                return np.zeros(len(weights))
            return random.multinomial(int(total), weights / sum_of_weights).astype(np.float64)
        drawn = random.standard_gamma(weights)
        sum_of_drawn = drawn.sum()
        scaled: FloatArray = drawn * (total / sum_of_drawn if sum_of_drawn > 0.0 else 0.0)
        return scaled


class JackknifeSource(ReweightedSource):
    """The rows of another source with one copy of one row left out."""

    def __init__(self, source: Source, row: int, weight: float = 1.0) -> None:
        super().__init__(source)
        self._row = row
        self._less = min(1.0, weight)

    @property
    def total_weight(self) -> float:
        """Sum of the weights."""
        return self._source.total_weight - self._less

    def reweighted(self, first: int, weights: FloatArray | None, n_rows: int) -> FloatArray:
        """Return the weights of rows that follow each other."""
        left = np.ones(n_rows) if weights is None else weights.copy()
        if first <= self._row < first + n_rows:
            left[self._row - first] -= self._less
        return left


class DrawnSource(Source):
    """Rows drawn from a mixture, the same in every pass."""

    feature_names = None
    replayable = True

    def __init__(
        self,
        parameters: MixtureParameters,
        n_samples: int,
        dtype: npt.DTypeLike,
        seed: int,
        number: int,
    ) -> None:
        self.n_features = parameters.n_features
        self.dtype = np.dtype(dtype)
        self._n_samples = n_samples
        self._means = parameters.means
        self._weights = parameters.weights / parameters.weights.sum()
        whiteners = parameters.with_matrices().whiteners
        self._factors = 1.0 / whiteners if parameters.is_diagonal else invert_triangles(whiteners)
        self._seed = seed
        self._number = number

    @property
    def n_samples(self) -> int:
        """Number of rows."""
        return self._n_samples

    @property
    def total_weight(self) -> float:
        """The number of rows."""
        return float(self._n_samples)

    @property
    def has_weights(self) -> bool:
        """Whether the rows have weights: never."""
        return False

    def blocks(self) -> Iterator[Rows]:
        """Yield the rows, drawn anew from the same seed."""
        at_once = BLOCK_ROWS * _BLOCKS_AT_ONCE
        for first in range(0, self._n_samples, at_once):
            last = min(first + at_once, self._n_samples)
            X = np.empty((last - first, self.n_features), self.dtype)
            for begin in range(first, last, BLOCK_ROWS):
                end = min(begin + BLOCK_ROWS, last)
                X[begin - first : end - first] = self._drawn(begin // BLOCK_ROWS, end - begin)
            yield Rows(X, None)

    def held(self) -> ArraySource:
        """Return the rows in memory."""
        return ArraySource(np.concatenate([X for X, _ in self.blocks()]))

    def fingerprint(self) -> dict[str, Any]:
        """Return what distinguishes these rows from others."""
        return {"kind": "drawn", "seed": self._seed, "number": self._number}

    def _drawn(self, block: int, n_rows: int) -> FloatArray:
        """Return the rows of a block, in the order of their components."""
        random = np.random.default_rng([self._seed, self._number, block])
        counts = random.multinomial(n_rows, self._weights)
        X = random.standard_normal((n_rows, self.n_features))
        first = 0
        for mean, factor, count in zip(self._means, self._factors, counts, strict=True):
            own = X[first : first + count]
            own[...] = mean + (own * factor if factor.ndim == 1 else own @ factor.T)
            first += count
        return X


def block_weights(source: Source) -> FloatArray:
    """Return the sum of the weights in each block of `BLOCK_ROWS` rows."""
    if not source.has_weights and source.n_samples is not None:
        return _block_sizes(source.n_samples)
    sums = []
    for X, weights in source.blocks():
        if weights is None:
            sums.append(_block_sizes(len(X)))
        else:
            sums.append(np.add.reduceat(weights, np.arange(0, len(X), BLOCK_ROWS)))
    return np.concatenate(sums)


def _block_sizes(n_rows: int) -> FloatArray:
    first = np.arange(0, n_rows, BLOCK_ROWS)
    sizes: FloatArray = np.minimum(n_rows - first, BLOCK_ROWS).astype(np.float64)
    return sizes
