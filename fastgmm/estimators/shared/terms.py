"""The prior and the noise of a mixture, as the parameters ask for them."""

from __future__ import annotations

import math
from typing import Any

from fastgmm.analysis.hypervolume import log_hypervolume
from fastgmm.data.source import Source
from fastgmm.em.blas_threads import one_blas_thread
from fastgmm.em.e_step.passes import source_moments
from fastgmm.mixture.noise import UniformNoise
from fastgmm.mixture.priors.conjugate import ConjugatePriors, Prior
from fastgmm.mixture.structures import CovarianceStructure


def prior_and_noise(
    estimator: Any, source: Source, structure: CovarianceStructure
) -> tuple[Prior | None, UniformNoise | None]:
    """Return the prior and the noise of a mixture of some data.

    What follows from the data follows from all of them, and is the same to the bit whenever it is
    worked out again.
    """
    priors, volume = estimator.priors, estimator.noise_volume
    if priors is None and volume is None:
        return None, None
    noise = None if volume is None or volume == "auto" else UniformNoise(math.log(volume))
    if priors is None and noise is not None:
        return None, noise
    prior = None
    with one_blas_thread():
        moments = source_moments(
            source, diagonal=structure.is_diagonal and volume != "auto", n_jobs=estimator.n_jobs
        )
        mean, covariance = moments.means()[0], moments.covariances()[0]
        if priors is not None:
            given = ConjugatePriors() if isinstance(priors, str) else priors
            total = source.total_weight
            # Divided by the weight less one row, but never by less than half the weight.
            unbiased = covariance * (total / max(total - 1.0, total / 2.0))
            prior = given.for_data(structure, estimator.n_components, mean, unbiased)
        if volume == "auto":
            noise = UniformNoise(log_hypervolume(source, mean, covariance))
    return prior, noise


def check_plain(mixture: Any, purpose: str) -> None:
    """Raise if a mixture is fitted by more than the likelihood of its rows and its components."""
    names = [
        name
        for name in ("noise_volume", "priors", "semi_supervised")
        if getattr(mixture, name, None)
    ]
    if hasattr(mixture, "noise_weight_") and "noise_volume" not in names:
        names.append("noise_weight_")
    if names:
        raise ValueError(
            f"{purpose} fits mixtures by maximum likelihood from rows alone, and this one has "
            f"{' and '.join(names)}: use a mixture without"
        )


def check_complete(source: Source) -> None:
    """Raise if rows of a mixture with noise lack values."""
    if source.incomplete:
        raise ValueError(
            "noise_volume and missing='model' do not go together: uniform noise has no density "
            "for part of a row; leave out the noise, or the rows that lack values"
        )
