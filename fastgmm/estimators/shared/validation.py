"""Checks of what users pass to the estimators: rows, sample weights and starting values."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial, wraps
from inspect import signature
from numbers import Integral, Real
from os import PathLike
from typing import Any, Literal, Protocol, Self, TypeVar, cast

import narwhals
import numpy as np
import numpy.typing as npt
from numpy.typing import ArrayLike
from sklearn import config_context, get_config
from sklearn.base import BaseEstimator, _fit_context
from sklearn.utils import check_array
from sklearn.utils._param_validation import Interval, StrOptions, validate_params
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import _check_sample_weight, validate_data

from fastgmm.data.column_names import name_list
from fastgmm.data.errors import MissingValueError
from fastgmm.data.formats.table_file import numeric_dtype
from fastgmm.data.opening import is_data_reference, open_data
from fastgmm.data.source import Source
from fastgmm.data.sources.annotated import AnnotatedRows
from fastgmm.data.sources.array import ArraySource, is_mapped
from fastgmm.data.sources.array_like import not_numbers, unmasked
from fastgmm.data.sources.batch import all_finite
from fastgmm.data.sources.dask_collection import DaskSource, is_collection
from fastgmm.data.sources.exactness import (
    FIRST_ROUNDED,
    check_no_times,
    is_long_integer,
    reaches_rounding,
    warn_of_rounding,
)
from fastgmm.data.sources.frames import is_frame, known_to_narwhals
from fastgmm.data.sources.limited import LimitedRows
from fastgmm.data.sources.rechunking import rows_in_memory
from fastgmm.em.initialization.methods import INIT_METHODS, GivenStart
from fastgmm.em.stopping import StoppingRule
from fastgmm.estimators.shared.callbacks import callback_management_context
from fastgmm.mixture.regularization import REGULARIZATION_SCALES
from fastgmm.mixture.statistics import FloatArray
from fastgmm.mixture.structures import STRUCTURE_NAMES, CovarianceStructure

_Method = TypeVar("_Method", bound=Callable[..., Any])

Missing = Literal["error", "drop", "model"]
"""What estimators do where values are missing: refuse rows, leave them out, or integrate out."""

_ERROR_OPTIONS = ("error_columns", "error_covariance")

_LARGEST_VALUE = 1e150
"""Squares of larger values, and products of a few, overflow."""

_SMALLEST_PRECISION = 1e-300
"""One over it is still a number."""

_FLOATS = [np.float64, np.float32]

CONSTRAINTS: dict[str, list[Any]] = {
    "n_components": [Interval(Integral, 1, None, closed="left")],
    "covariance_type": [StrOptions(set(STRUCTURE_NAMES)), CovarianceStructure],
    "tol": [Interval(Real, 0.0, None, closed="left"), StoppingRule],
    "reg_covar": [Interval(Real, 0.0, None, closed="left")],
    "max_iter": [Interval(Integral, 0, None, closed="left")],
    "n_init": [Interval(Integral, 1, None, closed="left")],
    "init_params": [StrOptions(set(INIT_METHODS))],
    "labels_init": ["array-like", None],
    "random_state": ["random_state"],
    "warm_start": ["boolean"],
    "verbose": ["verbose"],
    "verbose_interval": [Interval(Integral, 1, None, closed="left")],
    "n_jobs": [
        Interval(Integral, 1, None, closed="left"),
        Interval(Integral, None, -1, closed="right"),
        None,
    ],
    "reg_covar_scale": [StrOptions(set(REGULARIZATION_SCALES))],
    "missing": [StrOptions({"error", "drop", "model"})],
    "checkpoint": [str, PathLike, None],
    "checkpoint_interval": [Interval(Real, 0.0, None, closed="left")],
    "resume": ["boolean"],
    "weights_init": ["array-like", None],
    "means_init": ["array-like", None],
    "precisions_init": ["array-like", Interval(Real, 0.0, None, closed="neither"), None],
    "step_exponent": [Interval(Real, 0.5, 1.0, closed="right")],
    "step_offset": [Interval(Real, 0.0, None, closed="left")],
    "averaging": ["boolean"],
    "forgetting": [Interval(Real, 0.0, 1.0, closed="right")],
    "frozen": [dict, None],
}
"""What parameters may be that several estimators have, as scikit-learn's validation takes it."""


