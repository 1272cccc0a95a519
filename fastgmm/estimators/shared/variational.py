"""Posteriors of variational Bayes: their attributes, their priors, and where fits begin."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from fastgmm.data.source import Source
from fastgmm.em.e_step.passes import source_moments
from fastgmm.em.initialization.methods import InitializationInfo
from fastgmm.em.loop import Starts
from fastgmm.em.models.variational import VariationalProblem, initial_posterior
from fastgmm.estimators.shared.attributes import (
    attributes_from_parameters,
    check_attribute_shape,
    check_same_form,
    parameters_from_attributes,
)
from fastgmm.estimators.shared.fit_checkpoints import VariationalCheckpoint
from fastgmm.estimators.shared.interfaces import VariationalEstimator
from fastgmm.estimators.shared.starts import check_warm_shape, draw_none, scanned_rows
from fastgmm.estimators.shared.validation import (
    check_symmetric,
    check_values,
    require_squares,
)
from fastgmm.mixture.priors.variational import (
    GivenPrior,
    VariationalPosterior,
    VariationalPrior,
)
from fastgmm.mixture.priors.weights import weight_prior
from fastgmm.mixture.regularization import Regularization
from fastgmm.mixture.statistics import FloatArray
from fastgmm.mixture.structures import CovarianceStructure


def check_prior(
    estimator: VariationalEstimator, structure: CovarianceStructure, n_features: int
) -> GivenPrior:
    """Return the prior that an estimator's parameters give, checked."""
    mean, scatter = estimator.mean_prior, estimator.covariance_prior
    degrees = estimator.degrees_of_freedom_prior
    if degrees is not None and degrees <= n_features - 1:
        raise ValueError(
            f"The parameter 'degrees_of_freedom_prior' should be greater than {n_features - 1}, "
            f"but got {degrees:.3f}."
        )
    concentration = estimator.weight_concentration_prior
    if concentration is not None and not 1e-300 <= concentration <= 1e300:
        raise ValueError(
            "The parameter 'weight_concentration_prior' should be from 1e-300 to 1e300, beyond "
            f"which sums of logarithms overflow, but got {concentration:g}"
        )
    if mean is not None:
        mean = check_values(mean, (n_features,), "mean_prior")
        require_squares(mean, "mean_prior")
    return GivenPrior(
        weights=weight_prior(
            estimator.weight_concentration_prior_type,
            1.0 / estimator.n_components if concentration is None else float(concentration),
        ),
        mean=mean,
        mean_precision=_float_or_none(estimator.mean_precision_prior),
        scatter=None if scatter is None else _check_scatter(scatter, structure, n_features),
        degrees_of_freedom=_float_or_none(degrees),
    )


def attributes_from_posterior(
    posterior: VariationalPosterior, structure: CovarianceStructure
) -> dict[str, Any]:
    """Return the fitted attributes of a posterior and its prior by name."""
    prior = posterior.prior
    concentrations = np.array(posterior.concentrations)
    degrees = posterior.degrees_of_freedom
    return {
        **attributes_from_parameters(posterior.mean_parameters(), structure),
        "weight_concentration_": (
            concentrations if concentrations.ndim == 1 else tuple(concentrations)
        ),
        "mean_precision_": np.array(posterior.mean_precisions),
        "degrees_of_freedom_": (float(degrees[0]) if structure.is_tied else np.array(degrees)),
        "weight_concentration_prior_": prior.weights.concentration,
        "mean_precision_prior_": prior.mean_precision,
        "mean_prior_": np.array(prior.mean),
        "degrees_of_freedom_prior_": prior.degrees_of_freedom,
        "covariance_prior_": (
            float(prior.scatter[0]) if structure.is_spherical else np.array(prior.scatter)
        ),
    }


