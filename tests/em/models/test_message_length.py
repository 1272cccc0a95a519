"""The length of messages, and the search for the shortest one."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from fastgmm.data.sources.array import ArraySource
from fastgmm.em.e_step.passes import log_likelihood
from fastgmm.em.models.message_length import (
    MessageCode,
    MessageProblem,
    fit_message_length,
    wide_start,
)
from fastgmm.em.problem import EMProblem
from fastgmm.mixture.parameters import MixtureParameters
from fastgmm.mixture.regularization import Regularization
from fastgmm.mixture.structures import STRUCTURE_NAMES, structure
from tests.em.block_source import BlockSource

FULL = structure("full")
HELD = Regularization(np.full(2, 1e-6), np.zeros(2, dtype=bool))


def groups(n_samples, n_groups=4, seed=0):
    """Return rows in groups that are well apart, of different sizes and widths."""
    rng = np.random.default_rng(seed)
    centers = 12.0 * np.array([[0, 0], [1, 0], [0, 1], [1, 1], [2, 1], [1, 2]])[:n_groups]
    shares = rng.dirichlet(np.full(n_groups, 10.0))
    labels = rng.choice(n_groups, p=shares, size=n_samples)
    widths = rng.uniform(0.5, 1.5, size=n_groups)
    return centers[labels] + widths[labels, None] * rng.normal(size=(n_samples, 2))


def start_at(rows, n_components=15, kind=FULL, seed=0, regularization=HELD):
    random_state = np.random.RandomState(seed)
    return wide_start(rows, n_components, kind, regularization, random_state)


def fit(rows, *, kind=FULL, n_components=15, seed=0, tol=3e-4, max_iter=500, **options):
    start = start_at(rows, n_components, kind, seed)
    return fit_from(rows, start, kind, tol=tol, max_iter=max_iter, **options)


def fit_from(
    rows, start, kind=FULL, held=HELD, *, source=None, min_components=1, tol=1e-5, max_iter=500
):
    problem = MessageProblem(EMProblem(source or rows, kind, held), min_components)
    return fit_message_length(rows, start, problem, tol, max_iter)


@pytest.mark.parametrize("name", STRUCTURE_NAMES)
@pytest.mark.parametrize("n_components", [1, 2, 7])
def test_the_code_encodes_every_parameter_once(name, n_components):
    kind = structure(name)
    n_features = 1 if kind.needs_single_feature else 3
    code = MessageCode.of(kind, n_features, 100.0)
    encoded = n_components * code.per_component + code.shared + n_components - 1
    assert encoded == kind.n_parameters(n_components, n_features)
    assert code.penalty == code.per_component / 2


def test_the_length_of_a_message():
    code = MessageCode(per_component=5, shared=3, weight=200.0)
    weights = np.array([0.5, 0.0, 0.2, 0.3])
    expected = 2.5 * (np.log(100.0) + np.log(40.0) + np.log(60.0)) + 0.5 * 6 * np.log(200.0) + 17.0
    assert code.length(weights, -17.0) == pytest.approx(expected)


@pytest.mark.parametrize("name", ["full", "tied", "diag", "spherical", "tied_diag", "VEE"])
def test_a_start_is_wide_and_at_rows(name):
    X = groups(200) * [1.0, 1e-3]
    kind = structure(name)
    start = start_at(ArraySource(X), 6, kind)
    assert start.n_components == 6
    assert_allclose(start.weights, 1 / 6)
    assert len(np.unique(start.means, axis=0)) == 6
    assert (start.means[:, None] == X).all(axis=2).any(axis=1).all()
    variances = start.covariances()
    if not kind.is_diagonal:
        variances = np.einsum("kii->ki", variances)
    expected = X.var(axis=0) / 10
    if kind.is_spherical:
        expected = np.full(2, expected.mean())
    assert_allclose(variances, np.tile(expected + 1e-6, (6, 1)), rtol=1e-6)


def test_rows_without_weight_are_no_start():
    X = groups(50)
    weights = np.zeros(50)
    weights[[3, 8, 20]] = 1.0
    start = start_at(ArraySource(X, weights), 3)
    assert_array_equal(np.sort(start.means[:, 0]), np.sort(X[[3, 8, 20], 0]))


def test_a_code_holds_if_all_components_have_as_many_rows_as_parameters():
    code = MessageCode(per_component=5, shared=3, weight=50.0)
    assert code.holds(np.array([0.9, 0.1]))
    assert not code.holds(np.array([0.91, 0.09]))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", ["full", "diag", "spherical", "VEV"])
def test_groups_that_are_well_apart_are_counted(name, seed):
    rows = ArraySource(groups(600, 5, seed))
    found = fit(rows, kind=structure(name), seed=seed)
    assert found.best.parameters.n_components == 5
    assert found.best.converged


def test_a_few_rows_on_a_line_are_no_component_of_their_own():
    """Four such rows shorten the message by as much as one likes, the nearer the line they are."""
    X = np.random.default_rng(0).normal(size=(200, 2))
    X[:4] = np.linspace(-0.5, 0.5, 4)[:, None] * [[1.0, 2.0]]
    held = Regularization(np.full(2, 1e-12), np.zeros(2, dtype=bool))
    on_line = np.array([0.0, 0.0]), X[:4].T @ X[:4] / 4 + 1e-12 * np.eye(2)
    start = MixtureParameters.from_covariances(
        np.array([0.02, 0.98]),
        np.array([on_line[0], X.mean(axis=0)]),
        np.array([on_line[1], np.cov(X.T)]),
    )
    found = fit_from(ArraySource(X), start, held=held, tol=1e-6)
    two, one = found.candidates
    assert two.message_length < one.message_length - 10.0
    assert found.best is one
    # and if no number is possible but that one, it is kept
    found = fit_from(ArraySource(X), start, held=held, min_components=2, tol=1e-6)
    assert found.best is found.candidates[0]


def test_groups_of_one_covariance_are_counted():
    rng = np.random.default_rng(0)
    X = 12.0 * rng.integers(0, 2, size=(600, 2)) + rng.normal(size=(600, 2))
    for name in ("tied", "tied_diag", "tied_spherical"):
        found = fit(ArraySource(X), kind=structure(name))
        assert found.best.parameters.n_components == 4


def test_one_group_is_one():
    X = np.random.default_rng(0).normal(size=(400, 2))
    assert fit(ArraySource(X)).best.parameters.n_components == 1


def test_the_best_is_the_shortest_and_lengths_belong_to_the_mixtures():
    rows = ArraySource(groups(500))
    found = fit(rows)
    code = MessageCode.of(FULL, 2, 500.0)
    numbers = [each.parameters.n_components for each in found.candidates]
    assert numbers == sorted(set(numbers), reverse=True)
    assert numbers[-1] == 1
    for each in found.candidates:
        expected = log_likelihood(rows, each.parameters)
        assert each.log_likelihood == pytest.approx(expected, rel=1e-10)
        assert each.message_length == code.length(each.parameters.weights, each.log_likelihood)
    assert found.best.message_length == min(each.message_length for each in found.candidates)
    assert found.n_passes == 0
    assert found.n_sweeps >= len(numbers)


@pytest.mark.parametrize("min_components", [3, 6])
def test_the_fewest_components(min_components):
    found = fit(ArraySource(groups(500)), min_components=min_components)
    numbers = [each.parameters.n_components for each in found.candidates]
    assert min(numbers) == numbers[-1] == min_components
    assert found.best.parameters.n_components == max(4, min_components)


def test_too_few_iterations_are_reported():
    found = fit(ArraySource(groups(300)), tol=0.0, max_iter=3)
    assert not any(each.converged for each in found.candidates)
    assert found.n_sweeps == 3 * len(found.candidates)


@pytest.mark.parametrize("weighted", [False, True])
def test_a_sample_of_many_rows(weighted):
    X = groups(8000, 5)
    weights = np.random.default_rng(1).uniform(0.5, 1.5, size=len(X)) if weighted else None
    chosen = np.arange(0, len(X), 10)
    sample = ArraySource(X[chosen], None if weights is None else weights[chosen])
    source = BlockSource(X, weights)
    found = fit(sample, source=source, n_components=8, tol=1e-7)
    best = found.best
    assert best.parameters.n_components == 5
    assert best.converged
    assert found.n_passes >= 2
    assert best.log_likelihood == pytest.approx(log_likelihood(source, best.parameters), rel=1e-10)
    code = MessageCode.of(FULL, 2, source.total_weight)
    assert best.message_length == code.length(best.parameters.weights, best.log_likelihood)
    # Passes end where sweeps over all rows do.
    start = best.parameters
    whole = fit_from(ArraySource(X, weights), start, min_components=5, tol=1e-7).best
    assert best.message_length == pytest.approx(whole.message_length, rel=1e-7)


def test_rows_that_tell_more_than_a_sample_of_them_may_have_more_components():
    """Two groups overlap so much that few rows do not pay for both, and many do."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60_000, 1)) + 2.2 * rng.integers(0, 2, size=(60_000, 1))
    held = Regularization(np.full(1, 1e-6), np.zeros(1, dtype=bool))
    sample = ArraySource(X[:200])
    start = start_at(sample, 2, FULL, regularization=held)
    few = fit_from(sample, start, held=held)
    many = fit_from(sample, start, held=held, source=ArraySource(X))
    assert few.best.parameters.n_components == 1
    assert many.best.parameters.n_components == 2


def test_passes_let_go_of_one_component_at_a_time(monkeypatch):
    """Half of the components that a sample favors are needless; all rows are to say so."""
    X = groups(30_000, 4)
    seen = []
    e_step = EMProblem.e_step

    def counted(problem, parameters, **options):
        seen.append(parameters.n_components)
        return e_step(problem, parameters, **options)

    monkeypatch.setattr(EMProblem, "e_step", counted)
    found = fit(ArraySource(X[:150]), source=ArraySource(X))
    assert found.best.parameters.n_components == 4
    assert len(seen) == found.n_passes
    assert set(np.diff(seen)) <= {0, -1}
