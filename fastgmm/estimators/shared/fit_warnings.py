"""Warnings of a batch fit."""

from __future__ import annotations

import warnings

from sklearn.exceptions import ConvergenceWarning

from fastgmm.em.degeneracy import warn_of_degeneracies
from fastgmm.em.loop import FitInfo
from fastgmm.em.stopping import StoppingRule


def warn_of_fit(
    info: FitInfo,
    *,
    algorithm: str,
    objective: str,
    max_iter: int,
    tol: float | StoppingRule,
    stacklevel: int,
) -> None:
    """Warn of degenerate components, and of a fit that did not converge."""
    warn_of_degeneracies(info.degeneracies, stacklevel=stacklevel + 1)
    if info.reason == "singular":
        warnings.warn(
            f"{algorithm} did not converge: in iteration {info.n_iter} a covariance would have "
            "been singular, and reg_covar is 0. The parameters are those before that step.",
            ConvergenceWarning,
            stacklevel=stacklevel + 1,
        )
    if info.reason == "max_iter" and max_iter > 0:
        still = "has not converged" if isinstance(tol, StoppingRule) else "still changed"
        or_more = "" if isinstance(tol, StoppingRule) else f" by tol={tol:g} or more"
        warnings.warn(
            f"{algorithm} did not converge: after max_iter={max_iter} iterations the {objective} "
            f"{still}{or_more}. Increase max_iter or tol, or try other initializations (n_init).",
            ConvergenceWarning,
            stacklevel=stacklevel + 1,
        )
