"""The parts that plots of mixtures consist of: points, ellipses and densities in one axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from itertools import cycle, islice, product
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np

from fastgmm import docstrings
from fastgmm.extras import import_from_extra
from fastgmm.mixture.parameters import MixtureParameters
from fastgmm.plotting.projection import FloatArray, Projection

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import PathCollection, PolyCollection
    from matplotlib.figure import Figure, SubFigure
    from matplotlib.lines import Line2D
    from matplotlib.patches import Ellipse

_LineStyle = Literal["-", "--", ":", "-."]

MOST_POINTS = 50_000
"""With more rows, points hide each other, and their counts are drawn."""

NOISE_COLOR = "#888888"

MOST_IN_LEGEND = 16

_CONTRAST = 0.25
"""How different the lightness of colors is, from 0 to 1, that are told apart at a glance."""

_CENTRAL = (0.05, 0.95)
_MARGIN = 3.0
"""How far from the central rows others are drawn, in units of the width of these."""

TOTAL_STYLE: dict[str, Any] = {"linewidth": 4.0, "alpha": 0.4}
"""Of the line of a whole mixture, beside those of its components."""

# Okabe and Ito's colors (2008, "Color universal design"), which people with any color vision can
# distinguish, without black and yellow, one of which every background hides.
_COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9")
_LINE_STYLES: tuple[_LineStyle, ...] = ("-", "--", ":", "-.")

_STANDARD_DEVIATIONS = 3.5
"""How far around its mean a component is drawn, where it is not cut off by a mass."""


def pyplot() -> Any:
    """Return matplotlib's pyplot, or say which extra brings it."""
    return import_from_extra(
        "matplotlib.pyplot", package="matplotlib", extra="plot", purpose="drawing"
    )


_SHARED = docstrings.entries_of(
    """
    estimator : estimator
        A fitted mixture, outlier detector or `MixtureSearch`.
    X : array-like of shape (n_samples, n_features), optional
        Rows to draw, with all columns of the mixture; or anything that `open_data` takes.
    ax : matplotlib Axes, optional
        Axes to plot on; by default a new figure is created.
    **line_kwargs : dict
        Keyword arguments passed to matplotlib's ``plot``.
    """
)

documented = partial(
    docstrings.documented, shared=_SHARED, returned="The display, with the plot drawn."
)


class Display:
    """What the Displays of one axes have in common."""

    ax_: Axes
    figure_: Figure | SubFigure

    def _begin(self, ax: Axes | None, **figure_kwargs: Any) -> Axes:
        """Return the axes to plot on, those of a new figure by default."""
        if ax is None:
            _, ax = pyplot().subplots(layout="constrained", **figure_kwargs)
        return ax

    def _end(self, ax: Axes, *, with_grid: bool = False) -> Self:
        """Give axes the look that all plots share, and keep them."""
        tidy(ax)
        if with_grid:
            ax.grid(axis="y", alpha=0.3)
        self.ax_, self.figure_ = ax, ax.figure
        return self


class ProjectedDisplay(Display):
    """What the Displays of some columns of a mixture have in common."""

    def __init__(self, projection: Projection) -> None:
        self.projection = projection


def component_styles(n_components: int) -> list[tuple[str, _LineStyle]]:
    """Return a color and a line style for each component, all different for up to 24."""
    styles = ((color, line) for line, color in product(_LINE_STYLES, _COLORS))
    return list(islice(cycle(styles), n_components))


def text_color() -> str:
    """Return the color of text, which stands out in light and dark styles alike."""
    color: str = pyplot().rcParams["text.color"]
    return color


def check_masses(masses: Sequence[float]) -> tuple[float, ...]:
    """Return shares of probability from the largest to the smallest, or raise a ValueError."""
    checked = tuple(sorted((float(mass) for mass in masses), reverse=True))
    if not checked or not all(0.0 < mass < 1.0 for mass in checked):
        raise ValueError(f"masses must be numbers between 0 and 1; got {masses!r}")
    return checked


def percentages(masses: Sequence[float]) -> str:
    """Return shares in words, from the smallest on."""
    shown = [f"{100.0 * mass:g} %" for mass in sorted(masses)]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


def covariances_of(parameters: MixtureParameters) -> FloatArray:
    """Return covariance matrices, shape (n_components, n_columns, n_columns)."""
    found = parameters.covariances()
    return found[:, :, None] * np.eye(parameters.n_features) if found.ndim == 2 else found


def ellipse_shape(covariance: FloatArray, mass: float) -> tuple[float, float, float]:
    """Return the ellipse that holds a share of a Gaussian in the plane.

    Squared distances from the mean, in units of the covariance, have the χ² distribution with two
    degrees of freedom, whose quantile is -2 log(1 - mass).
    """
    variances, axes = np.linalg.eigh(covariance)
    radius = math.sqrt(-2.0 * math.log1p(-mass))
    minor, major = 2.0 * radius * np.sqrt(np.maximum(variances, 0.0))
    return float(major), float(minor), math.degrees(math.atan2(axes[1, 1], axes[0, 1]))


