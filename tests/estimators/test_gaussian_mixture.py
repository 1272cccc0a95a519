"""`GaussianMixture.fit` against scikit-learn's from the same start, and what it adds."""

import warnings

import numpy as np
import pytest
import sklearn.mixture
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import ConvergenceWarning

from fastgmm import GaussianMixture
from fastgmm.em.degeneracy import DegenerateComponentWarning
from tests.problems import problem

SCIKIT_LEARN_TYPES = ["full", "tied", "diag", "spherical"]
ALL_TYPES = [*SCIKIT_LEARN_TYPES, "tied_diag", "tied_spherical"]
SHAPES = {
    "full": (3, 4, 4),
    "tied": (4, 4),
    "diag": (3, 4),
    "spherical": (3,),
    "tied_diag": (4,),
    "tied_spherical": (),
}
MIXTURE_ATTRIBUTES = ["weights_", "means_", "covariances_", "precisions_", "precisions_cholesky_"]


def rows(seed=0, n_samples=500, dtype=np.float64):
    """Three overlapping groups in four dimensions: EM takes a while on them."""
    rng = np.random.default_rng(seed)
    centers = rng.normal(scale=2.0, size=(3, 4))
    mixing = rng.normal(size=(3, 4, 4)) * 0.6
    groups = rng.integers(3, size=n_samples)
    normal = rng.normal(size=(n_samples, 4))
    return (centers[groups] + np.einsum("nij,nj->ni", mixing[groups], normal)).astype(dtype)


def start(X, covariance_type):
    """Return starting values for both libraries."""
    precisions = {
        "full": np.repeat(np.diag(1 / X.var(axis=0))[None], 3, axis=0),
        "tied": np.diag(1 / X.var(axis=0)),
        "diag": np.repeat(1 / X.var(axis=0)[None], 3, axis=0),
        "spherical": np.full(3, 1 / X.var()),
        "tied_diag": 1 / X.var(axis=0),
        "tied_spherical": np.array(1 / X.var()),
    }
    return {
        "weights_init": np.array([0.2, 0.3, 0.5]),
        "means_init": X[[0, 100, 200]],
        "precisions_init": precisions[covariance_type],
    }


@pytest.mark.parametrize("covariance_type", SCIKIT_LEARN_TYPES)
@pytest.mark.parametrize("max_iter", [1, 12])
def test_from_the_same_start_each_iteration_is_that_of_scikit_learn(covariance_type, max_iter):
    X = rows()
    options = {"covariance_type": covariance_type, "tol": 0.0, "max_iter": max_iter}
    with pytest.warns(ConvergenceWarning):
        ours = GaussianMixture(3, **options, **start(X, covariance_type)).fit(X)
    with pytest.warns(ConvergenceWarning):
        theirs = sklearn.mixture.GaussianMixture(3, **options, **start(X, covariance_type)).fit(X)
    for name in MIXTURE_ATTRIBUTES:
        assert_allclose(getattr(ours, name), getattr(theirs, name), rtol=1e-8, atol=1e-8)
    # scikit-learn's bounds are those before each M-step.
    if hasattr(theirs, "lower_bounds_"):  # from scikit-learn 1.7 on
        assert_allclose(ours.trace_[:-1], theirs.lower_bounds_, rtol=1e-10)
    assert ours.n_iter_ == theirs.n_iter_ == max_iter
    assert not ours.converged_
    assert_allclose(ours.score_samples(X), theirs.score_samples(X), rtol=1e-8)
    assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=1e-8)
    assert_array_equal(ours.predict(X), theirs.predict(X))
    assert ours.score(X) == pytest.approx(theirs.score(X))
    assert ours.bic(X) == pytest.approx(theirs.bic(X))
    assert ours.aic(X) == pytest.approx(theirs.aic(X))
    assert ours._n_parameters() == theirs._n_parameters()


