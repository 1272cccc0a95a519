"""Variational posteriors as plain values and arrays, which files hold, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from fastgmm.model.plain_arrays import arrays_of, from_arrays
from fastgmm.model.variational import VariationalPosterior, VariationalPrior
from fastgmm.model.weight_priors import weight_prior


def plain_posterior(
    posterior: VariationalPosterior, prefix: str
) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
    """Return what a posterior and its prior are made of, exactly.

    Parameters
    ----------
    posterior : VariationalPosterior
        The posterior.
    prefix : str
        What the names of the arrays begin with.

    Returns
    -------
    values : dict
        What JSON can hold.
    arrays : dict of str to ndarray
        The rest.
    """
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
    prefix: str, values: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]]
) -> VariationalPosterior:
    """Return the posterior that `plain_posterior` took apart.

    Parameters
    ----------
    prefix : str
        What the names of the arrays begin with.
    values, arrays : mapping
        What `plain_posterior` returned; other entries are left alone.

    Returns
    -------
    VariationalPosterior
        The posterior.

    Raises
    ------
    KeyError
        If something is missing.
    """
    prior = from_arrays(
        VariationalPrior,
        f"{prefix}_prior",
        arrays,
        weights=weight_prior(values["weights"], float(values["concentration"])),
        mean_precision=float(values["mean_precision"]),
        degrees_of_freedom=float(values["degrees_of_freedom"]),
    )
    return from_arrays(VariationalPosterior, prefix, arrays, prior=prior)
