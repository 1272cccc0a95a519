"""Mixtures of factor analyzers: covariances of low rank plus a diagonal, Σ_k = Λ_k Λ_k^T + Ψ_k."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import get_args

import numpy as np

from fastgmm.mixture.covariance_types import FactorType
from fastgmm.mixture.parameters import (
    MixtureParameters,
    factor_axes,
    noise_and_loadings,
    whiteners_from_factors,
)
from fastgmm.mixture.regularization import Regularization
from fastgmm.mixture.statistics import FloatArray, SufficientStatistics
from fastgmm.mixture.structures.covariance_structure import CovarianceStructure, Spread
from fastgmm.mixture.structures.whitening import ill_defined

FACTOR_NAMES: tuple[str, ...] = get_args(FactorType)
"""The names of these structures: "factors" is "UUU"."""

_SMALLEST_SHARE = 1e-12
"""Of the variance of a feature: noise below that is rounding."""

_SMALLEST_START = 0.05
"""Share of the noise in the variance of a feature that EM starts with, at least."""

_MOST_STEPS, _GAIN = 1000, 1e-10


class FactorStructure(CovarianceStructure):
    """Covariances Λ Λ^T + Ψ with q factors, of the family of McNicholas and Murphy (2008).

    The three letters of its name say what is constrained, "C", or not, "U": the loadings to be
    equal for all components, the noise to be so, and the noise to be the same for all features.
    """

    n_factors: int

    def __init__(self, name: str, n_factors: int) -> None:
        super().__init__(name)
        self.n_factors = n_factors

    @property
    def label(self) -> str:
        """What distinguishes the structure from others, as tables and messages call it."""
        return f"{self.name}, {self.n_factors} factor{'s' * (self.n_factors > 1)}"

    def contains(self, other: CovarianceStructure) -> bool:
        """Say whether all mixtures of another structure are of this one, too."""
        return (
            isinstance(other, FactorStructure)
            and other.n_factors <= self.n_factors
            and all(b or not a for a, b in zip(self.constrained, other.constrained, strict=True))
        )

    @property
    def has_common_loadings(self) -> bool:
        """Whether all components have the same loadings."""
        return self.constrained[0]

    @property
    def constrained(self) -> tuple[bool, bool, bool]:
        """Whether the loadings are common, the noise is, and the noise is isotropic."""
        letters = "UUU" if self.name == "factors" else self.name
        return letters[0] == "C", letters[1] == "C", letters[2] == "C"

    def check_features(self, n_features: int) -> None:
        """Raise `ValueError` if so many factors say no less than a general covariance."""
        # (D - q)^2 >= D + q, solved for q
        most = math.floor(n_features + 0.5 - math.sqrt(2.0 * n_features + 0.25) + 1e-9)
        if self.n_factors <= most:
            return
        advice = "use covariance_type='full'" if most < 1 else f"use n_factors={most} or fewer"
        raise ValueError(
            f"n_factors={self.n_factors} is too many for {n_features} features: beyond "
            f"{max(most, 0)} (the Ledermann bound) a covariance of factors has more parameters "
            f"than a general one; {advice}"
        )

    def n_covariance_parameters(self, n_components: int, n_features: int) -> int:
        """Return the number of free parameters (McNicholas and Murphy, 2008, table 1)."""
        common, same_noise, isotropic = self.constrained
        q = self.n_factors
        loadings = n_features * q - q * (q - 1) // 2
        noise = 1 if isotropic else n_features
        return loadings * (1 if common else n_components) + noise * (
            1 if same_noise else n_components
        )

    def solve(
        self,
        statistics: SufficientStatistics,
        regularization: Regularization,
        before: MixtureParameters | None = None,
    ) -> MixtureParameters:
        """Return weights and means that maximize the likelihood, and covariances that raise it.

        One step of EM for each covariance, at the new mean, in the expanded form of Liu, Rubin and
        Wu (1998, "Parameter expansion to accelerate EM", Biometrika 85, section 3.3): it goes
        further at no cost. No noise is below the amounts of the regularization.
        """
        self.check_features(statistics.n_features)
        if before is None or statistics.second.shape != before.whiteners.shape:
            return super().solve(statistics, regularization)
        weights, offsets = statistics.weights(), statistics.offsets()
        counts = np.where(weights > 0.0, statistics.counts, np.inf)[:, None]
        axes, _, _ = factor_axes(before.whiteners)
        shifts = ((offsets * before.whiteners[:, :, 0])[:, None] @ axes)[:, 0]
        moments = statistics.second / counts[:, :, None]
        moments[:, :, 0] -= offsets * offsets
        moments[:, :, 1:] -= offsets[:, :, None] * shifts[:, None, :]
        whiteners = self._improved(before.whiteners, moments, weights, regularization)
        return self.assemble(weights, statistics.means(), whiteners)

    def whiten(self, spread: Spread) -> FloatArray:
        """Return the factor analyzers that fit covariances best, by EM from principal components.

        Where they have no more than the diagonals, the loadings are zero.
        """
        covariances, shares = spread.covariances, spread.shares
        variances = np.einsum("kii->ki", covariances)
        pooled = np.broadcast_to(spread.pooled(), covariances.shape)
        sources = pooled if self.has_common_loadings else covariances
        deviations = np.sqrt(np.einsum("kii->ki", sources))
        deviations = np.where(deviations > 0.0, deviations, 1.0)
        correlations = sources / deviations[:, :, None] / deviations[:, None, :]
        values, vectors = np.linalg.eigh(correlations)
        roots = principal_loadings(values[:, ::-1], vectors[:, :, ::-1], self.n_factors)
        whiteners = self.start(
            variances, deviations[:, :, None] * roots, shares, spread.regularization
        )
        last = -np.inf
        for _ in range(_MOST_STEPS):
            axes, strengths, _ = factor_axes(whiteners)
            directions = whiteners[:, :, :1] * axes
            moments = np.concatenate([variances[:, :, None], covariances @ directions], axis=2)
            value = float(shares @ _expected_fit(whiteners, axes, strengths, moments))
            if value - last < _GAIN * (1.0 + abs(value)):
                break
            last = value
            whiteners = self._improved(whiteners, moments, shares, spread.regularization)
        return whiteners

    def start(
        self,
        variances: FloatArray,
        loadings: FloatArray,
        shares: FloatArray,
        regularization: Regularization,
    ) -> FloatArray:
        """Return whiteners to start from, of loadings and what they leave of the variances."""
        noise = variances - (loadings * loadings).sum(axis=2)
        noise = np.maximum(noise, _SMALLEST_START * variances)
        noise = self._permitted(noise, variances, shares, regularization)
        return whiteners_from_factors(noise, loadings)

    def nearest(self, parameters: MixtureParameters) -> MixtureParameters:
        """Return the mixture of the structure that is nearest to one of any covariances."""
        return parameters if parameters.is_low_rank else super().nearest(parameters)

    def assemble(
        self, weights: FloatArray, means: FloatArray, whiteners: FloatArray
    ) -> MixtureParameters:
        """Return the parameters."""
        return MixtureParameters.from_whiteners(weights, means, whiteners)

    def precisions_cholesky(self, parameters: MixtureParameters) -> FloatArray:
        """Return the upper triangular U with U U^T = precision."""
        return super().precisions_cholesky(parameters.with_matrices())

    def canonical(self, parameters: MixtureParameters) -> MixtureParameters:
        """Return the same mixture with the factors in the order of what they explain.

        The loadings are rotated so that Λ^T Ψ^-1 Λ, or Λ^T Λ if all components share them, is
        diagonal, and their signs chosen so that no column of Ψ^-1/2 Λ, or Λ, has a negative sum.
        """
        noise, loadings = noise_and_loadings(parameters.whiteners)
        scaled = loadings if self.has_common_loadings else parameters.whiteners[:, :, 1:]
        rotations = np.linalg.svd(scaled, full_matrices=False)[2].transpose(0, 2, 1)
        signs = np.where((scaled @ rotations).sum(axis=1) < 0.0, -1.0, 1.0)[:, None, :]
        loadings = loadings @ rotations * signs
        return replace(parameters, whiteners=whiteners_from_factors(noise, loadings))

    def _improved(
        self,
        whiteners: FloatArray,
        moments: FloatArray,
        shares: FloatArray,
        regularization: Regularization,
    ) -> FloatArray:
        """Return the whiteners after a step, given each S_k's diagonal and S_k Ψ_k^-1/2 U_k."""
        common = self.has_common_loadings
        scales, variances = whiteners[:, :, 0], np.maximum(moments[:, :, 0], 0.0)
        axes, strengths, rotations = factor_axes(whiteners)
        known = 1.0 / (1.0 + strengths * strengths)
        # Expected factors are R s / (1 + s^2) z, with z = U^T Ψ^-1/2 (x - μ).
        from_z = (strengths * known)[:, :, None] * rotations
        products = moments[:, :, 1:] @ from_z
        within = (axes * scales[:, :, None]).transpose(0, 2, 1) @ moments[:, :, 1:]
        turned = rotations.transpose(0, 2, 1)
        latent = (turned * known[:, None, :]) @ rotations
        latent += from_z.transpose(0, 2, 1) @ within @ from_z
        latent = 0.5 * (latent + latent.transpose(0, 2, 1))
        if common:
            precisions = shares[:, None] * scales * scales
            precisions /= precisions.sum(axis=0)
            left = np.einsum("kd,kij->dij", precisions, latent)
            right = np.einsum("kd,kdi->di", precisions, products)
            loadings = np.linalg.solve(left, right[:, :, None])[None, :, :, 0]
            spread = np.tensordot(shares, latent, axes=1)[None]
        else:
            loadings = np.linalg.solve(latent, products.transpose(0, 2, 1)).transpose(0, 2, 1)
            spread = latent
        noise = variances - (loadings * (2.0 * products - loadings @ latent)).sum(axis=2)
        loadings = np.broadcast_to(loadings @ np.linalg.cholesky(spread), products.shape)
        empty = shares == 0.0
        if empty.any():
            old_noise, old_loadings = noise_and_loadings(whiteners)
            noise = np.where(empty[:, None], old_noise, noise)
            variances = np.where(empty[:, None], old_noise, variances)
            if not common:
                loadings = np.where(empty[:, None, None], old_loadings, loadings)
        noise = self._permitted(noise, variances, shares, regularization)
        return whiteners_from_factors(noise, loadings)

    def _permitted(
        self,
        noise: FloatArray,
        variances: FloatArray,
        shares: FloatArray,
        regularization: Regularization,
    ) -> FloatArray:
        """Return the noise that is nearest to that of each component, and is none too small."""
        _, same, isotropic = self.constrained
        floor = np.maximum(regularization.amounts, _SMALLEST_SHARE * variances)
        if same:
            noise, floor = (np.tensordot(shares, each, axes=1)[None] for each in (noise, floor))
        if isotropic:
            noise, floor = (each.mean(axis=1, keepdims=True) for each in (noise, floor))
        if regularization.is_zero and not (noise > floor).all():
            k, j = (int(i) for i in np.argwhere(~(noise > floor))[0])
            where = "any feature" if isotropic else f"feature {j}"
            raise ill_defined(k, f"its factors leave no noise in {where}", len(noise))
        return np.broadcast_to(np.maximum(noise, floor), variances.shape)