def constraints_of(init: Callable[..., None], /, **own: list[Any]) -> dict[str, list[Any]]:
    """Return what the parameters of a constructor may be: what `own` says, or else the usual."""
    names = list(signature(init).parameters)[1:]
    return {name: own[name] if name in own else CONSTRAINTS[name] for name in names}


class UnchangedOnFailure:
    """Gives an estimator the attributes back that it had, if what is done to it fails."""

    def __init__(self, estimator: Any) -> None:
        self._estimator = estimator

    def renew(self) -> None:
        """Take the attributes of now for those to give back."""
        self._attributes = dict(vars(self._estimator))

    def __enter__(self) -> Self:
        self.renew()
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if kind is not None:
            attributes = vars(self._estimator)
            attributes.clear()
            attributes.update(self._attributes)


class _Decorator(Protocol):
    """What leaves the type of a function as it is."""

    def __call__(self, function: _Method, /) -> _Method: ...


# scikit-learn's own decorators, with types.
validated_partial_fit: _Decorator = _fit_context(prefer_skip_nested_validation=True)
"""Makes a method check the constructor's parameters first and end callbacks at last."""
validated_arguments: Callable[[dict[str, list[Any]]], _Decorator] = partial(
    validate_params, prefer_skip_nested_validation=True
)
"""Makes a function check its arguments first."""
available_where: Callable[[Callable[[Any], bool]], _Decorator] = available_if
"""Makes a method missing in estimators that do not meet a condition."""


def validated_fit(method: _Method) -> _Method:
    """Make a fit method do the same, and leave the estimator as it was if it fails.

    It does what scikit-learn's decorator does, in one frame.
    """

    @wraps(method)
    def wrapper(estimator: Any, *args: Any, **kwargs: Any) -> Any:
        if not get_config()["skip_parameter_validation"]:
            estimator._validate_params()
        try:
            with (
                UnchangedOnFailure(estimator),
                config_context(skip_parameter_validation=True),
                callback_management_context(estimator),
            ):
                return method(estimator, *args, **kwargs)
        except MissingValueError as error:
            if isinstance(kwargs.get("X", args[0] if args else None), Source):
                raise  # which open_data has opened, by options of its own
            raise MissingValueError(error.place, missing_advice(estimator)) from error
        except MemoryError as error:
            if type(error) is MemoryError and str(error):  # which says already what to do
                raise
            structures = "covariance_type" in estimator.get_params()
            raise MemoryError(
                f"{type(estimator).__name__}.{method.__name__} needs more memory than there is "
                f"({str(error) or 'no more can be had'}): use fewer columns or components"
                f"{', or covariance_type=' + repr('diag') if structures else ''}"
            ) from error

    return cast(_Method, wrapper)


def refuse_to_split_collections() -> None:
    """Raise if scikit-learn asks for tags before it takes rows of a Dask collection for a split."""
    frame = sys._getframe().f_back
    while frame is not None:
        if frame.f_code.co_name == "_safe_split" and is_collection(frame.f_locals.get("X")):
            raise NotImplementedError(  # pipelines catch others where they ask for tags
                "scikit-learn's model selection picks rows by their numbers, and would read all "
                "partitions of a Dask collection for each split: use MixtureSearch, which compares "
                "numbers of components and covariance structures by passes over the partitions"
            )
        frame = frame.f_back


def missing_policy(estimator: BaseEstimator, *, each_row: bool = False) -> Missing:
    """Return how missing values are treated; none is left out where `each_row` has a result."""
    policy: Missing = getattr(estimator, "missing", None) or "error"
    return "error" if each_row and policy == "drop" else policy


