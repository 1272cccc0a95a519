"""`BayesianGaussianMixture` against scikit-learn's from the same start, and what it adds."""

import inspect
import pickle
import warnings

import numpy as np
import pytest
import sklearn.mixture
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.utils._param_validation import InvalidParameterError

from fastgmm import BayesianGaussianMixture, GaussianMixture
from fastgmm.em.initialization import data_scan
from fastgmm.mixture.priors.weights import WEIGHT_PRIOR_NAMES
from fastgmm.mixture.regularization import IllDefinedCovarianceError
from fastgmm.mixture.structures import STRUCTURE_NAMES, structure
from tests import oracle
from tests.written_data import write_parquet

SCIKIT_LEARN_TYPES = ["full", "tied", "diag", "spherical"]
MATRICES = [name for name in STRUCTURE_NAMES if not structure(name).needs_single_feature]
ARRAYS = [
    "weights_",
    "means_",
    "covariances_",
    "precisions_",
    "precisions_cholesky_",
    "weight_concentration_",
    "mean_precision_",
    "degrees_of_freedom_",
    "mean_prior_",
    "covariance_prior_",
]
NUMBERS = ["weight_concentration_prior_", "mean_precision_prior_", "degrees_of_freedom_prior_"]

every_structure = pytest.mark.parametrize("covariance_type", MATRICES)
scikit_learns = pytest.mark.parametrize("covariance_type", SCIKIT_LEARN_TYPES)
every_prior = pytest.mark.parametrize("weights", WEIGHT_PRIOR_NAMES)


def rows(seed=0, n_samples=400, dtype=np.float64):
    """Three overlapping groups in three dimensions."""
    rng = np.random.default_rng(seed)
    centers = rng.normal(scale=2.5, size=(3, 3))
    mixing = rng.normal(size=(3, 3, 3)) * 0.6
    groups = rng.integers(3, size=n_samples)
    normal = rng.normal(size=(n_samples, 3))
    return (centers[groups] + np.einsum("nij,nj->ni", mixing[groups], normal)).astype(dtype)


def labels_for(X, n_components=5, seed=0):
    return np.random.default_rng(seed).integers(n_components, size=len(X))


def quietly(fit, *arguments, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return fit(*arguments, **options)


def theirs_from(labels, n_components=5, **parameters):
    """Return scikit-learn's estimator, made to start from labels."""
    mixture = sklearn.mixture.BayesianGaussianMixture(n_components=n_components, **parameters)

    def begin(X, random_state, xp=None):
        del random_state, xp
        mixture._initialize(X, oracle.one_hot(labels, n_components).astype(X.dtype))

    mixture._initialize_parameters = begin
    return mixture


def both(X, n_components=5, **parameters):
    """Fit ours and scikit-learn's from the same labels."""
    labels = labels_for(X, n_components)
    ours = BayesianGaussianMixture(n_components, labels_init=labels, **parameters)
    theirs = theirs_from(labels, n_components, **parameters)
    return quietly(ours.fit, X), quietly(theirs.fit, X)


def fitted(X=None, n_components=4, **parameters):
    X = rows() if X is None else X
    mixture = BayesianGaussianMixture(n_components, random_state=0, **parameters)
    return quietly(mixture.fit, X)


@scikit_learns
@every_prior
@pytest.mark.parametrize("max_iter", [1, 10])
def test_from_the_same_start_each_iteration_is_that_of_scikit_learn(
    covariance_type, weights, max_iter
):
    X = rows()
    ours, theirs = both(
        X,
        covariance_type=covariance_type,
        weight_concentration_prior_type=weights,
        tol=0.0,
        max_iter=max_iter,
    )
    for name in ARRAYS:
        one, other = getattr(ours, name), getattr(theirs, name)
        assert type(one) is type(other) or np.ndim(other) == 0
        assert np.shape(one) == np.shape(other)
        assert_allclose(one, other, rtol=1e-8, atol=1e-8)
    for name in NUMBERS:
        assert getattr(ours, name) == getattr(theirs, name)
    if hasattr(theirs, "lower_bounds_"):  # from scikit-learn 1.7 on
        assert_allclose(ours.lower_bounds_, np.ravel(theirs.lower_bounds_), rtol=1e-10)
    assert_allclose(ours.lower_bound_, np.ravel(theirs.lower_bound_)[0], rtol=1e-10)
    assert ours.n_iter_ == theirs.n_iter_ == max_iter
    assert not ours.converged_
    assert_allclose(ours.score_samples(X), theirs.score_samples(X), rtol=1e-8)
    assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=1e-8)
    assert_array_equal(ours.predict(X), theirs.predict(X))
    assert ours.score(X) == pytest.approx(theirs.score(X))


