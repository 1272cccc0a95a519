"""Classes with a mixture each, beside scikit-learn's discriminant analyzes and R's mclust."""

import json
import pickle
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.stats import multivariate_normal
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_iris, load_wine
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.metrics import log_loss
from sklearn.model_selection import cross_val_score
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fastgmm.estimators.classifier import GaussianMixtureClassifier
from fastgmm.estimators.gaussian_mixture import GaussianMixture
from fastgmm.estimators.mixture_search import PARSIMONIOUS, MixtureSearch

REFERENCE = json.loads(
    (Path(__file__).parents[1] / "reference" / "classification.json").read_text()
)
DATA = {"iris": load_iris(return_X_y=True), "wine": load_wine(return_X_y=True)}
ITERATIVE = ("VEE", "EVE", "VVE")
"""Where mclust stops its iterations before their end; see tests/model/structures."""


@pytest.fixture
def blobs():
    """Return three classes that overlap, of two clusters each."""
    rng = np.random.default_rng(3)
    y = np.repeat([0, 1, 2], 200)
    centers = np.array([[[0, 0], [4, 4]], [[4, 0], [0, 4]], [[2, 2], [8, 0]]], dtype=float)
    X = centers[y, rng.integers(0, 2, len(y))] + rng.normal(size=(len(y), 2)) * 0.8
    return X, y


@pytest.mark.parametrize("name", DATA)
@pytest.mark.parametrize(
    ("covariance_type", "peer"),
    [
        ("tied", LinearDiscriminantAnalysis("lsqr")),
        ("diag", GaussianNB(var_smoothing=0.0)),
    ],
)
def test_posteriors_are_those_of_scikit_learn(name, covariance_type, peer):
    X, y = DATA[name]
    ours = GaussianMixtureClassifier(covariance_type=covariance_type, reg_covar=0.0).fit(X, y)
    theirs = peer.fit(X, y)
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=1e-8)
    np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))


@pytest.mark.parametrize("name", DATA)
def test_posteriors_of_a_gaussian_for_each_class(name):
    X, y = DATA[name]
    ours = GaussianMixtureClassifier(covariance_type="full", reg_covar=0.0).fit(X, y)
    joint = np.column_stack(
        [
            np.mean(y == c)
            * multivariate_normal(X[y == c].mean(axis=0), np.cov(X[y == c].T, bias=True)).pdf(X)
            for c in np.unique(y)
        ]
    )
    posteriors = joint / joint.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(ours.predict_proba(X), posteriors, atol=1e-8)


def test_two_classes_have_one_decision_and_given_priors_count():
    X, y = DATA["iris"]
    X, y, priors = X[50:], y[50:], [0.9, 0.1]
    ours = GaussianMixtureClassifier(covariance_type="diag", reg_covar=0.0, priors=priors)
    theirs = GaussianNB(priors=priors, var_smoothing=0.0).fit(X, y)
    decisions = ours.fit(X, y).decision_function(X)
    odds = theirs.predict_log_proba(X)
    np.testing.assert_allclose(decisions, odds[:, 1] - odds[:, 0], rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=1e-8)
    np.testing.assert_array_equal(ours.class_prior_, priors)


@pytest.mark.parametrize("name", DATA)
@pytest.mark.parametrize(
    "covariance_type", [each for each in PARSIMONIOUS if each not in ITERATIVE]
)
def test_one_component_is_the_edda_of_mclust(name, covariance_type):
    X, y = DATA[name]
    wanted = REFERENCE[name]["single"][covariance_type]
    classifier = GaussianMixtureClassifier(covariance_type=covariance_type, reg_covar=0.0).fit(X, y)
    assert classifier.score_samples(X).sum() == pytest.approx(wanted["loglik"], rel=1e-8)
    posteriors = classifier.predict_proba(X[::10])
    np.testing.assert_allclose(posteriors, wanted["posteriors"], atol=1e-8)


