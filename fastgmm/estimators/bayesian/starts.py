"""Where a fit by variational Bayes begins: at starts that are drawn, or at the fit before."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from fastgmm.data.source import Source
from fastgmm.em.e_step.passes import source_moments
from fastgmm.em.initialization.data_scan import scan_data
from fastgmm.em.initialization.methods import InitialisationInfo
from fastgmm.em.models.variational import initial_posterior
from fastgmm.estimators.bayesian.attributes import check_prior
from fastgmm.estimators.saving.fit_checkpoints import VariationalCheckpoint
from fastgmm.estimators.shared.starts import check_enough_rows
from fastgmm.estimators.shared.validation import check_labels
from fastgmm.mixture.priors.variational import VariationalPosterior
from fastgmm.mixture.regularization import Regularization
from fastgmm.mixture.structures import CovarianceStructure


class VariationalStarts(NamedTuple):
    """Where a fit begins.

    Attributes
    ----------
    draw : callable
        Returns the start of each number from 0, and how it was found; None for the result of an
        earlier fit.
    number : int
        Number of starts.
    regularization : Regularization
        The amounts added to variances.
    previous_bound : float
        Lower bound, in nats, one iteration before the first start; minus infinity if there was
        none.
    """

    draw: Callable[[int], tuple[VariationalPosterior, InitialisationInfo | None]]
    number: int
    regularization: Regularization
    previous_bound: float = -np.inf


def drawn_posteriors(
    estimator: Any,
    source: Source,
    structure: CovarianceStructure,
    checkpoint: VariationalCheckpoint,
) -> VariationalStarts:
    """Return the `n_init` starts of a fit from the beginning, after a first look at the data."""
    given = check_prior(estimator, structure, source.n_features)
    resumed, regularization = checkpoint.resumed, checkpoint.regularization
    if resumed is not None and regularization is not None and resumed.start >= estimator.n_init - 1:
        return VariationalStarts(_draw_none, estimator.n_init, regularization)
    scanned = scan_data(
        source,
        estimator.n_components,
        estimator.reg_covar,
        estimator.reg_covar_scale,
        seed=checkpoint.seed,
        diagonal=structure.is_diagonal,
        n_jobs=estimator.n_jobs,
    )
    check_enough_rows(source, estimator.n_components)
    prior = given.completed(scanned.moments, structure, scanned.regularization)
    assert source.n_samples is not None  # the scan went through all of them
    labels = check_labels(estimator.labels_init, source, estimator.n_components)

    def draw(_number: int) -> tuple[VariationalPosterior, InitialisationInfo]:
        return initial_posterior(
            scanned.sample if labels is None else source,
            estimator.n_components,
            prior,
            structure,
            scanned.regularization,
            weight=source.total_weight,
            random_state=checkpoint.random_state,
            method=estimator.init_params,
            labels=labels,
            subsampled=scanned.subsampled and labels is None,
            n_jobs=estimator.n_jobs,
        )

    return VariationalStarts(draw, estimator.n_init, scanned.regularization)


def posterior_before(
    estimator: Any,
    source: Source,
    structure: CovarianceStructure,
    checkpoint: VariationalCheckpoint,
) -> VariationalStarts:
    """Return the posterior of the fit before as the only start, under the prior of this one."""
    given = check_prior(estimator, structure, source.n_features)
    posterior: VariationalPosterior = estimator._posterior()
    shape = (estimator.n_components, source.n_features)
    if posterior.means.shape != shape:
        raise ValueError(
            f"warm_start=True continues from means_ of shape {posterior.means.shape}, but "
            f"n_components={shape[0]} and X with {shape[1]} features need {shape}: use "
            "warm_start=False for a fit of another size"
        )
    prior, regularization = checkpoint.prior, checkpoint.regularization
    if prior is None or regularization is None:
        moments = source_moments(source, diagonal=structure.is_diagonal, n_jobs=estimator.n_jobs)
        regularization = Regularization.from_variances(
            estimator.reg_covar,
            estimator.reg_covar_scale,
            moments.means()[0],
            moments.variances()[0],
        )
        prior = given.completed(moments, structure, regularization)
    concentrations = posterior.concentrations
    if prior.weights.name != posterior.prior.weights.name:
        counts = posterior.prior.weights.counts(concentrations)
        concentrations = prior.weights.posterior(np.maximum(counts, 0.0))
    start = replace(posterior, prior=prior, concentrations=concentrations)
    return VariationalStarts(
        lambda _number: (start, None), 1, regularization, float(estimator.lower_bound_)
    )


def _draw_none(number: int) -> tuple[VariationalPosterior, None]:
    raise AssertionError(f"start {number} of a fit that needs no more")
