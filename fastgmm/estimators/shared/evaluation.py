"""Evaluation of rows under a fitted mixture."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from numbers import Integral
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar, cast

import numpy as np
import numpy.typing as npt
from sklearn.utils import Tags, check_random_state
from sklearn.utils.validation import check_is_fitted

from fastgmm.analysis import criteria
from fastgmm.analysis.density_levels import density_level
from fastgmm.analysis.explanations import Explanations, explained
from fastgmm.data.source import Source
from fastgmm.data.sources.array import ArraySource
from fastgmm.data.sources.dask_collection import DaskSource, is_collection
from fastgmm.data.sources.wrapped import observed_rows
from fastgmm.docstrings import documented
from fastgmm.em.e_step import passes
from fastgmm.em.missing import imputation
from fastgmm.em.missing.incomplete import annotated_pieces
from fastgmm.estimators.shared.attributes import (
    FACTOR_ATTRIBUTES,
    FITTED_STRUCTURE,
    CovarianceAttribute,
    check_attribute_shape,
    gaussians_from_attributes,
    parameters_from_attributes,
)
from fastgmm.estimators.shared.interfaces import FloatingArray, Labels, Rows, Weights
from fastgmm.estimators.shared.lazy_results import lazy_on_collections
from fastgmm.estimators.shared.marginals import conditional_mixture, marginal_mixture
from fastgmm.estimators.shared.saving import SavedMixture
from fastgmm.estimators.shared.validation import (
    Missing,
    check_complete,
    check_not_annotated,
    check_source,
    missing_policy,
    refuse_to_split_collections,
    validated_fit,
)
from fastgmm.mixture.parameters import MixtureParameters
from fastgmm.mixture.statistics import FloatArray
from fastgmm.mixture.structures import (
    CovarianceStructure,
    FactorStructure,
    constrained,
    structure,
)

if TYPE_CHECKING:
    from fastgmm.estimators.gaussian_mixture import GaussianMixture

_LARGEST_OUTPUT = 2**25
"""Bytes of responsibilities in a block of results."""

_UNIT_BITS = 16
"""Units of features, in which rows are drawn, are powers of two to this power."""

_Values = TypeVar("_Values", bound=npt.NDArray[Any])
_Returned = TypeVar("_Returned", bound=npt.NDArray[Any], covariant=True)


class _RowPass(Protocol[_Returned]):
    """A pass that returns a value, or several, for each row."""

    def __call__(
        self, source: ArraySource, parameters: MixtureParameters, *, n_jobs: int | None
    ) -> _Returned: ...


_PASSES: dict[str, _RowPass[npt.NDArray[Any]]] = {
    "predict_proba": passes.responsibilities,
    "score_samples": passes.log_density,
}
"""What finds the results of methods other than `predict`."""


@documented()
class BlockwiseResults(ABC):
    """Results for each row, block by block: nothing of the size of all rows is held."""

    missing: Missing

    def predict_blocks(self, X: Rows) -> Iterator[npt.NDArray[Any]]:
        """Yield what `predict` returns, block by block, as the rows are read.

        Yields
        ------
        ndarray of shape (n_rows,)
            The results for the next rows.
        """
        return self._result_blocks("predict", X)

    def score_samples_blocks(self, X: Rows) -> Iterator[FloatingArray]:
        """Yield what `score_samples` returns, block by block, as the rows are read.

        Yields
        ------
        ndarray of shape (n_rows,)
            The log-densities of the next rows, in nats.
        """
        return self._result_blocks("score_samples", X)

    @abstractmethod
    def _result_blocks(self, method: str, X: Rows) -> Iterator[npt.NDArray[Any]]:
        """Yield what a method returns for rows, block by block."""

    def __sklearn_tags__(self) -> Tags:
        refuse_to_split_collections()
        tags: Tags = super().__sklearn_tags__()  # type: ignore[misc]  # of scikit-learn's base
        tags.input_tags.allow_nan = self.missing == "model"
        return tags


@documented()
class BlockwiseProbabilities(BlockwiseResults):
    """Probabilities of components or classes as well."""

    def predict_proba_blocks(self, X: Rows) -> Iterator[FloatingArray]:
        """Yield what `predict_proba` returns, block by block, as the rows are read.

        Yields
        ------
        ndarray of shape (n_rows, n_components) or (n_rows, n_classes)
            The probabilities of the next rows.
        """
        return self._result_blocks("predict_proba", X)


@documented()
class RowEvaluation(BlockwiseProbabilities):
    """Evaluation of rows under the mixture that an estimator is or holds."""

    @lazy_on_collections
    def predict(self, X: Rows) -> npt.NDArray[np.int64]:
        """Return the most probable component of each row.

        Returns
        -------
        ndarray of int64 of shape (n_samples,)
            The component of the highest responsibility; -1 for noise.
        """
        return self._results("predict", X)

    @lazy_on_collections
    def predict_proba(self, X: Rows) -> FloatingArray:
        """Return the responsibility of each component for each row.

        Returns
        -------
        ndarray of shape (n_samples, n_components)
            Probabilities that sum to 1 for each row, in the dtype of the rows. A mixture with
            noise has one column more, the last, for the noise.
        """
        return self._results("predict_proba", X)

    @lazy_on_collections
    def score_samples(self, X: Rows) -> FloatingArray:
        """Return the log-density of each row.

        Returns
        -------
        ndarray of shape (n_samples,)
            Log-densities in nats, in the dtype of the rows.
        """
        return self._results("score_samples", X)

    def score(
        self,
        X: Rows,
        y: Any = None,  # noqa: ARG002 - scorers and pipelines pass it
        sample_weight: Weights = None,
    ) -> float:
        """Return the mean log-density of the rows.

        Returns
        -------
        float
            Log-likelihood for each unit of weight, in nats.
        """
        scores = self._mixture()._scores(X, sample_weight)
        return scores.log_likelihood / scores.weight

    @abstractmethod
    def _mixture(self) -> MixtureEvaluation:
        """Return the mixture."""

    def _results(self, method: str, X: Rows) -> npt.NDArray[Any]:
        """Return what there is for each row."""
        mixture = self._mixture()
        return mixture._evaluate(mixture._pass_of(method), *mixture._evaluated(X, annotated=True))

    def _result_blocks(self, method: str, X: Rows) -> Iterator[npt.NDArray[Any]]:
        mixture = self._mixture()
        return mixture._evaluate_blocks(
            mixture._pass_of(method), *mixture._evaluated(X, annotated=True)
        )


@documented()
class MixtureEvaluation(RowEvaluation, SavedMixture):
    """The methods of a mixture that need nothing but its fitted attributes."""

    covariance_type: str | CovarianceStructure
    n_jobs: int | None
    random_state: int | np.random.RandomState | None
    weights_: FloatingArray
    means_: FloatingArray
    covariances_: FloatingArray = CovarianceAttribute()  # type: ignore[assignment]
    precisions_: FloatingArray = CovarianceAttribute()  # type: ignore[assignment]
    precisions_cholesky_: FloatingArray = CovarianceAttribute()  # type: ignore[assignment]
    converged_: bool
    n_iter_: int
    lower_bound_: float

    _objective: ClassVar[str] = "mean log-likelihood"
    """What fits raise, and `lower_bound_` and `trace_` hold."""
    _takes_annotations: ClassVar[bool] = False
    """Whether rows may have measurement errors or limits."""
    _gaussian_mixture: ClassVar[type[GaussianMixture]]
    """The class of what `marginal` and `condition` return, which is set where it is defined."""

    @validated_fit
    def fit_predict(
        self, X: Rows, y: Labels = None, sample_weight: Weights = None
    ) -> npt.NDArray[np.int64]:
        """Fit the mixture and return the most probable component of each row.

        Parameters
        ----------
        X, y, sample_weight
            As for `fit`.

        Returns
        -------
        ndarray of int64 of shape (n_samples,)
            The same as ``fit(X, y).predict(X)``; -1 for rows left out by ``missing="drop"``, of
            which those of files have no label.
        """
        source = self._fit(X, y, sample_weight)
        if isinstance(source, DaskSource):
            return self.predict(source)
        return labels_of_all(self._evaluate(self._label, source, self._parameters()), source)

    @abstractmethod
    def _fit(self, X: Rows, y: Labels, sample_weight: Weights) -> Source:
        """Fit the mixture, set the attributes, and return the checked rows."""

    def entropy(self, X: Rows, sample_weight: Weights = None) -> float:
        """Return how uncertain the components of the rows are.

        Returns
        -------
        float
            Sum over rows and components of -r log r with r the responsibility, in nats: 0 where
            every row belongs to one component, n log K where all components are equally likely.
        """
        source, parameters = self._observed(X, sample_weight, annotated=True)
        return criteria.assignment_entropy(source, parameters, n_jobs=self.n_jobs)

    def sample(self, n_samples: int = 1) -> tuple[FloatArray, npt.NDArray[np.int64]]:
        """Draw rows from the components of the mixture; of noise, if it has any, there are none.

        Parameters
        ----------
        n_samples : int, default=1
            Number of rows.

        Returns
        -------
        X : ndarray of float64 of shape (n_samples, n_features)
            The rows, in the order of their components.
        y : ndarray of int64 of shape (n_samples,)
            The component of each row.

        Raises
        ------
        ValueError
            If `n_samples` is no integer of at least 1, or the components have no weight.
        """
        check_is_fitted(self, "means_")
        if not isinstance(n_samples, Integral) or n_samples < 1:
            raise ValueError(
                f"Invalid value for 'n_samples': {n_samples!r}. It must be at least 1 and whole."
            )
        random_state = check_random_state(self.random_state)
        kind, name = self._structure(), self._spread_arrays[0]
        means = np.asarray(self.means_, dtype=np.float64)
        weights = np.asarray(self.weights_, dtype=np.float64)
        if not weights.any():
            raise ValueError("the mixture is all noise, and rows are drawn from components only")
        counts = random_state.multinomial(n_samples, weights / weights.sum())
        labels = np.repeat(np.arange(len(counts)), counts)
        blocks = []
        if isinstance(kind, FactorStructure):
            for k, count in enumerate(counts):
                loadings, noise = (vars(self)[name][k] for name in FACTOR_ATTRIBUTES)
                drawn = random_state.standard_normal(size=(count, len(noise))) * np.sqrt(noise)
                factors = random_state.standard_normal(size=(count, loadings.shape[1]))
                blocks.append(means[k] + factors @ loadings.T + drawn)
            return np.vstack(blocks), labels
        covariances = np.asarray(getattr(self, name), dtype=np.float64)
        check_attribute_shape(name, covariances, kind.covariance_shape(*means.shape))
        for k, covariance in enumerate(kind.expand(covariances, *means.shape)):
            mean, count = means[k], counts[k]
            if kind.is_diagonal:
                normal = random_state.standard_normal(size=(count, means.shape[1]))
                offsets = normal * np.sqrt(covariance)
            else:
                # NumPy takes numbers of about one, and judges covariances by an absolute tolerance.
                deviations = np.sqrt(np.diagonal(covariance))
                units = np.exp2(_UNIT_BITS * np.rint(np.log2(deviations) / _UNIT_BITS))
                shaped = covariance / units / units[:, None]
                drawn = random_state.multivariate_normal(np.zeros(len(mean)), shaped, int(count))
                offsets = drawn * units
            blocks.append(mean + self._with_tails(offsets, k, random_state))
        return np.vstack(blocks), labels

    def _with_tails(
        self,
        offsets: FloatArray,
        k: int,  # noqa: ARG002
        random_state: np.random.RandomState,  # noqa: ARG002
    ) -> FloatArray:
        """Return Gaussian offsets of rows from the mean of a component as its tails are."""
        return offsets

    def marginal(self, columns: Sequence[int | str]) -> GaussianMixture:
        """Return the mixture of some columns alone, whatever the others are.

        Parameters
        ----------
        columns : sequence of int or str
            The columns, in the order that they are to have, each by its number, counted from 0,
            or by its name.

        Returns
        -------
        GaussianMixture
            A fitted mixture of these columns, with their names. It is of type "diag" if the
            covariances are diagonal, and "full" otherwise; `weights_` stay as they are. Of a
            posterior of variational Bayes, it is that of `weights_`, `means_` and `covariances_`.

        Raises
        ------
        TypeError
            If `columns` is no sequence of numbers and names.
        ValueError
            If there is no such column, if one is named twice, or if the mixture has noise.

        Notes
        -----
        Bishop, PRML, eq. 2.98.

        Examples
        --------
        >>> import numpy as np
        >>> from fastgmm import GaussianMixture
        >>> X = np.random.default_rng(0).normal(size=(100, 3))
        >>> mixture = GaussianMixture().fit(X)
        >>> bool(np.allclose(mixture.marginal([2, 0]).means_, X[:, [2, 0]].mean(axis=0)))
        True
        """
        return marginal_mixture(self, columns)

    def condition(self, values: Mapping[int | str, float]) -> GaussianMixture:
        """Return the mixture of the other columns, given the values of some.

        Parameters
        ----------
        values : mapping of int or str to float
            The value of each column that is known, by the column's number or name.

        Returns
        -------
        GaussianMixture
            A fitted mixture of the other columns, with their names, of the types that `marginal`
            has. Its `weights_` are the responsibilities of the components for the given values.

        Raises
        ------
        TypeError
            If `values` is no mapping from numbers and names to numbers.
        ValueError
            If there is no such column, if no column or all are given, if a value is not finite,
            or if the mixture has noise.

        Notes
        -----
        Bishop, PRML, eqs. 2.81 and 2.82. With the marginal it makes up the whole:
        p(x, y) = p(x) p(y | x).

        Examples
        --------
        >>> import numpy as np
        >>> from fastgmm import GaussianMixture
        >>> rng = np.random.default_rng(0)
        >>> x = rng.normal(size=100)
        >>> y = 3 * x + 1 + rng.normal(scale=0.1, size=100)
        >>> mixture = GaussianMixture().fit(np.column_stack([x, y]))
        >>> mixture.condition({0: 2.0}).means_.round()
        array([[7.]])
        """
        return conditional_mixture(self, values)

    def explain(self, X: Rows, *, share: float = 0.05) -> Explanations:
        """Explain why rows are ordinary or not under the mixture.

        Parameters
        ----------
        share : float, default=0.05
            Rows are ordinary if their density is above the level that a draw of the mixture stays
            below with at most this probability.

        Returns
        -------
        Explanations
            For each row: how surprising each feature is given the others, the nearest component,
            and the smallest change that makes the row ordinary.

        Raises
        ------
        ValueError
            If rows lack values and `missing` is "error", the mixture has noise, or `share` is not
            between 0 and 1.
        """
        parameters = gaussians_from_attributes(self, "explain")
        if not 0.0 < share < 1.0:
            raise ValueError(f"share must be between 0 and 1; got {share!r}")
        source, _ = self._evaluated(X)
        return explained_rows(self, source, parameters, density_level(parameters, share))

    def _mixture(self) -> MixtureEvaluation:
        return self

    def _pass_of(self, method: str) -> _RowPass[npt.NDArray[Any]]:
        """Return the pass that finds what a method returns for rows in memory."""
        return self._label if method == "predict" else _PASSES[method]

    def _evaluated(
        self,
        X: Rows,
        sample_weight: Weights = None,
        *,
        missing: Missing | None = None,
        annotated: bool = False,
    ) -> tuple[Source, MixtureParameters]:
        """Return checked rows, of which each has a result, and the mixture to evaluate on them."""
        check_is_fitted(self, "means_")
        policy = missing or missing_policy(self, each_row=True)
        source = check_source(
            self, X, sample_weight, missing=policy, annotated=annotated and self._takes_annotations
        )
        parameters = self._parameters()
        if hasattr(self, "noise_weight_"):
            check_complete(source)
            check_not_annotated(source, "noise_volume")
        if source.n_features != parameters.n_features:
            raise ValueError(
                f"X has {source.n_features} features, but means_ has {parameters.n_features}"
            )
        return source, parameters

    def _observed(
        self, X: Rows, sample_weight: Weights = None, *, annotated: bool = False
    ) -> tuple[Source, MixtureParameters]:
        """Return the rows that have a value, which sums over rows are of, and the mixture."""
        policy = missing_policy(self)
        source, parameters = self._evaluated(X, sample_weight, missing=policy, annotated=annotated)
        source = observed_rows(source)
        if source.n_samples == 0:
            raise ValueError("no row of X has a value: there is nothing to score")
        return source, parameters

    def _scores(self, X: Rows, sample_weight: Weights = None) -> criteria.Scores:
        """Return the likelihood of rows and all criteria, from one pass."""
        source, parameters = self._observed(X, sample_weight, annotated=True)
        return criteria.score(source, parameters, self._n_parameters(), n_jobs=self.n_jobs)

    def _label(
        self, source: ArraySource, parameters: MixtureParameters, *, n_jobs: int | None
    ) -> npt.NDArray[np.int64]:
        """Return the components of rows in memory, -1 for noise."""
        labels = passes.labels(source, parameters, n_jobs=n_jobs)
        if hasattr(self, "noise_weight_"):
            labels[labels == parameters.n_components - 1] = -1
        return labels

    def _evaluate(
        self, evaluate: _RowPass[_Values], source: Source, parameters: MixtureParameters
    ) -> _Values:
        """Return the values of all rows."""
        if isinstance(source, ArraySource) and not source.incomplete:
            return evaluate(source, parameters, n_jobs=self.n_jobs)
        blocks = list(self._evaluate_blocks(evaluate, source, parameters))
        return cast(_Values, np.concatenate(blocks))

    def _evaluate_blocks(
        self, evaluate: _RowPass[_Values], source: Source, parameters: MixtureParameters
    ) -> Iterator[_Values]:
        """Yield the values of the rows, block by block."""
        n_rows = max(1, _LARGEST_OUTPUT // (8 * parameters.n_components))
        for some in annotated_pieces(source, n_rows):
            yield evaluate(some, parameters, n_jobs=self.n_jobs)

    def _parameters(self) -> MixtureParameters:
        return parameters_from_attributes(self, self._structure())

    def _structure(self) -> CovarianceStructure:
        """Return the structure of the attributes, which `covariance_type` may no longer be."""
        fitted: CovarianceStructure | None = vars(self).get(FITTED_STRUCTURE)
        return self._structure_asked() if fitted is None else fitted

    def _structure_asked(self) -> CovarianceStructure:
        return structure(self.covariance_type)

    def _n_parameters(self) -> int:
        """Return the number of free parameters, under the name scikit-learn has for it."""
        noise = 0
        if hasattr(self, "noise_weight_"):
            # The weight and, unless it is given, the volume.
            noise = 2 if getattr(self, "noise_volume", "auto") == "auto" else 1
        n_components, n_features = np.shape(self.means_)
        free = constrained(self._structure(), getattr(self, "frozen", None), n_components)
        return free.n_parameters(n_components, n_features) + noise


@documented()
class InformationCriteria(MixtureEvaluation):
    """The criteria that weigh the likelihood of rows against the number of parameters."""

    def bic(self, X: Rows, sample_weight: Weights = None) -> float:
        """Return the Bayesian information criterion of the mixture on rows; lower is better.

        Returns
        -------
        float
            -2 log L + p log n, with p free parameters (Schwarz, 1978).
        """
        return self._scores(X, sample_weight).bic

    def aic(self, X: Rows, sample_weight: Weights = None) -> float:
        """Return the Akaike information criterion of the mixture on rows; lower is better.

        Returns
        -------
        float
            -2 log L + 2 p, with p free parameters (Akaike, 1974).
        """
        return self._scores(X, sample_weight).aic

    def icl(self, X: Rows, sample_weight: Weights = None) -> float:
        """Return the integrated completed likelihood criterion on rows; lower is better.

        It is the Bayesian criterion plus twice the entropy of the assignment, so that it
        prefers components that are well apart (Biernacki, Celeux and Govaert, 2000; in the form
        of McLachlan and Peel, 2000, section 6.10).

        Returns
        -------
        float
            ``bic(X) + 2 * entropy(X)``.
        """
        source, parameters = self._observed(X, sample_weight, annotated=True)
        bic = criteria.score(source, parameters, self._n_parameters(), n_jobs=self.n_jobs).bic
        return bic + 2.0 * criteria.assignment_entropy(source, parameters, n_jobs=self.n_jobs)


DRAWS = """\
n_draws : int, default=None
    Number of random draws of the missing values from that mixture, with `random_state`; None for
    its mean. Means are the best single guess of each value but vary less than the values do. Draws
    vary as much, and the differences between them show what is not known.
