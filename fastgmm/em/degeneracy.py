"""Components that lose their points or their spread: finding them, and what is done.

The rules, all of which keep the log-likelihood from falling:

- An *empty* component, one with no more than 1e-15 of the total weight, gets weight 0. It stays
  where it was and takes no further part.
- A *collapsed* component, one whose covariance without regularization is in some direction
  smaller than the regularization, is kept positive definite by the regularization. With
  `reg_covar=0` there is nothing to hold it and the likelihood has no maximum: that is an
  `IllDefinedCovarianceError`, or the end of the fit where the user gave its start.
- Adding the regularization to a covariance is not quite what maximizes the likelihood. A step
  that would lower the log-likelihood for that reason is taken again with the covariances it
  harms left as they were (`hold_covariances`).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from fastgmm.data.source import Source
from fastgmm.em.e_step.passes import source_moments
from fastgmm.mixture.parameters import MixtureParameters
from fastgmm.mixture.regularization import IllDefinedCovarianceError, Regularization
from fastgmm.mixture.statistics import FloatArray, SufficientStatistics
from fastgmm.mixture.structures import (
    CovarianceStructure,
    FactorStructure,
    FrozenStructure,
    smallest_raised,
)


class DegenerateComponentWarning(UserWarning):
    """A component lost its points or its spread; the message says which and what was done."""


@dataclass(frozen=True, slots=True)
class Degeneracy:
    """One component that lost its points or its spread.

    Attributes
    ----------
    component : int or None
        Its index; None for the covariance shared by all components of a tied structure, and for
        a step that was not taken, whose description names the component.
    kind : {"empty", "collapsed"}
        What happened.
    description : str
        What happened and what was done, as a clause.
    """

    component: int | None
    kind: Literal["empty", "collapsed"]
    description: str


def find_degeneracies(
    parameters: MixtureParameters,
    structure: CovarianceStructure,
    regularization: Regularization,
) -> tuple[Degeneracy, ...]:
    """Return the components that EM left degenerate."""
    shares = parameters.weights
    empty = shares == 0.0
    found = [
        Degeneracy(
            int(k),
            "empty",
            f"component {k} has no points left (it has weight 0 and stays where it was)",
        )
        for k in np.flatnonzero(empty)
    ]
    collapsed = _collapsed(parameters, structure, regularization)
    if isinstance(structure, FrozenStructure):
        collapsed &= ~structure.frozen.covariances[: len(collapsed)]
    if structure.is_tied:
        if collapsed[0]:
            found.append(
                Degeneracy(
                    None,
                    "collapsed",
                    "the covariance shared by all components has lost its spread in some "
                    "direction (reg_covar keeps it positive definite)",
                )
            )
    else:
        found += [
            Degeneracy(
                int(k),
                "collapsed",
                f"component {k} of weight {shares[k]:.3g} has lost its spread in some direction "
                "(reg_covar keeps its covariance positive definite)",
            )
            for k in np.flatnonzero(collapsed & ~empty)
        ]
    return tuple(sorted(found, key=lambda each: -1 if each.component is None else each.component))


def step_not_taken(error: IllDefinedCovarianceError) -> Degeneracy:
    """Return what a singular covariance means for a fit that ends with the parameters before."""
    why = str(error).partition(",")[0]
    return Degeneracy(
        None, "collapsed", f"{why} after the next step (reg_covar is 0, and EM ended before it)"
    )


def warn_of_degeneracies(found: Iterable[Degeneracy], *, stacklevel: int = 2) -> None:
    """Issue one `DegenerateComponentWarning` about all that was found, if anything was."""
    descriptions = list(dict.fromkeys(each.description for each in found))
    if not descriptions:
        return
    shown = "; ".join(descriptions[:8])
    if len(descriptions) > 8:
        shown += f"; and {len(descriptions) - 8} more"
    warnings.warn(
        f"{shown}. Fewer components, other initializations (n_init) or a larger reg_covar avoid "
        "this.",
        DegenerateComponentWarning,
        stacklevel=stacklevel + 1,
    )


def hold_covariances(
    structure: CovarianceStructure,
    statistics: SufficientStatistics,
    before: MixtureParameters,
    proposal: MixtureParameters,
) -> MixtureParameters:
    """Return the proposal with the covariances that would lower the likelihood left as before.

    The regularized covariance does not maximize the expected log-likelihood: where the
    regularization is as large as the covariance itself, the one before can be better. Taking
    the better of the two for each component, or for all together where the structure couples
    them, makes the step one of generalized EM (Dempster, Laird and Rubin, 1977), under which the
    log-likelihood cannot fall.
    """
    if proposal.is_low_rank:  # its noise has a least value instead, and EM does not fall
        return proposal
    covariances = statistics.covariances()
    gains = _expected_fit(proposal, covariances) - _expected_fit(before, covariances)
    if structure.is_coupled:
        gains = np.full_like(gains, statistics.weights() @ gains)
    worse = gains < 0.0
    if not worse.any():
        return proposal
    axes = (slice(None),) + (None,) * (proposal.whiteners.ndim - 1)
    whiteners = np.where(worse[axes], before.whiteners, proposal.whiteners)
    return MixtureParameters(
        log_weights=proposal.log_weights,
        means=proposal.means,
        whiteners=whiteners,
        log_normalizers=np.where(worse, before.log_normalizers, proposal.log_normalizers),
    )


def regularization_for(
    source: Source,
    reg_covar: float,
    scale: str,
    *,
    n_jobs: int | None = None,
) -> Regularization:
    """Return the regularization that suits the rows of a source."""
    moments = source_moments(source, diagonal=True, n_jobs=n_jobs)
    return Regularization.from_variances(
        reg_covar, scale, moments.means()[0], moments.variances()[0]
    )


def _expected_fit(parameters: MixtureParameters, covariances: FloatArray) -> FloatArray:
    """Return the mean log-density of each component's points about their mean, shape (K,)."""
    whiteners = parameters.whiteners
    if parameters.is_diagonal:
        squares = (whiteners * covariances * whiteners).sum(axis=1)
    else:
        squares = ((whiteners @ covariances) * whiteners).sum(axis=(1, 2))
    fit: FloatArray = parameters.log_normalizers - 0.5 * squares
    return fit


