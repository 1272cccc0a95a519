"""States: what files hold of a value, as entries that JSON knows and arrays, and the way back.

`to_state` serves every dataclass; `from_state` checks types, shapes and ranges, and whether the
parts of a value belong together.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from types import NoneType, UnionType
from typing import (
    TYPE_CHECKING,
    Any,
    Literal,
    NamedTuple,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

import numpy as np
import numpy.typing as npt

from fastgmm.mixture.parameters import MixtureParameters
from fastgmm.mixture.priors.variational import VariationalPosterior, VariationalPrior
from fastgmm.mixture.priors.weights import weight_prior
from fastgmm.mixture.statistics import FloatArray, SufficientStatistics, holds_factors
from fastgmm.mixture.student import StudentParameters

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_Value = TypeVar("_Value", bound="DataclassInstance")


class State(NamedTuple):
    """What a file holds of a value: entries that JSON knows, and arrays by name."""

    values: dict[str, Any]
    arrays: dict[str, npt.NDArray[Any]]

    def part(self, prefix: str) -> dict[str, npt.NDArray[Any]]:
        """Return the arrays whose names begin so, without that beginning."""
        named = self.arrays.items()
        return {name.removeprefix(prefix): a for name, a in named if name.startswith(prefix)}


class Size(NamedTuple):
    """What the shapes of a mixture's arrays follow from; noise is the last component."""

    n_components: int
    n_features: int
    is_diagonal: bool
    has_noise: bool = False
    n_factors: int | None = None


_AXES = {
    "log_weights": "K",
    "means": "KD",
    "whiteners": "KS",
    "log_normalizers": "K",
    "reference": "KD",
    "counts": "K",
    "first": "KD",
    "second": "KS",
    "dofs": "K",
    "scaled_counts": "K",
    "logarithms": "K",
    "amounts": "D",
    "constant": "D",
    "mean": "D",
    "scatter": "S",
    "mean_precisions": "K",
    "degrees_of_freedom": "K",
}
"""Axes of arrays by name: components K, features D, and the axes S of a matrix or its diagonal."""

_POSITIVE = frozenset(
    {"whiteners", "mean_precisions", "degrees_of_freedom", "dofs", "concentrations", "masses"}
)
"""Arrays of positive numbers, or with a positive diagonal."""

_LARGEST = np.sqrt(np.finfo(np.float64).max)

_ROUNDING = 1e-6
"""How far numbers that follow from others may be off, relative to their size."""


def to_state(value: DataclassInstance, prefix: str) -> State:
    """Return what a file holds of a dataclass, without its members that are dataclasses."""
    arrays, kinds = _members(type(value))
    return State(
        {name: getattr(value, name) for name in kinds},
        {f"{prefix}_{name}": np.ascontiguousarray(getattr(value, name)) for name in arrays},
    )


def from_state(kind: type[_Value], prefix: str, state: State, size: Size, **others: Any) -> _Value:
    """Return the value that `to_state` took apart; `others` are members that it left out."""
    arrays, kinds = _members(kind)
    found = {name: state.arrays[f"{prefix}_{name}"] for name in arrays if name not in others}
    for name, array in found.items():
        _check_array(f"{prefix}_{name}", name, array, size)
    kinds = {name: kinds[name] for name in kinds if name not in others}
    plain = typed_members(state.values, kinds, prefix) if kinds else {}
    value = kind(**found, **plain, **others)
    if isinstance(value, SufficientStatistics):
        _check_statistics(value, prefix)
    return value


def parameters_from_state(prefix: str, state: State, size: Size) -> MixtureParameters:
    """Return parameters whose weights sum to 1 and whose normalizers belong to the whiteners."""
    own_dofs = f"{prefix}_dofs" in state.arrays
    kind = StudentParameters if own_dofs else MixtureParameters
    parameters = from_state(kind, prefix, state, size)
    total = float(parameters.weights.sum())
    require(abs(total - 1.0) <= 1e-3, f"the weights of {prefix}, {total:.6g} in all, sum to 1")
    n_spread = size.n_components - size.has_noise
    whiteners = parameters.whiteners[:n_spread]
    made = parameters.of(slice(n_spread)).with_shape(parameters.means[:n_spread], whiteners)
    found = parameters.log_normalizers[:n_spread]
    own = bool(np.allclose(found, made.log_normalizers, rtol=_ROUNDING, atol=_ROUNDING))
    require(own, f"{prefix}_log_normalizers are those of {prefix}_whiteners")
    return parameters


def posterior_to_state(posterior: VariationalPosterior, prefix: str) -> State:
    """Return what a file holds of a posterior and its prior."""
    prior = posterior.prior
    values, arrays = to_state(prior, f"{prefix}_prior")
    weights = {"weights": prior.weights.name, "concentration": prior.weights.concentration}
    return State(weights | values, to_state(posterior, prefix).arrays | arrays)


