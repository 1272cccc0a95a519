"""Which of several structures, common to classes of one component each, separates these best."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from fastgmm.data.source import Source
from fastgmm.data.sources.array import ArraySource
from fastgmm.em.degeneracy import find_degeneracies
from fastgmm.em.e_step.passes import labeled_statistics
from fastgmm.em.models.class_mixtures import (
    Codes,
    class_log_densities,
    expected_log_likelihood,
    labeled_pieces,
    log_joint_of_classes,
    log_posteriors,
    single_components,
    weighted_classes,
    with_matrices,
)
from fastgmm.mixture.parameters import MixtureParameters
from fastgmm.mixture.regularization import IllDefinedCovarianceError, Regularization
from fastgmm.mixture.statistics import FloatArray, SufficientStatistics
from fastgmm.mixture.structures import CovarianceStructure

N_FOLDS = 5
MOST_JUDGED = 2**15
"""About so many rows at most are judged when they are held out; all are learned."""

LEAST_SHARE = 1e-3
"""Structures of a smaller share in an average are left out of it."""

_ODD = np.uint64(0x9E3779B97F4A7C15)
_MULTIPLIERS = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


@dataclass(frozen=True, slots=True, eq=False)
class StructureFit:
    """Components of one structure, one for each class."""

    structure: CovarianceStructure  # the structure
    # the components, weighted by the priors; None if they could not be fitted
    parameters: MixtureParameters | None = None
    # log-density of the rows together with their classes, in nats
    log_likelihood: float = -math.inf
    # −2 times that plus log n times the number of parameters; infinite without parameters, and for
    # components that only the regularization holds up
    bic: float = math.inf
    failure: str | None = None  # why there are no parameters, or an infinite criterion


def solve_classes(
    statistics: SufficientStatistics,
    structure: CovarianceStructure,
    regularization: Regularization,
    priors: FloatArray | None,
    before: MixtureParameters | None = None,
) -> MixtureParameters:
    """Return the components of classes whose rows are known: the M-step, taken once."""
    solved = structure.solve(statistics, regularization, before)
    if priors is None:
        return solved
    with np.errstate(divide="ignore"):  # a prior of 0 is allowed
        log_weights = np.log(np.where(statistics.empty(), 0.0, priors))
    return replace(solved, log_weights=log_weights)


def fit_structures(
    statistics: SufficientStatistics,
    kinds: Sequence[CovarianceStructure],
    regularization: Regularization,
    priors: FloatArray | None,
) -> list[StructureFit]:
    """Fit components of several structures to the same classes."""
    found = []
    n_present = int(np.count_nonzero(~statistics.empty()))
    for kind in kinds:
        try:
            parameters = solve_classes(statistics, kind, regularization, priors)
        except IllDefinedCovarianceError as error:
            found.append(StructureFit(kind, failure=str(error)))
            continue
        total = expected_log_likelihood(statistics, parameters)
        size = kind.n_parameters(n_present, statistics.n_features)
        bic = -2.0 * total + size * math.log(statistics.weight)
        collapsed = [
            each.description
            for each in find_degeneracies(parameters, kind, regularization)
            if each.kind == "collapsed"
        ]
        if collapsed:
            bic = math.inf
        found.append(
            StructureFit(kind, parameters, total, bic, collapsed[0] if collapsed else None)
        )
    return found


def lowest_bic(fits: Sequence[StructureFit]) -> StructureFit:
    """Return the fit of the lowest criterion; if none has one, the first that there is."""
    best = min(fits, key=lambda fit: (fit.bic, fit.parameters is None))
    if best.parameters is None:
        raise IllDefinedCovarianceError(
            f"none of the covariance structures could be fitted; {best.structure.name} failed "
            f"because {best.failure}: use reg_covar above 0"
        )
    return best


def shares_of_structures(
    source: Source,
    codes: Codes,
    kinds: Sequence[CovarianceStructure],
    factors: FloatArray,
    regularization: Regularization,
    priors: FloatArray | None,
    *,
    n_jobs: int | None = None,
) -> FloatArray:
    """Return how much each structure should count in an average of the classes' densities.

    In proportion to the probability that it gives to the classes of rows held out in
    cross-validation, all of them together: the pseudo-Bayesian model averaging of Geisser and Eddy
    (1979, "A predictive approach to model selection", JASA 74); see Yao, Vehtari, Simpson and
    Gelman (2018, "Using stacking to average Bayesian predictive distributions", Bayesian Analysis
    13). Two passes over the rows serve all structures and folds: the statistics of the rows to
    learn are those of all folds less one.
    """
    n_classes = len(factors)
    folds, judged = row_folds(source, codes)
    in_folds = labeled_statistics(
        source,
        np.where(codes >= 0, folds * n_classes + codes, -1),
        N_FOLDS * n_classes,
        diagonal=all(kind.is_diagonal for kind in kinds),
        n_jobs=n_jobs,
    )
    without = [_without_fold(in_folds, f, factors) for f in range(N_FOLDS)]
    gains = np.zeros(len(kinds))
    fits = [
        [_fold_mixtures(statistics, kind, regularization, priors) for kind in kinds]
        for statistics in without
    ]
    for i in range(len(kinds)):
        if any(fit[i] is None for fit in fits):
            gains[i] = -np.inf
    start = 0
    for rows, classes in labeled_pieces(source, codes):
        here = slice(start, start + rows.n_samples)
        start += rows.n_samples
        places = np.where(judged[here], folds[here], -1)
        for f in range(N_FOLDS):
            # A class that has no other rows than these cannot be distinguished from anything.
            known = (places == f) & (classes >= 0)
            known[known] = ~without[f].empty()[classes[known]]
            held_out = np.flatnonzero(known)
            if not len(held_out):
                continue
            some = ArraySource(rows.rows(held_out))
            weights = factors[classes[held_out]]
            if rows.weights is not None:
                weights = weights * rows.weights[held_out]
            for i, fit in enumerate(fits[f]):
                if fit is None or np.isneginf(gains[i]):
                    continue
                log_weights, mixtures = fit
                densities = class_log_densities(some, mixtures, n_jobs=n_jobs)
                joint = log_joint_of_classes(some, mixtures, densities, log_weights, n_jobs=n_jobs)
                right = log_posteriors(joint)[np.arange(len(held_out)), classes[held_out]]
                gains[i] += weights @ right
    if np.isneginf(gains).all():
        return np.zeros(len(kinds))
    shares = np.exp(gains - gains.max())
    shares[shares < LEAST_SHARE * shares.sum()] = 0.0
    return np.asarray(shares / shares.sum())


def row_folds(source: Source, codes: Codes) -> tuple[Codes, npt.NDArray[np.bool_]]:
    """Return folds of rows that do not depend on the rows' order, weights and repetitions.

    Rows of a class are put in the order of a hash of their values and dealt out to the folds in
    turn, so that each has as many of every class. Equal rows are in the same fold: a copy of a row
    cannot be learned and held out.
    """
    hashes = np.zeros(len(codes), np.uint64)
    counts = codes >= 0
    start = 0
    for rows, _ in labeled_pieces(source, codes):
        here = slice(start, start + rows.n_samples)
        start += rows.n_samples
        hashes[here] = _hashes(rows.X)
        if rows.weights is not None:
            counts[here] &= rows.weights > 0.0
    folds = np.full(len(codes), -1)
    for code in range(codes.max() + 1):
        own = np.flatnonzero(counts & (codes == code))
        ranks = np.unique(hashes[own], return_inverse=True)[1]
        folds[own] = (ranks + code) % N_FOLDS
    n_rows = int(np.count_nonzero(folds >= 0))
    if n_rows <= MOST_JUDGED:
        return folds, folds >= 0
    return folds, (folds >= 0) & (hashes < np.uint64(2**64 * MOST_JUDGED // n_rows))


def _hashes(X: npt.NDArray[np.floating]) -> npt.NDArray[np.uint64]:
    """Return a hash of each row's values, by the mixing function of SplitMix64.

    Steele, Lea and Flood (2014, "Fast splittable pseudorandom number generators", OOPSLA).
    """
    hashes = np.zeros(len(X), np.uint64)
    for column in X.T:
        bits = (column.astype(np.float64) + 0.0).view(np.uint64)  # -0.0 is 0.0
        hashes = hashes * _ODD + bits + _ODD
        for shift, multiplier in zip((30, 27), _MULTIPLIERS, strict=True):
            hashes ^= hashes >> np.uint64(shift)
            hashes *= multiplier
        hashes ^= hashes >> np.uint64(31)
    return hashes


def _without_fold(
    in_folds: SufficientStatistics, fold: int, factors: FloatArray
) -> SufficientStatistics:
    """Return the statistics of each class over all folds but one."""
    n_classes = len(factors)
    first, *others = (
        in_folds.of(slice(f * n_classes, (f + 1) * n_classes)) for f in range(N_FOLDS) if f != fold
    )
    total = first
    for other in others:
        total = total + other
    total = total.about(total.means())
    return weighted_classes(total, factors)


def _fold_mixtures(
    statistics: SufficientStatistics,
    kind: CovarianceStructure,
    regularization: Regularization,
    priors: FloatArray | None,
) -> tuple[FloatArray, list[MixtureParameters]] | None:
    """Return logarithms of the priors, and the class's mixtures, fitted to one fold's rows."""
    try:
        solved = solve_classes(statistics, kind, regularization, priors)
    except IllDefinedCovarianceError:
        return None
    return solved.log_weights, single_components(solved)


def averaged_classes(fits: Sequence[StructureFit], shares: FloatArray) -> list[MixtureParameters]:
    """Return for each class the average of its densities of several structures.

    It is a mixture, whose components have the same mean.
    """
    counted = [(fit, share) for fit, share in zip(fits, shares, strict=True) if share > 0.0]
    alone = [single_components(_parameters(fit)) for fit, _ in counted]
    diagonal = all(fit.structure.is_diagonal for fit, _ in counted)
    log_shares = np.log([share for _, share in counted])
    averages = []
    for of_class in zip(*alone, strict=True):
        average = MixtureParameters.joined(
            list(of_class) if diagonal else [with_matrices(each) for each in of_class]
        )
        averages.append(replace(average, log_weights=average.log_weights + log_shares))
    return averages


def _parameters(fit: StructureFit) -> MixtureParameters:
    assert fit.parameters is not None  # those without have no share
    return fit.parameters
