"""A thread that makes items ahead, and ends when nobody wants them."""

import threading
import time

import pytest

from fastgmm.data.sources.prefetch import prefetched


def threads():
    return [each for each in threading.enumerate() if each.name == "fastgmm-prefetch"]


SECONDS = 60.0
"""Much longer than anything takes on a busy machine."""


@pytest.fixture(autouse=True)
def the_thread_is_waited_for(monkeypatch):
    monkeypatch.setattr("fastgmm.data.sources.prefetch._SECONDS_TO_END", SECONDS)


def ends_soon(condition):
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_items_come_in_order():
    assert list(prefetched((i for i in range(100)), 2)) == list(range(100))
    assert not threads()


def test_only_so_many_are_made_ahead():
    made = []

    def items():
        for i in range(100):
            made.append(i)
            yield i

    iterator = prefetched(items(), 2)
    assert next(iterator) == 0
    ends_soon(lambda: len(made) == 4)  # one in use, two that wait, one in the making
    time.sleep(0.05)
    assert len(made) == 4
    iterator.close()
    assert not threads()


def test_items_are_made_while_the_caller_works():
    made = threading.Event()

    def items():
        yield 0
        made.set()
        yield 1

    for item in prefetched(items(), 1):
        if item == 0:
            assert made.wait(SECONDS)


def test_the_generator_is_closed_with_the_iterator():
    closed = threading.Event()

    def items():
        try:
            while True:
                yield 0
        finally:
            closed.set()

    iterator = prefetched(items(), 1)
    next(iterator)
    iterator.close()
    assert closed.is_set()
    assert not threads()


def test_the_thread_ends_when_the_iterator_is_forgotten():
    def items():
        while True:
            yield 0

    iterator = prefetched(items(), 1)
    next(iterator)
    del iterator
    assert not threads()


def test_errors_pass_through_after_the_items_before_them():
    def items():
        yield 0
        yield 1
        raise OSError("no more")

    found = []
    with pytest.raises(OSError, match="no more"):
        found.extend(iter_into(found, prefetched(items(), 2)))
    assert found == [0, 1]
    assert not threads()


def iter_into(found, items):
    for item in items:
        found.append(item)
    return []


def test_what_blocks_is_not_waited_for_forever(monkeypatch):
    monkeypatch.setattr("fastgmm.data.sources.prefetch._SECONDS_TO_END", 0.05)
    release = threading.Event()

    def items():
        yield 0
        release.wait()
        yield 1

    iterator = prefetched(items(), 1)
    next(iterator)
    iterator.close()
    assert len(threads()) == 1
    release.set()
    ends_soon(lambda: not threads())
