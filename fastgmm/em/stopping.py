"""When a fit has converged: one rule for every estimator, which users may replace by their own."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar


class StoppingRule(ABC):
    """When a fit has converged.

    A subclass answers one question about the objective: the mean log-likelihood of EM (with the
    log-density of a prior, if there is one), or the lower bound of variational Bayes. An instance
    is given in place of a number as `tol`, and must not change during a fit.
    """

    @abstractmethod
    def has_converged(self, values: Sequence[float]) -> bool:
        """Say whether no further iteration is worth its pass.

        Parameters
        ----------
        values : sequence of float
            The objective that each iteration so far has seen, in nats, after the one of the fit
            that is continued by a warm start; minus infinity, where there was none. There are at
            least two.

        Returns
        -------
        bool
            Whether the fit ends.
        """


@dataclass(frozen=True, slots=True)
class SmallChange(StoppingRule):
    """A fit has converged when the objective changes by less than a tolerance.

    Parameters
    ----------
    tol : float
        The tolerance, in nats.
    """

    tol: float

    def has_converged(self, values: Sequence[float]) -> bool:
        """Say whether the last change is below the tolerance.

        Parameters
        ----------
        values : sequence of float
            As of `StoppingRule.has_converged`.

        Returns
        -------
        bool
            Whether it is.
        """
        return abs(values[-1] - values[-2]) < self.tol


@dataclass(frozen=True, slots=True)
class ExtrapolatedGain(StoppingRule):
    """A fit has converged when the objective is to rise by little, as its last gains suggest.

    Where gains shrink by a factor of a, those to come are a/(1 - a) of the last one (Aitken's
    extrapolation, as in McNicholas et al., 2010, Computational Statistics and Data Analysis 54).

    Parameters
    ----------
    tol : float
        The tolerance, relative to the unit plus the size of the objective.
    unit : float
        What the objective is at least measured by.
    """

    tol: float
    unit: float

    _SHARE_TO_COME: ClassVar[float] = 0.3  # of the tolerance: gains may shrink before they grow
    _NEGLIGIBLE: ClassVar[float] = 1e-3  # a gain of this share is the last, whatever is to come

    def has_converged(self, values: Sequence[float]) -> bool:
        """Say whether the gains to come are below the tolerance.

        Parameters
        ----------
        values : sequence of float
            As of `StoppingRule.has_converged`.

        Returns
        -------
        bool
            Whether they are.
        """
        tol = self.tol * (self.unit + abs(values[-1]))
        gain, *before = (values[-i] - values[-i - 1] for i in range(1, min(4, len(values))))
        if abs(gain) <= self._NEGLIGIBLE * tol:
            return True
        if len(before) < 2 or not (gain > 0.0 and min(before) > 0.0 and math.isfinite(before[1])):
            return False
        share = max(gain / before[0], before[0] / before[1])
        return share < 1.0 and gain * share <= self._SHARE_TO_COME * tol * (1.0 - share)


def stopping_rule(tol: float | StoppingRule) -> StoppingRule:
    """Return the rule that `tol` stands for."""
    return tol if isinstance(tol, StoppingRule) else SmallChange(float(tol))
