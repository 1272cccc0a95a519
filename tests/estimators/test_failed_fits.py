"""A fit that fails leaves an estimator as it was."""

from types import SimpleNamespace

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from fastgmm import (
    BayesianGaussianMixture,
    GaussianMixture,
    GaussianMixtureClassifier,
    GaussianMixtureOutlierDetector,
    GaussianMixtureRegressor,
    GaussianMixtureTransformer,
    KMeans,
    MessageLengthGaussianMixture,
    MiniBatchGaussianMixture,
    MixtureSearch,
    StudentMixture,
)
from fastgmm.em.online.minibatch import batch_rows

ESTIMATORS = [
    GaussianMixture(2, random_state=0),
    GaussianMixture(2, warm_start=True, random_state=0),
    BayesianGaussianMixture(2, tol=0.1, random_state=0),
    BayesianGaussianMixture(2, tol=0.1, warm_start=True, random_state=0),
    MiniBatchGaussianMixture(2, max_epochs=1, early_stopping=False, random_state=0),
    MessageLengthGaussianMixture(3, random_state=0),
    StudentMixture(2, random_state=0),
    StudentMixture(2, warm_start=True, random_state=0),
    KMeans(2, random_state=0),
    MixtureSearch([1, 2], structures=["VVV"], random_state=0),
    GaussianMixtureOutlierDetector(2, random_state=0),
    GaussianMixtureOutlierDetector(2, contamination=0.1, random_state=0),
    GaussianMixtureTransformer(2, random_state=0),
    GaussianMixtureRegressor(2, random_state=0),
    GaussianMixtureClassifier(covariance_type="VVV"),
    GaussianMixtureClassifier(2, covariance_type="VVV", common_structure=False, n_init=1),
]
LEARNERS = [each for each in ESTIMATORS if hasattr(each, "partial_fit")]


def rows(n_features=3, n_rows=400):
    random = np.random.default_rng(0)
    return random.normal(size=(n_rows, n_features)) + 6.0 * np.arange(n_rows)[:, None] % 2


def arguments(estimator, X):
    y = np.arange(len(X)) % 2
    needs_y = isinstance(estimator, GaussianMixtureRegressor | GaussianMixtureClassifier)
    return (X, y + 0.1 * X[:, 0] if isinstance(estimator, GaussianMixtureRegressor) else y)[
        : 1 + needs_y
    ]


def interrupted():
    yield rows()
    raise KeyboardInterrupt


def failures(estimator):
    """Return arguments of fits that fail, early and late, to rows of other data."""
    X = rows(2)
    holes = X.copy()
    holes[5, 1] = np.nan
    yield ValueError, arguments(estimator, holes), {}
    yield ValueError, arguments(estimator, X), {"sample_weight": -np.ones(len(X))}
    yield ValueError, arguments(estimator, X), {"sample_weight": np.zeros(len(X))}
    yield ValueError, arguments(estimator, X), {"sample_weight": np.ones(3)}
    if len(arguments(estimator, X)) > 1:
        yield ValueError, (X, arguments(estimator, X)[1][:-1]), {}
        yield ValueError, (X, np.where(np.arange(len(X)) == 3, np.nan, 1.0)), {}
    elif not isinstance(estimator, KMeans):
        yield KeyboardInterrupt, (interrupted,), {}


def assert_unchanged(estimator, before):
    assert list(vars(estimator)) == list(before)
    for name, value in before.items():
        assert vars(estimator)[name] is value, name


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda each: str(each)[:60])
def test_refits_that_fail_change_nothing(estimator):
    estimator.fit(*arguments(estimator, rows()))
    X = rows(3, 20)
    method = "predict" if hasattr(estimator, "predict") else "transform"
    before, expected = dict(vars(estimator)), getattr(estimator, method)(X)
    for error, given, keywords in failures(estimator):
        with pytest.raises(error):
            estimator.fit(*given, **keywords)
        assert_unchanged(estimator, before)
    np.testing.assert_array_equal(getattr(estimator, method)(X), expected)


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda each: str(each)[:60])
def test_first_fits_that_fail_leave_nothing(estimator):
    fresh = type(estimator)(**estimator.get_params())
    before = dict(vars(fresh))
    for error, given, keywords in failures(fresh):
        with pytest.raises(error):
            fresh.fit(*given, **keywords)
        assert_unchanged(fresh, before)


