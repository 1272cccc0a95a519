"""Packages that are installed only with an extra."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def import_from_extra(module: str, *, package: str, extra: str, purpose: str) -> Any:
    """Import a module, or say which extra brings it."""
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise ImportError(
            f'{purpose} needs {package}: install it with  pip install "fastgmm[{extra}]"'
        ) from error


def import_pyarrow(purpose: str) -> Any:
    """Import pyarrow, or say which extra brings it."""
    return import_from_extra("pyarrow", package="pyarrow", extra="parquet", purpose=purpose)
