"""An information criterion over the number of components, a line for each covariance structure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from fastgmm.plotting import panels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

_NAMES = {
    "bic": "BIC",
    "aic": "AIC",
    "icl": "ICL",
    "held_out_log_likelihood": "Held-out log-likelihood [nats]",
}
_MARKERS = "osD^v<>Pp*XhdH"


class CriterionDisplay(panels.Display):
    """Criterion of all mixtures of a search, as in mclust's BIC plot.

    The criterion's sign is changed where lower is better, so that the best mixture is at the top;
    it is marked by a circle. Mixtures that could not be fitted leave gaps.

    Parameters
    ----------
    results : mapping of str to ndarray
        The table of a search, `MixtureSearch.results_`.
    criterion : {"bic", "aic", "icl", "held_out_log_likelihood"}, default="bic"
        The column to draw.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes of the plot.
    figure_ : matplotlib Figure
        Figure containing the axes.
    lines_ : list of matplotlib Line2D
        A line for each structure.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from fastgmm import MixtureSearch
    >>> from fastgmm.plotting import CriterionDisplay
    >>> search = MixtureSearch(range(1, 4)).fit(load_iris().data)
    >>> display = CriterionDisplay.from_estimator(search)
    >>> len(display.lines_)
    14
    """

    lines_: list[Line2D]

    def __init__(self, results: Mapping[str, npt.NDArray[Any]], *, criterion: str = "bic") -> None:
        self.results = results
        self.criterion = criterion

    @classmethod
    def from_estimator(
        cls, estimator: Any, *, criterion: str | None = None, ax: Axes | None = None
    ) -> Self:
        """Draw the table of a fitted search.

        Parameters
        ----------
        estimator : MixtureSearch
            The fitted search.
        criterion : str, optional
            The column to draw; by default the criterion of the search.
        ax : matplotlib Axes, optional
            Axes to plot on; by default a new figure is created.

        Returns
        -------
        CriterionDisplay
            The display, with the plot drawn.

        Raises
        ------
        ValueError
            If the table has no such column.
        """
        from sklearn.utils.validation import check_is_fitted

        check_is_fitted(estimator, "results_")
        if criterion is None:
            own = estimator.criterion
            criterion = "held_out_log_likelihood" if own == "log_likelihood" else own
        return cls(estimator.results_, criterion=criterion).plot(ax=ax)

    def plot(self, *, ax: Axes | None = None) -> Self:
        """Draw the table.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Axes to plot on; by default a new figure is created.

        Returns
        -------
        CriterionDisplay
            The display, with the plot drawn.

        Raises
        ------
        ValueError
            If the table has no such column.
        """
        pyplot = panels.pyplot()
        if self.criterion not in _NAMES or self.criterion not in self.results:
            there = [name for name in _NAMES if name in self.results]
            raise ValueError(f"criterion must be one of {there}; got {self.criterion!r}")
        ax = self._begin(ax, figsize=(7.0, 4.6))
        higher_is_better = self.criterion == "held_out_log_likelihood"
        values = np.asarray(self.results[self.criterion], dtype=np.float64)
        values = values if higher_is_better else -values
        kinds = np.asarray(self.results["covariance_type"])
        numbers = np.asarray(self.results["n_components"])
        names = list(dict.fromkeys(kinds.tolist()))
        colors = pyplot.get_cmap("turbo")(np.linspace(0.05, 0.95, len(names)))
        self.lines_ = []
        for i, name in enumerate(names):
            own = kinds == name
            (line,) = ax.plot(
                numbers[own],
                values[own],
                label=name,
                color=colors[i],
                marker=_MARKERS[i % len(_MARKERS)],
                markersize=4.5,
                linewidth=1.2,
            )
            self.lines_.append(line)
        if np.isfinite(values).any():
            best = int(np.nanargmax(values))
            ax.plot(
                numbers[best],
                values[best],
                "o",
                markersize=13,
                markerfacecolor="none",
                markeredgecolor=pyplot.rcParams["text.color"],
            )
            ax.annotate(
                f"{kinds[best]}, {numbers[best]}",
                (numbers[best], values[best]),
                xytext=(0, 10),
                textcoords="offset points",
                ha="center",
                va="bottom",
            )
        ax.margins(y=0.12)
        ax.locator_params(axis="x", integer=True)
        sign = "" if higher_is_better else "−"
        ax.set(xlabel="Number of components", ylabel=f"{sign}{_NAMES[self.criterion]}")
        ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize="small")
        return self._end(ax, with_grid=True)
