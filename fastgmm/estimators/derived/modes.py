"""Modes of a fitted mixture, and clusters of the rows that ascend to the same one."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.exceptions import ConvergenceWarning

from fastgmm.analysis import modes
from fastgmm.data.sources.array import ArraySource
from fastgmm.docstrings import documented
from fastgmm.estimators.shared.attributes import check_gaussian, components_from_attributes
from fastgmm.estimators.shared.evaluation import MixtureEvaluation
from fastgmm.estimators.shared.interfaces import Rows
from fastgmm.estimators.shared.lazy_results import lazy_on_collections
from fastgmm.mixture.parameters import MixtureParameters
from fastgmm.mixture.statistics import FloatArray


@documented()
@dataclass(frozen=True, eq=False)
class MixtureModes:
    """Modes of a mixture, that is, local maxima of its density, from the highest to the lowest.

    Attributes
    ----------
    mixture : estimator
        The mixture.
    locations : ndarray of shape (n_modes, n_features)
        The modes.
    log_densities : ndarray of shape (n_modes,)
        Log-densities of the Gaussian components at the modes, in nats.
    covariances : ndarray of shape (n_modes, n_features, n_features)
        Negative inverse Hessians of the log-density: how wide the density is around each mode.
    components : ndarray of int64 of shape (n_components,)
        The mode that the mean of each component ascends to.
    """

    mixture: MixtureEvaluation
    locations: FloatArray
    log_densities: FloatArray
    covariances: FloatArray
    components: npt.NDArray[np.int64]

    @lazy_on_collections
    def predict(self, X: Rows) -> npt.NDArray[np.int64]:
        """Return the mode that each row ascends to (modal clustering).

        Every row climbs the density by the iteration that found the modes, so that clusters are
        separated by valleys of the density, whatever their shape.

        Returns
        -------
        ndarray of int64 of shape (n_samples,)
            The numbers of the modes; -1 for a row that ascends to a maximum to which no component's
            mean does.

        Warns
        -----
        ConvergenceWarning
            If some rows have not reached a maximum, which get -1, too.
        """
        return self.mixture._evaluate(self._label, *self.mixture._evaluated(X, missing="error"))

    def _label(
        self,
        source: ArraySource,
        parameters: MixtureParameters,  # noqa: ARG002 - noise, of constant density, does not matter
        *,
        n_jobs: int | None,
    ) -> npt.NDArray[np.int64]:
        """Return the modes of rows in memory."""
        ends = modes.ascend(source.X, components_from_attributes(self.mixture), n_jobs=n_jobs)
        if not ends.arrived.all():
            _warn(int(np.count_nonzero(~ends.arrived)), "rows")
        hessians = np.asarray(np.linalg.inv(self.covariances), dtype=np.float64)
        labels = modes.nearest_mode(ends.points, self.locations, hessians)
        return np.where(ends.arrived, labels, -1)


def find_modes(mixture: MixtureEvaluation) -> MixtureModes:
    """Return the modes of a mixture, and which components share them.

    A mixture of K components has often fewer modes than components: overlapping components form one
    bump of the density. From each mean, the density is climbed by the fixed-point iteration of
    Carreira-Perpiñán (2000), and by Newton's method near the top.

    Parameters
    ----------
    mixture : GaussianMixture
        A fitted mixture. Noise, whose density is constant, does not move its modes. A posterior of
        variational Bayes is taken as the mixture of its `weights_`, `means_` and `covariances_`.

    Returns
    -------
    MixtureModes
        The modes, whose `predict` assigns rows to them.

    Warns
    -----
    ConvergenceWarning
        If an ascent has not reached a maximum; its end is listed all the same.

    See Also
    --------
    merge_components : Clusters of components by the entropy of the assignment.

    Notes
    -----
    In one dimension, mixtures of components of equal variance have no other modes. In others there
    may be more, seldom, which no mean ascends to (Carreira-Perpiñán and Williams, 2003).

    Examples
    --------
    >>> import numpy as np
    >>> from fastgmm import GaussianMixture, find_modes
    >>> rng = np.random.default_rng(0)
    >>> X = np.concatenate([rng.normal(size=(500, 2)) * [3, 1], rng.normal(8, 1, size=(500, 2))])
    >>> modes = find_modes(GaussianMixture(4, random_state=0).fit(X))
    >>> len(modes.locations)
    2
    >>> np.bincount(modes.predict(X))
    array([500, 500])
    """
    check_gaussian(mixture, "find_modes")
    parameters = components_from_attributes(mixture)
    found, arrived = modes.find_modes(parameters, n_jobs=mixture.n_jobs)
    if not arrived:
        _warn(1, "means")
    return MixtureModes(mixture, *found)


def _warn(number: int, what: str) -> None:
    warnings.warn(
        f"the ascent of the density has not reached a maximum from {number} or more {what}: it is "
        "flat there",
        ConvergenceWarning,
        stacklevel=3,
    )
