"""Passes of other kinds than that of all components of a Gaussian mixture."""
