"""What happens to components without points or spread, and what is reported."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from fastgmm.data.sources.array import ArraySource
from fastgmm.em.degeneracy import (
    Degeneracy,
    DegenerateComponentWarning,
    find_degeneracies,
    hold_covariances,
    regularization_for,
    warn_of_degeneracies,
)
from fastgmm.em.e_step.passes import log_likelihood, mixture_statistics
from fastgmm.mixture.parameters import MixtureParameters
from fastgmm.mixture.regularization import Regularization
from fastgmm.mixture.structures import structure
from tests.em.batch_fits import em_step, fit_em, initialize
from tests.problems import PROBLEMS, problem
from tests.structures import every_structure


def fitted(hard, name):
    source = ArraySource(hard.X, hard.sample_weight)
    regularization = regularization_for(source, 1e-6, "auto")
    start, _ = initialize(
        source,
        hard.n_components,
        structure(name),
        regularization,
        random_state=np.random.RandomState(0),
        labels=hard.labels,
    )
    return fit_em(source, start, structure(name), regularization)


@pytest.mark.parametrize("hard", PROBLEMS, ids=str)
def test_full_covariances_that_collapse_are_found_and_no_others(hard):
    _, info = fitted(hard, "full")
    assert bool(info.degeneracies) == hard.degenerate


@pytest.mark.parametrize("name", ["full", "diag", "spherical"])
def test_a_component_on_one_point_is_named(name):
    hard = problem("one_point_component")
    parameters, info = fitted(hard, name)
    lonely = int(np.argmin(parameters.weights))
    assert [(each.component, each.kind) for each in info.degeneracies] == [(lonely, "collapsed")]
    assert f"component {lonely} of weight 0.0099" in info.degeneracies[0].description
    assert_allclose(parameters.means[lonely], hard.X[-1], rtol=1e-12)


@pytest.mark.parametrize("name", ["tied", "tied_diag", "tied_spherical"])
def test_a_shared_covariance_that_collapses_is_named(name):
    _, info = fitted(problem("duplicate_rows"), name)
    shared = [each for each in info.degeneracies if each.component is None]
    assert [each.kind for each in shared] == ["collapsed"]
    assert "shared by all components" in shared[0].description


@every_structure
def test_a_component_out_of_reach_is_emptied_and_stays(name):
    X = problem("overlapping").X
    source = ArraySource(X)
    regularization = regularization_for(source, 1e-6, "auto")
    kind = structure(name)
    n_features = X.shape[1]
    identity = {
        True: np.ones((3, n_features)),
        False: np.repeat(np.eye(n_features)[None], 3, axis=0),
    }[kind.is_diagonal]
    means = np.vstack([X[:2], np.full((1, n_features), 1e6)])
    start = MixtureParameters.from_covariances(np.full(3, 1 / 3), means, identity)
    parameters, info = fit_em(source, start, kind, regularization)
    assert parameters.weights[2] == 0.0
    assert_array_equal(parameters.means[2], means[2])
    assert [(each.component, each.kind) for each in info.degeneracies] == [(2, "empty")]
    assert "component 2 has no points left" in info.degeneracies[0].description
    assert np.diff(info.trace).min() >= -1e-12


@every_structure
@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=10)
def test_held_covariances_never_lower_the_log_likelihood(name, seed):
    """Even when the M-step is spoilt by a regularization as large as the data."""
    rng = np.random.default_rng(seed)
    source = ArraySource(problem("overlapping").X)
    regularization = Regularization(rng.uniform(0.0, 5.0, size=3), np.zeros(3, dtype=bool))
    parameters, _ = initialize(
        source,
        3,
        structure(name),
        Regularization.none(3),
        random_state=np.random.RandomState(seed),
        method="random_from_data",
    )
    for _ in range(4):
        before = log_likelihood(source, parameters)
        proposal, statistics = em_step(source, parameters, structure(name), regularization)
        held = hold_covariances(structure(name), statistics, parameters, proposal)
        assert log_likelihood(source, held) >= before - 1e-9
        assert_array_equal(held.means, proposal.means)
        parameters = held


@every_structure
def test_held_covariances_are_still_of_the_structure(name):
    """Where components depend on each other, none is held without the others."""
    source = ArraySource(problem("overlapping").X)
    kind = structure(name)
    start, _ = initialize(
        source, 3, kind, Regularization.none(3), random_state=np.random.RandomState(0)
    )
    for amounts in ([0.3, 0.0, 0.1], [5.0, 5.0, 5.0]):
        spoilt = Regularization(np.array(amounts), np.zeros(3, dtype=bool))
        proposal, statistics = em_step(source, start, kind, spoilt)
        held = hold_covariances(kind, statistics, start, proposal)
        near = kind.nearest(held)
        assert_allclose(near.whiteners, held.whiteners, rtol=1e-7, atol=1e-9)


def test_a_proposal_that_is_better_is_left_alone():
    source = ArraySource(problem("overlapping").X)
    none = Regularization.none(3)
    start, _ = initialize(source, 3, structure("full"), none, random_state=np.random.RandomState(0))
    proposal, statistics = em_step(source, start, structure("full"), none)
    assert hold_covariances(structure("full"), statistics, start, proposal) is proposal


# -- what is reported ------------------------------------------------------------------------------


def test_one_warning_reports_all():
    found = [Degeneracy(k, "empty", f"component {k} vanished") for k in (1, 4, 4)]
    with pytest.warns(DegenerateComponentWarning) as caught:
        warn_of_degeneracies(found, stacklevel=1)
    assert len(caught) == 1
    message = str(caught[0].message)
    assert message.startswith("component 1 vanished; component 4 vanished. Fewer components")
    assert "reg_covar" in message
    assert caught[0].filename == __file__


def test_a_long_list_is_cut_short():
    found = [Degeneracy(k, "empty", f"component {k} vanished") for k in range(11)]
    with pytest.warns(DegenerateComponentWarning, match="component 7 vanished; and 3 more"):
        warn_of_degeneracies(found)


def test_nothing_found_is_nothing_reported(recwarn):
    warn_of_degeneracies([])
    assert not recwarn


# -- the regularization ---------------------------------------------------------------------------


def test_a_constant_feature_is_no_collapse():
    parameters, info = fitted(problem("constant_feature"), "full")
    assert info.degeneracies == ()
    assert_allclose(parameters.covariances()[:, 2, 2], 1e-6, rtol=1e-9)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("offset", [0.0, 1e8])
def test_the_regularization_follows_the_variance_of_each_feature(weighted, offset):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(3000, 3)) * [1.0, 1e-3, 1e3] + offset
    copies = rng.integers(0, 3, size=3000)
    weights = copies.astype(np.float64) if weighted else None
    rows = np.repeat(X, copies, axis=0) if weighted else X
    source = ArraySource(X, weights)
    relative = regularization_for(source, 1e-6, "relative")
    assert_allclose(relative.amounts, 1e-6 * rows.var(axis=0), rtol=1e-6)
    auto = regularization_for(source, 1e-6, "auto")
    assert_allclose(auto.amounts, [1e-6, 1e-4 * rows[:, 1].var(), 1e-6], rtol=1e-6)
    absolute = regularization_for(source, 1e-6, "absolute")
    assert_array_equal(absolute.amounts, np.full(3, 1e-6))


@pytest.mark.parametrize("scale", [1e-150, 1e150])
def test_the_regularization_is_measured_at_every_scale(scale):
    X = np.random.default_rng(0).normal(size=(500, 2)) * scale
    relative = regularization_for(ArraySource(X), 1e-3, "relative")
    assert_allclose(relative.amounts, 1e-3 * (X / scale).var(axis=0) * scale * scale, rtol=1e-9)


@pytest.mark.parametrize("scale", ["relative", "auto"])
def test_degeneracy_does_not_depend_on_the_unit(scale):
    for factor in (1e-150, 1e-4, 1.0, 1e20, 1e150):
        hard = problem("one_point_component")
        source = ArraySource(hard.X * factor)
        regularization = regularization_for(source, 1e-6, scale)
        start, _ = initialize(
            source, 2, structure("full"), regularization, random_state=np.random.RandomState(0)
        )
        parameters, info = fit_em(source, start, structure("full"), regularization)
        assert [each.kind for each in info.degeneracies] == ["collapsed"]
        assert find_degeneracies(parameters, structure("full"), regularization) == info.degeneracies


def test_statistics_of_a_flat_component_count_every_row_once():
    source = ArraySource(problem("separated").X)
    flat = MixtureParameters(np.zeros(1), source.X[:1].copy(), np.full((1, 3), 1e-200), np.zeros(1))
    statistics = mixture_statistics(source, flat)
    assert statistics.counts[0] == source.n_samples


@pytest.mark.parametrize("place", [0, -1, slice(None, None, 2)])
def test_rows_of_no_weight_may_lie_anywhere(place):
    X = problem("overlapping").X.copy()
    weights = np.ones(len(X))
    weights[place] = 0.0
    expected = regularization_for(ArraySource(X[weights > 0.0]), 1e-6, "relative").amounts
    X[place] = 1e36
    regularization = regularization_for(ArraySource(X, weights), 1e-6, "relative")
    assert_allclose(regularization.amounts, expected, rtol=1e-9)


def test_the_heaviest_row_stands_for_all_where_few_count():
    X = np.full((10_000, 1), 1e36)
    weights = np.zeros(10_000)
    X[5001:5005] = [[0.0], [1.0], [2.0], [3.0]]
    weights[5001:5005] = 1.0
    regularization = regularization_for(ArraySource(X, weights), 1e-6, "relative")
    assert_allclose(regularization.amounts, 1.25e-6, rtol=1e-12)


def test_squares_that_overflow_are_an_error():
    X = problem("overlapping").X * [1.0, 1e160, 1.0]
    with pytest.raises(ValueError, match=r"feature 1 are too large: their squares"):
        regularization_for(ArraySource(X), 1e-6, "auto")
