"""What a report of a problem should hold."""

import fastgmm
from fastgmm.versions import blas_kernels, package_versions, processor_name


def test_versions_and_the_machine_are_printed(capsys):
    fastgmm.show_versions()
    found = dict(line.split(": ", 1) for line in capsys.readouterr().out.splitlines())
    assert found["fastgmm"] == fastgmm.__version__
    assert found["processor"] == processor_name()
    assert int(found["threads"]) >= 1
    assert {"python", "numpy", "scikit-learn", "numba", "threading layer", "BLAS"} <= set(found)


def test_what_is_not_installed_is_left_out(monkeypatch):
    monkeypatch.setattr("fastgmm.versions._PACKAGES", ("numpy", "no-such-package"))
    assert set(package_versions()) == {"python", "numpy"}


def test_the_processor_has_a_name_where_the_system_has_no_list(monkeypatch, tmp_path):
    monkeypatch.setattr("fastgmm.versions._CPU_INFO", tmp_path / "none")
    assert processor_name()
    assert all(isinstance(name, str) for name in blas_kernels())
