"""Benchmarks over the history of the package: ``make asv``, or ``asv run`` in the folder above."""

import sys
from pathlib import Path

# What the comparisons share is used here too, and asv looks for modules in this folder alone.
FOLDER = Path(__file__).parents[1]
sys.path[:0] = [str(FOLDER), str(FOLDER / "comparisons")]
