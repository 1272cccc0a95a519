"""How kernels are compiled: lazily, cached on disk, one machine-code version per data type.

Two habits of numba are corrected here.

* Its disk cache notices a change in the file of a function, not in the files of the functions
  that it calls.  Every kernel's cache is therefore stamped with a digest of *all* files of this
  package.
* It compiles anew for every memory layout of its arguments.  ``compiled_for`` picks one general
  signature per data type (any strides, read-only), so a C-ordered, a Fortran-ordered and a
  memory-mapped array all run the same machine code.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
import numpy as np
from numba import njit, types


def _digest_of_kernel_sources() -> str:
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


_SOURCE_STAMP = _digest_of_kernel_sources()


def kernel(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Decorate a function as a kernel: ``numba.njit`` without the GIL and with a disk cache.

    Where no folder for the cache is writable, the kernel is compiled in each process instead.

    Parameters
    ----------
    **options
        Passed to ``numba.njit``.

    Returns
    -------
    callable
        The decorator.
    """

    def decorate(function: Callable[..., Any]) -> Any:
        if numba.config.DISABLE_JIT:
            return function
        try:
            dispatcher = njit(cache=True, nogil=True, error_model="numpy", **options)(function)
        except RuntimeError:  # numba: "no locator available", the cache folder is not writable
            return njit(nogil=True, error_model="numpy", **options)(function)
        dispatcher._cache._cache_file._source_stamp = _SOURCE_STAMP
        return dispatcher

    return decorate


def _general_type(value: Any) -> types.Type:
    """Return the numba type of an argument, arrays of rows as read-only with any strides."""
    if isinstance(value, AnyLayout):
        array = value.array
        return types.Array(numba.from_dtype(array.dtype), array.ndim, "A", readonly=True)
    return numba.typeof(value)


class AnyLayout:
    """Mark an argument of a kernel as an array of any strides that is only read.

    Parameters
    ----------
    array : ndarray
        The array, in native byte order.
    """

    __slots__ = ("array",)

    def __init__(self, array: np.ndarray) -> None:
        self.array = array


_entry_points: dict[tuple[Any, ...], Callable[..., Any]] = {}
_compile_lock = threading.Lock()


def call(dispatcher: Any, *arguments: Any) -> Any:
    """Call a kernel through the one version compiled for the arguments' data types.

    Parameters
    ----------
    dispatcher : object
        What ``kernel`` returned.
    *arguments : object
        The kernel's arguments; those wrapped in ``AnyLayout`` may have any strides.

    Returns
    -------
    object
        What the kernel returns.
    """
    plain = tuple(a.array if isinstance(a, AnyLayout) else a for a in arguments)
    if numba.config.DISABLE_JIT:
        return dispatcher(*plain)
    signature = tuple(_general_type(a) for a in arguments)
    key = (id(dispatcher), signature)
    entry = _entry_points.get(key)
    if entry is None:
        with _compile_lock:
            entry = _entry_points.get(key)
            if entry is None:
                entry = _entry_points[key] = dispatcher.compile(signature)
    return entry(*plain)
