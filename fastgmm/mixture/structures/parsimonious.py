"""The fourteen structures of Celeux and Govaert (1995), and what they are called.

What is more than a mean, `fastgmm.kernels.structure_m_steps` finds.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from fastgmm.kernels.structure_m_steps import (
    NO_SHAPE,
    NO_VARIANCE,
    balance_variances,
    common_orientation,
    common_shape,
)
from fastgmm.mixture.parameters import MixtureParameters
from fastgmm.mixture.statistics import FloatArray, pool
from fastgmm.mixture.structures.covariance_structure import CovarianceStructure, Spread
from fastgmm.mixture.structures.factors import FACTOR_NAMES, FactorStructure
from fastgmm.mixture.structures.whitening import (
    compose,
    equalize_volumes,
    ill_defined,
    log_volumes,
    make_regular,
    principal_axes,
    require_variances,
    whiten_matrices,
    whiten_variances,
)

_GOLDEN = (math.sqrt(5.0) - 1.0) / 2.0


class Parsimonious(CovarianceStructure):
    """A structure of which the letters say all."""

    @property
    def is_coupled(self) -> bool:
        """Whether covariances of different components depend on each other."""
        return "E" in self.letters

    def nearest(self, parameters: MixtureParameters) -> MixtureParameters:
        """Return the mixture of the structure that is nearest to one of any covariances."""
        return super().nearest(parameters) if self.is_coupled else parameters


class Full(Parsimonious):
    """Each component has a covariance matrix of its own."""

    letters = "VVV"

    def whiten(self, spread: Spread) -> FloatArray:
        """Return the whiteners of the components' covariances."""
        return whiten_matrices(spread.covariances, spread.regularization)


class Tied(Parsimonious):
    """All components share one covariance matrix."""

    letters = "EEE"
    needs_pooled_only = True

    def whiten(self, spread: Spread) -> FloatArray:
        """Return the whitener of the pooled covariance."""
        return whiten_matrices(spread.pooled()[None], spread.regularization)


class Diagonal(Parsimonious):
    """Each component has a variance of its own for each feature."""

    letters = "VVI"

    def whiten(self, spread: Spread) -> FloatArray:
        """Return the inverse standard deviations of each component."""
        return whiten_variances(spread.covariances)


class Spherical(Parsimonious):
    """Each component has one variance for all features."""

    letters = "VII"

    def whiten(self, spread: Spread) -> FloatArray:
        """Return the inverse standard deviation of each component."""
        return whiten_variances(spread.covariances.mean(axis=1, keepdims=True))


class TiedDiagonal(Parsimonious):
    """All components share one variance for each feature."""

    letters = "EEI"
    needs_pooled_only = True

    def whiten(self, spread: Spread) -> FloatArray:
        """Return the inverse standard deviations of the pooled variances."""
        return whiten_variances(spread.pooled()[None])


class TiedSpherical(Parsimonious):
    """All components and features share one variance."""

    letters = "EII"
    needs_pooled_only = True

    def whiten(self, spread: Spread) -> FloatArray:
        """Return the inverse standard deviation of the mean variance."""
        return whiten_variances(spread.pooled().mean().reshape(1, 1))


class OneVariance(TiedSpherical):
    """All components share the variance of the only feature."""

    needs_single_feature = True


class OwnVariances(Spherical):
    """Each component has its own variance of the only feature."""

    needs_single_feature = True


class EqualVolumeDiagonal(Parsimonious):
    """Each component has a diagonal shape of its own, and all the same volume."""

    letters = "EVI"

    def whiten(self, spread: Spread) -> FloatArray:
        """Return the inverse standard deviations of the components, brought to one volume."""
        return equalize_volumes(whiten_variances(spread.covariances), spread.shares)


class EqualVolume(Parsimonious):
    """Each component has a shape and an orientation of its own, and all the same volume."""

    letters = "EVV"

    def whiten(self, spread: Spread) -> FloatArray:
        """Return the whiteners of the components' covariances, brought to one volume."""
        whiteners = whiten_matrices(spread.covariances, spread.regularization)
        return equalize_volumes(whiteners, spread.shares)


class OwnOrientations(Parsimonious):
    """Each component has an orientation of its own, and all the same volume and shape."""

    letters = "EEV"

    def whiten(self, spread: Spread) -> FloatArray:
        """Return the whiteners of the mean variances along each component's principal axes."""
        variances, axes = principal_axes(spread.covariances)
        return whiten_matrices(compose(spread.shares @ variances, axes), spread.regularization)


