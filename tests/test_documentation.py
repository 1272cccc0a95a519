"""The documentation does what it says: each ``>>>`` in it is run."""

import doctest
import importlib
import inspect
import pkgutil
from pathlib import Path

import pytest

import fastgmm
import fastgmm.plotting

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    path for path in (ROOT / "docs").glob("**/*.rst") if ">>>" in path.read_text("utf-8")
)
MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(fastgmm.__path__, "fastgmm.")
    if not module.name.endswith("__main__")
)
OPTIONS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_page(page):
    results = doctest.testfile(str(page), module_relative=False, optionflags=OPTIONS)
    assert results.attempted
    assert not results.failed


@pytest.mark.parametrize("name", MODULES)
def test_docstrings(name):
    assert not doctest.testmod(importlib.import_module(name), optionflags=OPTIONS).failed


@pytest.mark.parametrize("module", [fastgmm, fastgmm.plotting], ids=lambda module: module.__name__)
def test_the_reference_lists_every_public_name(module):
    listed, home = set(), ""
    for line in (ROOT / "docs" / "api.rst").read_text("utf-8").splitlines():
        home = line.removeprefix(".. currentmodule:: ") if "currentmodule" in line else home
        if line.startswith("   ") and home == module.__name__:
            listed.add(line.strip())
    modules = {name for name in module.__all__ if inspect.ismodule(getattr(module, name))}
    assert set(module.__all__) - modules - {"__version__"} <= listed


def test_the_benchmarks_page_names_every_comparison():
    page = (ROOT / "docs" / "benchmarks.rst").read_text("utf-8")
    programs = {path.name for path in (ROOT / "asv_benchmarks" / "comparisons").glob("*.py")}
    assert "detection.py" in programs
    assert not {name for name in programs if f"comparisons/{name}``" not in page}
