"""Priors of each component, and adaptation of a background model."""

import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import ConvergenceWarning

import fastgmm
from fastgmm import ConjugatePriors, GaussianMixture, adapt
from tests import oracle
from tests.structures import DISTINCT

RNG = np.random.default_rng(0)
CENTERS = np.array([[0.0, 0.0], [6.0, 0.0], [0.0, 7.0]])
X = np.concatenate([center + RNG.normal(size=(300, 2)) for center in CENTERS])
FEW = np.concatenate([CENTERS[0] + 0.8 + RNG.normal(size=(40, 2)), CENTERS[1] + [[0.5, 0.1]] * 3])
WHOLE = {"weights", "means", "covariances"}


def background(name="full", **settings):
    return GaussianMixture(3, covariance_type=name, random_state=0, **settings).fit(X)


def expected(model, rows, r, what, sample_weight=None):
    """Return Reynolds' formulas, one component after the other."""
    covariances = oracle.fitted_covariances(model)
    shares = oracle.responsibilities(rows, model.weights_, model.means_, covariances)
    if sample_weight is not None:
        shares = shares * sample_weight[:, None]
    weights, means, found = model.weights_.copy(), model.means_.copy(), covariances.copy()
    total = shares.sum()
    for k, counts in enumerate(shares.T):
        n = counts.sum()
        alpha = n / (n + r)
        if "weights" in what:
            weights[k] = alpha * n / total + (1.0 - alpha) * weights[k]
        if "means" in what:
            means[k] = alpha * (counts @ rows) / n + (1.0 - alpha) * model.means_[k]
        if "covariances" in what:
            offsets, back = rows - means[k], model.means_[k] - means[k]
            scatter = (counts[:, None] * offsets).T @ offsets / n
            found[k] = alpha * scatter + (1.0 - alpha) * (covariances[k] + np.outer(back, back))
    return weights / weights.sum(), means, found, shares.sum(axis=0) + r


@pytest.mark.parametrize("name", DISTINCT)
@pytest.mark.parametrize("what", [("means",), ("weights", "covariances"), tuple(WHOLE)])
def test_adapted_parameters_are_those_of_the_formulas(name, what):
    model = background(name)
    adapted = adapt(model, FEW, relevance=9.0, what=what)
    weights, means, covariances, counts = expected(model, FEW, 9.0, what)
    assert_allclose(adapted.weights_, weights, rtol=1e-9)
    assert_allclose(adapted.means_, means, rtol=1e-9, atol=1e-12)
    if "covariances" in what:
        covariances = oracle.best_covariances(name, covariances, counts)
    assert_allclose(oracle.fitted_covariances(adapted), covariances, rtol=1e-6, atol=1e-9)
    assert adapted.covariance_type == name


def test_means_are_those_of_one_step_under_priors_of_each_component():
    model = background()
    step = GaussianMixture(
        3,
        weights_init=model.weights_,
        means_init=model.means_,
        precisions_init=model.precisions_,
        frozen={"weights": True, "covariances": True},
        priors=ConjugatePriors(mean=model.means_, mean_precision=16.0),
        max_iter=1,
    )
    with pytest.warns(ConvergenceWarning):
        step.fit(FEW)
    assert_allclose(adapt(model, FEW).means_, step.means_, rtol=1e-9, atol=1e-12)


def test_little_data_moves_little_and_much_data_moves_all():
    model = background()
    assert_allclose(adapt(model, FEW, relevance=1e12).means_, model.means_, atol=1e-6)
    moved = adapt(model, X + 0.5, relevance=1e-9, what=WHOLE)
    assert_allclose(moved.means_, model.means_ + 0.5, atol=0.05)


def test_a_weight_is_as_many_copies():
    model, weights = background(), RNG.integers(1, 4, size=len(FEW))
    one = adapt(model, FEW, what=WHOLE, sample_weight=weights)
    other = adapt(model, np.repeat(FEW, weights, axis=0), what=WHOLE)
    assert_allclose(one.covariances_, other.covariances_, rtol=1e-9)
    assert_allclose(one.weights_, other.weights_, rtol=1e-12)


def test_rows_come_from_files_collections_and_with_gaps(tmp_path):
    array = pytest.importorskip("dask.array")
    model = background(missing="model")
    expected = adapt(model, FEW)
    np.save(tmp_path / "rows.npy", FEW)
    assert_array_equal(adapt(model, tmp_path / "rows.npy").means_, expected.means_)
    lazy = array.from_array(FEW, chunks=(20, 2))
    assert_allclose(adapt(model, lazy).means_, expected.means_, rtol=1e-12)
    holed = FEW.copy()
    holed[::4, 1] = np.nan
    assert_allclose(adapt(model, holed).means_, expected.means_, atol=0.2)


