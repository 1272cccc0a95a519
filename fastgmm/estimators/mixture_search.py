"""`MixtureSearch`: the structure and the number of components that suit the data best."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from numbers import Integral, Real
from os import PathLike
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, DensityMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import KFold, check_cv
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from fastgmm.analysis.search import (
    Candidate,
    SearchedRows,
    SearchPlan,
    Split,
    cross_validated,
    fit_candidates,
    refine,
    settle_contenders,
    split_by_numbers,
    split_partitions,
)
from fastgmm.data.source import Source
from fastgmm.data.sources.array import ArraySource
from fastgmm.data.sources.wrapped import observed_rows
from fastgmm.docstrings import documented
from fastgmm.em.initialization.data_scan import scan_data
from fastgmm.em.initialization.hierarchical import MOST_AGGLOMERATED
from fastgmm.em.initialization.partitions import PARTITION_METHODS, PartitionMethod, partitions
from fastgmm.em.initialization.random_rows import random_rows
from fastgmm.em.loop import FitInfo
from fastgmm.em.missing.completed_rows import CompletedSource
from fastgmm.estimators.gaussian_mixture import GaussianMixture
from fastgmm.estimators.shared.attributes import attributes_from_info, attributes_from_parameters
from fastgmm.estimators.shared.evaluation import RowEvaluation
from fastgmm.estimators.shared.interfaces import Rows, Weights
from fastgmm.estimators.shared.known_candidates import KnownCandidates
from fastgmm.estimators.shared.starts import check_enough_rows
from fastgmm.estimators.shared.validation import (
    Missing,
    check_replayable,
    check_source,
    check_weight_scale,
    constraints_of,
    validated_fit,
)
from fastgmm.extras import import_from_extra
from fastgmm.kernels.compilation import Stopwatch
from fastgmm.mixture.parameters import MixtureParameters
from fastgmm.mixture.regularization import IllDefinedCovarianceError
from fastgmm.mixture.structures import (
    FACTOR_NAMES,
    CovarianceStructure,
    name_or_instance,
    structures_of,
)

Criterion = Literal["bic", "aic", "icl", "log_likelihood"]

PARSIMONIOUS = (
    "EII", "VII", "EEI", "VEI", "EVI", "VVI", "EEE",
    "VEE", "EVE", "VVE", "EEV", "VEV", "EVV", "VVV",
)  # fmt: skip
"""The fourteen structures, in mclust's order."""

_OF_ONE_FEATURE = ("E", "V")

FitOn = Callable[[Candidate], tuple[Candidate, MixtureParameters, FitInfo]]
"""Fits a mixture of the search to the end."""

_FINAL_SHARE = 1e-3
"""The tolerance of the last fit, as a share of that of the search."""


