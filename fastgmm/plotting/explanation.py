"""Why one row is an outlier: a bar for each feature."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike

from fastgmm.estimators.shared.interfaces import Rows
from fastgmm.plotting import panels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.container import BarContainer

_MOST_BARS = 20
"""Features beyond the most surprising ones are left out."""


@panels.documented()
class ExplanationDisplay(panels.Display):
    """How surprising each feature of a row is given the others.

    The bars are sorted, and up to twenty. Beside each stands the value of the feature, and the one
    that is most probable given the others.

    Parameters
    ----------
    row : array-like of shape (n_features,)
        The row.
    surprises : array-like of shape (n_features,)
        How surprising each value is, in nats, as `Explanations.surprises` has it.
    expected : array-like of shape (n_features,)
        The most probable values.
    feature_names : sequence of str, optional
        Names of the features.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes of the plot.
    figure_ : matplotlib Figure
        Figure containing the axes.
    bars_ : matplotlib BarContainer
        The bars, from the most surprising feature on.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from fastgmm import GaussianMixtureOutlierDetector
    >>> from fastgmm.plotting import ExplanationDisplay
    >>> X = load_iris().data
    >>> detector = GaussianMixtureOutlierDetector(3, random_state=0).fit(X)
    >>> display = ExplanationDisplay.from_estimator(detector, [[5.1, 3.5, 1.4, 5.0]])
    >>> display.ax_.get_yticklabels()[0].get_text()
    'x3 = 5'
    """

    bars_: BarContainer

    def __init__(
        self,
        row: ArrayLike,
        surprises: ArrayLike,
        expected: ArrayLike,
        *,
        feature_names: Sequence[str] | None = None,
    ) -> None:
        self.row = row
        self.surprises = surprises
        self.expected = expected
        self.feature_names = feature_names

    @classmethod
    def from_estimator(cls, estimator: Any, X: Rows, *, ax: Axes | None = None) -> Self:
        """Explain a row and draw the explanation.

        Parameters
        ----------
        estimator : estimator
            A fitted mixture or outlier detector.
        X : array-like of shape (1, n_features)
            The row.

        Raises
        ------
        ValueError
            If `X` has not exactly one row.
        """
        found = estimator.explain(X)
        if len(found.surprises) != 1:
            raise ValueError(f"the display is of one row; got {len(found.surprises)}: pick one")
        names = getattr(estimator, "feature_names_in_", None)
        row = np.asarray(X, dtype=np.float64)[0]
        display = cls(row, found.surprises[0], found.expected[0], feature_names=names)
        return display.plot(ax=ax)

    def plot(self, *, ax: Axes | None = None) -> Self:
        """Draw the bars."""
        row, surprises, expected = (
            np.asarray(each, dtype=np.float64) for each in (self.row, self.surprises, self.expected)
        )
        names = self.feature_names
        if names is None:
            names = [f"x{j}" for j in range(len(row))]
        shown = np.argsort(-surprises, kind="stable")[:_MOST_BARS]
        ax = self._begin(ax, figsize=(6.4, 1.2 + 0.32 * len(shown)))
        places = np.arange(len(shown))
        self.bars_ = ax.barh(places, surprises[shown], color=panels.component_styles(1)[0][0])
        ax.set_yticks(places, [f"{names[j]} = {row[j]:.4g}" for j in shown])
        ax.bar_label(self.bars_, [f" {expected[j]:.4g} expected" for j in shown], fontsize="small")
        ax.invert_yaxis()
        ax.margins(x=0.25)
        ax.set(xlabel="Surprise given the other features [nats]")
        return self._end(ax)
