"""To scikit-learn's mixture and back, and through it to ONNX."""

import numpy as np
import onnxruntime
import pandas as pd
import pytest
import sklearn.mixture
from numpy.testing import assert_allclose, assert_array_equal
from skl2onnx import to_onnx

from fastgmm import GaussianMixture
from tests.structures import ANY_FEATURES

SCIKIT_LEARN_TYPES = ["full", "tied", "diag", "spherical"]
FITTED = [
    "weights_",
    "means_",
    "covariances_",
    "precisions_",
    "precisions_cholesky_",
    "converged_",
    "n_iter_",
    "lower_bound_",
    "lower_bounds_",
    "n_features_in_",
    "feature_names_in_",
]


def rows(dtype=np.float64):
    rng = np.random.default_rng(0)
    centers = rng.normal(scale=3.0, size=(3, 3))
    values = centers[rng.integers(3, size=300)] + rng.normal(size=(300, 3))
    return pd.DataFrame(values.astype(dtype), columns=["a", "b", "c"])


@pytest.mark.parametrize("covariance_type", SCIKIT_LEARN_TYPES)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_there_and_back_nothing_is_lost(covariance_type, dtype):
    ours = GaussianMixture(
        3, covariance_type=covariance_type, random_state=0, tol=1e-4, weights_init=[0.2, 0.3, 0.5]
    ).fit(rows(dtype))
    theirs = ours.to_sklearn()
    back = GaussianMixture.from_sklearn(theirs)
    assert type(theirs) is sklearn.mixture.GaussianMixture
    for name in FITTED:
        assert_array_equal(getattr(theirs, name), getattr(ours, name))
        assert_array_equal(getattr(back, name), getattr(ours, name))
        assert np.asarray(getattr(back, name)).dtype == np.asarray(getattr(ours, name)).dtype
    known = theirs.get_params()
    assert {name: back.get_params()[name] for name in known} == known
    assert {name: ours.get_params()[name] for name in known} == known


@pytest.mark.parametrize("covariance_type", ANY_FEATURES)
def test_both_give_the_same_values(covariance_type):
    X = rows()
    ours = GaussianMixture(3, covariance_type=covariance_type, random_state=0).fit(X)
    theirs = ours.to_sklearn()
    assert_allclose(theirs.score_samples(X), ours.score_samples(X), rtol=1e-10)
    assert_allclose(theirs.predict_proba(X), ours.predict_proba(X), atol=1e-10)
    assert_array_equal(theirs.predict(X), ours.predict(X))
    assert theirs.sample(3)[0].shape == (3, 3)


@pytest.mark.parametrize(
    ("covariance_type", "precisions", "nearest", "shape"),
    [
        ("tied_diag", [1.0, 2.0, 3.0], "diag", (3, 3)),
        ("EEI", [1.0, 2.0, 3.0], "diag", (3, 3)),
        ("tied_spherical", 2.0, "spherical", (3,)),
        ("EII", 2.0, "spherical", (3,)),
        ("EVI", np.ones((3, 3)), "diag", (3, 3)),
        ("VVI", np.ones((3, 3)), "diag", (3, 3)),
        ("VII", np.ones(3), "spherical", (3,)),
        ("EEE", np.eye(3), "tied", (3, 3)),
        ("VEV", np.stack(3 * [np.eye(3)]), "full", (3, 3, 3)),
        ("VVV", np.stack(3 * [np.eye(3)]), "full", (3, 3, 3)),
    ],
)
def test_structures_of_our_own_become_the_nearest(covariance_type, precisions, nearest, shape):
    ours = GaussianMixture(3, covariance_type=covariance_type, precisions_init=precisions)
    unfitted = ours.to_sklearn()
    assert unfitted.covariance_type == nearest
    assert unfitted.precisions_init.shape == shape
    fitted = ours.set_params(random_state=0).fit(rows()).to_sklearn()
    assert fitted.covariances_.shape == fitted.precisions_cholesky_.shape == shape
    fitted.fit(rows())


@pytest.mark.parametrize("covariance_type", SCIKIT_LEARN_TYPES)
def test_a_mixture_fitted_by_scikit_learn(covariance_type):
    X = rows()
    theirs = sklearn.mixture.GaussianMixture(
        3, covariance_type=covariance_type, random_state=0
    ).fit(X)
    ours = GaussianMixture.from_sklearn(theirs)
    for name in FITTED:
        if hasattr(theirs, name):  # lower_bounds_ came with 1.7
            assert_array_equal(getattr(ours, name), getattr(theirs, name))
    assert_allclose(ours.score_samples(X), theirs.score_samples(X), rtol=1e-10)
    assert not hasattr(ours, "trace_")
    assert not hasattr(ours, "fit_info_")


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_fit_of_scikit_learn_continues_here():
    X = rows()
    theirs = sklearn.mixture.GaussianMixture(
        3, random_state=0, max_iter=3, tol=1e-5, warm_start=True
    ).fit(X)
    ours = GaussianMixture.from_sklearn(theirs)
    for _ in range(3):
        ours.fit(X)
        theirs.fit(X)
        assert_allclose(ours.means_, theirs.means_, rtol=1e-8)
        assert ours.n_iter_ == theirs.n_iter_


def test_conversion_copies():
    ours = GaussianMixture(3, random_state=0).fit(rows())
    theirs = ours.to_sklearn()
    theirs.means_[:] = 0.0
    assert np.abs(ours.means_).max() > 0.0
    back = GaussianMixture.from_sklearn(theirs)
    back.means_[:] = 1.0
    assert_array_equal(theirs.means_, 0.0)


def test_unfitted_mixtures():
    theirs = GaussianMixture(4, tol=0.1, n_jobs=2).to_sklearn()
    assert theirs.n_components == 4
    assert not hasattr(theirs, "means_")
    ours = GaussianMixture.from_sklearn(theirs)
    assert ours.tol == 0.1
    assert ours.n_jobs is None
    assert not hasattr(ours, "means_")


def test_subclasses_stay_subclasses():
    class Mixture(GaussianMixture):
        pass

    assert type(Mixture.from_sklearn(sklearn.mixture.GaussianMixture(2))) is Mixture


@pytest.mark.parametrize(
    "other", [None, sklearn.mixture.BayesianGaussianMixture(), GaussianMixture()]
)
def test_something_else_is_refused(other):
    with pytest.raises(
        TypeError, match=rf"sklearn\.mixture\.GaussianMixture.*{type(other).__name__}"
    ):
        GaussianMixture.from_sklearn(other)


@pytest.mark.parametrize("covariance_type", ANY_FEATURES)
def test_onnx(covariance_type):
    X = rows(np.float32).to_numpy()
    mixture = GaussianMixture(3, covariance_type=covariance_type, random_state=0).fit(X)
    model = to_onnx(mixture.to_sklearn(), X[:1], options={"score_samples": True})
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    labels, probabilities, scores = session.run(None, {"X": X})
    assert_array_equal(labels.ravel(), mixture.predict(X))
    assert_allclose(probabilities, mixture.predict_proba(X), atol=1e-4)
    assert_allclose(scores.ravel(), mixture.score_samples(X), rtol=1e-4)