@pytest.mark.parametrize("name", DATA)
@pytest.mark.parametrize("covariance_type", ITERATIVE)
def test_iterated_structures_are_near_those_of_mclust(name, covariance_type):
    X, y = DATA[name]
    wanted = REFERENCE[name]["single"][covariance_type]
    classifier = GaussianMixtureClassifier(covariance_type=covariance_type, reg_covar=0.0).fit(X, y)
    assert classifier.score_samples(X).sum() == pytest.approx(wanted["loglik"], rel=5e-3)
    assert (classifier.predict(X[::10]) == np.argmax(wanted["posteriors"], axis=1)).all()


@pytest.mark.parametrize("name", DATA)
def test_bic_takes_the_structure_that_mclust_takes(name):
    X, y = DATA[name]
    classifier = GaussianMixtureClassifier(selection="bic", reg_covar=0.0).fit(X, y)
    assert classifier.structure_shares_ == {REFERENCE[name]["chosen"]["models"][0]: 1.0}


@pytest.mark.parametrize("name", DATA)
def test_mixtures_are_those_of_mclust(name):
    X, y = DATA[name]
    wanted = REFERENCE[name]["mixtures"]
    numbers = range(1, 6)
    if name == "wine":
        # With four components a better optimum is found than mclust's, and its BIC is the lowest.
        first = MixtureSearch(numbers, structures=["VEI"]).fit(X[y == 0])
        five = MixtureSearch(5, structures=["VEI"]).fit(X[y == 0])
        assert first.best_estimator_.n_components == 4
        assert first.best_score_ < five.best_score_
        numbers = {0: 5, 1: numbers, 2: numbers}
    classifier = GaussianMixtureClassifier(numbers, reg_covar=0.0).fit(X, y)
    found = classifier.mixtures_
    assert [each.n_components for each in found] == wanted["sizes"]
    for mixture, model in zip(found, wanted["models"], strict=True):
        if model != "XXX":  # one component, whose structure mclust does not name
            assert mixture.covariance_type == model
    assert sum(each._n_parameters() for each in found) == wanted["df"]
    # EM goes on for longer than mclust's, and rises a little.
    assert 0.0 <= classifier.score_samples(X).sum() - wanted["loglik"] < 0.2
    np.testing.assert_allclose(classifier.predict_proba(X[::10]), wanted["posteriors"], atol=5e-3)


def test_a_class_has_the_mixture_that_a_search_of_its_rows_finds(blobs):
    X, y = blobs
    classifier = GaussianMixtureClassifier(
        {0: range(1, 4), 1: 2, 2: 1}, covariance_type=["VII", "EII"]
    )
    classifier.fit(X, y)
    search = MixtureSearch(range(1, 4), structures=["VII", "EII"]).fit(X[y == 0])
    assert [each.n_components for each in classifier.mixtures_] == [2, 2, 1]
    np.testing.assert_allclose(
        classifier.mixtures_[0].score_samples(X), search.best_estimator_.score_samples(X)
    )


def test_an_average_is_the_average_of_the_densities():
    X, y = DATA["iris"]
    classifier = GaussianMixtureClassifier(covariance_type=["EEE", "VVI", "VVV"]).fit(X, y)
    shares = classifier.structure_shares_
    assert len(shares) > 1
    assert sum(shares.values()) == pytest.approx(1.0)
    densities = sum(
        share * np.exp(GaussianMixtureClassifier(covariance_type=name).fit(X, y).score_samples(X))
        for name, share in shares.items()
    )
    np.testing.assert_allclose(np.exp(classifier.score_samples(X)), densities, rtol=1e-10)


@pytest.mark.parametrize("covariance_type", ["VEE", "all"])
def test_weights_are_copies_of_rows_and_order_does_not_matter(blobs, covariance_type):
    X, y = blobs
    rng = np.random.default_rng(0)
    copies = rng.integers(0, 4, len(X))
    order = rng.permutation(np.repeat(np.arange(len(X)), copies))
    classifier = GaussianMixtureClassifier(covariance_type=covariance_type)
    weighted = clone(classifier).fit(X, y, sample_weight=copies.astype(float))
    repeated = clone(classifier).fit(X[order], y[order])
    np.testing.assert_allclose(
        weighted.predict_log_proba(X), repeated.predict_log_proba(X), rtol=1e-8, atol=1e-10
    )


