"""Variational Bayes: priors and posteriors of a mixture's parameters, and the lower bound.

Bishop, *Pattern Recognition and Machine Learning*, section 10.2, with two priors for the weights
(`fastgmm.mixture.priors.weights`). The posterior of a component's mean and precision is a product
of a Gaussian and a Wishart distribution. Under other structures than "full" it is the same, held to
scale matrices of that structure, which is also what scikit-learn's formulas amount to. With ν_k
degrees of freedom and A_k the scatter, the prior's included, the covariances C_k that raise the
lower bound most are those that minimize Σ_k ν_k (log|C_k| + tr(C_k^-1 A_k / ν_k)): the structure's
M-step, with degrees of freedom for counts.

A regularization is taken as an uncertainty of the rows: each is known only up to a Gaussian with
these variances, which add to those of every component.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import digamma, gammaln

from fastgmm.mixture.parameters import MixtureParameters
from fastgmm.mixture.priors.weights import WeightPrior
from fastgmm.mixture.regularization import IllDefinedCovarianceError, Regularization
from fastgmm.mixture.statistics import EMPTY_SHARE, FloatArray, SufficientStatistics
from fastgmm.mixture.structures import CovarianceStructure, Spread
from fastgmm.mixture.structures.whitening import make_regular, require_variances

_LOG_TWO = math.log(2.0)
_LOG_TWO_PI = math.log(2.0 * math.pi)


@dataclass(frozen=True, slots=True, eq=False)
class VariationalPrior:
    """What is assumed of a mixture before any row was seen."""

    weights: WeightPrior  # the prior of the weights
    mean: FloatArray  # (n_features,): expected mean m₀ of each component
    mean_precision: float  # κ₀: how many rows this counts as
    scatter: FloatArray
    """(n_features, n_features) or (n_features,): Φ₀, the inverse of the Wishart distribution's
    scale matrix: the scatter of as many rows as there are degrees of freedom. Under diagonal
    structures its diagonal.
    """
    degrees_of_freedom: float  # ν₀, above ``n_features - 1``


@dataclass(frozen=True, slots=True, eq=False)
class GivenPrior:
    """The parts of a prior that the user gave; None for those that follow from the rows."""

    weights: WeightPrior
    mean: FloatArray | None = None  # (n_features,), of each component
    mean_precision: float | None = None  # how many rows it counts as
    scatter: FloatArray | None = None  # the covariance prior, of all features
    degrees_of_freedom: float | None = None

    def completed(
        self,
        moments: SufficientStatistics,
        structure: CovarianceStructure,
        regularization: Regularization,
    ) -> VariationalPrior:
        """Return the prior that scikit-learn takes for rows, but for what is given."""
        scatter, degrees = self.scatter, self.degrees_of_freedom
        if scatter is None:
            scatter = _default_scatter(moments, structure, regularization)
        return VariationalPrior(
            weights=self.weights,
            mean=moments.means()[0] if self.mean is None else self.mean,
            mean_precision=1.0 if self.mean_precision is None else self.mean_precision,
            scatter=scatter,
            degrees_of_freedom=float(moments.n_features) if degrees is None else degrees,
        )


@dataclass(frozen=True, slots=True, eq=False)
class VariationalPosterior:
    """What is known of a mixture after rows were seen, as if each component were independent."""

    prior: VariationalPrior  # what was assumed before
    concentrations: FloatArray  # (..., n_components): posterior of the weights; see `WeightPrior`
    means: FloatArray  # (n_components, n_features): expected means m_k
    mean_precisions: FloatArray
    """(n_components,): κ_k; the precision of a mean is this times that of the component."""
    whiteners: FloatArray
    """(n_components, n_features, n_features): W_k, with W_k^T W_k the expected precision; in the
    form of `MixtureParameters`.
    """
    degrees_of_freedom: FloatArray
    """(n_components,): ν_k of the Wishart distribution of the precision."""

    @classmethod
    def solve(
        cls,
        prior: VariationalPrior,
        statistics: SufficientStatistics,
        structure: CovarianceStructure,
        regularization: Regularization,
        before: VariationalPosterior | None = None,
    ) -> VariationalPosterior:
        """Return the posterior that follows from responsibilities (PRML, equations 10.57–10.63).

        A component without points has the prior for its posterior, but for what it shares with
        the others. Where all volumes are equal, so are all degrees of freedom.
        """
        counts = np.where(statistics.empty(), 0.0, statistics.counts)
        mean_precisions = prior.mean_precision + counts
        offsets = statistics.reference - prior.mean + statistics.offsets()
        concentrations = prior.weights.posterior(counts)
        means = prior.mean + (counts / mean_precisions)[:, None] * offsets
        shrunk = (counts * (prior.mean_precision / mean_precisions))[:, None] * offsets
        if structure.is_diagonal:
            scatter = counts[:, None] * statistics.variances() + shrunk * offsets
        else:
            scatter = counts[:, None, None] * statistics.covariances()
            scatter += shrunk[:, :, None] * offsets[:, None, :]
        variances = scatter if structure.is_diagonal else np.einsum("kii->ki", scatter)
        variances += counts[:, None] * regularization.amounts
        scatter += prior.scatter
        degrees = prior.degrees_of_freedom + counts
        if structure.letters[0] == "E":
            degrees = np.full_like(degrees, degrees.mean())
        spread = Spread(
            scatter / degrees.reshape(-1, *[1] * (scatter.ndim - 1)),
            degrees,
            regularization,
            None if before is None else before.mean_parameters(),
        )
        whiteners = structure.whiten(spread)
        return cls(
            prior=prior,
            concentrations=concentrations,
            means=means,
            mean_precisions=mean_precisions,
            whiteners=np.broadcast_to(whiteners, scatter.shape),
            degrees_of_freedom=degrees,
        )

    @property
    def n_features(self) -> int:
        """Number of features."""
        return int(self.means.shape[1])

    @property
    def is_diagonal(self) -> bool:
        """Whether the scale matrices are diagonal."""
        return self.whiteners.ndim == 2

    def statistics(
        self, structure: CovarianceStructure, regularization: Regularization
    ) -> SufficientStatistics:
        """Return statistics that this posterior follows from, as `solve` has it.

        Where components or features share a variance, each has the spread of all.
        """
        prior = self.prior
        counts = prior.weights.counts(self.concentrations)
        if prior.weights.concentration > prior.mean_precision:
            # Mean precisions lose fewer digits of the counts beside their prior.
            counts = self.mean_precisions - prior.mean_precision
        counts = np.maximum(counts, 0.0)
        if not counts.any():
            raise ValueError(
                "the rows that the posterior has learned are lost in rounding beside "
                f"weight_concentration_prior_={prior.weights.concentration:g} and "
                f"mean_precision_prior_={prior.mean_precision:g}: nothing can be learned beside "
                "them; fit with smaller priors"
            )
        present = counts > EMPTY_SHARE * counts.sum()
        offsets = (self.mean_precisions / np.where(present, counts, np.inf))[:, None] * (
            self.means - prior.mean
        )
        shrunk = (counts * (prior.mean_precision / self.mean_precisions))[:, None] * offsets
        covariances = self.mean_parameters().covariances()
        axes = (slice(None),) + (None,) * (covariances.ndim - 1)
        scatter = (prior.degrees_of_freedom + counts)[axes] * covariances - prior.scatter
        if structure.is_diagonal:
            scatter -= shrunk * offsets
        else:
            scatter -= shrunk[:, :, None] * offsets[:, None, :]
        variances = scatter if structure.is_diagonal else np.einsum("kii->ki", scatter)
        variances -= counts[:, None] * regularization.amounts
        if structure.is_tied:
            scatter = (counts / counts.sum())[axes] * scatter.sum(axis=0)
        if structure.is_spherical:
            scatter[:] = scatter.mean(axis=1, keepdims=True)
        variances = scatter if structure.is_diagonal else np.einsum("kii->ki", scatter)
        np.maximum(variances, 0.0, out=variances)
        return SufficientStatistics(
            reference=prior.mean + offsets,
            counts=counts,
            first=np.zeros_like(self.means),
            second=scatter,
            log_likelihood=math.nan,
            weight=float(counts.sum()),
        )

    def mean_parameters(self) -> MixtureParameters:
        """Return the mixture with the expected weights, means and precisions."""
        weights = self.prior.weights.weights(self.concentrations)
        return MixtureParameters.from_whiteners(weights, self.means, self.whiteners)

    def expected_parameters(self, uncertainty: FloatArray | None = None) -> MixtureParameters:
        """Return what the passes take: expected logarithms of weights and densities.

        They give the responsibilities with the highest lower bound (PRML, equations 10.46 and
        10.64–10.66). The densities are no longer normalized.
        """
        D, degrees = self.n_features, self.degrees_of_freedom
        plain = MixtureParameters.from_log_weights(
            self.prior.weights.log_weights(self.concentrations), self.means, self.whiteners
        )
        # log |W| of the expected precision, and what its logarithm expects to fall short of it
        shortfalls = 0.5 * (_digamma_sum(degrees, D) + D * (_LOG_TWO - np.log(degrees)))
        normalizers = plain.log_normalizers + shortfalls - 0.5 * D / self.mean_precisions
        if uncertainty is not None:
            normalizers -= 0.5 * self._expected_squares(uncertainty)
        return replace(plain, log_normalizers=normalizers)

    def lower_bound(
        self, statistics: SufficientStatistics, entropy: float, uncertainty: FloatArray
    ) -> float:
        """Return the lower bound of the log-evidence, up to a constant (PRML, equation 10.70).

        The constant is the same as in scikit-learn: the logarithms of the integrals that normalize
        the prior, and ``-log(2 pi) / 2`` for each feature of each row, are left out.
        """
        fit = expected_log_joint(self.expected_parameters(uncertainty), statistics)
        left_out = 0.5 * self.n_features * _LOG_TWO_PI * statistics.counts.sum()
        return float(entropy + fit + left_out - self.divergence())

    def divergence(self) -> float:
        """Return the Kullback–Leibler divergence from the prior, in nats.

        It lacks a constant, the logarithm of the integrals that normalize the prior.
        """
        D, prior = self.n_features, self.prior
        degrees, precisions = self.degrees_of_freedom, self.mean_precisions
        diagonals = self.whiteners if self.is_diagonal else np.einsum("kii->ki", self.whiteners)
        # log |Φ|^-½, the root of the scale matrix's determinant
        log_scales = np.log(diagonals).sum(axis=1) - 0.5 * D * np.log(degrees)
        log_determinants = 2.0 * log_scales + D * _LOG_TWO + _digamma_sum(degrees, D)
        log_partitions = (
            degrees * (log_scales + 0.5 * D * _LOG_TWO)
            + gammaln(0.5 * (degrees[:, None] - np.arange(D))).sum(axis=1)
            - 0.5 * D * np.log(precisions)
        )
        offsets = self.means - prior.mean
        if self.is_diagonal:
            prior_traces = (self.whiteners**2 * prior.scatter).sum(axis=1)
            whitened = self.whiteners * offsets
        else:
            prior_traces = ((self.whiteners @ prior.scatter) * self.whiteners).sum(axis=(1, 2))
            whitened = (self.whiteners @ offsets[:, :, None])[:, :, 0]
        expected = (
            (degrees - prior.degrees_of_freedom) * log_determinants
            - (D * degrees - prior_traces)
            - D * (1.0 - prior.mean_precision / precisions)
            + prior.mean_precision * (whitened**2).sum(axis=1)
        )
        of_components = float((0.5 * expected - log_partitions).sum())
        return of_components + prior.weights.divergence(self.concentrations)

    def _expected_squares(self, variances: FloatArray) -> FloatArray:
        """Return the expected squared Mahalanobis norms of noise, shape (n_components,)."""
        squares = self.whiteners * self.whiteners
        if not self.is_diagonal:
            squares = squares.sum(axis=1)
        norms: FloatArray = squares @ variances
        return norms


def expected_log_joint(parameters: MixtureParameters, statistics: SufficientStatistics) -> float:
    """Return the sum of w r log(ρ), with log(ρ) the parameters' log-density, weight included."""
    whiteners = parameters.whiteners
    about_means = statistics.about(parameters.means)
    if parameters.is_diagonal:
        squares = (whiteners * whiteners * about_means.second).sum()
    else:
        squares = ((whiteners @ about_means.second) * whiteners).sum()
    constants = parameters.log_weights + parameters.log_normalizers
    return float(statistics.counts @ constants - 0.5 * squares)