def draw_points(ax: Axes, shown: Projection) -> list[PathCollection] | PolyCollection:
    """Draw rows in the colors of their components, or their counts where they are many."""
    rows = shown.rows
    assert rows is not None
    if len(rows) > MOST_POINTS:
        complete = rows[np.isfinite(rows).all(axis=1)]
        x, y = complete.T
        # Few rows have the color that is nearer to the background's.
        grays = visible_colors(ax, "Greys_r" if _is_dark(ax) else "Greys")
        extent = (*span(shown, 0), *span(shown, 1))
        return ax.hexbin(
            x, y, gridsize=80, cmap=grays, bins="log", mincnt=1, linewidths=0.1, extent=extent
        )
    labels = np.zeros(len(rows), dtype=np.int64) if shown.labels is None else shown.labels
    styles = component_styles(shown.parameters.n_components)
    points = []
    for k in np.unique(labels):
        own = rows[labels == k]
        marks: dict[str, Any] = {"marker": "x", "color": NOISE_COLOR, "linewidths": 0.8}
        if k >= 0:
            marks = {"marker": "o", "color": styles[k][0], "linewidths": 0.0}
        x, y = own.T
        many = len(rows) > 5000
        area = point_area(len(rows))
        points.append(ax.scatter(x, y, s=area, alpha=0.65, zorder=1.0, rasterized=many, **marks))
    return points


def _is_dark(ax: Axes) -> bool:
    """Say whether the background of axes is nearer to black than to white."""
    from matplotlib.colors import to_rgb

    return sum(to_rgb(ax.get_facecolor())) < 1.5


def visible_colors(ax: Axes, name: str) -> Any:
    """Return a colormap without the colors that are too near to the background's to be seen."""
    from matplotlib.colors import ListedColormap, to_rgb

    colors = pyplot().get_cmap(name)(np.linspace(0.0, 1.0, 512))
    lightness = colors[:, :3].mean(axis=1)
    background = sum(to_rgb(ax.get_facecolor())) / 3.0
    return ListedColormap(colors[abs(lightness - background) > _CONTRAST], name)


def point_area(n_rows: int) -> float:
    """Return the area of a point, in square points: smaller where there are many."""
    return float(np.clip(600.0 / math.sqrt(n_rows), 2.0, 22.0))


def draw_ellipses(
    ax: Axes, parameters: MixtureParameters, masses: Sequence[float]
) -> list[tuple[Ellipse, ...]]:
    """Draw the ellipses that hold shares of each component."""
    from matplotlib.colors import to_rgba
    from matplotlib.patches import Ellipse

    drawn = []
    styles = component_styles(parameters.n_components)
    for mean, covariance, (color, line) in zip(
        parameters.means, covariances_of(parameters), styles, strict=True
    ):
        ellipses = []
        for mass in masses:
            width, height, angle = ellipse_shape(covariance, mass)
            ellipse = Ellipse(
                (float(mean[0]), float(mean[1])),
                width,
                height,
                angle=angle,
                facecolor=to_rgba(color, 0.12),
                edgecolor=color,
                linestyle=line,
                linewidth=1.5,
                zorder=2.0,
            )
            ax.add_patch(ellipse)
            ellipses.append(ellipse)
        drawn.append(tuple(ellipses))
    ax.autoscale_view()
    return drawn


def draw_means(ax: Axes, parameters: MixtureParameters) -> Line2D:
    """Draw the means of two columns as crosses, and return them."""
    from matplotlib import patheffects

    background = pyplot().rcParams["axes.facecolor"]
    (means,) = ax.plot(
        *parameters.means.T,
        "+",
        color=text_color(),
        markersize=8,
        markeredgewidth=1.6,
        zorder=3.0,
        path_effects=[patheffects.withStroke(linewidth=3.2, foreground=background)],
    )
    return means


def component_handles(shown: Projection, *, noise: bool = True) -> list[Any]:
    """Return what a legend shows: each component with its weight, and noise if there are rows."""
    from matplotlib.lines import Line2D

    parameters = shown.parameters
    handles = [
        Line2D([], [], color=color, linestyle=line, linewidth=2.0, label=f"{k}: weight {w:.3f}")
        for k, ((color, line), w) in enumerate(
            zip(component_styles(parameters.n_components), parameters.weights, strict=True)
        )
    ]
    if noise and shown.labels is not None and (shown.labels < 0).any():
        handles.append(
            Line2D([], [], color=NOISE_COLOR, marker="x", linestyle="none", label="noise")
        )
    return handles


