"""The moments of rows of which some lack values, as if they were of one component."""

from __future__ import annotations

from contextlib import closing
from copy import copy
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fastgmm.data.column_names import default_names
from fastgmm.data.source import Source
from fastgmm.data.sources.rechunking import recut
from fastgmm.em.e_step.accumulator import PassSums, RunningPass, gaussian_pass, statistics_of
from fastgmm.em.e_step.reservoir import Sample, Sampling, both_samples
from fastgmm.em.missing.incomplete import incomplete_statistics
from fastgmm.kernels import mixture_pass
from fastgmm.kernels.mixture_pass import PassParameters
from fastgmm.kernels.tiles import BLOCK_ROWS
from fastgmm.mixture.parameters import MixtureParameters
from fastgmm.mixture.regularization import Regularization
from fastgmm.mixture.statistics import FloatArray, SufficientStatistics
from fastgmm.mixture.structures import structure

_ROWS_TO_BEGIN_WITH = 256
"""Rows whose mean is near enough to the data for moments to be taken about it."""

_PIECE_BYTES = 2**20
"""Bytes of the rows that are looked at together."""

_WIDENING = 1e-6
_MOST_PASSES = 20
_TOLERANCE = 1e-3


def flat_mixture(source: Source, diagonal: bool) -> MixtureParameters:
    """Return one component near the rows, so wide that its density is the same at all of them."""
    near = source.some_rows(_ROWS_TO_BEGIN_WITH).mean(axis=0)
    narrowness = np.full((1, source.n_features), 1e-200)
    return MixtureParameters(
        log_weights=np.zeros(1),
        means=near[None],
        whiteners=narrowness if diagonal else narrowness[:, :, None] * np.eye(source.n_features),
        log_normalizers=np.zeros(1),
    )


def require_no_overflow(moments: SufficientStatistics) -> None:
    """Raise unless the moments of rows are finite."""
    second = moments.second
    squares = second if moments.is_diagonal else np.einsum("kii->ki", second)
    overflowing = ~np.isfinite(squares).all(axis=0)
    if overflowing.any():
        j = int(overflowing.argmax())
        raise ValueError(
            f"the values of feature {j} are too large: their squares, times the sample weights, "
            "overflow; divide the feature or the weights by a constant"
        )


class _Observed(NamedTuple):
    """What is found in rows that may lack values."""

    whole: PassSums | None  # the sums of a pass over them, where nothing is missing after all
    by_feature: _FeatureMoments
    sample: Sample | None

    def plus(self, other: _Observed) -> _Observed:
        """Return what is found in both sets of rows."""
        whole = None
        if self.whole is not None and other.whole is not None:
            whole = self.whole.plus(other.whole)
        sample = both_samples(self.sample, other.sample)
        return _Observed(whole, self.by_feature.plus(other.by_feature), sample)


def observed_moments(
    source: Source, sampling: Sampling | None, *, diagonal: bool, n_jobs: int | None = None
) -> tuple[SufficientStatistics, Sample | None]:
    """Return the moments of rows that may lack values, as estimated from what is observed.

    Where nothing is missing after all, they are those that a pass over whole rows finds. A sample
    of the rows is taken on the way.
    """
    flat = gaussian_pass(source.dtype, flat_mixture(source, diagonal))
    work = partial(_observe, flat=flat, diagonal=diagonal, sampling=sampling)
    whole, by_feature, sample = source.fold(work, _Observed.plus)(n_jobs=n_jobs)
    if whole is not None:
        weight = source.total_weight
        return statistics_of(whole, flat, diagonal=diagonal, weight=weight), sample
    moments = by_feature.moments(source)
    if diagonal:
        return moments, sample
    require_no_overflow(moments)
    square = replace(moments, second=moments.second[:, :, None] * np.eye(source.n_features))
    parameters = gaussian_of(square)
    before = -np.inf
    for _ in range(_MOST_PASSES):
        statistics = incomplete_statistics(source, parameters, n_jobs=n_jobs)
        parameters = gaussian_of(statistics)
        if statistics.mean_log_likelihood - before < _TOLERANCE:
            break
        before = statistics.mean_log_likelihood
    return statistics, sample


