"""EM against the oracle and mclust, and a log-likelihood that never falls."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from fastgmm.data.sources.array import ArraySource
from fastgmm.em import problem as em_problem
from fastgmm.em.e_step.passes import labeled_statistics, log_likelihood, mixture_statistics
from fastgmm.em.initialization.methods import INIT_METHODS
from fastgmm.em.problem import ROUNDING
from fastgmm.mixture.regularization import IllDefinedCovarianceError, Regularization
from fastgmm.mixture.structures import structure
from tests import oracle
from tests.em.batch_fits import em_step, fit, fit_em, start_of
from tests.parsimonious import reference_values, rows
from tests.problems import PROBLEMS, problem
from tests.structures import covariances_of, every_structure

ELSEWHERE = [("iris", 5, "VVE"), ("diabetes", 5, "VVE")]
"""Where the exact M-step leads to another optimum than mclust's, which stops short."""

every_problem = pytest.mark.parametrize("hard", PROBLEMS, ids=str)


@every_structure
@pytest.mark.parametrize("weighted", [False, True])
def test_steps_are_those_of_the_oracle(name, weighted):
    hard = problem("weighted" if weighted else "overlapping")
    source = ArraySource(hard.X, hard.sample_weight)
    parameters, _ = start_of(source, 3, name)
    regularization = Regularization(np.array([1e-3, 0.0, 1e-6]), np.zeros(3, dtype=bool))
    expected, trace = oracle.em(
        hard.X,
        parameters.weights,
        parameters.means,
        covariances_of(name, parameters),
        name,
        5,
        regularization.amounts,
        hard.sample_weight,
    )
    for value in trace:
        parameters, statistics = em_step(source, parameters, structure(name), regularization)
        assert statistics.mean_log_likelihood == pytest.approx(value, rel=1e-12)
    assert_allclose(parameters.weights, expected[0], rtol=1e-10)
    assert_allclose(parameters.means, expected[1], rtol=1e-9, atol=1e-11)
    assert_allclose(covariances_of(name, parameters), expected[2], rtol=1e-9, atol=1e-11)


@every_problem
@every_structure
def test_the_log_likelihood_never_falls(hard, name):
    source = ArraySource(hard.X, hard.sample_weight)
    for method in INIT_METHODS:
        start, regularization = start_of(source, hard.n_components, name, method=method)
        parameters, info = fit_em(
            source, start, structure(name), regularization, tol=0.0, max_iter=60
        )
        trace = np.array(info.trace)
        slack = ROUNDING[hard.X.dtype.itemsize] * (1.0 + np.abs(trace[:-1]))
        assert np.isfinite(trace).all()
        assert (np.diff(trace) >= -slack).all(), method
        assert len(trace) == info.n_iter + 1
        final = log_likelihood(source, parameters) / source.total_weight
        assert info.trace[-1] == pytest.approx(final, rel=1e-12)
        assert np.isfinite(parameters.means).all()
        assert np.isfinite(parameters.whiteners).all()
        assert parameters.weights.sum() == pytest.approx(1.0)


def test_without_regularization_the_trace_rises_by_itself():
    hard = problem("overlapping")
    source = ArraySource(hard.X)
    start, _ = start_of(source, 3, "full")
    _, info = fit_em(
        source, start, structure("full"), Regularization.none(3), tol=0.0, max_iter=200
    )
    assert info.reason == "max_iter"
    assert info.n_passes == info.n_iter + 1  # no step had to be taken again
    assert np.diff(info.trace).min() > -1e-13


def test_a_step_that_the_regularization_makes_worse_is_taken_again():
    # The narrow group grows by less than the regularization from one step to the next.
    rng = np.random.default_rng(0)
    X = np.concatenate([1e-3 * rng.normal(size=200), rng.normal(size=200)])[:, None]
    source = ArraySource(X)
    start = structure("full").from_covariances(
        np.array([0.5, 0.5]), np.zeros((2, 1)), np.array([[[1e-4]], [[1.0]]])
    )
    regularization = Regularization(np.array([1e-4]), np.array([False]))
    _, info = fit_em(source, start, structure("full"), regularization, tol=0.0, max_iter=100)
    assert info.n_passes > info.n_iter + 1
    assert np.diff(info.trace).min() >= -1e-10
    theirs = oracle.em(
        X, start.weights, start.means, start.covariances(), "full", 100, regularization.amounts
    )[1]
    assert np.diff(theirs).min() < -1e-8  # which plain EM does not avoid
    assert info.trace[-1] > theirs[-1]


