"""Where a fit by variational Bayes begins: at starts that are drawn, or at the fit before."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from fastgmm.data.source import Source
from fastgmm.em.e_step.passes import source_moments
from fastgmm.em.initialization.data_scan import scan_data
from fastgmm.em.initialization.methods import InitializationInfo, InitSettings
from fastgmm.em.loop import Starts
from fastgmm.em.models.variational import VariationalProblem, initial_posterior
from fastgmm.estimators.bayesian.attributes import check_prior
from fastgmm.estimators.shared.fit_checkpoints import VariationalCheckpoint
from fastgmm.estimators.shared.starts import check_enough_rows, check_warm_shape, draw_none
from fastgmm.estimators.shared.validation import check_labels
from fastgmm.mixture.priors.variational import VariationalPosterior
from fastgmm.mixture.regularization import Regularization
from fastgmm.mixture.structures import CovarianceStructure


def drawn_posteriors(
    estimator: Any,
    source: Source,
    structure: CovarianceStructure,
    checkpoint: VariationalCheckpoint,
) -> tuple[VariationalProblem, Starts[VariationalPosterior]]:
    """Return the problem and its `n_init` starts, after a first look at the data."""
    given = check_prior(estimator, structure, source.n_features)
    resumed, regularization = checkpoint.resumed, checkpoint.regularization
    n_components, n_init, n_jobs = estimator.n_components, estimator.n_init, estimator.n_jobs
    if resumed is not None and regularization is not None and resumed.start >= n_init - 1:
        problem = VariationalProblem(source, structure, regularization, n_jobs)
        return problem, Starts(draw_none, n_init)
    scanned = scan_data(
        source,
        n_components,
        estimator.reg_covar,
        estimator.reg_covar_scale,
        seed=checkpoint.seed,
        diagonal=structure.is_diagonal,
        n_jobs=n_jobs,
    )
    check_enough_rows(source, n_components)
    problem = VariationalProblem(source, structure, scanned.regularization, n_jobs)
    prior = given.completed(scanned.moments, structure, scanned.regularization)
    labels = check_labels(estimator.labels_init, source, n_components)
    settings = InitSettings(
        checkpoint.random_state,
        estimator.init_params,
        labels,
        subsampled=scanned.subsampled and labels is None,
        n_jobs=n_jobs,
    )
    rows = scanned.sample if labels is None else source

    def draw(_number: int) -> tuple[VariationalPosterior, InitializationInfo]:
        return initial_posterior(rows, n_components, prior, problem, settings)

    return problem, Starts(draw, n_init)


def warm_posterior(
    estimator: Any,
    source: Source,
    structure: CovarianceStructure,
    checkpoint: VariationalCheckpoint,
) -> tuple[VariationalProblem, Starts[VariationalPosterior]]:
    """Return the problem, and the posterior of the fit before under this one's prior."""
    given = check_prior(estimator, structure, source.n_features)
    posterior: VariationalPosterior = estimator._posterior()
    check_warm_shape(posterior.means, estimator.n_components, source.n_features)
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
    problem = VariationalProblem(source, structure, regularization, estimator.n_jobs)
    return problem, Starts(lambda _number: (start, None), previous=float(estimator.lower_bound_))
