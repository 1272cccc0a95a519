"""Passes under models whose components are not Gaussian."""
