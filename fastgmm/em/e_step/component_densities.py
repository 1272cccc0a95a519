"""The density of each component of a mixture at rows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from fastgmm.data.sources.array import ArraySource
from fastgmm.em.e_step.passes import log_density
from fastgmm.mixture.parameters import MixtureParameters


def component_log_densities(
    source: ArraySource, parameters: MixtureParameters, *, n_jobs: int | None = None
) -> npt.NDArray[Any]:
    """Return the log-density of every component at every row, weights left out."""
    densities = np.empty((source.n_samples, parameters.n_components), source.dtype)
    for k in range(parameters.n_components):
        alone = replace(parameters.of(slice(k, k + 1)), log_weights=np.zeros(1))
        densities[:, k] = log_density(source, alone, n_jobs=n_jobs)
    return densities
