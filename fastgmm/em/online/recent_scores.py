"""The distribution of the scores of a stream, in which the past fades.

Online EM blends the statistics of each batch of rows with those of the past. In the same way, and
with the same steps, the distribution of the rows' scores is blended here, so that a quantile of it
belongs to the same recent past as the mixture itself. The distribution is a list of points with
masses. When these are many, neighbors are joined: the nearer to the quantile that is wanted, the
fewer. This is the idea of the t-digest (Dunning and Ertl, 2019, "Computing extremely accurate
quantiles using t-digests", arXiv:1902.04023), with a scale that is finest at one quantile, as for
the targeted quantiles of Cormode, Korn, Muthukrishnan and Srivastava (2005, "Effective computation
of biased quantiles over data streams", ICDE).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fastgmm.analysis.quantiles import sorted_cut
from fastgmm.mixture.statistics import FloatArray

MOST_POINTS = 8192
"""Points are joined when there are more."""

_CELLS = 4096
"""So many points are left at most, or a few more."""
_FINEST = 1e-3
"""Within this share of the wanted quantile, cells are equal."""
_LEAST_MASS = 1e-18
"""What faded below this is forgotten."""


@dataclass(frozen=True, slots=True, eq=False)
class RecentScores:
    """A distribution of scores."""

    values: FloatArray  # (n_points,): points in ascending order
    masses: FloatArray  # (n_points,): their masses, which sum to 1

    @classmethod
    def nothing(cls) -> RecentScores:
        """Return the distribution before the first scores, which has no point."""
        return cls(np.empty(0), np.empty(0))

    def blended(
        self, scores: npt.NDArray[Any], weights: FloatArray | None, step: float, share: float
    ) -> RecentScores:
        """Return the distribution after more scores."""
        if weights is None:
            new, shares = np.sort(scores), np.full(len(scores), 1.0 / max(1, len(scores)))
        else:
            order = np.argsort(scores)
            new, shares = scores[order], weights[order] / (weights.sum() or 1.0)
        new, shares = _few(np.asarray(new, dtype=np.float64), shares, share)
        if not len(new):
            return self
        values = np.concatenate([self.values, new])
        masses = np.concatenate([(1.0 - step) * self.masses, step * shares])
        order = np.argsort(values)
        return RecentScores(*_few(values[order], masses[order], share))

    def cut(self, share: float) -> float:
        """Return what has a share of the scores below it."""
        return sorted_cut(self.values, self.masses, share)


def _few(values: FloatArray, masses: FloatArray, share: float) -> tuple[FloatArray, FloatArray]:
    """Return sorted points without those that faded, and joined where they are many."""
    present = masses > _LEAST_MASS
    values, masses = values[present], masses[present]
    masses = masses / masses.sum()
    return _joined(values, masses, share) if len(values) > MOST_POINTS else (values, masses)


def _joined(values: FloatArray, masses: FloatArray, share: float) -> tuple[FloatArray, FloatArray]:
    """Return the means and masses of neighbors joined, the fewer the nearer to the share."""

    def scale(rank: Any) -> Any:
        # Cells of equal length on this scale have masses in proportion to their distance.
        distance = rank - share
        return np.sign(distance) * np.log1p(np.abs(distance) / (_FINEST * share))

    low, high = scale(0.0), scale(1.0)
    ranks = np.cumsum(masses) - 0.5 * masses
    cells = np.floor((scale(ranks) - low) * (_CELLS / (high - low)))
    firsts = np.flatnonzero(np.diff(cells, prepend=-np.inf))
    joined = np.add.reduceat(masses, firsts)
    return np.add.reduceat(masses * values, firsts) / joined, joined
