"""Uniform noise: points that come from no component, spread evenly over a region.

A component of the density 1 / V everywhere, with V the hypervolume of the region (Banfield and
Raftery, 1993; Fraley and Raftery, 1998, "How many clusters?", section 3.3). For the passes it is a
component like the others, the last one, whose whitener is zero: each row has the same distance
from it, none, and its normalizer is -log V.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from fastgmm.mixture.parameters import MixtureParameters
from fastgmm.mixture.statistics import SufficientStatistics

INITIAL_SHARE = 0.05
"""Weight of the noise that EM starts with, where nothing is known of it."""


@dataclass(frozen=True, slots=True)
class UniformNoise:
    """Noise of constant density.

    Attributes
    ----------
    log_volume : float
        Logarithm of the hypervolume of the region it is spread over, in the product of the
        features' units.
    """

    log_volume: float

    def added(self, parameters: MixtureParameters, share: float) -> MixtureParameters:
        """Return a mixture with the noise as its last component."""
        with np.errstate(divide="ignore"):
            others, own = np.log1p(-share), np.log(share)
        weights = parameters.weights if parameters.weights.any() else None
        middle = np.average(parameters.means, axis=0, weights=weights)
        zero = np.zeros((1, *parameters.whiteners.shape[1:]))
        return MixtureParameters(
            log_weights=np.append(parameters.log_weights + others, own),
            means=np.concatenate([parameters.means, middle[None]]),
            whiteners=np.concatenate([parameters.whiteners, zero]),
            log_normalizers=np.append(parameters.log_normalizers, -self.log_volume),
        )


def without_noise(parameters: MixtureParameters) -> MixtureParameters:
    """Return a mixture without its last component, the noise.

    The weights sum to 1 again, unless all of them are 0.
    """
    kept = parameters.of(slice(-1))
    total = kept.weights.sum()
    return replace(kept, log_weights=kept.log_weights - (math.log(total) if total > 0.0 else 0.0))


def statistics_without_noise(
    statistics: SufficientStatistics,
) -> tuple[SufficientStatistics, float]:
    """Return the statistics of all components but the last, the noise, and its share of all."""
    total = statistics.counts.sum()
    share = float(statistics.counts[-1] / total) if total > 0.0 else 0.0
    return statistics.of(slice(-1)), share
