"""Components updated one after the other: the same optimum, and what becomes of weak ones."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from fastgmm.data.sources.array import ArraySource
from fastgmm.em.models.componentwise import ComponentwiseEM
from fastgmm.mixture.parameters import MixtureParameters
from fastgmm.mixture.regularization import IllDefinedCovarianceError, Regularization
from fastgmm.mixture.structures import STRUCTURE_NAMES, structure
from tests import oracle
from tests.em.batch_fits import fit_em, initialize

NONE = Regularization.none(2)
NAMES = [name for name in STRUCTURE_NAMES if not structure(name).needs_single_feature]


def rows(n_samples=300, seed=0, distance=4.0):
    rng = np.random.default_rng(seed)
    centers = distance * np.array([[0.0, 0.0], [1.0, 1.0], [0.0, 1.5]])
    return centers[rng.integers(3, size=n_samples)] + rng.normal(size=(n_samples, 2))


def start_at(X, name="full", n_components=3, weights=None):
    random_state = np.random.RandomState(0)
    return initialize(
        ArraySource(X, weights), n_components, structure(name), NONE, random_state=random_state
    )[0]


def message(em, penalty, n):
    """Return what sweeps make smaller, for a number of components that stays."""
    return penalty * np.log(n * em.parameters().weights).sum() - em.log_likelihood


@pytest.mark.parametrize("name", NAMES)
def test_without_penalty_it_finds_what_em_finds(name):
    X = rows()
    weights = np.random.default_rng(1).integers(0, 3, size=len(X)).astype(float)
    start = start_at(X, name, weights=weights)
    source = ArraySource(X, weights)
    em = ComponentwiseEM(source, start, structure(name), NONE, 0.0, 1)
    values = [em.log_likelihood]
    for _ in range(200):
        assert not em.sweep()
        values.append(em.log_likelihood)
    assert np.diff(values).min() > -1e-8 * abs(values[0])
    expected, info = fit_em(source, start, structure(name), NONE, tol=1e-12, max_iter=2000)
    assert em.log_likelihood == pytest.approx(info.trace[-1] * weights.sum(), rel=1e-7)
    assert_allclose(em.parameters().means, expected.means, atol=1e-3)
    assert_allclose(em.parameters().weights, expected.weights, atol=1e-3)
    assert_allclose(em.parameters().covariances(), expected.covariances(), atol=1e-2)


def naive_sweep(X, weights, means, covariances, penalty):
    """Return what a sweep makes of a mixture: eq. 17 of the paper, one component at a time."""
    k = 0
    while k < len(weights):
        shares = oracle.responsibilities(X, weights, means, covariances)
        spare = np.maximum(shares.sum(axis=0) - penalty, 0.0)
        if spare[k] == 0.0:
            others = np.arange(len(weights)) != k
            weights, means, covariances = weights[others], means[others], covariances[others]
            weights = weights / weights.sum()
            continue
        rest = weights.sum() - weights[k]
        weights = weights * (1.0 - spare[k] / spare.sum()) / rest
        weights[k] = spare[k] / spare.sum()
        means[k] = np.average(X, axis=0, weights=shares[:, k])
        covariances[k] = np.cov(X.T, aweights=shares[:, k], bias=True)
        k += 1
    return weights, means, covariances


def test_sweeps_are_those_of_the_paper():
    X = rows(200)
    chosen = np.random.default_rng(0).choice(200, 12, replace=False)
    truth = np.full(12, 1 / 12), X[chosen], np.repeat(np.eye(2)[None], 12, axis=0)
    start = MixtureParameters.from_covariances(*truth)
    em = ComponentwiseEM(ArraySource(X), start, structure("full"), NONE, 2.5, 1)
    for _ in range(30):
        before = em.n_components
        gone = em.sweep()
        truth = naive_sweep(X, *(each.copy() for each in truth), 2.5)
        found = em.parameters()
        assert gone == (len(truth[0]) < before)
        assert_allclose(found.weights, truth[0], rtol=1e-6)
        assert_allclose(found.means, truth[1], rtol=1e-6, atol=1e-8)
        assert_allclose(found.covariances(), truth[2], rtol=1e-6, atol=1e-8)
    assert em.n_components < 12


@pytest.mark.parametrize("name", ["full", "diag", "spherical"])
def test_a_sweep_never_makes_the_message_longer(name):
    X = rows()
    em = ComponentwiseEM(ArraySource(X), start_at(X, name), structure(name), NONE, 2.5, 1)
    lengths = [message(em, 2.5, len(X))]
    for _ in range(60):
        assert not em.sweep()
        lengths.append(message(em, 2.5, len(X)))
    assert np.diff(lengths).max() < 1e-8
    # After convergence, weights are in proportion to counts less the penalty.
    parameters = em.parameters()
    truth = (parameters.weights, parameters.means, parameters.covariances())
    if name != "full":
        truth = (*truth[:2], np.array([np.diag(each) for each in truth[2]]))
    spare = oracle.responsibilities(X, *truth).sum(axis=0) - 2.5
    assert_allclose(parameters.weights, spare / spare.sum(), atol=1e-4)


def test_the_log_likelihood_is_that_of_the_parameters():
    X = rows() + 1e6
    weights = np.random.default_rng(1).uniform(0.5, 2.0, size=len(X))
    em = ComponentwiseEM(ArraySource(X, weights), start_at(X), structure("full"), NONE, 2.5, 1)
    for _ in range(3):
        em.sweep()
        parameters = em.parameters()
        density = oracle.log_density(
            X - 1e6, parameters.weights, parameters.means - 1e6, parameters.covariances()
        )
        assert em.log_likelihood == pytest.approx(weights @ density, rel=1e-8)


def test_weights_are_numbers_of_copies():
    X = rows(100)
    copies = np.random.default_rng(2).integers(0, 4, size=len(X))
    start = start_at(X)
    repeated = X.repeat(copies, axis=0)
    both = [
        ComponentwiseEM(source, start, structure("full"), NONE, 2.5, 1)
        for source in (ArraySource(X, copies.astype(float)), ArraySource(repeated))
    ]
    for _ in range(5):
        for em in both:
            em.sweep()
    left, right = (em.parameters() for em in both)
    assert_allclose(left.means, right.means, rtol=1e-8)
    assert_allclose(left.covariances(), right.covariances(), rtol=1e-7)
    assert both[0].log_likelihood == pytest.approx(both[1].log_likelihood, rel=1e-10)


def test_components_with_too_few_points_are_removed_one_by_one():
    """All at once none would have enough: 40 rows in 20 components, each of which costs 2.5."""
    X = rows(40)
    chosen = np.random.default_rng(0).choice(40, 20, replace=False)
    start = MixtureParameters.from_covariances(
        np.full(20, 0.05), X[chosen], np.repeat(np.eye(2)[None] * 4.0, 20, axis=0)
    )
    counts = oracle.responsibilities(X, start.weights, start.means, start.covariances()).sum(axis=0)
    assert (counts < 2.5).sum() > 10
    em = ComponentwiseEM(
        ArraySource(X), start, structure("full"), Regularization(np.full(2, 1e-6), NONE.constant),
        2.5, 1,
    )  # fmt: skip
    assert em.sweep()
    assert 1 < em.n_components < 12
    assert_allclose(em.parameters().weights.sum(), 1.0)


@pytest.mark.parametrize("min_components", [1, 2, 5])
def test_the_fewest_components_stay(min_components):
    X = rows(12)
    start = MixtureParameters.from_covariances(
        np.full(6, 1 / 6), X[:6], np.repeat(np.eye(2)[None] * 9.0, 6, axis=0)
    )
    held = Regularization(np.full(2, 1e-3), NONE.constant)
    em = ComponentwiseEM(ArraySource(X), start, structure("full"), held, 50.0, min_components)
    for _ in range(10):
        em.sweep()
    assert em.n_components == min_components
    assert_allclose(em.parameters().weights.sum(), 1.0)
    assert np.isfinite(em.log_likelihood)


def test_the_weakest_goes():
    X = rows()
    em = ComponentwiseEM(ArraySource(X), start_at(X), structure("full"), NONE, 2.5, 1)
    em.sweep()
    before = em.parameters()
    em = em.without(int(before.weights.argmin()))
    kept = np.arange(3) != before.weights.argmin()
    after = em.parameters()
    assert_array_equal(after.means, before.means[kept])
    assert_allclose(after.weights, before.weights[kept] / before.weights[kept].sum())
    truth = (after.weights, after.means, after.covariances())
    assert em.log_likelihood == pytest.approx(oracle.log_density(X, *truth).sum(), rel=1e-10)


def test_rows_out_of_the_range_of_densities():
    """Densities at some rows are smaller than any float64, and change by more than its range."""
    X = rows()
    X[0] = 1e4
    X[1] = [-3e3, 5e3]
    narrow = MixtureParameters.from_covariances(
        np.full(3, 1 / 3), rows()[:3], np.repeat(np.eye(2)[None] * 1e-2, 3, axis=0)
    )
    held = Regularization(np.full(2, 1e-1), NONE.constant)
    em = ComponentwiseEM(ArraySource(X), narrow, structure("full"), held, 0.0, 1)
    for _ in range(20):
        em.sweep()
        parameters = em.parameters()
        truth = (parameters.weights, parameters.means, parameters.covariances())
        expected = oracle.log_density(X, *truth).sum()
        assert em.log_likelihood == pytest.approx(expected, rel=1e-8)


def test_a_component_that_collapses_without_regularization_is_an_error():
    X = np.repeat([[0.0, 0.0], [5.0, 1.0], [6.0, 3.0]], 20, axis=0)
    start = MixtureParameters.from_covariances(
        np.array([0.5, 0.5]), np.array([[0.0, 0.0], [5.0, 2.0]]), np.repeat(np.eye(2)[None], 2, 0)
    )
    em = ComponentwiseEM(ArraySource(X), start, structure("full"), NONE, 2.5, 1)
    with pytest.raises(IllDefinedCovarianceError, match="ill-defined"):
        [em.sweep() for _ in range(50)]


@pytest.mark.parametrize("name", ["full", "tied", "diag"])
def test_a_component_without_points_that_may_not_go_has_weight_0(name):
    X = rows()
    start = start_at(X, name, 2)
    means = np.vstack([start.means, [[1e4, 1e4]]])
    spread = np.ones(2) if name == "diag" else np.eye(2)
    start = MixtureParameters.from_covariances(
        np.full(3, 1.0 / 3.0), means, np.repeat(spread[None], 3, axis=0)
    )
    em = ComponentwiseEM(ArraySource(X), start, structure(name), NONE, 2.5, 3)
    for _ in range(100):
        assert not em.sweep()
    found = em.parameters()
    assert found.weights[2] == 0.0
    assert_allclose(found.means[2], [1e4, 1e4])
    without = ComponentwiseEM(ArraySource(X), start.of(slice(2)), structure(name), NONE, 2.5, 2)
    for _ in range(100):
        without.sweep()
    assert em.log_likelihood == pytest.approx(without.log_likelihood, rel=1e-6)


def test_rows_that_no_component_reaches_are_an_error():
    X = np.array([[0.0, 0.0], [1.0, 0.0], [1e200, 1.0]])
    start = MixtureParameters.from_covariances(np.ones(1), np.zeros((1, 2)), np.eye(2)[None])
    with np.errstate(over="ignore"), pytest.raises(ValueError, match="impossibly far"):
        ComponentwiseEM(ArraySource(X), start, structure("full"), NONE, 2.5, 1)
