"""`GaussianMixtureTransformer`: what a mixture says of rows, as features."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import Tags
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.validation import check_is_fitted

from fastgmm.data.source import Source
from fastgmm.docstrings import documented
from fastgmm.em.e_step.passes import component_log_densities, responsibilities
from fastgmm.em.initialization.methods import InitMethod
from fastgmm.estimators.gaussian_mixture import GaussianMixture
from fastgmm.estimators.shared.interfaces import FloatingArray, Rows, Weights
from fastgmm.estimators.shared.lazy_results import lazy_on_collections
from fastgmm.estimators.shared.mixture_owner import MixtureOwner
from fastgmm.estimators.shared.validation import (
    Missing,
    check_source,
    constraints_of,
    missing_policy,
    validated_fit,
)
from fastgmm.mixture.covariance_types import CovarianceType
from fastgmm.mixture.parameters import MixtureParameters
from fastgmm.mixture.structures import CovarianceStructure

_PASSES = {"responsibilities": responsibilities, "log_densities": component_log_densities}


@documented()
class GaussianMixtureTransformer(
    MixtureOwner, ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator
):
    """Feature transformation by the components of a Gaussian mixture.

    A mixture is fitted to the rows, and each of its components becomes a feature: in a pipeline, a
    linear model can then assign coefficients to smooth regions.

    Parameters
    ----------
    n_components : int, default=2
        Number of components, and of output features.
    output : {"responsibilities", "log_densities"}, default="responsibilities"
        Output features: the responsibilities of the components, which sum to 1; or the log-density
        of the row under each component, without the weights, in nats, which also shows how far rows
        are from all components.
    covariance_type, tol, reg_covar, max_iter, n_init, init_params, random_state, n_jobs, missing
        As for `GaussianMixture`.
    forgetting : float, default=1.0
        Below 1, the rows of each unit that `partial_fit` learns count at most this many times
        those of the next.

    Attributes
    ----------
    mixture_ : GaussianMixture
        The fitted mixture.
    n_iter_ : int
        Number of iterations of the mixture, as its own `n_iter_`.
    n_features_in_ : int
        Number of input features.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Their names, if `X` is a table with column names.

    See Also
    --------
    fisher_vectors : Features of sets of rows.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from fastgmm import GaussianMixtureTransformer
    >>> rng = np.random.default_rng(0)
    >>> corners = rng.integers(2, size=(400, 2))
    >>> X, y = corners * 6.0 + rng.normal(size=(400, 2)), corners[:, 0] ^ corners[:, 1]
    >>> LogisticRegression().fit(X, y).score(X, y) < 0.7
    True
    >>> pipeline = make_pipeline(
    ...     GaussianMixtureTransformer(4, random_state=0), LogisticRegression()
    ... )
    >>> pipeline.fit(X, y).score(X, y) > 0.99
    True
    """

    mixture_: GaussianMixture
    n_features_in_: int

    def __init__(
        self,
        n_components: int = 2,
        *,
        output: Literal["responsibilities", "log_densities"] = "responsibilities",
        covariance_type: CovarianceType | CovarianceStructure = "full",
        tol: float = 1e-3,
        reg_covar: float = 1e-6,
        max_iter: int = 100,
        n_init: int = 1,
        init_params: InitMethod = "kmeans",
        random_state: int | np.random.RandomState | None = None,
        n_jobs: int | None = None,
        missing: Missing = "error",
        forgetting: float = 1.0,
    ) -> None:
        self.n_components = n_components
        self.output = output
        self.covariance_type = covariance_type
        self.tol = tol
        self.reg_covar = reg_covar
        self.max_iter = max_iter
        self.n_init = n_init
        self.init_params = init_params
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.missing = missing
        self.forgetting = forgetting

    _parameter_constraints = constraints_of(
        __init__,
        output=[StrOptions(set(_PASSES))],
    )

    @validated_fit
    def partial_fit(
        self,
        X: Rows,
        y: Any = None,  # noqa: ARG002 - taken so that the transformer can be part of a pipeline
        sample_weight: Weights = None,
    ) -> Self:
        """Learn rows in addition to those before, as `GaussianMixture.partial_fit` does.

        Returns
        -------
        GaussianMixtureTransformer
            The transformer itself. It is not fitted before the mixture has enough rows to begin
            with.

        Raises
        ------
        ValueError
            If the rows or the weights are invalid, or not those of the mixture so far.

        Warns
        -----
        DegenerateComponentWarning
            If a component lost all its points or its spread.
        """
        mixture = vars(self).get("mixture_") or GaussianMixture()
        reset = not hasattr(self, "mixture_")
        source = check_source(self, X, sample_weight, reset=reset)
        mixture.set_params(**self._mixture_parameters())
        self.mixture_ = mixture.partial_fit(source)
        return self

    @lazy_on_collections
    def transform(self, X: Rows) -> FloatingArray:
        """Return the features of rows.

        Returns
        -------
        ndarray of shape (n_samples, n_components)
            Responsibilities or log-densities, as `output` says, in the dtype of the rows; or a
            data frame after `set_output`.
        """
        return self.mixture_._evaluate(_PASSES[self.output], *self._evaluated(X))

    def transform_blocks(self, X: Rows) -> Iterator[FloatingArray]:
        """Yield what `transform` returns, block by block, as the rows are read.

        Yields
        ------
        ndarray of shape (n_rows, n_components)
            The features of the next rows.
        """
        source, parameters = self._evaluated(X)
        return self.mixture_._evaluate_blocks(_PASSES[self.output], source, parameters)

    @property
    def _n_features_out(self) -> int:
        """Number of features that come out, under the name scikit-learn has for it."""
        return len(self.mixture_.means_)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def _evaluated(self, X: Rows) -> tuple[Source, MixtureParameters]:
        """Return checked rows and the mixture to evaluate on them."""
        check_is_fitted(self)
        source = check_source(self, X, missing=missing_policy(self, each_row=True))
        return self.mixture_._evaluated(source, missing=self.missing)
