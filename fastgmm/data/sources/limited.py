"""Rows of which some values are only known to lie below or above a limit."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from fastgmm.data.column_names import default_names
from fastgmm.data.errors import DataError
from fastgmm.data.source import FloatArray, Rows, Source
from fastgmm.data.sources.annotated import AnnotatedRows
from fastgmm.data.sources.array import ArraySource
from fastgmm.data.sources.dask_collection import DaskSource
from fastgmm.data.sources.measured import numbers_of
from fastgmm.data.sources.rechunking import recut
from fastgmm.kernels.tiles import BLOCK_ROWS


class LimitedRows(AnnotatedRows):
    """Rows, each followed by a flag for each value: -1, at most that; 1, at least that; or 0.

    As a source, from which starts are found, censored values lie beyond their limits, as far as
    values of the feature are spread.
    """

    def blocks(self) -> Iterator[Rows]:
        """Yield the rows alone, with draws from beyond the limits."""
        scales, D = self._scales, self.n_features
        for number, (X, weights) in enumerate(recut(self.annotated_blocks(), BLOCK_ROWS)):
            drawn = np.random.default_rng([0, number]).standard_normal((BLOCK_ROWS, D))
            flags = np.where(np.isnan(X[:, :D]), 0.0, X[:, D:])
            beyond = flags * scales * np.abs(drawn[: len(X)])
            yield Rows((X[:, :D] + beyond).astype(self.dtype), weights)

    @cached_property
    def _scales(self) -> FloatArray:
        """Standard deviations of what is measured of each feature."""
        counts, sums, squares = np.zeros((3, self.n_features))
        near: FloatArray | None = None
        for X, weights in recut(self.annotated_blocks(), BLOCK_ROWS):
            # in one order whatever that of the block: sums are to have the same bits
            values, flags = np.hsplit(X.astype(np.float64, order="C"), 2)
            measured = (flags == 0.0) & ~np.isnan(values)
            if near is None:
                near = np.where(measured, values, 0.0).mean(axis=0)
            shares = measured * (1.0 if weights is None else weights[:, None])
            offsets = np.where(shares > 0.0, values - near, 0.0)
            counts += shares.sum(axis=0)
            sums += (shares * offsets).sum(axis=0)
            squares += (shares * offsets**2).sum(axis=0)
        names = self.feature_names or default_names(self.n_features)
        for j in np.flatnonzero(counts == 0.0):
            raise ValueError(
                f"all values of column {names[j]!r} are censored or missing, so there is nothing "
                "to estimate its spread from: leave the column out"
            )
        means = sums / counts
        found = np.sqrt(np.maximum(squares / counts - means**2, 0.0))
        return np.where(found > 0.0, found, 1.0)

    def _check(self, X: npt.NDArray[Any], n_before: int) -> None:
        """Raise if a flag is none, and say which."""
        D = self.n_features
        flags = X[:, D:]
        wrong = (flags != -1.0) & (flags != 0.0) & (flags != 1.0) & ~np.isnan(X[:, :D])
        if wrong.any():
            row, j = map(int, np.argwhere(wrong)[0])
            raise DataError(
                f"column {self.annotation_names[j]!r} holds {flags[row, j]:g} in row "
                f"{n_before + row}, counted from 0: {_MEANING}"
            )

    def fingerprint(self) -> dict[str, Any]:
        """Return what distinguishes these rows from others, in values that JSON knows."""
        return {"kind": "limited rows", "of": self.rows.fingerprint()}


_MEANING = (
    "a value is -1 where the true value is at most the one given, 1 where it is at least that, and "
    "0 where it is measured"
)


def with_limits(source: Source, censored: npt.ArrayLike) -> LimitedRows:
    """Return rows of which some values are limits."""
    if isinstance(source, LimitedRows):
        raise ValueError("X brings limits of its own: give no censored beside them")
    if isinstance(source, AnnotatedRows):
        raise ValueError("censored and error_covariance do not go together: leave out one of them")
    refuse_collection(source)
    if not isinstance(source, ArraySource):
        raise ValueError(
            "rows that are not in memory take what is censored from columns: name them, as in "
            "open_data(path, columns=['x'], censored_columns=['x_limit'])"
        )
    flags = numbers_of("censored", censored)
    left_out = source.left_out
    shape = (source.n_samples if left_out is None else len(left_out), source.n_features)
    if flags.shape != shape:
        raise ValueError(
            f"censored must have the shape of X, {shape}, one flag for each value; got "
            f"{flags.shape}"
        )
    numbers = np.arange(len(flags)) if left_out is None else np.flatnonzero(~left_out)
    flags = flags[numbers]
    missing = np.isnan(source.X)
    wrong = ~np.isin(flags, (-1.0, 0.0, 1.0)) & ~missing
    if wrong.any():
        row, j = map(int, np.argwhere(wrong)[0])
        name = (source.feature_names or default_names(source.n_features))[j]
        raise ValueError(
            f"censored holds {flags[row, j]:g} in row {numbers[row]}, counted from 0, column "
            f"{name!r}: {_MEANING}"
        )
    wide = source.widened(np.where(missing, np.nan, flags).astype(source.dtype))
    found = LimitedRows(wide, source.n_features)
    found.feature_names = source.feature_names
    return found


def refuse_collection(source: Source) -> None:
    """Raise if rows lie in several places, whose limits are not known together."""
    if isinstance(source, DaskSource):
        raise ValueError(
            "censored values of a Dask collection are not taken into account: compute it, or write "
            "it to files and open these"
        )