def posterior_from_attributes(
    estimator: VariationalEstimator, structure: CovarianceStructure
) -> VariationalPosterior:
    """Return the posterior that the attributes of an estimator describe."""
    mixture = parameters_from_attributes(estimator, structure)
    K, D = mixture.n_components, mixture.n_features
    rows = (2, K) if isinstance(estimator.weight_concentration_, tuple) else (K,)
    concentrations = _positive(estimator, "weight_concentration_", rows)
    weights = weight_prior(
        "dirichlet_distribution" if concentrations.ndim == 1 else "dirichlet_process",
        float(estimator.weight_concentration_prior_),
    )
    degrees = _positive(estimator, "degrees_of_freedom_", () if structure.is_tied else (K,))
    shape = () if structure.is_spherical else (D,) if structure.is_diagonal else (D, D)
    scatter = np.asarray(estimator.covariance_prior_, dtype=np.float64)
    check_attribute_shape("covariance_prior_", scatter, shape)
    mean = np.asarray(estimator.mean_prior_, dtype=np.float64)
    check_attribute_shape("mean_prior_", mean, (D,))
    prior = VariationalPrior(
        weights=weights,
        mean=mean,
        mean_precision=float(estimator.mean_precision_prior_),
        scatter=np.full(D, float(scatter)) if structure.is_spherical else scatter,
        degrees_of_freedom=float(estimator.degrees_of_freedom_prior_),
    )
    return VariationalPosterior(
        prior=prior,
        concentrations=concentrations,
        means=mixture.means,
        mean_precisions=_positive(estimator, "mean_precision_", (K,)),
        whiteners=mixture.whiteners,
        degrees_of_freedom=np.broadcast_to(degrees, K),
    )


def _positive(estimator: VariationalEstimator, name: str, shape: tuple[int, ...]) -> FloatArray:
    """Return an attribute that holds positive numbers."""
    values = np.asarray(getattr(estimator, name), dtype=np.float64)
    check_attribute_shape(name, values, shape)
    if not (values > 0.0).all():
        raise ValueError(f"{name} should be positive, but got min value {values.min():.6g}")
    return values


def _check_scatter(scatter: Any, structure: CovarianceStructure, n_features: int) -> FloatArray:
    """Return a covariance prior of the structure's shape, for all features."""
    shape = (n_features,) * (0 if structure.is_spherical else 1 if structure.is_diagonal else 2)
    if shape and np.ndim(scatter) == 0:
        raise TypeError(
            f"The parameter 'covariance_prior' should have the shape of {shape} for "
            f"covariance_type={structure.name!r}, but got a number"
        )
    checked = check_values(scatter, shape, "covariance_prior")
    if structure.is_diagonal:
        if checked.min() <= 0.0:
            raise ValueError(
                "The parameter 'covariance_prior' should be positive for covariance_type="
                f"{structure.name!r}, but got min value {checked.min():.6g}"
            )
        return np.broadcast_to(checked, n_features).copy()
    check_symmetric(checked, "covariance_prior")
    if np.linalg.eigvalsh(checked)[0] <= 0.0:
        raise ValueError(
            "The parameter 'covariance_prior' should be a symmetric, positive-definite matrix, "
            f"but its smallest eigenvalue is {np.linalg.eigvalsh(checked)[0]:.6g}"
        )
    return checked


def _float_or_none(value: float | None) -> float | None:
    return None if value is None else float(value)


def drawn_posteriors(
    estimator: VariationalEstimator,
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
    scanned, rows, settings = scanned_rows(
        estimator, source, checkpoint, diagonal=structure.is_diagonal
    )
    problem = VariationalProblem(source, structure, scanned.regularization, n_jobs)
    prior = given.completed(scanned.moments, structure, scanned.regularization)

    def draw(_number: int) -> tuple[VariationalPosterior, InitializationInfo]:
        return initial_posterior(rows, n_components, prior, problem, settings)

    return problem, Starts(draw, n_init)


def warm_posterior(
    estimator: VariationalEstimator,
    source: Source,
    structure: CovarianceStructure,
    checkpoint: VariationalCheckpoint,
) -> tuple[VariationalProblem, Starts[VariationalPosterior]]:
    """Return the problem, and the posterior of the fit before under this one's prior."""
    check_same_form(estimator)
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
