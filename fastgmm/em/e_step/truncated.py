"""Truncated EM: each cell of rows that lie near each other has a few components of its own.

The lower bound of the log-likelihood in which components that are not among its own have no weight
in a cell (Lücke and Eggert, 2010, "Expectation truncation and the benefits of preselection in
training generative models", JMLR 11) rises with each step of EM for any choice of them, and with
each component that is added. In every pass, a cell keeps the components that have some of its rows,
and tries some neighbors of the heaviest of them (after Hirschberger, Forster and Lücke, 2022, "A
variational EM acceleration for efficient clustering at very large scales", IEEE TPAMI 44).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from fastgmm.data.source import Rows, Source
from fastgmm.data.sources.array import ArraySource
from fastgmm.data.sources.rechunking import recut
from fastgmm.em.e_step.accumulator import RunningPass, gaussian_pass, statistics_of
from fastgmm.em.initialization.kmeans_passes import nearest_centers
from fastgmm.kernels import mixture_pass
from fastgmm.kernels.passes.truncated_pass import CELL_ROWS, Cells
from fastgmm.mixture.parameters import MixtureParameters
from fastgmm.mixture.statistics import SufficientStatistics

FEWEST_COMPONENTS = 256
"""With fewer, leaving some out saves little."""

_MOST = 64
"""Components of a cell in one pass."""

_TRIED = 8
"""Of which so many, at least, are tried."""

_NEIGHBORS = 48
"""Neighbors of each component: what a cell begins with, and what it tries of."""

_PASSES_OF_NEIGHBORS = 5
"""After so many passes, neighbors are found anew."""

_NEGLIGIBLE = 1e-13
"""The share of a cell's rows without which a component is not kept."""

_ROWS_AT_ONCE, _ROWS_OF_COMPONENT = 2**18, 2**6
"""Rows that are put in cells together, and at least so many for each component."""

_DISTANCES_AT_ONCE = 2**23


