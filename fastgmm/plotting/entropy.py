"""The entropy of the assignment as components are merged."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np

from fastgmm.plotting import panels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D
    from numpy.typing import ArrayLike

    from fastgmm.estimators.merging import MergedComponents
    from fastgmm.estimators.shared.evaluation import MixtureEvaluation
from fastgmm.estimators.shared.interfaces import Rows, Weights

_LABELS = {
    "n_clusters": "Number of clusters",
    "n_merged": "Rows in merged clusters, summed over the merges",
}


@panels.documented(
    """
    against : {"n_clusters", "n_merged"}, default="n_clusters"
        Variable of the horizontal axis. With "n_merged", a merge that lowers the entropy more
        because it is of more rows makes the line no steeper. The lines of the elbow are drawn
        against the number of clusters only.
    """
)
class EntropyDisplay(panels.Display):
    """The entropy of the assignment to clusters, for each number of clusters.

    Create the display with `from_merging` or `from_estimator`, or from the values themselves.

    Parameters
    ----------
    n_clusters : array-like of int of shape (n,)
        Numbers of clusters, each one less than the one before.
    entropies : array-like of shape (n,)
        Entropy of the assignment to each number of clusters, in nats.
    n_merged : array-like of shape (n,), optional
        Number of rows in merged clusters, summed over the merges.
    elbow : int, optional
        The number of clusters to mark, as the knot of two lines fitted to the entropies.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes of the plot.
    figure_ : matplotlib Figure
        Figure containing the axes.
    line_ : matplotlib Line2D
        The entropies.
    fitted_lines_ : tuple of matplotlib Line2D
        The two lines of the elbow, if they are drawn.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from fastgmm import GaussianMixture
    >>> from fastgmm.plotting import EntropyDisplay
    >>> X = load_iris().data
    >>> mixture = GaussianMixture(5, covariance_type="diag", random_state=0).fit(X)
    >>> display = EntropyDisplay.from_estimator(mixture, X)
    >>> display.ax_.get_ylabel()
    'Entropy of the assignment [nats]'
    """

    line_: Line2D
    fitted_lines_: tuple[Line2D, ...]

    def __init__(
        self,
        n_clusters: ArrayLike,
        entropies: ArrayLike,
        *,
        n_merged: ArrayLike | None = None,
        elbow: int | None = None,
    ) -> None:
        self.n_clusters = n_clusters
        self.entropies = entropies
        self.n_merged = n_merged
        self.elbow = elbow

    @classmethod
    def from_estimator(
        cls,
        estimator: MixtureEvaluation,
        X: Rows,
        sample_weight: Weights = None,
        *,
        against: Literal["n_clusters", "n_merged"] = "n_clusters",
        ax: Axes | None = None,
        **line_kwargs: Any,
    ) -> Self:
        """Merge the components of a fitted mixture and draw the entropies.

        Parameters
        ----------
        estimator : GaussianMixture
            A fitted mixture.
        X, sample_weight
            As for `fastgmm.merge_components`.
        """
        from fastgmm.estimators.merging import merge_components

        merging = merge_components(estimator, X, sample_weight)
        return cls.from_merging(merging, against=against, ax=ax, **line_kwargs)

    @classmethod
    def from_merging(
        cls,
        merging: MergedComponents,
        *,
        against: Literal["n_clusters", "n_merged"] = "n_clusters",
        ax: Axes | None = None,
        **line_kwargs: Any,
    ) -> Self:
        """Draw the entropies of clusterings.

        Parameters
        ----------
        merging : MergedComponents
            What `fastgmm.merge_components` returned.
        """
        display = cls(
            merging.n_clusters,
            merging.entropies,
            n_merged=merging.n_merged,
            elbow=merging.elbow,
        )
        return display.plot(against=against, ax=ax, **line_kwargs)

    def plot(
        self,
        *,
        against: Literal["n_clusters", "n_merged"] = "n_clusters",
        ax: Axes | None = None,
        **line_kwargs: Any,
    ) -> Self:
        """Draw the entropies.

        Raises
        ------
        ValueError
            If `against` is neither of the two, or is "n_merged" without these numbers.
        """
        if against not in _LABELS:
            raise ValueError(f"against must be one of {', '.join(_LABELS)}; got {against!r}")
        if against == "n_merged" and self.n_merged is None:
            raise ValueError("against='n_merged' needs the numbers: give n_merged to the display")
        ax = self._begin(ax)
        numbers = np.asarray(self.n_clusters)
        entropies = np.asarray(self.entropies, dtype=np.float64)
        by_number = against == "n_clusters"
        x = numbers if by_number else np.asarray(self.n_merged)
        style = {"marker": "o", "markersize": 4.5, "linewidth": 1.0, **line_kwargs}
        (self.line_,) = ax.plot(x, entropies, **style)
        self.fitted_lines_ = ()
        for place in np.flatnonzero(numbers == self.elbow)[:1]:
            self._mark_elbow(ax, int(place), x, entropies, with_lines=by_number)
        if by_number:
            ax.locator_params(axis="x", integer=True)
        else:
            for number, *point in zip(numbers, x, entropies, strict=True):
                if number != self.elbow:
                    _write(ax, str(number), point, (5, 5), color="gray")
        ax.set(xlabel=_LABELS[against], ylabel="Entropy of the assignment [nats]")
        return self._end(ax, with_grid=True)

    def _mark_elbow(
        self,
        ax: Axes,
        place: int,
        x: np.ndarray[Any, Any],
        entropies: np.ndarray[Any, Any],
        *,
        with_lines: bool,
    ) -> None:
        """Circle the elbow, and draw the two lines that meet there or nearly so."""
        if with_lines and 0 < place < len(x) - 1:
            from fastgmm.analysis.merging import two_lines

            (_, left), (_, right) = two_lines(entropies, place)
            style: dict[str, Any] = {"color": "gray", "linewidth": 1.0, "zorder": 1}
            self.fitted_lines_ = (
                *ax.plot(x[: place + 1], left, "--", **style),
                *ax.plot(x[place:], right, "--", **style),
            )
        point = (x[place], entropies[place])
        ring: dict[str, Any] = {"fillstyle": "none", "color": panels.text_color()}
        ax.plot(*point, "o", markersize=12, zorder=3, **ring)
        # Below the line, which rises to the right, or above one that falls to it.
        offset, below = ((12, -3), "center") if with_lines else ((8, 8), "bottom")
        _write(ax, f"{self.elbow} clusters", point, offset, va=below)


def _write(ax: Axes, text: str, point: Any, offset: tuple[int, int], **style: Any) -> None:
    """Write beside a point."""
    ax.annotate(text, point, xytext=offset, textcoords="offset points", **style)
