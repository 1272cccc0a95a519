"""Passes over the data."""
