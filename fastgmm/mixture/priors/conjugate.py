"""Conjugate priors of a mixture, under which EM finds the most probable parameters.

A component's mean, given its covariance, is normal, and the covariance inverse Wishart (inverse
gamma where it is diagonal or spherical); the weights are Dirichlet. The M-step then is that of
maximum likelihood with counts and moments that the prior has added to (Fraley and Raftery, 2007,
"Bayesian regularization for normal mixture estimation and model-based clustering", Journal of
Classification 24, section 3 and table 2).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
from scipy.linalg import lapack

from fastgmm.mixture.parameters import MixtureParameters
from fastgmm.mixture.priors.prior import Prior
from fastgmm.mixture.regularization import Regularization
from fastgmm.mixture.statistics import FloatArray, SufficientStatistics
from fastgmm.mixture.structures import (
    CovarianceStructure,
    FrozenStructure,
    Spread,
    smallest_raised,
)


@dataclass(frozen=True, eq=False)
class ConjugatePriors:
    """Hyperparameters of the conjugate priors of a mixture.

    The means are normal about `mean` with `mean_precision` times the precision of their
    component. A covariance matrix is inverse Wishart with `degrees_of_freedom` ν and `scale` Λ;
    a variance, for diagonal and spherical structures, is inverse gamma with shape ν / 2 and scale
    Λ_jj / 2 or, spherical, with the mean of these. A covariance that all components share has
    the prior once. The weights are Dirichlet with `weight_concentration` for each component.

    What is left at None follows from the data, as Fraley and Raftery (2007) propose. Each component
    may have hyperparameters of its own, in the order of the components: give `means_init`, or
    labels, then, so that the order is known.

    Parameters
    ----------
    mean : array-like of shape (n_features,) or (n_components, n_features), default=None
        Prior mean of the means, or of each; None for the mean of the data.
    mean_precision : float or array-like of shape (n_components,), default=0.01
        How many points the prior mean counts for, above or equal to 0.
    degrees_of_freedom : float or array-like of shape (n_components,), default=None
        ν, above n_features - 1; None for n_features + 2.
    scale : float or array-like of shape (n_features,), (n_features, n_features) or \
            (n_components, n_features, n_features), default=None
        Λ, or its diagonal, or its entry on all of the diagonal, in squared units of the features;
        or a matrix Λ for each component.
        None for the unbiased covariance of the data divided by n_components^(2 / n_features);
        for diagonal and spherical structures, the mean of its variances.
    weight_concentration : float or array-like of shape (n_components,), default=1.0
        At least 1, the uniform prior, under which weights are those of maximum likelihood; more
        draws them toward each other, or toward the components of which it is larger.

    Examples
    --------
    >>> import numpy as np
    >>> from fastgmm import ConjugatePriors, GaussianMixture
    >>> X = np.repeat([[0.0, 0.0], [1.0, 5.0], [1.0, 6.0]], 2, axis=0)
    >>> mixture = GaussianMixture(2, priors=ConjugatePriors(degrees_of_freedom=10.0)).fit(X)
    >>> mixture.covariances_.shape
    (2, 2, 2)
    """

    mean: npt.ArrayLike | None = None
    mean_precision: npt.ArrayLike | float = 0.01
    degrees_of_freedom: npt.ArrayLike | float | None = None
    scale: npt.ArrayLike | float | None = None
    weight_concentration: npt.ArrayLike | float = 1.0

    def __post_init__(self) -> None:
        if not _all_between(0.0, self.mean_precision):
            raise ValueError(f"mean_precision must be 0 or more; got {self.mean_precision}")
        if not _all_between(1.0, self.weight_concentration):
            raise ValueError(
                "weight_concentration must be 1 or more, since below that there are no most "
                f"probable weights; got {self.weight_concentration}"
            )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ConjugatePriors) and self.plain() == other.plain()

    def __hash__(self) -> int:
        return hash(repr(self.plain()))

    def plain(self) -> dict[str, Any]:
        """Return the hyperparameters in values that JSON knows."""
        return {
            name: None if value is None else _numbers(value).tolist()
            for name, value in asdict(self).items()
        }

    @classmethod
    def from_plain(cls, values: Mapping[str, Any]) -> Self:
        """Return the priors whose `plain` form is given."""
        return cls(**values)

    def for_data(
        self,
        structure: CovarianceStructure,
        n_components: int,
        data_mean: FloatArray,
        data_covariance: FloatArray,
    ) -> ConjugatePrior:
        """Return the prior of a mixture of some data.

        Parameters
        ----------
        structure : CovarianceStructure
            The structure of the mixture's covariances.
        n_components : int
            Number of components.
        data_mean : ndarray of shape (n_features,)
            Mean of all rows.
        data_covariance : ndarray of shape (n_features, n_features) or (n_features,)
            Their unbiased covariance, or the variances, which suffice for diagonal structures.

        Returns
        -------
        ConjugatePrior
            The prior, with all of its hyperparameters.

        Raises
        ------
        ValueError
            If a hyperparameter has the wrong shape or is not possible.
        """
        n_features = len(data_mean)
        mean = data_mean if self.mean is None else _numbers(self.mean)
        shapes = (n_features,), (n_components, n_features)
        if mean.shape not in shapes or not np.isfinite(mean).all():
            raise ValueError(
                f"the prior's mean must be {n_features} finite numbers, one for each feature, or "
                f"an array of shape {shapes[1]}; got an array of shape {mean.shape}"
            )
        freedom = n_features + 2.0 if self.degrees_of_freedom is None else self.degrees_of_freedom
        if not np.all(_numbers(freedom) > n_features - 1.0) or not np.isfinite(freedom).all():
            raise ValueError(
                f"the prior's degrees_of_freedom must be above n_features - 1 = {n_features - 1}; "
                f"got {freedom}"
            )
        if self.scale is None:
            scale = _data_scale(data_covariance, structure.is_diagonal)
            scale = scale / n_components ** (2.0 / n_features)
        else:
            scale = _given_scale(self.scale, n_components, n_features, structure.is_diagonal)
        own_scale = self.scale is not None and _numbers(self.scale).ndim == 3
        if structure.is_tied and (np.ndim(freedom) or own_scale):
            raise ValueError(
                f"covariance_type={structure.name!r} has one covariance, and so one prior of it: "
                "give degrees_of_freedom and scale once, not for each component"
            )
        size = (n_components,)
        return ConjugatePrior(
            np.broadcast_to(mean, shapes[1]),
            _for_each(self.mean_precision, "mean_precision", n_components),
            _for_each(freedom, "degrees_of_freedom", n_components),
            np.broadcast_to(scale, size + scale.shape[-1 if structure.is_diagonal else -2 :]),
            _for_each(self.weight_concentration, "weight_concentration", n_components),
        )


PriorsName = Literal["mclust"]

PRIORS_NAMES: tuple[PriorsName, ...] = ("mclust",)


@dataclass(frozen=True, eq=False)
class ConjugatePrior(Prior):
    """The prior of a mixture, with all of its hyperparameters."""

    mean: FloatArray  # (n_components, n_features): prior means of the means
    mean_precision: FloatArray  # (n_components,): how many points they count for, κ
    degrees_of_freedom: FloatArray  # (n_components,): ν of the prior of a covariance
    scale: FloatArray
    """(n_components, n_features, n_features) or (n_components, n_features): Λ; its diagonals for
    diagonal structures.
    """
    weight_concentration: FloatArray  # (n_components,): of the Dirichlet prior, α

    def solve(
        self,
        statistics: SufficientStatistics,
        structure: CovarianceStructure,
        before: MixtureParameters | None = None,
    ) -> MixtureParameters:
        """Return the most probable parameters (the M-step)."""
        structure.check_features(statistics.n_features)
        weights, means, spread = self.posterior(statistics, structure)
        whiteners = structure.whiten(replace(spread, before=before))
        return structure.assemble(weights, means, whiteners)

    def posterior(
        self, statistics: SufficientStatistics, structure: CovarianceStructure
    ) -> tuple[FloatArray, FloatArray, Spread]:
        """Return the most probable weights and means, and what the covariances follow from."""
        counts = np.where(statistics.empty(), 0.0, statistics.counts)
        kappa = self.mean_precision
        points = np.where(statistics.empty(), 0.0, statistics.location_counts)
        total = points + kappa
        to_points = np.where(total > 0.0, points / np.where(total > 0.0, total, 1.0), 1.0)
        offsets = statistics.means() - self.mean
        means = self.mean + to_points[:, None] * offsets
        between = kappa * to_points
        if isinstance(structure, FrozenStructure):  # the statistics are about the frozen means
            held = structure.frozen.means
            means[held] = statistics.reference[held]
            between[held] = kappa[held]
        axes = (slice(None),) + (None,) * (self.scale.ndim - 1)
        scatter = statistics.covariances() * counts[axes]
        if structure.is_diagonal:
            scatter += between[:, None] * offsets * offsets
        else:
            scatter += between[:, None, None] * offsets[:, :, None] * offsets[:, None, :]
        share = self._share(structure, len(counts))
        scatter += share * self._scale_for(structure)
        counts = counts + self._freedom(structure, len(counts))
        spread = Spread(scatter / counts[axes], counts, Regularization.none(statistics.n_features))
        return self._weights(statistics), means, spread

    def log_density(self, parameters: MixtureParameters, structure: CovarianceStructure) -> float:
        """Return the logarithm of the prior's density, up to a constant."""
        n_components, n_features = parameters.means.shape
        whiteners = parameters.whiteners
        scale = self._scale_for(structure)
        offsets = parameters.means - self.mean
        if structure.is_diagonal:
            squares = (whiteners * whiteners * scale).sum(axis=1)
            distances = ((whiteners * offsets) ** 2).sum(axis=1)
        else:
            squares = ((whiteners @ scale) * whiteners).sum(axis=(1, 2))
            distances = ((whiteners @ offsets[:, :, None])[:, :, 0] ** 2).sum(axis=1)
        # log |W|, which is half of minus log |Σ|
        log_determinants = parameters.log_normalizers + 0.5 * n_features * np.log(2.0 * np.pi)
        freedom = self._freedom(structure, n_components)
        share = self._share(structure, n_components)
        covariances = freedom * log_determinants - 0.5 * share * squares
        means = -0.5 * self.mean_precision * distances
        present = parameters.log_weights > -np.inf
        extra = self.weight_concentration[present] - 1.0
        weights = extra @ parameters.log_weights[present]
        return float((covariances + means).sum() + weights)

    def _share(self, structure: CovarianceStructure, n_components: int) -> float:
        """Return the part of the covariances' prior that each component has."""
        return 1.0 / n_components if structure.is_tied else 1.0

    def _scale_for(self, structure: CovarianceStructure) -> FloatArray:
        """Return what is added to the scatter of the points."""
        if structure.is_spherical:
            means = self.scale.mean(axis=1, keepdims=True) / self.scale.shape[1]
            return np.broadcast_to(means, self.scale.shape)
        return self.scale

    def _freedom(self, structure: CovarianceStructure, n_components: int) -> FloatArray:
        """Return what is added to each count: the powers of |Σ|^(-1/2) in the prior's density."""
        n_features = self.mean.shape[1]
        if structure.is_spherical:
            covariance = (self.degrees_of_freedom + 2.0) / n_features
        elif structure.is_diagonal:
            covariance = self.degrees_of_freedom + 2.0
        else:
            covariance = self.degrees_of_freedom + n_features + 1.0
        mean = np.where(self.mean_precision > 0.0, 1.0, 0.0)
        freedom: FloatArray = mean + self._share(structure, n_components) * covariance
        return freedom

    def _weights(self, statistics: SufficientStatistics) -> FloatArray:
        """Return the weights; the prior counts in points, so that rows' weights have to as well."""
        extra = self.weight_concentration - 1.0
        if not extra.any():
            return statistics.weights()
        counts = statistics.counts + extra
        weights: FloatArray = counts / counts.sum()
        return weights


