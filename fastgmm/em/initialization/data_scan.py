"""The first look at the data: how wide they are, and a sample of them for EM to start from."""

from __future__ import annotations

from dataclasses import dataclass

from fastgmm.data.source import Source
from fastgmm.data.sources.array import ArraySource
from fastgmm.em.e_step.passes import moments_and_sample
from fastgmm.em.e_step.reservoir import Sampling
from fastgmm.mixture.regularization import Regularization
from fastgmm.mixture.statistics import SufficientStatistics

SMALLEST_SAMPLE = 25_000
ROWS_PER_PARAMETER = 50
LARGEST_SAMPLE_BYTES = 64 * 2**20


@dataclass(frozen=True, slots=True)
class DataScan:
    """What one pass over the data finds before EM begins."""

    moments: SufficientStatistics  # the moments of all rows, as if they were of one component
    regularization: Regularization  # the amounts that suit the variances of the features
    sample: ArraySource
    """The rows that have weight, or a uniform random sample of them, in their order."""
    subsampled: bool  # whether it is a sample


def scan_data(
    source: Source,
    n_components: int,
    reg_covar: float,
    scale: str,
    *,
    seed: int,
    diagonal: bool = True,
    n_jobs: int | None = None,
) -> DataScan:
    """Go through the data once: measure the features' variances and sample the rows."""
    size = sample_size(n_components, source.n_features, source.dtype.itemsize)
    sampling = None
    if not _is_own_sample(source, size):
        sampling = Sampling(size, seed, source.partition_sizes)
    moments, found = moments_and_sample(source, sampling, diagonal=diagonal, n_jobs=n_jobs)
    regularization = Regularization.from_variances(
        reg_covar, scale, moments.means()[0], moments.variances()[0]
    )
    if found is None:
        assert isinstance(source, ArraySource)
        return DataScan(moments, regularization, source, subsampled=False)
    sample = found.source(incomplete=source.incomplete)
    return DataScan(moments, regularization, sample, found.n_seen > size)


def sample_size(n_components: int, n_features: int, itemsize: int) -> int:
    """Return how many rows at most a start is found from.

    Fifty rows for each mean and weight, at least 25,000; but no more than fill 64 MiB, unless
    that were fewer than fifty for each component.
    """
    wanted = max(SMALLEST_SAMPLE, ROWS_PER_PARAMETER * n_components * (n_features + 1))
    affordable = LARGEST_SAMPLE_BYTES // (n_features * itemsize)
    return max(min(wanted, affordable), ROWS_PER_PARAMETER * n_components)


def _is_own_sample(source: Source, size: int) -> bool:
    """Say whether rows are so few, and in memory, that they need not be copied."""
    return (
        isinstance(source, ArraySource)
        and source.n_samples <= size
        and (source.weights is None or bool(source.weights.all()))
    )
