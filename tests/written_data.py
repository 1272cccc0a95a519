"""The same rows in every form that can be read: ``FORMS`` maps a name to what writes or makes it.

Each takes a folder and rows with columns a, b, c, and returns what `open_data` is given.
"""

from __future__ import annotations

import io
from itertools import pairwise

import h5py
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import zarr
from pyarrow import feather, parquet

NAMES = ("a", "b", "c")


def rows(n_samples=5000, dtype=np.float64, seed=0):
    """Return rows in two groups, no two of them alike."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_samples, len(NAMES)))
    X[::2] += 4.0
    return X.astype(dtype)


def blocks_of(source):
    """Return copies of all blocks' rows and weights."""
    return [(X.copy(), None if w is None else w.copy()) for X, w in source.blocks()]


def all_rows(source):
    """Return the rows that a source gives."""
    return np.concatenate([X for X, _ in blocks_of(source)])


def arrow_table(X):
    return pa.table({name: X[:, j] for j, name in enumerate(NAMES)})


def write_csv(path, X, **options):
    pd.DataFrame(X, columns=NAMES).to_csv(path, index=False, **options)
    return path


def write_parquet(path, X, row_group_size=777, **options):
    parquet.write_table(arrow_table(X), path, row_group_size=row_group_size, **options)
    return path


def write_arrow(path, X, rows_of_batch=777, compression=None):
    table = arrow_table(X)
    options = pa.ipc.IpcWriteOptions(compression=compression)
    kind = pa.ipc.new_stream if path.suffix == ".arrows" else pa.ipc.new_file
    with path.open("wb") as file, kind(file, table.schema, options=options) as writer:
        writer.write_table(table, max_chunksize=rows_of_batch)
    return path


def write_npy(path, X):
    np.save(path, X)
    return path


def write_hdf5(path, X, chunks=(700, 3), **options):
    with h5py.File(path, "w") as file:
        if chunks is not None:
            chunks = (min(chunks[0], len(X)), chunks[1])
        file.create_dataset("X", data=X, chunks=chunks, **options)
    return path


def write_zarr(path, X, zarr_format, chunks=(700, 3), shards=None):
    group = zarr.open_group(path, mode="w", zarr_format=zarr_format)
    array = group.create_array("X", shape=X.shape, dtype=X.dtype, chunks=chunks, shards=shards)
    array[:] = X
    return path


def batches(X, rows_of_batch=777):
    for first in range(0, len(X), rows_of_batch):
        yield X[first : first + rows_of_batch]


def batches_in_one_buffer(X, rows_of_batch=777):
    buffer = np.empty((rows_of_batch, X.shape[1]), X.dtype)
    for batch in batches(X, rows_of_batch):
        buffer[: len(batch)] = batch
        yield buffer[: len(batch)]


class ArrowCapsule:
    """What knows Arrow's stream interface and nothing else."""

    def __init__(self, table):
        self._table = table

    def __arrow_c_stream__(self, requested_schema=None):
        return self._table.__arrow_c_stream__(requested_schema)


def _npz(folder, X):
    np.savez_compressed(folder / "x.npz", X=X, y=np.arange(3))
    return folder / "x.npz"


def _npz_in_column_order(folder, X):
    np.savez(folder / "x.npz", np.asfortranarray(X))
    return folder / "x.npz"


def _parquet_folder(folder, X):
    ends = [0, 1500, 1501, 3333, len(X)]
    for i, (first, last) in enumerate(pairwise(ends)):
        write_parquet(folder / f"part{8 + i}.parquet", X[first:last])
    return folder


def _csv_list(folder, X):
    return [write_csv(folder / "z.csv", X[:2000]), write_csv(folder / "a.csv", X[2000:])]


def _csv_without_header(folder, X):
    pd.DataFrame(X).to_csv(folder / "x.txt", header=False, index=False, sep=";")
    return folder / "x.txt"


def _feather(folder, X):
    feather.write_feather(arrow_table(X), folder / "x.feather", chunksize=777)
    return folder / "x.feather"