def check_source(
    estimator: BaseEstimator,
    X: Any,
    sample_weight: ArrayLike | str | None = None,
    *,
    reset: bool = False,
    ensure_min_samples: int = 1,
    missing: Missing | None = None,
    label_column: str | None = None,
    annotated: bool = False,
) -> Source:
    """Return the rows and weights given to a method of an estimator as a data source.

    Native float64 and float32 arrays of any strides are used where they are. Files, streams, data
    frames and sources go through `open_data`. Everything else that holds real numbers is
    converted to float64. Arrays of other libraries are converted to NumPy's, whether or not
    scikit-learn's array API dispatch is on. Values may be missing as the estimator's parameter
    has it, unless `missing` says so. They may have errors or limits where these are `annotated`.
    """
    policy = missing or missing_policy(estimator)
    if not isinstance(X, np.ndarray):
        if is_frame(X) and not is_collection(X):
            return _check_frame(
                estimator, X, sample_weight, reset, ensure_min_samples, policy, label_column
            )
        if is_data_reference(X):
            source = _check_reference(estimator, X, sample_weight, reset, policy, label_column)
            if isinstance(source, AnnotatedRows) and not annotated:
                limited = isinstance(source, LimitedRows)
                options = ("censored_columns", "censored") if limited else _ERROR_OPTIONS
                raise ValueError(
                    f"the rows of X have {_annotated(source)}, which {type(estimator).__name__} "
                    f"does not take into account here: open them without {' and '.join(options)}; "
                    "fit and scores of GaussianMixture do"
                )
            return source
    if label_column is not None:
        raise ValueError(
            f"y={label_column!r} names a column, and X has no names: give an array of components, "
            "one for each row"
        )
    if isinstance(sample_weight, str):
        raise ValueError(
            f"sample_weight={sample_weight!r} names a column, and X has no names: give an array of "
            "weights, one for each row"
        )
    return _check_array(estimator, X, sample_weight, reset, ensure_min_samples, policy)


def check_in_memory(
    estimator: BaseEstimator,
    X: Any,
    sample_weight: ArrayLike | str | None = None,
    *,
    reset: bool = False,
    missing: Missing | None = None,
) -> ArraySource | DaskSource:
    """Return rows and weights as `check_source` does, those of files read into memory."""
    source = check_source(estimator, X, sample_weight, reset=reset, missing=missing)
    if isinstance(source, ArraySource | DaskSource):
        return source
    return ArraySource(*rows_in_memory(source), source.feature_names)


def check_plain(mixture: Any, purpose: str) -> None:
    """Raise if a mixture is fitted by more than the likelihood of its rows and its components."""
    names = [
        name
        for name in ("noise_volume", "priors", "semi_supervised", "frozen")
        if getattr(mixture, name, None)
    ]
    if hasattr(mixture, "noise_weight_") and "noise_volume" not in names:
        names.append("noise_weight_")
    if names:
        raise ValueError(
            f"{purpose} fits mixtures by maximum likelihood from rows alone, and this one has "
            f"{' and '.join(names)}: use a mixture without"
        )


def check_complete(source: Source) -> None:
    """Raise if rows of a mixture with noise lack values."""
    if source.incomplete:
        raise ValueError(
            "noise_volume and missing='model' do not go together: uniform noise has no density "
            "for part of a row; leave out the noise, or the rows that lack values"
        )


def check_not_annotated(source: Source, what: str) -> None:
    """Raise if rows have errors or limits that a part of the model does not go together with."""
    if isinstance(source, AnnotatedRows):
        raise ValueError(
            f"{what} and {_annotated(source)} do not go together: leave out one of them"
        )


def _annotated(source: AnnotatedRows) -> str:
    """Return what is known of the values of rows."""
    return "censored values" if isinstance(source, LimitedRows) else "measurement errors"


