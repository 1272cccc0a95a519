"""When a fit has converged: one rule for every estimator, which users may replace by their own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass


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


def stopping_rule(tol: float | StoppingRule) -> StoppingRule:
    """Return the rule that `tol` stands for."""
    return tol if isinstance(tol, StoppingRule) else SmallChange(float(tol))
