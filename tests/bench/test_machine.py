from dataclasses import asdict

import numba
import numpy as np
import pytest

from fastgmm.bench import machine
from fastgmm.bench.machine import (
    Machine,
    Rates,
    best_seconds,
    last_level_cache_bytes,
    measure_machine,
)


@pytest.mark.skipif(numba.config.DISABLE_JIT, reason="the peak is that of compiled code")
def test_everything_is_measured(monkeypatch):
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    measured = measure_machine(seconds=0.002)
    rates = [rate for each in measured.rates.values() for rate in asdict(each).values()]
    assert min(*rates, measured.read_bandwidth, measured.triad_bandwidth) > 0
    assert measured.n_threads >= 1
    assert "OPENBLAS_CORETYPE=Haswell" in measured.blas_overrides


def test_better_of_two_measurements():
    slow, fast = Rates(1.0, 2.0, 256, 3.0, 4.0), Rates(2.0, 1.0, 512, 1.0, 5.0)
    first = Machine("p", "s", 2, 1.5, {"float64": slow}, 1.0, 9.0, (), (), {}, "omp")
    second = Machine("p", "s", 2, 0.0, {"float64": fast}, 2.0, 8.0, (), (), {}, "omp")
    better = first.best_of(second)
    assert better.rates["float64"] == Rates(2.0, 2.0, 512, 3.0, 5.0)
    assert (better.read_bandwidth, better.triad_bandwidth) == (2.0, 9.0)
    assert better.load == 1.5
    assert better.is_busy


def test_without_the_compiler_there_is_no_peak(monkeypatch):
    monkeypatch.setattr(numba.config, "DISABLE_JIT", 1)
    with pytest.raises(RuntimeError, match="NUMBA_DISABLE_JIT=1 is set: unset it"):
        measure_machine()


def test_cache_size_is_plausible():
    assert 1 << 20 <= last_level_cache_bytes() <= 1 << 34


def test_best_seconds_calls_once_unseen_and_once_at_least():
    calls = []
    assert best_seconds(lambda: calls.append(1), 0.0) >= 0
    assert len(calls) == 2


def test_bandwidth_kernels_read_and_write_everything():
    values = np.arange(2_048.0)
    assert machine._sum_slots(values).sum() == values.sum()
    out = np.zeros(100)
    machine._triad(out, np.ones(100), np.full(100, 2.0), 0.5)
    np.testing.assert_array_equal(out, 2.0)
