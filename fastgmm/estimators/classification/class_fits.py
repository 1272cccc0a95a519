"""How a classifier's mixtures are found: one component for each class, or several, as asked for."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple, cast

import numpy as np
import numpy.typing as npt
from sklearn.exceptions import ConvergenceWarning

from fastgmm.analysis.structure_choice import (
    averaged_classes,
    fit_structures,
    lowest_bic,
    shares_of_structures,
)
from fastgmm.data.source import Source
from fastgmm.data.sources.chosen_rows import choose_rows
from fastgmm.em.blas_threads import one_blas_thread
from fastgmm.em.degeneracy import regularization_for
from fastgmm.em.e_step.batched import stacked
from fastgmm.em.e_step.passes import labeled_statistics, source_moments
from fastgmm.em.initialization.labels import fewest_rows
from fastgmm.em.missing.completed_rows import CompletedSource, lacks_values
from fastgmm.em.models.class_em import ClassFit, ClassProblem, fit_class_em
from fastgmm.em.models.class_mixtures import single_components, weighted_classes
from fastgmm.em.stopping import stopping_rule
from fastgmm.estimators.classification.class_labels import LabeledRows, class_totals
from fastgmm.estimators.gaussian_mixture import GaussianMixture
from fastgmm.estimators.mixture_search import MixtureSearch, component_numbers, structures_to_try
from fastgmm.estimators.shared.attributes import attributes_from_parameters
from fastgmm.mixture.parameters import MixtureParameters
from fastgmm.mixture.regularization import IllDefinedCovarianceError, Regularization
from fastgmm.mixture.statistics import FloatArray, SufficientStatistics, pool
from fastgmm.mixture.structures import CovarianceStructure, structure


class ClassModel(NamedTuple):
    """What the classes may be fitted as.

    Attributes
    ----------
    numbers : list of tuple of int
        For each class the numbers of components to try, ascending.
    kinds : list of CovarianceStructure
        The structures to try.
    common : bool
        Whether a structure is that of all classes together.
    """

    numbers: list[tuple[int, ...]]
    kinds: list[CovarianceStructure]
    common: bool

    @property
    def is_single(self) -> bool:
        """Whether each class has one component."""
        return all(numbers == (1,) for numbers in self.numbers)

    @property
    def is_diagonal(self) -> bool:
        """Whether no structure has covariances beside the diagonal."""
        return all(kind.is_diagonal for kind in self.kinds)


def class_model(estimator: Any, classes: npt.NDArray[Any], n_features: int) -> ClassModel:
    """Return what the parameters of a classifier ask for."""
    given = estimator.n_components
    if isinstance(given, dict):
        keys = classes.tolist()
        if set(given) != set(keys):
            raise ValueError(
                f"n_components should have an entry for each of the classes {keys}, and no other; "
                f"got {given!r}"
            )
        numbers = [_class_numbers(given[key]) for key in keys]
    else:
        numbers = [_class_numbers(given)] * len(classes)
    kinds = structures_to_try(estimator.covariance_type, "covariance_type", n_features)
    common = estimator.common_structure
    if isinstance(common, str):
        common = all(each == (1,) for each in numbers)
    elif common and any(len(each) > 1 for each in numbers):
        raise ValueError(
            "common_structure=True takes one number of components for each class, and n_components "
            f"is {given!r}: give an int, a dict of int, or common_structure=False"
        )
    return ClassModel(numbers, kinds, bool(common))


def _class_numbers(given: Any) -> tuple[int, ...]:
    return tuple(component_numbers(given, ", several of them, or a dict of these by class"))


class FittedClasses(NamedTuple):
    """What a fit finds.

    Attributes
    ----------
    mixtures : list of GaussianMixture
        The mixture of each class.
    priors : ndarray of shape (n_classes,)
        Priors of the classes.
    shares : dict of str to float
        Structures that all classes have together, and how much each counts.
    n_iter : int
        Number of iterations: the most of any class that was fitted by itself, and 1 where there
        is nothing to iterate.
    statistics : SufficientStatistics or None
        What one component for each class follows from.
    converged : bool
        Whether EM of all classes together converged; mixtures that are fitted by themselves warn
        themselves.
    """

    mixtures: list[GaussianMixture]
    priors: FloatArray
    shares: dict[str, float]
    n_iter: int = 1
    statistics: SufficientStatistics | None = None
    converged: bool = True


def fit_classes(
    estimator: Any,
    rows: LabeledRows,
    model: ClassModel,
    factors: FloatArray,
    priors: FloatArray | None,
    random_state: np.random.RandomState,
) -> FittedClasses:
    """Fit the mixtures of all classes."""
    unlabeled = bool((rows.codes < 0).any())
    if model.common and model.is_single and not unlabeled and not lacks_values(rows.source):
        return _fit_single_components(estimator, rows, model, factors, priors)
    return _fit_mixtures(estimator, rows, model, factors, priors, random_state)


def _fit_single_components(
    estimator: Any,
    rows: LabeledRows,
    model: ClassModel,
    factors: FloatArray,
    priors: FloatArray | None,
) -> FittedClasses:
    """Fit one component for each class, which takes a single pass and no EM."""
    source, kinds = rows.source, model.kinds
    with one_blas_thread():
        statistics = labeled_statistics(
            source,
            rows.codes,
            len(rows.classes),
            diagonal=model.is_diagonal,
            n_jobs=estimator.n_jobs,
        )
        shares = None
        if len(kinds) > 1 and estimator.selection == "average":
            shares = shares_of_structures(
                source,
                rows.codes,
                kinds,
                factors,
                class_regularization(estimator, weighted_classes(statistics, factors)),
                priors,
                n_jobs=estimator.n_jobs,
            )
        return solved_classes(
            estimator, weighted_classes(statistics, factors), kinds, priors, shares
        )


def solved_classes(
    estimator: Any,
    statistics: SufficientStatistics,
    kinds: Sequence[CovarianceStructure],
    priors: FloatArray | None,
    shares: FloatArray | None = None,
) -> FittedClasses:
    """Return one component for each class, from the statistics of their rows."""
    regularization = class_regularization(estimator, statistics)
    fits = fit_structures(statistics, kinds, regularization, priors)
    if shares is not None:
        shares = np.where([fit.parameters is None for fit in fits], 0.0, shares)
    if shares is None or np.count_nonzero(shares) == 0:
        best = lowest_bic(fits)
        shares = np.array([float(fit is best) for fit in fits])
    shares = shares / shares.sum()
    counted = {
        fit.structure.name: float(share)
        for fit, share in zip(fits, shares, strict=True)
        if share > 0.0
    }
    averaged = averaged_classes(fits, shares)
    kind = structure(next(iter(counted)))
    if len(counted) > 1:
        kind = structure("diag" if averaged[0].is_diagonal else "full")
    found = statistics.weights() if priors is None else priors
    mixtures = [fitted_mixture(estimator, each, kind) for each in averaged]
    return FittedClasses(mixtures, found, counted, statistics=statistics)


def class_regularization(estimator: Any, statistics: SufficientStatistics) -> Regularization:
    """Return the amounts that suit the rows of all classes together."""
    means, shares = statistics.means(), statistics.weights()
    mean = shares @ means
    variances = shares @ (statistics.variances() + (means - mean) ** 2)
    return Regularization.from_variances(estimator.reg_covar, "auto", mean, variances)


def fitted_mixture(
    estimator: Any, parameters: MixtureParameters, kind: CovarianceStructure
) -> GaussianMixture:
    """Return the fitted mixture of a class."""
    mixture = GaussianMixture(
        parameters.n_components, covariance_type=cast(Any, kind.name), **_settings(estimator)
    )
    mixture.__dict__.update(attributes_from_parameters(parameters, kind))
    mixture.n_features_in_ = estimator.n_features_in_
    if hasattr(estimator, "feature_names_in_"):
        mixture.feature_names_in_ = estimator.feature_names_in_
    return mixture


def _settings(estimator: Any) -> dict[str, Any]:
    names = ("tol", "reg_covar", "max_iter", "n_init", "n_jobs", "missing")
    return {name: getattr(estimator, name) for name in names}


def _fit_mixtures(
    estimator: Any,
    rows: LabeledRows,
    model: ClassModel,
    factors: FloatArray,
    priors: FloatArray | None,
    random_state: np.random.RandomState,
) -> FittedClasses:
    """Fit mixtures to the rows of each class, then to all together if they depend on each other."""
    totals = class_totals(rows)
    if not totals.all():
        lost = rows.classes.tolist()[int(totals.argmin())]
        raise ValueError(
            f"class {lost!r} has no rows of positive weight to fit a mixture to: leave it out"
        )
    labeled = [choose_rows(rows.source, rows.codes == c) for c in range(len(rows.classes))]
    shares = totals * factors
    found = shares / shares.sum() if priors is None else priors
    unknown = rows.codes < 0
    if not model.common:
        mixtures = [
            _class_mixture(estimator, source, numbers, model.kinds, random_state)
            for source, numbers in zip(labeled, model.numbers, strict=True)
        ]
        if not unknown.any():
            return FittedClasses(mixtures, found, {}, max(each.n_iter_ for each in mixtures))
        model = model._replace(kinds=[each._structure() for each in mixtures])
    unlabeled = choose_rows(rows.source, unknown) if unknown.any() else None
    if model.common:
        sizes = tuple(numbers[0] for numbers in model.numbers)
    else:
        sizes = tuple(each.n_components for each in mixtures)
    problem = ClassProblem(
        labeled,
        unlabeled,
        sizes,
        tuple(model.kinds),
        factors,
        priors,
        regularization_for(rows.source, estimator.reg_covar, "auto", n_jobs=estimator.n_jobs),
        estimator.n_jobs,
    )
    if not model.common:
        start = [each._parameters() for each in mixtures]
        rule = stopping_rule(estimator.tol)
        fit = fit_class_em(problem, start, found, rule, estimator.max_iter)
        return _of_fit(estimator, fit, problem, {})
    return _fit_common(estimator, rows, model, problem, found, random_state)


def _fit_common(
    estimator: Any,
    rows: LabeledRows,
    model: ClassModel,
    problem: ClassProblem,
    priors: FloatArray,
    random_state: np.random.RandomState,
) -> FittedClasses:
    """Fit mixtures that have a structure together, for each structure, and keep the best."""
    best: tuple[float, ClassFit, ClassProblem] | None = None
    failure = ""
    seeds = random_state.randint(np.iinfo(np.int32).max, size=len(problem.labeled))
    rule = stopping_rule(estimator.tol)
    for kind in model.kinds:
        of_kind = replace(problem, structures=(kind,))
        try:
            start = _common_start(estimator, rows, model, of_kind, seeds)
            fit = fit_class_em(of_kind, start, priors, rule, estimator.max_iter)
        except IllDefinedCovarianceError as error:
            failure = failure or f"{kind.name} failed because {error}"
            continue
        size = kind.n_parameters(sum(problem.sizes), rows.source.n_features)
        bic = -2.0 * fit.log_likelihood + size * np.log(problem.weight)
        if best is None or bic < best[0]:
            best = bic, fit, of_kind
    if best is None:
        raise IllDefinedCovarianceError(
            f"none of the covariance structures could be fitted; {failure}: use reg_covar above 0"
        )
    _, fit, of_kind = best
    shares = {of_kind.structures[0].name: 1.0}
    return _of_fit(estimator, fit, of_kind, shares)


def _common_start(
    estimator: Any,
    rows: LabeledRows,
    model: ClassModel,
    problem: ClassProblem,
    seeds: npt.NDArray[np.int64],
) -> list[MixtureParameters]:
    """Return mixtures of a structure that the rows of known class alone suggest."""
    (kind,), labeled = problem.structures, problem.labeled
    if model.is_single:
        if lacks_values(rows.source):
            whole = CompletedSource(
                rows.source,
                diagonal=kind.is_diagonal,
                random_state=np.random.RandomState(seeds[0]),
                n_jobs=estimator.n_jobs,
            )
            rows = rows._replace(source=whole)
        statistics = _start_statistics(estimator, rows, kind)
        return single_components(kind.solve(statistics, problem.regularization))
    with warnings.catch_warnings():
        # EM of all classes together goes on from these, and says itself whether it converged.
        warnings.simplefilter("ignore", ConvergenceWarning)
        mixtures = [
            GaussianMixture(
                numbers[0],
                covariance_type=cast(Any, kind.name),
                random_state=int(seed),
                **_settings(estimator),
            )
            .fit(source)
            ._parameters()
            for numbers, source, seed in zip(model.numbers, labeled, seeds, strict=True)
        ]
    # As if the points of each component were spread as its own mixture has them.
    counts = np.concatenate(
        [source.total_weight * each.weights for source, each in zip(labeled, mixtures, strict=True)]
    )
    separate = stacked(mixtures)
    statistics = SufficientStatistics.from_covariances(
        counts, separate.means, separate.covariances()
    )
    together = kind.solve(statistics, Regularization.none(separate.n_features))
    return [
        replace(together.of(place), log_weights=each.log_weights)
        for place, each in zip(problem.places, mixtures, strict=True)
    ]


def _start_statistics(
    estimator: Any, rows: LabeledRows, kind: CovarianceStructure
) -> SufficientStatistics:
    """Return statistics of labeled rows, with the covariance of all where these are too few."""
    statistics = labeled_statistics(
        rows.source,
        rows.codes,
        len(rows.classes),
        diagonal=kind.is_diagonal,
        n_jobs=estimator.n_jobs,
    )
    sizes = np.bincount(rows.codes[rows.codes >= 0], minlength=len(rows.classes))
    fewest = fewest_rows(rows.source.n_features, kind.is_diagonal)
    few = sizes < fewest
    if not few.any():
        return statistics
    covariances = statistics.covariances()
    if sizes.sum() - len(sizes) >= fewest:
        covariances[few] = pool(covariances, statistics.counts)
    else:
        moments = source_moments(rows.source, diagonal=kind.is_diagonal, n_jobs=estimator.n_jobs)
        covariances[few] = moments.covariances()[0]
    spread = SufficientStatistics.from_covariances(
        statistics.counts, statistics.means(), covariances
    )
    return replace(spread, log_likelihood=statistics.log_likelihood, weight=statistics.weight)


def _class_mixture(
    estimator: Any,
    source: Source,
    numbers: tuple[int, ...],
    kinds: Sequence[CovarianceStructure],
    random_state: np.random.RandomState,
) -> GaussianMixture:
    """Return the mixture of one class, the best if there is a choice."""
    seed = random_state.randint(np.iinfo(np.int32).max)
    if len(numbers) == 1 and len(kinds) == 1:
        return GaussianMixture(
            numbers[0],
            covariance_type=cast(Any, kinds[0].name),
            random_state=seed,
            **_settings(estimator),
        ).fit(source)

    def search(reg_covar: float) -> GaussianMixture:
        return (
            MixtureSearch(
                numbers,
                structures=[kind.name for kind in kinds],
                reg_covar=reg_covar,
                random_state=seed,
                n_jobs=estimator.n_jobs,
                missing=estimator.missing,
                tol=estimator.tol,
                max_iter=max(1, estimator.max_iter),
            )
            .fit(source)
            .best_estimator_
        )

    try:
        return search(0.0)  # which leaves out what only the regularization would hold up
    except ValueError:
        if estimator.reg_covar == 0.0:
            raise
        return search(estimator.reg_covar)


def _of_fit(
    estimator: Any, fit: ClassFit, problem: ClassProblem, shares: dict[str, float]
) -> FittedClasses:
    """Return what EM found."""
    kinds = problem.structures
    if len(kinds) == 1:
        kinds *= len(fit.mixtures)
    mixtures = []
    for kind, parameters in zip(kinds, fit.mixtures, strict=True):
        found = parameters
        if kind.is_diagonal and not found.is_diagonal:
            found = replace(found, whiteners=np.einsum("kii->ki", found.whiteners).copy())
        mixtures.append(fitted_mixture(estimator, found, kind))
    return FittedClasses(
        mixtures, fit.priors, shares, max(1, fit.info.n_iter), converged=fit.info.converged
    )
