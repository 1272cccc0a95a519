"""Each example runs as a program of its own, without a warning."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import fastgmm

EXAMPLES = Path(__file__).parents[1] / "examples"


def run(name, *arguments):
    return subprocess.run(
        [sys.executable, "-W", "error", EXAMPLES / name, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "MPLBACKEND": "agg"},
    )


@pytest.mark.parametrize(
    "name",
    [
        "plot_classification.py",
        "plot_displays.py",
        "plot_flights.py",
        "plot_missing_values.py",
        "plot_outliers.py",
        "plot_own_structure.py",
        "plot_regression.py",
        "plot_stream.py",
        "plot_variational.py",
        "plot_wine.py",
    ],
)
def test_runs(name):
    process = run(name)
    assert process.returncode == 0, process.stderr


def test_photograph_leaves_pictures_and_a_model(tmp_path):
    process = run("plot_photograph.py", "--step", 8, "--output", tmp_path)
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


def test_every_example_is_tested():
    tested = {
        "plot_classification.py",
        "plot_displays.py",
        "plot_flights.py",
        "plot_missing_values.py",
        "plot_outliers.py",
        "plot_own_structure.py",
        "plot_photograph.py",
        "plot_regression.py",
        "plot_stream.py",
        "plot_variational.py",
        "plot_wine.py",
    }
    assert {path.name for path in EXAMPLES.glob("*.py")} == tested
