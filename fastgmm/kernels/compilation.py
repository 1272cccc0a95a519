"""How kernels are compiled: lazily, cached on disk, one machine-code version per data type.

Two habits of numba are corrected here.

* Its disk cache notices a change in the file of a function, not in the files of the functions
  that it calls.  Every kernel's cache is therefore stamped with a digest of *all* files of this
  package.
* It compiles anew for every memory layout of its arguments.  ``compiled_slot`` picks one general
  signature per data type (any strides, read-only), so a C-ordered, a Fortran-ordered and a
  memory-mapped array all run the same machine code.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numba
import numpy as np
from numba import njit, types
from numba.core.caching import IndexDataCacheFile
from numba.core.types.function_type import CompileResultWAP
from numba.extending import intrinsic


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
        cache = dispatcher._cache
        # The digest is in the names too: numba reads an index before it compares the stamp, and
        # one that mentions a class since renamed cannot be read.
        cache._cache_file = IndexDataCacheFile(
            cache_path=cache._cache_path,
            filename_base=f"{cache._impl.filename_base}.{_SOURCE_STAMP[:16]}",
            source_stamp=_SOURCE_STAMP,
        )
        return dispatcher

    return decorate


def microkernel(machine_code: Callable[..., Any]) -> Callable[[Callable[..., Any]], Any]:
    """Decorate a function in plain NumPy, so that kernels call machine code in its place.

    The function itself, which runs where ``NUMBA_DISABLE_JIT`` is set, stays at hand as ``twin``:
    the tests compare the two.

    Parameters
    ----------
    machine_code : callable
        Types and writes the machine code, as ``numba.extending.intrinsic`` takes it.

    Returns
    -------
    callable
        The decorator.
    """

    def decorate(twin: Callable[..., Any]) -> Any:
        called = twin if numba.config.DISABLE_JIT else intrinsic(machine_code)
        called.twin = twin
        return called

    return decorate


def _task_type(task: Any) -> types.Type:
    """Return a task's numba type, with its rows and their weights read-only and of any strides."""
    members = [
        types.Array(numba.from_dtype(member.dtype), member.ndim, "A", readonly=True)
        if name in ("X", "weights")
        else numba.typeof(member)
        for name, member in zip(task._fields, task, strict=True)
    ]
    return types.NamedTuple(members, type(task))


class CompiledSlot(NamedTuple):
    """A slot kernel compiled for one data type.

    Parameters
    ----------
    run : callable
        Takes a task and a slot number; holds no lock of Python's.
    function : object
        The same as a value that other kernels can be given and call.
    types : tuple
        The numba types of ``function`` and of the task.
    """

    run: Callable[[Any, int], None]
    function: Any
    types: tuple[types.Type, types.Type]


_compiled: dict[tuple[Any, ...], CompiledSlot] = {}
_compile_lock = threading.Lock()


def compiled_slot(slot_kernel: Any, task: Any) -> CompiledSlot:
    """Return the one version of a slot kernel for the data type of a task, compiling it if new.

    Parameters
    ----------
    slot_kernel : object
        What ``kernel`` returned for a function of a task and a slot number.
    task : NamedTuple
        A task; its members ``X`` and ``weights`` may have any strides.

    Returns
    -------
    CompiledSlot
        The kernel, ready to run.
    """
    key = (slot_kernel, *(each.dtype for each in task if isinstance(each, np.ndarray)))
    found = _compiled.get(key)
    if found is None:
        with _compile_lock:
            found = _compiled.get(key)
            if found is None:
                task_type = _task_type(task)
                signature = types.void(task_type, types.int64)
                run = slot_kernel.compile(signature)
                function = CompileResultWAP(slot_kernel.get_compile_result(signature))
                kinds = numba.typeof(function), task_type
                found = _compiled[key] = CompiledSlot(run, function, kinds)
    return found
