"""Batch fits, and what they begin from, by the name of the structure."""

import numpy as np

from fastgmm.data.sources.array import ArraySource
from fastgmm.em.degeneracy import regularization_for
from fastgmm.em.initialization.methods import initialize
from fastgmm.em.loop import fit_em
from fastgmm.mixture.structures import structure


def start_of(source, n_components, name, *, method="kmeans", reg_covar=1e-6, seed=0, labels=None):
    regularization = regularization_for(source, reg_covar, "auto")
    parameters, _ = initialize(
        source,
        n_components,
        structure(name),
        regularization,
        random_state=np.random.RandomState(seed),
        method=method,
        labels=labels,
    )
    return parameters, regularization


def fit(X, n_components, name, *, weights=None, start=None, regularization=None, **options):
    source = ArraySource(X, weights)
    if start is None:
        start, regularization = start_of(source, n_components, name)
    if regularization is None:
        regularization = regularization_for(source, 1e-6, "auto")
    return fit_em(source, start, structure(name), regularization, **options)