def test_class_weights_multiply_those_of_the_rows(blobs):
    X, y = blobs
    keep = np.r_[0:50, 200:600]
    X, y = X[keep], y[keep]
    given = {0: 3.0, 1: 1.0, 2: 0.5}
    classifier = GaussianMixtureClassifier(covariance_type="VEE")
    ours = clone(classifier).set_params(class_weight=given).fit(X, y)
    rows = clone(classifier).fit(X, y, sample_weight=np.vectorize(given.get)(y))
    np.testing.assert_allclose(ours.predict_proba(X), rows.predict_proba(X), atol=1e-12)
    balanced = clone(classifier).set_params(class_weight="balanced").fit(X, y)
    np.testing.assert_allclose(balanced.class_prior_, 1.0 / 3.0)


def test_logarithms_of_posteriors_are_exact_where_these_underflow():
    X, y = np.array([[-1.0], [1.0], [99.0], [101.0]]), [0, 0, 1, 1]
    classifier = GaussianMixtureClassifier(covariance_type="E", reg_covar=0.0).fit(X, y)
    far = classifier.predict_log_proba([[0.0]])
    # Unit variance, means 0 and 100.
    np.testing.assert_allclose(far, [[0.0, -5000.0]], rtol=1e-12)
    np.testing.assert_array_equal(classifier.predict_proba([[0.0]]), [[1.0, 0.0]])


def test_learning_in_parts_is_learning_at_once(blobs):
    X, y = blobs
    at_once = GaussianMixtureClassifier(selection="bic").fit(X, y)
    in_parts = GaussianMixtureClassifier()
    order = np.random.default_rng(0).permutation(len(X))
    for part in np.array_split(order, 5):
        in_parts.partial_fit(X[part], y[part], classes=[0, 1, 2])
    assert in_parts.structure_shares_ == at_once.structure_shares_
    np.testing.assert_allclose(in_parts.predict_proba(X), at_once.predict_proba(X), atol=1e-10)
    gone_on = GaussianMixtureClassifier(selection="bic").fit(X[::2], y[::2])
    gone_on.partial_fit(X[1::2], y[1::2])
    np.testing.assert_allclose(gone_on.predict_proba(X), at_once.predict_proba(X), atol=1e-10)


def test_mixtures_learn_in_parts(blobs):
    X, y = blobs
    classifier = GaussianMixtureClassifier(2, covariance_type="VII", random_state=0)
    order = np.random.default_rng(0).permutation(len(X))
    classifier.partial_fit(X[order[:20]], y[order[:20]], classes=[0, 1, 2])
    with pytest.raises(NotFittedError):
        classifier.predict(X)
    for part in np.array_split(order[20:], 20):
        classifier.partial_fit(X[part], y[part])
    np.testing.assert_allclose(classifier.class_prior_, 1.0 / 3.0)
    whole = GaussianMixtureClassifier(2, covariance_type="VII", random_state=0).fit(X, y)
    assert classifier.score(X, y) > whole.score(X, y) - 0.02


def test_options_that_need_all_rows_are_refused_in_partial_fit(blobs):
    X, y = blobs
    for parameters in ({"semi_supervised": True}, {"class_weight": "balanced"}):
        name = next(iter(parameters))
        assert not hasattr(GaussianMixtureClassifier(**parameters), "partial_fit")
        with pytest.raises(AttributeError, match=r"has no attribute 'partial_fit'") as raised:
            GaussianMixtureClassifier(**parameters).partial_fit(X, y)
        assert name in str(raised.value.__cause__)
    with pytest.raises(
        ValueError, match="partial_fit cannot let mixtures choose among several: give one"
    ):
        GaussianMixtureClassifier(2).partial_fit(X, y, classes=[0, 1, 2])
    fitted = GaussianMixtureClassifier(2, covariance_type="diag").fit(X, y)
    with pytest.raises(ValueError, match="cannot continue from classes of another kind"):
        fitted.set_params(n_components=1).partial_fit(X, y)
    with pytest.raises(ValueError, match="classes must be passed on the first call"):
        GaussianMixtureClassifier().partial_fit(X, y)
    with pytest.raises(ValueError, match=r"y holds 2, which is not among the classes \[0, 1, 7\]"):
        GaussianMixtureClassifier().partial_fit(X, y, classes=[0, 1, 7]).partial_fit(X, y + 5)


