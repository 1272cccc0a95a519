"""Files that fuzzing found, and some altered anew: refused as documented, or sound."""

import faulthandler
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.trust.fuzz import CORPUS, alter, altered, keep, read, write_whole


@pytest.fixture(autouse=True)
def _no_hang():
    faulthandler.dump_traceback_later(60, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()


@pytest.mark.filterwarnings("ignore")
def test_what_fuzzing_found(tmp_path):
    for path in sorted(CORPUS.glob("*-*")):
        read(Path(shutil.copy(path, tmp_path)))


@pytest.mark.filterwarnings("ignore")
def test_every_file_is_read_whole_and_altered_seldom(tmp_path, monkeypatch):
    write_whole(tmp_path)
    random = np.random.default_rng(0)
    refused = []
    for path in sorted(tmp_path.iterdir()):
        assert not read(path), path.name
        whole = path.read_bytes()
        for _ in range(3):
            path.write_bytes(whole)
            alter(path, random)
            refused.append(read(path))
    assert 0.5 < np.mean(refused) < 1.0
    monkeypatch.setattr("tests.trust.fuzz.CORPUS", tmp_path / "kept")
    assert read(keep(path)) == refused[-1]


def test_alterations_alter():
    random = np.random.default_rng(0)
    content = bytes(range(100))
    found = [altered(content, random) for _ in range(200)]
    assert np.mean([each != content for each in found]) > 0.95
    assert len({len(each) for each in found}) > 20
