"""Files that the workers of a cluster read, against the same files read here."""

import io
import re
from functools import partial

import dask.array as da
import dask.dataframe as dd
import fsspec
import numpy as np
import pytest
from distributed import Client
from numpy.testing import assert_allclose, assert_array_equal

from fastgmm import GaussianMixture, open_data
from fastgmm.data.errors import DataError
from fastgmm.data.formats import table_file
from tests.clusters import local_cluster
from tests.data.formats.test_arrow_files import ZSTD
from tests.written_data import (
    NAMES,
    rows,
    write_arrow,
    write_csv,
    write_hdf5,
    write_npy,
    write_parquet,
    write_zarr,
)

FORMS = {
    "parquet": (write_parquet, 7),  # row groups of 777 rows
    "npy": (write_npy, 5),
    "h5": (write_hdf5, 4),  # chunks of 700 rows, two in a part
    "zarr": (partial(write_zarr, zarr_format=3), 4),
    "csv": (write_csv, 1),
    "arrow": (write_arrow, 7),  # batches of 777 rows
}


@pytest.fixture(scope="module")
def client():
    with (
        local_cluster(1, threads_per_worker=2, processes=False) as cluster,
        Client(cluster) as client,
    ):
        yield client


def fit(X):
    start = {"means_init": [[0.0] * 3, [4.0] * 3], "weights_init": [0.5, 0.5]}
    return GaussianMixture(2, precisions_init=[np.eye(3)] * 2, **start).fit(X)


@pytest.mark.parametrize("form", FORMS)
def test_workers_read_what_is_read_here(tmp_path, client, monkeypatch, form):
    monkeypatch.setattr(table_file, "_PART_BYTES", 2**15)
    write, n_parts = FORMS[form]
    path = write(tmp_path / f"rows.{form}", rows())
    source = open_data(path, client=client)
    if n_parts is not None:
        assert source.n_partitions == n_parts
    here = open_data(path)
    assert source.feature_names == here.feature_names
    assert source.dtype == here.dtype
    found, expected = fit(source), fit(path)
    assert_allclose(found.means_, expected.means_, rtol=1e-12, atol=1e-12)
    labels = found.predict(source)
    assert isinstance(labels, da.Array if source.feature_names is None else dd.Series)
    assert_array_equal(labels.compute(), expected.predict(path))
    assert open_data(path, client=client).fingerprint() == source.fingerprint()


def test_columns_weights_labels_and_filters(tmp_path, client):
    X = rows()
    write_parquet(tmp_path / "rows.parquet", X)
    options = {"columns": [NAMES[1]], "weight_column": NAMES[0], "filter": [(NAMES[0], ">", 3.0)]}
    source = open_data(tmp_path / "rows.parquet", client=client, **options)
    kept = X[X[:, 0] > 3.0]
    assert source.n_samples == len(kept)
    assert_allclose(source.total_weight, kept[:, 0].sum(), rtol=1e-12)
    assert source.unused_columns == {NAMES[0]: "weights", NAMES[2]: "not asked for"}
    write_npy(tmp_path / "rows.npy", np.column_stack([X, np.arange(len(X)) % 2]))
    labeled = {"exclude": ["x1"], "label_column": "x3"}
    source = open_data(tmp_path / "rows.npy", client=client, **labeled)
    assert source.feature_names == ("x0", "x2")  # those that are left of columns without names
    assert source.n_features == 2
    assert_array_equal(source.labels().compute(), np.arange(len(X)) % 2)
    nothing = open_data(tmp_path / "rows.parquet", client=client, filter=[(NAMES[0], ">", 1e9)])
    with pytest.raises(DataError, match="the collection has no rows"):
        GaussianMixture().fit(nothing)


def test_urls_and_several_files_of_different_types(client):
    X = rows()
    store = fsspec.filesystem("memory")
    for number, part in enumerate(np.split(X, 2)):
        with store.open(f"rows/{number}.npy", "wb") as file:
            np.save(file, part.astype(np.float32) if number else part)
    source = open_data("memory://rows/*.npy", client=client)
    assert source.n_partitions == 2
    assert source.dtype == np.float64
    blocks = np.concatenate([block for block, _ in source.blocks()])
    assert_allclose(blocks, X, rtol=1e-6)
    store.rm("rows", recursive=True)


@pytest.mark.parametrize("column", [0, 1])  # the first is read where the file is opened, too
def test_a_damaged_batch_is_found_as_it_is_here(tmp_path, client, monkeypatch, column):
    monkeypatch.setattr(table_file, "_PART_BYTES", 1)
    path = write_arrow(tmp_path / "rows.arrow", rows(3000), 1000, compression="zstd")
    content = bytearray(path.read_bytes())
    frames = [match.start() for match in re.finditer(re.escape(ZSTD), content)]
    frame = frames[len(NAMES) + column]
    content[frame : frame + 4] = b"\xff" * 4
    path.write_bytes(content)
    source = open_data(path, client=client)
    assert source.n_partitions == (3 if column else 1)
    with pytest.raises(DataError, match=r"batch 1 \(from row 1000 on, counted from 0\): ") as there:
        GaussianMixture().fit(source)
    with pytest.raises(DataError) as here:
        GaussianMixture().fit(path)
    assert str(there.value) == str(here.value)


def test_what_workers_cannot_read(tmp_path, client, monkeypatch):
    X = rows()
    X[1000, 1] = np.nan
    path = write_parquet(tmp_path / "rows.parquet", X)
    with pytest.raises(DataError, match=r"partition 1 .*in row 223, .*NaN|partition 1 .*row 223"):
        GaussianMixture().fit(open_data(path, client=client))
    with pytest.raises(ValueError, match=r"on_error='skip' reports.* leave client out"):
        open_data(path, client=client, on_error="skip")
    with pytest.raises(ValueError, match=r"client is for files and for a Dask array .*ndarray"):
        open_data(X, client=client)
    stream = io.TextIOWrapper(io.BytesIO(b"a,b\n1,2\n3,4\n"))
    monkeypatch.setattr("sys.stdin", stream)
    with pytest.raises(DataError, match="can be read once, and here: leave client out"):
        open_data("-", client=client)
    source = open_data(path, client=client, missing="drop")
    path.unlink()
    with pytest.raises(DataError, match="has vanished since it was opened"):
        GaussianMixture().fit(source)
