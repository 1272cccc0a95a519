import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"


@pytest.mark.slow
def test_every_micro_benchmark_runs():
    pytest.importorskip("pytest_benchmark")
    files = map(str, sorted(FOLDER.glob("bench_*.py")))
    finished = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--benchmark-disable", *files],
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
