"""Where a batch fit begins: at starts that are drawn, or at the result of the fit before."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fastgmm.data.source import Source
from fastgmm.data.sources.array import ArraySource
from fastgmm.em.degeneracy import regularization_for
from fastgmm.em.initialization.data_scan import DataScan, scan_data
from fastgmm.em.initialization.labels import KnownRows
from fastgmm.em.initialization.methods import InitialisationInfo, initialize
from fastgmm.estimators.saving.fit_checkpoints import EMCheckpoint
from fastgmm.estimators.shared.validation import GivenStart, check_labels
from fastgmm.mixture.m_step import NO_TERMS, ModelTerms
from fastgmm.mixture.noise import INITIAL_SHARE
from fastgmm.mixture.parameters import MixtureParameters
from fastgmm.mixture.regularization import Regularization
from fastgmm.mixture.structures import CovarianceStructure

Draw = Callable[[int], tuple[MixtureParameters, InitialisationInfo | None]]
"""Returns the start of a number, and how it was found; None for the result of an earlier fit."""


class Starts(NamedTuple):
    """Where a fit begins.

    Attributes
    ----------
    draw : callable
        Returns the start of each number from 0.
    number : int
        Number of starts.
    regularization : Regularization
        The amounts added to variances.
    previous_log_likelihood : float
        Mean log-likelihood, in nats, one iteration before the first start; minus infinity if
        there was none.
    given : bool
        Whether the user gave all of the parameters that EM begins with.
    """

    draw: Draw
    number: int
    regularization: Regularization
    previous_log_likelihood: float = -np.inf
    given: bool = False


def drawn_starts(
    estimator: Any,
    source: Source,
    structure: CovarianceStructure,
    checkpoint: EMCheckpoint,
    given: GivenStart,
    terms: ModelTerms = NO_TERMS,
    known: npt.NDArray[np.int64] | None = None,
) -> Starts:
    """Return the `n_init` starts of a fit from the beginning, after a first look at the data."""
    resumed, regularization = checkpoint.resumed, checkpoint.regularization
    if resumed is not None and regularization is not None and resumed.start >= estimator.n_init - 1:
        return Starts(_draw_none, estimator.n_init, regularization, given=given.is_complete)
    scanned = scan_data(
        source,
        estimator.n_components,
        estimator.reg_covar,
        estimator.reg_covar_scale,
        seed=checkpoint.seed,
        n_jobs=estimator.n_jobs,
    )
    check_enough_rows(source, estimator.n_components)
    draw = scanned_draw(
        estimator,
        source,
        structure,
        scanned,
        given,
        terms,
        known,
        random_state=checkpoint.random_state,
    )
    return Starts(draw, estimator.n_init, scanned.regularization, given=given.is_complete)


def scanned_draw(
    estimator: Any,
    source: Source,
    structure: CovarianceStructure,
    scanned: DataScan,
    given: GivenStart,
    terms: ModelTerms = NO_TERMS,
    known: npt.NDArray[np.int64] | None = None,
    *,
    random_state: np.random.RandomState,
) -> Draw:
    """Return what draws starts from the rows that a scan kept."""
    assert source.n_samples is not None  # the scan went through all of them
    labels = check_labels(estimator.labels_init, source, estimator.n_components)

    def draw(_number: int) -> tuple[MixtureParameters, InitialisationInfo]:
        parameters, info = initialize(
            scanned.sample if labels is None else source,
            estimator.n_components,
            structure,
            scanned.regularization,
            random_state=random_state,
            method=estimator.init_params,
            labels=labels,
            weights=given.weights,
            means=given.means,
            precisions=given.precisions,
            prior=terms.prior,
            known=None if known is None or labels is not None else KnownRows(source, known),
            subsampled=scanned.subsampled and labels is None,
            n_jobs=estimator.n_jobs,
        )
        if terms.noise is not None:
            parameters = terms.noise.added(parameters, INITIAL_SHARE)
        return parameters, info

    return draw


def result_before(
    estimator: Any, source: Source, checkpoint: EMCheckpoint, terms: ModelTerms = NO_TERMS
) -> Starts:
    """Return the result of the fit before as the only start."""
    regularization = checkpoint.regularization or regularization_for(
        source, estimator.reg_covar, estimator.reg_covar_scale, n_jobs=estimator.n_jobs
    )
    had_noise = hasattr(estimator, "noise_weight_")
    if had_noise != (terms.noise is not None):
        raise ValueError(
            f"warm_start=True continues from a fit {'with' if had_noise else 'without'} noise, but "
            f"noise_volume is {estimator.noise_volume!r} now: leave it as it was, or use "
            "warm_start=False"
        )
    fitted: MixtureParameters = estimator._parameters()
    parameters = estimator._structure().nearest(terms.gaussians(fitted))
    shape = (estimator.n_components, source.n_features)
    if parameters.means.shape != shape:
        raise ValueError(
            f"warm_start=True continues from means_ of shape {parameters.means.shape}, but "
            f"n_components={shape[0]} and X with {shape[1]} features need {shape}: use "
            "warm_start=False for a fit of another size"
        )
    if terms.noise is not None:
        parameters = terms.noise.added(parameters, float(fitted.weights[-1]))
    # EM compares with the pass before the last, as if the fit before had not been interrupted;
    # scikit-learn's lower_bound_ is already that of the pass before.
    trace = getattr(estimator, "trace_", (estimator.lower_bound_, np.nan))
    previous = float(trace[-2]) if len(trace) > 1 else -np.inf
    return Starts(lambda _number: (parameters, None), 1, regularization, previous, given=True)


def check_enough_rows(source: Source, n_components: int) -> None:
    """Raise if there are known to be fewer rows that count than components."""
    rows, what = source.n_samples, "n_samples"
    if isinstance(source, ArraySource) and source.weights is not None:
        rows, what = int(np.count_nonzero(source.weights)), "rows of positive weight"
    if rows == 0 and source.left_out is not None:
        raise ValueError("no row of X has a value: there is nothing to fit")
    if rows is not None and rows < n_components:
        raise ValueError(
            f"Expected n_samples >= n_components but got n_components = {n_components}, "
            f"{what} = {rows}"
        )


def _draw_none(number: int) -> tuple[MixtureParameters, None]:
    raise AssertionError(f"start {number} of a fit that needs no more")