def responsibility_entropy(
    parameters: MixtureParameters, statistics: SufficientStatistics, *, incomplete: bool = False
) -> float:
    """Return the entropy of the responsibilities that a pass at some parameters gave.

    As r = ρ / Σ ρ, the sum of -w r log(r) is that of w log Σ ρ, the log-likelihood that the pass
    found, minus that of w r log(ρ). No responsibility has to be kept. Of incomplete rows it is the
    entropy of components and missing values together, which may be negative.
    """
    entropy = statistics.log_likelihood - expected_log_joint(parameters, statistics)
    return entropy if incomplete else max(0.0, entropy)


def _default_scatter(
    moments: SufficientStatistics, structure: CovarianceStructure, regularization: Regularization
) -> FloatArray:
    """Return the covariance of rows, or its diagonal, made regular where it is singular."""
    if moments.weight <= 1.0:
        raise ValueError(
            f"the weights of the rows sum to {moments.weight:g}, and a weight of w counts as w "
            "rows: a covariance of no more than one row cannot be the prior; multiply the weights, "
            "or give covariance_prior"
        )
    covariances = moments.variances() if structure.is_diagonal else moments.covariances()
    covariances = covariances * (moments.weight / (moments.weight - 1.0))
    variances = covariances if structure.is_diagonal else np.einsum("kii->ki", covariances)
    variances += np.where(regularization.constant, regularization.amounts, 0.0)
    try:
        if structure.is_spherical:
            covariances[:] = covariances.mean()
        if structure.is_diagonal:
            require_variances(covariances)
        else:
            covariances = make_regular(covariances, regularization)
    except IllDefinedCovarianceError as error:
        raise IllDefinedCovarianceError(
            "the covariance of the rows is singular, so that it cannot be the prior: give "
            "covariance_prior, or use reg_covar > 0 (it is 0)"
        ) from error
    scatter: FloatArray = covariances[0]
    return scatter


def _digamma_sum(degrees: FloatArray, n_features: int) -> FloatArray:
    """Return the sums of ψ((ν - i) / 2) over i below the number of features."""
    sums: FloatArray = digamma(0.5 * (degrees[:, None] - np.arange(n_features))).sum(axis=1)
    return sums
