"""Rows, weights, labels and parameters of every kind, and what may come of them."""

from __future__ import annotations

import copy
import linecache
import traceback
import warnings
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd
import sklearn
from hypothesis import strategies as st
from scipy import sparse

import fastgmm
from fastgmm.em.initialization.methods import INIT_METHODS
from fastgmm.mixture.structures import STRUCTURE_NAMES

_PACKAGES = tuple(str(Path(each.__file__).parent) for each in (fastgmm, sklearn))

_NUMBERS = [0, 1, 2, 3, 0.5, -1, 1e-300, 1e-6, 1e300, np.nan, np.inf, None, "x", True, 10**30]
_COUNTS = [1, 1, 2, 2, 3, 8, 40, 0, -1, 1.5, "2", None, [1, 2]]
_WORDS = ["auto", "x", "", 0, None, 1.5, []]
_SWITCHES = [True, False, "x", None]
_ARRAYS = [
    None, [0.5, 0.5], [1.0], [2.0, -1.0], [np.nan, 1.0], np.zeros((2, 2)), np.eye(2), 1.0, 0.0,
    np.ones((2, 2, 2)), [[1e200, 0.0], [0.0, 1e200]], [np.eye(2), np.eye(2)], [["a", "b"]] * 2,
    "x", [0, 1] * 6, [-1] * 12,
]  # fmt: skip

POOLS: dict[str, list] = {
    "n_components": _COUNTS,
    "n_clusters": _COUNTS,
    "max_components": _COUNTS,
    "min_components": _COUNTS,
    "max_iter": [0, 1, 5, 5, 20, -1, 1.5, "x"],
    "max_epochs": [1, 2, 0, "x"],
    "n_init": [1, 1, 2, 0, "auto", -1],
    "batch_size": [1, 2, 7, 1000, 0, "auto", "x"],
    "covariance_type": [*STRUCTURE_NAMES, "auto", "x", None, ["full", "diag"]],
    "structures": ["auto", ["full"], ["VVV", "EII"], [], ["x"], "full"],
    "init_params": [*INIT_METHODS, "x", None],
    "init": ["k-means++", "random", "x", np.zeros((2, 2)), [[np.nan] * 2] * 2, np.ones((1, 3))],
    "missing": ["error", "drop", "model", "x"],
    "reg_covar_scale": ["auto", "absolute", "relative", "x"],
    "random_state": [0, 0, 1, np.random.RandomState(0), -1, "x"],  # None is another each time
    "weight_concentration_prior_type": ["dirichlet_process", "dirichlet_distribution", "x"],
    "priors": [None, "mclust", fastgmm.ConjugatePriors(), [0.5, 0.5], [2.0, -1.0], "x", 1.0],
    "noise_volume": [None, "auto", 1.0, 1e300, 1e-300, 0.0, np.nan],
    "contamination": ["auto", 0.1, 0.5, 1e-9, 0.0, np.nan],
    "criterion": ["bic", "aic", "icl", "x", "cv"],
    "class_weight": [None, "balanced", {0: 2.0, 1: 0.0}, {"x": 1.0}, "x"],
    "reject_below": [None, 0.1, 0.999, 0.0, np.nan],
    "reject_label": [None, -5, "other", 0, np.nan],
    "n_jobs": [None, 1, 2, -1, 0, 1.5],
    "output": ["responsibilities", "log_densities", "x"],
    "checkpoint": [None],
    "resume": [False],
    "verbose": [0],
    "copy_x": [True, False],
    "cv": [None, 2, "x"],
    **dict.fromkeys(("weights_init", "means_init", "precisions_init", "mean_prior"), _ARRAYS),
    **dict.fromkeys(("covariance_prior", "labels_init"), _ARRAYS),
    **dict.fromkeys(("averaging", "warm_start", "semi_supervised"), _SWITCHES),
    **dict.fromkeys(("early_stopping", "common_structure"), _SWITCHES),
    **dict.fromkeys(("selection", "algorithm"), _WORDS),
}
"""What parameters are set to; others take `_NUMBERS`."""


def parameters(estimator):
    """Return a strategy of a parameter of an estimator and its value."""
    names = st.sampled_from(sorted(type(estimator)._get_param_names()))
    return names.flatmap(
        lambda name: st.tuples(
            st.just(name), st.sampled_from(POOLS.get(name, _NUMBERS)).map(copy.deepcopy)
        )
    )


