"""Mixtures of some columns of another one: their marginal, and given the values of others."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fastgmm.data.column_names import default_names, name_list
from fastgmm.data.sources.array import ArraySource
from fastgmm.em.e_step.passes import responsibilities
from fastgmm.estimators.shared.attributes import (
    attributes_from_parameters,
    gaussians_from_attributes,
)
from fastgmm.estimators.shared.interfaces import FittedMixture
from fastgmm.mixture.marginals import conditioned, marginal
from fastgmm.mixture.noise import UniformNoise
from fastgmm.mixture.parameters import MixtureParameters
from fastgmm.mixture.structures import CovarianceStructure, name_or_instance, structure

if TYPE_CHECKING:
    from fastgmm.estimators.gaussian_mixture import GaussianMixture
    from fastgmm.estimators.shared.evaluation import MixtureEvaluation

_TAKEN_OVER = ("random_state", "n_jobs", "reg_covar", "reg_covar_scale", "missing")
"""The parameters of a mixture that those made from it have, too."""


def marginal_mixture(mixture: MixtureEvaluation, columns: Sequence[int | str]) -> GaussianMixture:
    """Return the mixture of some columns alone."""
    parameters, names = _gaussians(mixture, "marginal")
    if isinstance(columns, str) or not isinstance(columns, Iterable):
        raise TypeError(
            f"columns must be a list of numbers or names of columns; got {columns!r}: write "
            f"[{columns!r}] for a single one"
        )
    features = _column_numbers(columns, names, parameters.n_features)
    if not len(features):
        raise ValueError("columns names no column: a marginal has one at least")
    found = _mixture_of(marginal(parameters, features), mixture, names, features)
    found.weights_ = np.array(mixture.weights_, dtype=np.float64)  # to the last bit
    return found


def conditional_mixture(
    mixture: MixtureEvaluation, values: Mapping[int | str, float]
) -> GaussianMixture:
    """Return the mixture of the columns that have no given value."""
    parameters, names = _gaussians(mixture, "condition")
    if not isinstance(values, Mapping):
        raise TypeError(
            "values must be a mapping from columns to their values, such as {0: 1.5}; got an "
            f"object of type {type(values).__name__!r}"
        )
    features = _column_numbers(values, names, parameters.n_features)
    if not len(features):
        raise ValueError("values gives no column: give one at least, such as {0: 1.5}")
    if len(features) == parameters.n_features:
        raise ValueError(
            f"values gives all {parameters.n_features} columns of the mixture, which leaves none: "
            "score_samples returns the density of whole rows"
        )
    row = np.empty(parameters.n_features)
    for feature, (column, value) in zip(features, values.items(), strict=True):
        row[feature] = _value(column, value)
    is_given = np.isin(np.arange(parameters.n_features), features)
    given = row[is_given]
    shares = responsibilities(ArraySource(given[None]), marginal(parameters, np.sort(features)))[0]
    with np.errstate(over="ignore", invalid="ignore"):
        found = conditioned(parameters, is_given, given, shares)
    if not np.isfinite(found.means).all():
        largest = max(values.items(), key=lambda each: abs(each[1]))
        raise ValueError(
            f"the value of column {largest[0]!r}, {largest[1]}, is so large that means of other "
            "columns given it overflow: give a value nearer to the means of the mixture"
        )
    return _mixture_of(found, mixture, names, np.flatnonzero(~is_given))


def _gaussians(
    mixture: FittedMixture, purpose: str
) -> tuple[MixtureParameters, tuple[str, ...] | None]:
    """Return the components of a fitted mixture, and the names of its columns if they have any."""
    parameters = gaussians_from_attributes(mixture, purpose)
    names = getattr(mixture, "feature_names_in_", None)
    return parameters, None if names is None else tuple(names)


def _column_numbers(
    columns: Iterable[Any], names: tuple[str, ...] | None, n_features: int
) -> npt.NDArray[np.intp]:
    """Return the numbers of columns that are given by number or name."""
    numbers: list[int] = []
    for column in columns:
        if isinstance(column, str):
            if names is None:
                raise ValueError(
                    f"the mixture has no column {column!r}: it was fitted to columns without "
                    f"names, so give their numbers, from 0 to {n_features - 1}"
                )
            if column not in names:
                raise ValueError(
                    f"the mixture has no column {column!r}: its columns are {name_list(names)}"
                )
            number = names.index(column)
        elif isinstance(column, Integral):
            number = int(column)
            if not 0 <= number < n_features:
                raise ValueError(
                    f"the mixture has no column {number}: its columns are numbered from 0 to "
                    f"{n_features - 1}"
                )
        else:
            raise TypeError(
                f"a column must be given by its number or its name; got {column!r}, an object of "
                f"type {type(column).__name__!r}"
            )
        if number in numbers:
            shown = (names or default_names(n_features))[number]
            raise ValueError(f"column {number} ({shown!r}) is given twice: give it once")
        numbers.append(number)
    return np.array(numbers, dtype=np.intp)


def _value(column: Any, value: Any) -> float:
    """Return the value of a column after a look at it."""
    if not isinstance(value, Real):
        raise TypeError(
            f"the value of column {column!r} must be a number; got {value!r}, an object of type "
            f"{type(value).__name__!r}"
        )
    if not math.isfinite(value):
        raise ValueError(
            f"the value of column {column!r} must be finite, but got {value}: leave a column out "
            "if its value is not known"
        )
    return float(value)


def mixture_like(
    origin: Any,
    parameters: MixtureParameters,
    kind: CovarianceStructure,
    noise: UniformNoise | None = None,
) -> GaussianMixture:
    """Return a mixture that was made from another one as an estimator."""
    n_components = parameters.n_components - (noise is not None)
    taken = {name: getattr(origin, name) for name in _TAKEN_OVER if hasattr(origin, name)}
    mixture: GaussianMixture = origin._gaussian_mixture(
        n_components, covariance_type=name_or_instance(kind), n_factors=kind.n_factors, **taken
    )
    mixture.__dict__.update(attributes_from_parameters(parameters, kind, noise))
    mixture.n_features_in_ = parameters.n_features
    return mixture


def _mixture_of(
    parameters: MixtureParameters,
    origin: Any,
    names: tuple[str, ...] | None,
    features: npt.NDArray[np.intp],
) -> GaussianMixture:
    """Return a mixture of some of another's columns as an estimator."""
    mixture = mixture_like(
        origin, parameters, structure("diag" if parameters.is_diagonal else "full")
    )
    if names is not None:
        mixture.feature_names_in_ = np.array([names[j] for j in features], dtype=object)
    return mixture
