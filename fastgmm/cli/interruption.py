"""Ctrl-C and SIGTERM: stop soon, and keep what has been reached."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType, TracebackType
from typing import Any

NOTHING_SAVED = "interrupted: nothing was saved"
_NOTICE = b"ending after this pass; the same again ends at once\n"


class Interrupted(BaseException):
    """Raised where a signal ends a command.

    It is not an `Exception`, so that nothing on the way mistakes it for a failure to recover from.
    """

    def __init__(self, signal_number: int) -> None:
        super().__init__(signal_number)
        self.signal_number = signal_number


class Interruption:
    """Turns the first Ctrl-C or SIGTERM into a request, while there is something worth keeping."""

    def __init__(self) -> None:
        self.signal_number: int | None = None
        self.deferred = False
        self._old_handlers: dict[int, Any] = {}

    def __enter__(self) -> Interruption:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._old_handlers[number] = signal.signal(number, self._receive)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for number, handler in self._old_handlers.items():
            signal.signal(number, handler)

    def _receive(self, signal_number: int, _frame: FrameType | None) -> None:
        first = self.signal_number is None
        self.signal_number = signal_number
        if not (first and self.deferred):
            raise Interrupted(signal_number)
        # A handler may run in the middle of a print, which must not be entered twice.
        os.write(sys.stderr.fileno(), _NOTICE)