def posterior_from_state(prefix: str, state: State, size: Size) -> VariationalPosterior:
    """Return the posterior that `posterior_to_state` took apart."""
    kinds = {"weights": str, "concentration": float}
    kinds |= {"mean_precision": float, "degrees_of_freedom": float}
    kept = typed_members(state.values, kinds, "posterior")
    weights = weight_prior(kept.pop("weights"), kept.pop("concentration"))
    prior = from_state(
        VariationalPrior, f"{prefix}_prior", State(kept, state.arrays), size, weights=weights
    )
    posterior = from_state(VariationalPosterior, prefix, state, size, prior=prior)
    check_posterior(posterior, prefix)
    return posterior


def check_posterior(posterior: VariationalPosterior, name: str) -> None:
    """Raise unless the numbers and shapes of a posterior and its prior go together."""
    prior, (K, D) = posterior.prior, posterior.means.shape
    for each, number in (
        ("concentration", prior.weights.concentration),
        ("mean_precision", prior.mean_precision),
    ):
        require(0.0 < number < np.inf, f"{each}={number:.6g} is positive")
    check_spread(f"{name}_prior_scatter", prior.scatter, posterior.is_diagonal)
    check_squares(f"{name}_prior_mean", prior.mean)
    check_squares(f"{name}_mean_precisions", posterior.mean_precisions)
    shape, expected = posterior.concentrations.shape, prior.weights.posterior(np.ones(K)).shape
    require(shape == expected, f"{name}_concentrations of shape {shape} has shape {expected}")
    lowest = min(prior.degrees_of_freedom, float(posterior.degrees_of_freedom.min()))
    require(lowest > D - 1, f"degrees of freedom of {lowest:.6g} are above {D - 1}")


def _check_statistics(statistics: SufficientStatistics, name: str) -> None:
    """Raise unless some rows of the weight can have these moments."""
    weight, total = statistics.weight, float(statistics.counts.sum())
    require(weight > 0.0, f"the weight {weight:.6g} of {name} is positive")
    require(
        abs(total - weight) <= 1e-3 * weight,
        f"{name}_counts, {total:.6g} in all, sum to the weight {weight:.6g}",
    )
    second = statistics.second
    low_rank = holds_factors(second, statistics.n_features)
    diagonal = second[:, :, 0] if low_rank else _diagonals(second, statistics.is_diagonal)
    # By Cauchy and Schwarz.
    most = np.sqrt(statistics.location_counts)[:, None] * np.sqrt(diagonal)
    # Squares lose digits of numbers that are near a large reference, or below 1e-150.
    off = weight * (1e-9 * np.abs(statistics.reference).max(axis=0, initial=0.0) + 1e-150)
    within = np.abs(statistics.first) <= (1.0 + 1e-3) * most + off
    require(bool(within.all()), f"{name}_first and {name}_second are moments of the same rows")


def _diagonals(matrices: FloatArray, is_diagonal: bool) -> FloatArray:
    return matrices if is_diagonal else np.diagonal(matrices, axis1=-2, axis2=-1)


def check_spread(
    name: str, matrices: FloatArray, is_diagonal: bool, *, strictly: bool = True
) -> None:
    """Raise unless variances are positive and matrices symmetric and positive definite.

    But for rounding: scaled to a unit diagonal, a matrix may have slightly negative eigenvalues.
    """
    diagonal = _diagonals(matrices, is_diagonal)
    if not (diagonal > 0.0 if strictly else diagonal >= 0.0).all():
        what = "not positive" if strictly else "negative"
        raise ValueError(f"{name} holds {diagonal.min():.6g}, which is {what}")
    if is_diagonal:
        return
    scales = np.sqrt(np.where(diagonal > 0.0, diagonal, 1.0))
    scaled = matrices / scales[..., :, None] / scales[..., None, :]
    if not np.allclose(scaled, scaled.swapaxes(-1, -2), rtol=0.0, atol=_ROUNDING):
        raise ValueError(f"{name} holds matrices that are not symmetric")
    if (lowest := float(np.linalg.eigvalsh(scaled).min())) < -1e-4:
        raise ValueError(
            f"{name} holds matrices that are not positive definite: scaled to a unit diagonal, "
            f"one has the eigenvalue {lowest:.6g}"
        )


def check_squares(name: str, array: npt.NDArray[Any]) -> None:
    """Raise unless numbers are so small that their squares are finite."""
    if not (np.abs(array) < _LARGEST).all():
        raise ValueError(f"{name} holds {np.abs(array).max():.6g}, whose square overflows")


