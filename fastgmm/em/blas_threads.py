"""BLAS held to one thread while passes and solves alternate.

After a product on several threads BLAS keeps its threads spinning for a while, in the way of the
threads of the next pass: at 512 features that costs more than they gain.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import cache
from typing import Any

from threadpoolctl import ThreadpoolController


@cache
def _controller() -> ThreadpoolController:
    """Return the libraries found in this process; finding them takes milliseconds."""
    return ThreadpoolController()


def one_blas_thread() -> AbstractContextManager[Any]:
    """Hold BLAS to one thread inside a ``with`` block, and give it its threads back after."""
    limited: AbstractContextManager[Any] = _controller().limit(limits=1, user_api="blas")
    return limited