def _hdf5_columns(folder, X):
    with h5py.File(folder / "x.h5", "w") as file:
        for j, name in enumerate(NAMES):
            file.create_dataset(f"group/{name}", data=X[:, j])
    return f"{folder / 'x.h5'}::group"


def _mapped(folder, X):
    return np.load(write_npy(folder / "x.npy", X), mmap_mode="r")


def _bytes(path):
    return io.BytesIO(path.read_bytes())


FORMS = {
    "array": lambda _, X: X,
    "array in column order": lambda _, X: np.asfortranarray(X),
    "strided array": lambda _, X: np.repeat(X, 2, axis=0)[::2],
    "list of lists": lambda _, X: X.tolist(),
    "big-endian array": lambda _, X: X.astype(X.dtype.newbyteorder(">")),
    "memory map": _mapped,
    "npy": lambda folder, X: write_npy(folder / "x.npy", X),
    "npy in column order": lambda folder, X: write_npy(folder / "x.npy", np.asfortranarray(X)),
    "npz": _npz,
    "npz in column order": _npz_in_column_order,
    "Parquet": lambda folder, X: write_parquet(folder / "x.parquet", X),
    "Parquet folder": _parquet_folder,
    "Parquet pattern": lambda folder, X: str(_parquet_folder(folder, X) / "*.parquet"),
    "CSV": lambda folder, X: write_csv(folder / "x.csv", X),
    "CSV list": _csv_list,
    "CSV without header": _csv_without_header,
    "CSV by tabs": lambda folder, X: write_csv(folder / "x.tsv", X, sep="\t"),
    "CSV by gzip": lambda folder, X: write_csv(folder / "x.csv.gz", X),
    "open CSV": lambda folder, X: _bytes(write_csv(folder / "x.csv", X)),
    "open CSV by gzip": lambda folder, X: _bytes(write_csv(folder / "x.csv.gz", X)),
    "Arrow file": lambda folder, X: write_arrow(folder / "x.arrow", X, compression="zstd"),
    "Arrow stream": lambda folder, X: write_arrow(folder / "x.arrows", X),
    "Feather": _feather,
    "open Arrow stream": lambda folder, X: _bytes(write_arrow(folder / "x.arrows", X)),
    "HDF5": lambda folder, X: write_hdf5(folder / "x.h5", X, compression="gzip"),
    "HDF5 columns": _hdf5_columns,
    "HDF5 dataset": lambda folder, X: h5py.File(write_hdf5(folder / "x.h5", X))["X"],
    "Zarr 2": lambda folder, X: write_zarr(folder / "x.zarr", X, 2),
    "Zarr 3": lambda folder, X: write_zarr(folder / "x.zarr", X, 3),
    "Zarr 3 in shards": lambda folder, X: write_zarr(folder / "x", X, 3, (100, 3), (1000, 3)),
    "Zarr array": lambda folder, X: zarr.open(write_zarr(folder / "x.zarr", X, 3), mode="r")["X"],
    "pandas": lambda _, X: pd.DataFrame(X, columns=NAMES),
    "polars": lambda _, X: pl.DataFrame(dict(zip(NAMES, X.T, strict=True))),
    "Arrow table": lambda _, X: arrow_table(X),
    "Arrow reader": lambda _, X: arrow_table(X).to_reader(max_chunksize=777),
    "Arrow capsule": lambda _, X: ArrowCapsule(arrow_table(X)),
    "iterator": lambda _, X: batches(X),
    "function": lambda _, X: lambda: batches_in_one_buffer(X),
    "iterator of frames": lambda _, X: map(arrow_table, batches(X)),
}

ONCE = {
    "open CSV",
    "open CSV by gzip",
    "open Arrow stream",
    "Arrow reader",
    "iterator",
    "iterator of frames",
}
"""Those that can be iterated over only once."""

TEXT = {form for form in FORMS if "CSV" in form}
"""Those that know no types: all numbers are read in double precision."""
