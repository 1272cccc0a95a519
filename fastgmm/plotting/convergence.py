"""Convergence of a fit: its objective after each iteration."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from fastgmm.plotting import panels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

_MOST_MARKERS = 60


@panels.documented()
class ConvergenceDisplay(panels.Display):
    """The mean log-likelihood, or the lower bound, after each iteration of a fit.

    It is recommended to use `from_estimator` to create the display, or to pass the values
    themselves.

    Parameters
    ----------
    trace : sequence of float
        Mean log-likelihood, or another objective of the fit, at the initialization and after each
        iteration, in nats.
    estimator_name : str, optional
        Name of the line in the legend.
    objective : str
        Name of the objective of the fit.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes of the plot.
    figure_ : matplotlib Figure
        Figure containing the axes.
    line_ : matplotlib Line2D
        The line.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from fastgmm import GaussianMixture
    >>> from fastgmm.plotting import ConvergenceDisplay
    >>> mixture = GaussianMixture(3, random_state=0).fit(load_iris().data)
    >>> display = ConvergenceDisplay.from_estimator(mixture)
    >>> display.ax_.get_xlabel()
    'Iteration'
    """

    line_: Line2D

    def __init__(
        self,
        trace: Sequence[float],
        *,
        estimator_name: str | None = None,
        objective: str = "mean log-likelihood",
    ) -> None:
        self.trace = trace
        self.estimator_name = estimator_name
        self.objective = objective

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        *,
        name: str | None = None,
        ax: Axes | None = None,
        **line_kwargs: Any,
    ) -> Self:
        """Draw the trace of a fitted estimator.

        Parameters
        ----------
        estimator : estimator
            A fitted mixture, with the attribute ``trace_``.
        name : str, optional
            Name of the line in the legend; the class and the number of components by default.
        """
        from sklearn.utils.validation import check_is_fitted

        check_is_fitted(estimator, "trace_")
        if name is None:
            name = f"{type(estimator).__name__}, {estimator.n_components} components"
        objective = getattr(estimator, "_objective", "mean log-likelihood")
        display = cls(estimator.trace_, estimator_name=name, objective=objective)
        return display.plot(ax=ax, **line_kwargs)

    def plot(self, *, name: str | None = None, ax: Axes | None = None, **line_kwargs: Any) -> Self:
        """Draw the trace.

        Parameters
        ----------
        name : str, optional
            Name of the line in the legend, instead of `estimator_name`.
        """
        ax = self._begin(ax)
        trace = np.asarray(self.trace, dtype=np.float64)
        style = {
            "label": name or self.estimator_name,
            "marker": "o" if len(trace) <= _MOST_MARKERS else None,
            "markersize": 3.5,
            **line_kwargs,
        }
        (self.line_,) = ax.plot(np.arange(len(trace)), trace, **style)
        ax.locator_params(axis="x", integer=True)
        ax.set(xlabel="Iteration", ylabel=f"{self.objective.capitalize()} [nats]")
        ax.annotate(
            f"{trace[-1]:.4f}",
            (len(trace) - 1, trace[-1]),
            xytext=(0, -6),
            textcoords="offset points",
            ha="right",
            va="top",
            color=self.line_.get_color(),
        )
        if style["label"] is not None:
            ax.legend(loc="lower right", frameon=False)
        return self._end(ax, with_grid=True)
