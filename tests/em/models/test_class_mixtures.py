"""Joint densities and posterior probabilities of classes."""

import numpy as np
import pytest
from scipy.special import log_softmax
from scipy.stats import multivariate_normal

from fastgmm.analysis.structure_choice import solve_classes
from fastgmm.data.sources.array import ArraySource
from fastgmm.em.models.class_mixtures import (
    class_log_densities,
    class_statistics,
    expected_log_likelihood,
    log_posteriors,
    single_components,
    with_matrices,
)
from fastgmm.mixture.regularization import Regularization
from fastgmm.mixture.structures import structure


@pytest.fixture
def rows():
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 3, 60)
    return rng.normal(size=(60, 2)) + codes[:, None], codes, rng.random(60) + 0.5


def test_posteriors_are_the_softmax_and_rows_of_no_density_are_of_all_classes():
    joint = np.array([[-1.0, -3000.0], [-np.inf, -2.0], [-np.inf, -np.inf]])
    found = log_posteriors(joint)
    np.testing.assert_allclose(found[0], log_softmax(joint[0]))
    np.testing.assert_array_equal(found[1], [-np.inf, 0.0])
    np.testing.assert_allclose(np.exp(found[2]), 0.5)


@pytest.mark.parametrize(("name", "diagonal"), [("VVV", False), ("EEI", False), ("EEI", True)])
def test_the_likelihood_follows_from_the_statistics(rows, name, diagonal):
    X, codes, weights = rows
    kind = structure(name)
    factors = np.array([1.0, 2.0, 0.5])
    source = ArraySource(X, weights)
    statistics = class_statistics(source, codes, factors, diagonal=diagonal, n_jobs=None)
    parameters = solve_classes(statistics, kind, Regularization.none(2), np.array([0.2, 0.5, 0.3]))
    covariances = parameters.covariances()
    if parameters.is_diagonal:
        covariances = [np.diag(each) for each in covariances]
    logs = [
        multivariate_normal(parameters.means[c], covariances[c]).logpdf(x)
        + np.log([0.2, 0.5, 0.3][c])
        for x, c in zip(X, codes, strict=True)
    ]
    naive = (weights * factors[codes]) @ logs
    assert expected_log_likelihood(statistics, parameters) == pytest.approx(naive, rel=1e-12)
    assert statistics.weight == pytest.approx((weights * factors[codes]).sum())
    joint = class_log_densities(source, single_components(parameters))
    np.testing.assert_allclose(
        joint[np.arange(60), codes] + np.log([0.2, 0.5, 0.3])[codes], logs, rtol=1e-12
    )
    same = class_log_densities(source, single_components(with_matrices(parameters)))
    np.testing.assert_allclose(same, joint, rtol=1e-12)


def test_a_class_without_rows_has_no_density(rows):
    X, codes, _ = rows
    codes = np.where(codes == 1, -1, codes)
    source = ArraySource(X)
    statistics = class_statistics(source, codes, np.ones(3), diagonal=False, n_jobs=None)
    solved = solve_classes(statistics, structure("EEE"), Regularization.none(2), np.full(3, 1 / 3))
    joint = class_log_densities(source, single_components(solved))
    assert np.isneginf(joint[:, 1]).all()
    assert np.isfinite(joint[:, [0, 2]]).all()
