"""Rows in one file or several, which are read again in every pass."""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fastgmm.data.column_names import doubt_of_nameless, is_nameless, name_list
from fastgmm.data.errors import DataError, warn_of_doubt
from fastgmm.data.formats.arrow_columns import ROW_INDEX, reason_of
from fastgmm.data.formats.table_file import (
    Column,
    Columns,
    Damage,
    Piece,
    TableFile,
    Wanted,
    common_dtype,
)
from fastgmm.data.options import ReadingOptions
from fastgmm.data.passthrough_columns import (
    CarriedColumns,
    CarriedForm,
    first_type,
    wide_enough,
    with_type,
)
from fastgmm.data.selection import Selection, check_label_column
from fastgmm.data.sources.batch import Batch
from fastgmm.data.sources.exactness import is_long_integer, reaches_rounding
from fastgmm.data.sources.prefetch import prefetched
from fastgmm.data.sources.stream import StreamSource


class FileSource(StreamSource):
    """Rows of files, one file after the other."""

    def __init__(
        self,
        files: Sequence[TableFile],
        selection: Selection,
        options: ReadingOptions,
        unreadable: Sequence[str] = (),
    ) -> None:
        first = files[0]
        selection = selection.with_parts(first.parts)
        features = selection.features(first.origin, first.columns, first.named)
        everything = selection.named_columns(first.named) is None
        weights = () if selection.weight_column is None else (selection.weight_column,)
        label = selection.label_column
        types = []
        for file in files:
            check_columns(file, first, (*features, *selection.apart), everything)
            if everything:
                _check_roles(file, first)
            found = {column.name: column for column in file.columns}
            types.append(common_dtype(file.origin, [found[name] for name in features]))
            common_dtype(file.origin, [found[name] for name in weights])
            if label is not None:
                check_label_column(file.origin, found[label])
            if selection.filter is not None:
                file.check_filter(selection.filter)
        sizes = [file.n_rows for file in files]
        super().__init__(
            dtype=np.result_type(*types),
            n_features=len(features),
            feature_names=(
                features if first.named or selection.columns or selection.exclude else None
            ),
            has_weights=bool(weights),
            options=options,
            expected_samples=None if None in sizes else sum(filter(None, sizes)),
            has_labels=label is not None,
        )
        self.files = tuple(files)
        places = {name: j for j, name in enumerate(features)}
        self._integers = frozenset(
            places[column.name]
            for file in files
            for column in file.columns
            if column.name in places and is_long_integer(column.dtype)
        )
        self.selection = selection
        if everything:
            warn_of_doubts(files)
            self._warn_of_nameless(first)
        self.unused_columns = selection.unused(
            (column for file in files for column in file.columns), features
        )
        self.replayable = all(file.replayable for file in files)
        self.names = (*features, *weights)
        self._by_columns = first.by_columns
        self._unreadable = tuple(unreadable)
        self._carried: CarriedColumns | None = None
        self._carried_as_numbers = False
        self._types: dict[str, Any] = {}
        self._stays_the_same = self.replayable and all(file.notices_changes for file in files)

    def _warn_of_nameless(self, first: TableFile) -> None:
        """Warn of integers without a name among the features; CSV has its own rule for them."""
        dtypes = {column.name: column.dtype for column in first.columns if not first.is_text}
        nameless = [
            name
            for name in self.feature_names or ()
            if is_nameless(name) and (dtype := dtypes.get(name)) is not None and dtype.kind in "iu"
        ]
        if nameless:
            warn_of_doubt(doubt_of_nameless(first.origin, nameless))

    def carry(
        self, names: Sequence[str] | None = None, form: CarriedForm = "stored"
    ) -> CarriedColumns:
        """Let passes from now on hand over columns, too: those that are no features, if None."""
        if self.options.missing == "drop" or self.options.on_error == "skip":
            raise ValueError("columns are carried along only where no rows are left out")
        first = self.files[0]
        own = {column.name: column for column in common_columns(self.files)}
        features = set(self.feature_names or own)
        everything = names is None
        carried = [name for name in own if name not in features] if names is None else list(names)
        for name in carried:
            if name not in own:
                raise ValueError(
                    f"{first.origin} has no column {name!r}: its columns are {name_list(list(own))}"
                )
        # Features are read as numbers.
        texts = [name for name in carried if name not in features]
        is_text = first.is_text and form in ("text", "typed")
        for file in self.files:
            check_columns(file, first, carried, everything)
            found = {column.name: column for column in file.columns}
            for name in carried:
                if found[name].type != own[name].type and not is_text:
                    raise DataError(
                        f"column {name!r} is {own[name].type} in {first.origin} and "
                        f"{found[name].type} in {file.origin}: give it one type to carry it along"
                    )
            if form == "numbers":
                common_dtype(file.origin, [found[name] for name in carried])
            if is_text:
                file.keep_text(texts)
        # Each pass reads the files, for blocks that are kept are without these columns.
        self._kept, self._stays_the_same = None, False
        self._carried_as_numbers = form == "numbers"
        self._types = self._text_types(texts) if is_text and form == "typed" else {}
        index = tuple(name for name in carried if own[name].aside == ROW_INDEX)
        self._carried = CarriedColumns(carried, list(own), index)
        return self._carried

    def integer_types(self) -> dict[int, np.dtype[Any]]:
        """Return the types of those features that are integers or booleans in all files."""
        found = [{column.name: column.dtype for column in file.columns} for file in self.files]
        types: dict[int, np.dtype[Any]] = {}
        for j, name in enumerate(self.names[: self.n_features]):
            dtypes = [columns[name] for columns in found]
            if all(dtype is not None and dtype.kind in "iub" for dtype in dtypes):
                types[j] = np.result_type(*filter(None, dtypes))
        return types

    def whole_features(self, features: Collection[int]) -> set[int]:
        """Return which of some features of integer types hold whole numbers only, or nothing."""
        names = [self.names[j] for j in features]
        is_text = self.files[0].is_text
        whole = set(features if self.replayable or not is_text else ())
        for file in self.files if whole and is_text else ():
            for values, *_ in self._pieces(file, names, Damage(file, None)):
                columns = values.T if isinstance(values, np.ndarray) else values
                for j, column in zip(features, columns, strict=True):
                    if column.dtype.kind == "f" and (abs(column - np.round(column)) > 0.0).any():
                        whole.discard(j)
        return whole

    def _text_types(self, names: Sequence[str]) -> dict[str, Any]:
        """Return types for columns that are read as text."""
        guesses = {column.name: column.type for column in self.files[0].columns}
        types = {name: first_type(guesses[name], guessed=not self.replayable) for name in names}
        for file in self.files if self.replayable and names else ():
            for piece in self._pieces(file, names, Damage(file, None)):
                assert piece.batch is not None  # text comes by Arrow
                for name, kind in types.items():
                    types[name] = wide_enough(file, kind, piece.batch.column(name))
        return types

    def description(self) -> str:
        """Return what messages call the files as a whole."""
        first, last = self.files[0].origin, self.files[-1].origin
        if len(self.files) == 1:
            return first
        return f"the data in {len(self.files)} files, {first} to {last},"

    def _check_unchanged(self) -> None:
        for file in self.files:
            file.check_unchanged()

    def _batches(self) -> Iterator[Batch]:
        """Return the rows of all files; columns are decoded in a thread of their own.

        Decoding takes longer than all that is done with the columns afterwards, and need not wait
        for it.
        """
        decoded = self._decoded()
        return prefetched(decoded, 1) if self._by_columns else decoded

    def _labeled_batches(self) -> Iterator[Batch]:
        """Return the rows of all files with their labels, which no other pass reads."""
        self.skipped = []
        return self._decoded(self.selection.label_column)

    def _decoded(self, label: str | None = None) -> Generator[Batch, None, None]:
        """Yield the rows of all files, each looked at before and after, with labels if named."""
        carried = self._carried if label is None else None
        names = self.names if label is None else (*self.names, label)
        if carried is not None:
            carried.clear()
            names = tuple(dict.fromkeys((*names, *carried.names)))
        n_more = len(names) - len(self.names) - (label is not None)
        self.skipped += self._unreadable
        for file in self.files:
            file.check_unchanged()
            damage = Damage(file, self.skipped if self.options.on_error == "skip" else None)
            for piece in self._pieces(file, names, damage):
                values, batch = piece.values, piece.batch
                weights = labels = None
                if carried is not None and carried.names:
                    columns = values.T if isinstance(values, np.ndarray) else values
                    own = [columns[names.index(name)] for name in carried.names]
                    carried.put(self._as_wanted(file, carried.names, own, batch))
                    if n_more:
                        values, _ = _split(values, n_more)
                if label is not None:
                    values, (labels,) = _split(values, 1)
                if self._has_weights:
                    values, (weights,) = _split(values, 1)
                yield Batch(
                    values, weights, file.origin, piece.row, piece.numbers, labels, piece.line_of
                )
            file.check_unchanged()

    def _as_wanted(
        self, file: TableFile, names: Sequence[str], numbers: Sequence[npt.NDArray[Any]], batch: Any
    ) -> Sequence[Any]:
        """Return columns in the form in which they are carried along."""
        if self._carried_as_numbers:
            long = {column.name for column in file.columns if is_long_integer(column.dtype)}
            for name, column in zip(names, numbers, strict=True):
                if name in long and reaches_rounding(column):
                    raise DataError(
                        f"{file.origin}: column {name!r} holds integers of 2**53 and more, which "
                        "an array of float64 rounds: write .csv or .parquet"
                    )
            return numbers
        stored = set() if batch is None else set(batch.schema.names)
        return [
            column
            if name not in stored
            else with_type(file, name, batch.column(name), self._types[name])
            if name in self._types
            else batch.column(name)
            for name, column in zip(names, numbers, strict=True)
        ]

    def _pieces(self, file: TableFile, names: Sequence[str], damage: Damage) -> Iterator[Piece]:
        errors: tuple[type[Exception], ...] = (OSError, EOFError, *file.errors)
        try:
            yield from file.pieces(Wanted(names, self.block_rows, self.selection.filter, damage))
        except errors as error:
            damage.report(file.origin, reason_of(error))
        except MemoryError as error:
            if str(error):
                raise
            damage.report(file.origin, "a part of it claims to be larger than memory")

    def _identity(self) -> dict[str, Any]:
        """Return what distinguishes the files from others."""
        wanted = self.selection.filter
        return {
            "kind": self.files[0].kind,
            "files": [file.identity() for file in self.files],
            "columns": list(self.names),
            "labels": self.selection.label_column,
            "filter": None if wanted is None else str(wanted),
        }


