"""What goes to standard output: tables, summaries and JSON."""

from __future__ import annotations

import collections
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
    """Write to standard output."""
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
    """Write one JSON object and a line end to standard output."""
    write([json.dumps(_plain(document), allow_nan=False, ensure_ascii=False), "\n"])


def print_pairs(pairs: Mapping[str, object]) -> None:
    """Write names and values to standard output, a pair a line."""
    width = max(map(len, pairs))
    write(f"{name:<{width}}  {value}\n" for name, value in pairs.items())


def print_result(as_json: bool, document: Mapping[str, Any], pairs: Mapping[str, object]) -> None:
    """Write what a command did, as JSON or as text; a pair without a value is left out."""
    if as_json:
        print_json(document)
    else:
        print_pairs({name: value for name, value in pairs.items() if value is not None})


def print_columns(rows: Iterable[tuple[str, ...]]) -> None:
    """Write rows of texts to standard output, the columns below each other."""
    rows = list(rows)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for first, *others in rows:
        cells = [f"{cell:>{width}}" for cell, width in zip(others, widths[1:], strict=True)]
        write(["  ".join([f"{first:<{widths[0]}}", *cells]).rstrip(), "\n"])


def check_output(path: Path | None, data: Sequence[str] = (), as_json: bool = False) -> None:
    """Make sure before the work that a table can be written, and not over its data."""
    if as_json and path == STANDARD_OUTPUT:
        raise ValueError("--output - and --json both write to standard output: choose one of them")
    if path is not None and path != STANDARD_OUTPUT:
        writable_suffix(path)
    check_not_read(path, data)


def check_not_read(output: Path | None, data: Sequence[str]) -> None:
    """Make sure that a result does not take the place of the data that it is computed from."""
    if output is None or not output.is_file():
        return
    try:
        read = any(
            isinstance(found.path, Path) and found.path.samefile(output)
            for found in find_files(data)
        )
    except (OSError, DataError):
        return  # a stream is no file; and what is wrong with files is reported when they are opened
    if read:
        raise ValueError(
            f"{str(output)!r} holds the data that are read, and would be overwritten: give another "
            "name"
        )


def write_columns(
    path: Path | None, blocks: Iterable[Mapping[str, Any]], index: Sequence[str] = ()
) -> None:
    """Write a table to a file, or to standard output as CSV."""
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


def write_if_asked(path: Path | None, blocks: Iterable[Mapping[str, Any]]) -> None:
    """Write a table, or compute it for its figures alone."""
    if path is None:
        collections.deque(blocks, maxlen=0)
    else:
        write_columns(path, blocks)


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