def _observe(
    source: Source,
    *,
    flat: PassParameters,
    diagonal: bool,
    sampling: Sampling | None,
    n_jobs: int | None,
) -> _Observed:
    """Go through rows that may lack values."""
    whole: RunningPass | None = RunningPass(
        flat,
        mixture_pass.MOMENTS,
        diagonal=diagonal,
        n_rows=source.n_samples,
        n_jobs=n_jobs,
        beside_readers=source.reads_ahead,
    )
    by_feature = _FeatureMoments(source.n_features)
    reservoir = None if sampling is None else sampling.begin(source)
    n_rows = BLOCK_ROWS * max(1, _PIECE_BYTES // (8 * source.n_features * BLOCK_ROWS))
    with closing(source.blocks()) as blocks:  # type: ignore[type-var]
        for X, weights in recut(blocks, n_rows):
            if reservoir is not None:
                reservoir.add(X, weights)
            if not by_feature.add(X, weights):
                whole = None
            elif whole is not None:
                whole.add(X, weights)
    sums = None if whole is None else whole.sums()
    return _Observed(sums, by_feature, None if reservoir is None else reservoir.sample())


def gaussian_of(moments: SufficientStatistics) -> MixtureParameters:
    """Return the Gaussian that has the moments of some rows, a millionth wider."""
    small = Regularization.from_variances(
        _WIDENING, "relative", moments.means()[0], moments.variances()[0]
    )
    return structure("diag" if moments.is_diagonal else "full").solve(moments, small)


class _FeatureMoments:
    """Mean and variance of what is observed of each feature.

    Means and sums of squares of pieces are joined as by Chan, Golub and LeVeque (1979, "Updating
    formulae and a pairwise algorithm for computing sample variances").
    """

    def __init__(self, n_features: int) -> None:
        self._weights, self._means, self._squares = np.zeros((3, n_features))

    def add(self, X: npt.NDArray[Any], weights: FloatArray | None) -> bool:
        """Add rows, and say whether they have no gaps."""
        values = X.astype(np.float64, order="C")
        present = ~np.isnan(values)
        shares = present.astype(np.float64)
        if weights is not None:
            shares *= weights[:, None]
        values[shares == 0.0] = 0.0
        added = shares.sum(axis=0)
        means = (shares * values).sum(axis=0) / np.where(added > 0.0, added, 1.0)
        offsets = values - means
        self._join(added, means, (shares * offsets * offsets).sum(axis=0))
        return bool(present.all())

    def plus(self, other: _FeatureMoments) -> _FeatureMoments:
        """Return the moments of both sets of rows."""
        both = copy(self)
        both._join(other._weights, other._means, other._squares)
        return both

    def _join(self, weights: FloatArray, means: FloatArray, squares: FloatArray) -> None:
        """Add the moments of other rows."""
        both = self._weights + weights
        apart = means - self._means
        shifts = apart * (weights / np.where(both > 0.0, both, 1.0))
        self._squares = self._squares + (squares + apart * shifts * self._weights)
        self._means = self._means + shifts
        self._weights = both

    def moments(self, source: Source) -> SufficientStatistics:
        """Return the moments, scaled to the weight of all rows."""
        names = source.feature_names or default_names(source.n_features)
        for j in np.flatnonzero(self._weights == 0.0):
            raise ValueError(
                f"column {names[j]!r} has no value in any row that counts, so there is nothing to "
                "model it from: leave the column out"
            )
        weight = source.total_weight
        return SufficientStatistics(
            reference=self._means[None],
            counts=np.array([weight]),
            first=np.zeros((1, source.n_features)),
            second=(self._squares * (weight / self._weights))[None],
            log_likelihood=float("nan"),
            weight=weight,
        )
