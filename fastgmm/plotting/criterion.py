"""An information criterion over the number of components, a line for each covariance structure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
_COLORS = {"II": "#888888", "I": "#E69F00", "E": "#0072B2", "V": "#009E73"}
"""By family: spherical, diagonal, of one orientation, of an orientation each."""

_MARKERS = {"E": "o", "V": "^", "I": "s"}
"""By shape."""


_LABEL_HEIGHT = 10.0
"""Points between the names of lines."""


@panels.documented()
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

        Raises
        ------
        ValueError
            If the table has no such column.
        """
        panels.pyplot()
        if self.criterion not in _NAMES or self.criterion not in self.results:
            there = [name for name in _NAMES if name in self.results]
            raise ValueError(f"criterion must be one of {there}; got {self.criterion!r}")
        ax = self._begin(ax, figsize=(7.0, 4.6))
        higher_is_better = self.criterion == "held_out_log_likelihood"
        values = np.asarray(self.results[self.criterion], dtype=np.float64)
        values = values if higher_is_better else -values
        kinds = np.asarray(self.results["covariance_type"]).astype(object)
        factors = self.results.get("n_factors", np.zeros(len(kinds), int))
        kinds[factors > 0] += np.array([f", q={q}" for q in factors[factors > 0]], dtype=object)
        numbers = np.asarray(self.results["n_components"])
        names = list(dict.fromkeys(kinds.tolist()))
        self.lines_ = []
        for i, name in enumerate(names):
            own = kinds == name
            (line,) = ax.plot(
                numbers[own],
                values[own],
                label=name,
                markersize=4.5,
                linewidth=1.4,
                **_style(name, i),
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
                markeredgecolor=panels.text_color(),
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
        _label_at_ends(ax, self.lines_)
        return self._end(ax, with_grid=True)


def _style(name: str, number: int) -> dict[str, Any]:
    """Return color by family, line style by volume and marker by shape of a structure."""
    if len(name) == 3 and set(name) <= set("EVI"):
        family = "II" if name.endswith("II") else name[2]
        line = "-" if name[0] == "E" else "--"
        return {"color": _COLORS[family], "linestyle": line, "marker": _MARKERS[name[1]]}
    color, line = panels.component_styles(number + 1)[number]
    return {"color": color, "linestyle": line, "marker": "o"}


def _label_at_ends(ax: Axes, lines: Sequence[Line2D]) -> None:
    """Write the name of each line beside its last point, where no other name stands."""
    ends = []
    for line in lines:
        points = line.get_xydata()
        assert isinstance(points, np.ndarray)
        points = points[np.isfinite(points[:, 1])]
        if len(points):
            ends.append((line, points[-1].tolist()))
    low, high = ax.get_ylim()
    wanted = [(y - low) / (high - low) for _, (_, y) in ends]
    height = ax.get_window_extent().height * 72.0 / float(ax.figure.dpi)
    for (line, point), place in zip(ends, _spread(wanted, _LABEL_HEIGHT / height), strict=True):
        ax.annotate(
            str(line.get_label()),
            point,
            xytext=(1.03, place),
            textcoords="axes fraction",
            color=line.get_color(),
            fontsize="small",
            va="center",
            arrowprops={"arrowstyle": "-", "color": line.get_color(), "alpha": 0.4, "lw": 0.8},
        )


def _spread(wanted: Sequence[float], gap: float) -> list[float]:
    """Return heights that are at least a gap apart, near those that are wanted."""
    places = np.array(wanted, dtype=np.float64)
    order = np.argsort(places, kind="stable")
    for _ in range(100):  # pairs that are too near move apart until none are
        near = gap - np.diff(places[order])
        if not (near > 1e-6).any():
            break
        push = 0.5 * np.maximum(near, 0.0)
        places[order[:-1]] -= push
        places[order[1:]] += push
    return [float(place) for place in places]