class VaryingVolumesDiagonal(Parsimonious):
    """Each component has a volume of its own, and all the same diagonal shape."""

    letters = "VEI"

    def whiten(self, spread: Spread) -> FloatArray:
        """Return the inverse standard deviations of the components."""
        return 1.0 / np.sqrt(_balanced(spread, spread.covariances))


class VaryingVolumesOwnOrientations(Parsimonious):
    """Each component has a volume and an orientation of its own, and all the same shape."""

    letters = "VEV"

    def whiten(self, spread: Spread) -> FloatArray:
        """Return the whiteners of variances of one shape along each component's principal axes."""
        spread = _regular(spread)
        variances, axes = principal_axes(spread.covariances)
        if not (spread.shares @ variances).all():
            raise ill_defined(0, "its features are linearly dependent", 1)
        return whiten_matrices(compose(_balanced(spread, variances), axes), spread.regularization)


class VaryingVolumes(Parsimonious):
    """Each component has a volume of its own, and all the same shape and orientation."""

    letters = "VEE"

    def whiten(self, spread: Spread) -> FloatArray:
        """Return the whiteners of the components."""
        spread = _regular(spread)
        (white,) = whiten_matrices(spread.pooled()[None], spread.regularization)
        # Beside the pooled covariance, features have no units, and no correlations to speak of.
        relative = white @ spread.covariances @ white.T
        moments, shape = relative.reshape(len(relative), -1), np.empty_like(white)
        ended = common_shape(
            moments,
            len(white),
            spread.shares,
            _exponents(spread),
            spread.before is None,
            0.0,
            shape.reshape(-1),
        )
        _require_settled(spread, ended)
        (common,) = whiten_matrices(shape[None], spread.regularization)
        volumes = np.einsum("kii->k", common @ relative @ common.T) / len(white)
        whiteners: FloatArray = (common @ white) / np.sqrt(volumes)[:, None, None]
        return whiteners


class CommonOrientation(Parsimonious):
    """All components have the same orientation, and each a volume and a shape of its own."""

    letters = "VVE"
    equal_volumes: ClassVar[bool] = False

    def whiten(self, spread: Spread) -> FloatArray:
        """Return the whiteners of each component's variances along the common axes."""
        covariances = make_regular(spread.covariances, spread.regularization)
        shares = spread.shares
        present = np.ascontiguousarray(covariances[shares > 0.0])
        own_shares = shares[shares > 0.0]
        sizes = np.einsum("kii->k", present)
        starts = np.stack([pool(present, own_shares), pool(present, own_shares / sizes)])
        if spread.before is None:
            starts = np.concatenate([starts, present])
            axes = np.eye(covariances.shape[1])
        else:
            axes = common_axes(spread.before)
        common_orientation(
            present,
            own_shares,
            self.equal_volumes,
            np.ascontiguousarray(np.linalg.eigh(starts)[1]),
            axes,
            spread.before is not None,
            0.0,
        )
        variances = np.einsum("kii->ki", axes.T @ (covariances @ axes))
        whiteners = whiten_matrices(compose(variances, axes), spread.regularization)
        return equalize_volumes(whiteners, shares) if self.equal_volumes else whiteners


class CommonOrientationEqualVolume(CommonOrientation):
    """All components have the same orientation and volume, and each a shape of its own."""

    letters = "EVE"
    equal_volumes = True


def _regular(spread: Spread) -> Spread:
    """Return a spread without singular covariances, if the regularization is to prevent them."""
    if spread.regularization.is_zero:
        return spread
    return replace(spread, covariances=make_regular(spread.covariances, spread.regularization))


def _balanced(spread: Spread, variances: FloatArray) -> FloatArray:
    """Return variances of one shape, and of a volume for each component, that fit best."""
    require_variances(pool(variances, spread.shares)[None])
    lost = np.flatnonzero((spread.shares > 0.0) & ~variances.any(axis=1))
    if len(lost):
        _require_settled(spread, (NO_VARIANCE, int(lost[0])))
    balanced = np.array(variances, order="C")
    first = spread.before is None
    ended = balance_variances(balanced, spread.shares, _exponents(spread), first, 0.0)
    _require_settled(spread, ended)
    return balanced


def _exponents(spread: Spread) -> FloatArray:
    """Return minus the logarithms of the volumes before, or zeros."""
    before = spread.before
    return np.zeros_like(spread.shares) if before is None else -log_volumes(before.whiteners)