def _collapsed(
    parameters: MixtureParameters, structure: CovarianceStructure, regularization: Regularization
) -> npt.NDArray[np.bool_]:
    """Return which covariances owe more than half of some variance to the regularization.

    The share is the largest eigenvalue of W A W^T, with A the amounts added and W the whitener:
    a number between 0 and 1 whatever the scale. Constant features do not count, since no
    component has any spread there. Covariances that had to be raised to be factorized at all do.
    """
    if isinstance(structure, FactorStructure):
        # more features without noise than factors: in some direction there is nothing else
        held = parameters.whiteners[:, :, 0] ** 2 * regularization.amounts > 0.5
        return np.asarray((held & ~regularization.constant).sum(axis=1) > structure.n_factors)
    whiteners = parameters.whiteners[:1] if structure.is_tied else parameters.whiteners
    amounts = np.where(regularization.constant, 0.0, regularization.amounts)
    scaled = whiteners * np.sqrt(amounts)
    if structure.is_diagonal:
        squares = scaled * scaled
        shares = squares.mean(axis=1) if structure.is_spherical else squares.max(axis=1)
        return np.asarray(shares > 0.5)
    shares = np.linalg.eigvalsh(scaled @ scaled.transpose(0, 2, 1))[:, -1]
    variances = np.einsum("kii->ki", parameters.covariances()[: len(whiteners)])
    correlated = whiteners * np.sqrt(variances)[:, None, :]
    smallest = 1.0 / np.einsum("kij,kij->k", correlated, correlated)
    raised = smallest < 2.0 * smallest_raised(whiteners.shape[1])
    return np.asarray((shares > 0.5) | raised)