@scikit_learns
def test_from_the_same_start_it_converges_in_the_same_iteration(covariance_type):
    ours, theirs = both(rows(1), covariance_type=covariance_type, max_iter=1000)
    assert ours.converged_
    assert ours.n_iter_ == theirs.n_iter_ > 3


@scikit_learns
def test_given_priors_mean_what_they_do_in_scikit_learn(covariance_type):
    X = rows()
    covariance = np.cov(X.T) * 0.1
    given = {
        "weight_concentration_prior": 3.0,
        "mean_precision_prior": 0.05,
        "mean_prior": [0.5, -0.5, 1.0],
        "degrees_of_freedom_prior": 6,
        "covariance_prior": {
            "full": covariance,
            "tied": covariance,
            "diag": np.diag(covariance),
            "spherical": 0.3,
        }[covariance_type],
    }
    ours, theirs = both(X, covariance_type=covariance_type, tol=0.0, max_iter=5, **given)
    for name in ARRAYS:
        assert_allclose(getattr(ours, name), getattr(theirs, name), rtol=1e-8, atol=1e-8)
    for name in NUMBERS:
        assert getattr(ours, name) == getattr(theirs, name)


def test_a_program_written_for_scikit_learn_means_the_same():
    ours = inspect.signature(BayesianGaussianMixture).parameters
    theirs = inspect.signature(sklearn.mixture.BayesianGaussianMixture).parameters
    for name, parameter in theirs.items():
        assert ours[name].default == parameter.default
    own = vars(sklearn.mixture.BayesianGaussianMixture(n_components=3).fit(rows()))
    found = vars(BayesianGaussianMixture(n_components=3).fit(rows()))
    assert own.keys() <= found.keys()


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"degrees_of_freedom_prior": 1.5}, "degrees_of_freedom_prior' should be greater than 2"),
        ({"mean_prior": [0.0, 1.0]}, r"'mean_prior' should have the shape of \(3,\)"),
        ({"mean_prior": [0.0, 1.0, np.nan]}, "mean_prior contains NaN"),
        ({"covariance_prior": np.eye(2)}, r"'covariance_prior' should have the shape of \(3, 3\)"),
        (
            {"covariance_prior": [[1.0, 0.5, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]},
            "'covariance_prior' should hold symmetric, positive-definite matrices",
        ),
        (
            {"covariance_prior": -np.eye(3)},
            "'covariance_prior' should be a symmetric, positive-definite matrix",
        ),
        (
            {"covariance_type": "diag", "covariance_prior": [1.0, 0.0, 2.0]},
            "'covariance_prior' should be positive for covariance_type='diag'",
        ),
        ({"weight_concentration_prior": 0.0}, "'weight_concentration_prior' parameter"),
        ({"weight_concentration_prior_type": "gem"}, "'weight_concentration_prior_type' parameter"),
        ({"mean_precision_prior": -1.0}, "'mean_precision_prior' parameter"),
        ({"covariance_type": "round"}, "'covariance_type' parameter"),
        ({"n_components": 500}, "Expected n_samples >= n_components"),
    ],
)
def test_impossible_parameters_are_refused_as_scikit_learn_does(parameters, message):
    X = rows()
    with pytest.raises(ValueError, match=message) as ours:
        BayesianGaussianMixture(**parameters).fit(X)
    with pytest.raises(ValueError) as theirs:  # noqa: PT011 - its words are its own
        sklearn.mixture.BayesianGaussianMixture(**parameters).fit(X)
    invalid = issubclass(theirs.type, InvalidParameterError)
    assert issubclass(ours.type, InvalidParameterError) == invalid