@pytest.mark.parametrize("labels", ["numbers", "text"])
def test_rows_of_unknown_class_help(labels):
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 2000)
    X = rng.normal(size=(2000, 2)) + 2.2 * y[:, None]
    known = np.full(len(y), -1)
    known[:8] = [0, 1] * 4
    y[:8] = known[:8]
    X[:8] = rng.normal(size=(8, 2)) + 2.2 * y[:8, None]
    test = slice(8, None)
    names = np.array([0, 1])
    given = known
    if labels == "text":
        names = np.array(["a", "b"])
        given = np.array([names[each] if each >= 0 else None for each in known], dtype=object)
    model = GaussianMixtureClassifier(
        covariance_type="VII", semi_supervised=True, tol=1e-8, max_iter=500
    )
    with_all = clone(model).fit(X, given)
    only_known = clone(model).fit(X[:8], given[:8])
    everything = clone(model).fit(X, names[y])
    target = names[y[test]]
    assert with_all.score(X[test], target) > only_known.score(X[test], target)
    assert with_all.score(X[test], target) > everything.score(X[test], target) - 0.005
    assert set(with_all.predict(X)) <= set(names.tolist())


def test_a_class_that_looks_like_an_unknown_one_is_reported(blobs):
    X, y = blobs
    y = np.where(np.arange(len(y)) % 2 == 0, y, -1)
    with pytest.warns(UserWarning, match="y holds -1, which is taken for a class: .*semi_sup") as w:
        classifier = GaussianMixtureClassifier(covariance_type="full").fit(X, y)
    assert w[0].filename == __file__
    assert classifier.classes_.tolist() == [-1, 0, 1, 2]
    GaussianMixtureClassifier(covariance_type="full").fit(X, np.where(y == -1, -1, 1))  # two


def test_components_of_one_class_each_are_the_semi_supervised_mixture():
    X, y = DATA["iris"]
    y = np.where(np.arange(len(y)) % 3 == 0, y, -1)
    settings = {"covariance_type": "VVE", "tol": 1e-10, "max_iter": 500}
    ours = GaussianMixtureClassifier(semi_supervised=True, **settings).fit(X, y)
    mixture = GaussianMixture(3, semi_supervised=True, **settings).fit(X, y)
    np.testing.assert_allclose(ours.score_samples(X), mixture.score_samples(X), atol=1e-4)
    np.testing.assert_allclose(ours.predict_proba(X), mixture.predict_proba(X), atol=1e-4)