def check_replayable(estimator: BaseEstimator, source: Source) -> None:
    """Raise if rows can be iterated over only once, before a fit that does so many times."""
    if not source.replayable:
        raise ValueError(
            f"{type(estimator).__name__}.fit reads the rows many times, and an iterator "
            "can be iterated over only once: give a function that returns a new one each "
            "time, or use partial_fit or MiniBatchGaussianMixture"
        )


def _check_array(
    estimator: BaseEstimator,
    X: Any,
    sample_weight: ArrayLike | None,
    reset: bool,
    ensure_min_samples: int,
    missing: Missing,
) -> ArraySource:
    """Return rows and weights that are held in memory as a data source."""
    given = unmasked(X)
    check_no_times("X", given)
    # Of either byte order, as in files.
    is_single = getattr(getattr(given, "dtype", None), "char", None) == "f"
    dtype: Any = np.float32 if is_single else _FLOATS
    if is_mapped(given) and numeric_dtype(given.dtype) is not None:
        dtype = None  # converted block by block
    try:
        with config_context(array_api_dispatch=False):
            X = validate_data(
                estimator,
                given,
                dtype=dtype,
                ensure_all_finite=False,  # looked at below, to say where
                reset=reset,
                ensure_min_samples=ensure_min_samples,
            )
    except (TypeError, ValueError) as error:
        raise not_numbers("X", given, error) from error.__cause__
    if sample_weight is not None:
        sample_weight = _check_row_weights(sample_weight, X)
    source = ArraySource(X, sample_weight)
    integers = is_long_integer(np.asarray(given).dtype)
    complete, rounded = True, np.zeros(source.n_features, bool)
    for rows, _ in source.blocks():
        complete = complete and all_finite(rows)
        if integers and reaches_rounding(rows):
            rounded |= (np.abs(rows) >= FIRST_ROUNDED).any(axis=0)
    warn_of_rounding("X", [f"x{j}" for j in np.flatnonzero(rounded)])
    if not complete:
        _check_values(estimator, X, missing)
        if missing == "drop":
            source = complete_rows(source, ensure_min_samples)
    source.incomplete = missing == "model" and not complete
    with np.errstate(over="ignore"):
        total = source.total_weight
    if not np.isfinite(total):
        raise ValueError(
            f"sample_weight should have a finite sum, but got {total}: give finite weights, or "
            "smaller ones in the same proportions"
        )
    return source


def _check_values(estimator: BaseEstimator, X: npt.NDArray[Any], missing: Missing) -> None:
    """Raise if a value is infinite or, where that is an error, missing, and say which."""
    wrong = ~np.isfinite(X) if missing == "error" else np.isinf(X)
    if not wrong.any():
        return
    row, column = np.unravel_index(wrong.argmax(), X.shape)
    names = getattr(estimator, "feature_names_in_", None)
    where = f"row {row}, column {column}" + ("" if names is None else f" ({names[column]!r})")
    where += ", counted from 0"
    if np.isinf(X[row, column]):
        raise ValueError(
            f"Input X contains infinity or a value too large for {X.dtype}, first in {where}: "
            "remove such rows or replace the values"
        )
    raise ValueError(f"Input X contains NaN, first in {where}: {missing_advice(estimator)}")


def complete_rows(source: ArraySource, fewest: int) -> ArraySource:
    """Return the rows that lack no value."""
    lacking = np.isnan(source.X).any(axis=1)
    found = source.where(~lacking)
    found.incomplete = False
    if found.n_samples < fewest:
        raise ValueError(
            f"missing='drop' leaves {found.n_samples} of the {source.n_samples} rows of X, of "
            f"which the others lack values, and at least {fewest} are needed: fill in what is "
            "missing"
        )
    return found


def missing_options(estimator: BaseEstimator) -> set[str]:
    """Return what `missing` of an estimator may be."""
    constraints = estimator._parameter_constraints.get("missing", ())
    return set[str]().union(*(each.options for each in constraints))