def test_a_number_for_a_matrix_is_refused_as_scikit_learn_does():
    for mixture in (BayesianGaussianMixture, sklearn.mixture.BayesianGaussianMixture):
        with pytest.raises(TypeError, match=r"number|scalar"):
            mixture(n_components=2, covariance_prior=1.0).fit(rows())


@every_structure
@every_prior
def test_every_structure_is_fitted(covariance_type, weights):
    X = rows()
    mixture = fitted(
        X,
        covariance_type=covariance_type,
        weight_concentration_prior_type=weights,
        max_iter=50,
    )
    assert mixture.covariances_.shape == structure(covariance_type).covariance_shape(4, 3)
    assert np.diff(mixture.trace_).min() >= -1e-8
    assert len(mixture.trace_) == mixture.n_iter_ + 1
    assert mixture.lower_bounds_ == list(mixture.trace_[1:])
    assert mixture.lower_bound_ == mixture.trace_[-1]
    assert mixture.fit_info_.n_passes == mixture.n_iter_
    assert_allclose(mixture.predict_proba(X).sum(axis=1), 1.0)
    drawn, components = mixture.sample(50)
    assert drawn.shape == (50, 3)
    assert components.max() < 4


def test_superfluous_components_end_with_next_to_no_weight():
    rng = np.random.default_rng(0)
    X = np.concatenate([rng.normal(size=(300, 2)), rng.normal(size=(200, 2)) + 8.0])
    mixture = fitted(X, 10, weight_concentration_prior=1e-3, max_iter=500)
    weights = np.sort(mixture.weights_)
    assert weights[:8].sum() < 0.05
    assert_allclose(weights[8:], [0.4, 0.6], atol=0.03)


@every_structure
def test_attributes_are_float64_and_scores_have_the_dtype_of_the_rows(covariance_type):
    X = rows(dtype=np.float32)
    mixture = fitted(X, covariance_type=covariance_type)
    double = fitted(X.astype(np.float64), covariance_type=covariance_type)
    for name in ARRAYS:
        for value in np.atleast_1d(getattr(mixture, name)):
            assert np.asarray(value).dtype == np.float64
    assert mixture.score_samples(X).dtype == np.float32
    assert_allclose(np.sort(mixture.weights_), np.sort(double.weights_), atol=0.02)


@every_structure
def test_weights_count_as_copies(covariance_type):
    X = rows()
    copies = np.random.default_rng(2).integers(0, 4, size=len(X))
    labels = labels_for(X)
    options = {"covariance_type": covariance_type, "max_iter": 8, "tol": 0.0}
    weighted = quietly(
        BayesianGaussianMixture(5, labels_init=labels, **options).fit, X, sample_weight=copies
    )
    repeated = quietly(
        BayesianGaussianMixture(5, labels_init=np.repeat(labels, copies), **options).fit,
        np.repeat(X, copies, axis=0),
    )
    for name in ARRAYS:
        assert_allclose(getattr(weighted, name), getattr(repeated, name), rtol=1e-8, atol=1e-8)
    assert_allclose(weighted.lower_bounds_, repeated.lower_bounds_, rtol=1e-10)


def test_weights_that_are_no_more_than_a_row_need_a_covariance_prior():
    X = rows()
    weights = np.full(len(X), 1.0 / len(X))
    with pytest.raises(ValueError, match=r"weights of the rows sum to 1.*or give covariance_prior"):
        BayesianGaussianMixture(2).fit(X, sample_weight=weights)
    fitted_anyway = BayesianGaussianMixture(2, covariance_prior=np.eye(3)).fit(
        X, sample_weight=weights
    )
    assert_allclose(fitted_anyway.mean_precision_.sum(), 3.0)


