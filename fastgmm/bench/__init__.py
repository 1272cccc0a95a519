"""Benchmarks on the user's own machine: ``fastgmm bench``.

Every figure is measured beside its anchor in the same run: the arithmetic peak and the memory
bandwidth of the machine, and the same passes from the same start by every peer that is installed.
"""
