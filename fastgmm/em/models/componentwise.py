"""Component-wise EM that annihilates components, on rows held in memory.

Figueiredo and Jain (2002), "Unsupervised learning of finite mixture models", IEEE Transactions on
Pattern Analysis and Machine Intelligence 24: the M-step takes half a component's number of
parameters from its count of points, and a component left with none is gone. If all components were
updated at once from too many of them, none might have enough points; updated one after the other
(Celeux, Chrétien, Forbes and Mkhadri, 2001), those that stay take over the points of one that goes.

The densities of all components at all rows are held, since each update changes those of one.
"""

from __future__ import annotations

import math
from copy import copy

import numpy as np

from fastgmm.data.sources.array import ArraySource
from fastgmm.mixture.parameters import MixtureParameters
from fastgmm.mixture.regularization import Regularization
from fastgmm.mixture.statistics import EMPTY_SHARE, FloatArray, SufficientStatistics
from fastgmm.mixture.structures import CovarianceStructure, Spread

_SMALLEST_TOTAL = 1e-200
"""Densities of rows are scaled anew before their sums, or one over them, are smaller than this."""

_LARGEST_EXPONENT = 400.0
"""The same for the exponent of one density."""

_MOST_EXPONENT = 700.0
"""No exponent is larger: such densities count for next to nothing, by the weight they have."""


