"""How kernels are compiled: lazily, cached on disk, one machine-code version per data type.

Three habits of numba are corrected here.

* Its disk cache notices a change in the file of a function, not in the files of the functions
  that it calls.  Every kernel's cache is therefore stamped with a digest of *all* files of this
  package.
* It trusts its cache: a damaged file, or a folder that takes no more files, would end every fit.
  ``_KernelCache`` compiles again instead, and replaces what is damaged.
* It compiles anew for every memory layout of its arguments.  ``compiled_slot`` picks one general
  signature per data type (any strides, read-only), so a C-ordered, a Fortran-ordered and a
  memory-mapped array all run the same machine code.
"""

from __future__ import annotations

import gc
import hashlib
import os
import pickle
import sys
import tempfile
import threading
import time
import uuid
import warnings
from collections.abc import Callable
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numba
import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils, event
from numba.core.caching import CompileResultCacheImpl, FunctionCache
from numba.core.imputils import impl_ret_borrowed
from numba.core.serialize import dumps
from numba.extending import intrinsic

from fastgmm.kernels.linking import LinkedCompiler, SmallCompiler


def _digest_of_kernel_sources() -> str:
    digest = hashlib.sha256(numba.__version__.encode())
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


_SOURCE_STAMP = _digest_of_kernel_sources()


def _reader(locator: Any) -> Any:
    """Return a locator of numba's that finds its folder where there is code to be read.

    The folder need not be writable: an image may come with compiled kernels, and be read-only.
    """

    def ensure_cache_path(self: Any) -> None:
        folder = Path(self.get_cache_path())
        kept = folder.glob(f"*{_SOURCE_STAMP[:16]}*.nbi")
        if os.access(folder, os.W_OK) or next(kept, None) is None:
            raise OSError

    return type(locator.__name__, (locator,), {"ensure_cache_path": ensure_cache_path})


class _TemporaryFolder:
    """Where the code of kernels is kept if no other folder is writable: the user's own."""

    @classmethod
    def from_function(cls, _function: Any, path: str) -> Any:
        """Return a locator of numba's, or None if there is no such folder either."""
        with suppress(OSError):
            return cls(path)
        return None

    def __init__(self, path: str) -> None:
        self._py_file = path
        self._user = getattr(os, "getuid", lambda: "")()
        self._folder = Path(tempfile.gettempdir(), f"fastgmm-kernels-{self._user}")
        self.ensure_cache_path()

    def ensure_cache_path(self) -> None:
        """Raise OSError if the folder is not writable, or not by this user alone."""
        self._folder.mkdir(mode=0o700, exist_ok=True)
        found = self._folder.lstat()
        # What is read from it is run, so that nobody else may write there.
        if os.name == "posix" and (found.st_uid != self._user or found.st_mode & 0o22):
            raise PermissionError(self._folder)
        tempfile.TemporaryFile(dir=self._folder).close()

    def get_cache_path(self) -> str:
        """Return the folder."""
        return str(self._folder)

    def get_disambiguator(self) -> str | None:
        """Return what tells functions of one name apart."""
        return hashlib.sha256(self._py_file.encode()).hexdigest()[:10]

    def get_source_stamp(self) -> str:
        """Return what the code was compiled from, which is in the names of files already."""
        return _SOURCE_STAMP


class _CacheImpl(CompileResultCacheImpl):
    """Chooses the folder of a kernel's cache."""

    _locator_classes: ClassVar[list[Any]] = [
        *chain.from_iterable(
            (_reader(each), each) for each in CompileResultCacheImpl._locator_classes
        ),
        _TemporaryFolder,
    ]


