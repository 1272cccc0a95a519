"""Priors of parameters, of weights, and the posterior of variational Bayes."""
