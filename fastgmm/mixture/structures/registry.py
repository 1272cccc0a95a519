"""The structures by name."""

from __future__ import annotations

from fastgmm.mixture.structures.closed_forms import (
    Diagonal,
    EqualVolume,
    EqualVolumeDiagonal,
    Full,
    OneVariance,
    OwnOrientations,
    OwnVariances,
    Spherical,
    Tied,
    TiedDiagonal,
    TiedSpherical,
)
from fastgmm.mixture.structures.common_orientations import (
    CommonOrientation,
    CommonOrientationEqualVolume,
)
from fastgmm.mixture.structures.common_shapes import (
    VaryingVolumes,
    VaryingVolumesDiagonal,
    VaryingVolumesOwnOrientations,
)
from fastgmm.mixture.structures.covariance_structure import CovarianceStructure

_STRUCTURES: dict[str, CovarianceStructure] = {
    each.name: each
    for each in (
        Full("full"),
        Tied("tied"),
        Diagonal("diag"),
        Spherical("spherical"),
        TiedDiagonal("tied_diag"),
        TiedSpherical("tied_spherical"),
        TiedSpherical(),
        Spherical(),
        TiedDiagonal(),
        VaryingVolumesDiagonal(),
        EqualVolumeDiagonal(),
        Diagonal(),
        Tied(),
        VaryingVolumes(),
        CommonOrientationEqualVolume(),
        CommonOrientation(),
        OwnOrientations(),
        VaryingVolumesOwnOrientations(),
        EqualVolume(),
        Full(),
        OneVariance("E"),
        OwnVariances("V"),
    )
}

STRUCTURE_NAMES = tuple(_STRUCTURES)


def structure(name: str) -> CovarianceStructure:
    """Return the covariance structure of a name."""
    try:
        return _STRUCTURES[name]
    except KeyError:
        raise ValueError(
            f"covariance_type must be one of {', '.join(STRUCTURE_NAMES)}; got {name!r}"
        ) from None
