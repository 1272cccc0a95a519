"""Files cut or overwritten anywhere: an error, or what is left, but never a crash or other rows."""

import faulthandler
import warnings

import numpy as np
import pytest

from fastgmm.data.errors import DataError, SkippedDataWarning
from fastgmm.data.opening import open_data
from tests.written_data import (
    all_rows,
    rows,
    write_arrow,
    write_csv,
    write_hdf5,
    write_npy,
    write_parquet,
)

X = rows(600)

WRITERS = {
    "x.npy": write_npy,
    "f.npy": lambda path, X: write_npy(path, np.asfortranarray(X)),
    "x.npz": lambda path, X: (np.savez_compressed(path, X), path)[1],
    "x.parquet": lambda path, X: write_parquet(path, X, 100),
    "x.csv": write_csv,
    "x.csv.gz": write_csv,
    "x.arrow": lambda path, X: write_arrow(path, X, 100),
    "lz4.arrow": lambda path, X: write_arrow(path, X, 100, compression="lz4"),
    "x.arrows": lambda path, X: write_arrow(path, X, 100),
    "x.h5": lambda path, X: write_hdf5(path, X, (100, 3), compression="gzip"),
}

LOSSLESS = {"x.npy", "f.npy", "x.npz", "x.parquet", "x.arrow", "lz4.arrow", "x.arrows", "x.h5"}
"""Those that say how many rows they have, so that none can be lost unseen."""


@pytest.fixture(autouse=True)
def _no_hang():
    faulthandler.dump_traceback_later(60, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()


def read(path, on_error):
    """Return the rows, None if they cannot be read, and whether some were left out."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SkippedDataWarning)
        try:
            source = open_data(path, on_error=on_error, missing="drop")
            return all_rows(source), bool(getattr(source, "skipped", []))
        except DataError:
            return None, True


@pytest.mark.parametrize("name", WRITERS)
def test_files_cut_anywhere(tmp_path, name):
    path = WRITERS[name](tmp_path / name, X)
    content = path.read_bytes()
    cuts = np.random.default_rng(0).integers(0, len(content), 25)
    for cut in [*map(int, cuts), 0, 1, len(content) - 1]:
        path.write_bytes(content[:cut])
        for on_error in ("raise", "skip"):
            found, left_out = read(path, on_error)
            if found is None:
                continue
            if name == "x.csv" and cut < len(content) - 1:
                found = found[:-1]  # the last number may have lost digits, which nobody can see
            assert len(found) < len(X) or cut == len(content) - 1 or name == "x.arrows", cut
            np.testing.assert_array_equal(found, X[: len(found)], err_msg=str(cut))
            if on_error == "skip" and name in LOSSLESS and len(found) < len(X):
                assert left_out, cut


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("on_error", ["raise", "skip"])
def test_bytes_overwritten_anywhere(tmp_path, name, on_error):
    path = WRITERS[name](tmp_path / name, X)
    content = path.read_bytes()
    rng = np.random.default_rng(1)
    for place in rng.integers(0, len(content), 40):
        damaged = bytearray(content)
        width = int(rng.integers(1, 30))
        damaged[place : place + width] = rng.bytes(len(damaged[place : place + width]))
        path.write_bytes(damaged)
        found, left_out = read(path, on_error)
        if on_error == "raise" and found is not None and name in LOSSLESS:
            # Values may differ where a format has no checksums, and become missing ones.
            assert len(found) <= len(X), place
        if found is not None and not left_out:
            assert found.ndim == 2
