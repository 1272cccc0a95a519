"""Batch EM against scikit-learn, exact answers, and what must hold of any fit."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.datasets import load_iris
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

from fastgmm.data.sources.array import ArraySource
from fastgmm.em.degeneracy import regularization_for
from fastgmm.em.initialization.methods import InitializationInfo
from fastgmm.em.loop import Listeners, Starts, fit_best
from fastgmm.em.problem import EMProblem
from fastgmm.em.stopping import SmallChange
from fastgmm.mixture.parameters import MixtureParameters
from fastgmm.mixture.regularization import IllDefinedCovarianceError, Regularization
from fastgmm.mixture.structures import structure
from tests import oracle
from tests.em.batch_fits import fit, fit_em, start_of
from tests.problems import PROBLEMS, problem
from tests.structures import covariances_of, every_structure

exact_problems = pytest.mark.parametrize(
    "hard", [p for p in PROBLEMS if p.labels is not None and not p.degenerate], ids=str
)


# -- against scikit-learn -------------------------------------------------------------------------


def theirs_from(start, name, X, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return GaussianMixture(
            start.n_components,
            covariance_type=name,
            weights_init=start.weights,
            means_init=start.means,
            precisions_init=structure(name).precisions(start),
            **options,
        ).fit(X)


@pytest.mark.parametrize("name", ["full", "tied", "diag", "spherical"])
@pytest.mark.parametrize("n_iter", [1, 3, 20])
@pytest.mark.parametrize("data", ["iris", "overlapping", "separated"])
def test_after_as_many_steps_from_the_same_start_the_parameters_are_scikit_learns(
    name, n_iter, data
):
    X = load_iris().data if data == "iris" else problem(data).X
    start, regularization = start_of(ArraySource(X), 3, name)
    ours, info = fit(X, 3, name, start=start, regularization=regularization, tol=0, max_iter=n_iter)
    theirs = theirs_from(start, name, X, tol=0, max_iter=n_iter)
    assert_allclose(ours.weights, theirs.weights_, rtol=1e-9)
    assert_allclose(ours.means, theirs.means_, rtol=1e-9)
    assert_allclose(structure(name).covariances(ours), theirs.covariances_, rtol=1e-8, atol=1e-9)
    assert_allclose(structure(name).precisions(ours), theirs.precisions_, rtol=1e-8, atol=1e-8)
    # Their bounds are of the parameters before each M-step; the last of ours is of those returned.
    if hasattr(theirs, "lower_bounds_"):  # from scikit-learn 1.7 on
        assert_allclose(info.trace[:-1], theirs.lower_bounds_, rtol=1e-12)
    assert info.trace[-1] == pytest.approx(theirs.score(X), rel=1e-12)


@pytest.mark.parametrize("name", ["full", "tied", "diag", "spherical"])
def test_a_fit_stops_where_scikit_learns_stops(name):
    X = problem("overlapping").X
    start, regularization = start_of(ArraySource(X), 3, name)
    _, info = fit(X, 3, name, start=start, regularization=regularization, tol=1e-4, max_iter=300)
    theirs = theirs_from(start, name, X, tol=1e-4, max_iter=300)
    assert info.converged
    assert info.reason == "tolerance"
    assert info.n_iter == theirs.n_iter_


# -- exact answers --------------------------------------------------------------------------------


@exact_problems
@every_structure
def test_groups_far_apart_are_found_to_the_last_digits(hard, name):
    """Responsibilities are 0 or 1, so that the fit is the moments of the groups."""
    source = ArraySource(hard.X)
    start, _ = start_of(source, hard.n_components, name, labels=hard.labels)
    none = Regularization.none(source.n_features)
    if hard.name == "constant_feature":
        none = Regularization(np.array([0.0, 0.0, 1e-6]), np.array([False, False, True]))
    parameters, _ = fit_em(source, start, structure(name), none, tol=0.0, max_iter=5)
    groups = [hard.X[hard.labels == k] for k in range(hard.n_components)]
    exact = [oracle.exact_moments(group) for group in groups]
    single = hard.X.dtype == np.float32
    spread = np.array([np.sqrt(np.diag(covariance)) for _, covariance in exact])
    spread[spread == 0.0] = 1.0
    means = np.array([mean for mean, _ in exact])
    resolution = np.abs(means) * np.finfo(np.float64).eps
    assert (
        np.abs(parameters.means - means) <= (1e-6 if single else 1e-12) * spread + 2 * resolution
    ).all()
    covariances = np.array([covariance for _, covariance in exact]) + np.diag(none.amounts)
    size = covariances.max()
    counts = np.bincount(hard.labels).astype(np.float64)
    covariances = size * oracle.best_covariances(name, covariances / size, counts)
    errors = (
        (covariances_of(name, parameters) - covariances) / spread[:, :, None] / spread[:, None, :]
    )
    assert np.abs(errors).max() < (1e-5 if single else 1e-10)


def test_one_component_is_the_mean_and_covariance_of_all_rows():
    X = problem("single_component").X
    parameters, info = fit(X, 1, "full", tol=1e-3)
    assert_allclose(parameters.means[0], X.mean(axis=0), rtol=1e-13)
    expected = np.cov(X.T, bias=True) + 1e-6 * np.eye(3)
    assert_allclose(parameters.covariances()[0], expected, rtol=1e-12)
    assert info.n_iter == 2  # the second pass sees no change


# -- symmetries -----------------------------------------------------------------------------------


def assert_same_mixture(left, right, name, **tolerance):
    assert_allclose(left.weights, right.weights, **tolerance)
    assert_allclose(left.means, right.means, **tolerance)
    assert_allclose(covariances_of(name, left), covariances_of(name, right), **tolerance)


@every_structure
@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=5)
def test_the_order_of_rows_columns_and_components_does_not_matter(name, seed):
    rng = np.random.default_rng(seed)
    X = problem("overlapping").X
    start, _ = start_of(ArraySource(X), 3, name)
    rows, columns, order = rng.permutation(len(X)), rng.permutation(3), rng.permutation(3)
    covariances = covariances_of(name, start)[order][:, columns][:, :, columns]
    if structure(name).is_diagonal:
        covariances = np.einsum("kii->ki", covariances)
    permuted = MixtureParameters.from_covariances(
        start.weights[order], start.means[order][:, columns], covariances
    )
    ours, info = fit(X, 3, name, start=start, tol=0, max_iter=10)
    again, other = fit(X[rows][:, columns], 3, name, start=permuted, tol=0, max_iter=10)
    assert_allclose(info.trace, other.trace, rtol=1e-10)
    assert_allclose(again.weights, ours.weights[order], rtol=1e-8)
    assert_allclose(again.means, ours.means[order][:, columns], rtol=1e-7, atol=1e-9)
    expected = covariances_of(name, ours)[order][:, columns][:, :, columns]
    assert_allclose(covariances_of(name, again), expected, rtol=1e-7, atol=1e-9)


@every_structure
@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=5)
def test_integer_weights_are_repetitions(name, seed):
    X = problem("overlapping").X
    copies = np.random.default_rng(seed).integers(0, 4, size=len(X))
    start, _ = start_of(ArraySource(X), 3, name)
    weighted, info = fit(
        X, 3, name, weights=copies.astype(np.float64), start=start, tol=0, max_iter=10
    )
    repeated, other = fit(np.repeat(X, copies, axis=0), 3, name, start=start, tol=0, max_iter=10)
    assert_allclose(info.trace, other.trace, rtol=1e-11)
    assert_same_mixture(weighted, repeated, name, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("name", ["full", "tied"])
@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=5)
def test_a_fit_follows_linear_maps_of_the_data(name, seed):
    rng = np.random.default_rng(seed)
    X = problem("overlapping").X
    A = np.linalg.qr(rng.normal(size=(3, 3)))[0] * rng.uniform(0.2, 5.0, size=3)
    shift = rng.normal(size=3) * 10
    start, _ = start_of(ArraySource(X), 3, name)
    mapped = MixtureParameters.from_covariances(
        start.weights, start.means @ A.T + shift, A @ start.covariances() @ A.T
    )
    none = Regularization.none(3)
    ours, info = fit(X, 3, name, start=start, regularization=none, tol=0, max_iter=10)
    again, other = fit(
        X @ A.T + shift, 3, name, start=mapped, regularization=none, tol=0, max_iter=10
    )
    log_volume = np.linalg.slogdet(A)[1]
    assert_allclose(np.array(other.trace) + log_volume, info.trace, rtol=1e-9)
    assert_allclose(again.means, ours.means @ A.T + shift, rtol=1e-7, atol=1e-7)
    expected = A @ ours.covariances() @ A.T
    assert_allclose(again.covariances(), expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", ["diag", "spherical", "tied_diag", "tied_spherical"])
@pytest.mark.parametrize("scale", [1e-150, 1e-4, 1e150])
def test_a_fit_follows_the_unit_of_the_data(name, scale):
    X = problem("overlapping").X
    start, _ = start_of(ArraySource(X), 3, name)
    kind = structure(name)
    scaled = kind.from_covariances(
        start.weights, start.means * scale, kind.covariances(start) * scale * scale
    )
    none = Regularization.none(3)
    ours, _ = fit(X, 3, name, start=start, regularization=none, tol=0, max_iter=10)
    again, _ = fit(X * scale, 3, name, start=scaled, regularization=none, tol=0, max_iter=10)
    assert_allclose(again.means / scale, ours.means, rtol=1e-10)
    assert_allclose(kind.covariances(again) / scale / scale, kind.covariances(ours), rtol=1e-10)


# -- the loop -------------------------------------------------------------------------------------


def test_no_iterations_return_the_start_and_its_log_likelihood():
    X = problem("overlapping").X
    start, _ = start_of(ArraySource(X), 3, "full")
    parameters, info = fit(X, 3, "full", start=start, max_iter=0)
    assert parameters is start
    expected = oracle.log_density(X, start.weights, start.means, start.covariances()).mean()
    assert info.trace == (pytest.approx(expected, rel=1e-12),)
    assert (info.n_iter, info.n_passes, info.converged) == (0, 1, False)
    assert info.degeneracies == ()


def test_a_callback_sees_every_iteration_and_may_stop():
    X = problem("overlapping").X
    start, _ = start_of(ArraySource(X), 3, "full")
    seen = []

    def callback(progress):
        seen.append(progress)
        return progress.iteration == 4

    parameters, info = fit(X, 3, "full", start=start, tol=0, callback=callback)
    assert [each.iteration for each in seen] == [1, 2, 3, 4]
    assert seen[-1].parameters is parameters
    assert not seen[-1].converged
    assert [each.log_likelihood for each in seen] == list(info.trace[:-1])
    assert seen[0].change == np.inf
    assert [each.change for each in seen[1:]] == list(np.diff(info.trace[:-1]))
    assert (info.reason, info.converged, info.n_iter) == ("callback", False, 4)
    _, uninterrupted = fit(X, 3, "full", start=start, tol=0, max_iter=4)
    assert info.trace == uninterrupted.trace


def test_a_callback_is_informed_that_the_fit_converged():
    X = problem("separated").X
    seen = []
    _, info = fit(X, 3, "full", callback=seen.append)
    assert info.converged
    assert [each.converged for each in seen] == [False] * (info.n_iter - 1) + [True]


def test_an_interruption_passes_through():
    X = problem("overlapping").X

    def interrupt(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(X, 3, "full", callback=interrupt)


def test_a_warm_start_continues_as_if_uninterrupted():
    X = problem("overlapping").X
    start, regularization = start_of(ArraySource(X), 3, "full")
    whole, info = fit(X, 3, "full", start=start, tol=1e-4, max_iter=300)
    half, first = fit(X, 3, "full", start=start, tol=1e-4, max_iter=5)
    rest, second = fit(
        X,
        3,
        "full",
        start=half,
        regularization=regularization,
        tol=1e-4,
        max_iter=300,
        previous=first.trace[-2],
    )
    assert info.n_iter == first.n_iter + second.n_iter
    assert_array_equal(rest.means, whole.means)


def test_the_best_of_several_starts_is_kept():
    X = problem("overlapping").X
    source = ArraySource(X)
    kind, regularization = structure("full"), regularization_for(source, 1e-6, "auto")
    starts = [start_of(source, 3, "full", method="random", seed=seed) for seed in range(4)]

    def draw_start(number):
        return starts[number][0], InitializationInfo(f"start {number}", len(X), subsampled=False)

    seen = []
    parameters, info = fit_best(
        EMProblem(source, kind, regularization),
        Starts(draw_start, 4),
        SmallChange(1e-3),
        15,
        Listeners(iterate=lambda progress: seen.append(progress.start)),
    )
    single = [fit(X, 3, "full", start=start, max_iter=15) for start, _ in starts]
    best = int(np.argmax([each.trace[-1] for _, each in single]))
    assert info.start == best
    assert info.initialization.method == f"start {best}"
    assert info.trace == single[best][1].trace
    assert_array_equal(parameters.means, single[best][0].means)
    assert info.n_passes == sum(each.n_passes for _, each in single)
    assert info.seconds > 0
    assert info.n_threads >= 1
    assert sorted(set(seen)) == [0, 1, 2, 3]


def test_no_further_starts_after_the_callback_stopped():
    X = problem("overlapping").X
    source = ArraySource(X)
    drawn = []

    def draw_start(number):
        drawn.append(number)
        start, _ = start_of(source, 3, "full", seed=number)
        return start, InitializationInfo("kmeans", len(X), subsampled=False)

    regularization = regularization_for(source, 1e-6, "auto")
    _, info = fit_best(
        EMProblem(source, structure("full"), regularization),
        Starts(draw_start, 3),
        SmallChange(1e-3),
        100,
        Listeners(iterate=lambda _: True),
    )
    assert drawn == [0]
    assert (info.n_iter, info.reason) == (1, "callback")


def test_no_further_starts_after_the_callback_stopped_in_the_iteration_that_converged():
    source = ArraySource(problem("overlapping").X)
    seen = []

    def draw_start(number):
        start, _ = start_of(source, 3, "full", seed=number)
        return start, InitializationInfo("kmeans", source.n_samples, subsampled=False)

    def stop_when_converged(progress):
        seen.append(progress.start)
        return progress.converged

    regularization = regularization_for(source, 1e-6, "auto")
    _, info = fit_best(
        EMProblem(source, structure("full"), regularization),
        Starts(draw_start, 3),
        SmallChange(1e-3),
        100,
        Listeners(iterate=stop_when_converged),
    )
    assert set(seen) == {0}
    assert info.reason == "tolerance"


def test_no_start_at_all_is_an_error():
    source = ArraySource(problem("overlapping").X)
    fitted = EMProblem(source, structure("full"), Regularization.none(3))
    with pytest.raises(ValueError, match="n_init must be at least 1; got 0"):
        fit_best(fitted, Starts(lambda _: None, 0), SmallChange(1e-3), 100)


def test_a_start_out_of_reach_is_reported():
    X = np.array([[1e200], [2e200], [0.0]])
    start = structure("full").from_covariances(np.ones(1), np.zeros((1, 1)), np.ones((1, 1, 1)))
    for max_iter in (0, 5):
        with pytest.raises(ValueError, match=r"log-likelihood is (-inf|nan).*scale of the data"):
            fit(
                X,
                1,
                "full",
                start=start,
                regularization=Regularization.none(1),
                max_iter=max_iter,
            )


@every_structure
def test_without_regularization_a_collapse_is_an_error(name):
    X = problem("duplicate_rows").X
    source = ArraySource(X)
    start, _ = start_of(source, 3, name)
    with pytest.raises(IllDefinedCovarianceError, match="ill-defined"):
        fit_em(source, start, structure(name), Regularization.none(2), max_iter=20)


def test_blas_has_one_thread_during_a_fit_and_its_own_number_after():
    from threadpoolctl import threadpool_info

    def blas_threads():
        return [each["num_threads"] for each in threadpool_info() if each["user_api"] == "blas"]

    X = problem("overlapping").X
    start, _ = start_of(ArraySource(X), 3, "full")
    before, seen = blas_threads(), []
    fit(X, 3, "full", start=start, callback=lambda _: seen.append(blas_threads()))
    assert seen
    assert all(set(each) == {1} for each in seen)
    assert blas_threads() == before
