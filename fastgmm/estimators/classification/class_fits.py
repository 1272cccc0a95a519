"""How a classifier's mixtures are found: one component for each class, or several, as asked for."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

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
from fastgmm.data.sources.dask_collection import DaskSource
from fastgmm.data.sources.wrapped import choose_rows
from fastgmm.em.blas_threads import one_blas_thread
from fastgmm.em.degeneracy import regularization_for
from fastgmm.em.e_step.passes import labeled_statistics, source_moments
from fastgmm.em.e_step.reservoir import Sampling, labeled_sample
from fastgmm.em.initialization.data_scan import sample_size
from fastgmm.em.initialization.labels import fewest_rows
from fastgmm.em.missing.completed_rows import completed_rows, lacks_values
from fastgmm.em.models.class_em import ClassFit, ClassProblem, fit_class_em
from fastgmm.em.models.class_mixtures import single_components, weighted_classes
from fastgmm.em.stopping import stopping_rule
from fastgmm.estimators.classification.class_labels import LabeledRows, class_totals
from fastgmm.estimators.gaussian_mixture import GaussianMixture
from fastgmm.estimators.mixture_search import MixtureSearch, positive_numbers, structures_to_try
from fastgmm.estimators.shared.attributes import attributes_from_parameters
from fastgmm.estimators.shared.validation import Missing
from fastgmm.mixture.parameters import MixtureParameters
from fastgmm.mixture.regularization import IllDefinedCovarianceError, Regularization
from fastgmm.mixture.statistics import FloatArray, SufficientStatistics, pool
from fastgmm.mixture.structures import CovarianceStructure, name_or_instance, structure


class ClassModel(NamedTuple):
    """What the classes may be fitted as."""

    numbers: list[tuple[int, ...]]  # of components to try, for each class, ascending
    kinds: list[CovarianceStructure]  # structures to try
    common: bool  # whether a structure is that of all classes together

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
    what = ", several of them, or a dict of these by class"
    return tuple(positive_numbers(given, "n_components", what))


class FittedClasses(NamedTuple):
    """What a fit finds."""

    mixtures: list[GaussianMixture]
    priors: FloatArray  # (n_classes,)
    shares: dict[str, float]  # structures that all classes have together, and how much each counts
    n_iter: int = 1  # the most of any class that was fitted by itself
    statistics: SufficientStatistics | None = None  # what one component for each class follows from
    converged: bool = True  # EM of all classes together; mixtures by themselves warn themselves


class ClassMixtureSettings(NamedTuple):
    """The parameters of a classifier that the mixtures of its classes have, too."""

    tol: float
    reg_covar: float
    max_iter: int
    n_init: int
    n_jobs: int | None
    missing: Missing

    def mixture(self, n_components: int, kind: CovarianceStructure, **more: Any) -> GaussianMixture:
        """Return a mixture with these parameters."""
        return GaussianMixture(
            n_components, covariance_type=name_or_instance(kind), **self._asdict(), **more
        )


@dataclass(frozen=True, slots=True, eq=False)
class ClassFitting:
    """How mixtures are fitted to the rows of classes."""

    model: ClassModel
    factors: FloatArray  # what weights of the rows of each class are multiplied by
    priors: FloatArray | None
    averages: bool  # over several structures
    settings: ClassMixtureSettings
    features: dict[str, Any]  # the attributes that describe them

    @classmethod
    def of(
        cls, estimator: Any, model: ClassModel, factors: FloatArray, priors: FloatArray | None
    ) -> ClassFitting:
        """Return what the parameters of a classifier ask for."""
        names = ("n_features_in_", "feature_names_in_")
        return cls(
            model,
            factors,
            priors,
            estimator.selection == "average",
            ClassMixtureSettings(
                *(getattr(estimator, name) for name in ClassMixtureSettings._fields)
            ),
            {name: value for name, value in vars(estimator).items() if name in names},
        )

    def fit(self, rows: LabeledRows, random_state: np.random.RandomState) -> FittedClasses:
        """Fit the mixtures of all classes."""
        unlabeled = int(rows.sizes().sum()) < (rows.source.n_samples or 0)
        alone = self.model.common and self.model.is_single and not unlabeled
        if alone and not lacks_values(rows.source):
            return self._single_components(rows)
        return self._mixtures(rows, random_state)

    def _single_components(self, rows: LabeledRows) -> FittedClasses:
        """Fit one component for each class, which takes a single pass and no EM."""
        source, kinds, n_jobs = rows.source, self.model.kinds, self.settings.n_jobs
        with one_blas_thread():
            found = labeled_statistics(
                source,
                rows.codes,
                len(rows.classes),
                diagonal=self.model.is_diagonal,
                n_jobs=n_jobs,
            )
            statistics, shares = weighted_classes(found, self.factors), None
            if len(kinds) > 1 and self.averages:
                judged, codes = source, rows.codes
                if isinstance(source, DaskSource):  # whose rows cannot be put in an order
                    size = sample_size(len(rows.classes), source.n_features, 8)
                    sampling = Sampling(size, 0, source.partition_sizes)
                    judged, codes = labeled_sample(source, codes, sampling)
                shares = shares_of_structures(
                    judged,
                    codes,
                    kinds,
                    self.factors,
                    self._regularization(statistics),
                    self.priors,
                    n_jobs=n_jobs,
                )
            return self.solved(statistics, shares)

    def solved(
        self, statistics: SufficientStatistics, shares: FloatArray | None = None
    ) -> FittedClasses:
        """Return one component for each class, from the statistics of their rows."""
        fits = fit_structures(
            statistics, self.model.kinds, self._regularization(statistics), self.priors
        )
        if shares is not None:
            shares = np.where([fit.parameters is None for fit in fits], 0.0, shares)
        if shares is None or np.count_nonzero(shares) == 0:
            best = lowest_bic(fits)
            shares = np.array([float(fit is best) for fit in fits])
        shares = shares / shares.sum()
        counted = {
            fit.structure: float(share)
            for fit, share in zip(fits, shares, strict=True)
            if share > 0.0
        }
        averaged = averaged_classes(fits, shares)
        kind = next(iter(counted))
        if len(counted) > 1:
            kind = structure("diag" if averaged[0].is_diagonal else "full")
        found = statistics.weights() if self.priors is None else self.priors
        mixtures = [self._fitted(each, kind) for each in averaged]
        named = {each.name: share for each, share in counted.items()}
        return FittedClasses(mixtures, found, named, statistics=statistics)

    def _regularization(self, statistics: SufficientStatistics) -> Regularization:
        """Return the amounts that suit the rows of all classes together."""
        means, shares = statistics.means(), statistics.weights()
        mean = shares @ means
        variances = shares @ (statistics.variances() + (means - mean) ** 2)
        return Regularization.from_variances(self.settings.reg_covar, "auto", mean, variances)

    def _fitted(self, parameters: MixtureParameters, kind: CovarianceStructure) -> GaussianMixture:
        """Return the fitted mixture of a class."""
        mixture = self.settings.mixture(parameters.n_components, kind)
        mixture.__dict__.update(attributes_from_parameters(parameters, kind), **self.features)
        return mixture

    def _mixtures(self, rows: LabeledRows, random_state: np.random.RandomState) -> FittedClasses:
        """Fit mixtures to the rows of each class, then to all if they depend on each other."""
        model, settings = self.model, self.settings
        totals = class_totals(rows)
        if not totals.all():
            lost = rows.classes.tolist()[int(totals.argmin())]
            raise ValueError(
                f"class {lost!r} has no rows of positive weight to fit a mixture to: leave it out"
            )
        labeled = [choose_rows(rows.source, rows.codes == c) for c in range(len(rows.classes))]
        shares = totals * self.factors
        found = shares / shares.sum() if self.priors is None else self.priors
        unknown = rows.codes < 0
        unlabeled = int(rows.sizes().sum()) < (rows.source.n_samples or 0)
        kinds, sizes = model.kinds, tuple(numbers[0] for numbers in model.numbers)
        if not model.common:
            mixtures = [
                self._class_mixture(source, numbers, random_state)
                for source, numbers in zip(labeled, model.numbers, strict=True)
            ]
            if not unlabeled:
                return FittedClasses(mixtures, found, {}, max(each.n_iter_ for each in mixtures))
            kinds = [each._structure() for each in mixtures]
            sizes = tuple(each.n_components for each in mixtures)
        problem = ClassProblem(
            labeled,
            choose_rows(rows.source, unknown) if unlabeled else None,
            sizes,
            tuple(kinds),
            self.factors,
            self.priors,
            regularization_for(rows.source, settings.reg_covar, "auto", n_jobs=settings.n_jobs),
            settings.n_jobs,
        )
        if model.common:
            return self._common(rows, problem, found, random_state)
        start = [each._parameters() for each in mixtures]
        fit = fit_class_em(problem, start, found, stopping_rule(settings.tol), settings.max_iter)
        return self._of_fit(fit, problem, {})

    def _common(
        self,
        rows: LabeledRows,
        problem: ClassProblem,
        priors: FloatArray,
        random_state: np.random.RandomState,
    ) -> FittedClasses:
        """Fit mixtures that have a structure together, for each structure, and keep the best."""
        best: tuple[float, ClassFit, ClassProblem] | None = None
        failure = ""
        seeds = random_state.randint(np.iinfo(np.int32).max, size=len(problem.labeled))
        rule = stopping_rule(self.settings.tol)
        for kind in self.model.kinds:
            of_kind = replace(problem, structures=(kind,))
            try:
                start = self._common_start(rows, of_kind, seeds)
                fit = fit_class_em(of_kind, start, priors, rule, self.settings.max_iter)
            except IllDefinedCovarianceError as error:
                failure = failure or f"{kind.name} failed because {error}"
                continue
            size = kind.n_parameters(sum(problem.sizes), rows.source.n_features)
            bic = -2.0 * fit.log_likelihood + size * np.log(problem.weight)
            if best is None or bic < best[0]:
                best = bic, fit, of_kind
        if best is None:
            raise IllDefinedCovarianceError(
                f"none of the covariance structures could be fitted; {failure}: use reg_covar "
                "above 0"
            )
        _, fit, of_kind = best
        return self._of_fit(fit, of_kind, {of_kind.structures[0].name: 1.0})

    def _common_start(
        self, rows: LabeledRows, problem: ClassProblem, seeds: npt.NDArray[np.int64]
    ) -> list[MixtureParameters]:
        """Return mixtures of a structure that the rows of known class alone suggest."""
        (kind,), labeled = problem.structures, problem.labeled
        if self.model.is_single:
            if lacks_values(rows.source):
                whole = completed_rows(
                    rows.source,
                    diagonal=kind.is_diagonal,
                    random_state=np.random.RandomState(seeds[0]),
                    n_jobs=self.settings.n_jobs,
                )
                rows = rows._replace(source=whole)
            statistics = _start_statistics(rows, kind, self.settings.n_jobs)
            return single_components(kind.solve(statistics, problem.regularization))
        with warnings.catch_warnings():
            # EM of all classes together starts from these, and says itself whether it converged.
            warnings.simplefilter("ignore", ConvergenceWarning)
            mixtures = [
                self.settings.mixture(numbers[0], kind, random_state=int(seed))
                .fit(source)
                ._parameters()
                for numbers, source, seed in zip(self.model.numbers, labeled, seeds, strict=True)
            ]
        # As if the points of each component were spread as its own mixture has them.
        counts = np.concatenate(
            [
                source.total_weight * each.weights
                for source, each in zip(labeled, mixtures, strict=True)
            ]
        )
        separate = MixtureParameters.joined(mixtures)
        statistics = SufficientStatistics.from_covariances(
            counts, separate.means, separate.covariances()
        )
        together = kind.solve(statistics, Regularization.none(separate.n_features))
        return [
            replace(together.of(place), log_weights=each.log_weights)
            for place, each in zip(problem.places, mixtures, strict=True)
        ]

    def _class_mixture(
        self, source: Source, numbers: tuple[int, ...], random_state: np.random.RandomState
    ) -> GaussianMixture:
        """Return the mixture of one class, the best if there is a choice."""
        kinds, settings = self.model.kinds, self.settings
        seed = random_state.randint(np.iinfo(np.int32).max)
        if len(numbers) == 1 and len(kinds) == 1:
            return settings.mixture(numbers[0], kinds[0], random_state=seed).fit(source)

        def search(reg_covar: float) -> GaussianMixture:
            found = MixtureSearch(
                numbers,
                structures=kinds,
                reg_covar=reg_covar,
                random_state=seed,
                n_jobs=settings.n_jobs,
                missing=settings.missing,
                tol=settings.tol,
                max_iter=max(1, settings.max_iter),
            )
            return found.fit(source).best_estimator_

        try:
            return search(0.0)  # which leaves out what only the regularization would hold up
        except ValueError:
            if settings.reg_covar == 0.0:
                raise
            return search(settings.reg_covar)

    def _of_fit(
        self, fit: ClassFit, problem: ClassProblem, shares: dict[str, float]
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
            mixtures.append(self._fitted(found, kind))
        return FittedClasses(
            mixtures, fit.priors, shares, max(1, fit.info.n_iter), converged=fit.info.converged
        )


def _start_statistics(
    rows: LabeledRows, kind: CovarianceStructure, n_jobs: int | None
) -> SufficientStatistics:
    """Return statistics of labeled rows, with the covariance of all where these are too few."""
    statistics = labeled_statistics(
        rows.source,
        rows.codes,
        len(rows.classes),
        diagonal=kind.is_diagonal,
        n_jobs=n_jobs,
    )
    sizes = rows.sizes()
    fewest = fewest_rows(rows.source.n_features, kind.is_diagonal)
    few = sizes < fewest
    if not few.any():
        return statistics
    covariances = statistics.covariances()
    if sizes.sum() - len(sizes) >= fewest:
        covariances[few] = pool(covariances, statistics.counts)
    else:
        moments = source_moments(rows.source, diagonal=kind.is_diagonal, n_jobs=n_jobs)
        covariances[few] = moments.covariances()[0]
    spread = SufficientStatistics.from_covariances(
        statistics.counts, statistics.means(), covariances
    )
    return replace(spread, log_likelihood=statistics.log_likelihood, weight=statistics.weight)