@documented()
class MixtureSearch(RowEvaluation, DensityMixin, BaseEstimator):
    """Model selection over covariance structures and numbers of components.

    Like ``Mclust`` of R's mclust: every covariance structure is fitted with every number of
    components, all initialized from the same hierarchical partition of the rows, and the best
    mixture is selected by an information criterion. Mixtures that are less likely than simpler ones
    (of a structure that is a special case of theirs, or of one component less) are fitted again
    from these, and those that may be selected also from mixtures of other structures and sizes.

    Parameters
    ----------
    n_components : int or iterable of int, default=(1, 2, ..., 9)
        Numbers of components to try.
    structures : "all" or iterable of str, default="all"
        Covariance structures to try, by the names that `covariance_type` of
        :class:`GaussianMixture` takes. "all" are the fourteen parsimonious ones, or "E" and "V"
        for a single feature. Factor analyzers (UUU, UUC, UCU, UCC, CUU, CUC, CCU, CCC) are tried
        with each of `n_factors`.
    criterion : {"bic", "aic", "icl", "log_likelihood"}, default="bic"
        Criterion to minimize; or, for the mean log-likelihood of held-out rows in cross-validation,
        to maximize.
    cv : int, cross-validation generator or iterable, default=5
        Cross-validation strategy for "log_likelihood", which takes rows in memory, small files, or
        a Dask collection. Interpreted as in scikit-learn; an int is the number of folds of shuffled
        rows. Each row of a large Dask collection is in a random one of so many folds.
    init_params : {"hierarchical", "kmeans"}, default="hierarchical"
        Method of initialization: clusters of model-based hierarchical agglomeration or of k-means.
        On more than 2000 rows, a random subsample is clustered.
    tol : float, default=1e-5
        Convergence threshold. A fit stops when the increase of the log-likelihood l that its last
        gains suggest is still to come is less than ``tol * (1 + abs(l))``; the fits of few rows,
        and those that may be selected, when it is less than a fiftieth of that. The best mixture
        is then fitted further, to a thousandth of that tolerance.
    reg_covar : float, default=0.0
        As for :class:`GaussianMixture`. With 0, mixtures with a covariance that becomes singular
        are excluded, as in mclust: their likelihood is unbounded.
    max_iter : int, default=1000
        Maximum number of iterations of a fit.
    random_state : int, RandomState instance or None, default=None
        Controls the randomness of subsamples, of k-means and of the folds.
    verbose : int, default=0
        1 prints the result of each mixture as soon as it is fitted.
    missing : {"error", "drop", "model"}, default="error"
        How to handle missing values; see :class:`GaussianMixture`.
    checkpoint : str or path, default=None
        File that `fit` saves the mixtures to that are fitted so far.
    checkpoint_interval : float, default=60.0
        Seconds between checkpoints.
    resume : bool, default=False
        Whether `fit` takes over the mixtures in the checkpoint, if the file exists. The numbers of
        components and factors, structures and the criterion may differ from those of the earlier
        search.
    n_factors : int or iterable of int, default=None
        Numbers of factors to try, if factor analyzers are among the structures.

    Attributes
    ----------
    best_estimator_ : GaussianMixture
        The best mixture, fitted.
    best_params_ : dict
        Its `n_components` and `covariance_type`, and `n_factors` of factor analyzers.
    best_score_ : float
        The criterion's value for it.
    best_index_ : int
        Its row in `results_`.
    results_ : dict of str to ndarray
        A table with a row for each mixture, which ``pandas.DataFrame(search.results_)`` or
        `results_frame` show: `covariance_type`, `n_factors` (of a search among factor analyzers
        only; 0 for other structures), `n_components`, `n_parameters`, `log_likelihood`, `bic`,
        `aic`, `icl`, `held_out_log_likelihood` (of cross-validation only), `n_iter`, `converged`,
        and `failure`: empty, or why figures are missing.

    See Also
    --------
    GaussianMixture : A mixture of one structure and size.
    fastgmm.plotting.CriterionDisplay : Draws the table.

    References
    ----------
    Scrucca, Fop, Murphy and Raftery (2016), "mclust 5: clustering, classification and density
    estimation using Gaussian finite mixture models", The R Journal 8.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from fastgmm import MixtureSearch
    >>> search = MixtureSearch(range(1, 5)).fit(load_iris().data)
    >>> search.best_params_
    {'n_components': 2, 'covariance_type': 'VEV'}
    >>> round(search.best_score_, 2)
    561.73
    """

    best_estimator_: GaussianMixture
    best_params_: dict[str, Any]
    best_score_: float
    best_index_: int
    results_: dict[str, npt.NDArray[Any]]

    on_candidate: Callable[[KnownCandidates], None] | None = None
    """Called with what is known whenever a mixture is fitted."""

    def __init__(
        self,
        n_components: int | Iterable[int] = tuple(range(1, 10)),
        *,
        structures: Literal["all"] | Iterable[str | CovarianceStructure] = "all",
        criterion: Criterion = "bic",
        cv: Any = 5,
        init_params: PartitionMethod = "hierarchical",
        tol: float = 1e-5,
        reg_covar: float = 0.0,
        max_iter: int = 1000,
        random_state: int | np.random.RandomState | None = None,
        n_jobs: int | None = None,
        verbose: int = 0,
        missing: Missing = "error",
        checkpoint: str | PathLike[str] | None = None,
        checkpoint_interval: float = 60.0,
        resume: bool = False,
        n_factors: int | Iterable[int] | None = None,
    ) -> None:
        self.n_components = n_components
        self.structures = structures
        self.criterion = criterion
        self.cv = cv
        self.init_params = init_params
        self.tol = tol
        self.reg_covar = reg_covar
        self.max_iter = max_iter
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.verbose = verbose
        self.missing = missing
        self.checkpoint = checkpoint
        self.checkpoint_interval = checkpoint_interval
        self.resume = resume
        self.n_factors = n_factors

    _parameter_constraints = constraints_of(
        __init__,
        n_components=[Interval(Integral, 1, None, closed="left"), HasMethods("__iter__")],
        structures=[StrOptions({"all"}), HasMethods("__iter__")],
        criterion=[StrOptions({"bic", "aic", "icl", "log_likelihood"})],
        cv=["cv_object"],
        init_params=[StrOptions(set(PARTITION_METHODS))],
        tol=[Interval(Real, 0.0, None, closed="left")],
        max_iter=[Interval(Integral, 1, None, closed="left")],
        n_factors=[Interval(Integral, 1, None, closed="left"), HasMethods("__iter__"), None],
    )

    @validated_fit
    def fit(self, X: Rows, y: Any = None, sample_weight: Weights = None) -> Self:  # noqa: ARG002
        """Fit all mixtures to rows, and keep the best.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), or anything that `open_data` takes
            The rows. Of files of many rows a sample is held in memory, on which mixtures come to
            rest first; then each reading of the files serves all mixtures that go on.

        Raises
        ------
        ValueError
            If no mixture could be fitted, or the rows, weights, structures or numbers are not
            possible.

        Warns
        -----
        ConvergenceWarning
            If EM of the best mixture has not converged after `max_iter` iterations.
        """
        source = check_source(self, X, sample_weight, reset=True, ensure_min_samples=2)
        check_replayable(self, source)
        source = observed_rows(source)
        check_weight_scale(source)
        numbers = positive_numbers(self.n_components, "n_components", " or several of them")
        check_enough_rows(source, numbers[0])
        random_state = check_random_state(self.random_state)
        scanned = scan_data(
            source,
            numbers[-1],
            self.reg_covar,
            "auto",
            seed=random_state.randint(np.iinfo(np.int32).max),
            n_jobs=self.n_jobs,
        )
        rows = scanned.sample
        folds_of = source
        if not scanned.subsampled:
            source = rows  # all that count are in memory already
            if not isinstance(folds_of, ArraySource) and rows.n_samples == folds_of.n_samples:
                folds_of = rows
        kinds = structures_to_try(
            self.structures, "structures", source.n_features, _factor_numbers(self)
        )
        plan = SearchPlan(
            tuple((kind, number) for number in numbers for kind in kinds),
            scanned.regularization,
            self.tol,
            self.max_iter,
            self.n_jobs,
        )
        known = KnownCandidates(self, source, plan)
        sample = rows
        if self.init_params == "hierarchical" and sample.n_samples > MOST_AGGLOMERATED:
            seed = random_state.randint(np.iinfo(np.int32).max)
            sample = random_rows(sample, MOST_AGGLOMERATED, seed)

        def partition(rows: ArraySource) -> dict[int, npt.NDArray[np.int64]]:
            if rows.incomplete:  # clusters are found from whole rows
                rows = CompletedSource(
                    rows, diagonal=False, random_state=random_state, n_jobs=self.n_jobs
                ).in_memory()
            return partitions(
                rows, numbers, self.init_params, random_state=random_state, n_jobs=self.n_jobs
            )

        splits: Iterable[Split] = ()
        if self.criterion == "log_likelihood":
            splits = self._splits(folds_of, random_state)
        clusters = partition(sample)
        searched = SearchedRows(source, sample, rows if scanned.subsampled else None)

        def observe(candidate: Candidate) -> None:
            known.add(candidate)
            self._tell(candidate)

        with known:
            candidates = fit_candidates(searched, clusters, plan, observe, known.found)
        if self.criterion != "log_likelihood":
            candidates = settle_contenders(
                searched, candidates, clusters, plan, lambda each: _value(each, self.criterion)
            )
        if self.criterion == "log_likelihood":
            candidates = cross_validated(candidates, splits, partition, plan)
        final = replace(plan, tol=_FINAL_SHARE * plan.tol)
        self._keep_best(candidates, lambda best: refine(source, final, best))
        if not self.best_estimator_.converged_:
            warnings.warn(
                f"EM of the best mixture did not converge in max_iter={self.max_iter} iterations. "
                "Increase max_iter or tol.",
                ConvergenceWarning,
                stacklevel=3,  # the caller of fit, between which and this is its decorator
            )
        return self

    def _splits(self, source: Source, random_state: np.random.RandomState) -> Iterable[Split]:
        """Return the folds of a cross-validation of rows in memory or in partitions."""
        cv = self.cv
        if isinstance(source, ArraySource):
            if isinstance(cv, Integral):
                cv = KFold(int(cv), shuffle=True, random_state=random_state)
            folds = list(check_cv(cv).split(source.stored))
            return (split_by_numbers(source, *each) for each in folds)
        if source.partition_sizes is None or not isinstance(cv, Integral):
            raise ValueError(
                "criterion='log_likelihood' holds rows out, which takes rows in memory, or a Dask "
                "collection and a number of folds, cv: read them into an array, or choose 'bic', "
                "'aic' or 'icl'"
            )
        seed = random_state.randint(np.iinfo(np.int32).max)
        most = MOST_AGGLOMERATED if self.init_params == "hierarchical" else None
        return (split_partitions(source, i, int(cv), seed, most) for i in range(int(cv)))

    def _tell(self, candidate: Candidate) -> None:
        """Print what a mixture came to, if that is wanted."""
        if not self.verbose:
            return
        value = candidate.failure or f"BIC {candidate.bic:.2f}, {candidate.n_iter} iterations"
        print(f"{candidate.structure.label}, {candidate.n_components} components: {value}")

    def _keep_known(self, known: KnownCandidates) -> int:
        """Keep the best of the mixtures that are fitted so far, and return their number."""
        candidates = known.all_candidates()
        n_fitted = sum(each.failure is None for each in candidates)
        if n_fitted:
            self.__dict__.update(known.features)  # which a fit that ends by an error takes back
            self._keep_best(candidates, lambda best: (best, best.parameters(), known.info_of(best)))
        return n_fitted

    def _keep_best(self, candidates: list[Candidate], fit_on: FitOn) -> None:
        """Choose the best mixture, fit it to the end, and set the attributes."""
        watch = Stopwatch()
        index, parameters, info = self._refined(candidates, fit_on)
        best = candidates[index]
        params = {
            "n_components": best.n_components,
            "covariance_type": name_or_instance(best.structure),
        }
        if best.structure.n_factors is not None:
            params["n_factors"] = best.structure.n_factors
        mixture = GaussianMixture(
            **params,
            tol=self.tol,
            reg_covar=self.reg_covar,
            max_iter=self.max_iter,
            random_state=self.random_state,
            n_jobs=self.n_jobs,
            missing=self.missing,
        )
        mixture.__dict__.update(
            attributes_from_parameters(parameters, best.structure),
            **attributes_from_info(info, watch),
        )
        mixture.n_features_in_ = self.n_features_in_
        if hasattr(self, "feature_names_in_"):
            mixture.feature_names_in_ = self.feature_names_in_
        self.best_estimator_ = mixture
        self.best_params_ = params
        self.best_index_ = index
        self.best_score_ = _value(best, self.criterion)
        self.results_ = _table(candidates, held_out=self.criterion == "log_likelihood")

    def _refined(
        self, candidates: list[Candidate], fit_on: FitOn
    ) -> tuple[int, MixtureParameters, FitInfo]:
        """Return the number of the best mixture, and that mixture fitted to the end.

        One that turns out to have no end, because a covariance becomes singular, is out of the
        question.
        """
        sign = -1.0 if self.criterion == "log_likelihood" else 1.0
        while True:
            values = np.array([sign * _value(each, self.criterion) for each in candidates])
            if np.isnan(values).all():
                raise ValueError(
                    "none of the mixtures could be fitted; the first of them failed because "
                    f"{candidates[0].failure}: try fewer components, or reg_covar above 0"
                )
            index = int(np.nanargmin(values))
            try:
                candidates[index], parameters, info = fit_on(candidates[index])
            except IllDefinedCovarianceError as error:
                candidates[index] = candidates[index].failed(str(error))
                continue
            return index, parameters, info

    def results_frame(self) -> Any:
        """Return the table of all mixtures as a data frame.

        Returns
        -------
        pandas.DataFrame
            `results_`.

        Raises
        ------
        NotFittedError
            If the search is not fitted.
        ImportError
            If pandas is not installed.
        """
        check_is_fitted(self)
        pandas = import_from_extra(
            "pandas", package="pandas", extra="frames", purpose="a table of the results"
        )
        return pandas.DataFrame(self.results_)

    def _mixture(self) -> GaussianMixture:
        check_is_fitted(self)
        return self.best_estimator_


