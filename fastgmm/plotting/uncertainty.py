"""Uncertainty of the assignment of rows to components."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np

from fastgmm.plotting import panels
from fastgmm.plotting.projection import Columns, FloatArray, project

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import PathCollection, PolyCollection

_LARGEST_AREA = 160.0
_SMALLEST_AREA = 4.0
"""Of a row that is sure, in square points: less is hard to see."""

_IN_LEGEND = (0.01, 0.1, 0.3, 0.5)


@panels.documented()
class UncertaintyDisplay(panels.ProjectedDisplay):
    """Rows in the plane of two columns, drawn larger the more uncertain their component is.

    The uncertainty of a row is the probability that it does not come from its most probable
    component: 1 minus the highest of its responsibilities, which are those of all columns. The
    areas of the points are in proportion to it. More than 50,000 rows are drawn as the mean
    uncertainty in hexagons. A single column is drawn against the uncertainty.

    Parameters
    ----------
    projection : Projection
        One or two columns of a mixture and of rows, with their uncertainties.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes of the plot.
    figure_ : matplotlib Figure
        Figure containing the axes.
    points_ : list of matplotlib PathCollection
        The rows, a collection for each component that has any, noise first; empty if they are
        many.
    hexbin_ : matplotlib PolyCollection or None
        Mean uncertainties of many rows.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from fastgmm import GaussianMixture
    >>> from fastgmm.plotting import UncertaintyDisplay
    >>> X = load_iris().data
    >>> mixture = GaussianMixture(3, random_state=0).fit(X)
    >>> display = UncertaintyDisplay.from_estimator(mixture, X, columns=[2, 3])
    >>> len(display.points_)
    3
    """

    points_: list[PathCollection]
    hexbin_: PolyCollection | None

    @classmethod
    def from_estimator(
        cls, estimator: Any, X: Any, *, columns: Columns | None = None, ax: Axes | None = None
    ) -> Self:
        """Draw the uncertainty of the components of rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), or anything that `open_data` takes
            The rows, with all columns of the mixture.
        columns : sequence of one or two int or str, optional
            Indices or names of the columns; the first two, or the only one, by default.

        Raises
        ------
        ValueError
            If there are no such columns, or no rows.
        """
        return cls(project(estimator, X, columns, at_most=2, with_uncertainties=True)).plot(ax=ax)

    def plot(self, *, ax: Axes | None = None) -> Self:
        """Draw the rows.

        Raises
        ------
        ValueError
            If there are no rows.
        """
        shown = self.projection
        rows, uncertainties = shown.rows, shown.uncertainties
        if rows is None or uncertainties is None:
            raise ValueError("only rows have uncertain components: give rows as X")
        ax = self._begin(ax, figsize=(6.8, 4.8))
        places = rows if rows.shape[1] == 2 else np.column_stack([rows[:, 0], uncertainties])
        self.points_, self.hexbin_ = [], None
        if len(rows) > panels.MOST_POINTS and rows.shape[1] == 2:
            self._draw_means(ax, places, uncertainties)
        else:
            self._draw_points(ax, places, uncertainties)
        alone = rows.shape[1] == 1
        if not alone:
            panels.limit(ax, *(panels.robust_limits(column) for column in rows.T))
        ax.set(xlabel=shown.names[0], ylabel="Uncertainty" if alone else shown.names[1])
        return self._end(ax)

    def _draw_means(self, ax: Axes, places: FloatArray, uncertainties: FloatArray) -> None:
        complete = np.isfinite(places).all(axis=1)
        x, y = places[complete].T
        self.hexbin_ = ax.hexbin(
            x,
            y,
            C=uncertainties[complete],
            gridsize=80,
            cmap=panels.visible_colors(ax, "cividis"),
            linewidths=0.1,
            extent=(*panels.robust_limits(x), *panels.robust_limits(y)),
        )
        ax.figure.colorbar(self.hexbin_, ax=ax, label="Mean uncertainty")

    def _draw_points(self, ax: Axes, places: FloatArray, uncertainties: FloatArray) -> None:
        shown = self.projection
        labels = shown.labels
        assert labels is not None
        alone = shown.parameters.n_features == 1
        smallest = max(0.35 * panels.point_area(len(places)), _SMALLEST_AREA)
        styles = panels.component_styles(shown.parameters.n_components)
        for k in np.unique(labels):
            own = labels == k
            areas = _areas(uncertainties[own], smallest)
            # The most uncertain ones last: none of them is hidden.
            order = np.argsort(areas, kind="stable")
            x, y = places[own][order].T
            self.points_.append(
                ax.scatter(
                    x,
                    y,
                    s=smallest * 3.0 if alone else areas[order],
                    color=styles[k][0] if k >= 0 else panels.NOISE_COLOR,
                    alpha=0.65,
                    linewidths=0.0,
                    rasterized=len(places) > 5000,
                )
            )
        handles = panels.component_handles(shown)
        if not alone:
            handles += _area_handles(smallest)
        panels.legend_beside(ax, handles, "Components" if alone else "Components, uncertainty")


def _areas(uncertainties: FloatArray, smallest: float) -> FloatArray:
    """Return the areas of points: twice as uncertain, twice as much more than the smallest."""
    return smallest + _LARGEST_AREA * uncertainties


def _area_handles(smallest: float) -> list[Any]:
    """Return what a legend shows of the areas."""
    from matplotlib.lines import Line2D

    areas = _areas(np.array(_IN_LEGEND), smallest)
    return [
        Line2D(
            [],
            [],
            linestyle="none",
            marker="o",
            color=panels.NOISE_COLOR,
            markeredgewidth=0.0,
            markersize=float(np.sqrt(area)),
            label=f"uncertainty {value:g}",
        )
        for value, area in zip(_IN_LEGEND, areas, strict=True)
    ]
