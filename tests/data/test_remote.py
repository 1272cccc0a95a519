"""Files at URLs: in memory, in an object store, and on a server that sends files only whole."""

import pickle
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import fsspec
import numpy as np
import pytest
from distributed import Client
from fsspec.registry import _registry
from numpy.testing import assert_array_equal
from PIL import Image

from fastgmm import GaussianMixture
from fastgmm.data.errors import DamagedDataError, DataError, SkippedDataWarning
from fastgmm.data.opening import open_data
from fastgmm.data.remote import located
from tests.cli_process import in_here
from tests.clusters import local_cluster
from tests.written_data import FORMS, all_rows, rows, write_csv, write_npy, write_parquet

FILES = [
    *("npy", "npy in column order", "npz", "npz in column order", "Parquet", "Parquet folder"),
    *("Parquet pattern", "CSV", "CSV list", "CSV by gzip", "Arrow file", "Arrow stream"),
    *("Feather", "HDF5", "HDF5 columns"),
]


@pytest.fixture
def memory():
    """An empty store in memory."""
    store = fsspec.filesystem("memory")
    store.store.clear()
    store.pseudo_dirs[:] = [""]
    yield "memory://data"
    store.store.clear()
    store.pseudo_dirs[:] = [""]


@pytest.fixture(scope="module")
def server():
    """Return the address of an object store on this machine."""
    pytest.importorskip("s3fs")
    moto = pytest.importorskip("moto.server")
    server = moto.ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(server, monkeypatch):
    """A new bucket."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", server)
    store = fsspec.filesystem("s3", skip_instance_cache=True)
    store.mkdir("bucket")
    yield "s3://bucket"
    store.rm("bucket", recursive=True)


@pytest.fixture
def plain_server(tmp_path):
    """A server that knows no ranges, and the folder that it serves."""
    folder = tmp_path / "served"
    folder.mkdir()

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", folder
    server.shutdown()
    thread.join()
    server.server_close()


def uploaded(folder, base):
    """Copy all files of a folder to a URL."""
    for path in folder.rglob("*"):
        if path.is_file():
            with fsspec.open(f"{base}/{path.relative_to(folder).as_posix()}", "wb") as file:
                file.write(path.read_bytes())


def at(base, folder, data):
    """Return what names the copies."""
    if isinstance(data, list):
        return [at(base, folder, each) for each in data]
    return str(data).replace(str(folder), base)


@pytest.mark.parametrize(
    ("place", "form"),
    [
        *(("memory", form) for form in FILES),
        *(("bucket", form) for form in ("npy", "npz", "Parquet folder", "CSV by gzip", "HDF5")),
    ],
)
def test_files_at_urls_give_the_rows_of_local_ones(tmp_path, request, place, form):
    base = request.getfixturevalue(place)
    X = rows()
    local = FORMS[form](tmp_path, X)
    uploaded(tmp_path, base)
    source = open_data(at(base, tmp_path, local), memory_budget="150kB")
    assert_array_equal(all_rows(source), all_rows(open_data(local)))
    assert source.feature_names == open_data(local).feature_names


@pytest.mark.parametrize("place", ["memory", "bucket"])
def test_fits_and_predictions_take_urls(tmp_path, request, place):
    base = request.getfixturevalue(place)
    X = rows()
    FORMS["Parquet folder"](tmp_path, X)
    uploaded(tmp_path, base)
    mixture = GaussianMixture(2, random_state=0)
    remote = mixture.fit(f"{base}/*.parquet")
    assert_array_equal(remote.means_, GaussianMixture(2, random_state=0).fit(X).means_)
    assert_array_equal(remote.predict(base), remote.predict(tmp_path))


def test_images_are_read_from_urls(tmp_path, memory):
    Image.fromarray(np.arange(60, dtype=np.uint8).reshape(4, 5, 3)).save(tmp_path / "a.png")
    uploaded(tmp_path, memory)
    assert_array_equal(all_rows(open_data(f"{memory}/a.png")), all_rows(open_data(tmp_path)))


def test_files_in_zip_archives_are_chosen_by_name(tmp_path, memory):
    import zipfile

    write_csv(tmp_path / "a.csv", rows(5))
    with fsspec.open(f"{memory}/x.zip", "wb") as file, zipfile.ZipFile(file, "w") as archive:
        archive.write(tmp_path / "a.csv", "a.csv")
        archive.writestr("b.txt", "no data")
    assert_array_equal(all_rows(open_data(f"{memory}/x.zip::a.csv")), rows(5))
    inside = f"zip://a.csv::{memory}/x.zip"
    assert_array_equal(all_rows(open_data(inside)), rows(5))


def test_folders_are_listed_as_local_ones_are(tmp_path, bucket):
    for name in ("2.csv", "10.csv", "_tmp/3.csv", ".hidden.csv", "deep/1.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write_csv(tmp_path / name, rows(2))
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "notes.txt").write_text("nothing")
    uploaded(tmp_path, bucket)
    with pytest.warns(SkippedDataWarning, match=r"'s3://bucket/empty.csv' \(empty\).*notes.txt"):
        source = open_data(bucket)
    names = [str(file.stamp.path) for file in source.files]
    assert names == [f"{bucket}/{name}" for name in ("2.csv", "10.csv", "deep/1.csv")]
    assert len(open_data(f"{bucket}/**/1*.csv").files) == 2


def test_names_of_folders_are_columns(tmp_path, memory):
    for year in (2001, 2002):
        (tmp_path / f"year={year}").mkdir()
        write_parquet(tmp_path / f"year={year}" / "x.parquet", rows(1000, seed=year))
    uploaded(tmp_path, memory)
    chosen = {"columns": ["a", "b", "c"], "filter": [("year", "=", 2002), ("a", ">", 1)]}
    expected = all_rows(open_data(tmp_path, **chosen))
    assert 0 < len(expected) < 1000
    assert_array_equal(all_rows(open_data(memory, **chosen)), expected)
    assert_array_equal(all_rows(open_data(f"{memory}/*", **chosen)), expected)


@pytest.mark.parametrize("name", ["x.npy", "x.parquet", "x.csv"])
def test_no_request_is_for_a_whole_file(tmp_path, bucket, monkeypatch, name):
    X = np.random.default_rng(0).normal(size=(2**19, 3))  # 12 MiB
    write = {".npy": write_npy, ".parquet": write_parquet, ".csv": write_csv}[name[1:]]
    write(tmp_path / name, X, **({"row_group_size": len(X)} if write is write_parquet else {}))
    uploaded(tmp_path, bucket)
    sizes = []
    store = fsspec.get_filesystem_class("s3")
    call = store._call_s3

    async def watched(self, method, *args, **kwargs):
        if method == "get_object":
            first, last = kwargs["Range"].removeprefix("bytes=").split("-")
            sizes.append(int(last) - int(first) + 1)
        return await call(self, method, *args, **kwargs)

    monkeypatch.setattr(store, "_call_s3", watched)
    source = open_data(f"{bucket}/{name}", memory_budget="32MB")
    assert_array_equal(all_rows(source), X)
    assert max(sizes) <= 2**23
    assert len(sizes) < 40


@pytest.mark.parametrize("place", ["memory", "bucket"])
def test_a_file_that_is_replaced_is_noticed(tmp_path, request, place):
    base = request.getfixturevalue(place)
    write_parquet(tmp_path / "x.parquet", rows())
    uploaded(tmp_path, base)
    source = open_data(f"{base}/x.parquet")
    same = open_data(f"{base}/x.parquet")
    assert source.fingerprint() == same.fingerprint()
    all_rows(source)
    write_parquet(tmp_path / "x.parquet", rows(seed=1))
    uploaded(tmp_path, base)
    assert open_data(f"{base}/x.parquet").fingerprint() != source.fingerprint()
    with pytest.raises(DataError, match=rf"'{base}/x.parquet' changed since it was opened"):
        all_rows(source)
    fsspec.filesystem(base.partition(":")[0]).rm(f"{base}/x.parquet")
    with pytest.raises(DataError, match=rf"'{base}/x.parquet' has vanished since it was opened"):
        all_rows(same)


def test_checkpoints_know_remote_files(tmp_path, bucket):
    write_npy(tmp_path / "x.npy", rows())
    uploaded(tmp_path, bucket)
    url, state = f"{bucket}/x.npy", tmp_path / "state.fgm"
    given = {"random_state": 0, "checkpoint": state, "checkpoint_interval": 0.0}
    whole = GaussianMixture(2, **given).fit(url)
    again = GaussianMixture(2, **given, resume=True).fit(url)
    assert_array_equal(whole.means_, again.means_)
    write_npy(tmp_path / "x.npy", rows(seed=1))
    uploaded(tmp_path, bucket)
    with pytest.raises(ValueError, match="checkpoint"):
        GaussianMixture(2, **given, resume=True).fit(url)


def test_damage_names_the_url(tmp_path, memory):
    path = write_csv(tmp_path / "x.csv.gz", rows(200_000))
    path.write_bytes(path.read_bytes()[:-1000])
    uploaded(tmp_path, memory)
    with pytest.raises(DamagedDataError, match=r"'memory://data/x.csv.gz', from line \d+ on"):
        all_rows(open_data(f"{memory}/x.csv.gz"))


@pytest.mark.parametrize(
    ("url", "error", "message"),
    [
        ("memory://data/no.csv", FileNotFoundError, "there is no file 'memory://data/no.csv'"),
        ("memory://data/*.npy", DataError, r"no file matches the pattern 'memory://data/\*.npy'"),
        ("memory://data/x", DataError, "the folder 'memory://data/x' holds no files of data, but"),
        ("memory://data/a.csv::b", DataError, "'memory://data/a.csv' holds no arrays with names"),
        ("memory://data/z.zarr", DataError, "'memory://data/z.zarr' is Zarr.*give the array"),
        ("memory://data/p.pdf", DataError, "'memory://data/p.pdf' is a PDF document"),
        ("nowhere://x", DataError, "cannot read 'nowhere://x': Protocol not known: nowhere"),
        (
            "http://127.0.0.1:1/x",
            FileNotFoundError,
            "'http://127.0.0.1:1/x': Cannot connect",
        ),
    ],
)
def test_errors_name_the_url(tmp_path, memory, url, error, message):
    write_csv(tmp_path / "a.csv", rows(3))
    (tmp_path / "p.pdf").write_bytes(b"%PDF-1.4")
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "notes.txt").write_text("nothing")
    FORMS["Zarr 3"](tmp_path, rows(10)).rename(tmp_path / "z.zarr")
    uploaded(tmp_path, memory)
    with pytest.raises(error, match=message):
        open_data(url)


def test_missing_rights_name_the_url(bucket, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError("Forbidden")

    monkeypatch.setattr(located(bucket)._store, "info", refuse)
    with pytest.raises(DataError, match=r"cannot read 's3://bucket/x.csv': Forbidden"):
        open_data("s3://bucket/x.csv")


@pytest.mark.parametrize(
    ("module", "url", "message"),
    [
        (
            "fsspec",
            "s3://bucket/x",
            r"reading URLs needs fsspec: .*fastgmm\[remote",
        ),
        ("s3fs", "s3://bucket/x", r"cannot open 's3://bucket/x': Install s3fs.*fastgmm\[remote"),
        ("gcsfs", "gs://bucket/x", r"cannot open 'gs://bucket/x': Please install gcsfs"),
    ],
)
def test_missing_packages_are_named(monkeypatch, module, url, message):
    for protocol in ("s3", "gs"):
        monkeypatch.delitem(_registry, protocol, raising=False)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=message):
        open_data(url)


def test_local_urls_are_paths(tmp_path):
    path = write_csv(tmp_path / "a b.csv", rows(3))
    assert isinstance(located(f"file://{path}"), Path)
    assert_array_equal(all_rows(open_data(f"file://{path}")), rows(3))
    assert_array_equal(all_rows(open_data(f"file://{tmp_path}/*.csv")), rows(3))


def test_paths_can_be_sent_to_other_processes(tmp_path, bucket):
    write_csv(tmp_path / "a.csv", rows(3))
    uploaded(tmp_path, bucket)
    path = located(f"{bucket}/a.csv")
    sent = pickle.loads(pickle.dumps(path))
    assert sent == path
    assert sent.read_bytes() == (tmp_path / "a.csv").read_bytes()


@pytest.mark.parametrize("form", ["CSV", "CSV by gzip", "npy", "Parquet", "HDF5"])
def test_an_object_store_is_a_server_on_the_web(tmp_path, bucket, server, form):
    X = rows()
    local = FORMS[form](tmp_path, X)
    uploaded(tmp_path, bucket)
    fsspec.filesystem("s3").chmod(f"{bucket}/{local.name}", "public-read")
    url = f"{server}/bucket/{local.name}?version=1"
    assert_array_equal(all_rows(open_data(url)), all_rows(open_data(local)))


@pytest.mark.parametrize(
    "form", ["CSV", "CSV by gzip", "npy", "npy in column order", "Arrow stream"]
)
def test_files_that_are_sent_whole_are_read_from_beginning_to_end(plain_server, form):
    address, folder = plain_server
    X = rows(20_000)
    local = FORMS[form](folder, X)
    url = f"{address}/{local.name}"
    assert_array_equal(all_rows(open_data(url, memory_budget="100kB")), all_rows(open_data(local)))


@pytest.mark.parametrize("form", ["npz", "Parquet", "Arrow file"])
def test_files_that_must_be_read_here_and_there_need_ranges(plain_server, form):
    address, folder = plain_server
    url = f"{address}/{FORMS[form](folder, rows(300_000)).name}"
    with pytest.raises(DataError, match=rf"cannot read '{url}'.*sends files only from the begin"):
        all_rows(open_data(url, memory_budget="1MB"))
    assert_array_equal(all_rows(open_data(f"simplecache::{url}")), all_rows(open_data(folder)))


def test_the_command_line_takes_urls(tmp_path, plain_server):
    address, folder = plain_server
    write_csv(folder / "x.csv", rows())
    model = tmp_path / "m.fgm"
    fitted = in_here(
        "fit", f"{address}/x.csv", "-k", "2", "-o", str(model), "--seed", "0", cwd=tmp_path
    )
    assert fitted.returncode == 0, fitted.stderr
    out = tmp_path / "labels.csv"
    predicted = in_here(
        "predict", f"{address}/x.csv", "-m", str(model), "-o", str(out), cwd=tmp_path
    )
    assert predicted.returncode == 0, predicted.stderr
    assert len(out.read_text().splitlines()) == 5001


@pytest.mark.slow
def test_workers_of_a_cluster_read_an_object_store(bucket, tmp_path):
    X = rows()
    for number, part in enumerate(np.split(X, 2)):
        write_parquet(tmp_path / f"{number}.parquet", part)
    uploaded(tmp_path, bucket)
    with (
        local_cluster(1) as cluster,
        Client(cluster) as client,
    ):
        source = open_data(f"{bucket}/*.parquet", client=client)
        assert source.n_partitions == 8  # row groups of 777 rows
        assert_array_equal(all_rows(source), X)
