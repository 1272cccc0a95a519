"""EM of the fourteen structures, from the same starts as mclust's."""

import numpy as np
import pytest

from fastgmm.data.sources.array import ArraySource
from fastgmm.em.e_step.passes import labeled_statistics
from fastgmm.mixture.regularization import IllDefinedCovarianceError, Regularization
from fastgmm.mixture.structures import structure
from tests.em.batch_fits import fit_em
from tests.parsimonious import reference_values, rows

ELSEWHERE = [("iris", 5, "VVE"), ("diabetes", 5, "VVE")]
"""Where the exact M-step leads to another optimum than mclust's, which stops short."""


def climb(source, start, name, enough=np.inf):
    """Fit until EM rests, or until the log-likelihood of all rows is enough."""
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
    problem, n_components = case["problem"], case["n_components"]
    X, labels = rows(problem, n_components)
    source = ArraySource(X)
    for name, theirs in case["values"].items():
        kind = structure(name)
        statistics = labeled_statistics(source, labels, n_components, diagonal=kind.is_diagonal)
        try:
            start = kind.solve(statistics, Regularization.none(source.n_features))
            enough = np.inf if theirs is None else theirs - 5e-7
            if (problem, n_components, name) in ELSEWHERE:
                continue
            parameters, info = climb(source, start, name, enough)
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
    _, info = climb(ArraySource(X), start, end["model"])
    fits = reference_values()["fits"]
    theirs = next(
        fit["values"][end["model"]]
        for fit in fits
        if (fit["problem"], fit["n_components"]) == (case["problem"], K)
    )
    assert info.trace[0] * len(X) == pytest.approx(theirs, abs=1e-5)
    assert info.trace[-1] * len(X) > theirs - 1e-6