@pytest.mark.parametrize("covariance_type", SCIKIT_LEARN_TYPES)
def test_from_the_same_start_it_converges_in_the_same_iteration(covariance_type):
    X = rows(1)
    ours = GaussianMixture(3, covariance_type=covariance_type, **start(X, covariance_type)).fit(X)
    theirs = sklearn.mixture.GaussianMixture(
        3, covariance_type=covariance_type, **start(X, covariance_type)
    ).fit(X)
    assert ours.n_iter_ == theirs.n_iter_
    assert ours.converged_
    assert theirs.converged_
    assert_allclose(ours.means_, theirs.means_, rtol=1e-8)


@pytest.mark.parametrize("covariance_type", ALL_TYPES)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_shapes_and_dtypes(covariance_type, dtype):
    X = rows(dtype=dtype)
    mixture = GaussianMixture(3, covariance_type=covariance_type, random_state=0).fit(X)
    shapes = {"weights_": (3,), "means_": (3, 4)} | dict.fromkeys(
        ["covariances_", "precisions_", "precisions_cholesky_"], SHAPES[covariance_type]
    )
    for name, shape in shapes.items():
        assert getattr(mixture, name).shape == shape
        assert getattr(mixture, name).dtype == np.float64
    assert mixture.score_samples(X).dtype == dtype
    assert mixture.score_samples(X).shape == (500,)
    assert mixture.predict_proba(X).dtype == dtype
    assert mixture.predict_proba(X).shape == (500, 3)
    assert mixture.predict(X).dtype == np.int64
    assert isinstance(mixture.score(X), float)
    assert isinstance(mixture.lower_bound_, float)
    assert isinstance(mixture.lower_bounds_, list)
    assert isinstance(mixture.converged_, bool)
    sampled, labels = mixture.sample(20)
    assert sampled.shape == (20, 4)
    assert labels.shape == (20,)


@pytest.mark.parametrize("covariance_type", SCIKIT_LEARN_TYPES)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_attributes_have_the_shapes_and_dtypes_of_scikit_learn(covariance_type, dtype):
    X = rows(dtype=dtype)
    ours = GaussianMixture(3, covariance_type=covariance_type, random_state=0).fit(X)
    theirs = sklearn.mixture.GaussianMixture(
        3, covariance_type=covariance_type, random_state=0
    ).fit(X)
    assert set(vars(theirs)) <= set(vars(ours))
    for name in MIXTURE_ATTRIBUTES:
        assert getattr(ours, name).shape == getattr(theirs, name).shape
        assert getattr(ours, name).dtype == np.float64  # in scikit-learn, that of the rows
    for method in ("score_samples", "predict_proba", "predict"):
        found = getattr(ours, method)(X).dtype
        assert found == (np.int64 if method == "predict" else dtype)
        # From 1.8 on scikit-learn computes in single precision, too.
        assert theirs.means_.dtype != dtype or found == getattr(theirs, method)(X).dtype


@pytest.mark.parametrize("covariance_type", ALL_TYPES)
def test_covariances_precisions_and_their_factors_belong_together(covariance_type):
    mixture = GaussianMixture(3, covariance_type=covariance_type, random_state=0).fit(rows())
    factors = mixture.precisions_cholesky_
    if covariance_type in ("full", "tied"):
        assert_array_equal(factors, np.triu(factors))
        assert_allclose(factors @ factors.swapaxes(-1, -2), mixture.precisions_, rtol=1e-10)
        identity = np.broadcast_to(np.eye(4), mixture.covariances_.shape)
        assert_allclose(mixture.covariances_ @ mixture.precisions_, identity, atol=1e-10)
    else:
        assert_allclose(factors**2, mixture.precisions_)
        assert_allclose(mixture.covariances_ * mixture.precisions_, 1.0)


@pytest.mark.parametrize("covariance_type", ["tied_diag", "tied_spherical"])
def test_tied_diagonal_structures_are_the_diagonal_of_the_tied_one_when_there_is_one_component(
    covariance_type,
):
    X = rows()
    mixture = GaussianMixture(1, covariance_type=covariance_type, reg_covar=0.0).fit(X)
    variances = X.var(axis=0)
    expected = variances if covariance_type == "tied_diag" else variances.mean()
    assert_allclose(mixture.covariances_, expected)


