"""Rows whose errors are known."""
