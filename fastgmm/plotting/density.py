"""The density of a mixture: a curve over one column, or contours over two."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from fastgmm.plotting import panels
from fastgmm.plotting.projection import Columns, FloatArray, Projection, project

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.container import BarContainer
    from matplotlib.contour import QuadContourSet
    from matplotlib.lines import Line2D

_CONTOUR_COLOR = "#0072B2"


@panels.documented(
    """
    masses : sequence of float, default=(0.25, 0.5, 0.75, 0.95)
        Shares of the probability inside the contours of two columns.
    """
)
class DensityDisplay(panels.ProjectedDisplay):
    """The density of a mixture over one column, with its components, or over two.

    Of two columns, contours bound the regions of highest density that hold given shares of the
    probability. Noise is left out: its density in some columns alone is not known.

    Parameters
    ----------
    projection : Projection
        One or two columns of a mixture and, if any, of rows.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes of the plot.
    figure_ : matplotlib Figure
        Figure containing the axes.
    line_ : matplotlib Line2D or None
        The density of one column.
    component_lines_ : list of matplotlib Line2D
        The densities of the components, times their weights; of one column.
    histogram_ : matplotlib BarContainer or None
        The rows of one column.
    contours_ : matplotlib QuadContourSet or None
        The contours of two columns.
    points_ : list of matplotlib PathCollection, or matplotlib PolyCollection
        The rows of two columns; empty without rows.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from fastgmm import GaussianMixture
    >>> from fastgmm.plotting import DensityDisplay
    >>> X = load_iris().data
    >>> mixture = GaussianMixture(3, random_state=0).fit(X)
    >>> display = DensityDisplay.from_estimator(mixture, X, columns=[2])
    >>> len(display.component_lines_)
    3
    """

    line_: Line2D | None
    component_lines_: list[Line2D]
    histogram_: BarContainer | None
    contours_: QuadContourSet | None
    points_: Any

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any = None,
        *,
        columns: Columns | None = None,
        masses: Sequence[float] = (0.25, 0.5, 0.75, 0.95),
        ax: Axes | None = None,
    ) -> Self:
        """Draw the density of a fitted mixture.

        Parameters
        ----------
        columns : sequence of one or two int or str, optional
            Indices or names of the columns; the first two, or the only one, by default.

        Raises
        ------
        ValueError
            If there are no such columns, or a share is not between 0 and 1.
        """
        return cls(project(estimator, X, columns, at_most=2)).plot(masses=masses, ax=ax)

    def plot(
        self,
        *,
        masses: Sequence[float] = (0.25, 0.5, 0.75, 0.95),
        n_points: int = 200,
        ax: Axes | None = None,
    ) -> Self:
        """Draw the density.

        Parameters
        ----------
        n_points : int, default=200
            Number of grid points in each direction, from which contours are computed.

        Raises
        ------
        ValueError
            If a share is not between 0 and 1.
        """
        masses = panels.check_masses(masses)
        ax = self._begin(ax, figsize=(6.8, 4.8))
        self.line_, self.component_lines_, self.histogram_ = None, [], None
        self.contours_, self.points_ = None, []
        if self.projection.parameters.n_features == 1:
            self._draw_lines(ax)
        else:
            self._draw_contours(ax, masses, n_points)
        return self._end(ax)

    def _draw_lines(self, ax: Axes) -> None:
        from matplotlib.lines import Line2D

        shown = self.projection
        self.line_, self.component_lines_, self.histogram_ = panels.draw_density_lines(ax, shown)
        ax.set(xlabel=shown.names[0], ylabel="Density")
        mixture = Line2D([], [], color=panels.text_color(), label="mixture", **panels.TOTAL_STYLE)
        handles = [mixture, *panels.component_handles(shown, noise=False)]
        panels.legend_beside(ax, handles, "Components")

    def _draw_contours(self, ax: Axes, masses: Sequence[float], n_points: int) -> None:
        from matplotlib.colors import to_rgba
        from matplotlib.patches import Patch

        shown = self.projection
        if shown.rows is not None:
            bare = Projection(shown.parameters, shown.names, shown.rows)
            self.points_ = panels.draw_points(ax, bare)
            for points in self.points_ if isinstance(self.points_, list) else []:
                points.set_color(panels.NOISE_COLOR)
        x, y = (np.linspace(*panels.span(shown, column), n_points) for column in (0, 1))
        points = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
        density = panels.densities(shown.parameters, points).sum(axis=0)
        levels = levels_of_masses(density, masses)
        if len(np.unique(levels)) < len(set(masses)):
            raise ValueError(
                "the components are too small to be drawn where the rows lie: draw them without "
                "rows, or with those near to them"
            )
        shades = [to_rgba(_CONTOUR_COLOR, 0.14 + 0.5 * i / len(masses)) for i in range(len(masses))]
        grid = density.reshape(n_points, n_points)
        ax.contourf(x, y, grid, levels=[*levels, np.inf], colors=shades, zorder=1.5)
        self.contours_ = ax.contour(
            x, y, grid, levels=levels, colors=_CONTOUR_COLOR, linewidths=1.0, zorder=2.0
        )
        ax.set(xlim=x[[0, -1]], ylim=y[[0, -1]], xlabel=shown.names[0], ylabel=shown.names[1])
        handles = [
            Patch(facecolor=shade, edgecolor=_CONTOUR_COLOR, label=panels.percentages([mass]))
            for mass, shade in zip(masses, shades, strict=True)
        ]
        panels.legend_beside(ax, handles, "Smallest region\nthat holds")


def levels_of_masses(density: FloatArray, masses: Sequence[float]) -> FloatArray:
    """Return the densities above which shares of the probability lie."""
    descending = np.sort(density)[::-1]
    with np.errstate(invalid="ignore"):
        share = np.cumsum(descending) / descending.sum()
    levels: FloatArray = descending[np.searchsorted(share, masses).clip(max=len(share) - 1)]
    return levels
