"""Each structure's M-step against the oracle, and its shapes against scikit-learn's."""

from dataclasses import replace

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.mixture import GaussianMixture

from fastgmm.mixture.parameters import MixtureParameters
from fastgmm.mixture.regularization import IllDefinedCovarianceError, Regularization
from fastgmm.mixture.statistics import SufficientStatistics
from fastgmm.mixture.structures import CovarianceStructure, Spread, structure
from tests import oracle
from tests.structures import ANY_FEATURES, DISTINCT, covariances_of, every_name, every_structure

NONE = Regularization.none(4)
NOT_DIAGONAL = [name for name in DISTINCT if not structure(name).is_diagonal]
SEARCHING = ("EVE", "VVE")  # among several optima; their tests have a file of their own


def draw(seed=0, n_samples=60, n_components=3, n_features=4):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_samples, n_features)) @ rng.normal(size=(n_features, n_features))
    return X, rng.dirichlet(np.full(n_components, 0.3), size=n_samples)


def statistics_of(name, X, shares):
    reference = np.repeat(X.mean(axis=0)[None], shares.shape[1], axis=0)
    counts, first, second = oracle.moments(X, shares, reference)
    if structure(name).is_diagonal:
        second = np.einsum("kii->ki", second).copy()
    return SufficientStatistics(reference, counts, first, second, np.nan, float(shares.sum()))


def solved(name, X, shares, amounts=None):
    amounts = np.zeros(X.shape[1]) if amounts is None else amounts
    return structure(name).solve(statistics_of(name, X, shares), regularization(amounts))


def on_one_point():
    X, _ = draw(n_samples=30, n_features=3)
    X[10:20] = [1.0, -2.0, 3.0]
    return X, oracle.one_hot(np.repeat([0, 1, 2], 10), 3)


def regularization(amounts):
    amounts = np.asarray(amounts, dtype=np.float64)
    return Regularization(amounts, np.zeros(amounts.shape, dtype=bool))


