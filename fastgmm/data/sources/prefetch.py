"""Reading ahead: a thread makes the next items while the caller works on this one."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterator
from contextlib import suppress
from typing import Any, TypeVar

_Item = TypeVar("_Item")

_SECONDS_TO_END = 2.0
"""How long to wait for the thread: it may itself wait for input that never comes."""

_END = object()


class _Failure:
    """What the thread's work ended with."""

    def __init__(self, error: BaseException) -> None:
        self.error = error


def prefetched(items: Generator[_Item, None, None], depth: int) -> Iterator[_Item]:
    """Yield the items of a generator that runs in a thread of its own.

    Besides the item being worked on there are at most `depth` that wait and one in the making.
    When the iterator is closed or given up, so is the generator.
    """
    waiting: queue.Queue[Any] = queue.Queue(depth)
    given_up = threading.Event()

    def work() -> None:
        try:
            for item in items:
                waiting.put(item)
                del item  # it must not be kept while the next one is made
                if given_up.is_set():
                    return
            waiting.put(_END)
        except BaseException as error:
            waiting.put(_Failure(error))
        finally:
            items.close()

    thread = threading.Thread(target=work, name="fastgmm-prefetch", daemon=True)
    thread.start()
    try:
        while (item := waiting.get()) is not _END:
            if isinstance(item, _Failure):
                raise item.error
            yield item
            del item
    finally:
        given_up.set()
        _empty(waiting)  # the thread may wait for room
        thread.join(_SECONDS_TO_END)


def _empty(waiting: queue.Queue[Any]) -> None:
    with suppress(queue.Empty):
        while True:
            waiting.get_nowait()
