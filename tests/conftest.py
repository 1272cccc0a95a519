"""The surroundings of every test: an empty numba cache and no display.

This runs before any test module imports numba or matplotlib, which read these variables once.
"""

import atexit
import os
import shutil
import signal
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings

if not os.environ.get("NUMBA_CACHE_DIR"):
    # numba does not notice a change in a function of another file, so an old cache may be stale.
    # Child processes inherit the folder and need not compile again.
    os.environ["NUMBA_CACHE_DIR"] = tempfile.mkdtemp(prefix="fastgmm-numba-")
    atexit.register(shutil.rmtree, os.environ["NUMBA_CACHE_DIR"], ignore_errors=True)

os.environ["MPLBACKEND"] = "agg"

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    # A shell script starts commands in the background like this: tests of Ctrl-C would never end.
    signal.signal(signal.SIGINT, signal.default_int_handler)

# The same examples in each run, however long they take: a machine may be busy, or compile.
settings.register_profile(
    "fastgmm", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("fastgmm")

LAYERS = ("kernels", "mixture", "data", "em", "analysis", "io", "estimators")
"""Folders of tests of the package's layers; their names are markers."""

SLOW = ("bench", "cli", "comparisons", "test_documentation", "test_warmup")
"""Folders and beginnings of files whose tests start processes or take long."""

LONG = {"test_the_log_likelihood_never_falls", "test_em_ends_no_lower_than_mclusts"}
"""Tests of every structure on every problem, which take half the time of their layer."""


def pytest_collection_modifyitems(items):
    """Mark tests by their folder, and those that are slow."""
    for item in items:
        path = item.path.relative_to(Path(__file__).parent)
        if path.parts[0] in LAYERS:
            item.add_marker(path.parts[0])
        if path.parts[0] in SLOW or path.name.startswith(SLOW) or item.originalname in LONG:
            item.add_marker("slow")
