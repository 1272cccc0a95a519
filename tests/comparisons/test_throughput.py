import io

import numpy as np
from rich.console import Console

from fastgmm.bench.machine import Machine, Peak
from harness import throughput
from harness.throughput import (
    Throughput,
    best_seconds,
    environment_at_best,
    last_level_cache_bytes,
    measure_throughput,
    throughput_table,
)


def test_environment_loses_only_what_slows_blas_down():
    environment = {"OPENBLAS_CORETYPE": "Haswell", "OPENBLAS_NUM_THREADS": "2", "HOME": "/h"}
    cleaned, cleared = environment_at_best(environment)
    assert cleaned == {"OPENBLAS_NUM_THREADS": "2", "HOME": "/h"}
    assert cleared == ("OPENBLAS_CORETYPE=Haswell",)
    assert "OPENBLAS_CORETYPE" in environment


def test_everything_is_measured(monkeypatch):
    monkeypatch.setattr(throughput, "last_level_cache_bytes", lambda: 1 << 20)
    found = measure_throughput(seconds=0.002)
    rates = [*found.products_one_thread.values(), *found.products_all_threads.values()]
    assert len(rates) == 4
    assert min(*rates, found.read_bandwidth, found.triad_bandwidth) > 0


def test_products_are_beside_the_peak():
    machine = Machine("p", "s", 2, 0.0, {"float64": Peak(1.0, 258e9, 512)}, (), {}, "omp")
    console = Console(file=io.StringIO(), width=150)
    found = Throughput({"float64": 100e9}, {"float64": 200e9}, 56e9, 45e9)
    console.print(throughput_table(found, machine))
    text = console.file.getvalue()
    assert "200 GFLOP/s, one thread 100 (78% of the peak)" in text
    assert "read 56.0 GB/s, triad 45.0 GB/s" in text


def test_cache_size_is_plausible():
    assert 1 << 20 <= last_level_cache_bytes() <= 1 << 34


def test_best_seconds_calls_once_unseen_and_once_at_least():
    calls = []
    assert best_seconds(lambda: calls.append(1), 0.0) >= 0
    assert len(calls) == 2


def test_bandwidth_kernels_read_and_write_everything():
    values = np.arange(2_048.0)
    assert throughput._sum_slots(values).sum() == values.sum()
    out = np.zeros(100)
    throughput._triad(out, np.ones(100), np.full(100, 2.0), 0.5)
    np.testing.assert_array_equal(out, 2.0)
