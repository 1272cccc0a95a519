"""The disk cache: stamped with the sources of all kernels, and done without where none can be."""

import errno
import gc
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numba
import numpy as np
import pytest
from numba.extending import overload

from fastgmm.kernels import compilation
from fastgmm.kernels.compilation import borrowed, kernel
from fastgmm.kernels.mixture_pass import mixture_slot

compiled = pytest.mark.skipif(numba.config.DISABLE_JIT, reason="nothing is compiled")


@compiled
def test_the_cache_of_a_kernel_is_stamped_with_the_sources_of_all():
    assert compilation._SOURCE_STAMP[:16] in mixture_slot._cache._cache_file._index_name
    assert compilation._digest_of_kernel_sources() == compilation._SOURCE_STAMP


@pytest.fixture
def no_cache(monkeypatch):
    """No folder for a cache is writable: whatever is compiled is compiled now."""

    def no_locator(_function):
        raise RuntimeError("cannot cache function: no locator available for file")

    monkeypatch.setattr(compilation, "_KernelCache", no_locator)


@compiled
@pytest.mark.usefixtures("no_cache")
def test_without_a_writable_cache_folder_kernels_still_compile():
    assert compilation.kernel()(lambda x: x + 1)(1) == 2


@compiled
def test_importing_compiles_nothing():
    code = (
        "from numba.core import event\n"
        "seen = []\n"
        "class Listener(event.Listener):\n"
        "    def on_start(self, e): seen.append(e)\n"
        "    def on_end(self, e): pass\n"
        "event.register('numba:compile', Listener())\n"
        "import fastgmm.em.e_step.passes, fastgmm.em.initialization.kmeans_passes\n"
        "print(len(seen))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "0"


@compiled
@pytest.mark.usefixtures("no_cache")
@pytest.mark.parametrize("rare", [True, False])
def test_a_kernel_that_only_kernels_call_is_linked_and_not_translated(rare):
    square = compilation.inner_kernel(rare=rare)(lambda x: x * x)
    fourth = compilation.inner_kernel(rare=rare)(lambda x: square(square(x)))
    outer = compilation.kernel()(lambda x: fourth(x) + square(x))
    assert [outer(2.0), outer(3)] == [20.0, 90]
    for inner in (square, fourth):
        assert len(inner.overloads) == 2
        for result in inner.overloads.values():
            assert not hasattr(result.library, "_compiled_object")
    for result in outer.overloads.values():
        assert result.library._compiled_object


@compiled
@pytest.mark.usefixtures("no_cache")
@pytest.mark.parametrize("collecting", [True, False])
def test_garbage_is_collected_after_compiling_as_before(collecting):
    def meanwhile(_x):
        return gc.isenabled()

    seen = []

    @overload(meanwhile)
    def _meanwhile(_x):
        seen.append(gc.isenabled())
        return lambda _x: 0

    (gc.enable if collecting else gc.disable)()
    try:
        compilation.kernel()(lambda x: meanwhile(x))(1)
        assert seen
        assert not any(seen)
        assert gc.isenabled() == collecting
        with pytest.raises(numba.TypingError):
            compilation.kernel()(lambda x: x.nothing)(1)
        assert gc.isenabled() == collecting
    finally:
        gc.enable()


def plus_one(x):
    return x + 1


@pytest.fixture
def cache_folder(tmp_path, monkeypatch):
    """A folder for the cache, with what compiling `plus_one` leaves there."""
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    assert compilation.kernel()(plus_one)(1.0) == 2.0
    (folder,) = tmp_path.iterdir()
    assert sorted(path.suffix for path in folder.iterdir()) == [".nbc", ".nbi"]
    return folder


@compiled
def test_a_folder_that_takes_no_files_is_still_read(cache_folder, monkeypatch):
    assert list(cache_folder.rglob("*.nbi"))

    def refuse(**_options):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    monkeypatch.setattr(os, "access", lambda *_: False)
    again = compilation.kernel()(plus_one)
    assert again(1.0) == 2.0
    assert sum(again.stats.cache_hits.values()) == 1


@compiled
def test_where_no_other_folder_is_writable_a_temporary_one_is(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    only = [compilation._TemporaryFolder]
    monkeypatch.setattr(compilation._CacheImpl, "_locator_classes", only)
    for n_hits in (0, 1):
        again = compilation.kernel()(plus_one)
        assert again(1.0) == 2.0
        assert sum(again.stats.cache_hits.values()) == n_hits
    (folder,) = tmp_path.iterdir()
    if os.name == "posix":
        assert folder.stat().st_mode & 0o77 == 0
        folder.chmod(0o777)  # where anybody may have written, nothing is read
        again = compilation.kernel()(plus_one)
        assert again(1.0) == 2.0
        assert not again.stats.cache_hits


def found_in_cache():
    """Run `plus_one` as a new process would, and return whether it was not compiled."""
    run = compilation.kernel()(plus_one)
    assert run(1.0) == 2.0
    return sum(run._cache_hits.values()) == 1


@compiled
@pytest.mark.parametrize("suffix", [".nbi", ".nbc"])
@pytest.mark.parametrize(
    "damage",
    [
        lambda _content: b"",
        lambda content: content[:20],
        lambda content: content[:-1],
        lambda content: bytes(len(content)),
        lambda content: content[:-40] + bytes([content[-40] ^ 1]) + content[-39:],
    ],
    ids=["empty", "beginning", "truncated", "zeros", "a bit"],
)
def test_a_damaged_cache_file_is_replaced(cache_folder, suffix, damage):
    assert found_in_cache()
    (path,) = cache_folder.glob(f"*{suffix}")
    path.write_bytes(damage(path.read_bytes()))
    assert not found_in_cache()
    assert found_in_cache()


@compiled
def test_a_cache_folder_that_vanished_is_made_again(cache_folder):
    shutil.rmtree(cache_folder)
    assert not found_in_cache()
    assert found_in_cache()


@compiled
@pytest.mark.parametrize("suffix", [".nbi", ".nbc"])
def test_a_cache_file_that_cannot_be_read_or_replaced_is_done_without(cache_folder, suffix):
    (path,) = cache_folder.glob(f"*{suffix}")
    path.unlink()
    (path / "in the way").mkdir(parents=True)
    with pytest.warns(RuntimeWarning, match="cannot keep compiled kernels in .*irectory"):
        assert not found_in_cache()
    assert not list(cache_folder.glob("*.part"))


@compiled
def test_a_full_disk_costs_the_cache_and_not_the_fit(cache_folder, monkeypatch):
    shutil.rmtree(cache_folder)
    real = Path.write_bytes

    def half(path, content):
        real(path, content[:10])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", half)
        with pytest.warns(RuntimeWarning, match=r"\(No space left on device\).*NUMBA_CACHE_DIR"):
            assert not found_in_cache()
    assert list(cache_folder.iterdir()) == []
    assert not found_in_cache()
    assert found_in_cache()


@compiled
def test_code_of_another_signature_is_not_mistaken_for_the_one_wanted(tmp_path):
    cache_file = compilation._CacheFile(tmp_path, "kernel")
    cache_file.save("of float64", "code for float64")
    before = (tmp_path / "kernel.nbi").read_bytes()
    cache_file.save("of float32", "code for float32")
    assert cache_file.load("of float64") == "code for float64"
    # Two processes that saved at once: the same number, and the index of one of them.
    (tmp_path / "kernel.nbi").write_bytes(before)
    (tmp_path / "kernel.2.nbc").replace(tmp_path / "kernel.1.nbc")
    assert cache_file.load("of float64") is None
    assert cache_file.load("of float32") is None
    cache_file.flush()
    cache_file.save("of float64", "code for float64")
    assert cache_file.load("of float64") == "code for float64"


@compiled
def test_compiling_is_announced_once_on_a_terminal_and_counted_apart(monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(compilation._compiling, "_announced", False)
    plus, times = (compilation.kernel()(each) for each in (lambda x: x + 1, lambda x: x * 2))
    watch, began = compilation.Stopwatch(), time.perf_counter()
    assert plus(1) == 2
    assert times(1) == 2
    elapsed = time.perf_counter() - began
    assert capsys.readouterr().err == "fastgmm: compiling, once; later runs start right away\n"
    compiling = watch.compile_seconds
    assert 0.0 < compiling < elapsed
    assert watch.seconds + compiling >= elapsed
    plus(1)
    assert watch.compile_seconds == compiling  # what is compiled already takes none
    assert capsys.readouterr().err == ""


def test_no_reference_is_counted_of_what_is_borrowed():
    @kernel()
    def total(values):
        first, (second, scale) = borrowed(values)
        return scale * (first[1:].sum() + second.sum())

    first, second = np.ones(3), np.arange(4.0)
    counted = sys.getrefcount(first), sys.getrefcount(second)
    assert total((first, (second, 2.0))) == 16.0
    assert (sys.getrefcount(first), sys.getrefcount(second)) == counted