@pytest.mark.parametrize("covariance_type", ALL_TYPES)
def test_trace_bounds_and_score_agree(covariance_type):
    X = rows()
    mixture = GaussianMixture(3, covariance_type=covariance_type, tol=1e-6, random_state=0).fit(X)
    assert mixture.trace_.shape == (mixture.n_iter_ + 1,)
    assert_array_equal(mixture.trace_[1:], mixture.lower_bounds_)
    assert mixture.lower_bound_ == mixture.trace_[-1]
    assert mixture.lower_bound_ == pytest.approx(mixture.score(X), rel=1e-12)
    assert mixture.lower_bound_ == pytest.approx(mixture.score_samples(X).mean(), rel=1e-12)
    assert np.all(np.diff(mixture.trace_) >= -1e-12)
    info = mixture.fit_info_
    assert info.trace == tuple(mixture.trace_)
    assert info.n_iter == mixture.n_iter_
    assert info.reason == "tolerance"
    assert info.n_passes == mixture.n_iter_ + 1
    assert info.initialization.method == "kmeans"


@pytest.mark.parametrize("init_params", ["kmeans", "k-means++", "random", "random_from_data"])
@pytest.mark.parametrize("covariance_type", ALL_TYPES)
def test_a_seed_makes_every_start_reproducible(init_params, covariance_type):
    X = rows()
    options = {"covariance_type": covariance_type, "init_params": init_params, "max_iter": 3}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        first, second = (GaussianMixture(3, random_state=7, **options).fit(X) for _ in range(2))
    for name in MIXTURE_ATTRIBUTES:
        assert_array_equal(getattr(first, name), getattr(second, name))
    assert first.fit_info_.initialization.method == init_params


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("max_iter", [0, 1, 50])
def test_fit_predict_is_fit_and_predict(dtype, max_iter):
    X = rows(dtype=dtype)
    options = {"max_iter": max_iter, "random_state": 3}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        labels = GaussianMixture(3, **options).fit_predict(X)
        assert_array_equal(labels, GaussianMixture(3, **options).fit(X).predict(X))


def test_the_best_of_several_starts_is_kept():
    X = rows(4)
    singles = [
        GaussianMixture(3, init_params="random_from_data", random_state=seed).fit(X)
        for seed in range(3)
    ]
    generator = np.random.RandomState(0)
    several = GaussianMixture(
        3, init_params="random_from_data", n_init=6, random_state=generator
    ).fit(X)
    assert several.lower_bound_ >= singles[0].lower_bound_
    assert several.fit_info_.n_passes > several.n_iter_ + 1
    assert several.converged_


def test_without_iterations_the_start_is_the_result():
    X = rows()
    given = start(X, "full")
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # scikit-learn does not warn either
        mixture = GaussianMixture(3, max_iter=0, **given).fit(X)
    assert_allclose(mixture.weights_, given["weights_init"])
    assert_allclose(mixture.means_, given["means_init"])
    assert_allclose(mixture.precisions_, given["precisions_init"])
    assert mixture.n_iter_ == 0
    assert mixture.lower_bounds_ == []
    assert not mixture.converged_
    assert mixture.lower_bound_ == pytest.approx(mixture.score(X))


def test_starting_values_are_left_as_given():
    X = rows()
    given = {name: value.tolist() for name, value in start(X, "full").items()}
    mixture = GaussianMixture(3, **given).fit(X)
    for name, value in given.items():
        assert getattr(mixture, name) is value


@pytest.mark.parametrize("part", ["weights_init", "means_init", "precisions_init"])
@pytest.mark.parametrize("covariance_type", ALL_TYPES)
def test_one_starting_value_replaces_what_is_found(part, covariance_type):
    X = rows()
    given = {part: start(X, covariance_type)[part]}
    mixture = GaussianMixture(
        3, covariance_type=covariance_type, max_iter=0, random_state=0, **given
    ).fit(X)
    attribute = part.replace("init", "")
    assert_allclose(getattr(mixture, attribute), given[part])


