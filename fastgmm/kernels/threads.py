"""Which threads run a pass: numba's own, or a pool where numba's would hang or abort.

A pass is a loop over slots.  Usually numba's ``prange`` runs it.  Two cases are unsafe there:

* a child of ``fork`` whose parent had started numba's threads: GNU OpenMP ends such a process;
* numba's ``workqueue`` layer, which ends the process when two threads enter it at once.

In both, Python threads run the same slots; the kernels hold no lock of Python's.  The results are
the same to the bit, since each slot's work and the order of reduction do not change.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numba
from numba.np.ufunc import parallel as numba_threads

from fastgmm.kernels.compilation import AnyLayout, call

_forked_after_start = False


def _remember_fork() -> None:
    global _forked_after_start
    _forked_after_start = _forked_after_start or bool(numba_threads._is_initialized)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_remember_fork)


def effective_threads(n_jobs: int | None) -> int:
    """Return the number of threads for ``n_jobs``.

    Parameters
    ----------
    n_jobs : int or None
        None for as many as numba would use now; a positive number for that many, at most those
        that numba was started with; a negative one counts from the end as in joblib, −1 for all.

    Returns
    -------
    int
        At least 1.

    Raises
    ------
    ValueError
        If ``n_jobs`` is 0.
    """
    available = int(numba.config.NUMBA_NUM_THREADS)
    if n_jobs is None:
        return int(numba.get_num_threads())
    if n_jobs == 0:
        raise ValueError("n_jobs=0 has no meaning: give None, a positive number or -1 for all.")
    if n_jobs < 0:
        return max(1, available + 1 + n_jobs)
    return min(n_jobs, available)


def needs_pool() -> bool:
    """Return whether numba's own threads must not be entered in this process.

    Returns
    -------
    bool
        True in a forked child of a process that had started them, and under ``workqueue``.
    """
    if _forked_after_start:
        return True
    numba_threads._launch_threads()
    return bool(numba.threading_layer() == "workqueue")


@contextmanager
def _numba_threads(count: int) -> Iterator[None]:
    before = numba.get_num_threads()
    numba.set_num_threads(count)
    try:
        yield
    finally:
        numba.set_num_threads(before)


def run_slots(
    pass_kernel: Any, slot_kernel: Any, arguments: tuple[Any, ...], n_slots: int, n_jobs: int | None
) -> None:
    """Run a pass over all its slots.

    Parameters
    ----------
    pass_kernel : object
        Kernel that takes ``arguments`` and runs all slots with ``prange``.
    slot_kernel : object
        Kernel that takes ``arguments`` and a slot number and runs that slot.
    arguments : tuple
        Arguments of both.
    n_slots : int
        Number of slots.
    n_jobs : int or None
        As in ``effective_threads``.
    """
    threads = min(effective_threads(n_jobs), n_slots)
    if numba.config.DISABLE_JIT or needs_pool():
        if threads == 1:
            for slot in range(n_slots):
                call(slot_kernel, *arguments, slot)
            return
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(lambda slot: call(slot_kernel, *arguments, slot), range(n_slots)))
        return
    with _numba_threads(threads):
        call(pass_kernel, *arguments)


__all__ = ["AnyLayout", "effective_threads", "needs_pool", "run_slots"]