@pytest.mark.parametrize(
    "how",
    [
        {"semi_supervised": True, "covariance_type": "full"},
        {"semi_supervised": True, "common_structure": True, "covariance_type": ["VVV", "EEE"]},
        {"n_components": 2, "common_structure": True, "covariance_type": "EEE"},
    ],
)
def test_classes_that_have_not_converged_are_reported(blobs, how):
    X, y = blobs
    if how.get("semi_supervised"):
        y = np.where(np.arange(len(y)) % 5 == 0, y, -1)
    classifier = GaussianMixtureClassifier(tol=1e-12, max_iter=1, random_state=0, **how)
    with pytest.warns(ConvergenceWarning) as caught:
        classifier.fit(X, y)
    own = [each for each in caught if "EM of the classes did not converge" in str(each.message)]
    assert len(own) == 1
    assert "max_iter=1" in str(own[0].message)
    assert own[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        classifier.set_params(tol=1e-4, max_iter=1000).fit(X, y)


def test_minus_one_is_a_class_unless_said_otherwise():
    X, y = DATA["iris"]
    y = np.where(y == 0, -1, 1)
    assert GaussianMixtureClassifier().fit(X, y).classes_.tolist() == [-1, 1]
    assert GaussianMixtureClassifier(semi_supervised=True).fit(X, y).classes_.tolist() == [1]


def test_rows_that_no_class_explains_are_rejected(blobs):
    X, y = blobs
    plain = GaussianMixtureClassifier(covariance_type="full").fit(X, y)
    classifier = GaussianMixtureClassifier(covariance_type="full", reject_below=0.05).fit(X, y)
    far = [[50.0, 50.0], [0.0, 0.0]]
    assert plain.predict(far).tolist()[0] in (0, 1, 2)
    assert classifier.rejected(far).tolist() == [True, False]
    assert classifier.predict(far).tolist() == [-1, plain.predict(far)[1]]
    for c in range(3):
        own = classifier.mixtures_[c].score_samples(X[y == c])
        assert (own < classifier.reject_below_[c]).mean() == pytest.approx(0.05)
        assert classifier.rejected(X[y == c]).mean() <= 0.05
    kept = ~classifier.rejected(X)
    np.testing.assert_array_equal(classifier.predict(X[kept]), plain.predict(X[kept]))
    classifier.reject_below_ = np.full(3, -np.inf)
    np.testing.assert_array_equal(classifier.predict(X), plain.predict(X))
    with pytest.raises(AttributeError, match="reject_below=None"):
        plain.rejected(X)


def test_rejected_rows_of_text_classes_have_a_text(blobs):
    X, y = blobs
    names = np.array(["a", "b", "c"])[y]
    classifier = GaussianMixtureClassifier(covariance_type="full", reject_below=0.01)
    assert classifier.fit(X, names).predict([[50.0, 50.0]]).tolist() == ["rejected"]
    classifier.set_params(reject_label="none of them")
    assert classifier.fit(X, names).predict([[50.0, 50.0]]).tolist() == ["none of them"]
    assert classifier.partial_fit(X, names).rejected([[50.0, 50.0], [0.0, 0.0]]).tolist() == [
        True,
        False,
    ]
    with pytest.raises(ValueError, match="reject_label is 'b', and so is one of the classes"):
        classifier.set_params(reject_label="b").fit(X, names)
    with pytest.raises(ValueError, match="reject_label must be text"):
        classifier.set_params(reject_label=3).fit(X, names)


def test_a_temperature_makes_probabilities_honest_and_leaves_predictions():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 4000)
    # Four copies of one feature: naive Bayes counts it four times, so that the odds are to the
    # fourth power, and a temperature of 4 is right.
    X = np.repeat(rng.normal(size=(4000, 1)) + y[:, None], 4, axis=1)
    X += 1e-3 * rng.normal(size=X.shape)
    classifier = GaussianMixtureClassifier(covariance_type="EEI").fit(X[:2000], y[:2000])
    before, predicted = log_loss(y, classifier.predict_proba(X)), classifier.predict(X)
    classifier.calibrate(X[2000:], y[2000:])
    assert classifier.temperature_ == pytest.approx(4.0, rel=0.1)
    assert log_loss(y, classifier.predict_proba(X)) < 0.8 * before
    np.testing.assert_array_equal(classifier.predict(X), predicted)
    decisions = classifier.decision_function(X)
    np.testing.assert_allclose(
        classifier.predict_proba(X)[:, 1], 1.0 / (1.0 + np.exp(-decisions)), atol=1e-12
    )
    assert classifier.fit(X, y).temperature_ == 1.0


def test_it_works_inside_scikit_learn(blobs):
    X, y = blobs
    classifier = GaussianMixtureClassifier(2, covariance_type="VII", random_state=0)
    calibrated = CalibratedClassifierCV(classifier, method="sigmoid", cv=3).fit(X, y)
    assert calibrated.score(X, y) > 0.9
    scores = cross_val_score(make_pipeline(StandardScaler(), classifier), X, y, cv=3)
    assert scores.mean() > 0.9
    copy = pickle.loads(pickle.dumps(classifier.fit(X, y)))
    np.testing.assert_array_equal(copy.predict_proba(X), classifier.predict_proba(X))


