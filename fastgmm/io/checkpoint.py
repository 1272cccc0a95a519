"""Checkpoints: files from which an interrupted fit resumes as if never interrupted.

A checkpoint is a file like a model's (`fastgmm.io.model_file`). Beside the state of the fit it
holds the fingerprint of the fit: parameters, data and version. It is refused where any differs.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from os import PathLike, fspath
from pathlib import Path
from types import FrameType
from typing import Any, Self, TypeVar

import numpy as np

from fastgmm.data.formats.table_file import FileStamp
from fastgmm.io import model_file
from fastgmm.io.atomic_file import atomic_file, check_destination, expanded
from fastgmm.io.model_file import StoredModel, fitting_together
from fastgmm.io.states import State, typed_members

_CLASS = "Checkpoint"
_FINGERPRINT = {"class": str, "parameters": dict, "data": dict}

_Read = TypeVar("_Read")


class CheckpointError(ValueError):
    """A checkpoint does not belong to the fit, or stands in its way; the message says why."""


class Checkpoint:
    """Writes the state of a fit to a file every so often, and reads the last one back.

    As a context manager it writes the newest state at the end, whatever the fit ended with. In the
    main thread, and where nobody else handles SIGTERM, it does so before that signal ends the
    process, too.
    """

    def __init__(
        self, path: str | PathLike[str], interval: float, fingerprint: dict[str, Any], resume: bool
    ) -> None:
        self._path = expanded(fspath(path))
        self._interval = interval
        self._fingerprint = fingerprint
        self._newest: Callable[[], State] | None = None
        self._written_at = -np.inf
        self._own: set[FileStamp] = set()
        self._handles_sigterm = False
        self._is_writing = False
        self._is_terminated = False
        self.found: StoredModel | None = None
        check_destination(self._path)
        if self._path.exists():
            if not resume:
                raise CheckpointError(
                    f"there is a file {str(self._path)!r} already: resume from it with "
                    "resume=True (--resume), or remove it if it is a checkpoint of no more use"
                )
            self._own = {FileStamp.of(self._path)}
            self.found = model_file.load(self._path, _CLASS)
            self.read(lambda _state: None)
            _compare(self._path, self.found, fingerprint)
            self._written_at = time.monotonic()

    def read(self, restore: Callable[[State], _Read]) -> _Read:
        """Return what a function makes of the state that was found."""
        assert self.found is not None
        what = "a state of this fit", "remove it and start again"
        with fitting_together(str(self._path), *what):
            kinds = {"made_of": dict, "state": dict}
            held = typed_members(self.found.values, kinds, "checkpoint")
            typed_members(held["made_of"], _FINGERPRINT, "made_of")
            return restore(State(held["state"], self.found.arrays))

    def observe(self, state: Callable[[], State]) -> None:
        """Take note of a state, and write it if the last writing was long enough ago."""
        self._newest = state
        if time.monotonic() - self._written_at >= self._interval:
            self.write()

    def write(self) -> None:
        """Write the newest state, if it is newer than the file."""
        self._is_writing = True
        try:
            self._write_newest()
        finally:
            self._is_writing = False
            if self._is_terminated:
                _end_by_sigterm()

    def _write_newest(self) -> None:
        """Write the newest state, if it is newer than the file."""
        if self._newest is None:
            return
        if self._path.exists() and FileStamp.of(self._path) not in self._own:
            self._newest = None
            raise CheckpointError(
                f"another fit has written the checkpoint {str(self._path)!r}, and this one leaves "
                "it alone: give each a file of its own"
            )
        values, arrays = self._newest()
        with atomic_file(self._path) as file:
            held = {"made_of": self._fingerprint, "state": values}
            model_file.write(file, _CLASS, held, arrays)
            file.flush()
            # An interrupt may come at any moment, after which either file may be there.
            self._own.add(replace(FileStamp.of(Path(file.name)), path=self._path))
        self._newest = None
        self._own = {FileStamp.of(self._path)}
        self._written_at = time.monotonic()

    def __enter__(self) -> Self:
        in_main_thread = threading.current_thread() is threading.main_thread()
        if in_main_thread and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:
            self._handles_sigterm = True
            signal.signal(signal.SIGTERM, self._receive)
        return self

    def __exit__(self, *_details: object) -> None:
        try:
            self.write()
        finally:
            if self._handles_sigterm:
                signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def _receive(self, _number: int, _frame: FrameType | None) -> None:
        """Write the newest state, and end the process as the signal would have."""
        if self._is_writing:
            self._is_terminated = True
            return
        try:
            self._write_newest()
        except (OSError, ValueError) as failure:
            # A handler may run in the middle of a print, which must not be entered twice.
            os.write(2, f"the last state of the fit is lost: {failure}\n".encode())
        finally:
            _end_by_sigterm()


class Checkpointed:
    """What keeps its state in a checkpoint if it has one: a context manager as that one is."""

    _checkpoint: Checkpoint | None

    def __enter__(self) -> Self:
        if self._checkpoint is not None:
            self._checkpoint.__enter__()
        return self

    def __exit__(self, *details: object) -> None:
        if self._checkpoint is not None:
            self._checkpoint.__exit__(*details)


def _end_by_sigterm() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.raise_signal(signal.SIGTERM)


def _compare(path: Path, found: StoredModel, fingerprint: dict[str, Any]) -> None:
    """Raise unless a checkpoint was made by the same version, of the same parameters and data."""
    from fastgmm import __version__

    if found.library_version != __version__:
        raise CheckpointError(
            f"the checkpoint {str(path)!r} was written by fastgmm {found.library_version}, and "
            f"this is {__version__}, whose results may differ in the last digits: continue with "
            "that version, or remove it and start again"
        )
    for part in _FINGERPRINT:
        old, new = found.values["made_of"][part], fingerprint[part]
        if part == "parameters":  # more iterations continue the same fit, and so do new parameters
            new = {name: value for name, value in new.items() if name in old}
            old, new = ({**each, "max_iter": None} for each in (old, new))
        if old == new:
            continue
        if isinstance(old, dict):
            names = sorted(name for name in {*old, *new} if old.get(name) != new.get(name))
            differences = "; ".join(
                f"{name}: {_short(old.get(name))} then, {_short(new.get(name))} now"
                for name in names[:2]
            )
        else:
            differences = f"{old} then, {new} now"
        raise CheckpointError(
            f"the checkpoint {str(path)!r} is of a fit with other {part} ({differences}): give "
            "what it was given, or remove it and start again"
        )


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