def densities(parameters: MixtureParameters, points: FloatArray) -> FloatArray:
    """Return the density of each component, times its weight."""
    found = np.empty((parameters.n_components, len(points)))
    for k, (mean, whitener) in enumerate(zip(parameters.means, parameters.whiteners, strict=True)):
        offsets = points - mean
        white = offsets * whitener if parameters.is_diagonal else offsets @ whitener.T
        logarithms = parameters.log_weights[k] + parameters.log_normalizers[k]
        found[k] = np.exp(logarithms - 0.5 * np.einsum("ij,ij->i", white, white))
    return found


def span(
    shown: Projection, column: int, radius: float = _STANDARD_DEVIATIONS
) -> tuple[float, float]:
    """Return the interval in which components and all but the outermost rows of a column lie."""
    deviations = np.sqrt(covariances_of(shown.parameters)[:, column, column])
    means = shown.parameters.means[:, column]
    some = shown.parameters.weights > 0.0
    low = (means - radius * deviations)[some].min()
    high = (means + radius * deviations)[some].max()
    if shown.rows is not None:
        inner_low, inner_high = robust_limits(shown.rows[:, column])
        low, high = min(low, inner_low), max(high, inner_high)
    return float(low), float(high)


def robust_limits(values: FloatArray) -> tuple[float, float]:
    """Return the interval of values, without those far from the central nine tenths of them."""
    present = values[np.isfinite(values)]
    low, high = np.quantile(present, _CENTRAL)
    margin = _MARGIN * (high - low)
    near = present[(present >= low - margin) & (present <= high + margin)]
    return float(near.min()), float(near.max())


def limit(ax: Axes, *intervals: tuple[float, float]) -> None:
    """Let axes show intervals of x and y, with a margin."""
    margins = [0.04 * (high - low) or 1.0 for low, high in intervals]
    wide = [(low - m, high + m) for (low, high), m in zip(intervals, margins, strict=True)]
    ax.set(xlim=wide[0], ylim=wide[1])


def ellipse_limits(shown: Projection, mass: float) -> list[tuple[float, float]]:
    """Return the intervals in which ellipses and rows of two columns lie."""
    radius = math.sqrt(-2.0 * math.log1p(-mass))
    return [span(shown, column, radius) for column in (0, 1)]


def draw_density_lines(
    ax: Axes, shown: Projection, *, n_points: int = 512
) -> tuple[Line2D, list[Line2D], Any]:
    """Draw the density of one column over a histogram of the rows."""
    grid = np.linspace(*span(shown, 0), n_points)
    parameters = shown.parameters
    deviations = np.sqrt(covariances_of(parameters)[:, 0, 0])
    # A narrow component must not fall between the points.
    around = parameters.means + deviations[:, None] * np.linspace(-4.0, 4.0, 65)
    grid = np.unique(np.concatenate([grid, around.ravel()]).clip(grid[0], grid[-1]))
    found = densities(parameters, grid[:, None])
    histogram = None
    if shown.rows is not None:
        values = shown.rows[:, 0]
        values = values[np.isfinite(values)]
        n_bins = int(np.clip(2.0 * len(values) ** (1 / 3) + 4, 10, 120))
        edges = np.histogram_bin_edges(values, n_bins, robust_limits(values))
        _, _, histogram = ax.hist(
            values,
            bins=edges.tolist(),
            weights=np.full(len(values), 1.0 / (len(values) * (edges[1] - edges[0]))),
            color=NOISE_COLOR,
            alpha=0.35,
            zorder=0.5,
        )
    component_lines = []
    for own, (color, line) in zip(found, component_styles(parameters.n_components), strict=True):
        component_lines += ax.plot(grid, own, color=color, linestyle=line, linewidth=1.5)
    # Wide and below: where a single component has all the density, both lines are seen.
    (total,) = ax.plot(grid, found.sum(axis=0), zorder=1.5, **TOTAL_STYLE, color=text_color())
    ax.set_ylim(bottom=0.0)
    return total, component_lines, histogram


def tidy(ax: Axes) -> None:
    """Give axes the look that all plots share."""
    ax.spines[["top", "right"]].set_visible(False)


def legend_beside(ax: Axes, handles: list[Any], title: str | None) -> None:
    """Put a legend to the right of the axes, where it covers nothing."""
    if len(handles) > MOST_IN_LEGEND:
        hidden = len(handles) - MOST_IN_LEGEND
        from matplotlib.lines import Line2D

        rest = Line2D([], [], linestyle="none", label=f"and {hidden} more")
        handles = [*handles[:MOST_IN_LEGEND], rest]
    legend = ax.legend(
        handles=handles,
        title=title,
        loc="center left",
        bbox_to_anchor=(1.0, 0.5),
        frameon=False,
        fontsize="small",
        title_fontsize="small",
        alignment="left",
    )
    legend.set_in_layout(True)
