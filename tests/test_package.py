"""The package as it is imported."""

import importlib.metadata
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import fastgmm


def run(code):
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout


def test_everything_public_is_there():
    assert dir(fastgmm) == sorted(fastgmm.__all__)
    for name in fastgmm.__all__:
        assert getattr(fastgmm, name) is not None


@pytest.mark.parametrize("name", ["distances", "plotting"])
def test_public_modules_are_there_after_the_import(name):
    assert run(f"import fastgmm; print(fastgmm.{name}.__name__)") == f"fastgmm.{name}\n"
    light = "import sys, fastgmm; print('numpy' in sys.modules)"
    assert run(light) == "False\n"


def test_the_version_is_that_of_the_installed_package():
    assert fastgmm.__version__ == importlib.metadata.version("fastgmm")


def test_other_names_are_errors():
    with pytest.raises(AttributeError, match="module 'fastgmm' has no attribute 'Mixture'"):
        fastgmm.Mixture  # noqa: B018


def test_the_import_is_light():
    heavy = [
        "numpy",
        "scipy",
        "sklearn",
        "numba",
        "matplotlib",
        "pandas",
        "pyarrow",
        "rich",
        "typer",
    ]
    shown = run(
        "import sys, fastgmm, fastgmm as again; "
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    assert shown.strip() == "[]"


def test_the_estimator_loads_nothing_for_tables_plots_or_terminals():
    unneeded = ["matplotlib", "pandas", "polars", "pyarrow", "rich", "typer", "dask"]
    shown = run(
        "import sys, sklearn.mixture; before = set(sys.modules); "
        "from fastgmm import GaussianMixture; "
        f"print([name for name in {unneeded} if name in sys.modules and name not in before])"
    )
    assert shown.strip() == "[]"


def test_every_extra_that_a_message_names_can_be_installed():
    root = Path(fastgmm.__file__).parent
    project = tomllib.loads((root.parent / "pyproject.toml").read_text())["project"]
    named = {
        extra
        for path in root.rglob("*.py")
        for extra in re.findall(r'extra="(\w+)"', path.read_text())
    }
    assert named >= {"frames", "parquet", "plot"}
    assert named <= project["optional-dependencies"].keys()
