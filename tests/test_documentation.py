"""The documentation does what it says: each ``>>>`` in it is run."""

import doctest
import importlib
import pkgutil
from pathlib import Path

import pytest

import fastgmm

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