@pytest.mark.parametrize("parameters", [{}, {"n_components": 2, "covariance_type": "diag"}])
def test_files_give_what_arrays_give(tmp_path, blobs, parameters):
    X, y = blobs
    weights = np.random.default_rng(0).random(len(X))
    for part in range(3):
        here = slice(part * 200, part * 200 + 200)
        table = {"a": X[here, 0], "kind": y[here], "b": X[here, 1], "w": weights[here]}
        pq.write_table(pa.table(table), tmp_path / f"part{part}.parquet")
    classifier = GaussianMixtureClassifier(reject_below=0.1, random_state=0, **parameters)
    held = clone(classifier).fit(X, y, sample_weight=weights)
    read = clone(classifier).fit(tmp_path, "kind", sample_weight="w")
    assert read.classes_.tolist() == [0, 1, 2]
    assert read.classes_.dtype.kind == "i"
    assert read.feature_names_in_.tolist() == ["a", "b"]
    frame = pd.DataFrame(X, columns=["a", "b"])
    np.testing.assert_allclose(read.predict_proba(frame), held.predict_proba(X), atol=1e-9)
    np.testing.assert_allclose(read.reject_below_, held.reject_below_, atol=1e-9)
    blocks = np.concatenate(list(read.predict_blocks(frame)))
    np.testing.assert_array_equal(blocks, read.predict(frame))
    in_parts = clone(classifier).set_params(covariance_type="full", n_components=1)
    in_parts.partial_fit(tmp_path, "kind", classes=[0, 1, 2], sample_weight="w")
    at_once = GaussianMixtureClassifier(covariance_type="full").fit(X, y, sample_weight=weights)
    np.testing.assert_allclose(in_parts.predict_proba(frame), at_once.predict_proba(X), atol=1e-9)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_column_of_files_holds_classes_of_text(blobs, tmp_path, kind):
    X, y = blobs
    names = np.array(["red", "green", "blue"])[y]
    frame = pd.DataFrame({"a": X[:, 0], "kind": names, "b": X[:, 1], "w": 1.0 + y})
    paths = [tmp_path / f"{part}.{kind}" for part in range(2)]
    for path, part in zip(paths, (slice(0, 250), slice(250, None)), strict=True):
        some = frame[part]
        some.to_csv(path, index=False) if kind == "csv" else some.to_parquet(path, index=False)
    expected = GaussianMixtureClassifier(random_state=0).fit(X, names, sample_weight=1.0 + y)
    found = GaussianMixtureClassifier(random_state=0).fit(paths, "kind", sample_weight="w")
    assert found.classes_.tolist() == ["blue", "green", "red"]
    assert found.feature_names_in_.tolist() == ["a", "b"]
    table = frame[["a", "b"]]
    np.testing.assert_array_equal(found.predict_proba(table), expected.predict_proba(X))
    assert found.score(paths, "kind") == expected.score(X, names)
    assert found.score(str(paths[0]), "kind") == expected.score(X[:250], names[:250])
    found.calibrate(paths, "kind")
    learner = GaussianMixtureClassifier(covariance_type="VVV")
    learner.partial_fit(paths[0], "kind", classes=["red", "green", "blue"], sample_weight="w")
    learner.partial_fit(paths[1], "kind", sample_weight="w")
    whole = GaussianMixtureClassifier(covariance_type="VVV").fit(paths, "kind", sample_weight="w")
    np.testing.assert_allclose(learner.predict_proba(table), whole.predict_proba(table), atol=1e-9)
    with pytest.raises(ValueError, match="has no column 'sort'"):
        GaussianMixtureClassifier().fit(paths, "sort")
    with pytest.raises(ValueError, match="take their weights from a column: name it"):
        GaussianMixtureClassifier().fit(paths, "kind", sample_weight=np.ones(600))


