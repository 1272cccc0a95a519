"""The documentation does what it says: each ``>>>`` in it is run.

The examples run where their pages are made, in ``make docs``; here only what no page shows.
"""

import doctest
import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import fastgmm
import fastgmm.extend
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


@pytest.mark.filterwarnings("ignore::UserWarning:mlflow")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_page(page):
    results = doctest.testfile(str(page), module_relative=False, optionflags=OPTIONS)
    assert results.attempted
    assert not results.failed


@pytest.mark.parametrize("name", MODULES)
def test_docstrings(name):
    assert not doctest.testmod(importlib.import_module(name), optionflags=OPTIONS).failed


@pytest.mark.parametrize(
    "module", [fastgmm, fastgmm.extend, fastgmm.plotting], ids=lambda module: module.__name__
)
def test_the_reference_lists_every_public_name(module):
    listed, home = set(), ""
    for line in (ROOT / "docs" / "api.rst").read_text("utf-8").splitlines():
        home = line.removeprefix(".. currentmodule:: ") if "currentmodule" in line else home
        if line.startswith("   ") and home == module.__name__:
            listed.add(line.strip())
    modules = {name for name in module.__all__ if inspect.ismodule(getattr(module, name))}
    assert set(module.__all__) - modules - {"__version__"} <= listed


def test_the_reference_publishes_no_path_of_a_private_module():
    text = (ROOT / "docs" / "api.rst").read_text("utf-8")
    public = {f"fastgmm{each}" for each in ("", ".distances", ".extend", ".onnx", ".plotting")}
    assert set(re.findall(r"currentmodule:: (\S+)", text)) <= public
    assert {name.split(".")[0] for name in re.findall(r"^   (\S+\.\S+)$", text, re.M)} <= {
        "distances"
    }


def test_the_benchmarks_page_names_every_comparison():
    page = (ROOT / "docs" / "benchmarks.rst").read_text("utf-8")
    programs = {path.name for path in (ROOT / "asv_benchmarks" / "comparisons").glob("*.py")}
    assert "detection.py" in programs
    assert not {name for name in programs if f"comparisons/{name}``" not in page}


def test_every_path_that_contributing_names_is_there():
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    paths = set(re.findall(r"`((?:fastgmm|tests|docs|asv_benchmarks)/[\w/.]*)`", text))
    assert "fastgmm/em/loop.py" in paths
    assert not {path for path in paths if not (ROOT / path).exists()}
    for name, path in re.findall(r"`(_?[A-Z]{4,})`\s+in\s+`([\w/]+\.py)`", text):
        assert re.search(rf"^{name}\b", (ROOT / path).read_text("utf-8"), re.MULTILINE), name


def test_the_gallery_runs_every_example():
    examples = list((ROOT / "examples").glob("*.py"))
    assert len(examples) > 10
    assert all(path.name.startswith("plot_") for path in examples)


def test_the_photograph_leaves_images_and_a_model(tmp_path):
    program = ROOT / "examples" / "plot_photograph.py"
    process = subprocess.run(
        [sys.executable, "-W", "error", program, "--step", "8", "--output", tmp_path],
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    names = {"segmented.png", "side_by_side.jpg", "convergence.png", "model.fgm"}
    assert {path.name for path in tmp_path.iterdir()} == names
    assert fastgmm.load(tmp_path / "model.fgm").n_components == 8
    # Both libraries take the same number of passes and reach the same log-likelihood.
    lines = [line.split() for line in process.stdout.splitlines()]
    ours, theirs = (
        next(line for line in lines if line[0] == name) for name in ("fastgmm", "scikit-learn")
    )
    assert (ours[3], ours[-1]) == (theirs[3], theirs[-1])