@pytest.mark.parametrize("name", [name for name in DISTINCT if name not in SEARCHING])
@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=20)
def test_solve_is_the_m_step(name, seed):
    X, shares = draw(seed)
    amounts = np.array([1e-3, 1e-6, 0.0, 1e-2])
    expected = oracle.m_step(X, shares, name, amounts)
    parameters = structure(name).solve(statistics_of(name, X, shares), regularization(amounts))
    assert_allclose(parameters.weights, expected[0], rtol=1e-12)
    assert_allclose(parameters.means, expected[1], rtol=1e-10, atol=1e-12)
    assert_allclose(covariances_of(name, parameters), expected[2], rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize(("name", "other"), oracle.LETTERS.items())
def test_two_names_of_a_structure_mean_the_same(name, other):
    X, shares = draw(n_features=1 if name in "EV" else 4)
    kind, same = structure(name), structure(other)
    none = Regularization.none(X.shape[1])
    parameters = kind.solve(statistics_of(name, X, shares), none)
    again = same.solve(statistics_of(name, X, shares), none)
    assert_array_equal(kind.covariances(parameters), same.covariances(again))
    assert kind.name == name
    assert same.name == other


@every_structure
def test_solve_of_full_statistics_serves_diagonal_structures_too(name):
    X, shares = draw()
    full = structure(name).solve(statistics_of("full", X, shares), NONE)
    own = structure(name).solve(statistics_of(name, X, shares), NONE)
    assert_allclose(full.whiteners, own.whiteners, rtol=1e-12)


@every_structure
@pytest.mark.parametrize("scale", [1e-150, 1e-4, 1e150])
def test_solve_follows_the_scale_of_the_data(name, scale):
    X, shares = draw()
    ordinary = structure(name).solve(statistics_of(name, X, shares), NONE)
    scaled = structure(name).solve(statistics_of(name, X * scale, shares), NONE)
    assert_allclose(scaled.whiteners * scale, ordinary.whiteners, rtol=1e-10, atol=1e-12)
    assert_allclose(scaled.means / scale, ordinary.means, rtol=1e-12)


@pytest.mark.parametrize("name", ["diag", "tied_diag", "VEI", "EVI", "full", "tied", "VEE", "EVV"])
def test_solve_follows_the_unit_of_each_feature(name):
    """Those structures that do not depend on how long a unit is beside another."""
    X, shares = draw()
    units = np.array([1e-12, 1.0, 1e9, 1e-3])
    ordinary = structure(name).solve(statistics_of(name, X, shares), NONE)
    scaled = structure(name).solve(statistics_of(name, X * units, shares), NONE)
    assert_allclose(scaled.whiteners * units, ordinary.whiteners, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", ["EEV", "VEV"])
def test_axes_among_features_of_very_different_scales_lose_no_digits(name):
    X, shares = draw()
    units = np.array([1e-9, 1.0, 1e6, 1e-3])
    statistics = statistics_of(name, X * units, shares)
    with mpmath.workdps(80):
        parts = [mpmath.eigsy(mpmath.matrix(each.tolist())) for each in statistics.covariances()]
        exact = np.array([np.diag(np.array(list(values), float)) for values, _ in parts])
        common = "tied_diag" if name == "EEV" else "VEI"
        variances = oracle.best_covariances(common, exact, statistics.counts)
        expected = []
        for (_, vectors), diagonal in zip(parts, variances, strict=True):
            composed = vectors * mpmath.matrix(diagonal.tolist()) * vectors.T
            expected.append(np.array(composed.tolist(), dtype=float))
    found = covariances_of(name, structure(name).solve(statistics, NONE))
    scaled = np.array(expected) / units / units[:, None]
    assert_allclose(found / units / units[:, None], scaled, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("name", ["EVE", "VVE"])
def test_common_axes_among_features_of_very_different_scales_are_kept(name):
    variances = np.array([[1e-20, 3.0, 1e12, 1e-6], [2e-20, 1.0, 4e12, 2e-6]])
    covariances = np.array([np.diag(each) for each in variances])
    if name == "EVE":
        covariances = oracle.best_covariances("EVI", covariances, np.ones(2))
    spread = Spread(covariances.copy(), np.ones(2), NONE)
    whiteners = structure(name).whiten(spread)
    found = MixtureParameters.from_whiteners(np.ones(2) / 2, np.zeros((2, 4)), whiteners)
    assert_allclose(found.covariances(), covariances, rtol=1e-10)


@every_structure
def test_the_order_of_features_and_components_does_not_matter(name):
    X, shares = draw()
    features, components = np.array([2, 0, 3, 1]), np.array([1, 2, 0])
    found = covariances_of(name, solved(name, X, shares))
    permuted = covariances_of(name, solved(name, X[:, features], shares[:, components]))
    expected = found[components][:, features][:, :, features]
    assert_allclose(permuted, expected, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("name", NOT_DIAGONAL)
def test_a_single_component_has_the_covariance_of_all_points(name):
    X, _ = draw()
    shares = np.ones((len(X), 1))
    found = covariances_of(name, solved(name, X, shares))
    assert_allclose(found, oracle.m_step(X, shares, "full")[2], rtol=1e-10, atol=1e-12)


@every_name
def test_a_single_feature_leaves_the_volume_only(name):
    X, shares = draw(n_features=1)
    same = "spherical" if structure(name).letters.startswith("V") else "tied_spherical"
    found = covariances_of(name, solved(name, X, shares))
    assert_allclose(found, oracle.m_step(X, shares, same)[2], rtol=1e-12)


@every_structure
def test_no_other_covariances_of_the_structure_fit_better(name):
    """Those of other points, and their mean with the best ones, as far as the structure has it."""
    X, shares = draw(n_samples=40)
    best = covariances_of(name, solved(name, X, shares))
    observed = oracle.m_step(X, shares, "full")[2]
    weights = shares.mean(axis=0)
    reached = oracle.criterion(best, observed, weights)
    for seed in range(1, 30):
        other = X + 0.05 * np.random.default_rng(seed).normal(size=X.shape)
        covariances = covariances_of(name, solved(name, other, shares))
        assert oracle.criterion(covariances, observed, weights) > reached


@every_structure
def test_shapes_and_counts_of_parameters_are_those_users_know(name):
    X, shares = draw()
    kind = structure(name)
    parameters = kind.solve(statistics_of(name, X, shares), NONE)
    shape = kind.covariance_shape(3, 4)
    for values in (
        kind.covariances(parameters),
        kind.precisions(parameters),
        kind.precisions_cholesky(parameters),
    ):
        assert values.shape == shape
        assert values.flags.c_contiguous
        assert values.base is None
    if name in ("full", "tied", "diag", "spherical"):
        theirs = GaussianMixture(3, covariance_type=name, random_state=0).fit(X)
        assert theirs.covariances_.shape == shape
        assert theirs._n_parameters() == kind.n_parameters(3, 4)


@every_name
def test_new_structures_have_the_shapes_of_those_known(name):
    expected = {"EII": (), "VII": (3,), "EEI": (4,), "EEE": (4, 4)}
    letters = structure(name).letters
    default = (3, 4) if letters.endswith("I") else (3, 4, 4)
    assert structure(name).covariance_shape(3, 4) == expected.get(letters, default)


@every_structure
def test_covariances_and_precisions_in_the_users_shape_make_the_same_parameters(name):
    X, shares = draw()
    kind = structure(name)
    parameters = kind.solve(statistics_of(name, X, shares), NONE)
    weights, means = parameters.weights, parameters.means
    for again in (
        kind.from_covariances(weights, means, kind.covariances(parameters)),
        kind.from_precisions(weights, means, kind.precisions(parameters)),
    ):
        assert_allclose(again.whiteners, parameters.whiteners, rtol=1e-8, atol=1e-10)
        assert_allclose(again.log_normalizers, parameters.log_normalizers, rtol=1e-10)


@pytest.mark.parametrize("name", ["full", "tied"])
def test_the_factor_of_the_precision_is_scikit_learns(name):
    X, shares = draw()
    kind = structure(name)
    parameters = kind.solve(statistics_of(name, X, shares), NONE)
    factor = kind.precisions_cholesky(parameters)
    assert_array_equal(np.tril(factor, -1), 0.0)
    assert_allclose(factor @ np.swapaxes(factor, -1, -2), kind.precisions(parameters), rtol=1e-12)


@every_structure
def test_a_shape_that_does_not_fit_is_reported(name):
    kind = structure(name)
    expected = str(kind.covariance_shape(2, 3)).replace("(", r"\(").replace(")", r"\)")
    with pytest.raises(ValueError, match=rf"'{name}' should have shape {expected}.*got \(7, 7\)"):
        kind.from_precisions(np.full(2, 0.5), np.zeros((2, 3)), np.ones((7, 7)))


@every_structure
def test_without_regularization_components_on_one_point_are_an_error(name):
    X = np.repeat([[0.0, 1.0], [5.0, -3.0]], 5, axis=0)
    statistics = statistics_of(name, X, oracle.one_hot(np.repeat([0, 1], 5), 2))
    with pytest.raises(
        IllDefinedCovarianceError, match=r"ill-defined: its .*, so the likelihood.*reg_covar > 0"
    ):
        structure(name).solve(statistics, Regularization.none(2))


@pytest.mark.parametrize(
    ("name", "whose"),
    [
        ("spherical", "component 1 is ill-defined: its variance in feature 0 is 0"),
        ("diag", "component 1 is ill-defined: its variance in feature 0 is 0"),
        ("VEI", "component 1 is ill-defined: its variances are all 0"),
        ("EVI", "component 1 is ill-defined: its variance in feature 0 is 0"),
        ("full", "component 1 is ill-defined: its variance in feature 0 is 0"),
        ("VEE", "component 1 is ill-defined: its variances are all 0"),
        ("VEV", "component 1 is ill-defined: its variances are all 0"),
        ("EVE", "component 1 is ill-defined: its variance in feature 0 is 0"),
        ("VVE", "component 1 is ill-defined: its variance in feature 0 is 0"),
        ("EVV", "component 1 is ill-defined: its variance in feature 0 is 0"),
    ],
)
def test_without_regularization_a_component_on_one_point_is_named(name, whose):
    X, shares = on_one_point()
    with pytest.raises(IllDefinedCovarianceError, match=whose):
        solved(name, X, shares)


@pytest.mark.parametrize("name", ["tied", "tied_diag", "tied_spherical", "EEV"])
def test_a_component_on_one_point_has_the_spread_of_the_others(name):
    X, shares = on_one_point()
    found = covariances_of(name, solved(name, X, shares))
    expected = oracle.m_step(X, shares, name)[2]
    # A single point has no orientation, but the variances along some axes are those of all.
    assert_allclose(np.linalg.eigvalsh(found), np.linalg.eigvalsh(expected), rtol=1e-10)
    assert_allclose(found[[0, 2]], expected[[0, 2]], rtol=1e-10, atol=1e-12)


@every_structure
@pytest.mark.parametrize("amount", [1e-3, 1e-12, 1e-40])
def test_the_regularization_holds_up_a_component_on_one_point(name, amount):
    X, shares = on_one_point()
    parameters = solved(name, X, shares, np.full(3, amount))
    assert np.isfinite(parameters.whiteners).all()
    assert np.isfinite(parameters.log_normalizers).all()


@pytest.mark.parametrize("name", NOT_DIAGONAL)
def test_without_regularization_dependent_features_are_an_error(name):
    X, shares = draw(n_features=2)
    X = np.column_stack([X, X.sum(axis=1)])
    with pytest.raises(IllDefinedCovarianceError, match="features are linearly dependent"):
        structure(name).solve(statistics_of(name, X, shares), Regularization.none(3))


@pytest.mark.parametrize("name", NOT_DIAGONAL)
def test_a_regularization_lost_in_rounding_still_gives_a_covariance(name):
    X, shares = draw(n_features=2)
    X = 1e7 * np.column_stack([X, X.sum(axis=1)])
    parameters = structure(name).solve(
        statistics_of(name, X, shares), regularization(np.full(3, 1e-6))
    )
    covariances = parameters.covariances()
    assert np.isfinite(parameters.whiteners).all()
    assert (np.linalg.eigvalsh(covariances) > 0).all()
    if name in ("full", "tied", "EEV"):
        expected = oracle.m_step(X, shares, name)[2]
        assert_allclose(covariances, expected, rtol=1e-11, atol=1e-11 * expected.max())


def test_only_the_singular_covariance_is_raised():
    X, shares = draw(n_components=2, n_features=3)
    labels = (np.arange(len(X)) % 2).astype(int)
    X[labels == 1, 2] = X[labels == 1, 0]
    X *= 1e7
    shares = oracle.one_hot(labels, 2)
    expected = oracle.m_step(X, shares, "full")[2]
    parameters = structure("full").solve(
        statistics_of("full", X, shares), regularization(np.full(3, 1e-9))
    )
    assert_allclose(parameters.covariances()[0], expected[0], rtol=1e-12)
    assert np.isfinite(parameters.whiteners).all()


def test_an_unknown_structure_is_named():
    with pytest.raises(ValueError, match=r"covariance_type must be one of full, tied.*got 'round'"):
        structure("round")


@every_structure
def test_a_component_without_points_gets_weight_zero_and_usable_numbers(name):
    X, shares = draw()
    shares[:, 1] = 0.0
    parameters = structure(name).solve(statistics_of(name, X, shares), NONE)
    assert parameters.log_weights[1] == -np.inf
    assert isinstance(parameters, MixtureParameters)
    assert np.isfinite(parameters.whiteners).all()
    assert np.isfinite(parameters.means).all()


@every_structure
def test_a_component_without_points_leaves_the_others_as_they_are_without_it(name):
    X, shares = draw()
    shares[:, 1] = 0.0
    found = covariances_of(name, solved(name, X, shares))
    without = covariances_of(name, solved(name, X, shares[:, [0, 2]]))
    assert_allclose(found[[0, 2]], without, rtol=1e-9, atol=1e-11)


@every_structure
def test_components_without_any_points_have_the_regularization_for_covariances(name):
    X, shares = draw()
    amounts = np.full(4, 1e-3)
    parameters = solved(name, X, 0.0 * shares, amounts)
    assert_allclose(covariances_of(name, parameters), np.eye(4)[None] * np.full((3, 1, 1), 1e-3))


# -- parameters from elsewhere --------------------------------------------------------------------


@pytest.mark.parametrize("name", ANY_FEATURES)
def test_the_nearest_mixture_of_a_structure_is_one(name):
    X, shares = draw()
    kind = structure(name)
    anything = structure("diag" if kind.is_diagonal else "full")
    free = anything.solve(statistics_of(name, X, shares), NONE)
    if kind.is_tied or kind.is_spherical:
        return  # their shapes of covariances allow no others
    near = kind.nearest(free)
    counts = near.weights
    expected = kind.whiten(Spread(free.covariances(), counts, NONE))
    assert_allclose(near.whiteners, expected, rtol=1e-8, atol=1e-10)
    assert_array_equal(near.means, free.means)
    again = kind.nearest(near)
    assert_allclose(again.whiteners, near.whiteners, rtol=1e-9, atol=1e-11)


def test_covariances_at_the_edge_of_float64_have_a_nearest_mixture():
    S = np.array([[1.0, 1.0 - 1e-15], [1.0 - 1e-15, 1.0]])
    parameters = MixtureParameters.from_covariances(np.ones(1), np.zeros((1, 2)), S[None])
    for name in ("VEE", "EVE", "VVE", "EEV", "VEV", "EVV"):
        assert np.isfinite(structure(name).nearest(parameters).whiteners).all()


# -- structures for a single feature --------------------------------------------------------------


@pytest.mark.parametrize(("name", "instead"), [("E", "EII"), ("V", "VII")])
def test_several_features_are_refused_by_structures_for_one(name, instead):
    X, shares = draw()
    kind = structure(name)
    message = rf"'{name}' is for data with a single feature, and these have 4: use '{instead}'"
    with pytest.raises(ValueError, match=message):
        kind.solve(statistics_of("diag", X, shares), NONE)
    with pytest.raises(ValueError, match=message):
        kind.from_precisions(np.ones(3) / 3, np.zeros((3, 4)), np.ones(3))
    kind.check_features(1)


def test_a_structure_of_ones_own_needs_little():
    class Unit(CovarianceStructure):
        """Every covariance is the identity."""

        def whiten(self, spread):
            return np.broadcast_to(np.eye(spread.covariances.shape[1]), spread.covariances.shape)

    own = Unit("unit")
    X, shares = draw()
    parameters = own.solve(statistics_of("full", X, shares), NONE)
    assert_array_equal(own.covariances(parameters), np.repeat(np.eye(4)[None], 3, axis=0))
    assert own.name == "unit"
    assert Unit().name == "Unit"


def test_shares_of_a_spread_without_points_are_equal():
    spread = Spread(np.ones((2, 3)), np.zeros(2), Regularization.none(3))
    assert_array_equal(spread.shares, [0.5, 0.5])
    assert_array_equal(replace(spread, counts=np.array([3.0, 1.0])).shares, [0.75, 0.25])
