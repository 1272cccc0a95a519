"""Which threads run a pass: numba's own, or a pool where numba's would hang or abort.

A pass is a loop over slots, of which each thread takes the next when it has ended one.  Usually
numba's ``prange`` runs the threads, those of OpenMP.  In three cases it does not:

* in a child of ``fork`` whose parent had started numba's threads: GNU OpenMP ends such a process;
* under numba's ``workqueue`` layer, which ends the process when two threads enter it at once;
* under its ``tbb`` layer, whose threads are shared with every other library that uses TBB: where
  one of those holds them, a pass runs on one core, and numba prefers that layer where it finds it.

There, Python threads run the same slots; the kernels hold no lock of Python's.  The results are
the same to the bit, since each slot's work and the order of reduction do not change.

So they do where other threads read the next rows meanwhile: numba's keep their cores busy for a
while when they have nothing to do, in the way of the readers.

That while is cut short (``_start_threads``). GNU OpenMP's threads wait awake for milliseconds, in
the hope of more work; where other processes want the cores, the one that is waited for does not
run while another waits, and a pass takes many times as long.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import prange, types
from numba.np.ufunc import parallel as numba_threads

from fastgmm.kernels.compilation import (
    CompiledSlot,
    call_driver,
    call_slot,
    code_address,
    compiled_slot,
    inner_kernel,
    kernel,
    microkernel,
    slot_kernel,
)
from fastgmm.kernels.tiles import BLOCK_ROWS

_OPERATIONS_PER_THREAD = 5_000_000
"""About a tenth of a millisecond of one core, which is many times what waking a thread costs."""

OPERATIONS_AT_ONCE = 50_000_000_000
"""About half a second of one core: the longest that a signal waits where blocks are small."""

_FEWEST_BLOCKS = 16
"""Blocks that are run at once whatever they cost, so that threads have something to share."""

_WAIT_AWAKE = {"GOMP_SPINCOUNT": "3000"}
"""How many times a thread of GNU OpenMP looks for work before it sleeps: some tens of microseconds,
as long as Python takes between two passes over few rows."""

_COUNTER = types.Array(types.int64, 1, "C")
_INTEGERS = (types.int64,) * 3
"""Where the number of the next slot is, and how many slots and threads there are."""

_forked_after_start = False

_pools: dict[int, ThreadPoolExecutor] = {}
"""Pools by their number of threads: starting threads costs as much as a short pass."""


def _remember_fork() -> None:
    global _forked_after_start
    _forked_after_start = _forked_after_start or bool(numba_threads._is_initialized)
    _pools.clear()  # a child has none of its parent's threads


def _pool(n_threads: int) -> ThreadPoolExecutor:
    """Return the pool of this process with so many threads."""
    pool = _pools.get(n_threads)
    if pool is None:
        pool = _pools.setdefault(n_threads, ThreadPoolExecutor(n_threads, "fastgmm"))
    return pool


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_remember_fork)


def _start_threads() -> None:
    """Start numba's threads unless they run; how long they wait awake may be the user's choice.

    GNU OpenMP reads it where it is loaded, and only there.
    """
    if numba_threads._is_initialized:
        return
    if {"OMP_WAIT_POLICY", *_WAIT_AWAKE} & os.environ.keys():
        numba_threads._launch_threads()
        return
    os.environ.update(_WAIT_AWAKE)
    try:
        numba_threads._launch_threads()
    finally:
        for name in _WAIT_AWAKE:
            del os.environ[name]


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
    _start_threads()
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
        True in a forked child of a process that had started them, and under any layer of numba's
        but OpenMP's.
    """
    if _forked_after_start:
        return True
    _start_threads()
    return bool(numba.threading_layer() != "omp")


@contextmanager
def _numba_threads(count: int) -> Iterator[None]:
    before = numba.get_num_threads()
    numba.set_num_threads(count)
    try:
        yield
    finally:
        numba.set_num_threads(before)


def _next_number(_typing_context, address):
    def generate(_context, builder, _signature, arguments):
        at = builder.inttoptr(arguments[0], ir.IntType(64).as_pointer())
        return builder.atomic_rmw("add", at, ir.Constant(ir.IntType(64), 1), "monotonic")

    return types.int64(address), generate


@microkernel(_next_number)
def next_number(address):
    """Return the number at an address and raise it by one, at once for all threads."""
    number = ctypes.c_int64.from_address(address)
    number.value += 1
    return number.value - 1


