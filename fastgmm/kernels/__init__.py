"""Numba kernels: functions on plain arrays, without validation and without Python objects."""