def _check_array(full_name: str, name: str, array: npt.NDArray[Any], size: Size) -> None:
    """Raise unless an array can be what its name says."""
    dtype = np.dtype(bool if name == "constant" else np.float64)
    # Lists of scores are of the type of the rows.
    if array.dtype != dtype and not (array.dtype.kind == "f" and name not in _AXES):
        raise ValueError(f"{full_name} is of dtype {array.dtype}, not {dtype}")
    K, D = size.n_components, size.n_features
    spread = (D,) if size.is_diagonal else (D, D)
    if size.n_factors is not None:
        spread = (D, 1 + size.n_factors)
    shapes = {"K": (K,), "D": (D,), "S": spread}
    if name in _AXES:
        shape = tuple(length for axis in _AXES[name] for length in shapes[axis])
        if array.shape != shape:
            raise ValueError(f"{full_name} has shape {array.shape}, not {shape}")
    if name in ("means", "reference", "first", "mean", "mean_precisions", "whiteners"):
        check_squares(full_name, array)
    if name == "whiteners" and size.has_noise:
        if array[-1].any():
            raise ValueError(f"{full_name} has a spread for the noise")
        array = array[:-1]
    if size.n_factors is not None and name in ("whiteners", "second"):
        array, size = array[:, :, 0], size._replace(is_diagonal=True)
    if name in ("scatter", "second"):
        check_spread(full_name, array, size.is_diagonal, strictly=name == "scatter")
    elif name in _POSITIVE:
        is_triangular = name == "whiteners" and not size.is_diagonal
        check_spread(full_name, _diagonals(array, not is_triangular), is_diagonal=True)
        if is_triangular and np.triu(array, 1).any():
            raise ValueError(f"{full_name} holds matrices that are not lower triangular")
    elif name in ("counts", "scaled_counts", "amounts"):
        check_spread(full_name, array, is_diagonal=True, strictly=False)
    elif name == "log_weights" and not (array.max() <= _ROUNDING):
        raise ValueError(f"{full_name} holds {array.max():.6g}, the logarithm of more than 1")


def _members(kind: type[DataclassInstance]) -> tuple[list[str], dict[str, Any]]:
    """Return the members of a dataclass that are arrays, and the types of those JSON knows."""
    hints = get_type_hints(kind)
    members = {each.name: hints[each.name] for each in fields(kind)}
    arrays = [name for name, hint in members.items() if get_origin(hint) is np.ndarray]
    nested = [
        name
        for name, hint in members.items()
        if any(is_dataclass(each) for each in (hint, *get_args(hint)))
    ]
    return arrays, {name: members[name] for name in members if name not in (*arrays, *nested)}


def typed(value: Any, kind: Any, name: str) -> Any:
    """Return a value from JSON as what an annotation says it is."""
    origin, parts = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        (needed,) = [part for part in parts if part is not NoneType]
        return None if value is None else typed(value, needed, name)
    if origin is Literal and isinstance(value, str) and value in parts:
        return value
    if origin is tuple and isinstance(value, list):
        kinds = [parts[0]] * len(value) if parts[-1] is Ellipsis else list(parts)
        if len(kinds) == len(value):
            return tuple(typed(each, kinds[i], f"{name}[{i}]") for i, each in enumerate(value))
    if is_dataclass(kind) and isinstance(value, dict):
        return kind(**typed_members(value, get_type_hints(kind), name))  # type: ignore[operator]
    if kind is float and type(value) in (int, float) and abs(value) <= sys.float_info.max:
        return float(value)
    if kind is int and type(value) is int and abs(value) < 2**63:
        return value
    plain = origin or kind
    if kind is object or (plain in (bool, str, list, dict) and type(value) is plain):
        return value
    shown = repr(value)
    shown = shown if len(shown) <= 40 else f"{shown[:37]}..."
    raise ValueError(f"{name} is {shown}, not {getattr(kind, '__name__', kind)}")


def typed_members(value: Any, kinds: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return the members of a dict from JSON, each as what its annotation says."""
    if not isinstance(value, dict):
        raise ValueError(f"{name} is {type(value).__name__}, not dict")
    unknown = sorted(set(value) - set(kinds))
    if unknown:
        raise ValueError(f"{name} has an unknown member {unknown[0]!r}")
    missing = [
        each for each in kinds if each not in value and NoneType not in get_args(kinds[each])
    ]
    if missing:
        raise ValueError(f"'{name}.{missing[0]}' is missing")
    return {
        member: typed(value.get(member), kind, f"{name}.{member}") for member, kind in kinds.items()
    }


def require(condition: bool, what: str) -> None:
    """Raise ValueError unless a condition holds."""
    if not condition:
        raise ValueError(f"it does not hold that {what}")
