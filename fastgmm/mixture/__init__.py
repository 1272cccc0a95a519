"""A mixture as values: parameters, sufficient statistics, structures, priors, noise."""
