"""Where a batch fit begins: at starts that are drawn, or at the result of the fit before."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from fastgmm.data.source import Source
from fastgmm.data.sources.annotated import AnnotatedRows
from fastgmm.data.sources.array import ArraySource
from fastgmm.em.degeneracy import regularization_for
from fastgmm.em.initialization.competition import ROUGHLY, affordable_iterations, best_start
from fastgmm.em.initialization.data_scan import DataScan, scan_data
from fastgmm.em.initialization.kmeans import draws_from_all
from fastgmm.em.initialization.methods import (
    GivenStart,
    InitializationInfo,
    InitSettings,
    initialize,
)
from fastgmm.em.loop import Starts
from fastgmm.em.problem import EMProblem
from fastgmm.estimators.shared.attributes import check_same_form
from fastgmm.estimators.shared.fit_checkpoints import EMCheckpoint, FitCheckpoint
from fastgmm.estimators.shared.frozen import check_frozen_start
from fastgmm.estimators.shared.interfaces import BatchEstimator
from fastgmm.estimators.shared.validation import check_labels, check_start
from fastgmm.mixture.parameters import MixtureParameters


def continues(estimator: Any) -> bool:
    """Say whether a fit continues from the result of the fit before."""
    return bool(estimator.warm_start) and hasattr(estimator, "converged_")


def starts_of(
    estimator: Any, problem: EMProblem, checkpoint: EMCheckpoint
) -> tuple[EMProblem, Starts[MixtureParameters]]:
    """Return the problem and its starts: the result of the fit before, or those that are drawn."""
    if continues(estimator):
        return warm_start(estimator, problem, checkpoint)
    check_frozen_start(estimator, problem.structure)
    given = check_start(
        estimator.weights_init,
        estimator.means_init,
        estimator.precisions_init,
        estimator._structure_asked(),
        estimator.n_components,
        problem.source.n_features,
    )
    return drawn_starts(estimator, problem, checkpoint, given)


def drawn_starts(
    estimator: Any, problem: EMProblem, checkpoint: EMCheckpoint, given: GivenStart
) -> tuple[EMProblem, Starts[MixtureParameters]]:
    """Return the problem and its `n_init` starts, after a first look at the data.

    Each is the best of `n_candidates`, where a sample of the rows can tell.
    """
    resumed, regularization = checkpoint.resumed, checkpoint.regularization
    n_components, n_init = estimator.n_components, estimator.n_init
    complete = given.is_complete
    if resumed is not None and regularization is not None and resumed.start >= n_init - 1:
        problem = replace(problem, regularization=regularization)
        return problem, Starts(draw_none, n_init, given=complete)
    scanned, rows, settings = scanned_rows(estimator, problem.source, checkpoint)
    problem = replace(problem, regularization=scanned.regularization)
    if problem.truncation is not None:
        settings = replace(settings, kmeans=ROUGHLY)
    n_candidates = None if estimator.n_candidates == "auto" else estimator.n_candidates
    n_iterations = affordable_iterations(problem.source.n_samples, scanned.sample.n_samples)
    competing = (
        given.is_empty
        and _may_compete(problem, settings, n_components)
        and (n_iterations > 0 if n_candidates is None else n_candidates > 1)
    )

    def draw(number: int) -> tuple[MixtureParameters, InitializationInfo]:
        if problem.truncation is not None:
            problem.truncation.restart()
        if not competing:
            own = replace(settings, number=number)
            return initialize(problem, rows, n_components, own, given)
        return best_start(
            problem,
            scanned.sample,
            n_components,
            settings,
            estimator.max_iter,
            n_candidates=n_candidates,
            n_iterations=n_iterations,
        )

    return problem, Starts(draw, n_init, given=complete)


def _may_compete(problem: EMProblem, settings: InitSettings, n_components: int) -> bool:
    """Return whether a sample of the rows can tell which of several starts is the best."""
    return (
        settings.subsampled
        and problem.truncation is None
        and settings.method != "hierarchical"
        and problem.known is None
        and not problem.source.incomplete
        and not isinstance(problem.source, AnnotatedRows)
        and not draws_from_all(problem.source, n_components)
    )


def scanned_rows(
    estimator: BatchEstimator,
    source: Source,
    checkpoint: FitCheckpoint[Any, Any],
    *,
    diagonal: bool = True,
) -> tuple[DataScan, Source, InitSettings]:
    """Return a first look at the data, the rows that starts are found from, and how."""
    n_components, n_jobs = estimator.n_components, estimator.n_jobs
    scanned = scan_data(
        source,
        n_components,
        estimator.reg_covar,
        estimator.reg_covar_scale,
        seed=checkpoint.seed,
        diagonal=diagonal,
        n_jobs=n_jobs,
    )
    check_enough_rows(source, n_components)
    labels = check_labels(estimator.labels_init, source, n_components)
    settings = InitSettings(
        checkpoint.random_state,
        estimator.init_params,
        labels,
        subsampled=scanned.subsampled and labels is None,
        n_jobs=n_jobs,
    )
    return scanned, scanned.sample if labels is None else source, settings


def warm_start(
    estimator: BatchEstimator, problem: EMProblem, checkpoint: EMCheckpoint
) -> tuple[EMProblem, Starts[MixtureParameters]]:
    """Return the problem and the result of the fit before as its only start."""
    source, noise = problem.source, problem.noise
    regularization = checkpoint.regularization or regularization_for(
        source, estimator.reg_covar, estimator.reg_covar_scale, n_jobs=estimator.n_jobs
    )
    had_noise = hasattr(estimator, "noise_weight_")
    if had_noise != (noise is not None):
        raise ValueError(
            f"warm_start=True continues from a fit {'with' if had_noise else 'without'} noise, but "
            f"noise_volume is {vars(estimator)['noise_volume']!r} now: leave it as it was, or use "
            "warm_start=False"
        )
    check_same_form(estimator)
    parameters = problem.continued(estimator._parameters())
    means = problem.gaussians(parameters).means
    check_warm_shape(means, estimator.n_components, source.n_features)
    # EM compares with the pass before the last, as if the fit before had not been interrupted;
    # scikit-learn's lower_bound_ is already that of the pass before.
    trace = getattr(estimator, "trace_", (estimator.lower_bound_, np.nan))
    previous = float(trace[-2]) if len(trace) > 1 else -np.inf
    starts = Starts(lambda _number: (parameters, None), previous=previous, given=True)
    return replace(problem, regularization=regularization), starts


def check_warm_shape(means: np.ndarray, n_components: int, n_features: int) -> None:
    """Raise if the fit before was one of another size."""
    shape = (n_components, n_features)
    if means.shape != shape:
        raise ValueError(
            f"warm_start=True continues from means_ of shape {means.shape}, but "
            f"n_components={shape[0]} and X with {shape[1]} features need {shape}: use "
            "warm_start=False for a fit of another size"
        )


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
            f"{what} = {rows}: choose fewer components"
        )


def draw_none(number: int) -> Any:
    """Stand for the starts of a fit that needs no more of them."""
    raise AssertionError(f"start {number} of a fit that needs no more")
