"""Schedules of passes and solves: starts, expectation-maximisation, k-means."""
