"""Packages that are installed only with an extra."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def import_from_extra(module: str, *, package: str, extra: str, purpose: str) -> Any:
    """Import a module, or say which extra brings it.

    Parameters
    ----------
    module : str
        What to import.
    package : str
        The name under which users know its package.
    extra : str
        The extra that brings the package.
    purpose : str
        What it is needed for, as the subject of a sentence.

    Returns
    -------
    module
        The module.

    Raises
    ------
    ImportError
        If the package is not installed.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise ImportError(
            f'{purpose} needs {package}: install it with  pip install "fastgmm[{extra}]"'
        ) from error
