"""mclust's names of covariance structures wherever `covariance_type` is taken."""

import inspect
import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import ConvergenceWarning

from fastgmm import BayesianGaussianMixture, GaussianMixture, MiniBatchGaussianMixture
from fastgmm.mixture.structures import structure
from tests import oracle
from tests.parsimonious import MODELS

every_model = pytest.mark.parametrize("name", MODELS)
every_mixture = pytest.mark.parametrize(
    "mixture", [GaussianMixture, MiniBatchGaussianMixture, BayesianGaussianMixture]
)


def rows(seed=0, n_samples=300, n_features=3):
    rng = np.random.default_rng(seed)
    centers = rng.normal(scale=4.0, size=(3, n_features))
    noise = rng.normal(size=(n_samples, n_features)) @ rng.normal(size=(n_features, n_features))
    return centers[rng.integers(3, size=n_samples)] + noise


def assert_of_structure(name, mixture, rtol=1e-8):
    """The best covariances of the structure for points spread like the covariances are these."""
    covariances = oracle.fitted_covariances(mixture)
    nearest = oracle.best_covariances(name, covariances, mixture.weights_)
    assert_allclose(nearest, covariances, rtol=rtol, atol=rtol * covariances.max())


@every_model
def test_a_fit_has_covariances_of_the_structure_and_counts_its_parameters(name):
    X = rows()
    mixture = GaussianMixture(3, covariance_type=name, random_state=0, tol=1e-6, max_iter=2000).fit(
        X
    )
    assert_of_structure(name, mixture)
    n_parameters = structure(name).n_parameters(3, 3)
    assert mixture.bic(X) == pytest.approx(
        n_parameters * np.log(300) - 2 * 300 * mixture.lower_bound_
    )
    assert mixture.aic(X) == pytest.approx(2 * n_parameters - 2 * 300 * mixture.lower_bound_)
    assert_array_equal(np.diff(mixture.trace_) > -1e-10, True)


@pytest.mark.parametrize(("name", "other"), [("full", "VVV"), ("tied", "EEE"), ("diag", "VVI")])
def test_both_names_of_a_structure_give_the_same_fit(name, other):
    X = rows()
    ours = GaussianMixture(3, covariance_type=name, random_state=0).fit(X)
    again = GaussianMixture(3, covariance_type=other, random_state=0).fit(X)
    assert_array_equal(ours.covariances_, again.covariances_)
    assert ours.lower_bound_ == again.lower_bound_


@every_model
def test_partial_fit_continues_in_the_structure(name):
    X = rows(n_samples=900)
    mixture = GaussianMixture(3, covariance_type=name, random_state=0)
    for first in range(0, 900, 300):
        mixture.partial_fit(X[first : first + 300])
    assert_of_structure(name, mixture)
    averaging = GaussianMixture(3, covariance_type=name, random_state=0, averaging=True)
    assert_of_structure(name, averaging.partial_fit(X[:600]).partial_fit(X[600:]))


@every_model
def test_minibatches_continue_in_the_structure(name):
    X = rows(n_samples=2000)
    mixture = MiniBatchGaussianMixture(
        3, covariance_type=name, random_state=0, batch_size=200, max_epochs=1
    ).fit(X)
    assert_of_structure(name, mixture)


@every_mixture
@pytest.mark.parametrize(("name", "other"), [("E", "EII"), ("V", "VII")])
def test_a_single_feature(mixture, name, other):
    X = rows(n_features=1, n_samples=2000)
    ours = mixture(2, covariance_type=name, random_state=0).fit(X)
    again = mixture(2, covariance_type=other, random_state=0).fit(X)
    assert_array_equal(ours.covariances_, again.covariances_)
    assert ours.covariances_.shape == ((2,) if name == "V" else ())


@every_mixture
@pytest.mark.parametrize("name", ["E", "V"])
def test_several_features_are_refused_before_any_work(mixture, name):
    X = rows()
    message = rf"'{name}' is for data with a single feature, and these have 3: use '{name}II'"
    with pytest.raises(ValueError, match=message):
        mixture(2, covariance_type=name).fit(X)
    with pytest.raises(ValueError, match=message):
        mixture(2, covariance_type=name).partial_fit(X[:2])


@pytest.mark.parametrize("name", ["VEI", "EVI", "VEE", "EVE", "VVE", "EEV", "VEV", "EVV"])
def test_precisions_to_start_from_are_brought_into_the_structure(name):
    """Otherwise EM, which may not fall, could never leave them."""
    X = rows()
    free = "diag" if structure(name).is_diagonal else "full"
    found = GaussianMixture(3, covariance_type=free, random_state=0).fit(X)
    options = {"weights_init": found.weights_, "means_init": found.means_}
    start = GaussianMixture(
        3, covariance_type=name, precisions_init=found.precisions_, max_iter=0, **options
    ).fit(X)
    assert_of_structure(name, start, rtol=1e-7)
    fitted = GaussianMixture(
        3, covariance_type=name, precisions_init=found.precisions_, max_iter=2000, **options
    ).fit(X)
    assert_of_structure(name, fitted, rtol=1e-7)
    assert fitted.lower_bound_ > start.lower_bound_


@pytest.mark.parametrize("name", ["VEE", "EVE", "VEV", "EVV"])
def test_a_warm_start_from_free_covariances_ends_in_the_structure(name):
    X = rows()
    mixture = GaussianMixture(3, random_state=0, warm_start=True).fit(X)
    mixture.set_params(covariance_type=name).fit(X)
    assert_of_structure(name, mixture, rtol=1e-7)
    before = mixture.lower_bound_
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        mixture.set_params(max_iter=3).fit(X)
    assert mixture.lower_bound_ >= before - 1e-12


def test_the_table_of_structures_gives_numbers_of_parameters():
    """Those in the docstring, evaluated."""
    table = inspect.getdoc(GaussianMixture).split("name  also")[1].splitlines()[1:15]
    found = {}
    for line in table:
        formula = line[58:].replace("(D + 1) / 2", "* (D + 1) / 2").replace("K D", "K * D")
        formula = formula.replace("(K - 1) (D - 1)", "(K - 1) * (D - 1)")
        formula = formula.replace("(K - 1) D", "(K - 1) * D").replace("D *", "D *")
        found[line.split()[0]] = eval(formula, {"K": 3, "D": 4})
    assert found == {name: structure(name).n_covariance_parameters(3, 4) for name in MODELS}
