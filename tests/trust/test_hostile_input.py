"""Estimators used in any order, and given anything, raise only on purpose, and hold no NaN."""

import faulthandler
import inspect
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

import fastgmm
from fastgmm import distances, extend, plotting
from tests.trust.hostile_values import (
    attempt,
    check_no_nan,
    labels,
    number_of_rows,
    parameters,
    rows,
    weights,
)

EXAMPLES = int(os.environ.get("FASTGMM_EXAMPLES", "4"))
"""Sequences for each estimator; above the default, they are drawn anew in each run."""

SETTINGS = settings(
    max_examples=EXAMPLES,
    stateful_step_count=10,
    deadline=None,
    derandomize=EXAMPLES == 4,
    database=None,
    suppress_health_check=list(HealthCheck),
    print_blob=False,
)

MODELS = (
    "GaussianMixture", "BayesianGaussianMixture", "GaussianMixtureClassifier",
    "GaussianMixtureOutlierDetector", "GaussianMixtureRegressor", "GaussianMixtureTransformer",
    "KMeans", "MessageLengthGaussianMixture", "MixtureSearch", "MiniBatchGaussianMixture",
    "StudentMixture",
)  # fmt: skip


def made(name):
    """Return an estimator that takes little time."""
    limit = {"max_epochs": 1} if name == "MiniBatchGaussianMixture" else {"max_iter": 5}
    return getattr(fastgmm, name)(random_state=0, **limit)


OF_ROWS = (
    "predict", "predict_proba", "predict_log_proba", "score_samples", "decision_function",
    "transform", "score", "bic", "aic", "icl", "entropy", "impute", "rejected", "predict_quantiles",
    "sample_y", "predict_blocks", "predict_proba_blocks", "score_samples_blocks",
    "decision_function_blocks", "transform_blocks", "impute_blocks", "explain", "factor_scores",
    "denoise",
)  # fmt: skip
OF_LABELED_ROWS = ("calibrate", "choose_threshold", "operating_point", "log_density", "score")
FITS = ("fit", "fit", "partial_fit", "fit_predict", "fit_transform")
WITHOUT_ROWS = ("get_feature_names_out", "results_frame", "to_gaussian_mixture", "to_sklearn")
OTHERS = {"condition", "from_sklearn", "marginal", "sample", "save", "set_params"}
"""Called in rules of their own."""


def all_of(method, *arguments):
    """Return what a method gives, all blocks of it."""
    found = method(*arguments)
    return list(found) if isinstance(found, Iterator) else found


def machine_of(name):
    """Return a state machine around an estimator."""

    class Machine(RuleBasedStateMachine):
        def __init__(self):
            super().__init__()
            self.model = made(name)
            self.fitted = False

        @rule(data=st.data())
        def set_parameter(self, data):
            name, value = data.draw(parameters(self.model))
            self.model.set_params(**{name: value})

        @rule()
        def begin_anew(self):
            self.model, self.fitted = made(name), False

        @rule(data=st.data(), X=rows(), method=st.sampled_from(FITS))
        def fit(self, data, X, method):
            if not hasattr(self.model, method):
                return
            n_rows = number_of_rows(X)
            y = data.draw(labels(n_rows)) if data.draw(st.booleans()) else np.arange(n_rows) % 2
            before = dict(vars(self.model))
            done = attempt(
                getattr(self.model, method), X, y, sample_weight=data.draw(weights(n_rows))
            )
            if done is None and method == "fit":
                assert vars(self.model).keys() == before.keys()
                assert all(vars(self.model)[name] is before[name] for name in before)
            self.fitted = self.fitted or done is not None
            check_no_nan(self.model)

        @precondition(lambda self: self.fitted)
        @rule(X=rows(), method=st.sampled_from(OF_ROWS))
        def evaluate(self, X, method):
            if hasattr(self.model, method):
                attempt(all_of, getattr(self.model, method), X)

        @precondition(lambda self: self.fitted)
        @rule(data=st.data(), X=rows(), method=st.sampled_from(OF_LABELED_ROWS))
        def evaluate_labeled(self, data, X, method):
            if hasattr(self.model, method):
                attempt(getattr(self.model, method), X, data.draw(labels(number_of_rows(X))))
                check_no_nan(self.model)

        @precondition(lambda self: self.fitted)
        @rule(
            n=st.sampled_from([1, 5, 0, -1, 1.5, "x"]),
            column=st.sampled_from([0, 1, -1, 7, "c0", None]),
            value=st.sampled_from([0.0, 1e200, np.nan, "x", None]),
        )
        def draw_and_reduce(self, n, column, value):
            for method, argument in (
                ("sample", n),
                ("marginal", [column]),
                ("condition", {column: value}),
            ):
                if hasattr(self.model, method):
                    found = attempt(getattr(self.model, method), argument)
                    if hasattr(found, "get_params"):
                        check_no_nan(found)

        @precondition(lambda self: self.fitted and hasattr(self.model, "save"))
        @rule()
        def save_and_load(self):
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "model.fgm"
                attempt(self.model.save, path)
                if path.exists():
                    self.model = fastgmm.load(path)
                    check_no_nan(self.model)

        @precondition(lambda self: self.fitted)
        @rule()
        def convert(self):
            for method in WITHOUT_ROWS:
                if hasattr(self.model, method):
                    found = attempt(getattr(self.model, method))
                    if method == "to_sklearn" and found is not None:
                        check_no_nan(attempt(type(self.model).from_sklearn, found))

    return Machine