class ComponentwiseEM:
    """A mixture whose components are updated one after the other."""

    def __init__(
        self,
        rows: ArraySource,
        start: MixtureParameters,
        structure: CovarianceStructure,
        regularization: Regularization,
        penalty: float,
        min_components: int,
    ) -> None:
        # About their middle, rows keep their digits however far away they are.
        X = rows.X.astype(np.float64)
        self._w = np.ones(len(X)) if rows.weights is None else rows.weights
        if not self._w.all():
            X, self._w = X[self._w > 0.0], self._w[self._w > 0.0]
        self._middle = X.mean(axis=0)
        self._X = X - self._middle
        self._structure = structure
        self._regularization = regularization
        self._penalty = penalty
        self._min_components = min_components
        self._scale = np.zeros(len(X))
        self._densities = self._total = np.empty(0)
        self._weights = start.weights / start.weights.sum()
        self._means = start.means - self._middle
        self._whiteners = start.whiteners.copy()
        self._refresh()

    @property
    def n_components(self) -> int:
        """Number of components that are left."""
        return len(self._weights)

    @property
    def log_likelihood(self) -> float:
        """Log-likelihood of the rows, summed by weight, in nats."""
        return float(self._w @ (np.log(self._total) + self._scale))

    def parameters(self) -> MixtureParameters:
        """Return the mixture as it is now."""
        return MixtureParameters.from_whiteners(
            self._weights.copy(), self._means + self._middle, self._whiteners.copy()
        )

    @property
    def weights(self) -> FloatArray:
        """Weights of the components."""
        weights: FloatArray = self._weights
        return weights

    def sweep(self) -> bool:
        """Update each component once, and say whether any of them is gone."""
        before = self.n_components
        k = 0
        while k < self.n_components:
            if self._update(k):
                k += 1
        if self._structure.is_coupled:
            self._update_shared()
        return self.n_components < before

    def without(self, k: int) -> ComponentwiseEM:
        """Return the mixture without a component; the others keep their proportions."""
        after = self.copy()
        after._remove(k)
        return after

    def copy(self) -> ComponentwiseEM:
        """Return a copy whose components can be updated."""
        other = copy(self)
        for name in ("_weights", "_means", "_whiteners", "_densities", "_total", "_scale"):
            setattr(other, name, getattr(self, name).copy())
        return other

    def _update(self, k: int) -> bool:
        """Update a component, or let one go that has too few points; say whether it was updated."""
        per_row = self._w / self._total
        counts = self._weights * (self._densities @ per_row)
        spare = np.maximum(counts - self._penalty, 0.0)
        if self.n_components > self._min_components:
            if not spare.any():
                self._remove(int(counts.argmin()))
                return False
            if spare[k] == 0.0:
                self._remove(k)
                return False
        elif spare[k] == 0.0:
            spare = counts  # as few as may be: it stays with what it has
        shares = self._weights[k] * self._densities[k] * per_row
        count = shares.sum()
        empty = not count > EMPTY_SHARE * counts.sum()
        self._weigh(k, 0.0 if empty else spare[k] / spare.sum())
        if empty:  # it may not go, and stays where it is
            self._add_up()
            return True
        mean = (shares @ self._X) / count
        self._means[k] = mean
        if not self._structure.is_coupled:
            covariance = self._scatter(shares, mean) / count
            variances = covariance if covariance.ndim == 1 else np.einsum("ii->i", covariance)
            variances += self._regularization.amounts
            spread = Spread(covariance[None], np.ones(1), self._regularization)
            self._whiteners[k] = self._structure.whiten(spread)[0]
        self._renew(k)
        return True

    def _weigh(self, k: int, weight: float) -> None:
        """Give a component a weight; the others keep their proportions and share what is left."""
        self._weights[k] = 0.0
        others = self._weights.sum()
        if others > 0.0:
            self._weights *= (1.0 - weight) / others
            self._weights[k] = weight
        else:
            self._weights[k] = 1.0

    def _scatter(self, shares: FloatArray, mean: FloatArray) -> FloatArray:
        """Return the scatter of the rows about a mean, or its diagonal."""
        offsets = self._X - mean
        if self._structure.is_diagonal:
            diagonal: FloatArray = shares @ (offsets * offsets)
            return diagonal
        scatter: FloatArray = (offsets * shares[:, None]).T @ offsets
        return scatter

    def _update_shared(self) -> None:
        """Update what covariances have in common, and with it all of them."""
        shares = self._weights[:, None] * self._densities * (self._w / self._total)
        counts = shares.sum(axis=1)
        scatters = [
            self._scatter(each, mean) for each, mean in zip(shares, self._means, strict=True)
        ]
        statistics = SufficientStatistics(
            reference=self._means,
            counts=counts,
            first=shares @ self._X - counts[:, None] * self._means,
            second=np.array(scatters),
            log_likelihood=self.log_likelihood,
            weight=float(self._w.sum()),
        )
        solved = self._structure.solve(statistics, self._regularization, self.parameters())
        self._means, self._whiteners = solved.means.copy(), solved.whiteners.copy()
        self._refresh()

    def _remove(self, k: int) -> None:
        """Take a component away; the others keep their proportions."""
        self._weights = np.delete(self._weights, k)
        self._weights /= self._weights.sum()
        self._means = np.delete(self._means, k, axis=0)
        self._whiteners = np.delete(self._whiteners, k, axis=0)
        self._densities = np.delete(self._densities, k, axis=0)
        self._add_up()

    def _renew(self, k: int) -> None:
        """Work out the densities of a component that has changed."""
        exponents = self._log_densities(k) - self._scale
        if exponents.max() > _LARGEST_EXPONENT:
            self._refresh()
            return
        self._densities[k] = np.exp(exponents)
        self._add_up()

    def _add_up(self) -> None:
        """Add up the densities of the rows, and scale them anew where the sums leave the range."""
        self._total = self._weights @ self._densities
        low, high = self._total.min(), self._total.max()
        if not (low > _SMALLEST_TOTAL and high < 1.0 / _SMALLEST_TOTAL):
            self._refresh()

    def _refresh(self) -> None:
        """Work out the densities of all components, scaled by the largest weighted at each row."""
        logarithms = np.array([self._log_densities(k) for k in range(self.n_components)])
        with np.errstate(divide="ignore"):  # a component of weight 0 is nowhere the largest
            weighted = logarithms + np.log(self._weights)[:, None]
        self._scale = weighted.max(axis=0)
        if not np.isfinite(self._scale).all():
            raise ValueError(
                "the log-likelihood is not finite: some rows are impossibly far from every "
                "component; use reg_covar above 0, or scale the features"
            )
        exponents = np.minimum(logarithms - self._scale, _MOST_EXPONENT)
        self._densities = np.exp(exponents)
        self._total = self._weights @ self._densities

    def _log_densities(self, k: int) -> FloatArray:
        """Return the log-densities of the rows under a component, its weight excluded."""
        offsets = self._X - self._means[k]
        whitener = self._whiteners[k]
        diagonal = whitener if whitener.ndim == 1 else np.einsum("ii->i", whitener)
        white = offsets * whitener if whitener.ndim == 1 else offsets @ whitener.T
        constant = np.log(diagonal).sum() - 0.5 * len(diagonal) * math.log(2.0 * math.pi)
        logarithms: FloatArray = constant - 0.5 * np.einsum("nd,nd->n", white, white)
        return logarithms