def test_files_without_names_hold_classes_too(blobs, tmp_path):
    X, y = blobs
    np.save(tmp_path / "rows.npy", np.column_stack([X, y]))
    found = GaussianMixtureClassifier().fit(tmp_path / "rows.npy", "x2")
    assert not hasattr(found, "feature_names_in_")
    assert found.score(X, y) == GaussianMixtureClassifier().fit(X, y).score(X, y)


@pytest.mark.parametrize("covariance_type", ["all", ["VVV", "EEE"]])
def test_a_choice_of_mixtures_keeps_to_the_iterations_and_the_tolerance(blobs, covariance_type):
    X, y = blobs
    classifier = GaussianMixtureClassifier(
        [1, 2, 3], covariance_type=covariance_type, max_iter=3, tol=0.0, random_state=0
    )
    with pytest.warns(ConvergenceWarning, match="max_iter=3"):
        classifier.fit(X, y)
    assert all(each.max_iter == 3 for each in classifier.mixtures_)
    rough, fine = (
        clone(classifier).set_params(max_iter=5000, tol=tol).fit(X, y) for tol in (1e-2, 1e-9)
    )
    for one, other in zip(rough.mixtures_, fine.mixtures_, strict=True):
        assert (one.tol, other.tol) == (1e-2, 1e-9)
        assert one.lower_bound_ <= other.lower_bound_ + 1e-12


def test_a_common_structure_that_is_chosen_warns_once(blobs):
    classifier = GaussianMixtureClassifier(2, common_structure=True, max_iter=2, tol=0.0)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        classifier.fit(*blobs)
    (only,) = [each for each in caught if issubclass(each.category, ConvergenceWarning)]
    assert only.filename == __file__


def test_a_column_of_a_frame_holds_classes_of_text(blobs):
    X, y = blobs
    names = np.array(["x", "y", "z"])[y]
    frame = pd.DataFrame({"a": X[:, 0], "kind": names, "b": X[:, 1]})
    classifier = GaussianMixtureClassifier(covariance_type="full").fit(frame, "kind")
    assert classifier.classes_.tolist() == ["x", "y", "z"]
    assert classifier.feature_names_in_.tolist() == ["a", "b"]
    same = GaussianMixtureClassifier(covariance_type="full").fit(X, names)
    np.testing.assert_array_equal(classifier.predict(frame[["a", "b"]]), same.predict(X))
    assert classifier.score(frame, "kind") == same.score(X, names)
    with pytest.raises(ValueError, match="y='sort' names no column of X, which has a, kind, b"):
        classifier.fit(frame, "sort")


def test_an_iterator_cannot_be_fitted_but_what_returns_one_can(blobs):
    X, y = blobs

    def batches():
        return (X[first : first + 100] for first in range(0, len(X), 100))

    classifier = GaussianMixtureClassifier(covariance_type="full")
    with pytest.raises(ValueError, match="can be iterated over only once"):
        classifier.fit(batches(), y)
    same = clone(classifier).fit(X, y)
    np.testing.assert_allclose(
        classifier.fit(batches, y).predict_proba(X), same.predict_proba(X), atol=1e-12
    )


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"n_components": {0: 1, 1: 2}}, "an entry for each of the classes"),
        ({"n_components": [0, 1]}, "n_components must be a positive integer"),
        ({"covariance_type": "oval"}, "covariance_type must be 'all' or some of .*'oval'"),
        ({"covariance_type": []}, "covariance_type must be 'all' or some of"),
        ({"n_components": [1, 2], "common_structure": True}, "common_structure=True takes one"),
        ({"priors": [0.5, 0.6, 0.1]}, "priors must be non-negative and sum to 1"),
        ({"priors": [0.5, 0.5]}, "'priors' should have the shape"),
    ],
)
def test_impossible_parameters_are_reported(blobs, parameters, words):
    with pytest.raises(ValueError, match=words):
        GaussianMixtureClassifier(**parameters).fit(*blobs)