def test_adapted_mixtures_are_fitted_mixtures(tmp_path):
    adapted = adapt(background(), FEW)
    adapted.save(tmp_path / "one.fgm")
    assert_array_equal(fastgmm.load(tmp_path / "one.fgm").predict(X), adapted.predict(X))
    assert adapted.score(FEW) > background().score(FEW)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"relevance": 0.0}, "relevance must be above 0"),
        ({"relevance": np.inf}, "relevance must be above 0"),
        ({"what": "means"}, "what must list some of 'weights', 'means', 'covariances'"),
        ({"what": ["mean"]}, "got 'mean'"),
    ],
)
def test_impossible_adaptations_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        adapt(background(), FEW, **settings)
    with pytest.raises(ValueError, match="adapt takes mixtures of Gaussians alone"):
        adapt(background(noise_volume=1e4), FEW)


@pytest.mark.parametrize("name", ["full", "diag", "spherical", "VEE", "EVI"])
def test_components_with_priors_of_their_own(name):
    scales = np.array([np.eye(2), 4.0 * np.eye(2), [[2.0, 1.0], [1.0, 2.0]]])
    priors = ConjugatePriors(
        mean=CENTERS + 0.3,
        mean_precision=[1.0, 50.0, 0.0],
        degrees_of_freedom=[4.0, 30.0, 6.0],
        scale=scales,
        weight_concentration=[1.0, 2.0, 100.0],
    )
    start = {"means_init": CENTERS, "random_state": 0, "covariance_type": name}
    mixture = GaussianMixture(3, priors=priors, tol=1e-10, max_iter=500, **start).fit(X)
    assert np.diff(mixture.trace_).min() > -1e-11
    plain = GaussianMixture(3, tol=1e-10, max_iter=500, **start).fit(X)
    assert mixture.weights_[2] > plain.weights_[2]
    if name != "full":
        return
    covariances = mixture.covariances_
    shares = oracle.responsibilities(X, mixture.weights_, mixture.means_, covariances)
    counts = shares.sum(axis=0)
    for k, (n, kappa, nu) in enumerate(
        zip(counts, [1.0, 50.0, 0.0], [4.0, 30.0, 6.0], strict=True)
    ):
        m = shares[:, k] @ X / n
        mean = (n * m + kappa * (CENTERS[k] + 0.3)) / (n + kappa)
        assert_allclose(mixture.means_[k], mean, rtol=1e-5, atol=1e-5)
        offsets, away = X - m, m - CENTERS[k] - 0.3
        scatter = (shares[:, k, None] * offsets).T @ offsets + scales[k]
        scatter += kappa * n / (kappa + n) * np.outer(away, away)
        divisor = n + nu + 2 + 1 + (kappa > 0.0)
        assert_allclose(covariances[k], scatter / divisor, rtol=1e-4, atol=1e-5)


def test_priors_of_each_component_are_saved(tmp_path):
    priors = ConjugatePriors(mean=CENTERS, mean_precision=[1.0, 2.0, 3.0])
    mixture = GaussianMixture(3, priors=priors, means_init=CENTERS, random_state=0).fit(X)
    mixture.save(tmp_path / "one.fgm")
    assert fastgmm.load(tmp_path / "one.fgm").priors == priors
    assert pickle.loads(pickle.dumps(priors)) == priors


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"mean": np.zeros((2, 2))}, r"or an array of shape \(3, 2\)"),
        (
            {"mean_precision": [1.0, 2.0]},
            "mean_precision must be a number, or one for each of the 3",
        ),
        ({"degrees_of_freedom": [5.0, 5.0, 0.5]}, "degrees_of_freedom must be above"),
        ({"scale": np.ones((2, 2, 2))}, r"scale for each component must have shape \(3, 2, 2\)"),
        ({"scale": -np.stack([np.eye(2)] * 3)}, "positive definite"),
    ],
)
def test_impossible_priors_are_refused(given, message):
    with pytest.raises(ValueError, match=message):
        GaussianMixture(3, priors=ConjugatePriors(**given), random_state=0).fit(X)


def test_a_shared_covariance_has_one_prior():
    priors = ConjugatePriors(degrees_of_freedom=[5.0, 6.0, 7.0])
    with pytest.raises(ValueError, match="has one covariance, and so one prior of it"):
        GaussianMixture(3, covariance_type="tied", priors=priors, random_state=0).fit(X)
    with pytest.raises(ValueError, match="mean_precision must be 0 or more"):
        ConjugatePriors(mean_precision=[1.0, -1.0])
