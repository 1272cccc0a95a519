"""Checkpoints: files from which an interrupted fit resumes as if never interrupted.

A checkpoint is a file like a model's (`fastgmm.io.model_file`). Beside the state of the fit it
holds what the fit was made of: parameters, data and version. It is refused where any differs.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from os import PathLike, fspath
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Self, TypeVar

import numpy as np
import numpy.typing as npt

from fastgmm.data.formats.table_file import FileStamp
from fastgmm.data.source import Source
from fastgmm.io import model_file as persistence
from fastgmm.io.atomic_file import atomic_file, check_destination, expanded
from fastgmm.io.model_file import ModelFileError, StoredModel
from fastgmm.io.values import typed_members
from fastgmm.mixture.priors.conjugate import ConjugatePriors

_CLASS = "Checkpoint"

_FREE_PARAMETERS = frozenset(
    {"checkpoint", "checkpoint_interval", "n_jobs", "resume", "verbose", "verbose_interval"}
)
"""Parameters on which the result does not depend."""

_MADE_OF = {"class": str, "parameters": dict, "data": dict}

Arrays = dict[str, npt.NDArray[Any]]
State = tuple[dict[str, Any], Arrays]
"""Values that JSON knows, and arrays."""
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
        self, path: str | PathLike[str], interval: float, made_of: dict[str, Any], resume: bool
    ) -> None:
        self._path = expanded(fspath(path))
        self._interval = interval
        self._made_of = made_of
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
            self.found = persistence.load(self._path, _CLASS)
            self.read(lambda _state, _arrays: None)
            _compare(self._path, self.found, made_of)
            self._written_at = time.monotonic()

    @classmethod
    def of(
        cls, estimator: Any, source: Source, known: npt.NDArray[np.int64] | None = None
    ) -> Self | None:
        """Return the checkpoint of a fit."""
        if estimator.checkpoint is None:
            return None
        return cls(
            estimator.checkpoint,
            estimator.checkpoint_interval,
            ingredients(estimator, source, known),
            estimator.resume,
        )

    def read(self, unpack: Callable[[Any, Arrays], _Read]) -> _Read:
        """Return what a function makes of the state that was found."""
        assert self.found is not None
        try:
            kinds = {"made_of": dict, "state": dict}
            held = typed_members(self.found.values, kinds, "checkpoint")
            typed_members(held["made_of"], _MADE_OF, "made_of")
            return unpack(held["state"], self.found.arrays)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)
            raise ModelFileError(
                f"{str(self._path)!r} does not hold a state of this fit that fits together "
                f"({reason}): remove it and start again"
            ) from error

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
            held = {"made_of": self._made_of, "state": values}
            persistence.write(file, _CLASS, held, arrays)
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

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
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


def _end_by_sigterm() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.raise_signal(signal.SIGTERM)


def ingredients(
    estimator: Any, source: Source, known: npt.NDArray[np.int64] | None = None
) -> dict[str, Any]:
    """Return what the result of a fit depends on, in values that JSON knows."""
    parameters = {
        name: _told(value)
        for name, value in estimator.get_params(deep=False).items()
        if name not in _FREE_PARAMETERS
    }
    return {
        "class": type(estimator).__name__,
        "parameters": parameters,
        "data": {**source.fingerprint(), "y": _told(known)},
    }


def _told(value: Any) -> Any:
    """Return a parameter as JSON can tell it: arrays and states of generators by their digest."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.random.RandomState):
        state = pickle.dumps(value.get_state(legacy=False))
        return {"RandomState": hashlib.blake2b(state, digest_size=16).hexdigest()}
    if isinstance(value, ConjugatePriors):
        return value.plain()
    array = np.asarray(value, dtype=np.float64)
    digest = hashlib.blake2b(array.tobytes(), digest_size=16).hexdigest()
    return {"shape": list(array.shape), "digest": digest}


def _compare(path: Path, found: StoredModel, made_of: dict[str, Any]) -> None:
    """Raise unless a checkpoint was made by the same version, of the same ingredients."""
    from fastgmm import __version__

    if found.library_version != __version__:
        raise CheckpointError(
            f"the checkpoint {str(path)!r} was written by fastgmm {found.library_version}, and "
            f"this is {__version__}, whose results may differ in the last digits: continue with "
            "that version, or remove it and start again"
        )
    before = found.values["made_of"]
    for part, what in (("class", "class"), ("parameters", "parameters"), ("data", "data")):
        old, new = before[part], made_of[part]
        if old == new:
            continue
        if isinstance(old, dict):
            names = sorted(name for name in {*old, *new} if old.get(name) != new.get(name))
            told = "; ".join(
                f"{name}: {_short(old.get(name))} then, {_short(new.get(name))} now"
                for name in names[:4]
            )
        else:
            told = f"{old} then, {new} now"
        raise CheckpointError(
            f"the checkpoint {str(path)!r} is of a fit with other {what} ({told}): give what it "
            "was given, or remove it and start again"
        )


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
