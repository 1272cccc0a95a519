"""Matching of the components of two mixtures, and reordering of components."""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
from numpy.typing import ArrayLike
from scipy.optimize import linear_sum_assignment
from sklearn.utils.validation import check_is_fitted

from fastgmm.analysis.divergences import gaussian_divergences
from fastgmm.analysis.transport import squared_distances
from fastgmm.estimators.gaussian_mixture import GaussianMixture
from fastgmm.estimators.shared.attributes import (
    check_gaussian,
    components_from_attributes,
    parameters_from_attributes,
)
from fastgmm.estimators.shared.evaluation import MixtureEvaluation
from fastgmm.estimators.shared.marginals import mixture_like
from fastgmm.mixture.noise import UniformNoise
from fastgmm.mixture.parameters import MixtureParameters
from fastgmm.mixture.statistics import FloatArray

Cost = Literal["wasserstein", "kl", "means"]
"""Costs by which components are matched."""

_OF_THE_FIT = ("converged_", "n_iter_", "lower_bound_", "feature_names_in_")
"""What is known of a mixture that the order of its components does not change."""


def match_components(
    a: MixtureEvaluation, b: MixtureEvaluation, *, cost: Cost = "wasserstein"
) -> npt.NDArray[np.int64]:
    """Return which component of one mixture is which of another.

    Fits of the same data, or of data of the same kind, number their components arbitrarily. Each
    component of one mixture is given one of the other so that the sum of the costs is minimal.

    Parameters
    ----------
    a, b : GaussianMixture
        Fitted mixtures of the same features, with the same number of components. Noise is left
        out.
    cost : {"wasserstein", "kl", "means"}, default="wasserstein"
        What is summed: squared 2-Wasserstein distances, which are for means and spreads in the
        units of the features; Kullback-Leibler divergences in both directions together, which do
        not depend on units; or squared distances of means alone.

    Returns
    -------
    ndarray of int64 of shape (n_components,)
        The component of `b` that is component k of `a`, for each k.

    Raises
    ------
    ValueError
        If the mixtures differ in size, or there is no such cost.

    See Also
    --------
    reorder_components : Puts the components of a mixture into an order.

    Examples
    --------
    >>> import numpy as np
    >>> from fastgmm import GaussianMixture, match_components, reorder_components
    >>> rng = np.random.default_rng(0)
    >>> X = np.concatenate([rng.normal(center, 1.0, (200, 2)) for center in (0.0, 5.0, 10.0)])
    >>> a, b = (GaussianMixture(3, random_state=seed).fit(X) for seed in (0, 1))
    >>> aligned = reorder_components(b, match_components(a, b))
    >>> bool((aligned.predict(X) == a.predict(X)).all())
    True
    """
    for each in (a, b):
        check_gaussian(each, "match_components")
    ours, theirs = components_from_attributes(a), components_from_attributes(b)
    if ours.means.shape != theirs.means.shape:
        raise ValueError(
            "match_components takes two mixtures of the same numbers of components and features, "
            f"and means_ have the shapes {ours.means.shape} and {theirs.means.shape}"
        )
    if cost not in get_args(Cost):
        allowed = " or ".join(map(repr, get_args(Cost)))
        raise ValueError(f"cost must be {allowed}; got {cost!r}")
    order: npt.NDArray[np.int64] = linear_sum_assignment(_costs(ours, theirs, cost))[1]
    return order.astype(np.int64, copy=False)


def reorder_components(mixture: MixtureEvaluation, order: ArrayLike) -> GaussianMixture:
    """Return a mixture with its components in another order.

    Parameters
    ----------
    mixture : GaussianMixture
        A fitted mixture.
    order : array-like of int of shape (n_components,)
        The component that is to be number k, for each k: such as `match_components` returns, or
        ``numpy.argsort(mixture.weights_)[::-1]``.

    Returns
    -------
    GaussianMixture
        The same mixture, with the same structure. Of a posterior of variational Bayes, it is that
        of `weights_`, `means_` and `covariances_`.

    Raises
    ------
    ValueError
        If `order` does not hold each number of a component once.
    """
    check_is_fitted(mixture, "means_")
    check_gaussian(mixture, "reorder_components")
    parameters = parameters_from_attributes(mixture, mixture._structure())
    K = len(mixture.means_)
    places = np.asarray(order)
    if places.shape != (K,) or not np.array_equal(np.sort(places), np.arange(K)):
        raise ValueError(
            f"order must hold each of the numbers from 0 to {K - 1} once; got {order!r}"
        )
    noise, rows = None, places.astype(np.intp)
    if hasattr(mixture, "noise_weight_"):
        noise = UniformNoise(float(vars(mixture)["noise_log_volume_"]))
        rows = np.append(rows, K)
    reordered = mixture_like(mixture, parameters.of(rows), mixture._structure(), noise)
    known: dict[str, Any] = vars(mixture)
    reordered.__dict__.update({name: known[name] for name in _OF_THE_FIT if name in known})
    return reordered


def _costs(a: MixtureParameters, b: MixtureParameters, cost: Cost) -> FloatArray:
    """Return what it costs that a component is another."""
    if cost == "wasserstein":
        return squared_distances(a, b)
    if cost == "kl":
        return gaussian_divergences(a, b) + gaussian_divergences(b, a).T
    offsets = a.means[:, None] - b.means
    squares: FloatArray = ((offsets / (np.abs(offsets).max() or 1.0)) ** 2).sum(axis=2)
    return squares