_SCALES = [1.0, 1.0, 1.0, 1e-3, 1e-160, 5e-324, 1e8, 1e149, 1e150, 1e160, 1e308]
_FORMS = {
    "array": lambda X: X,
    "single": lambda X: X.astype(np.float32),
    "half": lambda X: X.astype(np.float16),
    "integers": lambda X: np.rint(np.clip(np.nan_to_num(X), -9e18, 9e18)).astype(np.int64),
    "booleans": lambda X: X > 0.0,
    "column order": np.asfortranarray,
    "backwards": lambda X: X[::-1, ::-1],
    "big-endian": lambda X: X.astype(">f8"),
    "list": lambda X: X.tolist(),
    "table": lambda X: pd.DataFrame(X, columns=[f"c{j}" for j in range(X.shape[1])]),
    "table of other names": lambda X: pd.DataFrame(X, columns=[f"d{j}" for j in range(X.shape[1])]),
    "numbers for names": pd.DataFrame,
    "masked": lambda X: np.ma.masked_array(X, X > 1.0),
    "objects": lambda X: X.astype(object),
    "iterator": lambda X: iter([X[:5], X[5:]]),
    "function": lambda X: lambda: iter([X[:5], X[5:]]),
    "text": lambda X: X.astype(str),
    "complex": lambda X: X + 1j,
    "times": lambda X: np.full(X.shape, datetime(2026, 1, 1), dtype="M8[s]"),
    "sparse": sparse.csr_matrix,
    "flat": np.ravel,
    "cube": lambda X: X[None],
    "ragged": lambda X: [[1.0] * (i + 1) for i in range(len(X))],
    "mapping": lambda X: {"a": X},
    "none": lambda _: None,
    "path": lambda _: "no such file.parquet",
}


@st.composite
def rows(draw):
    """Return rows in one of many forms: most of them sound, of two columns."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        random = np.random.default_rng(draw(st.integers(0, 9)))
        n, d = (
            draw(st.sampled_from([12, 12, 30, 3, 1, 0])),
            draw(st.sampled_from([2, 2, 2, 1, 3, 0])),
        )
        X = random.normal(size=(n, d)) + 4.0 * (np.arange(n) % 2)[:, None]
        way = draw(
            st.sampled_from(["", "", "", "equal", "grid", "dependent", "one far", "one row"])
        )
        if way == "equal":
            X[:] = X[:1]
        elif way == "grid":
            X = np.rint(X)
        elif way == "dependent":
            X[:, 1:] = X[:, :1]
        elif way == "one far":
            X[:1] = 1e140
        elif way == "one row":
            X[1:] = 0.0
        X = X * draw(st.sampled_from(_SCALES)) + draw(st.sampled_from([0.0, 0.0, 1e8, -1e15]))
        hole = draw(st.sampled_from([None, None, None, np.nan, np.inf, -np.inf]))
        if hole is not None:
            X[random.random(X.shape) < draw(st.sampled_from([0.1, 0.5, 1.0]))] = hole
        form = draw(st.sampled_from([*(["array"] * 12), *_FORMS]))
        return _FORMS[form](X)


@st.composite
def weights(draw, n_rows):
    """Return sample weights, mostly none."""
    values = [None, None, None, np.ones(n_rows), np.arange(n_rows) % 2, np.zeros(n_rows)]
    values += [np.full(n_rows, 1e-300), np.full(n_rows, 1e300), -np.ones(n_rows), [1.0], "w", 2.0]
    values += [np.full(n_rows, np.nan), np.eye(max(n_rows, 1))[0][:n_rows], [None] * n_rows]
    return draw(st.sampled_from(values))


@st.composite
def labels(draw, n_rows):
    """Return labels of rows, of classes or outliers, or values of a target."""
    of_two = np.arange(n_rows) % 2
    values = [of_two, of_two, of_two, of_two * 2 - 1, of_two.astype(float), of_two > 0, None, [0]]
    values += [
        np.array(["a", "b"])[of_two],
        np.zeros(n_rows),
        np.arange(n_rows),
        "w",
        1e300 * of_two,
    ]
    values += [np.full(n_rows, np.nan), of_two[:, None], np.where(of_two, -1, 0), [None] * n_rows]
    return draw(st.sampled_from(values))


def number_of_rows(X):
    """Return how many rows weights and labels are made for."""
    try:
        return len(X)
    except TypeError:
        return 12


class UnmeantError(AssertionError):
    """An exception that nobody meant to raise."""


def attempt(action, *arguments, **options):
    """Return what an action gives, or None if it raises what it is meant to; raise otherwise."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", RuntimeWarning)
        try:
            return action(*arguments, **options)
        except (ValueError, TypeError, AttributeError, MemoryError, OSError) as error:
            frame = traceback.extract_tb(error.__traceback__)[-1]
            line = linecache.getline(frame.filename, frame.lineno).strip()
            meant = frame.filename.startswith(_PACKAGES) and line.startswith("raise")
            if not meant or not str(error):
                raise UnmeantError(f"{type(error).__name__}: {error}") from error
        except Exception as error:
            raise UnmeantError(f"{type(error).__name__}: {error}") from error
    return None


def check_no_nan(estimator):
    """Assert that no fitted attribute holds NaN."""
    for name, value in vars(estimator).items():
        if not name.endswith("_") or name.startswith("_"):
            continue
        for each in value if isinstance(value, list | tuple) else [value]:
            if hasattr(each, "get_params"):
                check_no_nan(each)
            elif isinstance(each, np.ndarray | float) and np.asarray(each).dtype.kind == "f":
                assert not np.isnan(each).any(), f"{type(estimator).__name__}.{name} holds NaN"