class _KernelCache(FunctionCache):
    """The disk cache of a kernel: it can save time, and must never cost a fit."""

    _impl_class = _CacheImpl

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        # The digest is in the names: code compiled from other sources is not even looked at.
        name = f"{self._impl.filename_base}.{_SOURCE_STAMP[:16]}"
        self._cache_file = _CacheFile(Path(self._cache_path), name)

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep a compiled version; where that is not possible, say so and do without."""
        try:
            super().save_overload(sig, data)
        except OSError as error:
            reason = error.strerror or error
            warnings.warn(
                f"cannot keep compiled kernels in {self._cache_path!r} ({reason}), so that every "
                "process compiles them again: free space there, or name another folder in "
                "the environment variable NUMBA_CACHE_DIR",
                RuntimeWarning,
                stacklevel=2,
            )


class _CacheFile:
    """An index of the compiled versions of a kernel, and a file of machine code for each."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._name = name

    def load(self, key: Any) -> Any:
        """Return the compiled version of a key; None if there is none that is sound."""
        number = self._numbers().get(key)
        kept = None if number is None else self._read(self._code_name(number))
        # Two processes that save at the same time may give two versions the same number.
        return kept[1] if kept is not None and kept[0] == key else None

    def save(self, key: Any, code: Any) -> None:
        """Keep the compiled version of a key."""
        numbers = self._numbers()
        if key not in numbers:
            numbers[key] = 1 + max(numbers.values(), default=0)
            self._write(self._index_name, numbers)
        self._write(self._code_name(numbers[key]), (key, code))

    def flush(self) -> None:
        """Forget all versions."""
        self._write(self._index_name, {})

    @property
    def _index_name(self) -> str:
        return f"{self._name}.nbi"

    def _code_name(self, number: int) -> str:
        return f"{self._name}.{number}.nbc"

    def _numbers(self) -> dict[Any, int]:
        """Return the numbers of the files by key."""
        return self._read(self._index_name) or {}

    def _read(self, name: str) -> Any:
        """Return what `_write` wrote; None if the file is missing, unreadable or damaged."""
        try:
            written = (self._folder / name).read_bytes()
        except OSError:
            return None
        digest, content = written[:_DIGEST_BYTES], written[_DIGEST_BYTES:]
        if digest != _digest(content):
            return None
        try:
            return pickle.loads(content)
        except (AttributeError, ImportError):  # of a class that was renamed or moved
            return None

    def _write(self, name: str, value: Any) -> None:
        """Write a file that takes its place in a single step, after a digest of its content."""
        content = dumps(value)
        part = self._folder / f"{name}.{uuid.uuid4().hex[:16]}.part"
        try:
            part.write_bytes(_digest(content) + content)
            part.replace(self._folder / name)
        except BaseException:
            part.unlink(missing_ok=True)
            raise


_DIGEST_BYTES = 32


def _digest(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=_DIGEST_BYTES).digest()


class _Compiling(event.Listener):  # type: ignore[misc] # numba is untyped
    """Counts the time that kernels take to compile, and says on a terminal what is waited for.

    Meanwhile Python collects no garbage: of the millions of objects that compiling makes, most
    stay until it ends, and looking through them took an eighth of the time.
    """

    def __init__(self) -> None:
        self.kernels: set[Any] = set()
        self.seconds = 0.0
        self._began: list[float] = []  # of the kernel being compiled, and those that it calls
        self._announced = False
        self._collecting = False  # whether Python collected garbage before

    def on_start(self, event: Any) -> None:
        if event.data["dispatcher"] not in self.kernels:
            return
        if not self._began:
            self._collecting = gc.isenabled()
            gc.disable()
        self._began.append(time.perf_counter())
        if not self._announced:
            self._announced = True
            if sys.stderr is not None and sys.stderr.isatty():
                print("fastgmm: compiling, once; later runs start right away", file=sys.stderr)

    def on_end(self, event: Any) -> None:
        if event.data["dispatcher"] not in self.kernels:
            return
        seconds = time.perf_counter() - self._began.pop()
        if not self._began:
            self.seconds += seconds
            if self._collecting:
                gc.enable()


_compiling = _Compiling()
event.register("numba:compile", _compiling)


class Stopwatch:
    """Measures the time since it was made, and how much of it was spent on compiling."""

    def __init__(self) -> None:
        self._began = time.perf_counter()
        self._compiled = _compiling.seconds

    @property
    def compile_seconds(self) -> float:
        """The seconds of compiling."""
        return _compiling.seconds - self._compiled

    @property
    def seconds(self) -> float:
        """The others."""
        return time.perf_counter() - self._began - self.compile_seconds


