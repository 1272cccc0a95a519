"""MAP adaptation of a trained mixture to new rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from fastgmm.docstrings import documented
from fastgmm.em.e_step.passes import mixture_statistics
from fastgmm.estimators.gaussian_mixture import GaussianMixture
from fastgmm.estimators.shared.attributes import (
    gaussians_from_attributes,
    parameters_from_attributes,
)
from fastgmm.estimators.shared.evaluation import MixtureEvaluation
from fastgmm.estimators.shared.interfaces import Rows, Weights
from fastgmm.estimators.shared.marginals import mixture_like
from fastgmm.mixture.regularization import Regularization
from fastgmm.mixture.structures import Spread

Adapted = Literal["weights", "means", "covariances"]
_KINDS: tuple[Adapted, ...] = ("weights", "means", "covariances")


@documented()
def adapt(
    mixture: MixtureEvaluation,
    X: Rows,
    *,
    relevance: float = 16.0,
    what: Sequence[Adapted] = ("means",),
    sample_weight: Weights = None,
) -> GaussianMixture:
    """Adapt a trained mixture to the rows of one source, such as a speaker.

    A mixture that was trained on rows of many sources, a universal background model, is adapted to
    few rows of one of them (Reynolds, Quatieri and Dunn, 2000): components that rows belong to
    move toward them, and the others stay. One pass over the rows is made. Component k of the
    adapted mixture still corresponds to component k of the background model.

    Parameters
    ----------
    mixture : GaussianMixture
        The fitted background model.
    X : array-like of shape (n_samples, n_features), or anything that `open_data` takes
        The rows. They may lack values if the mixture was fitted with ``missing="model"``.
    relevance : float, default=16.0
        Relevance factor r: the data of a component of n rows count n / (n + r), and the background
        model the rest. Above 0.
    what : sequence of {"weights", "means", "covariances"}, default=("means",)
        What is adapted.

    Returns
    -------
    GaussianMixture
        The adapted mixture.

    Raises
    ------
    ValueError
        If `relevance` or `what` is invalid, the mixture has noise, or rows are invalid.

    See Also
    --------
    ConjugatePriors : Priors of each component, under which fits converge to the MAP estimate.

    Notes
    -----
    With α = n / (n + r), m and S the mean and the covariance of the rows of a component, each by
    its responsibility, and μ and Σ those of the background model, the adapted mean is
    α m + (1 - α) μ (eq. 12), and the adapted covariance α (S + (m - μ')(m - μ')ᵀ) +
    (1 - α)(Σ + (μ - μ')(μ - μ')ᵀ) about the new mean μ' (eq. 13, for full covariances). Adapted
    weights are α n / N + (1 - α) w, scaled to sum to 1 (eq. 11).

    Examples
    --------
    >>> import numpy as np
    >>> from fastgmm import GaussianMixture, adapt
    >>> rng = np.random.default_rng(0)
    >>> everyone = np.concatenate([rng.normal(size=(5000, 2)), rng.normal(8, 1, size=(5000, 2))])
    >>> background = GaussianMixture(2, random_state=0).fit(everyone)
    >>> someone = rng.normal(size=(200, 2)) + 1.0  # no row near the other component
    >>> adapted = adapt(background, someone)
    >>> np.abs(adapted.means_ - background.means_).max(axis=1).round() + 0.0
    array([0., 1.])
    """
    parameters = gaussians_from_attributes(mixture, "adapt")
    if not 0.0 < relevance < np.inf:
        raise ValueError(f"relevance must be above 0 and finite; got {relevance!r}")
    unknown = [each for each in what if each not in _KINDS]
    if isinstance(what, str) or unknown:
        raise ValueError(
            f"what must list some of {', '.join(map(repr, _KINDS))}; got "
            f"{what if isinstance(what, str) else unknown[0]!r}"
        )
    source, _ = mixture._observed(X, sample_weight)
    found = mixture_statistics(source, parameters, n_jobs=mixture.n_jobs)
    counts = np.where(found.empty(), 0.0, found.counts)
    shares = counts / (counts + relevance)
    weights, means = parameters.weights, parameters.means
    if "weights" in what:
        weights = shares * counts / counts.sum() + (1.0 - shares) * weights
        weights = weights / weights.sum()
    moved = found.means() - means
    if "means" in what:
        means = means + shares[:, None] * moved
    kind = mixture._structure()
    adapted = parameters_from_attributes(mixture, kind)
    adapted = replace(adapted, log_weights=np.log(weights), means=means)
    if "covariances" in what:
        axes = (slice(None),) + (None,) * (parameters.whiteners.ndim - 1)
        of_rows, of_model = found.means() - means, parameters.means - means
        if parameters.is_diagonal:
            of_rows, of_model = of_rows**2, of_model**2
        else:
            of_rows = of_rows[:, :, None] * of_rows[:, None, :]
            of_model = of_model[:, :, None] * of_model[:, None, :]
        covariances = shares[axes] * (found.covariances() + of_rows)
        covariances += (1.0 - shares[axes]) * (parameters.covariances() + of_model)
        none = Regularization.none(parameters.n_features)
        spread = Spread(covariances, counts + relevance, none, parameters)
        adapted = kind.assemble(weights, means, kind.whiten(spread))
    result = mixture_like(mixture, adapted, kind)
    if hasattr(mixture, "feature_names_in_"):
        result.feature_names_in_ = mixture.feature_names_in_
    return result
