"""A pass over rows of which some lack values: what is missing is integrated out.

The log-density of a row is that of what is observed of it, under the marginal mixture of those
features. Its expected statistics under the mixture have what is missing replaced by conditional
moments (Ghahramani and Jordan, 1994, "Supervised learning from incomplete data via an EM approach",
NIPS 6). Both are exact where values are missing at random, in the sense of Rubin (1976).

Rows are grouped by pattern within chunks of a fixed length. Of a pattern that many rows have,
the observed features go through the pass for rows without gaps, and the statistics are completed
at the end; rows of other patterns are completed one by one in the kernel; of t-distributions,
each pattern has a pass. A row in which nothing is observed counts with the mixture itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from functools import partial
from operator import add
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from fastgmm.data.source import Rows, Source
from fastgmm.data.sources.annotated import AnnotatedRows
from fastgmm.data.sources.array import ArraySource
from fastgmm.data.sources.rechunking import recut
from fastgmm.em.e_step.accumulator import (
    AnyPass,
    MixturePass,
    PassSums,
    RunningPass,
    completion_parameters,
    pass_parameters,
    statistics_of,
)
from fastgmm.em.missing.patterns import Group, IndexArray, group_rows
from fastgmm.kernels import mixture_pass
from fastgmm.kernels.tiles import BLOCK_ROWS
from fastgmm.mixture.marginals import Partition, completed_statistics, partition
from fastgmm.mixture.parameters import MixtureParameters
from fastgmm.mixture.statistics import FloatArray, SufficientStatistics
from fastgmm.mixture.student import StudentParameters, StudentStatistics, expected_logarithms

_CHUNK_BYTES = 2**24
"""Bytes of a chunk of rows in double precision."""

_MANY_RESPONSIBILITIES = 4096
_FEWEST_ROWS, _MOST_ROWS = 64, 1024

_FARTHEST = 1e7
"""From how many standard deviations of a feature on, of all components, a row is far from them."""

_PATTERN_BYTES = 2**26
"""About how much the sums of patterns may take before they are completed and added up."""


def chunk_rows(n_features: int) -> int:
    """Return how many rows are grouped at once: a multiple of `BLOCK_ROWS`."""
    return BLOCK_ROWS * max(1, _CHUNK_BYTES // (8 * n_features * BLOCK_ROWS))


def _rows_of_large_group(n_components: int) -> int:
    """Return from how many rows of a pattern on a pass over them alone is worth its trouble.

    Its overhead, of Python's, is that of completing some thousand rows one by one under a single
    component.
    """
    return min(_MOST_ROWS, max(_FEWEST_ROWS, _MANY_RESPONSIBILITIES // n_components))


def incomplete_statistics(
    source: Source,
    parameters: MixtureParameters,
    *,
    known: Any = None,
    n_jobs: int | None = None,
    kind: type[IncompletePass] | None = None,
) -> SufficientStatistics:
    """Return the expected statistics of all rows: one E-step, by a `kind` of pass."""
    by_row = {} if known is None else {"labels": known}
    work = partial(_statistics, parameters=parameters, kind=kind or IncompletePass)
    found: SufficientStatistics = source.fold(work, add)(n_jobs=n_jobs, **by_row)
    return replace(found, weight=source.total_weight)


def incomplete_log_likelihood(
    source: Source,
    parameters: MixtureParameters,
    mode: int,
    *,
    n_jobs: int | None = None,
    kind: type[IncompletePass] | None = None,
    **by_row: Any,
) -> float:
    """Return the log-likelihood of all rows from a pass of some mode and `kind`."""
    kind = kind or IncompletePass
    work = partial(_log_likelihood, parameters=parameters, mode=mode, kind=kind)
    total: float = source.fold(work, add)(n_jobs=n_jobs, **by_row)
    return total


def _statistics(
    source: Source,
    *,
    parameters: MixtureParameters,
    kind: type[IncompletePass],
    n_jobs: int | None,
    **by_row: Any,
) -> SufficientStatistics:
    done = kind(source, parameters, mixture_pass.MOMENTS, n_jobs)
    return done.run(source, **by_row).statistics()


def _log_likelihood(
    source: Source,
    *,
    parameters: MixtureParameters,
    mode: int,
    kind: type[IncompletePass],
    n_jobs: int | None,
    **by_row: Any,
) -> float:
    return kind(source, parameters, mode, n_jobs).run(source, **by_row).log_likelihood()


def pieces(source: Source, most: int) -> Iterator[ArraySource]:
    """Yield the rows of a source in pieces, to be evaluated one by one."""
    with closing(source.blocks()) as blocks:  # type: ignore[type-var]
        if source.incomplete:
            whole_blocks = BLOCK_ROWS * max(1, most // BLOCK_ROWS)
            for rows in recut(blocks, min(chunk_rows(source.n_features), whole_blocks)):
                yield ArraySource(*rows, incomplete=True)
            return
        for X, weights in blocks:
            for first in range(0, len(X), most):
                some = slice(first, first + most)
                yield ArraySource(X[some], None if weights is None else weights[some])


def annotated_pieces(source: Source, most: int) -> Iterator[Any]:
    """Yield the rows of a source in pieces, `AnnotatedRows` over an array if they are annotated."""
    if not isinstance(source, AnnotatedRows):
        yield from pieces(source, most)
        return
    with closing(source.annotated_blocks()) as blocks:  # type: ignore[type-var]
        for rows in recut(blocks, BLOCK_ROWS * max(1, most // BLOCK_ROWS)):
            yield source.over(ArraySource(*rows, incomplete=source.incomplete))


class _PatternSums(NamedTuple):
    """The rows of one pattern so far."""

    parts: Partition
    parameters: MixturePass
    sums: PassSums | None


class IncompletePass:
    """Sums over chunks of rows, of which some lack values."""

    def __init__(
        self, source: Source, parameters: MixtureParameters, mode: int, n_jobs: int | None
    ) -> None:
        whiteners = parameters.whiteners
        narrowness = whiteners if parameters.is_diagonal else np.einsum("kii->ki", whiteners)
        if not narrowness.all():
            raise ValueError(
                "uniform noise has no density for part of a row: values that are missing cannot "
                "be modeled beside it; leave out the noise, or the rows"
            )
        self._parameters = parameters.with_true_normalizers()
        self._many = _rows_of_large_group(parameters.n_components)
        if isinstance(parameters, StudentParameters):
            self._many = 1  # rows are completed one by one under Gaussians only
        self._normalized = self._parameters is parameters
        self._mode = mode
        self._n_jobs = n_jobs
        self._dtype = source.dtype
        self._n_rows = source.n_samples
        self._beside_readers = source.reads_ahead
        self._complete: RunningPass | None = None
        self._scattered: RunningPass | None = None  # rows that are completed one by one
        self._patterns: dict[bytes, _PatternSums] = {}
        K, D = parameters.means.shape
        self._most_patterns = max(1, _PATTERN_BYTES // (32 * K * (D + 1) ** 2))
        self._completed: SufficientStatistics | None = None
        self._log_likelihood = 0.0
        self._unobserved = np.zeros(K)
        variances = parameters.covariances()
        if not parameters.is_diagonal:
            variances = np.einsum("kii->ki", variances)
        reach = _FARTHEST * np.sqrt(variances)
        self._low = (parameters.means - reach).min(axis=0)
        self._high = (parameters.means + reach).max(axis=0)

    def run(self, source: Source, **by_row: npt.NDArray[Any]) -> Self:
        """Add all rows of a source; `by_row` are what is written, or given, for each of them."""
        n_rows = 0
        with closing(self._blocks(source)) as blocks:  # type: ignore[type-var]
            for X, weights in recut(blocks, chunk_rows(source.n_features)):
                here = slice(n_rows, n_rows + len(X))
                self.add(X, weights, **{name: each[here] for name, each in by_row.items()})
                n_rows += len(X)
        return self

    def _blocks(self, source: Source) -> Iterator[Rows]:
        """Return the blocks of the rows, as `add` takes them."""
        return source.blocks()

    def add(
        self, X: npt.NDArray[Any], weights: FloatArray | None, **by_row: npt.NDArray[Any]
    ) -> None:
        """Add a chunk of rows."""
        grouped = group_rows(X, self._many, n_jobs=self._n_jobs)
        rows = grouped.scattered
        groups = grouped.large
        if len(rows):
            chosen = X[rows]
            far = ((chosen < self._low) | (chosen > self._high)).any(axis=1)
            if far.any():
                # Only the pass for rows without gaps can distinguish components from there.
                apart = group_rows(chosen[far], 1, n_jobs=self._n_jobs).large
                groups = [*groups, *(each._replace(rows=rows[far][each.rows]) for each in apart)]
                rows, chosen = rows[~far], chosen[~far]
        for group in groups:
            if len(group.rows) == len(X):
                self._add_group(group, weights, by_row)
            else:
                some = self._of_rows(group.rows, by_row)
                self._add_group(group, weights_of(weights, group.rows), some)
                self._write(by_row, group.rows, some)
        if len(rows):
            if self._scattered is None:
                completing = completion_parameters(self._parameters)
                self._scattered = self._running(completing, self._n_rows)
            # in double precision always, for which the kernel is compiled
            some = self._of_rows(rows, by_row, np.dtype(np.float64))
            chosen = chosen.astype(np.float64, copy=False)
            self._scattered.add(chosen, weights_of(weights, rows), **some)
            self._write(by_row, rows, some)

    def log_likelihood(self) -> float:
        """Return the log-likelihood of the rows added, in nats."""
        self._complete_patterns()
        total = self._log_likelihood
        for running in self._all_running():
            total += running.sums().log_likelihood
        return total

    def statistics(self) -> SufficientStatistics:
        """Return the expected statistics of the rows added, but for their weight."""
        log_likelihood = self.log_likelihood()
        found: list[SufficientStatistics] = []
        for running in self._all_running():
            found.append(self._statistics(running.sums(), running.parameters))
        if self._completed is not None:
            found.append(self._completed)
        if self._unobserved.any():
            found.append(self._expected_statistics(self._unobserved))
        total = found[0]
        for each in found[1:]:
            total = total + each
        return replace(total, log_likelihood=log_likelihood)

    def _all_running(self) -> list[RunningPass]:
        """Return the passes over rows that are not of a pattern."""
        return [each for each in (self._complete, self._scattered) if each is not None]

    def _running(self, parameters: AnyPass, n_rows: int | None) -> RunningPass:
        return RunningPass(
            parameters,
            self._mode,
            diagonal=self._parameters.is_diagonal,
            n_rows=n_rows,
            n_jobs=self._n_jobs,
            beside_readers=self._beside_readers,
        )

    def _statistics(self, sums: PassSums, parameters: AnyPass) -> SufficientStatistics:
        diagonal = self._parameters.is_diagonal
        return statistics_of(sums, parameters, diagonal=diagonal, weight=0.0)

    def _add_group(
        self, group: Group, weights: FloatArray | None, by_row: dict[str, npt.NDArray[Any]]
    ) -> None:
        """Add the rows of one pattern."""
        if group.is_observed.all():
            if self._complete is None:
                whole = pass_parameters(self._dtype, self._parameters)
                self._complete = self._running(whole, self._n_rows)
            self._complete.add(group.values, weights, **by_row)
            return
        if not group.is_observed.any():
            self._add_unobserved(len(group.rows), weights, **by_row)
            return
        key = group.is_observed.tobytes()
        so_far = self._patterns.get(key)
        if so_far is None:
            if len(self._patterns) == self._most_patterns:
                self._complete_patterns()
            parts = partition(self._parameters, group.is_observed)
            so_far = _PatternSums(parts, pass_parameters(self._dtype, parts.marginal), None)
        running = self._running(so_far.parameters, len(group.rows))
        running.add(group.values, weights, **by_row)
        sums = running.sums()
        if so_far.sums is not None:
            sums = so_far.sums.plus(sums)
        self._patterns[key] = so_far._replace(sums=sums)

    def _complete_patterns(self) -> None:
        """Complete the sums of each pattern, and add them up."""
        for parts, parameters, sums in self._patterns.values():
            assert sums is not None
            self._log_likelihood += sums.log_likelihood
            if self._mode == mixture_pass.MOMENTS:
                added = completed_statistics(self._statistics(sums, parameters), parts)
                before = self._completed
                self._completed = added if before is None else before + added
        self._patterns.clear()

    def _add_unobserved(
        self,
        n_rows: int,
        weights: FloatArray | None,
        *,
        log_density: npt.NDArray[Any] | None = None,
        labels: npt.NDArray[np.int64] | None = None,
        responsibilities: npt.NDArray[Any] | None = None,
    ) -> None:
        """Add rows of which nothing is known, unless it is their component."""
        shares = self._parameters.weights
        shares /= shares.sum()
        if log_density is not None:
            log_weights = self._parameters.log_weights
            log_density[:] = 0.0 if self._normalized else np.logaddexp.reduce(log_weights)
        elif responsibilities is not None:
            responsibilities[:] = shares
        elif self._mode == mixture_pass.LABELS:
            assert labels is not None
            labels[:] = shares.argmax()
        else:
            each = np.ones(n_rows) if weights is None else weights
            known = np.full(n_rows, -1) if labels is None else labels
            counts = np.bincount(known + 1, each, len(shares) + 1)
            self._unobserved += counts[0] * shares + counts[1:]
            present = counts[1:] > 0.0
            self._log_likelihood += float(counts[1:][present] @ np.log(shares[present]))

    def _expected_statistics(self, counts: FloatArray) -> SufficientStatistics:
        """Return the statistics of rows that are not observed at all, from their counts."""
        covariances = self._parameters.covariances()
        expected = SufficientStatistics(
            reference=self._parameters.means,
            counts=counts,
            first=np.zeros_like(self._parameters.means),
            second=counts.reshape(-1, *[1] * (covariances.ndim - 1)) * covariances,
            log_likelihood=0.0,
            weight=0.0,
        )
        if not isinstance(self._parameters, StudentParameters):
            return expected
        logarithms = counts * expected_logarithms(self._parameters.dofs, 0)
        return StudentStatistics.from_moments(expected, counts, logarithms)

    @property
    def _writes(self) -> bool:
        """Whether what there is by row is written, not read."""
        return self._mode not in (mixture_pass.MOMENTS, mixture_pass.LOG_LIKELIHOOD)

    def _of_rows(
        self,
        rows: IndexArray,
        by_row: dict[str, npt.NDArray[Any]],
        dtype: np.dtype[Any] | None = None,
    ) -> dict[str, npt.NDArray[Any]]:
        """Return what there is for chosen rows, or room for it, in a type if one is given."""
        if not self._writes:
            return {name: each[rows] for name, each in by_row.items()}
        return {
            name: np.empty(
                (len(rows), *each.shape[1:]),
                each.dtype if dtype is None or each.dtype.kind != "f" else dtype,
            )
            for name, each in by_row.items()
        }

    def _write(
        self,
        by_row: dict[str, npt.NDArray[Any]],
        rows: IndexArray,
        values: dict[str, npt.NDArray[Any]],
    ) -> None:
        """Put what was written for chosen rows in its place."""
        if self._writes:
            for name, each in values.items():
                by_row[name][rows] = each


def weights_of(weights: FloatArray | None, rows: IndexArray) -> FloatArray | None:
    """Return the weights of chosen rows, if there are any."""
    return None if weights is None else weights[rows]
