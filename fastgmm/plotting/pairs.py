"""Pair plot of a mixture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from fastgmm.plotting import panels
from fastgmm.plotting.projection import Columns, project

if TYPE_CHECKING:
    from matplotlib.figure import Figure, SubFigure
    from matplotlib.lines import Line2D
    from matplotlib.patches import Ellipse

MOST_COLUMNS = 6
"""More panels would be too small to read."""


@panels.documented(
    """
    masses : sequence of float, default=(0.5, 0.95)
        Shares of its probability that the ellipses of a component hold.
    axes : array-like of shape (n_columns, n_columns) of matplotlib Axes, optional
        Axes to plot on; by default a new figure is created.
    """
)
class PairsDisplay(panels.ProjectedDisplay):
    """A mixture in every pair of columns: ellipses over the rows, and densities on the diagonal.

    Parameters
    ----------
    projection : Projection
        Two to six columns of a mixture and, if any, of rows.

    Attributes
    ----------
    axes_ : ndarray of shape (n_columns, n_columns) of matplotlib Axes
        The panels; those above the diagonal are empty.
    figure_ : matplotlib Figure
        Figure containing the axes.
    ellipses_ : dict of (int, int) to list of tuple of matplotlib Ellipse
        By line and column of a panel, for each component an ellipse for each share.
    lines_ : list of matplotlib Line2D
        The density of each column.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from fastgmm import GaussianMixture
    >>> from fastgmm.plotting import PairsDisplay
    >>> X = load_iris().data
    >>> mixture = GaussianMixture(3, random_state=0).fit(X)
    >>> PairsDisplay.from_estimator(mixture, X).axes_.shape
    (4, 4)
    """

    axes_: np.ndarray[Any, Any]
    figure_: Figure | SubFigure
    ellipses_: dict[tuple[int, int], list[tuple[Ellipse, ...]]]
    lines_: list[Line2D]

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any = None,
        *,
        columns: Columns | None = None,
        masses: Sequence[float] = (0.5, 0.95),
        axes: Any = None,
    ) -> Self:
        """Draw a fitted mixture.

        Parameters
        ----------
        columns : sequence of two to six int or str, optional
            Indices or names of the columns; the first ones by default.

        Raises
        ------
        ValueError
            If there are no such columns, or a share is not between 0 and 1.
        """
        shown = project(estimator, X, columns, at_most=MOST_COLUMNS)
        return cls(shown).plot(masses=masses, axes=axes)

    def plot(self, *, masses: Sequence[float] = (0.5, 0.95), axes: Any = None) -> Self:
        """Draw all panels.

        Raises
        ------
        ValueError
            If there is a single column, the axes are not as many as the panels, or a share is not
            between 0 and 1.
        """
        pyplot = panels.pyplot()
        shown = self.projection
        masses = panels.check_masses(masses)
        n_columns = shown.parameters.n_features
        if n_columns < 2:
            raise ValueError("pairs need two columns: DensityDisplay draws a single one")
        if axes is None:
            side = 1.2 + 1.9 * n_columns
            _, axes = pyplot.subplots(
                n_columns, n_columns, figsize=(side, side), layout="constrained"
            )
        axes = np.asarray(axes, dtype=object)
        if axes.shape != (n_columns, n_columns):
            raise ValueError(
                f"{n_columns} columns have {n_columns} × {n_columns} panels: give axes of that "
                f"shape; got {axes.shape}"
            )
        self.ellipses_, self.lines_ = {}, []
        for i in range(n_columns):
            for j in range(n_columns):
                self._draw_panel(axes[i, j], i, j, masses)
        for j in range(n_columns):
            limits = axes[-1, j].get_xlim() if j < n_columns - 1 else axes[-1, 0].get_ylim()
            for i in range(j, n_columns):
                axes[i, j].set_xlim(limits)
            for k in range(j):
                axes[j, k].set_ylim(limits)
        self._add_legend(axes, masses)
        self.axes_ = axes
        self.figure_ = axes[0, 0].figure
        return self

    def _draw_panel(self, ax: Any, i: int, j: int, masses: Sequence[float]) -> None:
        """Draw one panel, in line i and column j."""
        shown = self.projection
        last = shown.parameters.n_features - 1
        if j > i:
            ax.set_axis_off()
            return
        panels.tidy(ax)
        ax.locator_params(nbins=4)
        ax.tick_params(labelsize="small", labelbottom=i == last, labelleft=0 == j < i)
        if i == last:
            ax.set_xlabel(shown.names[j])
        if i == j:
            line, _, _ = panels.draw_density_lines(ax, shown.of([i]))
            self.lines_.append(line)
            ax.set_yticks([])
            ax.spines["left"].set_visible(False)
        else:
            pair = shown.of([j, i])
            if pair.rows is not None:
                panels.draw_points(ax, pair)
            self.ellipses_[i, j] = panels.draw_ellipses(ax, pair.parameters, masses)
            panels.limit(ax, *panels.ellipse_limits(pair, masses[0]))
        if j == 0:
            ax.set_ylabel(shown.names[i])

    def _add_legend(self, axes: Any, masses: Sequence[float]) -> None:
        """Put the legend in the empty corner."""
        shown = self.projection
        handles = panels.component_handles(shown)
        axes[0, -1].legend(
            handles=handles[: panels.MOST_IN_LEGEND],
            title=f"Components\n(ellipses: {panels.percentages(masses)})",
            loc="upper right",
            bbox_to_anchor=(1.0, 1.0),
            frameon=False,
            fontsize="small",
            title_fontsize="small",
            alignment="left",
        ).set_in_layout(False)
