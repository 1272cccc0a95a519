"""The volume of the region that data lie in, which uniform noise is spread over."""

from __future__ import annotations

from contextlib import closing
from functools import partial

import numpy as np
import numpy.typing as npt

from fastgmm.data.source import Source
from fastgmm.mixture.statistics import FloatArray

_ROWS_AT_ONCE = 2**16


def log_hypervolume(source: Source, mean: FloatArray, covariance: FloatArray) -> float:
    """Return the logarithm of the volume of the smaller of two boxes around the rows.

    One has its sides along the features, the other along the principal components (Banfield and
    Raftery, 1993, "Model-based Gaussian and non-Gaussian clustering", Biometrics 49, section 5).
    """
    axes = np.linalg.eigh(covariance)[1]
    work = partial(_ranges, mean=mean, axes=axes)
    along_features, along_axes = source.fold(work, _both)(n_jobs=None)
    widths = along_features.widths()
    if not widths.all():
        j = int((widths == 0.0).argmax())
        raise ValueError(
            f"noise needs a volume to be spread over, but feature {j} has a single value in all "
            "rows: leave the feature out, or give the volume as a number"
        )
    return min(_log_volume(widths), _log_volume(along_axes.widths()))


def _ranges(
    source: Source,
    *,
    mean: FloatArray,
    axes: FloatArray,
    n_jobs: int | None,  # noqa: ARG001 - no kernel runs
) -> tuple[_Ranges, _Ranges]:
    """Return the ranges of rows along the features and along other axes."""
    along_features = _Ranges(source.n_features)
    along_axes = _Ranges(source.n_features)
    with closing(source.blocks()) as blocks:  # type: ignore[type-var]
        for X, weights in blocks:
            for first in range(0, len(X), _ROWS_AT_ONCE):
                part = slice(first, first + _ROWS_AT_ONCE)
                rows = X[part].astype(np.float64) - mean
                if weights is not None:
                    rows = rows[weights[part] > 0.0]
                along_features.add(rows)
                along_axes.add(rows[~np.isnan(rows).any(axis=1)] @ axes)
    return along_features, along_axes


def _both(one: tuple[_Ranges, _Ranges], other: tuple[_Ranges, _Ranges]) -> tuple[_Ranges, _Ranges]:
    """Return the ranges of both sets of rows."""
    return one[0].plus(other[0]), one[1].plus(other[1])


class _Ranges:
    """The smallest and the largest value seen of each column."""

    def __init__(self, n_columns: int) -> None:
        self._low = np.full(n_columns, np.inf)
        self._high = np.full(n_columns, -np.inf)

    def add(self, values: npt.NDArray[np.float64]) -> None:
        if len(values):
            self._low = np.fmin(self._low, np.fmin.reduce(values, axis=0))
            self._high = np.fmax(self._high, np.fmax.reduce(values, axis=0))

    def plus(self, other: _Ranges) -> _Ranges:
        """Return the ranges of what both have seen."""
        both = _Ranges(len(self._low))
        both._low = np.fmin(self._low, other._low)
        both._high = np.fmax(self._high, other._high)
        return both

    def widths(self) -> FloatArray:
        """Return the differences; infinite where nothing was seen."""
        return np.where(self._high >= self._low, self._high - self._low, np.inf)


def _log_volume(widths: FloatArray) -> float:
    """Return the logarithm of a box's volume; infinite for one that rounding has made flat."""
    return float(np.log(widths).sum()) if widths.all() else np.inf
