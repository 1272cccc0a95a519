"""Parameters that a fit keeps: the M-step over those that are free.

Weights, means and covariances of chosen components stay as they are, and the others are the exact
maximizers given these:

- free weights share what the frozen ones leave, in proportion to their counts;
- the scatter of a component whose mean is frozen is taken about that mean, so that its covariance,
  and whatever it shares with others, accounts for the distance of its points' mean from it;
- a frozen covariance settles all that its structure shares: the others are the best of that volume,
  shape and orientation, as far as these are equal.

All of it is done on statistics, once, for whatever structure is inside.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from fastgmm.mixture.parameters import MixtureParameters
from fastgmm.mixture.regularization import Regularization
from fastgmm.mixture.statistics import FloatArray, SufficientStatistics
from fastgmm.mixture.structures.covariance_structure import CovarianceStructure, Spread
from fastgmm.mixture.structures.parsimonious import common_axes, is_built_in
from fastgmm.mixture.structures.whitening import (
    compose,
    make_regular,
    principal_axes,
    require_variances,
    whiten_matrices,
    whiten_variances,
)

Mask = npt.NDArray[np.bool_]

KINDS = ("weights", "means", "covariances")
"""What of a component can be frozen."""


@dataclass(frozen=True, slots=True, eq=False)
class Frozen:
    """Which components keep what they start with, each of shape (n_components,)."""

    weights: Mask
    means: Mask
    covariances: Mask


class FrozenStructure(CovarianceStructure):
    """A covariance structure in mixtures of which some parameters are frozen."""

    def __init__(self, inner: CovarianceStructure, frozen: Frozen) -> None:
        held = frozen.covariances
        if held.any() and not held.all():
            if inner.is_tied:
                raise ValueError(
                    f"covariance_type={inner.name!r} has one covariance for all components, of "
                    "which some cannot be frozen: use frozen={'covariances': True}"
                )
            if inner.is_coupled and not is_built_in(inner):
                raise ValueError(
                    f"covariances of covariance_type={inner.name!r} depend on each other in a way "
                    "that only the structure knows, so that some cannot be frozen: use "
                    "frozen={'covariances': True}"
                )
        self.inner = inner
        self.frozen = frozen
        vars(self).update(
            name=inner.name,
            letters=inner.letters,
            needs_single_feature=inner.needs_single_feature,
            needs_pooled_only=inner.needs_pooled_only,
        )

    @property
    def is_coupled(self) -> bool:
        """Whether covariances of different components depend on each other."""
        return self.inner.is_coupled

    def nearest(self, parameters: MixtureParameters) -> MixtureParameters:
        """Return the mixture of the structure that is nearest to one of any covariances."""
        return self.inner.nearest(parameters)

    def n_parameters(self, n_components: int, n_features: int) -> int:
        """Return the number of free parameters of a whole mixture."""
        weights = int(np.count_nonzero(~self.frozen.weights))
        means = int(np.count_nonzero(~self.frozen.means))
        covariances = self.n_covariance_parameters(n_components, n_features)
        return max(weights - 1, 0) + means * n_features + covariances

    def n_covariance_parameters(self, n_components: int, n_features: int) -> int:
        """Return the number of free parameters of the covariances."""
        held = self.frozen.covariances
        if not held.any():
            return self.inner.n_covariance_parameters(n_components, n_features)
        # What is shared is settled; what each component has of its own is a difference.
        one, two = (self.inner.n_covariance_parameters(k, n_features) for k in (1, 2))
        return int(np.count_nonzero(~held)) * (two - one)

    def solve(
        self,
        statistics: SufficientStatistics,
        regularization: Regularization,
        before: MixtureParameters | None = None,
    ) -> MixtureParameters:
        """Return the free parameters that maximize the expected log-likelihood, and the frozen."""
        if before is None:  # a start, of which nothing is frozen yet
            return self.inner.solve(statistics, regularization)
        seen = self.about_frozen_means(statistics, before)
        return self.restored(super().solve(seen, regularization, before), before)

    def about_frozen_means(
        self, statistics: SufficientStatistics, before: MixtureParameters
    ) -> SufficientStatistics:
        """Return the statistics as if points lay about frozen means, with the same scatter."""
        held = self.frozen.means[:, None]
        if not held.any():
            return statistics
        seen = statistics.about(np.where(held, before.means, statistics.reference))
        return replace(seen, first=np.where(held, 0.0, seen.first))

    def restored(self, solved: MixtureParameters, before: MixtureParameters) -> MixtureParameters:
        """Return solved parameters with the frozen weights, and others that sum to 1 with them."""
        held = self.frozen.weights
        if not held.any():
            return solved
        log_weights = before.log_weights.copy()
        own = solved.weights * ~held
        if own.any():
            left = max(1.0 - before.weights[held].sum(), 0.0)
            with np.errstate(divide="ignore"):  # a weight of 0 is allowed
                log_weights[~held] = np.log(own[~held] * (left / own.sum()))
        return replace(solved, log_weights=log_weights)

    def whiten(self, spread: Spread) -> FloatArray:
        """Return the whiteners of the best free covariances, and of the frozen."""
        held, before = self.frozen.covariances, spread.before
        if before is None or not held.any():
            return self.inner.whiten(spread)
        if held.all():
            return before.whiteners
        axes = (slice(None),) + (None,) * (spread.covariances.ndim - 1)
        covariances = np.where(held[axes], before.covariances(), spread.covariances)
        spread = replace(spread, covariances=covariances)
        if self.is_coupled:
            whiteners = _conforming(self.letters, spread, before, int(held.argmax()))
        else:
            whiteners = self.inner.whiten(spread)
        return np.where(held[axes], before.whiteners, whiteners)


def constrained(
    structure: CovarianceStructure, frozen: Any, n_components: int
) -> CovarianceStructure:
    """Return a structure with what `frozen` names held, or the structure itself if nothing is.

    Parameters
    ----------
    structure : CovarianceStructure
        The structure.
    frozen : dict or None
        For some of "weights", "means" and "covariances", True or the numbers of components.
    n_components : int
        Number of components.

    Returns
    -------
    CovarianceStructure
        The structure to fit.
    """
    masks = {kind: _mask(kind, (frozen or {}).get(kind), n_components) for kind in KINDS}
    unknown = [name for name in frozen or {} if name not in KINDS]
    if unknown:
        raise ValueError(
            f"frozen has {unknown[0]!r}, which is no kind of parameter: its keys may be "
            f"{', '.join(map(repr, KINDS))}"
        )
    if not any(mask.any() for mask in masks.values()):
        return structure
    return FrozenStructure(structure, Frozen(**masks))


def _mask(kind: str, given: Any, n_components: int) -> Mask:
    """Return which components are frozen, by True, False, None or their numbers."""
    if given is None or isinstance(given, bool | np.bool_):
        return np.full(n_components, bool(given))
    numbers = np.asarray(given)
    if numbers.ndim != 1 or (numbers.size and numbers.dtype.kind not in "iu"):
        raise ValueError(
            f"frozen[{kind!r}] must be True or a list of numbers of components, as in [0, 2]; got "
            f"{given!r}"
        )
    wrong = (numbers < 0) | (numbers >= n_components)
    if wrong.any():
        raise ValueError(
            f"frozen[{kind!r}] names component {numbers[wrong][0]}, and components are numbered "
            f"from 0 to n_components - 1 = {n_components - 1}"
        )
    mask = np.zeros(n_components, dtype=bool)
    mask[numbers.astype(np.intp)] = True
    return mask


def _conforming(letters: str, spread: Spread, before: MixtureParameters, held: int) -> FloatArray:
    """Return the whiteners of the best covariances that share with a given one what is equal.

    Along the axes of each component the best variances are those of its points there; of a given
    shape A, the best volume is the mean of these over A; of a given volume, the best shape is
    theirs.
    Axes that the frozen covariances leave open, where variances are the same, stay as they are.
    """
    volume, shape, orientation = tuple(letters)
    covariances = spread.covariances
    if orientation == "I":
        variances, axes = covariances, None
    elif orientation == "V":
        if shape == "V":
            covariances = make_regular(covariances, spread.regularization)
        variances, axes = principal_axes(covariances)
    else:
        if shape == "V":
            covariances = make_regular(covariances, spread.regularization)
        axes = common_axes(before)
        variances = np.einsum("kii->ki", axes.T @ covariances @ axes)
    given = variances[held]
    common = np.exp(np.log(given).mean())
    if shape == "V":
        require_variances(variances)
        if volume == "E":
            variances = variances * (common / np.exp(np.log(variances).mean(axis=1, keepdims=True)))
    elif volume == "E":
        variances = np.broadcast_to(given, variances.shape)
    else:
        variances = (variances / given).mean(axis=1, keepdims=True) * given
    if axes is None:
        return whiten_variances(variances)
    return whiten_matrices(compose(variances, axes), spread.regularization)