def missing_advice(estimator: BaseEstimator) -> str:
    """Return what to do about rows that lack values, by the options that an estimator has."""
    options = missing_options(estimator)
    found = ["remove such rows", "fill in what is missing"]
    if "drop" in options and estimator.get_params()["missing"] != "drop":
        found.append("set missing='drop' to leave them out of the fit")
    if "model" in options:
        found.append("set missing='model' to fit what is there")
    elsewhere = (
        "" if "model" in options else "; GaussianMixture(missing='model') fits what is there"
    )
    return f"{', '.join(found[:-1])}, or {found[-1]}{elsewhere}"


def _check_frame(
    estimator: BaseEstimator,
    X: Any,
    sample_weight: Any,
    reset: bool,
    ensure_min_samples: int,
    missing: Missing,
    label_column: str | None,
) -> ArraySource:
    """Return the rows of a data frame, with scikit-learn's rules for the names of features."""
    weight_column = sample_weight if isinstance(sample_weight, str) else None
    try:
        source = open_data(
            X, weight_column=weight_column, label_column=label_column, missing=missing
        )
    except MissingValueError as error:
        raise MissingValueError(error.place, missing_advice(estimator)) from error
    assert isinstance(source, ArraySource)  # a frame is in memory
    frame = narwhals.from_native(known_to_narwhals(X))
    header = source.X
    if source.feature_names is not None:
        columns: dict[str, list[float]] = {name: [] for name in source.feature_names}
        header = narwhals.from_dict(columns, backend=frame.implementation).to_native()
    elif texts := [name for name in frame.columns if isinstance(name, str)]:
        other = next(name for name in frame.columns if not isinstance(name, str))
        raise TypeError(
            f"the columns of X have names of several types, {texts[0]!r} of type str and {other!r} "
            f"of type {type(other).__name__}: make all of them strings, as "
            "X.columns = X.columns.astype(str) does, and all different"
        )
    with config_context(array_api_dispatch=False):
        validate_data(estimator, header, reset=reset, skip_check_array=True)
        check_array(
            source.X,
            dtype=None,
            ensure_all_finite=False,  # open_data has looked at them
            estimator=estimator,
            ensure_min_samples=ensure_min_samples,
        )
    if sample_weight is None or weight_column is not None:
        return source
    weighted = _with_weights(source, sample_weight)
    assert isinstance(weighted, ArraySource)  # as the rows are
    return weighted


def _check_reference(
    estimator: Any,
    X: Any,
    sample_weight: Any,
    reset: bool,
    missing: Missing,
    label_column: str | None,
) -> Source:
    """Open the data that were given, and compare or learn their features."""
    known = None if reset else getattr(estimator, "feature_names_in_", None)
    names = None if known is None else tuple(known)
    weight_column = sample_weight if isinstance(sample_weight, str) else None
    if isinstance(X, Source):
        source = open_data(X, weight_column=weight_column, label_column=label_column)
        if source.incomplete and missing != "model":
            raise ValueError(
                "the rows of X may lack values, as it was opened with missing='model', and "
                f"{type(estimator).__name__} does not model them here: set its parameter "
                "missing='model' if it has one, or open the rows with missing='drop'"
            )
    else:
        source = open_data(
            X,
            columns_if_named=names,
            weight_column=weight_column,
            label_column=label_column,
            missing=missing,
        )
    if sample_weight is not None and weight_column is None:
        source = _with_weights(source, sample_weight)
    if reset:
        estimator.n_features_in_ = source.n_features
        if source.feature_names is not None:
            estimator.feature_names_in_ = np.array(source.feature_names, dtype=object)
        elif hasattr(estimator, "feature_names_in_"):
            del estimator.feature_names_in_
    elif source.n_features != estimator.n_features_in_:
        raise ValueError(
            f"X has {source.n_features} features, but {type(estimator).__name__} is expecting "
            f"{estimator.n_features_in_} features as input."
        )
    elif names is not None and source.feature_names not in (None, names):
        assert source.feature_names is not None
        raise ValueError(
            f"the columns of X are {name_list(source.feature_names)}, but "
            f"{type(estimator).__name__} was fitted to {name_list(names)}: give these, in "
            "this order"
        )
    return source


