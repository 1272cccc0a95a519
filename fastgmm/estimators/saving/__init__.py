"""Estimators to files and back, and checkpoints."""
