"""Structures of the user's own, by instance, in every estimator; and what a fit remembers."""

import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone

from fastgmm import (
    BayesianGaussianMixture,
    GaussianMixture,
    GaussianMixtureClassifier,
    GaussianMixtureOutlierDetector,
    GaussianMixtureRegressor,
    GaussianMixtureTransformer,
    MessageLengthGaussianMixture,
    MiniBatchGaussianMixture,
    MixtureSearch,
    StudentMixture,
    bootstrap_likelihood_ratio_test,
    bootstrap_parameters,
    load,
)
from fastgmm.analysis.search import SearchedRows, SearchPlan, fit_candidates
from fastgmm.data.sources.array import ArraySource
from fastgmm.mixture.regularization import Regularization
from fastgmm.mixture.structures import CovarianceStructure, structure
from fastgmm.mixture.structures.parsimonious import Full, Tied


class Scaled(CovarianceStructure):
    """Multiples of one known covariance; its letters are still those of "full"."""

    def __init__(self, shape):
        super().__init__()
        self.shape = np.array(shape)

    def whiten(self, spread):
        whitener = np.linalg.inv(np.linalg.cholesky(self.shape))
        volumes = np.einsum("ij,kjl,il->k", whitener, spread.covariances, whitener) / len(whitener)
        return whitener / np.sqrt(volumes)[:, None, None]

    def n_covariance_parameters(self, n_components, n_features):  # noqa: ARG002
        return n_components


SHAPE = np.array([[2.0, 1.2], [1.2, 1.0]])
OWN = Scaled(SHAPE)