def test_labels_as_start():
    X = rows()
    labels = np.arange(len(X)) % 3
    labels[:30] = -1
    mixture = GaussianMixture(3, labels_init=labels, max_iter=0, reg_covar=0.0).fit(X)
    for k in range(3):
        assert_allclose(mixture.means_[k], X[labels == k].mean(axis=0))
        assert_allclose(mixture.covariances_[k], np.cov(X[labels == k].T, bias=True))
    assert mixture.fit_info_.initialization.method == "labels"


@pytest.mark.parametrize("covariance_type", SCIKIT_LEARN_TYPES)
def test_warm_starts_continue_as_in_scikit_learn(covariance_type):
    X = rows(2)
    options = {"covariance_type": covariance_type, "max_iter": 5, "warm_start": True, "tol": 1e-4}
    ours = GaussianMixture(3, **options, **start(X, covariance_type))
    theirs = sklearn.mixture.GaussianMixture(3, **options, **start(X, covariance_type))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        for _ in range(40):
            ours.fit(X)
            theirs.fit(X)
            assert_allclose(ours.means_, theirs.means_, rtol=1e-7, atol=1e-7)
            assert ours.n_iter_ == theirs.n_iter_
            assert ours.converged_ == theirs.converged_
            if theirs.converged_:
                break
    assert ours.converged_


def test_warm_starts_take_the_same_path_as_one_fit():
    X = rows(2)
    given = start(X, "full")
    at_once = GaussianMixture(3, tol=1e-4, **given).fit(X)
    in_parts = GaussianMixture(3, tol=1e-4, max_iter=4, warm_start=True, **given)
    n_iter = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        while not getattr(in_parts, "converged_", False):
            n_iter += in_parts.fit(X).n_iter_
    assert n_iter == at_once.n_iter_
    assert_allclose(in_parts.means_, at_once.means_, rtol=1e-9)


def test_warm_start_ignores_starting_values_and_further_starts():
    X = rows()
    mixture = GaussianMixture(3, n_init=4, warm_start=True, random_state=0).fit(X)
    means = mixture.means_
    mixture.set_params(means_init=X[:3] + 100.0, max_iter=1, tol=10.0).fit(X)
    assert_allclose(mixture.means_, means, atol=0.1)


def test_warm_start_of_another_size_is_refused():
    X = rows()
    mixture = GaussianMixture(3, warm_start=True, random_state=0).fit(X)
    with pytest.raises(ValueError, match=r"continues from means_ of shape \(3, 4\), but n_comp"):
        mixture.set_params(n_components=2).fit(X)
    with pytest.raises(ValueError, match=r"warm_start=False for a fit of another size"):
        mixture.set_params(n_components=3).fit(X[:, :3])


def test_a_failed_fit_leaves_the_fit_before():
    X = rows()
    mixture = GaussianMixture(3, random_state=0).fit(X)
    means = mixture.means_
    with pytest.raises(ValueError, match="means_init"):
        mixture.set_params(means_init=np.zeros((2, 4))).fit(X)
    assert mixture.means_ is means


@pytest.mark.parametrize("covariance_type", ALL_TYPES)
def test_weights_are_repetitions(covariance_type):
    rng = np.random.default_rng(0)
    X = rows()
    weights = rng.integers(0, 4, size=len(X))
    repeated = np.repeat(X, weights, axis=0)
    options = {"covariance_type": covariance_type, **start(X, covariance_type)}
    weighted = GaussianMixture(3, **options).fit(X, sample_weight=weights)
    copied = GaussianMixture(3, **options).fit(repeated)
    for name in MIXTURE_ATTRIBUTES:
        assert_allclose(getattr(weighted, name), getattr(copied, name), rtol=1e-8, atol=1e-10)
    assert weighted.n_iter_ == copied.n_iter_
    assert weighted.lower_bound_ == pytest.approx(copied.lower_bound_)
    for method in ("score", "bic", "aic", "icl", "entropy"):
        assert getattr(weighted, method)(X, sample_weight=weights) == pytest.approx(
            getattr(copied, method)(repeated)
        )


