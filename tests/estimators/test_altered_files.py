"""Model files and checkpoints in which anything was altered: refused, or as good as before."""

import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose

import fastgmm
from fastgmm import (
    BayesianGaussianMixture,
    GaussianMixture,
    GaussianMixtureClassifier,
    GaussianMixtureOutlierDetector,
    GaussianMixtureRegressor,
    GaussianMixtureTransformer,
    GroupMixtures,
    MessageLengthGaussianMixture,
    MiniBatchGaussianMixture,
    ModelFileError,
    StudentMixture,
    fit_groups,
)
from fastgmm.io.checkpoint import CheckpointError
from tests.altered_files import alterations, array_alterations, mangled, mangled_npy_headers

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore:component"),
]

X = np.random.default_rng(0).normal(size=(120, 2)) + 5.0 * (np.arange(120) % 2)[:, None]
LABELS = np.array(["a", "b"])[np.arange(120) % 2]


def partly(model):
    for rows in (X[:60], X[60:90], X[90:]):
        model.partial_fit(rows)
    return model


def detector():
    found = partly(GaussianMixtureOutlierDetector(2, contamination=0.1, random_state=0))
    return found.set_threshold(X, LABELS == "b") if hasattr(found, "set_threshold") else found


MODELS = {
    "mixture": lambda: GaussianMixture(2, random_state=0).fit(X),
    "noise": lambda: GaussianMixture(
        2, covariance_type="diag", priors="mclust", noise_volume=100.0, random_state=0
    ).fit(X),
    "online": lambda: partly(GaussianMixture(2, averaging=True, random_state=0)),
    "tied": lambda: GaussianMixture(2, covariance_type="tied", random_state=0).fit(X),
    "minibatch": lambda: MiniBatchGaussianMixture(2, max_epochs=2, random_state=0).fit(X),
    "message length": lambda: MessageLengthGaussianMixture(4, random_state=0).fit(X),
    "student": lambda: StudentMixture(2, dof="separate", random_state=0).fit(X),
    "variational": lambda: BayesianGaussianMixture(2, random_state=0).fit(X),
    "variational online": lambda: partly(
        BayesianGaussianMixture(
            2, weight_concentration_prior_type="dirichlet_distribution", random_state=0
        )
    ),
    "classifier": lambda: GaussianMixtureClassifier(
        n_components=2, reject_below=0.01, random_state=0
    ).fit(X, LABELS),
    "classifier online": lambda: GaussianMixtureClassifier().partial_fit(
        X, LABELS, classes=["a", "b"]
    ),
    "detector": detector,
    "regressor": lambda: GaussianMixtureRegressor(2, random_state=0).fit(X[:, :1], X[:, 1]),
    "transformer": lambda: GaussianMixtureTransformer(2, random_state=0).fit(X),
    "groups": lambda: fit_groups(X, LABELS, 2, random_state=0),
}


def use(model, *, learn=False):
    """Do what the model is for, and find the results sound."""
    if isinstance(model, GroupMixtures):
        labels = model.predict(X, model.groups[np.arange(len(X)) % len(model)])
        assert len(labels) == len(X)
        for group in model.groups:
            sound(model.mixture(group))
        return
    rows, y = X, ()
    if isinstance(model, GaussianMixtureRegressor):
        rows, y = X[:, :1], (X[:, 1],)
    elif isinstance(model, GaussianMixtureClassifier):
        y = (LABELS,)
    result = model.transform(rows) if hasattr(model, "transform") else model.predict(rows)
    assert len(result) == len(rows)
    if result.dtype.kind == "f":
        assert np.isfinite(result).all()
    if hasattr(model, "predict_proba"):
        assert_allclose(model.predict_proba(rows).sum(axis=1), 1.0, rtol=1e-6)
    mixtures = getattr(model, "mixtures_", [getattr(model, "mixture_", model)])
    for mixture in mixtures:
        sound(mixture)
    is_batch_only = getattr(model, "_statistics", ()) is None  # of classes with several components
    if learn and hasattr(model, "partial_fit") and not is_batch_only:
        model.partial_fit(rows, *y)
        for mixture in getattr(model, "mixtures_", [getattr(model, "mixture_", model)]):
            sound(mixture)


def sound(mixture):
    """Assert that a mixture is one."""
    total = mixture.weights_.sum() + getattr(mixture, "noise_weight_", 0.0)
    assert_allclose(total, 1.0, rtol=1e-3)
    drawn, _ = mixture.sample(5)
    spread = getattr(mixture, mixture._spread_arrays[0])
    for values in (mixture.means_, spread, drawn, mixture.score_samples(X)):
        assert np.isfinite(values).all()
    assert (mixture.weights_ >= 0.0).all()


