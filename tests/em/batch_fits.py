"""Batch fits and their starts in a line each, for tests."""

from dataclasses import replace

import numpy as np

from fastgmm.data.sources.array import ArraySource
from fastgmm.em.degeneracy import regularization_for
from fastgmm.em.initialization import methods
from fastgmm.em.initialization.methods import GivenStart, InitSettings
from fastgmm.em.loop import Fit, Listeners, Starts, StartState, fit_best, run
from fastgmm.em.models.variational import VariationalProblem
from fastgmm.em.problem import EMProblem
from fastgmm.em.stopping import stopping_rule
from fastgmm.mixture.structures import structure


def initialize(
    source,
    n_components,
    kind,
    regularization,
    *,
    random_state=None,
    method="kmeans",
    labels=None,
    subsampled=False,
    known=None,
    prior=None,
    **given,
):
    """Return a start found from all rows of a source, and how."""
    if random_state is None:
        random_state = np.random.RandomState(0)
    problem = EMProblem(source, kind, regularization, prior)
    if known is not None:
        problem = replace(problem, source=known.source, known=known.labels)
    settings = InitSettings(random_state, method, labels, subsampled)
    return methods.initialize(problem, source, n_components, settings, GivenStart(**given))


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


def fit_problem(problem, start, *, tol=1e-3, max_iter=100, callback=None, observe=None, **starts):
    """Fit a problem from one start, or from where one stood."""
    if isinstance(start, StartState):
        steps = Fit(problem, start, stopping_rule(tol), max_iter)
        ((fitted, info),) = run([steps.steps(iterate=callback, **starts)])
        return fitted, info
    heard = None
    if observe is not None:

        def heard(state):
            if state.current is not None and state.current.trace:
                observe(state.current)

    begin = Starts(lambda _number: (start, None), **starts)
    listeners = Listeners(iterate=callback, observe=heard)
    return fit_best(problem, begin, stopping_rule(tol), max_iter, listeners)


def fit_em(
    source,
    start,
    kind,
    regularization,
    *,
    prior=None,
    noise=None,
    known=None,
    n_jobs=None,
    **options,
):
    """Fit a mixture by EM from one start."""
    problem = EMProblem(source, kind, regularization, prior, noise, known, n_jobs)
    return fit_problem(problem, start, **options)


def fit_variational(source, start, kind, regularization, *, n_jobs=None, **options):
    """Fit a mixture by variational Bayes from one start."""
    return fit_problem(VariationalProblem(source, kind, regularization, n_jobs), start, **options)


def em_step(source, parameters, kind, regularization):
    """Return the parameters after one step of EM, and what the pass found."""
    problem = EMProblem(source, kind, regularization)
    statistics = problem.e_step(parameters)
    return problem.m_step(statistics, parameters), statistics


def fit(X, n_components, name, *, weights=None, start=None, regularization=None, **options):
    source = ArraySource(X, weights)
    if start is None:
        start, regularization = start_of(source, n_components, name)
    if regularization is None:
        regularization = regularization_for(source, 1e-6, "auto")
    return fit_em(source, start, structure(name), regularization, **options)
