"""What the parameters of a classifier ask for: numbers of components, and structures."""

from __future__ import annotations

from collections.abc import Iterable
from numbers import Integral
from typing import Any, NamedTuple

import numpy.typing as npt

from fastgmm.estimators.mixture_search import PARSIMONIOUS
from fastgmm.mixture.structures import STRUCTURE_NAMES, CovarianceStructure, structure

_OF_ONE_FEATURE = ("E", "V")


class ClassModel(NamedTuple):
    """What the classes may be fitted as.

    Attributes
    ----------
    numbers : list of tuple of int
        For each class the numbers of components to try, ascending.
    kinds : list of CovarianceStructure
        The structures to try.
    common : bool
        Whether a structure is that of all classes together.
    """

    numbers: list[tuple[int, ...]]
    kinds: list[CovarianceStructure]
    common: bool

    @property
    def is_single(self) -> bool:
        """Whether each class has one component."""
        return all(numbers == (1,) for numbers in self.numbers)

    @property
    def is_diagonal(self) -> bool:
        """Whether no structure has covariances beside the diagonal."""
        return all(kind.is_diagonal for kind in self.kinds)


def class_model(estimator: Any, classes: npt.NDArray[Any], n_features: int) -> ClassModel:
    """Return what the parameters of a classifier ask for."""
    given = estimator.n_components
    if isinstance(given, dict):
        keys = classes.tolist()
        if set(given) != set(keys):
            raise ValueError(
                f"n_components should have an entry for each of the classes {keys}, and no other; "
                f"got {given!r}"
            )
        numbers = [_numbers(given[key]) for key in keys]
    else:
        numbers = [_numbers(given)] * len(classes)
    kinds = _kinds(estimator.covariance_type, n_features)
    common = estimator.common_structure
    if isinstance(common, str):
        common = all(each == (1,) for each in numbers)
    elif common and any(len(each) > 1 for each in numbers):
        raise ValueError(
            "common_structure=True takes one number of components for each class, and n_components "
            f"is {given!r}: give an int, a dict of int, or common_structure=False"
        )
    return ClassModel(numbers, kinds, bool(common))


def _numbers(given: Any) -> tuple[int, ...]:
    numbers = [given] if isinstance(given, Integral) else list(given)
    if not numbers or not all(
        isinstance(each, Integral) and not isinstance(each, bool) and int(each) >= 1
        for each in numbers
    ):
        raise ValueError(
            "n_components must be a positive integer, several of them, or a dict of these by "
            f"class; got {given!r}"
        )
    return tuple(sorted({int(each) for each in numbers}))


def _kinds(given: str | Iterable[str], n_features: int) -> list[CovarianceStructure]:
    if given == "all":
        names: list[str] = list(PARSIMONIOUS if n_features > 1 else _OF_ONE_FEATURE)
    else:
        names = [given] if isinstance(given, str) else list(given)
    unknown = [name for name in names if name not in STRUCTURE_NAMES]
    if unknown or not names:
        raise ValueError(
            f"covariance_type must be 'all' or some of {', '.join(STRUCTURE_NAMES)}; got "
            f"{unknown[0] if unknown else names!r}"
        )
    kinds = [structure(name) for name in dict.fromkeys(names)]
    for kind in kinds:
        kind.check_features(n_features)
    return kinds
