"""The parts of the Bayesian mixture."""