def _require_settled(spread: Spread, ended: tuple[int, int]) -> None:
    """Raise if there are no best volumes."""
    status, k = ended
    n_present = int(np.count_nonzero(spread.shares))
    if status == NO_VARIANCE:
        raise ill_defined(k, "its variances are all 0", n_present)
    if status == NO_SHAPE and spread.regularization.is_zero:
        why = "its points lie in too few directions for the shape of all components"
        raise ill_defined(k, why, n_present)


def common_axes(parameters: MixtureParameters) -> FloatArray:
    """Return the axes that the covariances of a mixture of such a structure share.

    They are those of any sum of the covariances in which no two axes happen to have the same
    variance: one with irregular coefficients, since where components differ only by the order of
    their axes, regular ones give a sphere.
    """
    covariances = parameters.covariances()
    coefficients = 0.5 + np.modf(_GOLDEN * np.arange(1, len(covariances) + 1))[0]
    coefficients /= np.einsum("kii->k", covariances)
    axes = np.linalg.eigh(np.tensordot(coefficients, covariances, axes=1))[1]
    return np.ascontiguousarray(axes)


_STRUCTURES: dict[str, CovarianceStructure] = {
    each.name: each
    for each in (
        Full("full"),
        Tied("tied"),
        Diagonal("diag"),
        Spherical("spherical"),
        TiedDiagonal("tied_diag"),
        TiedSpherical("tied_spherical"),
        TiedSpherical(TiedSpherical.letters),
        Spherical(Spherical.letters),
        TiedDiagonal(TiedDiagonal.letters),
        VaryingVolumesDiagonal(VaryingVolumesDiagonal.letters),
        EqualVolumeDiagonal(EqualVolumeDiagonal.letters),
        Diagonal(Diagonal.letters),
        Tied(Tied.letters),
        VaryingVolumes(VaryingVolumes.letters),
        CommonOrientationEqualVolume(CommonOrientationEqualVolume.letters),
        CommonOrientation(CommonOrientation.letters),
        OwnOrientations(OwnOrientations.letters),
        VaryingVolumesOwnOrientations(VaryingVolumesOwnOrientations.letters),
        EqualVolume(EqualVolume.letters),
        Full(Full.letters),
        OneVariance("E"),
        OwnVariances("V"),
    )
}

STRUCTURE_NAMES = tuple(_STRUCTURES)


_BUILT_IN = {type(each) for each in _STRUCTURES.values()}


def structure(kind: str | CovarianceStructure) -> CovarianceStructure:
    """Return the covariance structure of a name, or the one that is given."""
    if isinstance(kind, CovarianceStructure):
        return kind
    try:
        return _STRUCTURES[kind]
    except (KeyError, TypeError):
        raise ValueError(
            f"covariance_type must be one of {', '.join(STRUCTURE_NAMES)}, or a "
            f"CovarianceStructure; got {kind!r}"
        ) from None


def is_built_in(kind: CovarianceStructure) -> bool:
    """Say whether a structure is one of the fourteen, and no class derived from theirs."""
    return type(kind) in _BUILT_IN


def name_or_instance(kind: CovarianceStructure) -> Any:
    """Return a structure as a value of `covariance_type`, by its name if it is known by it."""
    known = isinstance(kind, FactorStructure) or _STRUCTURES.get(kind.name) == kind
    return kind.name if known else kind


def structures_of(
    given: Any, every: Iterable[str], parameter: str, n_factors: Sequence[int] = ()
) -> list[CovarianceStructure]:
    """Return the different structures of a parameter that takes "all", one or several.

    Factor analyzers are among them, of each number of factors, if some are given.
    """
    if isinstance(given, str | CovarianceStructure):
        given = every if given == "all" else [given]
    asked = list(given)
    names = STRUCTURE_NAMES + FACTOR_NAMES if n_factors else STRUCTURE_NAMES
    unknown = [
        each for each in asked if not isinstance(each, CovarianceStructure) and each not in names
    ]
    if unknown or not asked:
        raise ValueError(
            f"{parameter} must be 'all' or some of {', '.join(names)}; got "
            f"{unknown[0] if unknown else asked!r}"
        )
    found: list[CovarianceStructure] = []
    for each in asked:
        if isinstance(each, str) and each in FACTOR_NAMES:
            found += [FactorStructure(each, q) for q in n_factors]
        else:
            found.append(structure(each))
    kinds = list(dict.fromkeys(found))
    labels = [kind.label for kind in kinds]
    if len(set(labels)) < len(labels):
        raise ValueError(
            f"{parameter} has different structures of one name, {max(labels, key=labels.count)!r}: "
            "give each a name of its own"
        )
    return kinds
