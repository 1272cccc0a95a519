"""Gaussian mixtures as values: parameters, statistics, covariance structures, files."""