@pytest.mark.parametrize("covariance_type", ["full", "tied_diag"])
def test_rows_far_from_the_origin_and_tiny_rows_are_fitted_alike(covariance_type):
    X = np.round(rows() * 2.0**20) * 2.0**-20
    labels = labels_for(X)
    options = {"covariance_type": covariance_type, "labels_init": labels, "tol": 0.0}
    options |= {"max_iter": 10, "reg_covar_scale": "relative"}
    near = quietly(BayesianGaussianMixture(5, **options).fit, X)
    far = quietly(BayesianGaussianMixture(5, **options).fit, X + 2.0**27)
    tiny = quietly(BayesianGaussianMixture(5, **options).fit, X * 2.0**-14)
    assert_allclose(far.means_ - 2.0**27, near.means_, atol=1e-6)
    assert_allclose(far.covariances_, near.covariances_, rtol=1e-5, atol=1e-6)
    assert_allclose(tiny.means_ * 2.0**14, near.means_, rtol=1e-12)
    assert_allclose(tiny.covariances_ * 2.0**28, near.covariances_, rtol=1e-12, atol=1e-14)


def test_constant_and_dependent_features_are_fitted():
    X = rows()
    X = np.column_stack([X, np.full(len(X), 7.0), X[:, 0] - X[:, 1]])
    mixture = fitted(X)
    assert np.isfinite(mixture.precisions_).all()
    assert np.isfinite(mixture.score(X))
    with pytest.raises(IllDefinedCovarianceError, match=r"give covariance_prior, or use reg_covar"):
        BayesianGaussianMixture(2, reg_covar=0.0).fit(X)


def test_fewer_distinct_rows_than_components_leave_the_prior_to_the_others():
    X = np.repeat(np.array([[0.0, 0.0], [5.0, 5.0]]), 20, axis=0)
    mixture = BayesianGaussianMixture(4, random_state=0, max_iter=200).fit(X)
    assert np.isfinite(mixture.covariances_).all()
    assert len(set(mixture.predict(X))) == 2


def test_without_convergence_there_is_a_warning():
    with pytest.warns(
        ConvergenceWarning, match=r"did not converge.*iterations of Variational Bayes.*lower bound"
    ):
        BayesianGaussianMixture(4, max_iter=2, random_state=0).fit(rows())


def test_without_iterations_the_start_is_the_result():
    X = rows()
    labels = labels_for(X)
    ours = BayesianGaussianMixture(5, labels_init=labels, max_iter=0).fit(X)
    theirs = theirs_from(labels, max_iter=0).fit(X)
    for name in ARRAYS:
        assert_allclose(getattr(ours, name), getattr(theirs, name), rtol=1e-10, atol=1e-10)
    assert (ours.n_iter_, ours.lower_bounds_, ours.converged_) == (0, [], False)
    assert np.isfinite(ours.lower_bound_)


def test_fit_predict_is_fit_and_predict():
    X = rows()
    mixture = BayesianGaussianMixture(3, random_state=0)
    assert_array_equal(mixture.fit_predict(X), mixture.predict(X))


@scikit_learns
@every_prior
def test_a_warm_start_continues_as_in_scikit_learn(covariance_type, weights):
    X = rows()
    labels = labels_for(X)
    options = {
        "covariance_type": covariance_type,
        "weight_concentration_prior_type": weights,
        "warm_start": True,
        "max_iter": 3,
    }
    ours = BayesianGaussianMixture(5, labels_init=labels, **options)
    theirs = theirs_from(labels, **options)
    for _ in range(4):
        quietly(ours.fit, X)
        quietly(theirs.fit, X)
    assert_allclose(ours.means_, theirs.means_, rtol=1e-8)
    assert_allclose(ours.lower_bound_, np.ravel(theirs.lower_bound_)[0], rtol=1e-10)
    assert ours.n_iter_ == theirs.n_iter_


def test_a_warm_start_may_change_the_prior_of_the_weights():
    X = rows()
    mixture = fitted(X, warm_start=True)
    mixture.set_params(weight_concentration_prior_type="dirichlet_distribution")
    quietly(mixture.fit, X)
    assert mixture.weight_concentration_.shape == (4,)
    with pytest.raises(ValueError, match=r"start=True continues from means_ of shape \(4, 3\)"):
        mixture.set_params(n_components=2).fit(X)


