"""What a program loads: only what it uses."""

import json
import subprocess
import sys

import pytest

HEAVY = {
    "fastgmm.bench",
    "fastgmm.cli",
    "matplotlib",
    "numba",
    "pandas",
    "PIL",
    "polars",
    "pyarrow",
    "rich",
    "scipy",
    "sklearn",
    "typer",
}


def loaded(statement):
    """Return the modules that are loaded after a statement in a new process."""
    code = f"{statement}\nimport json, sys\nprint(json.dumps(list(sys.modules)))"
    process = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    return set(json.loads(process.stdout))


def test_package_loads_nothing_heavy():
    assert not loaded("import fastgmm") & HEAVY


def test_estimators_load_neither_faces_nor_formats():
    # What scikit-learn itself loads, such as an installed pandas, is not ours to judge.
    extra = loaded("from fastgmm import GaussianMixture, KMeans") - loaded("import sklearn.mixture")
    assert "numba" in extra
    assert not extra & (HEAVY - {"numba"})


def test_plotting_loads_matplotlib_only_to_draw():
    assert "matplotlib" not in loaded("import fastgmm.plotting")


HELP = """
import contextlib, io
from fastgmm.cli.application import run
with contextlib.redirect_stdout(io.StringIO()):
    assert run({arguments}) == 0
"""


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["fit", "--help"]])
def test_help_loads_no_library(arguments):
    modules = loaded(HELP.format(arguments=arguments))
    assert not modules & (HEAVY - {"fastgmm.cli", "rich", "typer"})
