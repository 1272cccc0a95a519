"""A pass over rows of which some values are only known to lie below or above a limit.

Rows without such values take the pass over rows that may lack some. The others take one of their
own, whose formulas are in `kernels.passes.limit_pass`.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from fastgmm.data.source import Rows, Source
from fastgmm.data.sources.limited import LimitedRows
from fastgmm.em.e_step.accumulator import RunningPass
from fastgmm.em.missing.incomplete import IncompletePass, annotated_pieces, weights_of
from fastgmm.kernels.passes.limit_pass import EXPECTED_ROWS, LimitPassParameters
from fastgmm.kernels.tiles import BLOCK_ROWS
from fastgmm.mixture.parameters import MixtureParameters
from fastgmm.mixture.statistics import FloatArray

_LINE_POINTS, _LATTICE_POINTS = 127, 1021

_SHIFT = 1.0 / 3.0
"""Of the lattice, in steps of a coordinate: no point is at a side of the cube or half-way."""

_SMOOTHED = 4
"""Coordinates that are made periodic smoothly. More of them would leave few points much weight."""


class LimitedPass(IncompletePass):
    """Sums over chunks of rows, each of which is followed by what `LimitedRows` says of it."""

    def __init__(
        self, source: Source, parameters: MixtureParameters, mode: int, n_jobs: int | None
    ) -> None:
        super().__init__(source, parameters, mode, n_jobs)
        self._limited: RunningPass | None = None

    def _blocks(self, source: Source) -> Iterator[Rows]:
        assert isinstance(source, LimitedRows)
        return source.annotated_blocks()

    def _all_running(self) -> list[RunningPass]:
        own = [] if self._limited is None else [self._limited]
        return super()._all_running() + own

    def add(
        self, X: npt.NDArray[Any], weights: FloatArray | None, **by_row: npt.NDArray[Any]
    ) -> None:
        """Add a chunk of rows."""
        D = self._parameters.n_features
        has_limits = (np.abs(X[:, D:]) == 1.0).any(axis=1)
        plain, limited = np.flatnonzero(~has_limits), np.flatnonzero(has_limits)
        if len(plain):
            some = self._of_rows(plain, by_row)
            super().add(X[plain, :D], weights_of(weights, plain), **some)
            self._write(by_row, plain, some)
        if len(limited):
            if self._limited is None:
                self._limited = self._running(limit_parameters(self._parameters), self._n_rows)
            # in double precision always, for which the kernel is compiled
            some = self._of_rows(limited, by_row, np.dtype(np.float64))
            self._limited.add(_bounds(X[limited]), weights_of(weights, limited), **some)
            self._write(by_row, limited, some)


def expected_blocks(
    source: LimitedRows, parameters: MixtureParameters, *, n_jobs: int | None = None
) -> Iterator[npt.NDArray[Any]]:
    """Yield rows with their expected values in place of those that are censored or missing."""
    parameters = parameters.with_true_normalizers()
    D = source.n_features
    for some in annotated_pieces(source, 64 * BLOCK_ROWS):
        wide = some.rows.X
        found = np.array(wide[:, :D])
        unknown = np.isnan(found) | (wide[:, D:] != 0.0)
        rows = np.flatnonzero(unknown.any(axis=1))
        running = RunningPass(
            limit_parameters(parameters),
            EXPECTED_ROWS,
            diagonal=parameters.is_diagonal,
            n_rows=len(rows),
            n_jobs=n_jobs,
        )
        expected = np.empty((len(rows), D))
        running.add(_bounds(wide[rows]), None, responsibilities=expected)
        found[unknown] = expected[unknown[rows]]
        yield found


def _bounds(wide: npt.NDArray[Any]) -> FloatArray:
    """Return between what the values of rows lie, as the kernel reads it."""
    values, flags = np.hsplit(wide.astype(np.float64), 2)
    missing = np.isnan(values)
    lows = np.where(missing | (flags < 0.0), -np.inf, values)
    highs = np.where(missing | (flags > 0.0), np.inf, values)
    return np.concatenate([lows, highs], axis=1)


def limit_parameters(parameters: MixtureParameters) -> LimitPassParameters:
    """Return a mixture as the kernel reads it."""
    covariances = parameters.covariances()
    line, line_scales = lattice(_LINE_POINTS, 1)
    points, scales = lattice(_LATTICE_POINTS, max(1, parameters.n_features - 1))
    return LimitPassParameters(
        diagonal=parameters.is_diagonal,
        constants=parameters.log_weights,
        references=parameters.means.ravel(),
        covariances=covariances[:, :, None] if parameters.is_diagonal else covariances,
        line=line,
        line_scales=line_scales,
        lattice=points,
        lattice_scales=scales,
    )


@lru_cache(maxsize=8)
def lattice(n_points: int, dimension: int) -> tuple[FloatArray, FloatArray]:
    """Return points of the unit cube, and the weights of the first d coordinates of each.

    A lattice of rank 1 with generators that are found one after the other (Sloan and Reztsov, 2002,
    "Component-by-component construction of good lattice rules", Mathematics of Computation 71), for
    the worst error of functions whose first mixed derivatives are square integrable. The first
    coordinates are made periodic by u - sin(2 π u) / (2 π) (Sidi, 1993), the others by folding.

    Parameters
    ----------
    n_points, dimension : int
        Number of points, a prime, and of coordinates.

    Returns
    -------
    points, weights : ndarray of shape (n_points, dimension) and (n_points, dimension + 1)
        Coordinates, and cumulative products of what the coordinates count.
    """
    steps = np.arange(n_points)
    x = steps / n_points
    kernel = 2.0 * np.pi**2 * (x * x - x + 1.0 / 6.0)
    products = np.ones(n_points)
    points, weights = np.empty((n_points, dimension)), np.ones((n_points, dimension + 1))
    for d in range(dimension):
        gamma = 0.7**d  # later coordinates matter less
        multiples = [steps * z % n_points for z in range(1, n_points // 2 + 1)]
        errors = [products @ kernel[each] for each in multiples] if d else [0.0]
        chosen = multiples[int(np.argmin(errors))]
        products *= 1.0 + gamma * kernel[chosen]
        u = (chosen + _SHIFT) / n_points
        smooth = d < _SMOOTHED
        angles = 2.0 * np.pi * u
        points[:, d] = u - np.sin(angles) / (2.0 * np.pi) if smooth else 1.0 - np.abs(2.0 * u - 1.0)
        weights[:, d + 1] = weights[:, d] * (1.0 - np.cos(angles) if smooth else 1.0)
    return points, weights
