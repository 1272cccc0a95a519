"""Between a mixture or its fit and the attributes in which scikit-learn's users see them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from fastgmm.em.loop import FitInfo
from fastgmm.estimators.shared.interfaces import FittedMixture
from fastgmm.kernels.compilation import Stopwatch
from fastgmm.mixture.noise import UniformNoise, without_noise
from fastgmm.mixture.parameters import (
    MixtureParameters,
    noise_and_loadings,
    whiteners_from_factors,
)
from fastgmm.mixture.statistics import FloatArray
from fastgmm.mixture.structures import CovarianceStructure, FactorStructure

FITTED_STRUCTURE = "_fitted_structure"
"""The structure that the arrays are of, whatever `covariance_type` is set to later."""

FACTOR_ATTRIBUTES = ("factor_loadings_", "noise_variances_")
"""The attributes that only factor analyzers have, in place of those of their covariances."""

COVARIANCE_ATTRIBUTES = ("covariances_", "precisions_", "precisions_cholesky_")

NOISE_ATTRIBUTES = ("noise_weight_", "noise_log_volume_")
"""The attributes that only mixtures with noise have."""


_CHANGED = (
    ": if covariance_type was changed after the fit, set it back, or fit anew with warm_start=False"
)


def attributes_from_parameters(
    parameters: MixtureParameters,
    structure: CovarianceStructure,
    noise: UniformNoise | None = None,
) -> dict[str, Any]:
    """Return the fitted attributes of a mixture by name, float64 whatever the data are.

    Single precision would not do: inference reads the attributes, and means far from zero, or
    covariances of very small or large numbers, are beyond it.
    """
    gaussians = parameters if noise is None else without_noise(parameters)
    arrays = {"weights_": parameters.weights[: gaussians.n_components], "means_": gaussians.means}
    if isinstance(structure, FactorStructure):
        noise_variances, loadings = noise_and_loadings(structure.canonical(gaussians).whiteners)
        arrays |= {"factor_loadings_": loadings, "noise_variances_": noise_variances}
    else:
        arrays |= {
            "covariances_": structure.covariances(gaussians),
            "precisions_": structure.precisions(gaussians),
            "precisions_cholesky_": structure.precisions_cholesky(gaussians),
        }
    # Copies, because users may write into attributes and parameters are shared values.
    attributes: dict[str, Any] = {
        name: np.array(value, dtype=np.float64) for name, value in arrays.items()
    }
    attributes[FITTED_STRUCTURE] = structure
    if noise is not None:
        share = float(parameters.weights[-1])
        attributes.update(noise_weight_=share, noise_log_volume_=noise.log_volume)
    return attributes


class CovarianceAttribute:
    """Covariances, or precisions, of factor analyzers: found when they are asked for, not held.

    As an attribute of the class it gives way to those that other mixtures hold.
    """

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, mixture: Any, owner: type | None = None) -> FloatArray:
        if mixture is None or FACTOR_ATTRIBUTES[0] not in vars(mixture):
            whose = "type" if mixture is None else type(mixture).__name__
            raise AttributeError(f"{whose!r} object has no attribute {self._name!r}")
        kind = mixture._structure()
        parameters = parameters_from_attributes(mixture, kind).of(slice(len(mixture.means_)))
        found: FloatArray = getattr(kind, self._name[:-1])(parameters)
        return found


def attributes_from_info(info: FitInfo, watch: Stopwatch) -> dict[str, Any]:
    """Return the fitted attributes that describe how a fit went since `watch` was made, by name."""
    return {
        "converged_": info.converged,
        "n_iter_": info.n_iter,
        "lower_bound_": info.trace[-1],
        "lower_bounds_": list(info.trace[1:]),
        "trace_": np.array(info.trace),
        "fit_info_": replace(info, compile_seconds=watch.compile_seconds),
    }


def parameters_from_attributes(
    estimator: FittedMixture, structure: CovarianceStructure
) -> MixtureParameters:
    """Return the mixture that `weights_`, `means_` and `precisions_cholesky_` describe.

    They may have been assigned by hand. The factor of a full or tied precision P may be any
    matrix C with C C^T = P; where it is not the upper triangle that a fit leaves, it is brought
    into that form.
    """
    means = np.asarray(estimator.means_, dtype=np.float64)
    weights = np.asarray(estimator.weights_, dtype=np.float64)
    low_rank = isinstance(structure, FactorStructure)
    names = FACTOR_ATTRIBUTES if low_rank else ("precisions_cholesky_",)
    read = {name: np.asarray(getattr(estimator, name), dtype=np.float64) for name in names}
    if means.ndim != 2:
        raise ValueError(
            f"means_ should have the shape of (n_components, n_features), but got {means.shape}"
        )
    check_attribute_shape("weights_", weights, means.shape[:1])
    shapes: dict[str, tuple[int, ...]] = {
        "precisions_cholesky_": structure.covariance_shape(*means.shape),
        "factor_loadings_": (*means.shape, structure.n_factors or 0),
        "noise_variances_": means.shape,
    }
    for name in names:
        check_attribute_shape(name, read[name], shapes[name])
    for name, values in {"weights_": weights, "means_": means, **read}.items():
        if not np.isfinite(values).all():
            raise ValueError(f"{name} should be finite, but got {values[~np.isfinite(values)][0]}")
    if weights.min() < 0.0:
        raise ValueError(f"weights_ should be at least 0, but got min value {weights.min():.6g}")
    if low_rank:
        loadings, noise = read.values()
        if noise.min() <= 0.0:
            raise ValueError(
                f"noise_variances_ should be positive, but got min value {noise.min():.6g}"
            )
        whiteners = whiteners_from_factors(noise, loadings)
    else:
        whiteners = structure.expand(_factors(read.popitem()[1], structure), *means.shape)
    gaussians = MixtureParameters.from_whiteners(weights, means, whiteners)
    return _with_noise(gaussians, estimator) if hasattr(estimator, "noise_weight_") else gaussians


def _factors(factors: FloatArray, structure: CovarianceStructure) -> FloatArray:
    """Return `precisions_cholesky_` as a fit leaves it, but transposed if it holds matrices."""
    if not structure.is_diagonal:
        return _lower_triangles(factors)
    if factors.min() <= 0.0:
        raise ValueError(
            f"precisions_cholesky_ should be positive for covariance_type={structure.name!r}, but "
            f"got min value {factors.min():.6g}{_CHANGED}"
        )
    return factors


def check_same_form(estimator: FittedMixture) -> None:
    """Raise if a fit cannot continue from arrays of the fitted structure with that asked for."""
    fitted, asked = estimator._structure(), estimator._structure_asked()
    flags = ("is_diagonal", "is_spherical", "is_tied", "n_factors", "constrained")
    if any(getattr(fitted, flag, None) != getattr(asked, flag, None) for flag in flags):
        raise ValueError(
            f"the mixture was fitted with covariance_type={_described(fitted)}, and "
            f"{_described(asked)} cannot continue from it{_CHANGED}"
        )


def _described(kind: CovarianceStructure) -> str:
    """Return a structure as messages say it."""
    return f"{kind.name!r}" + (f" and n_factors={kind.n_factors}" if kind.n_factors else "")


def check_gaussian(estimator: Any, purpose: str) -> None:
    """Raise unless the components of a mixture are Gaussian."""
    if hasattr(estimator, "dofs_"):
        raise ValueError(
            f"{purpose} takes mixtures of Gaussians, and the components of "
            f"{type(estimator).__name__} are t-distributions: use GaussianMixture"
        )


def gaussians_from_attributes(estimator: FittedMixture, purpose: str) -> MixtureParameters:
    """Return the components that the attributes of a fitted mixture describe.

    Those of a posterior of variational Bayes are the components at the expected parameters.
    """
    check_is_fitted(estimator, "means_")
    check_gaussian(estimator, purpose)
    if hasattr(estimator, "noise_weight_"):
        raise ValueError(
            f"{purpose} takes mixtures of Gaussians alone, and this one has noise, of which only "
            "the volume is known: use a mixture without noise_volume"
        )
    return parameters_from_attributes(estimator, estimator._structure()).with_matrices()


def components_from_attributes(estimator: FittedMixture) -> MixtureParameters:
    """Return the components that the attributes of a fitted mixture describe, without noise."""
    check_is_fitted(estimator, "means_")
    found = parameters_from_attributes(estimator, estimator._structure())
    return found.of(slice(len(estimator.means_))).with_matrices()


def _with_noise(gaussians: MixtureParameters, estimator: FittedMixture) -> MixtureParameters:
    """Return a mixture with the noise that the attributes describe, the weights as they are."""
    fitted = vars(estimator)
    share, log_volume = fitted["noise_weight_"], fitted["noise_log_volume_"]
    if not 0.0 <= share <= 1.0:
        raise ValueError(f"noise_weight_ should be from 0 to 1, but got {share:.6g}")
    if not np.isfinite(log_volume):
        raise ValueError(f"noise_log_volume_ should be finite, but got {log_volume}")
    noisy = UniformNoise(float(log_volume)).added(gaussians, float(share))
    own = noisy.log_weights[-1:]
    return replace(noisy, log_weights=np.concatenate([gaussians.log_weights, own]))


def check_attribute_shape(name: str, values: FloatArray, shape: tuple[int, ...]) -> None:
    """Raise if a fitted attribute does not have the shape that goes with `means_`."""
    if values.shape != shape:
        raise ValueError(
            f"{name} should have the shape of {shape} to go with means_ and covariance_type, but "
            f"got {values.shape}{_CHANGED}"
        )


def _lower_triangles(factors: FloatArray) -> FloatArray:
    """Return lower triangular W with W^T W = C C^T for a factor C, or for each of several."""
    lower: FloatArray = factors.swapaxes(-1, -2)
    if np.triu(lower, 1).any():
        # C^T = Q L with L lower triangular, which is the QR factorization with columns reversed.
        upper = np.asarray(np.linalg.qr(lower[..., ::-1], mode="r"))
        lower = upper[..., ::-1, ::-1]
    signs = np.sign(np.diagonal(lower, axis1=-2, axis2=-1))
    if not signs.all():
        raise ValueError(
            "precisions_cholesky_ should hold factors of positive definite precisions, but got a "
            "factor that has no inverse"
        )
    return lower if (signs > 0.0).all() else lower * signs[..., None]
