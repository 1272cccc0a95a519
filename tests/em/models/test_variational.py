"""Variational Bayes against scikit-learn and the oracle, and the properties of its loops."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
import sklearn.mixture
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import ConvergenceWarning

from fastgmm.data.sources.array import ArraySource
from fastgmm.em.e_step.passes import (
    mixture_statistics,
    responsibility_statistics,
    source_moments,
)
from fastgmm.em.initialization.methods import InitSettings
from fastgmm.em.loop import Listeners, Starts, StartState, fit_best
from fastgmm.em.models.variational import (
    VariationalProblem,
    initial_posterior,
)
from fastgmm.em.stopping import SmallChange
from fastgmm.mixture.priors.variational import (
    GivenPrior,
    VariationalPosterior,
    responsibility_entropy,
)
from fastgmm.mixture.priors.weights import WEIGHT_PRIOR_NAMES, weight_prior
from fastgmm.mixture.regularization import Regularization
from fastgmm.mixture.structures import structure
from tests import variational_oracle
from tests.em.batch_fits import fit_variational
from tests.problems import PROBLEMS, problem

SIX = ("full", "tied", "diag", "spherical", "tied_diag", "tied_spherical")
# each structure under one of its names
OTHERS = ("VEI", "EVI", "VEE", "EVE", "VVE", "EEV", "VEV", "EVV")

every_six = pytest.mark.parametrize("name", SIX)
every_prior = pytest.mark.parametrize("weights", WEIGHT_PRIOR_NAMES)
scikit_learns = pytest.mark.parametrize("name", SIX[:4])


def groups(seed=0, n_samples=150, n_features=3):
    rng = np.random.default_rng(seed)
    centers = 3.0 * rng.normal(size=(3, n_features))
    return np.concatenate(
        [
            rng.normal(size=(n_samples // 3, n_features)) @ rng.normal(size=(n_features,) * 2) + c
            for c in centers
        ]
    )


def shares_of(X, n_components=5, seed=0):
    return np.random.default_rng(seed).dirichlet(np.ones(n_components), size=len(X))


def amounts_of(X, reg_covar=1e-6):
    return Regularization(np.full(X.shape[1], reg_covar), np.zeros(X.shape[1], dtype=bool))


def start_from(source, shares, name, weights, regularization, **given):
    kind = structure(name)
    moments = source_moments(source, diagonal=kind.is_diagonal)
    given_prior = GivenPrior(weight_prior(weights, 1.0 / shares.shape[1]), **given)
    prior = given_prior.completed(moments, kind, regularization)
    statistics = responsibility_statistics(source, shares, diagonal=kind.is_diagonal)
    return VariationalPosterior.solve(prior, statistics, kind, regularization)


def fit(X, shares, name, weights, *, reg_covar=1e-6, sample_weight=None, given=None, **options):
    source = ArraySource(X, sample_weight)
    regularization = amounts_of(X, reg_covar)
    start = start_from(source, shares, name, weights, regularization, **(given or {}))
    return fit_variational(source, start, structure(name), regularization, **options)


def fit_scikit_learn(X, shares, name, weights, **options):
    mixture = sklearn.mixture.BayesianGaussianMixture(
        n_components=shares.shape[1],
        covariance_type=name,
        weight_concentration_prior_type=weights,
        **options,
    )

    def begin(X, random_state, xp=None):
        del random_state, xp
        mixture._initialize(X, shares)

    mixture._initialize_parameters = begin
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return mixture.fit(X)


def assert_no_fall(trace, n_rows, itemsize=8):
    rounding = {4: 1e-6, 8: 1e-10}[itemsize]
    falls = -np.diff(trace)
    assert (falls <= rounding * (n_rows + np.abs(trace[1:]))).all()


def assert_same_bits(one, other):
    for attribute in ("concentrations", "means", "mean_precisions", "whiteners"):
        assert_array_equal(getattr(one, attribute), getattr(other, attribute))


@scikit_learns
@every_prior
def test_each_iteration_is_that_of_scikit_learn(name, weights):
    X = groups()
    shares = shares_of(X)
    posterior, info = fit(X, shares, name, weights, tol=0.0, max_iter=12)
    theirs = fit_scikit_learn(X, shares, name, weights, tol=0.0, max_iter=12)
    assert info.n_iter == theirs.n_iter_ == 12
    if hasattr(theirs, "lower_bounds_"):  # from scikit-learn 1.7 on
        assert_allclose(info.trace[1:], np.ravel(theirs.lower_bounds_), rtol=1e-8)
    kind, mixture = structure(name), posterior.mean_parameters()
    assert_allclose(posterior.concentrations, theirs.weight_concentration_, rtol=1e-8, atol=1e-8)
    assert_allclose(posterior.mean_precisions, theirs.mean_precision_, rtol=1e-8)
    assert_allclose(posterior.degrees_of_freedom, theirs.degrees_of_freedom_, rtol=1e-8)
    assert_allclose(mixture.weights, theirs.weights_, rtol=1e-8, atol=1e-12)
    assert_allclose(mixture.means, theirs.means_, rtol=1e-8)
    assert_allclose(kind.covariances(mixture), theirs.covariances_, rtol=1e-8, atol=1e-9)
    assert_allclose(kind.precisions(mixture), theirs.precisions_, rtol=1e-8, atol=1e-8)


@scikit_learns
def test_the_last_iteration_is_that_of_scikit_learn(name):
    X = groups()
    shares = shares_of(X)
    _, info = fit(X, shares, name, "dirichlet_process", max_iter=1000)
    theirs = fit_scikit_learn(X, shares, name, "dirichlet_process", max_iter=1000)
    assert (info.n_iter, info.converged, info.reason) == (theirs.n_iter_, True, "tolerance")


def test_given_priors_mean_what_they_do_in_scikit_learn():
    X = groups()
    shares = shares_of(X)
    mean, scatter = np.array([1.0, -2.0, 0.5]), np.diag([1.0, 2.0, 3.0]) + 0.2
    given = {
        "mean": mean,
        "mean_precision": 0.01,
        "scatter": scatter,
        "degrees_of_freedom": 9.5,
    }
    posterior, info = fit(
        X, shares, "full", "dirichlet_distribution", given=given, tol=0.0, max_iter=5
    )
    theirs = fit_scikit_learn(
        X,
        shares,
        "full",
        "dirichlet_distribution",
        mean_prior=mean,
        mean_precision_prior=0.01,
        covariance_prior=scatter,
        degrees_of_freedom_prior=9.5,
        tol=0.0,
        max_iter=5,
    )
    if hasattr(theirs, "lower_bounds_"):  # from scikit-learn 1.7 on
        assert_allclose(info.trace[1:], theirs.lower_bounds_, rtol=1e-10)
    assert_allclose(posterior.means, theirs.means_, rtol=1e-8)


@every_six
@every_prior
def test_each_iteration_is_that_of_the_formulas(name, weights):
    X = groups()
    shares = shares_of(X)
    copies = np.random.default_rng(4).uniform(0.0, 3.0, size=len(X))
    prior = variational_oracle.prior_of(X, name, weights, 5, copies)
    expected, trace = variational_oracle.fit(X, shares, prior, name, 6, 1e-3, copies)
    posterior, info = fit(
        X, shares, name, weights, reg_covar=1e-3, sample_weight=copies, tol=0.0, max_iter=6
    )
    assert_allclose(posterior.concentrations, expected.concentrations, rtol=1e-9)
    assert_allclose(posterior.means, expected.means, rtol=1e-9)
    assert_allclose(posterior.mean_precisions, expected.mean_precisions, rtol=1e-9)
    constant = info.trace[1] - trace[0]
    assert_allclose(np.subtract(info.trace[1:], trace), constant, atol=1e-8)


@pytest.mark.parametrize(
    ("name", "weights"),
    [
        *[(name, weights) for name in SIX for weights in WEIGHT_PRIOR_NAMES],
        *[(name, WEIGHT_PRIOR_NAMES[0]) for name in OTHERS],
    ],
)
@pytest.mark.parametrize("hard", PROBLEMS, ids=str)
def test_the_lower_bound_never_falls(name, weights, hard):
    X = hard.X
    kind = structure(name)
    source = ArraySource(X, hard.sample_weight)
    moments = source_moments(source, diagonal=kind.is_diagonal)
    regularization = Regularization.from_variances(
        1e-6, "auto", moments.means()[0], moments.variances()[0]
    )
    prior = GivenPrior(weight_prior(weights, 1.0 / hard.n_components)).completed(
        moments, kind, regularization
    )
    start, _ = initial_posterior(
        source,
        hard.n_components,
        prior,
        VariationalProblem(source, kind, regularization),
        InitSettings(np.random.RandomState(0)),
    )
    posterior, info = fit_variational(source, start, kind, regularization, max_iter=30)
    assert_no_fall(info.trace, source.total_weight, X.dtype.itemsize)
    assert np.isfinite(posterior.whiteners).all()
    assert np.isfinite(info.trace).all()


@pytest.mark.parametrize("name", ["full", "diag", "spherical"])
def test_a_step_that_would_lower_the_bound_is_taken_otherwise(name):
    # A tied covariance makes rows equally uncertain under all components: no step can fall there.
    X = groups()
    source, kind, regularization = ArraySource(X), structure(name), amounts_of(X, 0.3)
    start = start_from(source, shares_of(X), name, "dirichlet_process", regularization)
    # the highest bound, which the plain steps move away from
    best, _ = fit_variational(
        source, StartState(start, careful=True), kind, regularization, tol=1e-9, max_iter=2000
    )
    plain, bounds = best, []
    for _ in range(20):
        parameters = plain.expected_parameters()
        statistics = mixture_statistics(source, parameters)
        entropy = responsibility_entropy(parameters, statistics)
        plain = VariationalPosterior.solve(plain.prior, statistics, kind, regularization)
        bounds.append(plain.lower_bound(statistics, entropy, regularization.amounts))
    assert np.diff(bounds).min() < -1e-5
    _, info = fit_variational(source, best, kind, regularization, tol=0.0, max_iter=20)
    assert_no_fall(info.trace, len(X))
    assert info.n_passes > info.n_iter
    assert info.trace[-1] > bounds[-1]


@every_six
def test_weights_count_as_copies(name):
    X = groups()
    copies = np.random.default_rng(1).integers(0, 4, size=len(X))
    shares = shares_of(X)
    weighted, one = fit(
        X, shares, name, "dirichlet_process", sample_weight=copies.astype(float), max_iter=10
    )
    repeated, other = fit(
        np.repeat(X, copies, axis=0),
        np.repeat(shares, copies, axis=0),
        name,
        "dirichlet_process",
        max_iter=10,
    )
    assert_allclose(one.trace, other.trace, rtol=1e-10)
    assert_allclose(weighted.means, repeated.means, rtol=1e-9, atol=1e-9)
    assert_allclose(weighted.whiteners, repeated.whiteners, rtol=1e-9, atol=1e-9)


@every_six
def test_rows_far_from_the_origin_keep_their_digits(name):
    shift = 2.0**27
    X = np.round(groups() * 2.0**20) * 2.0**-20  # exact when shifted
    shares = shares_of(X)
    near, one = fit(X, shares, name, "dirichlet_process", tol=0.0, max_iter=10)
    far, other = fit(X + shift, shares, name, "dirichlet_process", tol=0.0, max_iter=10)
    assert_allclose(other.trace, one.trace, rtol=1e-6)
    assert_allclose(far.means - shift, near.means, atol=1e-6)
    assert_allclose(far.whiteners, near.whiteners, rtol=1e-5, atol=1e-6)


@every_six
def test_tiny_rows_are_fitted_like_large_ones(name):
    scale = 2.0**-13
    X = groups()
    shares = shares_of(X)
    source = ArraySource(X * scale)
    moments = source_moments(source, diagonal=True)
    regularization = Regularization.from_variances(
        1e-6, "auto", moments.means()[0], moments.variances()[0]
    )
    start = start_from(source, shares, name, "dirichlet_process", regularization)
    small, _ = fit_variational(source, start, structure(name), regularization, tol=0.0, max_iter=10)
    large, _ = fit(X, shares, name, "dirichlet_process", reg_covar=1e-12, tol=0.0, max_iter=10)
    assert_allclose(small.whiteners * scale, large.whiteners, rtol=1e-2, atol=1e-3)


@every_six
def test_single_precision_comes_close_to_double(name):
    X = groups().astype(np.float32)
    shares = shares_of(X)
    single, one = fit(X, shares, name, "dirichlet_process", tol=0.0, max_iter=8)
    double, other = fit(
        X.astype(np.float64), shares, name, "dirichlet_process", tol=0.0, max_iter=8
    )
    assert_allclose(one.trace, other.trace, rtol=1e-5)
    assert_allclose(single.means, double.means, rtol=2e-3, atol=2e-3)


def test_single_precision_comes_to_rest_where_it_cannot_tell_more():
    rng = np.random.default_rng(0)
    X = np.concatenate([rng.normal(size=(40_000, 2)), rng.normal(size=(40_000, 2)) + 2.0])
    shares = shares_of(X, 3)
    _, info = fit(X.astype(np.float32), shares, "full", "dirichlet_process", tol=0.0, max_iter=500)
    assert info.reason == "rounding"
    assert abs(info.trace[-1] - info.trace[-2]) < 1.2e-7 * len(X)
    assert_no_fall(info.trace, len(X), itemsize=4)


def test_far_fewer_components_are_used_than_there_are():
    separated = problem("separated")
    X = separated.X
    _, n_groups = np.unique(separated.labels, return_counts=True)
    posterior, info = fit(
        X, shares_of(X, 8, seed=1), "full", "dirichlet_process", max_iter=500, tol=1e-6
    )
    weights = np.sort(posterior.mean_parameters().weights)[::-1]
    assert info.converged
    assert_allclose(weights[:3], np.sort(n_groups)[::-1] / len(X), atol=0.01)
    assert weights[3:].sum() < 0.01


def test_without_iterations_the_start_is_returned_with_its_bound():
    X = groups()
    source, regularization = ArraySource(X), amounts_of(X)
    start = start_from(source, shares_of(X), "full", "dirichlet_process", regularization)
    posterior, info = fit_variational(source, start, structure("full"), regularization, max_iter=0)
    assert posterior is start
    assert (info.n_iter, info.n_passes, info.reason, info.converged) == (0, 1, "max_iter", False)
    _, longer = fit_variational(source, start, structure("full"), regularization, max_iter=2)
    assert info.trace == longer.trace[:1]
    assert longer.n_passes == 2


def test_a_fit_resumes_bitwise_identical():
    X = groups()
    source, regularization = ArraySource(X), amounts_of(X)
    start = start_from(source, shares_of(X), "full", "dirichlet_process", regularization)
    states = []
    whole, info = fit_variational(
        source, start, structure("full"), regularization, observe=states.append
    )
    for state in (states[2], states[-1]):
        again, more = fit_variational(source, state, structure("full"), regularization)
        assert_same_bits(again, whole)
        assert more.trace == info.trace
        assert (more.n_passes, more.reason) == (info.n_passes, info.reason)


def test_a_warm_start_compares_with_the_bound_before():
    X = groups()
    first, info = fit(X, shares_of(X), "full", "dirichlet_process")
    source, regularization = ArraySource(X), amounts_of(X)
    _, again = fit_variational(
        source,
        first,
        structure("full"),
        regularization,
        previous=info.trace[-1],
    )
    assert again.n_iter == 1
    assert again.converged


def test_the_result_does_not_depend_on_the_number_of_threads():
    X = groups(n_samples=9000)
    shares = shares_of(X)
    one, _ = fit(X, shares, "full", "dirichlet_process", n_jobs=1, max_iter=5)
    two, _ = fit(X, shares, "full", "dirichlet_process", n_jobs=2, max_iter=5)
    assert_same_bits(one, two)


def test_a_callback_sees_each_iteration_and_can_end_the_fit():
    X = groups()
    seen = []

    def watch(progress):
        seen.append(progress)
        return progress.iteration == 3

    posterior, info = fit(X, shares_of(X), "full", "dirichlet_process", callback=watch)
    assert [each.iteration for each in seen] == [1, 2, 3]
    assert [each.log_likelihood for each in seen] == list(info.trace[1:])
    assert seen[-1].parameters is posterior
    assert info.reason == "callback"


def test_the_best_of_several_starts_is_kept():
    X = groups()
    source, kind, regularization = ArraySource(X), structure("full"), amounts_of(X)
    starts = [
        start_from(source, shares_of(X, seed=s), "full", "dirichlet_process", regularization)
        for s in range(4)
    ]
    alone = [fit_variational(source, each, kind, regularization)[1] for each in starts]
    states = []
    whole = VariationalProblem(source, kind, regularization)
    draw, rule = Starts(lambda number: (starts[number], None), 4), SmallChange(1e-3)
    _, info = fit_best(whole, draw, rule, 100, Listeners(observe=states.append))
    best = max(alone, key=lambda each: each.trace[-1])
    assert info.trace == best.trace
    assert info.start == alone.index(best)
    assert info.n_passes == sum(each.n_passes for each in alone)
    # from the middle of the third start
    left = next(each for each in states if each.start == 2 and len(each.current.trace) == 3)
    _, resumed = fit_best(whole, draw, rule, 100, resumed=left)
    assert replace(resumed, seconds=info.seconds) == info


def test_a_start_from_a_sample_stands_for_all_rows():
    X = groups(n_samples=900)
    source, kind, regularization = ArraySource(X), structure("full"), amounts_of(X)
    prior = start_from(source, shares_of(X), "full", "dirichlet_distribution", regularization).prior
    start, info = initial_posterior(
        ArraySource(X[::3]),
        3,
        prior,
        VariationalProblem(source, kind, regularization),
        InitSettings(np.random.RandomState(0), subsampled=True),
    )
    assert info.subsampled
    assert_allclose(prior.weights.counts(start.concentrations).sum(), 900.0)


def test_rows_impossibly_far_from_the_prior_are_reported():
    X = groups()
    with pytest.raises(ValueError, match="give a mean_prior and a covariance_prior on the scale"):
        fit(
            np.concatenate([1e-3 * X, [[1e153, 0.0, 0.0]]]),
            np.concatenate([shares_of(X), np.zeros((1, 5))]),
            "full",
            "dirichlet_process",
            reg_covar=0.0,
            given={"mean": np.zeros(3), "scatter": 1e-6 * np.eye(3)},
        )
