import sys

import numpy as np
import pytest

from harness import memory
from harness.memory import peak_memory


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can set the mark back")
def test_peak_counts_what_was_freed_again_and_not_what_was_there():
    there_before = np.ones(8_000_000)
    peak = peak_memory(lambda: np.ones(4_000_000).sum())
    assert 31e6 < peak.n_bytes < 40e6
    assert peak.method == "high-water mark, set back before the call"
    del there_before


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such mark")
def test_mark_that_cannot_be_set_back(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "_CLEAR_REFS", tmp_path / "missing" / "clear_refs")
    peak = peak_memory(lambda: None)
    assert peak.n_bytes == 0
    assert peak.method == "rise of the process's high-water mark"


def test_system_that_does_not_tell(monkeypatch, tmp_path):
    calls = []
    monkeypatch.setattr(memory, "_CLEAR_REFS", tmp_path / "missing" / "clear_refs")
    monkeypatch.setattr(memory, "_highest_ever", lambda: None)
    peak = peak_memory(lambda: calls.append(1))
    assert calls == [1]
    assert peak.n_bytes is None
    assert peak.method == "not available on this system"