def positive_numbers(given: Any, name: str, what: str = "") -> list[int]:
    """Return numbers to try, ascending."""
    numbers = [given] if isinstance(given, Integral) else list(given)
    if not numbers or not all(
        isinstance(each, Integral) and not isinstance(each, bool) and int(each) >= 1
        for each in numbers
    ):
        raise ValueError(f"{name} must be a positive integer{what}; got {given!r}")
    return sorted({int(each) for each in numbers})


def _factor_numbers(search: MixtureSearch) -> list[int]:
    """Return the numbers of factors to try; none if no structure has factors."""
    kinds, given = search.structures, search.n_factors
    asked = [] if isinstance(kinds, str) else [each for each in kinds if each in FACTOR_NAMES]
    if bool(asked) != (given is not None):
        what = (
            f"{asked[0]!r} needs the numbers of factors to try: give n_factors"
            if asked
            else f"n_factors={given!r} is for factor analyzers, and none are among structures: add "
            "some, such as 'UUU' and 'CCU', or use n_factors=None"
        )
        raise ValueError(what)
    return positive_numbers(given, "n_factors", " or several of them") if asked else []


def structures_to_try(
    given: Any, parameter: str, n_features: int, n_factors: Sequence[int] = ()
) -> list[CovarianceStructure]:
    """Return the structures that a parameter names, or the parsimonious ones for "all"."""
    every = PARSIMONIOUS if n_features > 1 else _OF_ONE_FEATURE
    kinds = structures_of(given, every, parameter, n_factors)
    for kind in kinds:
        kind.check_features(n_features)
    return kinds


