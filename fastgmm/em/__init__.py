"""Expectation-maximization."""
