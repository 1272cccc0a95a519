"""The benchmark of data larger than memory, on small ones."""

import numpy as np
import pytest

import fastgmm
from comparisons import out_of_core


@pytest.mark.parametrize("suffix", [".parquet", ".npy"])
def test_the_files_hold_what_was_asked_for(tmp_path, suffix):
    out_of_core.write_mixture(tmp_path, 1000, 3, 4, suffix)
    source = fastgmm.open_data(tmp_path)
    X = np.concatenate([block.X for block in source.blocks()])
    assert X.shape == (1000, 3)
    assert len(list(tmp_path.iterdir())) == 4
    assert X.std() > 1.5


def test_the_targets_are_measured(capsys, monkeypatch):
    monkeypatch.setattr(out_of_core, "_ROUNDS", 1)
    out_of_core.main(["--gigabytes", "0.002", "--scale", "0.002"])
    text = capsys.readouterr().out
    for words in (
        "peak memory",
        ".npy",
        "decoded again / memory",
        "kept decoded",
        "read_table",
        "iter_batches",
        "MB",
    ):
        assert words in text