def _with_weights(source: Source, sample_weight: ArrayLike) -> Source:
    """Return rows in memory, or of Dask's, with weights of their own."""
    if isinstance(source, AnnotatedRows):
        return source.changed(partial(_with_weights, sample_weight=sample_weight))
    if isinstance(source, DaskSource):
        return source.weighted(sample_weight)
    if not isinstance(source, ArraySource):
        raise ValueError(
            "rows that are not in memory take their weights from a column: name it, as in "
            "sample_weight='weight'"
        )
    if source.has_weights:
        raise ValueError("X brings weights of its own: give no sample_weight beside them")
    left_out = source.left_out
    weights = _check_row_weights(sample_weight, source.stored if left_out is None else left_out)
    return source.reweighted(weights if left_out is None else weights[~left_out])


def _check_row_weights(sample_weight: ArrayLike, X: npt.NDArray[Any]) -> FloatArray:
    """Return weights of rows in memory, checked."""
    given = unmasked(sample_weight)
    try:
        with config_context(array_api_dispatch=False):
            weights: FloatArray = _check_sample_weight(
                given, X, dtype=np.float64, ensure_non_negative=True
            )
    except (TypeError, ValueError) as error:
        try:
            values = np.asarray(given, dtype=np.float64)
        except (TypeError, ValueError):
            raise not_numbers("sample_weight", given, error) from error.__cause__
        wrong = np.flatnonzero(~((values >= 0.0) & (values < np.inf)))
        if values.shape != X.shape[:1] or not len(wrong):
            raise
        raise ValueError(
            f"{str(error).splitlines()[0].rstrip('.')}: the weight in row {wrong[0]}, counted from "
            f"0, is {values[wrong[0]]:g}, and weights must be finite and at least 0"
        ) from error
    if not weights.any():  # as newer versions of scikit-learn say
        raise ValueError("Sample weights must contain at least one non-zero number.")
    return weights


def check_start(
    weights: ArrayLike | None,
    means: ArrayLike | None,
    precisions: ArrayLike | None,
    structure: CovarianceStructure,
    n_components: int,
    n_features: int,
) -> GivenStart:
    """Return the starting values a user gave, checked and as float64."""
    if means is not None:
        means = check_values(means, (n_components, n_features), "means_init")
        require_squares(means, "means_init")
    return GivenStart(
        weights=None if weights is None else _check_weights(weights, n_components),
        means=means,
        precisions=None
        if precisions is None
        else _check_precisions(precisions, structure, n_components, n_features),
    )


def require_squares(values: FloatArray, name: str) -> None:
    """Raise if squares of the values of a parameter overflow."""
    largest = float(np.abs(values).max())
    if largest > _LARGEST_VALUE:
        raise ValueError(
            f"The parameter {name!r} should hold values up to {_LARGEST_VALUE:g}, whose squares "
            f"do not overflow, but got {largest:g}: divide it and the data by a constant"
        )


def check_weight_scale(source: Source) -> None:
    """Raise if weights of rows in memory are of no scale at which they can count as copies."""
    if not isinstance(source, ArraySource) or source.weights is None:
        return
    total = source.total_weight
    if total > 0.0 and not 1.0 / _LARGEST_VALUE < total < _LARGEST_VALUE:
        raise ValueError(
            f"sample_weight sums to {total:g}, and a weight of w counts as w copies of a row: give "
            "weights nearer to 1, in the same proportions"
        )


