"""The documentation does what it says: each ``>>>`` in it is run.

The examples run where their pages are made, in ``make docs``; here only what no page shows.
"""

import doctest
import importlib
import inspect
import json
import pkgutil
import re
import shlex
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from unittest.mock import Mock

import benchmark_tables
import gallery_checks
import internal_links
import pytest
from docutils import nodes
from matplotlib import pyplot
from sphinx.errors import ExtensionError

import fastgmm
import fastgmm.distances
import fastgmm.extend
import fastgmm.onnx
import fastgmm.plotting
from fastgmm.bench.report import duration

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    path for path in (ROOT / "docs").glob("**/*.rst") if ">>>" in path.read_text("utf-8")
)
MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(fastgmm.__path__, "fastgmm.")
    if not module.name.endswith("__main__")
)
PUBLIC = (fastgmm, fastgmm.distances, fastgmm.extend, fastgmm.onnx, fastgmm.plotting)
REFERENCE = sorted((ROOT / "docs" / "api").glob("*.rst"))
OPTIONS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS


@pytest.mark.filterwarnings("ignore::UserWarning:mlflow")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_page(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # some write files
    results = doctest.testfile(str(page), module_relative=False, optionflags=OPTIONS)
    assert results.attempted
    assert not results.failed


def test_the_commands_of_getting_started_follow_from_its_python(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page = ROOT / "docs" / "getting_started.rst"
    assert not doctest.testfile(str(page), module_relative=False, optionflags=OPTIONS).failed
    commands = re.findall(r"^\.\. command-output:: fastgmm (.*)$", page.read_text("utf-8"), re.M)
    assert len(commands) > 3
    for command in commands:
        process = subprocess.run(
            [sys.executable, "-m", "fastgmm", *shlex.split(command)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert process.returncode == 0, process.stderr
    made = {path.name for path in tmp_path.iterdir()}
    assert made == {
        "flowers.csv",
        "flowers.fgm",
        "iris.fgm",
        "iris.png",
        "labels.csv",
        "petals.png",
    }


@pytest.mark.parametrize("name", MODULES)
def test_docstrings(name):
    assert not doctest.testmod(importlib.import_module(name), optionflags=OPTIONS).failed


@pytest.mark.parametrize("module", PUBLIC, ids=lambda module: module.__name__)
def test_the_reference_lists_every_public_name(module):
    modules = {name for name in module.__all__ if inspect.ismodule(getattr(module, name))}
    assert _names_in_the_reference(module.__name__) == {*module.__all__} - modules - {"__version__"}


def test_the_reference_publishes_no_path_of_a_private_module():
    text = "".join(page.read_text("utf-8") for page in REFERENCE)
    assert set(re.findall(r"currentmodule:: (\S+)", text)) == {each.__name__ for each in PUBLIC}


def _names_in_the_reference(module):
    listed = []
    for page in REFERENCE:
        home = ""
        for line in page.read_text("utf-8").splitlines():
            home = line.removeprefix(".. currentmodule:: ") if "currentmodule" in line else home
            if re.fullmatch(r"   \w+", line) and home == module:
                listed.append(line.strip())
    assert len(listed) == len(set(listed))
    return set(listed)


def test_the_benchmarks_page_names_every_comparison():
    page = (ROOT / "docs" / "benchmarks.rst").read_text("utf-8")
    programs = {path.name for path in (ROOT / "asv_benchmarks" / "comparisons").glob("*.py")}
    assert "detection.py" in programs
    assert not {name for name in programs if f"``{name}``" not in page}


def test_the_benchmarks_page_shows_every_result_with_its_machine():
    machine, rows = benchmark_tables.load_results()
    page = (ROOT / "docs" / "benchmarks.rst").read_text("utf-8")
    shown = []
    for name in re.findall(r"^\.\. benchmark-table:: (\w+)$", page, re.M):
        (table,) = directive(benchmark_tables.BenchmarkTable, name)
        shown += [entry.astext() for entry in table.findall(nodes.entry)]
    for row in rows:
        if row["case"]["overlap"] == "overlapping" and row["competitors"]["fastgmm"]["seconds"]:
            assert duration(row["competitors"]["fastgmm"]["seconds"]) in shown
    (fields,) = directive(benchmark_tables.BenchmarkMachine)
    for text in (machine["processor"], f"numba {machine['versions']['numba']}"):
        assert text in fields.astext()


def directive(kind, *arguments):
    return kind("", list(arguments), {}, [], 0, 0, "", Mock(), Mock()).run()


def test_results_that_differ_have_no_ratio():
    _, rows = benchmark_tables.load_results()
    row = next(row for row in rows if "oneDAL" in row["competitors"])
    row["competitors"]["oneDAL"]["ratio"] = None
    assert "results differ" in benchmark_tables._line(row)


def test_results_of_several_machines_are_refused(tmp_path):
    machine = {"processor": "one", "n_threads": 2, "versions": {}}
    (tmp_path / "a.json").write_text(json.dumps({"machine": machine}))
    (tmp_path / "b.json").write_text(json.dumps({"machine": {**machine, "n_threads": 4}}))
    with pytest.raises(ExtensionError, match=r"of 2 machines .*make benchmark-results"):
        benchmark_tables.load_results(tmp_path)


def test_every_path_that_contributing_names_is_there():
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    paths = set(re.findall(r"`((?:fastgmm|tests|docs|asv_benchmarks)/[\w/.]*)`", text))
    assert "fastgmm/em/loop.py" in paths
    installed = Path(fastgmm.__file__).parents[1]  # where the package may be without the rest
    places = {path: (installed if path.startswith("fastgmm/") else ROOT) / path for path in paths}
    assert not {path for path in paths if not places[path].exists()}
    for name, path in re.findall(r"`(_?[A-Z]{4,})`\s+in\s+`([\w/]+\.py)`", text):
        assert re.search(rf"^{name}\b", places[path].read_text("utf-8"), re.MULTILINE), name


def test_the_gallery_runs_every_example():
    examples = list((ROOT / "examples").glob("*.py"))
    assert len(examples) > 10
    assert all(path.name.startswith("plot_") for path in examples)


def test_empty_axes_end_the_build_of_the_gallery():
    block = ("code", "", 7), {"src_file": "plot_it.py"}, {}
    _, (drawn, _) = pyplot.subplots(1, 2)
    drawn.plot([0, 1])
    try:
        with pytest.raises(ExtensionError, match=r"plot_it\.py, line 7: a figure has empty axes"):
            gallery_checks.save_figures(*block)
    finally:
        pyplot.close("all")


@pytest.mark.parametrize(
    ("shown", "is_refused"),
    [
        ("<matplotlib.legend.Legend object at 0x7f1c>", True),
        ("<function fit at 0x7f1c>", True),
        (":ref:`sphx_glr_download <sphx_glr_download_gallery_plot_it.py>`", False),
    ],
)
def test_objects_end_the_build_of_the_gallery(shown, is_refused):
    gallery_checks.refuse_objects(None, "cli", [shown])
    with pytest.raises(ExtensionError) if is_refused else nullcontext():
        gallery_checks.refuse_objects(None, "gallery/plot_it", [f"text\n {shown} text"])


def test_links_that_lead_nowhere_are_found(tmp_path):
    (tmp_path / "a.html").write_text(
        '<h1 id="here"></h1><a href="#here"></a><a href="b.html#there"></a>'
        '<a href="b.html#gone"></a><a href="c.html"></a><a href="https://example.org/c"></a>'
    )
    (tmp_path / "b.html").write_text('<h1 id="there"></h1><img src="gone.png">')
    assert sorted(internal_links.broken_links(tmp_path)) == [
        "a.html: b.html#gone",
        "a.html: c.html",
        "b.html: gone.png",
    ]


def test_the_photograph_leaves_images_and_a_model(tmp_path):
    program = ROOT / "examples" / "plot_photograph.py"
    process = subprocess.run(
        [sys.executable, "-W", "error", program, "--step=8", "--thin=1", "--output", tmp_path],
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