@pytest.mark.parametrize(
    "kind", ["object", "string", "category", "Int64", "arrow", "polars", "pyarrow", "masked"]
)
@pytest.mark.parametrize("named", [False, True])
def test_classes_that_are_missing_are_unknown(blobs, kind, named):
    X, y = blobs
    names = {c: c if kind in ("Int64", "masked") else f"class {c}" for c in sorted(set(y.tolist()))}
    given = [names[c] for c in y.tolist()]
    gaps = range(0, len(y), 7)
    lacking = [None if i in gaps else each for i, each in enumerate(given)]
    table = pd.DataFrame({"a": X[:, 0], "b": X[:, 1], "y": pd.Series(lacking, dtype=object)})
    if kind == "masked":
        column = np.ma.array(given, mask=np.isin(np.arange(len(y)), gaps))
        frame = None
    elif kind == "polars":
        frame = pl.from_pandas(table)
        column = frame["y"]
    elif kind == "pyarrow":
        frame = pa.RecordBatch.from_pandas(table, preserve_index=False)
        column = frame["y"]
    else:
        dtype = pd.ArrowDtype(pa.string()) if kind == "arrow" else kind
        column = table["y"].astype(dtype)
        if kind == "object":
            column[column.isna()] = pd.NA
        frame = table.assign(y=column)
    if named and frame is None:
        return
    where = (frame, "y") if named else (X, column)
    classifier = GaussianMixtureClassifier(semi_supervised=True, covariance_type="VVV").fit(*where)
    expected = GaussianMixtureClassifier(semi_supervised=True, covariance_type="VVV").fit(
        X, lacking
    )
    assert classifier.classes_.tolist() == list(names.values())
    np.testing.assert_allclose(classifier.class_prior_, expected.class_prior_, rtol=1e-12)
    for refused in (GaussianMixtureClassifier().fit, classifier.score, classifier.calibrate):
        with pytest.raises(ValueError, match="NaN or nothing, first in row 0, counted from 0: gi"):
            refused(*where)


def test_impossible_classes_are_reported(blobs):
    X, y = blobs
    classifier = GaussianMixtureClassifier()
    with pytest.raises(ValueError, match="requires y to be passed"):
        classifier.fit(X, None)
    with pytest.raises(ValueError, match="one class for each of the 600 rows"):
        classifier.fit(X, y[:-1])
    with pytest.raises(ValueError, match="Input y contains NaN or nothing, first in row 3"):
        classifier.fit(X, np.where(np.arange(len(y)) == 3, np.nan, y))
    with pytest.raises(ValueError, match="y holds no class"):
        classifier.set_params(semi_supervised=True).fit(X, np.full(len(y), -1))
    with pytest.raises(ValueError, match="class 0 has no rows of positive weight"):
        GaussianMixtureClassifier(2).fit(X, y, sample_weight=(y > 0).astype(float))


def test_singular_classes_without_regularization_are_reported():
    X = np.array([[0.0, 0.0], [1.0, 1.0], [2.0, 2.0], [5.0, 5.0], [6.0, 6.0], [8.0, 8.0]])
    y = [0, 0, 0, 1, 1, 1]
    with pytest.raises(
        ValueError, match=r"none of the covariance structures.*VVV.*reg_covar above 0"
    ):
        GaussianMixtureClassifier(covariance_type="VVV", reg_covar=0.0).fit(X, y)
    # Of all structures, those that need no matrix of full rank are left.
    chosen = GaussianMixtureClassifier(selection="bic", reg_covar=0.0).fit(X, y)
    assert next(iter(chosen.structure_shares_))[2] == "I"
    assert set(GaussianMixtureClassifier(reg_covar=0.0).fit(X, y).structure_shares_) <= {
        each for each in PARSIMONIOUS if each[2] == "I"
    }


def test_structures_across_classes_of_several_components(blobs):
    X, y = blobs
    classifier = GaussianMixtureClassifier(
        2, covariance_type="EEE", common_structure=True, random_state=0, tol=1e-8
    ).fit(X, y)
    covariances = [each.covariances_ for each in classifier.mixtures_]
    np.testing.assert_allclose(covariances[1:], [covariances[0]] * 2, rtol=1e-10)
    assert classifier.structure_shares_ == {"EEE": 1.0}
    assert classifier.score(X, y) > 0.95