def _data_scale(covariance: FloatArray, diagonal: bool) -> FloatArray:
    """Return the scale that follows from the covariance of the data, before it is divided."""
    variances = covariance if covariance.ndim == 1 else np.diag(covariance)
    constant = np.flatnonzero(variances == 0.0)
    if diagonal:
        if len(constant) == len(variances):
            raise _singular_scale("no feature varies")
        return np.full(len(variances), variances.mean())
    if len(constant):
        raise _singular_scale(f"feature {constant[0]} has a single value in all rows")
    deviations = np.sqrt(variances)
    smallest = np.linalg.eigvalsh(covariance / deviations / deviations[:, None])[0]
    if smallest <= smallest_raised(len(variances)):
        raise _singular_scale("features are linearly dependent")
    return covariance


def _singular_scale(why: str) -> ValueError:
    return ValueError(
        f"the prior's scale cannot be taken from the covariance of the data, for {why}: leave "
        "such features out, give the scale (ConjugatePriors), or fit without priors"
    )


def _numbers(given: npt.ArrayLike) -> FloatArray:
    """Return hyperparameters as numbers, NaN where they are masked."""
    return np.ma.asarray(given, dtype=np.float64).filled(np.nan)


def _all_between(least: float, given: npt.ArrayLike) -> bool:
    """Say whether hyperparameters are finite and no less than a number."""
    values = _numbers(given)
    return values.ndim <= 1 and bool(((values >= least) & (values < np.inf)).all())


