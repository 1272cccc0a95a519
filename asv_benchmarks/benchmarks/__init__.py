"""Benchmarks over the history of the package: ``make asv``, or ``asv run`` in the folder above."""

import sys
from pathlib import Path

# The comparisons make some of the data, and asv looks for modules in this folder alone.
sys.path.insert(0, str(Path(__file__).parents[1]))
