"""Variational posteriors as plain values and arrays, which files hold, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from fastgmm.io.arrays import Size, arrays_of, from_arrays
from fastgmm.io.values import require, typed_members
from fastgmm.mixture.priors.variational import VariationalPosterior, VariationalPrior
from fastgmm.mixture.priors.weights import weight_prior


def plain_posterior(
    posterior: VariationalPosterior, prefix: str
) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
    """Return what a posterior and its prior are made of, exactly."""
    prior = posterior.prior
    values = {
        "weights": prior.weights.name,
        "concentration": prior.weights.concentration,
        "mean_precision": prior.mean_precision,
        "degrees_of_freedom": prior.degrees_of_freedom,
    }
    arrays = arrays_of(posterior, prefix) | arrays_of(prior, f"{prefix}_prior")
    return values, {name: np.ascontiguousarray(array) for name, array in arrays.items()}


def posterior_from_plain(
    prefix: str, values: Any, arrays: Mapping[str, npt.NDArray[Any]], size: Size
) -> VariationalPosterior:
    """Return the posterior that `plain_posterior` took apart."""
    kinds = {"weights": str, "concentration": float}
    kinds |= {"mean_precision": float, "degrees_of_freedom": float}
    told = typed_members(values, kinds, "posterior")
    for name in ("concentration", "mean_precision", "degrees_of_freedom"):
        require(told[name] > 0.0, f"{name}={told[name]:.6g} is positive")
    weights = weight_prior(told["weights"], told["concentration"])
    prior = from_arrays(
        VariationalPrior,
        f"{prefix}_prior",
        arrays,
        size,
        weights=weights,
        mean_precision=told["mean_precision"],
        degrees_of_freedom=told["degrees_of_freedom"],
    )
    posterior = from_arrays(VariationalPosterior, prefix, arrays, size, prior=prior)
    expected = weights.posterior(np.ones(size.n_components)).shape
    shape = posterior.concentrations.shape
    require(shape == expected, f"{prefix}_concentrations of shape {shape} has shape {expected}")
    lowest = min(told["degrees_of_freedom"], float(posterior.degrees_of_freedom.min()))
    above = size.n_features - 1
    require(lowest > above, f"degrees of freedom of {lowest:.6g} are above {above}")
    return posterior