def check_labels(
    labels: ArrayLike | None, source: Source, n_components: int
) -> npt.NDArray[np.int64] | None:
    """Return the labels a user gave to start from, checked."""
    if labels is None:
        return None
    if isinstance(source, DaskSource):
        raise ValueError(
            "labels_init has a label for each row in memory, and X is a Dask collection: start "
            "from means_init, or give y with semi_supervised=True"
        )
    left_out = source.left_out
    n_rows = source.n_samples if left_out is None else len(left_out)
    assert n_rows is not None  # the rows have been read
    checked = check_values(labels, (n_rows,), "labels_init")
    integers = checked.astype(np.int64)
    wrong = (integers != checked) | (integers < -1) | (integers >= n_components)
    if wrong.any():
        raise ValueError(
            "The parameter 'labels_init' should hold integers from 0 to n_components - 1 = "
            f"{n_components - 1}, or -1 for rows without a label, but got {checked[wrong][0]:g}"
        )
    return integers if left_out is None else integers[~left_out]


def check_values(values: ArrayLike, shape: tuple[int, ...], name: str) -> FloatArray:
    """Return the values of a constructor parameter as an array of float64."""
    given = unmasked(values)
    try:
        with config_context(array_api_dispatch=False):
            checked = check_array(
                given,
                dtype=np.float64,
                ensure_2d=False,
                allow_nd=True,
                ensure_min_samples=0,  # a single precision has no axis
                input_name=name,
            )
    except (TypeError, ValueError) as error:
        raise not_numbers(name, given, error) from error.__cause__
    if checked.shape != shape:
        raise ValueError(
            f"The parameter '{name}' should have the shape of {shape}, but got {checked.shape}"
        )
    result: FloatArray = checked
    return result


def _check_weights(weights: ArrayLike, n_components: int) -> FloatArray:
    checked = check_values(weights, (n_components,), "weights_init")
    if checked.min() < 0.0 or checked.max() > 1.0:
        raise ValueError(
            "The parameter 'weights_init' should be in the range [0, 1], but got max value "
            f"{checked.max():.5f}, min value {checked.min():.5f}"
        )
    total = checked.sum()
    rounding = 1e-6 if getattr(weights, "dtype", None) == np.float32 else 1e-8
    if abs(total - 1.0) > rounding:
        raise ValueError(
            f"The parameter 'weights_init' should be normalized, but got a sum of {total:.8g}: "
            "divide the weights by their sum"
        )
    return checked


def _check_precisions(
    precisions: ArrayLike, structure: CovarianceStructure, n_components: int, n_features: int
) -> FloatArray:
    shape = structure.covariance_shape(n_components, n_features)
    checked = check_values(precisions, shape, "precisions_init")
    diagonal = checked if structure.is_diagonal else np.diagonal(checked, axis1=-2, axis2=-1)
    smallest = float(diagonal.min())
    if 0.0 < smallest < _SMALLEST_PRECISION:
        raise ValueError(
            f"The parameter 'precisions_init' should be at least {_SMALLEST_PRECISION:g}, below "
            f"which covariances overflow, but got min value {smallest:.6g}: divide the data by a "
            "constant"
        )
    if structure.is_diagonal:
        if checked.min() <= 0.0:
            raise ValueError(
                f"The parameter 'precisions_init' should be positive for covariance_type="
                f"{structure.name!r}, but got min value {checked.min():.6g}"
            )
        return checked
    check_symmetric(checked, "precisions_init")
    return checked


def check_symmetric(matrices: FloatArray, name: str) -> None:
    """Raise if matrices that a constructor parameter holds are not symmetric but for rounding."""
    mirrored = matrices.swapaxes(-1, -2)
    rounding = 1e-8 * np.abs(matrices).max(axis=(-2, -1), keepdims=True)
    symmetric = np.abs(matrices - mirrored) <= 1e-5 * np.abs(mirrored) + rounding
    if not symmetric.all():
        raise ValueError(
            f"The parameter '{name}' should hold symmetric, positive-definite matrices, "
            f"but its entry {tuple(map(int, np.argwhere(~symmetric)[0]))} differs from the one "
            "mirrored on the diagonal"
        )