@inner_kernel()
def take_slots(address, task, counter, n_slots):
    """Run the slot kernel at an address for the next slot of a task until all are taken.

    A thread that is slow, or that other processes keep from running, leaves more to the others.
    """
    slot = next_number(counter)
    while slot < n_slots:
        call_slot(address, task, slot)
        slot = next_number(counter)


@slot_kernel(parallel=True)
def in_parallel(address, task, counter, n_slots, n_threads):
    """Take slots on numba's threads.

    Addresses, of the kernel and of the task, make this one version for all.
    """
    for _ in prange(n_threads):
        take_slots(address, task, counter, n_slots)


@slot_kernel()
def in_series(address, task, counter, n_slots, _n_threads):
    """Take slots on the thread that calls."""
    take_slots(address, task, counter, n_slots)


@kernel()
def run_task(driver, address, task, counter, n_slots, n_threads):
    """Have a driver, one of the two above, run the slot kernel at an address for a task."""
    call_driver(driver, address, task, counter.ctypes.data, n_slots, n_threads)


def _chunks(task: Any, operations: int) -> Iterator[Any]:
    """Cut a long pass into tasks of whole blocks: Python sees signals only between them.

    Blocks keep their slots and their order, so the sums are the same to the bit.
    """
    n_rows = len(task.X)
    blocks = -(-n_rows // BLOCK_ROWS)
    at_once = max(_FEWEST_BLOCKS, blocks * OPERATIONS_AT_ONCE // max(operations, 1))
    if at_once >= blocks:
        yield task
        return
    for first in range(0, blocks, at_once):
        rows = slice(first * BLOCK_ROWS, (first + at_once) * BLOCK_ROWS)
        parts = {
            name: getattr(task, name)[rows]
            for name in ("X", "weights", "log_density", "labels", "responsibilities")
        }
        yield task._replace(first_block=task.first_block + first, **parts)


def run_slots(
    slot_kernel: Any,
    task: Any,
    n_slots: int,
    n_jobs: int | None,
    operations: int,
    *,
    beside_readers: bool = False,
) -> None:
    """Run a pass over all its slots.

    Parameters
    ----------
    slot_kernel : object
        Kernel that takes the task and a slot number and runs that slot.
    task : NamedTuple
        All that the pass reads and writes.
    n_slots : int
        Number of slots.
    n_jobs : int or None
        As in ``effective_threads``.
    operations : int
        About how many floating-point operations the pass takes: a short one is not worth waking
        more threads for, and a long one must not keep Ctrl-C waiting.
    beside_readers : bool
        Whether other threads read the next rows meanwhile.
    """
    threads = min(effective_threads(n_jobs), n_slots, 1 + operations // _OPERATIONS_PER_THREAD)
    for chunk in _chunks(task, operations):
        _run_chunk(slot_kernel, chunk, n_slots, threads, beside_readers)


_entries: dict[int, Any] = {}
_drivers: dict[Any, int] = {}


def _entry(compiled: CompiledSlot) -> Any:
    """Return the version of `run_task` for the tasks of a slot kernel, compiling it if new."""
    found = _entries.get(compiled.address)
    if found is None:
        signature = (types.intp, types.intp, compiled.task_type, _COUNTER, *_INTEGERS[1:])
        found = _entries[compiled.address] = run_task.compile(signature)
    return found


def _driver(driver: Any) -> int:
    """Return the address of a driver, compiling it if new."""
    found = _drivers.get(driver)
    if found is None:
        signature = types.void(types.intp, types.intp, *_INTEGERS)
        found = _drivers[driver] = code_address(driver, signature)
    return found


def _run_chunk(
    slot_kernel: Any, task: Any, n_slots: int, threads: int, beside_readers: bool
) -> None:
    """Run a slot kernel for all slots without a pause."""
    if numba.config.DISABLE_JIT:
        for slot in range(n_slots):
            slot_kernel(task, slot)
        return
    compiled = compiled_slot(slot_kernel, task)
    run, counter = _entry(compiled), np.zeros(1, np.int64)
    if not (beside_readers or needs_pool()):
        driver = _driver(in_parallel)
        with _numba_threads(threads):
            run(driver, compiled.address, task, counter, n_slots, threads)
        return
    driver = _driver(in_series)
    given = (driver, compiled.address, task, counter, n_slots, threads)
    others = [_pool(threads - 1).submit(run, *given) for _ in range(threads - 1)]
    try:
        run(*given)
    finally:
        wait(others)
    for other in others:
        other.result()
