"""Benchmarks over the history of the package: ``make asv``, or ``asv run`` in the folder above."""
