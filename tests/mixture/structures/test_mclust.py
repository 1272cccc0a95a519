"""Each structure's M-step and counts of parameters beside mclust's."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from fastgmm.mixture.regularization import Regularization
from fastgmm.mixture.statistics import SufficientStatistics
from fastgmm.mixture.structures import structure
from tests import oracle
from tests.parsimonious import reference_values, responsibilities, rows

ITERATIVE = ("VEI", "VEE", "VEV", "EVE", "VVE")


def cases(kind):
    return pytest.mark.parametrize(
        "case",
        reference_values()[kind],
        ids=lambda case: f"{case.get('problem', case.get('n_features'))}-{case['n_components']}",
    )


@cases("parameters")
def test_numbers_of_parameters(case):
    size = case["n_components"], case["n_features"]
    for name, expected in case["values"].items():
        assert structure(name).n_parameters(*size) == expected, name


@cases("m_steps")
def test_m_steps_of_given_responsibilities(case):
    X, labels = rows(case["problem"], case["n_components"])
    shares = responsibilities(labels, case["n_components"])
    reference = np.repeat(X.mean(axis=0)[None], shares.shape[1], axis=0)
    moments = oracle.moments(X, shares, reference)
    statistics = SufficientStatistics(reference, *moments, np.nan, float(len(X)))
    weights, _, observed = oracle.m_step(X, shares, "full")
    directions = np.arange(1.0, X.shape[1] + 1.0)
    for name, theirs in case["values"].items():
        parameters = structure(name).solve(statistics, Regularization.none(X.shape[1]))
        covariances = parameters.covariances()
        if parameters.is_diagonal:
            covariances = np.array([np.diag(each) for each in covariances])
        excess = oracle.criterion(covariances, observed, weights) - theirs["criterion"]
        assert excess < 1e-9, name
        if name in ITERATIVE and excess < -1e-12:
            continue  # mclust stopped before its optimum, or in another one that is worse
        forms = np.einsum("i,kij,j->k", directions, covariances, directions)
        tolerance = 1e-6 if name in ITERATIVE else 1e-8
        assert_allclose(forms, theirs["forms"], rtol=tolerance, err_msg=name)
        determinants = np.linalg.slogdet(covariances)[1]
        assert_allclose(determinants, theirs["log_determinants"], atol=tolerance, err_msg=name)
