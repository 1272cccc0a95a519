"""Filling in what is missing in rows, from what is observed of them and a mixture."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import numpy as np
import numpy.typing as npt

from fastgmm.data.source import Rows, Source
from fastgmm.data.sources.array import ArraySource
from fastgmm.data.sources.rechunking import recut
from fastgmm.em.e_step.accumulator import COMPLETED_LANES, completion_parameters
from fastgmm.em.e_step.passes import responsibilities
from fastgmm.kernels.imputation import ImputationTask, imputation_slot
from fastgmm.kernels.incomplete_pass import CompletionParameters
from fastgmm.kernels.threads import run_slots
from fastgmm.kernels.tiles import BLOCK_ROWS
from fastgmm.mixture.parameters import MixtureParameters

_PIECE_BYTES = 2**24
"""Bytes of responsibilities, or of random numbers, that are held at once."""

_SLOTS = 64

_OPERATIONS_PER_ROW = 10_000
"""Enough for threads to be worth their while, and too few for the rows to be cut any smaller."""


def impute_blocks(
    source: Source,
    parameters: MixtureParameters,
    *,
    n_draws: int | None = None,
    seed: int = 0,
    n_jobs: int | None = None,
) -> Iterator[npt.NDArray[Any]]:
    """Yield rows with what is missing filled in."""
    for filled, _ in imputed_rows(source, parameters, n_draws=n_draws, seed=seed, n_jobs=n_jobs):
        yield filled


def imputed_rows(
    source: Source,
    parameters: MixtureParameters,
    *,
    n_draws: int | None = None,
    seed: int = 0,
    n_jobs: int | None = None,
) -> Iterator[Rows]:
    """Yield rows as `impute_blocks` does, with their weights."""
    parameters = parameters.with_matrices().with_true_normalizers()
    completing = completion_parameters(parameters)
    K, D = parameters.means.shape
    per_row = 8 * max(K, D * (1 + (n_draws or 0)))
    n_rows = BLOCK_ROWS * max(1, _PIECE_BYTES // (BLOCK_ROWS * per_row))
    with closing(source.blocks()) as blocks:  # type: ignore[type-var]
        for number, (X, weights) in enumerate(recut(blocks, n_rows)):
            lacking = np.isnan(X).sum(axis=1)
            rows = np.flatnonzero(lacking)
            rows = rows[np.argsort(lacking[rows], kind="stable")]
            whole = np.array(X, order="C")
            filled = whole if n_draws is None else np.repeat(whole[None], n_draws, axis=0)
            if len(rows):
                chosen = ArraySource(X[rows].astype(np.float64, copy=False), incomplete=True)
                shares = responsibilities(chosen, parameters, n_jobs=n_jobs)
                drawn = _filled(
                    chosen.X,
                    shares,
                    completing,
                    parameters.is_diagonal,
                    n_draws or 0,
                    np.random.default_rng([seed, number]),
                    n_jobs,
                )
                if n_draws is None:
                    filled[rows] = drawn[:, 0]
                else:
                    filled[:, rows] = drawn.transpose(1, 0, 2)
            yield Rows(filled, weights)


def _filled(
    X: npt.NDArray[np.float64],
    shares: npt.NDArray[np.float64],
    parameters: CompletionParameters,
    diagonal: bool,
    n_draws: int,
    random: np.random.Generator,
    n_jobs: int | None,
) -> npt.NDArray[np.float64]:
    """Return rows with what is missing filled in, shape (n_rows, n_draws or 1, n_features)."""
    n_rows, n_features = X.shape
    filled = np.empty((n_rows, max(1, n_draws), n_features))
    task = ImputationTask(
        X=X,
        lanes=COMPLETED_LANES,
        diagonal=diagonal,
        n_slots=_SLOTS,
        **parameters._asdict(),
        responsibilities=shares,
        uniforms=random.random((n_rows, n_draws)),
        normals=random.standard_normal((n_rows, n_draws, n_features)),
        filled=filled,
    )
    run_slots(imputation_slot, task, _SLOTS, n_jobs, n_rows * _OPERATIONS_PER_ROW)
    return filled