def test_weights_are_repetitions_from_the_default_start():
    X = rows()
    weights = np.random.default_rng(0).integers(0, 4, size=len(X))
    weighted = GaussianMixture(3, random_state=0).fit(X, sample_weight=weights)
    copied = GaussianMixture(3, random_state=0).fit(np.repeat(X, weights, axis=0))
    assert_allclose(weighted.means_, copied.means_, rtol=1e-7)


def test_unit_weights_change_nothing():
    X = rows()
    plain = GaussianMixture(3, random_state=0).fit(X)
    weighted = GaussianMixture(3, random_state=0).fit(X, sample_weight=np.ones(len(X)))
    assert_allclose(weighted.means_, plain.means_, rtol=1e-10)


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e100])
def test_the_scale_of_the_data_does_not_matter(scale):
    X = rows()
    reference = GaussianMixture(3, random_state=0, reg_covar_scale="relative").fit(X)
    scaled = GaussianMixture(3, random_state=0, reg_covar_scale="relative").fit(X * scale)
    assert_allclose(scaled.covariances_ / scale / scale, reference.covariances_, rtol=1e-6)


def test_regularization_is_that_of_scikit_learn_where_asked_for():
    X = rows() * 1e-4
    given = {"max_iter": 1, "tol": 0.0, "means_init": X[:3], "weights_init": [0.3, 0.3, 0.4]}
    given["precisions_init"] = np.repeat(np.eye(4)[None] * 2e5, 3, axis=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.simplefilter("ignore", DegenerateComponentWarning)
        theirs = sklearn.mixture.GaussianMixture(3, **given).fit(X)
        absolute = GaussianMixture(3, reg_covar_scale="absolute", **given).fit(X)
        automatic = GaussianMixture(3, **given).fit(X)
    assert_allclose(absolute.covariances_, theirs.covariances_, rtol=1e-8)
    assert automatic.covariances_.max() < 0.5 * theirs.covariances_.max()


def test_no_convergence_is_warned_of_where_fit_was_called():
    with pytest.warns(
        ConvergenceWarning,
        match=r"^Best performing initialization did not converge\. Try .*max_iter=2.*tol=1e-09",
    ) as caught:
        GaussianMixture(3, max_iter=2, tol=1e-9, random_state=0).fit(rows())
    assert [each.filename for each in caught] == [__file__]


def diverging():
    """Return a start whose first component holds a single row (scikit-learn's issue 18216)."""
    X = np.random.RandomState(0).uniform(size=(30, 3))
    means = [
        [0.670637869618158, 0.21038256107384043, 0.12892629765485303],
        [0.09394051075844147, 0.5759464955561779, 0.929296197576212],
        [0.5033230372781258, 0.9569852381759425, 0.08654043447295741],
        [0.18578301420435747, 0.5531158970919143, 0.19388943970532435],
        [0.4548589928173794, 0.35182513658825276, 0.568146063202464],
        [0.609279894978321, 0.7929063819678847, 0.9620097270828052],
    ]
    precisions = [999999.999604483, 999999.9990869573, 553.7603944542167]
    precisions += [204.78596008931834, 15.867423501783637, 85.4595728389735]
    return X, {
        "covariance_type": "spherical",
        "reg_covar": 0.0,
        "weights_init": np.array([1.0, 1.0, 2.0, 2.0, 21.0, 3.0]) / 30.0,
        "means_init": np.array(means),
        "precisions_init": np.array(precisions),
    }


@pytest.mark.parametrize("max_iter", [1, 2, 100])
def test_a_given_start_that_diverges_is_returned_with_a_warning(max_iter):
    X, given = diverging()
    mixture = GaussianMixture(6, max_iter=max_iter, **given)
    with (
        pytest.warns(ConvergenceWarning, match="1 a covariance would have been") as caught,
        pytest.warns(DegenerateComponentWarning, match="component 0 is ill-defined"),
    ):
        mixture.fit(X)
    assert caught[0].filename == __file__
    assert (mixture.converged_, mixture.n_iter_) == (False, 1)
    assert mixture.fit_info_.reason == "singular"
    assert_allclose(mixture.weights_, given["weights_init"])
    assert_allclose(mixture.means_, given["means_init"])
    assert_allclose(mixture.precisions_, given["precisions_init"])
    assert mixture.lower_bounds_ == [mixture.lower_bound_]
    assert mixture.lower_bound_ == pytest.approx(mixture.score(X))
    with pytest.warns(ConvergenceWarning):
        theirs = sklearn.mixture.GaussianMixture(6, max_iter=1, **given).fit(X)
    assert mixture.lower_bound_ == pytest.approx(theirs.lower_bound_, rel=1e-9)
    with pytest.warns(DegenerateComponentWarning), pytest.warns(ConvergenceWarning):
        mixture.set_params(warm_start=True).fit(X)
    assert_allclose(mixture.means_, given["means_init"])


def test_a_start_of_our_own_that_collapses_is_an_error():
    X = np.vstack([np.ones((5, 5)), np.zeros((5, 5))])
    for covariance_type in ALL_TYPES:
        mixture = GaussianMixture(10, covariance_type=covariance_type, reg_covar=0.0)
        with pytest.raises(ValueError, match="ill-defined"):
            mixture.fit(X)


def test_a_collapsed_component_is_warned_of_where_fit_was_called():
    X = np.concatenate([rows(), np.full((50, 4), 30.0)])
    with pytest.warns(DegenerateComponentWarning, match="has lost its spread") as caught:
        mixture = GaussianMixture(4, random_state=0).fit(X)
    assert {each.filename for each in caught} == {__file__}
    assert np.isfinite(mixture.covariances_).all()
    assert [each.kind for each in mixture.fit_info_.degeneracies] == ["collapsed"]


@pytest.mark.parametrize("covariance_type", ALL_TYPES)
def test_threads_do_not_change_a_bit(covariance_type):
    X = rows(n_samples=3000)
    options = {"covariance_type": covariance_type, "random_state": 0}
    one = GaussianMixture(3, n_jobs=1, **options).fit(X)
    all_threads = GaussianMixture(3, n_jobs=-1, **options).fit(X)
    for name in MIXTURE_ATTRIBUTES:
        assert_array_equal(getattr(one, name), getattr(all_threads, name))
    assert_array_equal(one.trace_, all_threads.trace_)
    assert_array_equal(one.predict_proba(X), all_threads.predict_proba(X))
    assert one.fit_info_.n_threads == 1


def test_an_accelerated_fit_takes_fewer_iterations_to_no_lower_a_likelihood():
    X = problem("overlapping").X
    settings = {"n_components": 3, "random_state": 0, "tol": 1e-9, "max_iter": 5000}
    plain = GaussianMixture(**settings).fit(X)
    quick = GaussianMixture(**settings, acceleration="squarem").fit(X)
    assert quick.converged_
    assert 2 * quick.n_iter_ < plain.n_iter_
    assert quick.lower_bound_ > plain.lower_bound_ - 1e-7
    assert (np.diff(quick.trace_) >= 0.0).all()
    assert_allclose(quick.score(X), quick.lower_bound_, rtol=1e-12)


@pytest.mark.parametrize(
    ("others", "name"),
    [
        ({"noise_volume": "auto"}, "noise_volume"),
        ({"covariance_type": "factors", "n_factors": 1}, "n_factors"),
    ],
)
def test_what_cannot_be_accelerated_is_refused(others, name):
    X = np.random.default_rng(0).normal(size=(50, 4))
    mixture = GaussianMixture(acceleration="squarem", **others)
    with pytest.raises(ValueError, match=f"acceleration='squarem' does not go together .* {name}"):
        mixture.fit(X)