@dataclass(slots=True, eq=False)
class Truncation:
    """Which components each cell has, from pass to pass of one fit."""

    cells: list[Cells] = field(default_factory=list)  # those of the rows that are taken together
    neighbors: npt.NDArray[np.int64] = field(default_factory=lambda: np.empty((0, 0), np.int64))
    """(n_components, at most 48): the nearest components, itself first."""
    n_passes: int = 0  # number of passes with moments
    lost: float = 0.0
    """By how much the bound may be lower, in nats a row, for what cells had to leave out."""

    def restart(self) -> None:
        """Forget the cells of the start before."""
        self.cells, self.n_passes, self.lost = [], 0, 0.0

    def statistics(
        self, source: Source, parameters: MixtureParameters, *, moments: bool, n_jobs: int | None
    ) -> SufficientStatistics:
        """Make a pass at the parameters, after which each cell has the components it needs."""
        rows = _TruncatedRows(source, parameters, n_jobs)
        if not self.cells:
            self.neighbors = nearest_neighbors(parameters)
            self.cells = [self._of_labels(each) for each in rows.nearest_means()]
        elif moments:
            if self.n_passes % _PASSES_OF_NEIGHBORS == 0:
                self.neighbors = nearest_neighbors(parameters)
            refreshed, left_out = zip(*(self._refreshed(each) for each in self.cells), strict=True)
            self.cells, self.lost = list(refreshed), sum(left_out) / source.total_weight
        if not moments:
            total = rows.passed(self.cells, mixture_pass.LOG_LIKELIHOOD).sums().log_likelihood
            return SufficientStatistics.without_moments(total, source.total_weight)
        found = rows.statistics(self.cells)
        if self.n_passes > 0 and self.n_passes & (self.n_passes - 1) == 0:
            # Rows have moved to other components, less and less: they are put in cells anew.
            cells = [self._of_labels(each) for each in rows.labels(self.cells)]
            others = rows.statistics(cells)
            if others.log_likelihood > found.log_likelihood:
                self.cells, found = cells, others
        self.n_passes += 1
        return found

    def _of_labels(self, labels: npt.NDArray[np.int64]) -> Cells:
        """Return cells of rows with the same label, whose neighbors they begin with."""
        sizes = np.bincount(labels, minlength=len(self.neighbors))
        pieces = -(-sizes // CELL_ROWS)
        whose = np.repeat(np.arange(len(sizes)), pieces)
        number = np.arange(len(whose)) - (np.cumsum(pieces) - pieces)[whose]
        starts = (np.cumsum(sizes) - sizes)[whose] + sizes[whose] * number // pieces[whose]
        n_own = self.neighbors.shape[1]
        members = np.zeros((len(whose), _MOST), np.int64)
        members[:, :n_own] = self.neighbors[whose]
        return Cells(
            np.argsort(labels, kind="stable"),
            np.append(starts, len(labels)),
            members,
            np.full(len(whose), n_own),
            np.zeros(members.shape),
        )

    def _refreshed(self, cells: Cells) -> tuple[Cells, float]:
        """Return cells with what they keep and what they try, and the mass of what is left out."""
        places = np.arange(_MOST)
        total = cells.masses.sum(axis=1)
        found = places < cells.sizes[:, None]
        masses = np.where(found & (cells.masses > _NEGLIGIBLE * total[:, None]), cells.masses, -1.0)
        heaviest = np.argsort(-masses, axis=1, kind="stable")
        masses = np.take_along_axis(masses, heaviest, axis=1)
        members = np.take_along_axis(cells.members, heaviest, axis=1)
        left_out = float(masses[:, -_TRIED:][masses[:, -_TRIED:] > 0.0].sum())
        members, kept = members[:, :-_TRIED], masses[:, :-_TRIED] > 0.0
        tried = np.concatenate(
            [
                self._neighbors_of(members[:, 0]),
                self._neighbors_of(np.where(kept[:, 1], members[:, 1], members[:, 0])),
            ],
            axis=1,
        )
        new = np.ones(tried.shape, dtype=bool)
        for i in range(_TRIED):
            known = (tried[:, i, None] == members) & kept
            new[:, i] = ~(known.any(axis=1) | (tried[:, :i] == tried[:, i, None]).any(axis=1))
        members, present = np.concatenate([members, tried], 1), np.concatenate([kept, new], 1)
        first = np.argsort(~present, axis=1, kind="stable")
        return cells._replace(
            members=np.take_along_axis(members, first, axis=1),
            sizes=present.sum(axis=1),
            masses=np.zeros(members.shape),
        ), left_out

    def _neighbors_of(self, components: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return some neighbors of each component, others from pass to pass."""
        n_others = self.neighbors.shape[1] - 1
        turns = (np.arange(_TRIED // 2) + self.n_passes * (_TRIED // 2)) % n_others
        return self.neighbors[components][:, 1 + turns]


class _TruncatedRows:
    """Rows under a mixture, so many at a time that cells are filled."""

    def __init__(self, source: Source, parameters: MixtureParameters, n_jobs: int | None) -> None:
        self._source, self._n_jobs, self._means = source, n_jobs, parameters.means
        self._diagonal = parameters.is_diagonal
        p = gaussian_pass(source.dtype, parameters, by_row=True)
        nothing = np.zeros_like(p.center)
        self._parameters = p._replace(
            shared=False, pooled=False, center=nothing, center_low=nothing,
            shifts=np.zeros_like(p.shifts),
        )  # fmt: skip

    def statistics(self, cells: Sequence[Cells]) -> SufficientStatistics:
        """Return the statistics of a pass, and note the masses of the cells' components."""
        return statistics_of(
            self.passed(cells, mixture_pass.MOMENTS).sums(),
            self._parameters,
            diagonal=self._diagonal,
            weight=self._source.total_weight,
        )

    def labels(self, cells: Sequence[Cells]) -> list[npt.NDArray[np.int64]]:
        """Return the most probable component of each row."""
        labels = [np.empty(len(each.order), np.int64) for each in cells]
        self.passed(cells, mixture_pass.LABELS, labels)
        return labels

    def nearest_means(self) -> list[npt.NDArray[np.int64]]:
        """Return the component whose mean is nearest to each row."""
        return [
            nearest_centers(ArraySource(each.X), self._means, n_jobs=self._n_jobs)[0]
            for each in self._pieces()
        ]

    def passed(
        self,
        cells: Sequence[Cells],
        mode: int,
        labels: Sequence[npt.NDArray[np.int64]] | None = None,
    ) -> RunningPass:
        """Return a pass over all rows."""
        running = RunningPass(
            self._parameters,
            mode,
            diagonal=self._diagonal,
            n_jobs=self._n_jobs,
            beside_readers=self._source.reads_ahead,
            lanes=CELL_ROWS,
        )
        for i, (X, weights) in enumerate(self._pieces()):
            running.add_cells(X, weights, cells[i], None if labels is None else labels[i])
        return running

    def _pieces(self) -> Iterator[Rows]:
        size = max(_ROWS_AT_ONCE, _ROWS_OF_COMPONENT * len(self._means))
        with closing(self._source.blocks()) as blocks:  # type: ignore[type-var]
            yield from recut(blocks, size)


def nearest_neighbors(parameters: MixtureParameters) -> npt.NDArray[np.int64]:
    """Return the components of the least Kullback-Leibler divergence to each, or from it.

    Itself comes first. Divergences are inner products of precisions and moments: all of them are
    one product of matrices.
    """
    n_components = parameters.n_components
    means = parameters.means - np.median(parameters.means, axis=0)
    precisions, moments = parameters.precisions(), parameters.covariances()
    if parameters.is_diagonal:
        moments += means * means
        slopes = precisions * means
    else:
        moments += means[:, :, None] * means[:, None, :]
        slopes = (precisions @ means[:, :, None])[:, :, 0]
        lower = np.tril_indices(parameters.n_features)
        twice = np.where(lower[0] == lower[1], 1.0, 2.0)
        precisions, moments = precisions[:, *lower] * twice, moments[:, *lower]
    constants = parameters.log_normalizers - 0.5 * (slopes * means).sum(axis=1)
    precisions = np.concatenate([-0.5 * precisions, slopes], axis=1)
    moments = np.concatenate([moments, means], axis=1)
    own = (precisions * moments).sum(axis=1) + constants
    n_found = min(_NEIGHBORS, n_components)
    found = np.empty((n_components, n_found), np.int64)
    step = max(1, _DISTANCES_AT_ONCE // n_components)
    for first in range(0, n_components, step):
        here = slice(first, first + step)
        to = own[here, None] - (moments[here] @ precisions.T + constants)
        of = own - (precisions[here] @ moments.T + constants[here, None])
        divergences = np.minimum(to, of)
        each = np.arange(len(divergences))
        divergences[each, first + each] = -np.inf
        nearest = np.argpartition(divergences, n_found - 1, axis=1)[:, :n_found]
        order = np.take_along_axis(divergences, nearest, axis=1).argsort(axis=1, kind="stable")
        found[here] = np.take_along_axis(nearest, order, axis=1)
    return found
