"""The package as it is imported: what it offers and loads, and what it says of itself."""

import ast
import importlib.metadata
import json
import re
import subprocess
import sys
import tomllib
from graphlib import TopologicalSorter
from pathlib import Path

import numpy as np
import pytest

import fastgmm
from fastgmm.versions import blas_kernels, package_versions, processor_name

ROOT = Path(__file__).parents[1]
HEAVY = {
    *("fastgmm.bench", "fastgmm.cli", "matplotlib", "numba", "pandas", "PIL", "polars", "pyarrow"),
    *("rich", "scipy", "sklearn", "typer", "dask"),
}
HELP = """
import contextlib, io
from fastgmm.cli.application import run
with contextlib.redirect_stdout(io.StringIO()):
    assert run({arguments}) == 0
"""


def loaded(statement):
    """Return the modules that are loaded after a statement in a new process."""
    code = f"{statement}\nimport json, sys\nprint(json.dumps(list(sys.modules)))"
    process = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    return set(json.loads(process.stdout))


def test_everything_public_is_there():
    assert dir(fastgmm) == sorted(fastgmm.__all__)
    for name in fastgmm.__all__:
        assert getattr(fastgmm, name) is not None


@pytest.mark.parametrize("name", ["distances", "onnx", "plotting"])
def test_public_modules_are_there_after_the_import(name):
    assert f"fastgmm.{name}" in loaded(f"import fastgmm; fastgmm.{name}.__name__")


def test_the_version_is_that_of_the_installed_package():
    assert fastgmm.__version__ == importlib.metadata.version("fastgmm")


def test_other_names_are_errors():
    with pytest.raises(AttributeError, match="module 'fastgmm' has no attribute 'Mixture'"):
        fastgmm.Mixture  # noqa: B018


def test_the_import_loads_nothing_heavy():
    assert not loaded("import fastgmm, fastgmm as again") & (HEAVY | {"numpy"})


def test_estimators_load_nothing_for_tables_plots_or_terminals():
    # What scikit-learn itself loads, such as an installed pandas, is not ours to judge.
    extra = loaded("from fastgmm import GaussianMixture, KMeans") - loaded("import sklearn.mixture")
    assert "numba" in extra
    assert not extra & (HEAVY - {"numba"})


def test_plotting_loads_matplotlib_only_to_draw():
    assert "matplotlib" not in loaded("import fastgmm.plotting")


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["fit", "--help"]])
def test_help_loads_no_library(arguments):
    modules = loaded(HELP.format(arguments=arguments))
    assert not modules & (HEAVY - {"fastgmm.cli", "rich", "typer"})


def test_every_extra_that_a_message_names_can_be_installed():
    root = Path(fastgmm.__file__).parent
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = {
        extra
        for path in root.rglob("*.py")
        for extra in re.findall(r'extra="(\w+)"', path.read_text())
    }
    assert named >= {"frames", "parquet", "plot"}
    assert named <= project["optional-dependencies"].keys()


def test_versions_and_the_machine_are_printed(capsys):
    fastgmm.show_versions()
    found = dict(line.split(": ", 1) for line in capsys.readouterr().out.splitlines())
    assert found["fastgmm"] == fastgmm.__version__
    assert found["processor"] == processor_name()
    assert int(found["threads"]) >= 1
    assert {"python", "numpy", "scikit-learn", "numba", "threading layer", "BLAS"} <= set(found)


def test_packages_that_are_not_installed_have_no_version(monkeypatch):
    monkeypatch.setattr("fastgmm.versions._PACKAGES", ("numpy", "no-such-package"))
    assert set(package_versions()) == {"python", "numpy"}


def test_the_processor_has_a_name_where_the_system_has_no_list(monkeypatch, tmp_path):
    monkeypatch.setattr("fastgmm.versions._CPU_INFO", tmp_path / "none")
    assert processor_name()
    assert all(isinstance(name, str) for name in blas_kernels())


def imports(tree):
    """Yield what code imports, inside functions too, but not for type checkers alone."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import):
            yield from ((each.name, each.name) for each in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.module, f"{node.module}.{each.name}") for each in node.names)
        yield from imports(node)


def test_imports_go_in_no_circle():
    root = Path(fastgmm.__file__).parent
    trees = {}
    for path in root.rglob("*.py"):
        name = ".".join(path.relative_to(root.parent).with_suffix("").parts)
        trees[name.removesuffix(".__init__")] = ast.parse(path.read_text())
    graph = {
        name: {part if part in trees else module for module, part in imports(tree)} & trees.keys()
        for name, tree in trees.items()
    }
    assert graph["fastgmm.estimators.gaussian_mixture"]
    TopologicalSorter(graph).prepare()  # which raises where there is a circle, and shows it


def test_folders_hold_few_files():
    sizes = {
        folder: len(list(folder.glob("*.py")))
        for folder in Path(fastgmm.__file__).parent.rglob("*")
        if folder.is_dir()
    }
    assert max(sizes.values()) <= 20, max(sizes, key=sizes.__getitem__)


def test_a_fit_reaches_the_kernels_in_ten_frames():
    """Those of ours and of scikit-learn from `fit` to what runs a kernel, on rows in memory."""
    X = np.random.default_rng(0).normal(size=(200, 2))
    mixture = fastgmm.GaussianMixture(2, random_state=0).fit(X)
    depths = []

    def watch(frame, event, _arg):
        if event != "call" or frame.f_code.co_name != "run_slots":
            return
        names = []
        while frame is not None and frame.f_code.co_name != watched.__name__:
            names.append(frame.f_code.co_name)
            frame = frame.f_back
        if "mixture_statistics" in names and "e_step" in names:
            depths.append(len(names))

    def watched():
        mixture.fit(X)

    before = sys.getprofile()
    sys.setprofile(watch)
    try:
        watched()
    finally:
        sys.setprofile(before)
    assert depths
    assert max(depths) <= 10
