"""Peak resident memory of this process, from the standard library alone."""

from __future__ import annotations

import ctypes
import gc
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

_STATUS = Path("/proc/self/status")
_CLEAR_REFS = Path("/proc/self/clear_refs")


@dataclass(frozen=True, slots=True)
class PeakMemory:
    """How far resident memory rose during a call.

    Attributes
    ----------
    n_bytes : int or None
        Peak during the call minus the value before it; None where the system does not say.
    method : str
        How it was found out.
    """

    n_bytes: int | None
    method: str


def peak_memory(action: Callable[[], object]) -> PeakMemory:
    """Measure the rise of resident memory while an action runs.

    On Linux the high-water mark is set back first: the figure is right to a megabyte. Elsewhere on
    POSIX the mark can only rise: if the process had needed more before, the figure is too low.
    Windows has neither.
    """
    _return_freed_memory()
    before = _reset_high_water_mark()
    if before is not None:
        action()
        after = _status_bytes("VmHWM")
        return PeakMemory(max(after - before, 0), "high-water mark, set back before the call")
    mark = _highest_ever()
    action()
    if mark is None:
        return PeakMemory(None, "not available on this system")
    return PeakMemory((_highest_ever() or mark) - mark, "rise of the process's high-water mark")


def _return_freed_memory() -> None:
    """Have Python and the C library hand back what is free, so that it cannot be used unseen."""
    gc.collect()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


def _reset_high_water_mark() -> int | None:
    """Set the mark back to what is resident now and return that; None where impossible."""
    try:
        _CLEAR_REFS.write_text("5", encoding="ascii")
        return _status_bytes("VmRSS")
    except OSError:
        return None


def process_peak_memory(process: int) -> int | None:
    """Return the most that a running process has had resident so far, in bytes."""
    try:
        return _status_bytes("VmHWM", Path(f"/proc/{process}/status"))
    except OSError:
        return None


def _status_bytes(field: str, status: Path = _STATUS) -> int:
    for line in status.read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return int(value.split()[0]) * 1024
    raise OSError(f"{status} has no field {field}")


def _highest_ever() -> int | None:
    if sys.platform == "win32":
        return None
    import resource

    mark = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return mark if sys.platform == "darwin" else mark * 1024
