"""Steps beyond those of EM: from what three passes in turn found, what EM approaches.

SQUAREM, with step length S3 of Varadhan and Roland (2008), "Simple and globally convergent methods
for accelerating the convergence of any EM algorithm", Scandinavian Journal of Statistics 35. It
extrapolates sufficient statistics, which are the same for every structure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from fastgmm.mixture.statistics import FloatArray, SufficientStatistics

_LONGEST = 4.0
"""Length of the first extrapolation, in steps of EM; those that succeed make it longer."""


class Squarem:
    """The statistics of successive passes, and what they approach."""

    def __init__(
        self, found: Sequence[SufficientStatistics] = (), longest: float | None = None
    ) -> None:
        self.found = list(found)
        self.longest = longest or _LONGEST

    def propose(self, statistics: SufficientStatistics) -> SufficientStatistics | None:
        """Take note of what a pass found; return where three of them lead, if beyond EM's step."""
        self.found.append(statistics)
        if len(self.found) < 3:
            return None
        means = statistics.means()
        about = [each.about(means) for each in self.found]
        shares = statistics.weights()
        spread = statistics.variances() + (means - shares @ means) ** 2
        scales = np.sqrt(shares @ spread)
        scales[scales == 0.0] = 1.0
        zero, one, two = (_vector(each, scales) for each in about)
        step, bend = one - zero, two - 2.0 * one + zero
        square, change = float(step @ step), float(bend @ bend)
        length = self.longest
        if square < length * length * change:
            length = float(np.sqrt(square / change))
        if length <= 1.0:
            del self.found[0]
            return None
        if length == self.longest:
            self.longest *= 4.0
        factors = ((1.0 - length) ** 2, 2.0 * length * (1.0 - length), length**2)

        def combined(name: str) -> FloatArray:
            total: FloatArray = sum(
                factor * getattr(each, name) for factor, each in zip(factors, about, strict=True)
            )
            return total

        beyond = replace(
            about[2],
            counts=combined("counts"),
            first=combined("first"),
            second=combined("second"),
        )
        self.found = []
        if beyond.empty().any() or not (beyond.variances() > 0.0).all():
            self.fell(statistics)
            return None
        return beyond

    def fell(self, statistics: SufficientStatistics) -> None:
        """Begin again from what the last pass found: the way was too long."""
        self.longest = max(_LONGEST, self.longest / 4.0)
        self.found = [statistics]


def _vector(statistics: SufficientStatistics, scales: FloatArray) -> FloatArray:
    """Return statistics side by side, features in their standard deviations."""
    units = scales if statistics.is_diagonal else np.outer(scales, scales)
    if statistics.is_diagonal:
        units = units * scales
    parts = (statistics.counts, statistics.first / scales, statistics.second / units)
    return np.concatenate([each.ravel() for each in parts])
