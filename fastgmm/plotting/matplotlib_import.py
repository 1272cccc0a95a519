"""matplotlib, imported when the first picture is drawn."""

from __future__ import annotations

from typing import Any


def import_pyplot() -> Any:
    """Import matplotlib's pyplot, or say which extra brings it.

    Returns
    -------
    module
        ``matplotlib.pyplot``.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    """
    try:
        import matplotlib.pyplot
    except ModuleNotFoundError as error:
        raise ImportError(
            'drawing needs matplotlib: install it with  pip install "fastgmm[plot]"'
        ) from error
    return matplotlib.pyplot