def principal_loadings(
    values: FloatArray, vectors: FloatArray, n_factors: int, noise: float | None = None
) -> FloatArray:
    """Return the loadings of principal components, of falling eigenvalues.

    The noise, if it is not given, is what the others of correlations have of the variance, each
    (Tipping and Bishop, 1999).
    """
    n_features = vectors.shape[1]
    first = values[:, :n_factors]
    others = n_features - first.sum(axis=1, keepdims=True)
    left = others / (n_features - n_factors) if noise is None else noise
    excess = np.maximum(first - left, 0.01 * np.maximum(first, 0.0))
    loadings: FloatArray = vectors[:, :, :n_factors] * np.sqrt(excess)[:, None, :]
    return loadings


def _expected_fit(
    whiteners: FloatArray, axes: FloatArray, strengths: FloatArray, moments: FloatArray
) -> FloatArray:
    """Return -(log|Σ_k| + tr(Σ_k^-1 S_k)) / 2."""
    scales = whiteners[:, :, 0]
    explained = (axes * scales[:, :, None] * moments[:, :, 1:]).sum(axis=1)
    squares = strengths * strengths
    trace = (scales * scales * moments[:, :, 0]).sum(axis=1)
    trace -= (explained * squares / (1.0 + squares)).sum(axis=1)
    fit: FloatArray = np.log(scales).sum(axis=1) - 0.5 * (np.log1p(squares).sum(axis=1) + trace)
    return fit


def factor_structure(kind: str, n_factors: int | None) -> FactorStructure:
    """Return the structure of factor analyzers of a name."""
    if n_factors is None:
        raise ValueError(
            f"covariance_type={kind!r} needs the number of factors: give n_factors, such as "
            "n_factors=2"
        )
    return FactorStructure(kind, int(n_factors))
