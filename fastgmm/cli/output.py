"""What goes to standard output: tables, summaries and JSON."""

from __future__ import annotations

import collections
import errno
import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import typer

from fastgmm.cli.options import Printing
from fastgmm.data.errors import DataError

STANDARD_OUTPUT = Path("-")
MODEL_SUFFIX = ".fgm"

_KINDS = {
    "Checkpoint": "a checkpoint",
    "GaussianMixtureClassifier": "a classifier",
    "GaussianMixtureOutlierDetector": "an outlier detector",
    "GaussianMixtureRegressor": "a regressor",
    "GaussianMixtureTransformer": "a transformer",
    "GroupMixtures": "mixtures of groups",
}
"""What classes in files are called; all others are mixtures."""


class Outputs(NamedTuple):
    """The files that a command writes, of those that it can write."""

    model: Path | None
    table: Path | None


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
        from fastgmm.data.table_output import writable_suffix

        writable_suffix(path)
    check_not_read(path, data)


def outputs_of(
    given: Sequence[Path] | None,
    data: Sequence[str],
    *,
    kind: str | None,
    printing: Printing,
    missing: str | None = None,
) -> Outputs:
    """Return the model and the table among the files to write, once both can be written.

    `kind` is what the model is; None where there is no model to write.
    """
    models = [path for path in given or () if path.suffix == MODEL_SUFFIX]
    tables = [path for path in given or () if path.suffix != MODEL_SUFFIX]
    for paths, what in ((models, "model"), (tables, "table")):
        if len(paths) > 1:
            names = " and ".join(repr(str(path)) for path in paths)
            raise ValueError(f"--output names {names}: give one {what} at most")
    outputs = Outputs(*(paths[0] if paths else None for paths in (models, tables)))
    if kind is not None:
        check_model_path(outputs.model, data, kind=kind, force=printing.force)
    elif outputs.model is not None:
        raise ValueError(
            f"there is no new model for {str(outputs.model)!r}: give -k to fit one, or a table"
        )
    check_output(outputs.table, data, printing.as_json)
    if outputs.table is not None:
        check_no_rows_dropped(missing, "--output")
    return outputs


def check_no_rows_dropped(missing: str | None, option: str) -> None:
    """Make sure that no row is left out of a table that has a line for each."""
    if missing == "drop":
        raise ValueError(
            f"--missing drop leaves rows out, and {option} writes a line for each row: fill in "
            f"what is missing, as fastgmm impute does, or leave {option} out"
        )


def check_model_path(
    path: Path | None, data: Sequence[str] = (), *, kind: str = "a mixture", force: bool = False
) -> None:
    """Make sure before the work that a model can be written, over nothing but one of its kind."""
    from fastgmm.io.atomic_file import check_destination

    if path is None:
        return
    check_not_read(path, data)
    if path.suffix != MODEL_SUFFIX:
        raise ValueError(f"cannot write {str(path)!r}: a model's name must end in {MODEL_SUFFIX}")
    check_destination(path)
    if not force and path.exists() and (found := kind_in(path)) != kind:
        raise ValueError(
            f"{str(path)!r} holds {found}, and would be replaced by {kind}: give another name, or "
            "--force"
        )


def kind_in(path: Path) -> str:
    """Return what kind of model is in a file."""
    from fastgmm.io.model_file import ModelFileError, load

    try:
        name = load(path).model_class
    except (ModelFileError, OSError):
        return "no model"
    return _KINDS.get(name, "a mixture")


def check_not_read(output: Path | None, data: Sequence[str]) -> None:
    """Make sure that a result does not take the place of the data that it is computed from."""
    if output is None or not output.is_file():
        return
    from fastgmm.data.file_listing import find_files

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
    from fastgmm.data.table_output import csv_blocks, table_writer

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


def print_written(path: Path | None, what: str) -> None:
    """Say in a line what a table has that was written to a file."""
    if path is not None and path != STANDARD_OUTPUT:
        write([f"{path}: {what}\n"])


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