def _for_each(given: npt.ArrayLike, name: str, n_components: int) -> FloatArray:
    """Return a hyperparameter of each component."""
    values = _numbers(given)
    if values.shape not in ((), (n_components,)):
        raise ValueError(
            f"the prior's {name} must be a number, or one for each of the {n_components} "
            f"components; got an array of shape {values.shape}"
        )
    return np.broadcast_to(values, (n_components,))


def _given_scale(
    given: npt.ArrayLike, n_components: int, n_features: int, diagonal: bool
) -> FloatArray:
    """Return a scale that the user gave, or that of each component, as matrices or diagonals."""
    scale = _numbers(given)
    if scale.ndim == 3:
        shape = (n_components, n_features, n_features)
        if scale.shape != shape:
            raise ValueError(
                f"the prior's scale for each component must have shape {shape}; got {scale.shape}"
            )
        return np.stack([_given_scale(each, 1, n_features, diagonal) for each in scale])
    if scale.ndim == 0:
        scale = np.full(n_features, float(scale))
    if scale.shape not in ((n_features,), (n_features, n_features)):
        raise ValueError(
            f"the prior's scale must be a number or have shape ({n_features},) or ({n_features}, "
            f"{n_features}) for {n_features} features; got {scale.shape}"
        )
    matrix = np.diag(scale) if scale.ndim == 1 else scale
    symmetric = np.isfinite(matrix).all() and np.allclose(matrix, matrix.T, rtol=1e-10, atol=0.0)
    if not symmetric or lapack.dpotrf(matrix)[1] != 0:
        raise ValueError("the prior's scale must be positive or, as a matrix, positive definite")
    return np.array(np.diag(matrix)) if diagonal else matrix