def kernel(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Decorate a function as a kernel: ``numba.njit`` without the GIL and with a disk cache.

    Where no folder for the cache is writable, compiled kernels are read from one that has them, or
    kept in a temporary one; without that, the kernel is compiled in each process.

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
        dispatcher = njit(nogil=True, error_model="numpy", no_cfunc_wrapper=True, **options)(
            function
        )
        _compiling.kernels.add(dispatcher)
        # numba: "no locator available", where no folder for the cache is writable
        with suppress(RuntimeError):
            if "pipeline_class" not in options:
                dispatcher._cache = _KernelCache(function)
        return dispatcher

    return decorate


def slot_kernel(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Decorate a kernel that is run by its address: of that of a task, and a slot number."""
    return kernel(no_cpython_wrapper=True, **options)


def inner_kernel(*, rare: bool = False, **options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Decorate a kernel that only kernels call: it is linked into the machine code of those.

    One that is `rare`ly run is not optimized for speed, but for soon being compiled.
    """
    compiler = SmallCompiler if rare else LinkedCompiler
    return kernel(pipeline_class=compiler, no_cpython_wrapper=True, **options)


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
    address : int
        Where its machine code is, for `call_slot`.
    task_type : numba type
        That of the task.
    """

    address: int
    task_type: types.Type


_compiled: dict[tuple[Any, ...], CompiledSlot] = {}
_compile_lock = threading.Lock()


def compiled_slot(slot_kernel: Any, task: Any) -> CompiledSlot:
    """Return the one version of a slot kernel for the data type of a task, compiling it if new.

    Parameters
    ----------
    slot_kernel : object
        What ``slot_kernel`` returned for a function of the address of a task and a slot number.
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
                signature = types.void(types.CPointer(task_type), types.int64)
                address = code_address(slot_kernel, signature)
                found = _compiled[key] = CompiledSlot(address, task_type)
    return found


def code_address(kernel: Any, signature: Any) -> int:
    """Return where the machine code of a kernel is for a signature, compiling it if new."""
    kernel.compile(signature)
    result = kernel.get_compile_result(signature)
    address: int = result.library.get_pointer_to_function(result.fndesc.llvm_func_name)
    return address


def slot_address(slot_kernel: Any, task: Any) -> Any:
    """Return what `call_slot` runs a slot kernel by, for tasks of the type of this one."""
    return slot_kernel if numba.config.DISABLE_JIT else compiled_slot(slot_kernel, task).address


def _call_at(context, builder, address, kinds, arguments):
    """Write the call of the kernel at an address."""
    function = context.call_conv.get_function_type(types.void, kinds)
    pointer = builder.inttoptr(address, function.as_pointer())
    status, _ = context.call_conv.call_function(builder, pointer, types.void, kinds, arguments)
    with builder.if_then(status.is_error, likely=False):
        context.call_conv.return_status_propagate(builder, status)
    return context.get_dummy_value()


def _address_of(builder, task):
    """Write the storing of a task, and return its address as a number."""
    return builder.ptrtoint(cgutils.alloca_once_value(builder, task), ir.IntType(64))


def _call_slot(_typing_context, _address, task, slot):
    def call(context, builder, _signature, arguments):
        task_at = arguments[1] if task == types.intp else _address_of(builder, arguments[1])
        kinds = (types.intp, types.int64)
        return _call_at(context, builder, arguments[0], kinds, (task_at, arguments[2]))

    return types.void(types.intp, task, slot), call


@microkernel(_call_slot)
def call_slot(address: Any, task: Any, slot: int) -> None:
    """Run the slot kernel at an address for a task, or that at an address, and a slot number.

    numba's own function values are unpacked by Python code at every call, and an interrupt that
    lands there comes out as a ``TypeError``; an address is only a number.
    """
    address(task, slot)


def _call_driver(_typing_context, _driver, _address, task, counter, n_slots, n_threads):
    integers = (counter, n_slots, n_threads)

    def call(context, builder, _signature, arguments):
        task_at = _address_of(builder, arguments[2])
        kinds = (types.intp, types.intp, *integers)
        given = (arguments[1], task_at, *arguments[3:])
        return _call_at(context, builder, arguments[0], kinds, given)

    return types.void(types.intp, types.intp, task, *integers), call


@microkernel(_call_driver)
def call_driver(
    driver: Any, address: Any, task: Any, counter: int, n_slots: int, n_threads: int
) -> None:
    """Have the driver at an address run the slot kernel at another for the slots of a task."""
    driver(address, task, counter, n_slots, n_threads)


def _task_at(_typing_context, address):
    task = address.dtype

    def load(context, builder, _signature, arguments):
        kind = context.get_value_type(task)
        found = builder.load(builder.bitcast(arguments[0], kind.as_pointer()))
        return impl_ret_borrowed(context, builder, task, found)

    return task(address), load


@microkernel(_task_at)
def task_at(address: Any) -> Any:
    """Return the task at an address: arrays passed one by one take long to compile."""
    return address


def _without_owner(context, builder, kind, value):
    """Return an array, or a tuple of arrays and other values, of which no reference is counted."""
    if isinstance(kind, types.Array):
        array = cgutils.create_struct_proxy(kind)(context, builder, value=value)
        array.meminfo = cgutils.get_null_value(array.meminfo.type)
        return array._getvalue()
    if isinstance(kind, types.BaseTuple):
        members = [
            _without_owner(context, builder, each, builder.extract_value(value, i))
            for i, each in enumerate(kind)
        ]
        return context.make_tuple(builder, kind, members)
    return value


def _borrowed(_typing_context, values):
    def strip(context, builder, signature, arguments):
        return _without_owner(context, builder, signature.args[0], arguments[0])

    return values(values), strip


@microkernel(_borrowed)
def borrowed(values: Any) -> Any:
    """Return arrays of which numba counts no references: whoever gives them must keep them.

    References are counted by atomic additions, one wherever an array is sliced or taken from a
    tuple: a tenth of the time of kernels that work on few numbers at a time.
    """
    return values