def _split(values: Columns, count: int) -> tuple[Columns, list[npt.NDArray[Any]]]:
    """Return all columns but the last so many, and these."""
    if isinstance(values, np.ndarray):
        return values[:, :-count], list(values[:, -count:].T)
    return values[:-count], list(values[-count:])


def check_columns(
    file: TableFile, first: TableFile, wanted: Sequence[str], everything: bool
) -> None:
    """Make sure that a file has the columns of the first."""
    found = {column.name: column for column in file.columns}
    expected = {column.name for column in first.columns}
    if lacking := [name for name in wanted if name not in found]:
        raise DataError(
            f"{file.origin} has no column {name_list(lacking)}, which {first.origin} has: all "
            "files must have the same columns"
        )
    unknown = [name for name, each in found.items() if name not in expected and not each.aside]
    if everything and unknown:
        raise DataError(
            f"{file.origin} has a column {name_list(unknown)}, which {first.origin} does not have: "
            "name the columns to use"
        )


def warn_of_doubts(files: Sequence[TableFile]) -> None:
    """Warn of how files are understood that may be meant otherwise, once for all of them."""
    doubtful = [file for file in files if file.doubts]
    for doubt in doubtful[0].doubts if doubtful else ():
        others = f", and so in {len(doubtful) - 1} other files" if len(doubtful) > 1 else ""
        warn_of_doubt(f"{doubt}{others}")


def common_columns(files: Sequence[TableFile]) -> list[Column]:
    """Return the columns of the first of some files, without row indices that others lack."""
    shared = set.intersection(*({column.name for column in file.columns} for file in files))
    return [each for each in files[0].columns if not each.aside or each.name in shared]


def _check_roles(file: TableFile, first: TableFile) -> None:
    """Make sure that what is a feature in the first file is one in another, and the reverse."""
    asides = {column.name: column.aside for column in first.columns}
    for column in file.columns:
        name, aside = column.name, column.aside
        if aside != asides.get(name, aside):
            raise DataError(
                f"column {name!r} is {_role(asides[name])} in {first.origin} and {_role(aside)} in "
                f"{file.origin}: name the columns to use"
            )


def _role(aside: str) -> str:
    """Return what a column is."""
    return f"the {aside}" if aside else "a feature"
