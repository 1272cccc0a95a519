"""What a source of rows is: where all data come from, whatever holds them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from fastgmm.kernels.tiles import BLOCK_ROWS

FloatArray = npt.NDArray[np.float64]

_Found = TypeVar("_Found")


class Rows(NamedTuple):
    """Rows that follow each other.

    Attributes
    ----------
    X : ndarray of shape (n_rows, n_features)
        float32 or float64 in native byte order, of any strides.
    weights : ndarray of shape (n_rows,), float64, or None
        Weights of the rows, at least 0; a weight of w means w copies of the row.
    """

    X: npt.NDArray[Any]
    weights: FloatArray | None

    def where(self, kept: npt.NDArray[np.bool_]) -> Rows:
        """Return a copy of the rows that are marked."""
        return Rows(self.X[kept], None if self.weights is None else self.weights[kept])


class Source(ABC):
    """Rows in a fixed order, which come in blocks.

    The number of rows of every block but the last is a multiple of `BLOCK_ROWS`, so that what is
    summed up over the rows is the same to the bit however they are stored.

    Attributes
    ----------
    n_features : int
        Number of columns.
    feature_names : tuple of str or None
        Their names, if they have any.
    dtype : dtype
        float32 or float64.
    replayable : bool
        Whether `blocks` can be called more than once.
    incomplete : bool
        Whether rows may lack values, which are NaN then.
    unused_columns : mapping of str to str
        Columns of the data that are no features, and what they are instead: ``"row index"``.
    left_out : ndarray of bool or None
        Which of the rows that were given are not among these, because they have no value; None
        where all are.
    partition : int or None
        Number of the partition that these rows are, of rows that lie in several places.
    partition_sizes : ndarray of int or None
        How many rows that have weight each partition has, of rows that lie in several places; None
        of all others.
    """

    n_features: int
    feature_names: tuple[str, ...] | None
    dtype: np.dtype[Any]
    replayable: bool
    incomplete: bool = False
    unused_columns: Mapping[str, str] = MappingProxyType({})
    left_out: npt.NDArray[np.bool_] | None = None
    partition: int | None = None
    partition_sizes: npt.NDArray[np.int64] | None = None

    @property
    @abstractmethod
    def n_samples(self) -> int | None:
        """Number of rows; None until a source that cannot know has been read once."""

    @property
    @abstractmethod
    def total_weight(self) -> float:
        """Sum of the weights, or the number of rows where there are none.

        A source that has not been read yet is read to find it.
        """

    @property
    @abstractmethod
    def has_weights(self) -> bool:
        """Whether the rows have weights."""

    @property
    def largest_weight(self) -> float:
        """The largest of the weights, where all are known; 1 where there are none."""
        return 1.0

    @property
    def reads_ahead(self) -> bool:
        """Whether threads read the next block while one is worked on."""
        return False

    @abstractmethod
    def blocks(self) -> Iterator[Rows]:
        """Return the blocks from the first row on.

        A block may be overwritten once the next one is asked for.
        """

    def fold(
        self,
        work: Callable[..., _Found],
        merge: Callable[[_Found, _Found], _Found],  # noqa: ARG002 - rows in one place
    ) -> Callable[..., _Found]:
        """Return what does some work on the rows: here, or where they lie.

        Parameters
        ----------
        work : callable
            Takes a source, the number of threads `n_jobs`, and arrays of what there is for each
            row by their names, and returns what it finds. Rows that lie in several places come as
            one source each; `work` is pickled then, and must not change what it holds.
        merge : callable
            Returns what two runs of rows that follow each other come to together.

        Returns
        -------
        callable
            Takes `n_jobs` and what there is for each row, as arrays or as this source holds it,
            and returns what `work` found, merged in the order of the rows.
        """
        return partial(work, self)

    def changed(self, change: Callable[[Any], Source]) -> Source | None:  # noqa: ARG002 - one place
        """Return what becomes of the rows of each partition.

        Parameters
        ----------
        change : callable
            Makes other rows of those of a partition; it is pickled.

        Returns
        -------
        Source or None
            The rows; None where those of this source lie in one place.
        """
        return None

    def chosen(self, kept: Any) -> Source | None:  # noqa: ARG002 - most have no random access
        """Return some of the rows.

        Parameters
        ----------
        kept : ndarray of bool of shape (n_samples,), or as this source holds what there is by row
            Which rows.

        Returns
        -------
        Source or None
            The rows; None where they can only be chosen while all are read.
        """
        return None

    def labels(self) -> FloatArray | None:
        """Return the labels of the rows, NaN where there is none; None if they have none.

        A source that is no array reads the rows to find them.
        """
        return None

    def note_size(self, n_samples: int, total_weight: float) -> None:  # noqa: B027  # most know
        """Take over what an earlier reading of the same rows found, where that is not known.

        Parameters
        ----------
        n_samples : int
            Number of rows.
        total_weight : float
            Sum of their weights.
        """

    @abstractmethod
    def fingerprint(self) -> dict[str, Any]:
        """Return what distinguishes these rows from others, in values that JSON knows."""

    def some_rows(self, count: int) -> FloatArray:
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
        found: list[FloatArray] = []
        missing = count
        first: FloatArray | None = None
        for X, weights in self.blocks():
            if first is None:
                first = X[:1].astype(np.float64, order="C")
            present = slice(missing) if weights is None else np.flatnonzero(weights > 0)[:missing]
            # In one order whatever that of the block: sums over the rows are to have the same bits.
            found.append(X[present].astype(np.float64, order="C"))
            missing -= len(found[-1])
            if not missing:
                break
        if missing < count:
            return np.concatenate(found)
        assert first is not None  # a source has a row at least
        return first


def sum_of_weights(weights: FloatArray, before: float = 0.0) -> float:
    """Add up weights so that the sum does not depend on how the rows are cut."""
    if not len(weights):
        return before
    with np.errstate(over="ignore"):  # an infinite sum is noticed by those who use it
        in_blocks = np.add.reduceat(weights, np.arange(0, len(weights), BLOCK_ROWS))
        return float(np.cumsum(np.concatenate([[before], in_blocks]))[-1])
