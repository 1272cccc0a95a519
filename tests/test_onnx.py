"""Converted models give onnxruntime the results that they give here."""

import sys

import numpy as np
import onnxruntime
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from skl2onnx import to_onnx
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import fastgmm.onnx
from fastgmm import (
    BayesianGaussianMixture,
    GaussianMixture,
    GaussianMixtureClassifier,
    GaussianMixtureOutlierDetector,
    MessageLengthGaussianMixture,
    MiniBatchGaussianMixture,
)
from tests.structures import ANY_FEATURES

CLASSES = np.repeat([0, 1, 2], 100)
X = np.random.default_rng(0).normal(size=(300, 3)) + 3.0 * CLASSES[:, None]
TOLERANCE = {np.float64: 1e-9, np.float32: 1e-5}


@pytest.fixture(autouse=True)
def registered():
    fastgmm.onnx.register_converters()


def run(model, rows, **options):
    """Return the outputs of a converted model by name."""
    kept = {id(model): options} if options else None
    graph = to_onnx(model, rows[:1], options=kept)
    session = onnxruntime.InferenceSession(
        graph.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    names = [each.name for each in session.get_outputs()]
    return dict(zip(names, session.run(None, {"X": rows}), strict=True))


def check_mixture(mixture, rows):
    found = run(mixture, rows, score_samples=True)
    tolerance = TOLERANCE[rows.dtype.type]
    assert_array_equal(found["label"], mixture.predict(rows))
    assert found["probabilities"].dtype == rows.dtype
    assert_allclose(found["probabilities"], mixture.predict_proba(rows), atol=tolerance)
    assert_allclose(found["log_likelihood"], mixture.score_samples(rows), rtol=tolerance)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("covariance_type", ANY_FEATURES)
def test_mixtures(covariance_type, dtype):
    mixture = GaussianMixture(3, covariance_type=covariance_type, random_state=0).fit(X)
    check_mixture(mixture, X.astype(dtype))


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize(
    "mixture",
    [
        GaussianMixture(2, noise_volume=1e4, random_state=0),
        BayesianGaussianMixture(5, random_state=0),
        BayesianGaussianMixture(4, covariance_type="diag", random_state=0),
        MessageLengthGaussianMixture(6, random_state=0),
        MiniBatchGaussianMixture(3, random_state=0),
    ],
    ids=lambda each: type(each).__name__,
)
def test_other_mixtures(mixture):
    check_mixture(mixture.fit(X), np.vstack([X, [[40.0, -40.0, 3.0]]]))


def test_rows_far_from_the_origin_lose_nothing():
    mixture = GaussianMixture(3, random_state=0).fit(X + 1e6)
    check_mixture(mixture, X + 1e6)


def test_a_mixture_in_a_pipeline():
    pipeline = make_pipeline(StandardScaler(), GaussianMixture(3, random_state=0)).fit(X)
    found = run(pipeline, X)
    assert_array_equal(found["label"], pipeline.predict(X))
    assert_allclose(found["probabilities"], pipeline.predict_proba(X), atol=1e-9)


NAMES = np.array(["ash", "beech", "yew"])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("y", "options"),
    [
        (CLASSES, {}),
        (CLASSES > 0, {}),
        (10.0 * CLASSES, {"common_structure": False}),
        (NAMES[CLASSES], {"n_components": 2}),
        (NAMES[CLASSES].astype(object), {"covariance_type": "diag"}),
        (NAMES[CLASSES], {"reject_below": 0.1}),
        (CLASSES, {"reject_below": 0.1, "reject_label": 7}),
        (CLASSES, {"priors": [0.5, 0.5, 0.0]}),
    ],
)
def test_the_classifier(y, options, dtype):
    rows = np.vstack([X, [[90.0, -90.0, 0.0]]]).astype(dtype)
    classifier = GaussianMixtureClassifier(
        **{"covariance_type": "full", "random_state": 0, **options}
    ).fit(X, y)
    found = run(classifier, rows, zipmap=False)
    assert_array_equal(found["label"], classifier.predict(rows))
    assert_allclose(found["probabilities"], classifier.predict_proba(rows), atol=TOLERANCE[dtype])


def test_a_calibrated_classifier_in_a_pipeline():
    pipeline = make_pipeline(StandardScaler(), GaussianMixtureClassifier(covariance_type="full"))
    pipeline.fit(X, NAMES[CLASSES])
    pipeline[-1].calibrate(pipeline[0].transform(X), NAMES[CLASSES])
    assert pipeline[-1].temperature_ != 1.0
    rows = X.astype(np.float32)  # skl2onnx's maps hold no doubles
    found = run(pipeline, rows)
    assert_array_equal(found["output_label"], pipeline.predict(rows))
    probabilities = np.array(
        [[each[name] for name in NAMES] for each in found["output_probability"]]
    )
    assert_allclose(probabilities, pipeline.predict_proba(rows), atol=1e-5)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_detector(dtype):
    detector = GaussianMixtureOutlierDetector(2, contamination=0.1, random_state=0)
    pipeline = make_pipeline(StandardScaler(), detector).fit(X)
    rows = pipeline[0].transform(X).astype(dtype)
    found = run(detector, rows)
    assert_allclose(found["scores"], detector.decision_function(rows), atol=10 * TOLERANCE[dtype])
    if dtype is np.float64:
        assert_array_equal(found["label"], detector.predict(rows))
        assert_array_equal(run(pipeline, X)["label"], pipeline.predict(X))


def test_without_skl2onnx_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "skl2onnx", None)
    with pytest.raises(ImportError, match=r"the export to ONNX needs skl2onnx.*fastgmm\[onnx\]"):
        fastgmm.onnx.register_converters()
