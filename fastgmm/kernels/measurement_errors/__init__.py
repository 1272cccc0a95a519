"""Rows whose errors are known: compiled functions on arrays."""