def test_a_fall_that_holding_does_not_mend_ends_the_fit_one_step_back(monkeypatch):
    X = problem("overlapping").X
    start, _ = start_of(ArraySource(X), 3, "full")
    two_steps, before = fit(X, 3, "full", start=start, tol=0, max_iter=2)
    monkeypatch.setattr(em_problem, "log_likelihood", lambda *_, **__: -1e9)
    parameters, info = fit(X, 3, "full", start=start, tol=0, max_iter=3)
    assert (info.reason, info.converged, info.n_iter) == ("rounding", True, 2)
    assert info.n_passes == 5  # four, and the last once more with covariances held
    assert info.trace == pytest.approx(before.trace, rel=1e-14)
    assert_array_equal(parameters.means, two_steps.means)


def test_rounding_in_a_pass_ends_the_fit_one_step_back(monkeypatch):
    X = problem("overlapping").X
    start, _ = start_of(ArraySource(X), 3, "full")
    two_steps, _ = fit(X, 3, "full", start=start, tol=0, max_iter=2)
    calls = []

    def spoilt(*args, **options):
        statistics = mixture_statistics(*args, **options)
        calls.append(None)
        return statistics if len(calls) <= 3 else replace(statistics, log_likelihood=-1e9)

    monkeypatch.setattr(em_problem, "mixture_statistics", spoilt)
    parameters, info = fit(X, 3, "full", start=start, tol=0, max_iter=30)
    assert (info.reason, info.converged, info.n_iter, info.n_passes) == ("rounding", True, 2, 5)
    assert_array_equal(parameters.means, two_steps.means)


def fit_without_regularization(source, start, name, enough=np.inf):
    """Fit until EM has converged, or until the log-likelihood of all rows is enough."""
    none = Regularization.none(source.n_features)
    return fit_em(
        source,
        start,
        structure(name),
        none,
        tol=1e-12,
        max_iter=8000,
        callback=lambda progress: progress.log_likelihood * source.n_samples > enough,
    )


@pytest.mark.parametrize(
    "case", reference_values()["fits"], ids=lambda case: f"{case['problem']}-{case['n_components']}"
)
def test_em_ends_no_lower_than_mclusts(case):
    name_of_data, n_components = case["problem"], case["n_components"]
    X, labels = rows(name_of_data, n_components)
    source = ArraySource(X)
    for name, theirs in case["values"].items():
        kind = structure(name)
        statistics = labeled_statistics(source, labels, n_components, diagonal=kind.is_diagonal)
        try:
            start = kind.solve(statistics, Regularization.none(source.n_features))
            enough = np.inf if theirs is None else theirs - 5e-7
            if (name_of_data, n_components, name) in ELSEWHERE:
                continue
            parameters, info = fit_without_regularization(source, start, name, enough)
        except IllDefinedCovarianceError:
            assert theirs is None, name  # mclust finds none either
            continue
        assert np.diff(info.trace, prepend=-np.inf).min() > -1e-12, name
        if theirs is not None:
            assert info.trace[-1] * len(X) > theirs - 1e-6, name
        near = kind.nearest(parameters).covariances()
        assert np.abs(near / parameters.covariances() - 1.0).max() < 1e-5, name


@pytest.mark.parametrize("case", reference_values()["ends"], ids=lambda case: case["problem"])
def test_em_from_where_mclust_ends_stays_there_or_rises(case):
    X, _ = rows(case["problem"], case["n_components"])
    K, D = case["n_components"], X.shape[1]
    end = case["values"]
    assert (case["problem"], K, end["model"]) in ELSEWHERE
    start = structure(end["model"]).from_covariances(
        np.array(end["weights"]),
        np.array(end["means"]).reshape(K, D),
        np.array(end["covariances"]).reshape(K, D, D),
    )
    _, info = fit_without_regularization(ArraySource(X), start, end["model"])
    fits = reference_values()["fits"]
    theirs = next(
        fit["values"][end["model"]]
        for fit in fits
        if (fit["problem"], fit["n_components"]) == (case["problem"], K)
    )
    assert info.trace[0] * len(X) == pytest.approx(theirs, abs=1e-5)
    assert info.trace[-1] * len(X) > theirs - 1e-6