"""
"""What imputation has besides, as numpydoc describes parameters."""


@documented(DRAWS)
class Imputation(MixtureEvaluation):
    """Imputation of missing values, given the observed values of each row."""

    def impute(self, X: Rows, n_draws: int | None = None) -> FloatingArray:
        """Return the rows with missing values imputed.

        Given the observed values of a row, the missing values follow a mixture of Gaussians,
        whatever `missing` was when the mixture was fitted.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), or anything that `open_data` takes
            The rows, NaN where a value is missing.

        Returns
        -------
        ndarray of shape (n_samples, n_features) or (n_draws, n_samples, n_features)
            The rows, in their dtype. What is observed stays as it is.

        Raises
        ------
        ValueError
            If the rows are not possible, or `n_draws` is less than 1.
        """
        if n_draws is None:
            return self._imputed(X)
        if is_collection(X) or isinstance(X, DaskSource):
            raise ValueError(
                "the rows of a Dask collection are imputed by means: leave n_draws out, or iterate "
                "over impute_blocks(X, n_draws)"
            )
        blocks = list(self.impute_blocks(X, n_draws))
        return cast(FloatingArray, np.concatenate(blocks, axis=-2))

    @lazy_on_collections
    def _imputed(self, X: Rows) -> FloatingArray:
        return np.concatenate(list(self.impute_blocks(X)))

    def impute_blocks(self, X: Rows, n_draws: int | None = None) -> Iterator[FloatingArray]:
        """Yield what `impute` returns, block by block, as the rows are read.

        Parameters
        ----------
        n_draws : int, default=None
            As for `impute`.

        Yields
        ------
        ndarray of shape (n_rows, n_features) or (n_draws, n_rows, n_features)
            The next rows.
        """
        if n_draws is not None and (not isinstance(n_draws, Integral) or n_draws < 1):
            raise ValueError(f"n_draws must be None or a number from 1 on; got {n_draws!r}")
        source, parameters = self._evaluated(X, missing="model")
        return imputation.impute_blocks(
            source,
            parameters,
            n_draws=n_draws,
            seed=int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max)),
            n_jobs=self.n_jobs,
        )


def explained_rows(
    estimator: Any, source: Source, parameters: MixtureParameters, threshold: float
) -> Explanations:
    """Return why the rows of a source are ordinary or not."""
    if isinstance(source, DaskSource):
        raise ValueError(
            "explain returns several arrays, which hold all rows: pick the rows of the Dask "
            "collection that are of interest, as predict finds them, and compute them first"
        )
    blocks = (rows.copy() for rows, _ in source.blocks())
    return explained(blocks, parameters, threshold, n_jobs=estimator.n_jobs)


def labels_of_all(labels: npt.NDArray[np.int64], source: Source) -> npt.NDArray[np.int64]:
    """Return the labels of all rows that were given, -1 for those that were left out."""
    if source.left_out is None:
        return labels
    found = np.full(len(source.left_out), -1)
    found[~source.left_out] = labels
    return found