def test_a_fit_that_is_asked_to_prints_as_scikit_learn_does(capsys):
    BayesianGaussianMixture(2, verbose=2, verbose_interval=1, random_state=0).fit(rows())
    printed = capsys.readouterr().out
    assert "Initialization 0" in printed
    assert "Iteration 1" in printed
    assert "Initialization converged. time lapse" in printed


def test_several_starts_keep_the_highest_bound():
    X = rows(3)
    one = [
        quietly(BayesianGaussianMixture(6, init_params="random", random_state=s).fit, X)
        for s in (0,)
    ]
    many = quietly(
        BayesianGaussianMixture(6, init_params="random", random_state=0, n_init=4).fit, X
    )
    assert many.lower_bound_ >= one[0].lower_bound_
    assert many.fit_info_.n_passes > many.n_iter_


@pytest.mark.parametrize("init_params", ["kmeans", "k-means++", "random", "random_from_data"])
def test_each_way_to_start_is_reproducible(init_params):
    X = rows()
    one, other = (fitted(X, init_params=init_params) for _ in range(2))
    assert_array_equal(one.means_, other.means_)


def test_large_data_start_from_a_sample(monkeypatch):
    monkeypatch.setattr(data_scan, "SMALLEST_SAMPLE", 100)
    monkeypatch.setattr(data_scan, "ROWS_PER_PARAMETER", 1)
    X = rows(n_samples=2000)
    mixture = fitted(X, max_iter=0)
    assert mixture.fit_info_.initialization.subsampled
    # The start is as certain as if it were known of all rows.
    assert_allclose(mixture.mean_precision_.sum(), 2000.0 + 4.0, rtol=1e-6)


def test_the_result_does_not_depend_on_the_number_of_threads():
    X = rows(n_samples=9000)
    one, two = (fitted(X, n_jobs=n_jobs, max_iter=5) for n_jobs in (1, 2))
    assert_array_equal(one.means_, two.means_)
    assert_array_equal(one.precisions_cholesky_, two.precisions_cholesky_)


@pytest.mark.parametrize("covariance_type", ["full", "diag"])
def test_files_give_the_same_bits(tmp_path, monkeypatch, covariance_type):
    monkeypatch.setattr(data_scan, "SMALLEST_SAMPLE", 300)
    monkeypatch.setattr(data_scan, "ROWS_PER_PARAMETER", 1)
    X = rows(n_samples=4500)
    path = write_parquet(tmp_path / "x.parquet", X)
    expected = fitted(X, covariance_type=covariance_type, max_iter=6)
    found = fitted(path, covariance_type=covariance_type, max_iter=6)
    for name in (*ARRAYS, "trace_"):
        assert_array_equal(getattr(found, name), getattr(expected, name))
    assert_array_equal(found.predict(path), expected.predict(X))


def test_an_iterator_can_be_learned_but_not_fitted():
    batches = (rows(seed) for seed in range(3))
    with pytest.raises(ValueError, match="use partial_fit"):
        BayesianGaussianMixture(2).fit(batches)


def test_a_clone_is_unfitted_and_a_pickle_is_fitted():
    X = rows()
    mixture = fitted(X)
    with pytest.raises(NotFittedError):
        clone(mixture).predict(X)
    again = pickle.loads(pickle.dumps(mixture))
    assert_array_equal(again.score_samples(X), mixture.score_samples(X))


def test_scores_of_likelihood_are_not_offered():
    # The bound has the place of the likelihood, and score_samples are no normalized densities.
    assert not hasattr(BayesianGaussianMixture, "bic")
    assert not isinstance(BayesianGaussianMixture(), GaussianMixture)


def test_attributes_of_other_sizes_are_reported():
    X = rows()
    mixture = fitted(X)
    mixture.mean_precision_ = np.ones(2)
    with pytest.raises(ValueError, match=r"mean_precision_ should have the shape of \(4,\)"):
        mixture.predict(X)
    mixture.mean_precision_ = np.array([1.0, 2.0, 0.0, 1.0])
    with pytest.raises(ValueError, match="mean_precision_ should be positive"):
        mixture.predict(X)