@pytest.mark.parametrize("begun", [False, True])
@pytest.mark.parametrize("estimator", LEARNERS, ids=lambda each: str(each)[:60])
def test_batches_that_fail_change_nothing(estimator, begun):
    learner = type(estimator)(**estimator.get_params())
    known = {"classes": [0, 1]} if isinstance(learner, GaussianMixtureClassifier) else {}
    if begun:
        learner.partial_fit(*arguments(learner, rows()), **known)
    before = dict(vars(learner))
    for error, given, keywords in failures(learner):
        if given[0] is interrupted:
            continue
        with pytest.raises(error):
            learner.partial_fit(*given, **keywords, **known)
        assert_unchanged(learner, before)
    learner.partial_fit(*arguments(learner, rows()), **known)
    assert learner.n_features_in_ == 3


def test_a_failing_batch_keeps_the_model_before_it():
    X = rows(2, 3 * batch_rows(2, 2, None))

    def batches():
        yield X
        yield np.full((4, 2), np.nan)

    for learner in (GaussianMixture(2), GaussianMixtureOutlierDetector(2)):
        with pytest.raises(ValueError, match="missing"):
            learner.partial_fit(batches())
        mixture = getattr(learner, "mixture_", learner)
        assert 0 < mixture.n_samples_seen_ <= len(X)
        assert learner.n_features_in_ == 2
        assert np.isfinite(learner.score_samples(X[:5])).all()


def test_fits_to_rows_without_spread_change_nothing():
    mixture = GaussianMixture(2, reg_covar=0.0, random_state=0).fit(rows())
    before = dict(vars(mixture))
    flat = rows()
    flat[:, 2] = flat[:, 1]
    with pytest.raises(ValueError, match="reg_covar"):
        mixture.fit(flat)
    assert_unchanged(mixture, before)


@pytest.mark.parametrize("warm", [False, True])
def test_fits_that_fail_late_change_nothing(warm):
    mixture = GaussianMixture(2, warm_start=warm, random_state=0).fit(rows())

    def raising(*_args, **_keywords):
        raise RuntimeError("of the callback")

    callback = SimpleNamespace(
        setup=lambda *_args, **_keywords: None,
        on_fit_task_begin=lambda *_args, **_keywords: None,
        on_fit_task_end=raising,
        teardown=lambda *_args, **_keywords: None,
    )
    mixture.set_callbacks(callback)
    before = dict(vars(mixture))
    with pytest.raises(RuntimeError, match="of the callback"):
        mixture.fit(rows())
    assert_unchanged(mixture, before)


@pytest.mark.parametrize("kind", [GaussianMixture, BayesianGaussianMixture])
@pytest.mark.parametrize(("before", "after"), [("full", "diag"), ("diag", "full"), ("tied", "EII")])
def test_another_covariance_type_after_the_fit_is_reported(kind, before, after):
    X = rows()
    mixture = kind(2, covariance_type=before, warm_start=True, tol=0.1, random_state=0).fit(X)
    labels = mixture.predict(X)
    mixture.set_params(covariance_type=after)
    assert_array_equal(mixture.predict(X), labels)
    advice = (
        "if covariance_type was changed after the fit, set it back, or fit anew with warm_start"
    )
    for method in (mixture.fit, mixture.partial_fit):
        with pytest.raises(ValueError, match=advice):
            method(X)
    mixture.set_params(covariance_type=before).fit(X)
