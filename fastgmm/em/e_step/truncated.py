"""Truncated EM: each cell of rows that lie near each other has a few components of its own.

The lower bound of the log-likelihood in which components that are not among its own have no weight
in a cell (Lücke and Eggert, 2010, "Expectation truncation and the benefits of preselection in
training generative models", JMLR 11) rises with each step of EM for any choice of them. Cells are
of rows with the same most probable component, and have the components that such rows were found to
have some weight in: in the pass before, in which a few neighbors were tried (after Hirschberger,
Forster and Lücke, 2022, "A variational EM acceleration for efficient clustering at very large
scales", IEEE TPAMI 44), or where all components were evaluated, at some rows in each pass.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fastgmm.data.source import Rows, Source
from fastgmm.data.sources.array import ArraySource
from fastgmm.data.sources.rechunking import recut
from fastgmm.em.e_step.accumulator import RunningPass, gaussian_pass, statistics_of
from fastgmm.em.e_step.passes import responsibilities
from fastgmm.em.initialization.kmeans_passes import nearest_centers
from fastgmm.kernels import mixture_pass
from fastgmm.kernels.passes.truncated_pass import CELL_ROWS, Cells, Links, choose_members
from fastgmm.mixture.parameters import MixtureParameters
from fastgmm.mixture.statistics import FloatArray, SufficientStatistics

FEWEST_COMPONENTS = 256
"""With fewer, leaving some out saves little."""

_MOST = 96
"""Components of a cell in one pass."""

_TRIED = 8
"""Of which so many are tried."""

_FIRST_SHARE, _SHARE = 2.0, 0.25
"""What evaluating all components at some rows takes, before the first pass and in each: the number
of these over that of the components of all cells."""

_NEGLIGIBLE = 1e-6
"""Responsibilities of those rows that are of no interest."""

_ROWS_AT_ONCE, _ROWS_OF_COMPONENT = 2**18, 2**7
"""Rows that are put in cells together, and at least so many for each component."""

_RESPONSIBILITIES_AT_ONCE = 2**22

Labels = npt.NDArray[np.int64]


class _Proposal(NamedTuple):
    """What the rows are put in for a pass."""

    cells: list[Cells]  # those of the rows that are taken together
    members: Labels  # (K, C)
    sizes: Labels  # (K,)


@dataclass(slots=True, eq=False)
class Truncation:
    """Which components each cell has, from pass to pass of one fit."""

    cells: list[Cells] = field(default_factory=list)  # of the last pass with moments
    proposed: list[Cells] = field(default_factory=list)  # what it led to
    n_passes: int = 0  # number of passes with moments
    bound: float = -np.inf  # what the last of them found

    def restart(self) -> None:
        """Forget the cells of the start before."""
        self.cells, self.proposed, self.n_passes, self.bound = [], [], 0, -np.inf

    def statistics(
        self, source: Source, parameters: MixtureParameters, *, moments: bool, n_jobs: int | None
    ) -> SufficientStatistics:
        """Make a pass at the parameters, after which each cell has the components it needs."""
        rows = _TruncatedRows(source, parameters, n_jobs)
        if not self.proposed:
            self.proposed = rows.first_cells()
        cells = self.proposed
        found, proposed = rows.passed(cells, self.n_passes, moments=moments)
        if self.cells and found.log_likelihood < self.bound:
            # With the cells of the pass before, the bound is not lower.
            others, led_to = rows.passed(self.cells, self.n_passes, moments=moments)
            if others.log_likelihood > found.log_likelihood:
                cells, found, proposed = self.cells, others, led_to
        if moments:
            self.cells, self.proposed, self.bound = cells, proposed, found.log_likelihood
            self.n_passes += 1
        return found


class _TruncatedRows:
    """Rows under a mixture, so many at a time that cells are filled."""

    def __init__(self, source: Source, parameters: MixtureParameters, n_jobs: int | None) -> None:
        self._source, self._n_jobs, self._mixture = source, n_jobs, parameters
        self._diagonal = parameters.is_diagonal
        p = gaussian_pass(source.dtype, parameters, by_row=True)
        nothing = np.zeros_like(p.center)
        self._parameters = p._replace(
            shared=False, pooled=False, center=nothing, center_low=nothing,
            shifts=np.zeros_like(p.shifts),
        )  # fmt: skip

    def first_cells(self) -> list[Cells]:
        """Return cells of rows whose nearest mean is the same."""
        neighborhoods = _Neighborhoods(len(self._mixture.means))
        means = np.ascontiguousarray(self._mixture.means, self._source.dtype)
        own = np.arange(len(means))
        self._see(means, own, neighborhoods)
        labels = []
        for X, weights in self._pieces():
            found, _ = nearest_centers(ArraySource(X), self._mixture.means, n_jobs=self._n_jobs)
            labels.append(found)
            neighborhoods.move(found, found, weights)
            self._see_some(X, found, _FIRST_SHARE, 0, neighborhoods, keep=True)
        return neighborhoods.cells(labels, 0)

    def passed(
        self, cells: list[Cells], turn: int, *, moments: bool
    ) -> tuple[SufficientStatistics, list[Cells]]:
        """Return the statistics of a pass, and the cells for the next one."""
        running = RunningPass(
            self._parameters,
            mixture_pass.MOMENTS | mixture_pass.LABELS if moments else mixture_pass.LOG_LIKELIHOOD,
            diagonal=self._diagonal,
            n_jobs=self._n_jobs,
            beside_readers=self._source.reads_ahead,
            lanes=CELL_ROWS,
        )
        neighborhoods, labels = _Neighborhoods(len(self._mixture.means)), []
        for i, (X, weights) in enumerate(self._pieces()):
            if not moments:
                running.add_cells(X, weights, cells[i])
                continue
            labels.append(np.empty(len(X), np.int64))
            running.add_cells(X, weights, cells[i], labels[i])
            neighborhoods.add(cells[i])
            self._see_some(X, labels[i], _SHARE, turn + 1, neighborhoods)
            before = np.empty_like(labels[i])
            before[cells[i].order] = np.repeat(cells[i].whose, np.diff(cells[i].starts))
            neighborhoods.move(before, labels[i], weights)
        sums, weight = running.sums(), self._source.total_weight
        if not moments:
            return SufficientStatistics.without_moments(sums.log_likelihood, weight), []
        found = statistics_of(sums, self._parameters, diagonal=self._diagonal, weight=weight)
        return found, neighborhoods.cells(labels, turn)

    def _see_some(
        self, X: npt.NDArray[np.floating], labels: Labels, share: float, turn: int,
        neighborhoods: _Neighborhoods, *, keep: bool = False,
    ) -> None:  # fmt: skip
        """Evaluate all components at some of the rows, which are given their labels."""
        step = max(1, round(len(self._mixture.means) / (_MOST * share)))
        some = slice(turn * 7919 % step, None, step)
        found = self._see(X[some], labels[some] if keep else None, neighborhoods)
        if not keep:
            labels[some] = found

    def _see(
        self, X: npt.NDArray[np.floating], labels: Labels | None, neighborhoods: _Neighborhoods
    ) -> Labels:
        """Note which components some rows are of; return the most probable ones."""
        step = max(1, _RESPONSIBILITIES_AT_ONCE // len(self._mixture.means))
        best = np.empty(len(X), np.int64)
        for first in range(0, len(X), step):
            here = slice(first, first + step)
            shares = responsibilities(ArraySource(X[here]), self._mixture, n_jobs=self._n_jobs)
            best[here] = shares.argmax(axis=1)
            neighborhoods.see(shares, best[here] if labels is None else labels[here])
        return best

    def _pieces(self) -> Iterator[Rows]:
        size = max(_ROWS_AT_ONCE, _ROWS_OF_COMPONENT * len(self._mixture.means))
        with closing(self._source.blocks()) as blocks:  # type: ignore[type-var]
            yield from recut(blocks, size)


class _Neighborhoods:
    """Which components rows with each label need, as a pass finds it."""

    def __init__(self, n_components: int) -> None:
        n_own = min(_MOST, n_components)
        self._members = np.zeros((n_components, n_own), np.int64)
        self._sizes = np.zeros(n_components, np.int64)
        self._masses = np.zeros((n_components, n_own))
        self._moves: list[tuple[Labels, Labels, FloatArray]] = []
        self._seen: list[tuple[Labels, Labels, FloatArray]] = []

    def add(self, cells: Cells) -> None:
        """Add the masses of components of cells."""
        self._members, self._sizes = cells.members, cells.sizes
        np.add.at(self._masses, cells.whose, cells.masses)

    def move(self, before: Labels, after: Labels, weights: FloatArray | None) -> None:
        """Add the weights of rows with one label that had another one before."""
        K = len(self._sizes)
        stays = before == after
        given = np.ones(len(before)) if weights is None else weights
        own = np.bincount(after[stays], given[stays], K).astype(np.float64)
        each = np.flatnonzero(np.bincount(after[stays], minlength=K)).astype(np.int64)
        self._moves.append((each, each, own[each]))
        pairs, which = np.unique(after[~stays] * K + before[~stays], return_inverse=True)
        amounts = np.bincount(which, given[~stays], len(pairs)).astype(np.float64)
        self._moves.append((pairs // K, pairs % K, amounts))

    def see(self, shares: npt.NDArray[np.floating], labels: Labels) -> None:
        """Add the responsibilities of components for rows with some labels."""
        rows, components = np.nonzero(shares > _NEGLIGIBLE)
        found = shares[rows, components].astype(np.float64)
        self._seen.append((labels[rows], components, found))

    def cells(self, labels: list[Labels], turn: int) -> list[Cells]:
        """Return cells of rows with the same label."""
        members, sizes = np.zeros_like(self._members), np.zeros_like(self._sizes)
        totals = self._masses.sum(axis=1, keepdims=True)
        shares = self._masses / np.where(totals > 0.0, totals, 1.0)
        tried = min(_TRIED, max(0, self._members.shape[1] - 1))
        choose_members(
            self._members, self._sizes, shares, self._links(self._moves), self._links(self._seen),
            tried, turn, members, sizes,
        )  # fmt: skip
        return [_cells(each, members, sizes) for each in labels]

    def _links(self, parts: list[tuple[Labels, Labels, FloatArray]]) -> Links:
        components, others, amounts = (np.concatenate(each) for each in zip(*parts, strict=True))
        order = np.argsort(components, kind="stable")
        starts = np.zeros(len(self._sizes) + 1, np.int64)
        np.cumsum(np.bincount(components, minlength=len(self._sizes)), out=starts[1:])
        return Links(starts, others[order], amounts[order])


def _cells(labels: Labels, members: Labels, sizes: Labels) -> Cells:
    """Return cells of at most so many rows with the same label."""
    n_rows = np.bincount(labels, minlength=len(members))
    pieces = -(-n_rows // CELL_ROWS)
    whose = np.repeat(np.arange(len(n_rows)), pieces)
    number = np.arange(len(whose)) - (np.cumsum(pieces) - pieces)[whose]
    starts = (np.cumsum(n_rows) - n_rows)[whose] + n_rows[whose] * number // pieces[whose]
    return Cells(
        np.argsort(labels, kind="stable"),
        np.append(starts, len(labels)),
        whose,
        members,
        sizes,
        np.zeros((len(whose), members.shape[1])),
    )
