"""Rows held in an array in memory or in a memory map."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


class ArraySource:
    """Rows of a two-dimensional array, with optional weights.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        float32 or float64 in native byte order, of any strides; never copied.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights of the rows, at least 0; a weight of w means w copies of the row.
    """

    def __init__(self, X: npt.NDArray[Any], sample_weight: npt.ArrayLike | None = None) -> None:
        self.X = X
        self.weights: npt.NDArray[np.float64] | None = (
            None if sample_weight is None else np.asarray(sample_weight, dtype=np.float64)
        )

    @property
    def n_samples(self) -> int:
        """Number of rows."""
        return int(self.X.shape[0])

    @property
    def n_features(self) -> int:
        """Number of columns."""
        return int(self.X.shape[1])

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the entries, float32 or float64."""
        return self.X.dtype

    @property
    def total_weight(self) -> float:
        """Sum of the weights, or the number of rows where there are none."""
        return float(self.n_samples) if self.weights is None else float(self.weights.sum())

    def rows(self, indices: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        """Return a copy of chosen rows.

        Parameters
        ----------
        indices : ndarray of shape (n,)
            Row numbers.

        Returns
        -------
        ndarray of shape (n, n_features)
            The rows, C-contiguous.
        """
        return np.ascontiguousarray(self.X[indices])

    def some_rows(self, count: int) -> npt.NDArray[np.float64]:
        """Return the first rows that have weight, to learn where the data are and how wide.

        Parameters
        ----------
        count : int
            How many; fewer where fewer rows have weight.

        Returns
        -------
        ndarray of shape (at most count, n_features)
            The rows, in double precision. One row at least: without any weight, the first.
        """
        if self.weights is None:
            chosen = np.arange(min(count, self.n_samples))
        else:
            chosen = np.flatnonzero(self.weights > 0)[:count]
            chosen = chosen if len(chosen) else np.zeros(1, np.int64)
        return self.rows(chosen).astype(np.float64)
