"""A mixture in the plane of two columns: the ellipses of its components over the rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

from fastgmm.plotting import panels
from fastgmm.plotting.projection import Columns, project

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import PathCollection, PolyCollection
    from matplotlib.lines import Line2D
    from matplotlib.patches import Ellipse


@panels.documented(
    """
    masses : sequence of float, default=(0.5, 0.95)
        Shares of its probability that the ellipses of a component hold.
    """
)
class EllipsesDisplay(panels.ProjectedDisplay):
    """The components of a mixture as ellipses in the plane of two columns, over the rows.

    An ellipse holds a given share of its component's probability in that plane. Rows have the
    color of their component, or are gray crosses if they are noise; more than 50,000 are drawn
    as counts in hexagons.

    Parameters
    ----------
    projection : Projection
        Two columns of a mixture and, if any, of rows.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes of the plot.
    figure_ : matplotlib Figure
        Figure containing the axes.
    ellipses_ : list of tuple of matplotlib Ellipse
        For each component an ellipse for each share, from the largest to the smallest.
    points_ : list of matplotlib PathCollection
        The rows, a collection for each component that has any; empty without rows or if they are
        many.
    hexbin_ : matplotlib PolyCollection or None
        The counts of many rows.
    means_ : matplotlib Line2D
        The means.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from fastgmm import GaussianMixture
    >>> from fastgmm.plotting import EllipsesDisplay
    >>> X = load_iris().data
    >>> mixture = GaussianMixture(3, random_state=0).fit(X)
    >>> display = EllipsesDisplay.from_estimator(mixture, X, columns=[2, 3])
    >>> len(display.ellipses_), display.ax_.get_xlabel()
    (3, 'x2')
    """

    ellipses_: list[tuple[Ellipse, ...]]
    points_: list[PathCollection]
    hexbin_: PolyCollection | None
    means_: Line2D

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any = None,
        *,
        columns: Columns | None = None,
        masses: Sequence[float] = (0.5, 0.95),
        ax: Axes | None = None,
    ) -> Self:
        """Draw a fitted mixture.

        Parameters
        ----------
        columns : sequence of two int or str, optional
            Indices or names of the columns of the plane; the first two by default.

        Raises
        ------
        ValueError
            If there are no two such columns, or a share is not between 0 and 1.
        """
        return cls(project(estimator, X, columns, at_most=2)).plot(masses=masses, ax=ax)

    def plot(self, *, masses: Sequence[float] = (0.5, 0.95), ax: Axes | None = None) -> Self:
        """Draw rows, ellipses and means.

        Raises
        ------
        ValueError
            If there are no two columns, or a share is not between 0 and 1.
        """
        shown = self.projection
        masses = panels.check_masses(masses)
        if shown.parameters.n_features != 2:
            raise ValueError(
                "ellipses lie in the plane of two columns, and there is one: DensityDisplay draws "
                "a single column"
            )
        ax = self._begin(ax, figsize=(6.8, 4.8))
        self.points_, self.hexbin_ = [], None
        if shown.rows is not None:
            drawn = panels.draw_points(ax, shown)
            if isinstance(drawn, list):
                self.points_ = drawn
            else:
                self.hexbin_ = drawn
                ax.figure.colorbar(drawn, ax=ax, label="rows", location="top", shrink=0.5)
        self.ellipses_ = panels.draw_ellipses(ax, shown.parameters, masses)
        self.means_ = panels.draw_means(ax, shown.parameters)
        panels.limit(ax, *panels.ellipse_limits(shown, masses[0]))
        ax.set(xlabel=shown.names[0], ylabel=shown.names[1])
        handles = panels.component_handles(shown, noise=not self.hexbin_)
        title = f"Components\n(ellipses: {panels.percentages(masses)})"
        panels.legend_beside(ax, handles, title)
        return self._end(ax)
