"""What goes to standard output: tables, summaries and JSON."""

from __future__ import annotations

import errno
import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import typer

from fastgmm.data.errors import DataError
from fastgmm.data.file_listing import find_files
from fastgmm.data.table_output import csv_blocks, table_writer, writable_suffix

STANDARD_OUTPUT = Path("-")


def write(texts: Iterable[str]) -> None:
    """Write to standard output.

    Parameters
    ----------
    texts : iterable of str
        What to write. It ends quietly if whoever reads it closes the pipe.
    """
    if sys.stdout is None:
        raise OSError("standard output is closed")
    try:
        for text in texts:
            sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        # Windows has no error of its own for a closed pipe.
        if error.errno not in (errno.EPIPE, errno.EINVAL):
            raise
        # What is still in Python's buffer must not meet the closed pipe again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit from None


def print_json(document: Mapping[str, Any]) -> None:
    """Write one JSON object and a line end to standard output.

    Parameters
    ----------
    document : mapping
        What to write: numbers that JSON does not know, such as NaN, become null.
    """
    write([json.dumps(_plain(document), allow_nan=False, ensure_ascii=False), "\n"])


def print_pairs(pairs: Mapping[str, object]) -> None:
    """Write names and values to standard output, a pair a line.

    Parameters
    ----------
    pairs : mapping of str to object
        Names and what to print beside them.
    """
    width = max(map(len, pairs))
    write(f"{name:<{width}}  {value}\n" for name, value in pairs.items())


def print_columns(rows: Iterable[tuple[str, ...]]) -> None:
    """Write rows of texts to standard output, the columns below each other.

    Parameters
    ----------
    rows : iterable of tuple of str
        The first row holds the titles. All columns but the first stand to the right.
    """
    rows = list(rows)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for first, *others in rows:
        cells = [f"{cell:>{width}}" for cell, width in zip(others, widths[1:], strict=True)]
        write(["  ".join([f"{first:<{widths[0]}}", *cells]).rstrip(), "\n"])


def check_output(path: Path | None, as_json: bool = False) -> None:
    """Make sure before the work that its result can be written.

    Parameters
    ----------
    path : Path or None
        Where the table is to go.
    as_json : bool, default=False
        Whether an object is to go to standard output besides.
    """
    if as_json and path == STANDARD_OUTPUT:
        raise ValueError("--output - and --json both write to standard output: choose one of them")
    if path is not None and path != STANDARD_OUTPUT:
        writable_suffix(path)


def check_not_read(output: Path | None, data: Sequence[str]) -> None:
    """Make sure that a result does not take the place of data that it is made of.

    Parameters
    ----------
    output : Path or None
        Where the result is to go, if to a file.
    data : sequence of str
        The files, folders and patterns that are read.
    """
    if output is None or not output.is_file():
        return
    try:
        read = any(found.path.samefile(output) for found in find_files(data))
    except (OSError, DataError):
        return  # a stream is no file; and what is wrong with files is told when they are opened
    if read:
        raise ValueError(
            f"{str(output)!r} holds the data that are read, and would be overwritten: give another "
            "name"
        )


def write_columns(
    path: Path | None, blocks: Iterable[Mapping[str, Any]], index: Sequence[str] = ()
) -> None:
    """Write a table to a file, or to standard output as CSV.

    Parameters
    ----------
    path : Path or None
        Where the table is to go; None and ``-`` stand for standard output.
    blocks : iterable of mapping of str to ndarray
        The columns and their names, some rows at a time.
    index : sequence of str, default=()
        Those that hold the row index of a data frame, which Parquet can say.
    """
    if path is None or path == STANDARD_OUTPUT:
        write(
            text
            for number, columns in enumerate(blocks)
            for text in csv_blocks(columns, header=number == 0)
        )
        return
    with table_writer(path, index) as write_block:
        for columns in blocks:
            write_block(columns)


def _plain(value: Any) -> Any:
    """Return a value with nothing in it but what JSON knows."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    if isinstance(value, float) and not (abs(value) < float("inf")):
        return None
    return str(value) if isinstance(value, Path) else value
