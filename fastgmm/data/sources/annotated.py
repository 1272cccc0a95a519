"""Rows of which each is followed by numbers that say what is known of its values."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Self, TypeVar

from fastgmm.data.source import FloatArray, Rows, Source
from fastgmm.data.sources.array import ArraySource
from fastgmm.data.sources.wrapped import SameRows, choose_rows

_Found = TypeVar("_Found")


class AnnotatedRows(SameRows):
    """Rows whose values are not simply known.

    As a source, it is the rows alone. Those of `rows` are followed by what is known of them, which
    files, memory maps and partitions thus hold and deliver as they do any other columns.

    Attributes
    ----------
    rows : Source
        The rows, each followed by what is known of it.
    layout : dict
        What that means, as the constructor takes it.
    """

    def __init__(self, rows: Source, n_features: int, **layout: Any) -> None:
        super().__init__(rows)
        self.rows, self.layout = rows, {"n_features": n_features, **layout}
        self.n_features = n_features
        self.partition, self.partition_sizes = rows.partition, rows.partition_sizes
        if self.feature_names is not None:
            self.annotation_names = self.feature_names[n_features:]
            self.feature_names = self.feature_names[:n_features]

    @property
    def weights(self) -> FloatArray | None:
        """Weights of rows in memory."""
        assert isinstance(self.rows, ArraySource)
        return self.rows.weights

    @property
    def largest_weight(self) -> float:
        """The largest of the weights, where all are known; 1 where there are none."""
        return self.rows.largest_weight

    def blocks(self) -> Iterator[Rows]:
        """Yield the rows alone."""
        for X, weights in self._wrapped_blocks():
            yield Rows(X[:, : self.n_features], weights)

    def annotated_blocks(self) -> Iterator[Rows]:
        """Yield the rows, each followed by what is known of it, which is checked."""
        n_rows = 0
        for rows in self._wrapped_blocks():
            self._check(rows.X, n_rows)
            n_rows += len(rows.X)
            yield rows

    def _check(self, X: Any, n_before: int) -> None:
        """Raise if what is said of rows is not possible, and say where."""

    def over(self, rows: Source) -> Self:
        """Return other rows of which the same is known in the same way."""
        return type(self)(rows, **self.layout)

    def fold(
        self, work: Callable[..., _Found], merge: Callable[[_Found, _Found], _Found]
    ) -> Callable[..., _Found]:
        """Return what does some work on the rows, where they lie."""
        annotated = partial(_on_annotated, work=work, kind=type(self), layout=self.layout)
        return self.rows.fold(annotated, merge)

    def changed(self, change: Callable[[Any], Source]) -> Self:
        """Return what becomes of the rows."""
        return self.over(change(self.rows))

    def chosen(self, kept: Any) -> Self:
        """Return some of the rows."""
        return self.over(choose_rows(self.rows, kept))


def _on_annotated(
    source: Source,
    *,
    work: Callable[..., Any],
    kind: type[AnnotatedRows],
    layout: dict[str, Any],
    **given: Any,
) -> Any:
    """Do some work on the rows of a source, or of one of its partitions."""
    return work(kind(source, **layout), **given)
