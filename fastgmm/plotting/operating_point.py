"""Performance of score thresholds on labeled rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from fastgmm.plotting import panels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure
    from matplotlib.lines import Line2D
    from numpy.typing import ArrayLike

    from fastgmm.estimators.operating_point import OperatingPoint
    from fastgmm.estimators.outlier_detector import GaussianMixtureOutlierDetector
    from fastgmm.estimators.shared.interfaces import Rows, Weights

_MARGIN = 0.02


@panels.documented(
    """
    operating_point : OperatingPoint
        Performance of the threshold, and the curves.
    name : str, optional
        Name of the curves in the legends, instead of `estimator_name`.
    ax : sequence of two matplotlib Axes, optional
        Axes to plot on; by default a new figure is created.
    """
)
class OperatingPointDisplay:
    """The ROC and the precision-recall curve of an outlier detector, with its threshold.

    Create the display with `from_estimator` or `from_operating_point`.

    Parameters
    ----------
    estimator_name : str, optional
        Name of the curves in the legends.

    Attributes
    ----------
    ax_ : ndarray of shape (2,) of matplotlib Axes
        The axes of the receiver operating characteristic and of the precision-recall curve.
    figure_ : matplotlib Figure
        Figure containing the axes.
    lines_ : tuple of two matplotlib Line2D
        The two curves.
    markers_ : tuple of two matplotlib Line2D
        The threshold on each of them.
    chance_lines_ : tuple of two matplotlib Line2D
        The chance level of each curve.

    Examples
    --------
    >>> import numpy as np
    >>> from fastgmm import GaussianMixtureOutlierDetector
    >>> from fastgmm.plotting import OperatingPointDisplay
    >>> X = np.random.default_rng(0).normal(size=(300, 2))
    >>> is_outlier = np.arange(300) < 30
    >>> X[is_outlier] *= 4.0
    >>> detector = GaussianMixtureOutlierDetector().fit(X)
    >>> point = detector.choose_threshold(X, is_outlier, "precision", 0.9)
    >>> display = OperatingPointDisplay.from_estimator(detector)
    >>> [each.get_xlabel() for each in display.ax_]
    ['False positive rate', 'Recall']
    """

    ax_: np.ndarray[Any, Any]
    figure_: Figure | SubFigure
    lines_: tuple[Line2D, Line2D]
    markers_: tuple[Line2D, Line2D]
    chance_lines_: tuple[Line2D, Line2D]

    def __init__(
        self, operating_point: OperatingPoint, *, estimator_name: str | None = None
    ) -> None:
        self.operating_point = operating_point
        self.estimator_name = estimator_name

    @classmethod
    def from_estimator(
        cls,
        estimator: GaussianMixtureOutlierDetector,
        X: Rows = None,
        y: ArrayLike | None = None,
        *,
        sample_weight: Weights = None,
        name: str | None = None,
        ax: Sequence[Axes] | None = None,
        **line_kwargs: Any,
    ) -> Self:
        """Draw the performance of the threshold of a fitted detector.

        Parameters
        ----------
        estimator : GaussianMixtureOutlierDetector
            A fitted detector.
        X, y, sample_weight : optional
            Labeled rows, as for `GaussianMixtureOutlierDetector.operating_point`; by default those
            that the threshold was chosen from.
        name : str, optional
            Name of the curves in the legends; the class by default.

        Raises
        ------
        ValueError
            If the labels are invalid or missing.
        """
        from sklearn.utils.validation import check_is_fitted

        check_is_fitted(estimator)
        if (X is None) != (y is None):
            raise ValueError("X and y go together: give both, or neither")
        if X is not None and y is not None:
            point = estimator.operating_point(X, y, sample_weight=sample_weight)
        elif hasattr(estimator, "operating_point_"):
            point = estimator.operating_point_
        else:
            raise ValueError(
                "the threshold was not chosen from labeled rows: use choose_threshold first, or "
                "give labeled rows as X and y"
            )
        if name is None:
            name = type(estimator).__name__
        return cls.from_operating_point(point, name=name, ax=ax, **line_kwargs)

    @classmethod
    def from_operating_point(
        cls,
        operating_point: OperatingPoint,
        *,
        name: str | None = None,
        ax: Sequence[Axes] | None = None,
        **line_kwargs: Any,
    ) -> Self:
        """Draw the performance of a threshold."""
        return cls(operating_point, estimator_name=name).plot(ax=ax, **line_kwargs)

    def plot(
        self,
        *,
        name: str | None = None,
        ax: Sequence[Axes] | None = None,
        **line_kwargs: Any,
    ) -> Self:
        """Draw both curves, the threshold on them, and the chance level.

        Raises
        ------
        ValueError
            If there are not two axes to draw in.
        """
        pyplot = panels.pyplot()
        if ax is None:
            _, ax = pyplot.subplots(1, 2, figsize=(9.0, 5.3), layout="compressed")
        axes = np.atleast_1d(np.asarray(ax, dtype=object)).ravel()
        if len(axes) != 2:
            raise ValueError(f"there are two curves to draw: give two axes; got {len(axes)}")
        name = name or self.estimator_name
        prefix = "" if name is None else f"{name}: "
        point = self.operating_point
        threshold = f"threshold {point.offset:.4g} nats: recall {point.recall:.3f}"
        threshold = threshold.replace("-", "\N{MINUS SIGN}")
        drawn = [
            self._draw(
                axes[0],
                (point.false_positive_rates, point.recalls),
                (point.false_positive_rate, point.recall),
                ([0.0, 1.0], [0.0, 1.0]),
                (
                    f"{prefix}area {point.roc_auc:.3f}",
                    f"{threshold}, false positive rate {point.false_positive_rate:.3f}",
                    "chance",
                ),
                {},
                line_kwargs,
            ),
            self._draw(
                axes[1],
                (point.recalls, point.precisions),
                (point.recall, point.precision),
                ([0.0, 1.0], [point.outlier_share] * 2),
                (
                    f"{prefix}average precision {point.average_precision:.3f}",
                    f"{threshold}, precision {point.precision:.3f}",
                    f"chance: precision {point.outlier_share:.3f}",
                ),
                # Each gain of recall has the precision after it, as in the average precision.
                {"drawstyle": "steps-pre"},
                line_kwargs,
            ),
        ]
        self.lines_, self.markers_, self.chance_lines_ = zip(*drawn, strict=True)
        axes[0].set(
            xlabel="False positive rate",
            ylabel="Recall (true positive rate)",
            title="Receiver operating characteristic",
        )
        axes[1].set(xlabel="Recall", ylabel="Precision", title="Precision and recall")
        for each in axes:
            # Below the axes: wherever it is inside, it covers the curves of some detector.
            each.legend(
                loc="upper center", bbox_to_anchor=(0.5, -0.12), frameon=False, fontsize="small"
            )
        self.ax_ = axes
        self.figure_ = axes[0].figure
        return self

    def _draw(
        self,
        ax: Axes,
        curve: tuple[Any, Any],
        chosen: tuple[float, float],
        chance: tuple[Any, Any],
        labels: tuple[str, str, str],
        style: dict[str, Any],
        line_kwargs: dict[str, Any],
    ) -> tuple[Line2D, Line2D, Line2D]:
        """Draw one of the curves, the threshold on it, and chance; return the lines."""
        (line,) = ax.plot(*curve, **{"label": labels[0], "clip_on": False, **style, **line_kwargs})
        (marker,) = ax.plot(
            *chosen,
            "o",
            label=labels[1],
            color=line.get_color(),
            # A ring in the color of the text stands out in light and dark styles alike.
            markeredgecolor=ax.xaxis.label.get_color(),
            markeredgewidth=1.5,
            markersize=9,
            linestyle="none",
            clip_on=False,
            zorder=line.get_zorder() + 1,
        )
        (chance_line,) = ax.plot(
            *chance, "--", label=labels[2], color="gray", linewidth=1.0, zorder=1
        )
        limits = (-_MARGIN, 1.0 + _MARGIN)
        ax.set(xlim=limits, ylim=limits, aspect="equal")
        panels.tidy(ax)
        ax.grid(alpha=0.3)
        return line, marker, chance_line