def _value(candidate: Candidate, criterion: Criterion) -> float:
    """Return the value of a criterion; nan for a mixture that could not be fitted."""
    if candidate.failure is not None:
        return np.nan
    return float(
        candidate.held_out if criterion == "log_likelihood" else getattr(candidate, criterion)
    )


def _table(candidates: list[Candidate], *, held_out: bool) -> dict[str, npt.NDArray[Any]]:
    """Return the candidates as columns."""
    columns: dict[str, list[Any]] = {
        "covariance_type": [each.structure.name for each in candidates],
        "n_factors": [each.structure.n_factors or 0 for each in candidates],
        "n_components": [each.n_components for each in candidates],
        "n_parameters": [each.n_parameters for each in candidates],
        "log_likelihood": [each.log_likelihood for each in candidates],
        "bic": [each.bic for each in candidates],
        "aic": [each.aic for each in candidates],
        "icl": [each.icl for each in candidates],
        "held_out_log_likelihood": [each.held_out for each in candidates],
        "n_iter": [each.n_iter for each in candidates],
        "converged": [each.converged for each in candidates],
        "failure": [each.failure or "" for each in candidates],
    }
    if not any(columns["n_factors"]):
        del columns["n_factors"]
    if not held_out:
        del columns["held_out_log_likelihood"]
    return {name: np.array(values) for name, values in columns.items()}