def outcome(action, what):
    """Return whether an action is refused as it should be; report every other error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        try:
            action()
        except (ModelFileError, CheckpointError):
            return True
        except Exception as error:
            raise AssertionError(f"{what}: {error!r}") from error
    return False


@pytest.mark.parametrize("name", MODELS)
def test_an_altered_model_is_refused_or_as_good_as_before(tmp_path, name):
    path = tmp_path / "model.fgm"
    MODELS[name]().save(path)
    use(fastgmm.load(path))
    refused = [
        outcome(lambda: use(fastgmm.load(path)), what) for what in alterations(path, 100, seed=1)
    ]
    assert np.mean(refused) > 0.5


NEVER = {"NaN", "infinite", "truncated", "text", "integers", "complex", "dropped"}
"""What no array may be, but those of `MAY_LACK`."""
MAY_LACK = {"_weights"}
POSITIVE = (
    "weights_",
    "covariances_",
    "precisions_",
    "log_weights",
    "log_normalizers",
    "whiteners",
    "counts",
    "second",
    "concentrations",
    "degrees_of_freedom",
    "scatter",
    "masses",
)
"""Ends of the names of arrays that may not change their signs, and not hold 1e300."""


def check_refused(name, way, refused):
    """Assert that what can be no such array was refused."""
    if way in NEVER and not (way == "dropped" and name in MAY_LACK) and "key" not in name:
        assert refused, f"{name} {way}"
    if name.endswith(POSITIVE) and way == "negated":
        assert refused, f"{name} {way}"
    if name.endswith(("weights_", "means_", "covariances_", "precisions_")) and "1e300" in way:
        assert refused or name == "_weights", f"{name} {way}"


@pytest.mark.parametrize("name", MODELS)
def test_a_model_with_an_array_altered_is_refused_or_works(tmp_path, name):
    path = tmp_path / "model.fgm"
    MODELS[name]().save(path)
    for array, way in array_alterations(path):
        refused = outcome(lambda: use(fastgmm.load(path), learn=True), f"{array} {way}")
        check_refused(array, way, refused)


def test_a_mangled_model_is_refused_or_as_good_as_before(tmp_path):
    path = tmp_path / "model.fgm"
    MODELS["online"]().save(path)
    content = path.read_bytes()
    for damage, count in ((mangled, 150), (mangled_npy_headers, 150)):
        path.write_bytes(content)
        refused = [outcome(lambda: use(fastgmm.load(path)), what) for what in damage(path, count)]
        assert np.mean(refused) > 0.5


FITS = {
    "mixture": lambda **keep: GaussianMixture(
        2, n_init=3, tol=0.0, max_iter=4, random_state=0, **keep
    ),
    "noise": lambda **keep: GaussianMixture(
        2, covariance_type="diag", noise_volume=100.0, n_init=2, tol=0.0, max_iter=4,
        random_state=np.random.RandomState(1), **keep,
    ),
    "variational": lambda **keep: BayesianGaussianMixture(
        2, n_init=2, tol=0.0, max_iter=4, random_state=0, **keep
    ),
    "minibatch": lambda **keep: MiniBatchGaussianMixture(
        2, max_epochs=3, tol=0.0, averaging=True, random_state=0, **keep
    ),
}  # fmt: skip


class Stop:
    """Ends a fit at some iteration, as an error would."""

    def __init__(self, after):
        self.left = after

    def setup(self, **_): ...
    def teardown(self, **_): ...
    def on_fit_task_begin(self, *_): ...
    def on_fit_task_end(self, _estimator, context, **_):
        self.left -= context.task_name == "iteration"
        if self.left == 0:
            raise KeyboardInterrupt


def checkpointed(path, name, after):
    """Write the checkpoint of a fit, stopped after some iterations; return what resumes it."""
    keep = {"checkpoint": path, "checkpoint_interval": 0.0, "resume": True}
    fit = FITS[name](**keep)
    if after is None:
        fit.fit(X)
    else:
        fit.set_callbacks(Stop(after))
        with pytest.raises(KeyboardInterrupt):
            fit.fit(X)
    return lambda: FITS[name](**keep).fit(X)


@pytest.mark.parametrize("after", [2, None])
@pytest.mark.parametrize("name", FITS)
def test_an_altered_checkpoint_is_refused_or_resumed(tmp_path, name, after):
    path = tmp_path / "run.fgm"
    fit = checkpointed(path, name, after)
    refused = []
    for what in alterations(path, 80, seed=2):
        refused.append(outcome(lambda: use(fit()), what))
    assert np.mean(refused) > 0.5


@pytest.mark.parametrize("after", [2, None])
@pytest.mark.parametrize("name", FITS)
def test_a_checkpoint_with_an_array_altered_is_refused_or_resumed(tmp_path, name, after):
    path = tmp_path / "run.fgm"
    fit = checkpointed(path, name, after)
    for array, way in array_alterations(path):
        check_refused(array, way, outcome(lambda: use(fit()), f"{array} {way}"))
