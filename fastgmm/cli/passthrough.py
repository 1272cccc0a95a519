"""Columns of the data that a table of results has, too."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fastgmm.cli.options import split_columns
from fastgmm.cli.output import STANDARD_OUTPUT
from fastgmm.data.errors import DataError
from fastgmm.data.passthrough_columns import CarriedColumns, CarriedForm
from fastgmm.data.sources.file_source import FileSource, common_columns

if TYPE_CHECKING:
    from fastgmm.data.source import Source


def suffix_of(output: Path | None) -> str:
    """Return the suffix of a table, which is CSV on standard output."""
    return ".csv" if output in (None, STANDARD_OUTPUT) else output.suffix.lower()


def names_to_keep(rows: Source, given: str | None) -> list[str]:
    """Return the columns that an option names: all of them, some, or none."""
    if given == "all":
        assert isinstance(rows, FileSource)  # as paths are opened
        return [column.name for column in common_columns(rows.files)]
    return split_columns(given) or []


def carried_columns(
    rows: Source, output: Path | None, names: Sequence[str] | None = None
) -> CarriedColumns:
    """Return columns of files that go along with the rows; those that are no features, if None."""
    if not isinstance(rows, FileSource) or (names is not None and not names):
        return CarriedColumns((), ())
    suffix = suffix_of(output)
    forms: dict[str, CarriedForm] = {".npy": "numbers", ".csv": "text", ".parquet": "typed"}
    try:
        return rows.carry(names, form=forms[suffix])
    except DataError as error:
        if suffix != ".npy":
            raise
        raise DataError(f"{error}, or write .csv or .parquet") from error
