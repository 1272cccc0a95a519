"""Compiling every kernel ahead of its first use."""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np

from fastgmm.analysis.group_fits import GroupedRows, GroupSettings, fit_group_mixtures
from fastgmm.analysis.small_fits import SmallProblem, fit_small
from fastgmm.data.sources.array import ArraySource
from fastgmm.data.sources.limited import with_limits
from fastgmm.data.sources.measured import with_error_covariance
from fastgmm.em.e_step import passes
from fastgmm.em.e_step.truncated import Truncation
from fastgmm.em.initialization.hierarchical import agglomerate
from fastgmm.em.initialization.kmeans import fit_kmeans
from fastgmm.em.missing.imputation import impute_blocks
from fastgmm.mixture.parameters import MixtureParameters, whiteners_from_factors
from fastgmm.mixture.regularization import Regularization
from fastgmm.mixture.structures import STRUCTURE_NAMES, structure
from fastgmm.mixture.student import StudentParameters

_N_ROWS = 64
_N_COMPONENTS = 2

_SPREADS = {np.float64: (1.0,), np.float32: (1.0, 1e-20)}
"""float32 rows whose squares float32 cannot hold take a version of the passes of their own."""


def compile_kernels(*, n_jobs: int | None = None) -> int:
    """Run each pass once on a handful of rows of each type, so that numba compiles and caches it.

    So are agglomeration, the M-steps of the structures, and the kernels that fit many small
    mixtures at once, which are no passes.
    Later processes load what was compiled from numba's cache.
    """
    random = np.random.default_rng(0)
    n_run = 0
    for dtype, spreads in _SPREADS.items():
        for spread in spreads:
            rows = (random.standard_normal((_N_ROWS, 2)) * spread).astype(dtype)
            source = ArraySource(rows)
            fit_kmeans(source, _N_COMPONENTS, np.random.RandomState(0), n_jobs=n_jobs)
            n_run += 1
            for name, diagonal in (("VVV", False), ("VVI", True)):
                parameters = _parameters(source, name, n_jobs)
                shares = passes.responsibilities(source, parameters, n_jobs=n_jobs)
                passes.responsibility_statistics(source, shares, diagonal=diagonal, n_jobs=n_jobs)
                n_run += 3 + _run_passes(source, parameters, n_jobs)
                Truncation().statistics(source, parameters, moments=True, n_jobs=n_jobs)
                tailed = StudentParameters.from_gaussians(parameters, np.full(_N_COMPONENTS, 5.0))
                n_run += _run_passes(source, tailed, n_jobs)
                rows[::3, 0] = np.nan
                lacking = ArraySource(rows, incomplete=True)
                n_run += _run_passes(lacking, parameters, n_jobs)
                for n_draws in (None, 1):
                    deque(impute_blocks(lacking, parameters, n_draws=n_draws, n_jobs=n_jobs), 0)
                rows[::3, 0] = 0.0
            passes.mixture_statistics(*_clusters_apart(spread, dtype), n_jobs=n_jobs)
            n_run += 1 + _run_passes(*_factor_analyzer(dtype), n_jobs)
    rows = random.standard_normal((_N_ROWS, 2))
    measured = with_error_covariance(ArraySource(rows), np.ones((_N_ROWS, 2)))
    n_run += _run_passes(measured, _parameters(ArraySource(rows), "VVV", n_jobs), n_jobs)
    limited = with_limits(ArraySource(rows), np.ones((_N_ROWS, 2)))
    n_run += _run_passes(limited, _parameters(ArraySource(rows), "VVV", n_jobs), n_jobs)
    agglomerate(rows, structure="VVV")
    agglomerate(rows, structure="EEE")  # which has a kernel of its own
    source = ArraySource(rows)
    one_cluster = np.zeros(_N_ROWS, dtype=np.int64)
    problem = SmallProblem(source, structure("VVV"), 1, one_cluster)
    fit_small([problem], tol=1.0, max_iter=1, n_jobs=n_jobs)
    alone = GroupSettings(structure("VVV"), 1, np.ones(2), 1.0, 1, n_init=1, n_jobs=n_jobs)
    of_one = GroupedRows(rows, None, np.array([0]), np.array([_N_ROWS]))
    fit_group_mixtures(of_one, alone, np.random.RandomState(0))
    for name in STRUCTURE_NAMES:
        if not structure(name).needs_single_feature:
            _parameters(source, name, n_jobs)
    return n_run


def _clusters_apart(spread: float, dtype: type[Any]) -> tuple[ArraySource, MixtureParameters]:
    """Return rows of clusters so far apart that a pass leaves components out, and their mixture."""
    axes = np.eye(16)
    mixture = MixtureParameters.from_covariances(
        np.full(16, 1 / 16), 100.0 * spread * axes, np.repeat(spread**2 * axes[None], 16, axis=0)
    )
    return ArraySource(np.repeat(mixture.means, 4, axis=0).astype(dtype)), mixture


def _factor_analyzer(dtype: type[Any]) -> tuple[ArraySource, MixtureParameters]:
    """Return rows, and a mixture of factor analyzers."""
    whiteners = whiteners_from_factors(np.ones((_N_COMPONENTS, 3)), np.ones((_N_COMPONENTS, 3, 1)))
    mixture = MixtureParameters.from_whiteners(
        np.full(_N_COMPONENTS, 1 / _N_COMPONENTS), np.zeros((_N_COMPONENTS, 3)), whiteners
    )
    return ArraySource(np.ones((_N_ROWS, 3), dtype)), mixture


def _parameters(source: ArraySource, name: str, n_jobs: int | None) -> MixtureParameters:
    """Return a mixture of some rows, of a structure."""
    kind = structure(name)
    labels = np.arange(source.n_samples) % _N_COMPONENTS
    statistics = passes.labeled_statistics(
        source, labels, _N_COMPONENTS, diagonal=kind.is_diagonal, n_jobs=n_jobs
    )
    return kind.solve(statistics, Regularization.none(source.n_features))


def _run_passes(source: Any, parameters: MixtureParameters, n_jobs: int | None) -> int:
    """Run each pass over rows under a mixture, and return how many there are."""
    evaluations = (
        passes.mixture_statistics,
        passes.log_likelihood,
        passes.log_density,
        passes.labels,
        passes.responsibilities,
    )
    for evaluate in evaluations:
        evaluate(source, parameters, n_jobs=n_jobs)
    return len(evaluations)
