"""Distances and divergences between fitted mixtures and their components, and their entropy.

Divergences are in nats, distances in the units of the features. A mixture fitted by variational
Bayes is taken as the mixture of its `weights_`, `means_` and `covariances_`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils import check_random_state

from fastgmm.analysis.divergences import (
    DivergenceApproximations,
    MonteCarloEstimate,
    approximated_divergence,
    estimated_divergence,
    estimated_entropy,
    gaussian_divergences,
)
from fastgmm.analysis.transport import MixtureTransport, squared_distances, transport
from fastgmm.docstrings import documented
from fastgmm.estimators.shared.attributes import gaussians_from_attributes
from fastgmm.estimators.shared.evaluation import MixtureEvaluation
from fastgmm.mixture.parameters import MixtureParameters
from fastgmm.mixture.statistics import FloatArray

__all__ = [
    "DivergenceApproximations",
    "MixtureTransport",
    "MonteCarloEstimate",
    "component_divergences",
    "component_wasserstein",
    "differential_entropy",
    "kl_approximations",
    "kl_divergence",
    "mixture_wasserstein",
]

_documented = documented("p, q : GaussianMixture\n    Fitted mixtures of the same features.")


@_documented
def kl_divergence(
    p: MixtureEvaluation,
    q: MixtureEvaluation,
    *,
    n_draws: int = 100_000,
    random_state: int | np.random.RandomState | None = None,
) -> MonteCarloEstimate:
    """Estimate the Kullback-Leibler divergence of two mixtures from draws.

    It is the mean of log p(x) - log q(x) over draws x of the first mixture: unbiased, and the only
    one of the functions here that comes as close to the divergence as wanted.

    Parameters
    ----------
    p, q : GaussianMixture
        Fitted mixtures of the same features. The divergence is not symmetric: it is KL(p, q).
    n_draws : int, default=100_000
        Number of draws, 2 at least. The standard error falls with its root.

    Returns
    -------
    MonteCarloEstimate
        The estimate in nats, and its standard error.

    Raises
    ------
    ValueError
        If the mixtures have different features or noise, or `n_draws` is less than 2.

    Examples
    --------
    >>> import numpy as np
    >>> from fastgmm import GaussianMixture
    >>> from fastgmm.distances import kl_divergence
    >>> X = np.random.default_rng(0).normal(size=(10_000, 1))
    >>> p, q = (GaussianMixture().fit(X + shift) for shift in (0.0, 1.0))
    >>> estimate = kl_divergence(p, q, random_state=0)
    >>> bool(abs(estimate.value - 0.5) < 0.02)
    True
    """
    ours, theirs = _mixtures(p, q, "kl_divergence")
    seed = _seed(n_draws, random_state)
    return estimated_divergence(ours, theirs, n_draws=n_draws, seed=seed, n_jobs=p.n_jobs)


@documented()
def differential_entropy(
    mixture: MixtureEvaluation,
    *,
    n_draws: int = 100_000,
    random_state: int | np.random.RandomState | None = None,
) -> MonteCarloEstimate:
    """Estimate the differential entropy of a mixture from draws.

    Parameters
    ----------
    mixture : GaussianMixture
        A fitted mixture.
    n_draws : int, default=100_000
        Number of draws, 2 at least. The standard error falls with its root.

    Returns
    -------
    MonteCarloEstimate
        The estimate of the mean of -log p(x) in nats, and its standard error, which is 0 for a
        single component and small where components are well apart.

    Raises
    ------
    ValueError
        If the mixture has noise, or `n_draws` is less than 2.

    Notes
    -----
    Of H(X | Z) + H(Z) - H(Z | X), with Z the component of a row X, only the last term is estimated,
    by the mean entropy of the responsibilities over draws; the others have closed forms.

    Examples
    --------
    >>> import numpy as np
    >>> from fastgmm import GaussianMixture
    >>> from fastgmm.distances import differential_entropy
    >>> X = np.random.default_rng(0).normal(size=(10_000, 1))
    >>> X[5000:] += 20.0  # two normal distributions far apart
    >>> mixture = GaussianMixture(2, random_state=0).fit(X)
    >>> entropy = differential_entropy(mixture, random_state=0)
    >>> print(round(entropy.value, 2))  # log(2 pi e) / 2 + log(2)
    2.11
    """
    parameters = gaussians_from_attributes(mixture, "differential_entropy")
    seed = _seed(n_draws, random_state)
    return estimated_entropy(parameters, n_draws=n_draws, seed=seed, n_jobs=mixture.n_jobs)


@_documented
def kl_approximations(p: MixtureEvaluation, q: MixtureEvaluation) -> DivergenceApproximations:
    """Return bounds and approximations of the Kullback-Leibler divergence, without draws.

    All follow from the divergences between single components (Hershey and Olsen, 2007).

    Returns
    -------
    DivergenceApproximations
        Two upper bounds and two approximations, in nats.

    Raises
    ------
    ValueError
        If the mixtures have different features or noise.

    Examples
    --------
    >>> import numpy as np
    >>> from fastgmm import GaussianMixture
    >>> from fastgmm.distances import kl_approximations
    >>> X = np.random.default_rng(0).normal(size=(500, 2))
    >>> X[250:] += 4.0
    >>> mixture = GaussianMixture(2, random_state=0).fit(X)
    >>> round(kl_approximations(mixture, mixture).variational_approximation, 12) + 0.0
    0.0
    """
    return approximated_divergence(*_mixtures(p, q, "kl_approximations"))


@_documented
def component_divergences(p: MixtureEvaluation, q: MixtureEvaluation) -> FloatArray:
    """Return the Kullback-Leibler divergence of each component of one mixture from each of another.

    Returns
    -------
    ndarray of shape (n_components, n_other_components)
        KL(p_a, q_b) in nats, by its closed form.

    Raises
    ------
    ValueError
        If the mixtures have different features or noise.
    """
    return gaussian_divergences(*_mixtures(p, q, "component_divergences"))


@_documented
def component_wasserstein(p: MixtureEvaluation, q: MixtureEvaluation) -> FloatArray:
    """Return the 2-Wasserstein distances between the components of two mixtures.

    Returns
    -------
    ndarray of shape (n_components, n_other_components)
        Distances in the units of the features, by their closed form.

    Raises
    ------
    ValueError
        If the mixtures have different features or noise.
    """
    distances: FloatArray = np.sqrt(squared_distances(*_mixtures(p, q, "component_wasserstein")))
    return distances


@_documented
def mixture_wasserstein(p: MixtureEvaluation, q: MixtureEvaluation) -> MixtureTransport:
    """Return the distance of two mixtures when Gaussians are moved to Gaussians.

    A distance between mixtures, and an upper bound of the 2-Wasserstein distance (Delon and
    Desolneux, 2020). Unlike the Kullback-Leibler divergence it is symmetric, and measures the
    distance of mixtures that do not overlap.

    Returns
    -------
    MixtureTransport
        The distance in the units of the features, and the plan.

    Raises
    ------
    ValueError
        If the mixtures have different features or noise.

    Examples
    --------
    >>> import numpy as np
    >>> from fastgmm import GaussianMixture
    >>> from fastgmm.distances import mixture_wasserstein
    >>> X = np.random.default_rng(0).normal(size=(500, 2))
    >>> X[250:] += 4.0
    >>> p, q = (GaussianMixture(2, random_state=0).fit(X + shift) for shift in (0.0, 3.0))
    >>> round(mixture_wasserstein(p, q).distance / 2.0**0.5, 6)
    3.0
    """
    return transport(*_mixtures(p, q, "mixture_wasserstein"))


def _seed(n_draws: int, random_state: int | np.random.RandomState | None) -> int:
    """Return the seed of so many draws, after a look at their number."""
    if n_draws < 2:
        raise ValueError(f"n_draws must be at least 2, for a standard error; got {n_draws}")
    return int(check_random_state(random_state).randint(np.iinfo(np.int32).max))


def _mixtures(p: Any, q: Any, purpose: str) -> tuple[MixtureParameters, MixtureParameters]:
    """Return the components of two mixtures, after a look at whether they can be compared."""
    ours, theirs = (gaussians_from_attributes(each, purpose) for each in (p, q))
    if ours.n_features != theirs.n_features:
        raise ValueError(
            f"{purpose} compares mixtures of the same features, and these have {ours.n_features} "
            f"and {theirs.n_features}: marginal returns that of some columns"
        )
    return ours, theirs