@pytest.fixture(autouse=True)
def _no_hang():
    faulthandler.dump_traceback_later(60.0 * EXAMPLES, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()


def test_every_method_is_used():
    used = {*OF_ROWS, *OF_LABELED_ROWS, *FITS, *WITHOUT_ROWS, *OTHERS}
    of_sklearn = {"get_params", "get_metadata_routing", "set_callbacks", "set_output"}
    for name in MODELS:
        methods = dict(inspect.getmembers(getattr(fastgmm, name), callable))
        public = {each for each in methods if not each.startswith("_")}
        requests = {each for each in public if each.startswith("set_") and "_request" in each}
        assert public <= used | of_sklearn | requests


@pytest.mark.parametrize("name", MODELS)
def test_estimators(name):
    run_state_machine_as_test(machine_of(name), settings=SETTINGS)


DISPLAYS = (
    "DensityDisplay",
    "EllipsesDisplay",
    "EntropyDisplay",
    "PairsDisplay",
    "UncertaintyDisplay",
)

SOUND = fastgmm.GaussianMixture(2, random_state=0)
ROWS = np.random.default_rng(0).normal(size=(40, 2)) + 3.0 * (np.arange(40) % 2)[:, None]


@settings(SETTINGS)
@given(X=rows(), data=st.data())
def test_functions(X, data):
    mixture = SOUND.fit(ROWS)
    other = attempt(fastgmm.GaussianMixture(2, random_state=1, max_iter=3).fit, X) or mixture
    weight = data.draw(weights(number_of_rows(X)))
    few = {"n_resamples": 2, "max_iter": 3, "random_state": 0}
    attempt(fastgmm.merge_components, mixture, X, weight)
    attempt(fastgmm.bootstrap_parameters, mixture, X, weight, **few)
    attempt(fastgmm.bootstrap_likelihood_ratio_test, mixture, X, weight, max_components=2, **few)
    attempt(fastgmm.fisher_vectors, mixture, [ROWS, X])
    attempt(fastgmm.match_components, mixture, other)
    attempt(fastgmm.reorder_components, mixture, X)
    attempt(fastgmm.segment_image, X, 2, max_iter=2)
    attempt(distances.kl_divergence, mixture, other, n_draws=20, random_state=0)
    for function in (
        distances.component_divergences,
        distances.component_wasserstein,
        distances.kl_approximations,
        distances.mixture_wasserstein,
    ):
        attempt(function, mixture, other)
    display = getattr(plotting, data.draw(st.sampled_from(DISPLAYS)))
    attempt(display.from_estimator, data.draw(st.sampled_from([mixture, other])), X)
    plt.close("all")
    full = extend.structure("full")
    parameters = full.from_covariances(mixture.weights_, mixture.means_, mixture.covariances_)
    statistics = attempt(extend.block_statistics, parameters, X)
    if statistics is not None:
        attempt(extend.merge, statistics, statistics)
    source = attempt(fastgmm.open_data, X)
    if source is not None:
        attempt(list, source.blocks())