def rows(n=300, seed=0):
    rng = np.random.default_rng(seed)
    scales = np.repeat([1.0, 0.3, 2.0], n // 3)
    noise = rng.multivariate_normal(np.zeros(2), SHAPE, size=n) * scales[:, None]
    return noise + np.repeat([[0.0, 0.0], [9.0, 4.0], [-12.0, 8.0]], n // 3, axis=0)


def assert_scaled(covariances):
    """All are multiples of the known one."""
    ratios = covariances / SHAPE
    assert_allclose(ratios, ratios[:, :1, :1] * np.ones((1, 2, 2)), rtol=1e-9)


@pytest.mark.parametrize(
    "mixture",
    [
        GaussianMixture(3, covariance_type=OWN, random_state=0),
        GaussianMixture(3, covariance_type=OWN, random_state=0, reg_covar=0.0, noise_volume=400.0),
        BayesianGaussianMixture(3, covariance_type=OWN, random_state=0),
        MiniBatchGaussianMixture(3, covariance_type=OWN, random_state=0),
        MessageLengthGaussianMixture(6, covariance_type=OWN, random_state=0),
        StudentMixture(3, covariance_type=OWN, random_state=0),
    ],
    ids=lambda mixture: type(mixture).__name__,
)
def test_every_mixture_takes_an_instance(mixture):
    X = rows()
    fitted = clone(mixture).fit(X)
    assert_scaled(getattr(fitted, fitted._spread_arrays[0]))
    assert fitted.get_params()["covariance_type"] == OWN
    assert "Scaled(shape=" in repr(fitted)
    copied = pickle.loads(pickle.dumps(fitted))
    assert_array_equal(copied.predict(X), fitted.predict(X))
    assert fitted.bic(X) == copied.bic(X) if hasattr(fitted, "bic") else True


def test_the_number_of_parameters_is_that_of_the_structure():
    X = rows()
    mixture = GaussianMixture(3, covariance_type=OWN, random_state=0).fit(X)
    expected = -2 * mixture.score(X) * len(X) + (3 + 6 + 2) * np.log(len(X))
    assert mixture.bic(X) == pytest.approx(expected, rel=1e-9)
    assert_scaled(GaussianMixture(3, covariance_type=OWN).partial_fit(X).covariances_)


def test_detectors_regressors_and_transformers_take_an_instance():
    X = rows()
    detector = GaussianMixtureOutlierDetector(3, covariance_type=OWN, random_state=0).fit(X)
    assert_scaled(detector.mixture_.covariances_)
    transformer = GaussianMixtureTransformer(3, covariance_type=OWN, random_state=0).fit(X)
    assert_scaled(transformer.mixture_.covariances_)
    regressor = GaussianMixtureRegressor(3, covariance_type=OWN, random_state=0)
    assert_scaled(regressor.fit(X[:, :1], X[:, 1]).mixture_.covariances_)


@pytest.mark.parametrize("n_components", [1, 2])
@pytest.mark.parametrize("common", [False, True])
def test_classifiers_take_instances_and_names(n_components, common):
    X = rows()
    y = np.repeat([0, 1, 2], 100)
    given = {"n_components": n_components, "common_structure": common, "max_iter": 1000}
    given["random_state"] = 0
    classifier = GaussianMixtureClassifier(covariance_type=OWN, **given).fit(X, y)
    for mixture in classifier.mixtures_:
        assert_scaled(mixture.covariances_)
    some = GaussianMixtureClassifier(covariance_type=[OWN, "VVV"], **given).fit(X, y)
    assert some.score(X, y) > 0.9
    assert clone(some).covariance_type == [OWN, "VVV"]
    y[::2] = -1
    semi = GaussianMixtureClassifier(covariance_type=OWN, semi_supervised=True, **given).fit(X, y)
    for mixture in semi.mixtures_:
        assert_scaled(mixture.covariances_)


def test_a_search_fits_it_by_its_own_m_step():
    """Though its letters are those of a structure that the search has compiled code for."""
    X = rows()
    search = MixtureSearch([2, 3, 4], structures=["VVV", OWN, "EII"], random_state=0).fit(X)
    assert search.best_params_ == {"n_components": 3, "covariance_type": OWN}
    assert_scaled(search.best_estimator_.covariances_)
    assert list(search.results_["covariance_type"][:3]) == ["VVV", "Scaled", "EII"]
    assert (search.results_["failure"] == "").all()
    alone = GaussianMixture(3, covariance_type=OWN, reg_covar=0.0, tol=1e-9, max_iter=1000)
    reached = alone.fit(X).score(X) * len(X)
    assert search.results_["log_likelihood"][4] == pytest.approx(reached, abs=1e-3)


def test_others_of_a_search_are_fitted_as_without_it():
    source = ArraySource(rows())
    clusters = {3: np.repeat([0, 1, 2], 100)}
    observed = []

    def fitted(*kinds):
        plan = SearchPlan(tuple((kind, 3) for kind in kinds), Regularization.none(2), 1e-6, 200)
        return fit_candidates(SearchedRows(source, source), clusters, plan, observed.append)

    first, own, last = fitted(structure("VVE"), OWN, structure("EII"))
    assert [first.structure.name, own.structure, last.structure.name] == ["VVE", OWN, "EII"]
    assert sorted(each.structure.name for each in observed) == ["EII", "Scaled", "VVE"]
    alone = fitted(structure("VVE"), structure("EII"))
    assert [first.bic, last.bic] == [each.bic for each in alone]
    assert_scaled(own.parameters().covariances())


def test_what_is_among_structures_of_ones_own_is_not_known_from_letters():
    """Those of "EEE" are more likely, and no multiples of a round shape."""
    search = MixtureSearch([1, 2, 3], structures=["EEE", Scaled(np.eye(2)), "VVV"], random_state=0)
    found = search.fit(rows()).results_
    round_ones = found["covariance_type"] == "Scaled"
    spheres = MixtureSearch([1, 2, 3], structures=["VII"], random_state=0).fit(rows()).results_
    expected = spheres["log_likelihood"]
    assert_allclose(found["log_likelihood"][round_ones][0], expected[0], rtol=1e-7)
    assert (found["log_likelihood"][round_ones] <= expected + 0.01 * abs(expected)).all()


def test_a_class_derived_from_a_built_in_one_is_fitted_by_its_own_m_step():
    class Halved(Full):
        def whiten(self, spread):
            return super().whiten(spread) * np.sqrt(2.0)

    X = rows()
    one = {"n_components": 1, "random_state": 0}
    search = MixtureSearch(1, structures=[Halved()], random_state=0).fit(X)
    whole = GaussianMixture(**one, reg_covar=0.0).fit(X)
    assert_allclose(2.0 * search.best_estimator_.covariances_, whole.covariances_, rtol=1e-9)


def test_structures_of_one_name_cannot_be_told_apart():
    other = Scaled(np.eye(2))
    with pytest.raises(ValueError, match="different structures of one name, 'Scaled'"):
        MixtureSearch(1, structures=[OWN, other]).fit(rows())
    other.name = "round"
    MixtureSearch(1, structures=[OWN, other], random_state=0).fit(rows())


def test_bootstraps_of_a_structure_of_ones_own():
    mixture = GaussianMixture(3, covariance_type=OWN, random_state=0).fit(rows())
    replicates = bootstrap_parameters(mixture, rows(), n_resamples=3, random_state=0)
    for each in replicates.covariances.replicates:
        assert_scaled(each)
    two = GaussianMixture(2, covariance_type=OWN, random_state=0).fit(rows())
    tests = bootstrap_likelihood_ratio_test(
        two, rows(), max_components=3, n_resamples=3, random_state=0
    )
    assert tests.n_components >= 2


def test_what_a_file_cannot_hold_is_named(tmp_path):
    X, y = rows(), np.repeat([0, 1, 2], 100)
    mixture = GaussianMixture(3, covariance_type=OWN, random_state=0).fit(X)
    classifier = GaussianMixtureClassifier(covariance_type=OWN).fit(X, y)
    detector = GaussianMixtureOutlierDetector(3, covariance_type=OWN, random_state=0).fit(X)
    for model in (mixture, classifier, detector):
        with pytest.raises(TypeError, match=r"(?s)cannot save Scaled\(.*pickle"):
            model.save(tmp_path / "model.fgm")
    assert not list(tmp_path.iterdir())
    GaussianMixture(3, covariance_type=Full("full"), random_state=0).fit(X).save(
        tmp_path / "model.fgm"
    )
    assert load(tmp_path / "model.fgm").covariance_type == "full"


def test_a_checkpoint_knows_its_structure(tmp_path):
    path = tmp_path / "run.fgm"
    given = {"random_state": 0, "checkpoint": path, "resume": True}
    X = rows()
    first = GaussianMixture(3, covariance_type=OWN, **given).fit(X)
    again = GaussianMixture(3, covariance_type=Scaled(SHAPE), **given).fit(X)
    assert_array_equal(first.covariances_, again.covariances_)
    with pytest.raises(ValueError, match=r"other parameters.*covariance_type"):
        GaussianMixture(3, covariance_type=Scaled(2.0 * SHAPE), **given).fit(X)


def test_what_is_no_structure_is_refused():
    for given in (3, Full, "triangular", None):
        with pytest.raises(ValueError, match="covariance_type"):
            GaussianMixture(covariance_type=given).fit(rows())
    with pytest.raises(ValueError, match="covariance_type must be 'all' or some of"):
        GaussianMixtureClassifier(covariance_type=[Full]).fit(rows(), np.repeat([0, 1, 2], 100))


def test_structures_are_values():
    assert Scaled(SHAPE) == OWN
    assert hash(OWN) == hash(Scaled(SHAPE))
    assert Scaled(2.0 * SHAPE) != OWN
    assert Full("full") != Tied("full")
    assert repr(Full("full")) == "Full(name='full')"


# -- the fitted structure is remembered ------------------------------------------------------------


@pytest.mark.parametrize("cls", [GaussianMixture, BayesianGaussianMixture])
@pytest.mark.parametrize(("before", "after"), [("diag", "tied"), ("tied", "diag")])
def test_arrays_of_one_shape_are_read_as_what_they_are(cls, before, after, tmp_path):
    """With two components of two features, those of "diag" have the shape of those of "tied"."""
    X = rows()[:200]
    mixture = cls(2, covariance_type=before, random_state=0, warm_start=True).fit(X)
    expected, labels = mixture.score_samples(X), mixture.predict(X)
    bic = mixture.bic(X) if cls is GaussianMixture else None
    mixture.set_params(covariance_type=after)
    for same in (mixture, pickle.loads(pickle.dumps(mixture))):
        assert_array_equal(same.score_samples(X), expected)
        assert_array_equal(same.predict(X), labels)
    if bic is not None:
        assert mixture.bic(X) == bic
    assert mixture.marginal([0]).covariance_type == ("diag" if before == "diag" else "full")
    assert mixture.to_sklearn().covariance_type == before
    mixture.save(tmp_path / "model.fgm")
    loaded = load(tmp_path / "model.fgm")
    assert loaded.covariance_type == before
    assert_array_equal(loaded.score_samples(X), expected)
    for learn in (mixture.fit, mixture.partial_fit):
        with pytest.raises(ValueError, match=f"fitted with covariance_type='{before}', and"):
            learn(X)
    mixture.set_params(warm_start=False).fit(X)
    refitted = cls(2, covariance_type=after, random_state=0).fit(X)
    assert_array_equal(mixture.precisions_cholesky_, refitted.precisions_cholesky_)
    assert_array_equal(mixture.score_samples(X), refitted.score_samples(X))
