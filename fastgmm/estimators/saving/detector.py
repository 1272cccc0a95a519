"""Outlier detectors to and from model files."""

from __future__ import annotations

from dataclasses import fields
from os import PathLike, fspath
from typing import Any, get_origin, get_type_hints

import numpy as np
import numpy.typing as npt

from fastgmm.em.online.recent_scores import RecentScores
from fastgmm.estimators.operating_point import OperatingPoint
from fastgmm.estimators.outlier_detector import GaussianMixtureOutlierDetector
from fastgmm.estimators.saving.owner_storage import plain_owner, restored_owner
from fastgmm.io import model_file as persistence
from fastgmm.io.arrays import Size, arrays_of, from_arrays
from fastgmm.io.model_file import StoredModel
from fastgmm.io.values import require, typed, typed_members

_RECENT = "recent"
_POINT = "operating_point"


def save_detector(detector: GaussianMixtureOutlierDetector, path: str | PathLike[str]) -> None:
    """Write a fitted detector to a model file, whole or not at all.

    The mixture is in it as it would be in a file of its own.
    """
    values, arrays = plain_owner(detector)
    values["offset"] = float(detector.offset_)
    point = vars(detector).get("operating_point_")
    if point is not None:
        values[_POINT] = {
            each.name: getattr(point, each.name)
            for each in fields(point)
            if not isinstance(getattr(point, each.name), np.ndarray)
        }
        arrays |= arrays_of(point, _POINT)
    if detector._recent is not None:
        arrays |= arrays_of(detector._recent, _RECENT)
    persistence.save(fspath(path), GaussianMixtureOutlierDetector.__name__, values, arrays)


def restored_detector(stored: StoredModel) -> GaussianMixtureOutlierDetector:
    """Return the detector that a file holds, after checking that its parts belong together."""
    values = stored.values
    own: dict[str, dict[str, npt.NDArray[Any]]] = {_RECENT: {}, _POINT: {}}
    arrays = dict(stored.arrays)
    for prefix, taken in own.items():
        taken.update({name: arrays.pop(name) for name in list(arrays) if name.startswith(prefix)})
        shapes = {each.shape for each in taken.values()}
        if len(shapes) > 1:
            raise ValueError(f"the arrays {', '.join(sorted(taken))} differ in shape")
        if any(len(shape) != 1 or shape[0] == 0 for shape in shapes):
            raise ValueError(f"the arrays {', '.join(sorted(taken))} are no lists of numbers")
    detector = restored_owner(GaussianMixtureOutlierDetector, stored, arrays)
    detector.offset_ = typed(values["offset"], float, "offset")
    K, D = detector.mixture_.means_.shape
    size = Size(K, D, detector.mixture_._structure().is_diagonal)
    detector._recent = None
    if own[_RECENT]:
        detector._recent = from_arrays(RecentScores, _RECENT, own[_RECENT], size)
        require(bool((detector._recent.masses > 0.0).all()), "the masses of scores are positive")
    if _POINT in values:
        kinds = get_type_hints(OperatingPoint)
        kinds = {name: kinds[name] for name in kinds if get_origin(kinds[name]) is not np.ndarray}
        told = typed_members(values[_POINT], kinds, _POINT)
        detector.operating_point_ = from_arrays(OperatingPoint, _POINT, own[_POINT], size, **told)
    return detector
