"""Rows that lack values."""
