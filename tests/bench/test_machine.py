import numba
import pytest

from fastgmm.bench.machine import Machine, Peak, measure_machine


@pytest.mark.skipif(numba.config.DISABLE_JIT, reason="the peak is that of compiled code")
def test_everything_is_measured():
    measured = measure_machine(seconds=0.002)
    assert set(measured.peaks) == {"float64", "float32"}
    for peak in measured.peaks.values():
        assert min(peak.one_thread, peak.all_threads) > 0
        assert peak.vector_bits in (128, 256, 512)
    assert measured.n_threads == numba.get_num_threads()
    assert measured.threading_layer in ("omp", "tbb", "workqueue")
    assert "numpy" in measured.versions


def test_better_of_two_measurements():
    first = Machine("p", "s", 2, 1.5, {"float64": Peak(1.0, 2.0, 256)}, (), {}, "omp")
    second = Machine("p", "s", 2, 0.0, {"float64": Peak(2.0, 1.0, 512)}, (), {}, "omp")
    better = first.best_of(second)
    assert better.peaks == {"float64": Peak(2.0, 2.0, 512)}
    assert better.load == 1.5
    assert better.is_busy


def test_without_the_compiler_there_is_no_peak(monkeypatch):
    monkeypatch.setattr(numba.config, "DISABLE_JIT", 1)
    with pytest.raises(RuntimeError, match="NUMBA_DISABLE_JIT=1 is set: unset it"):
        measure_machine()
