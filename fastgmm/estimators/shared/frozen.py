"""Parameters that fits leave as they are: which they are, and where their values come from."""

from __future__ import annotations

from typing import Any

from fastgmm.mixture.priors.prior import Prior
from fastgmm.mixture.structures import CovarianceStructure, FrozenStructure, constrained

_INITIAL = {"weights": "weights_init", "means": "means_init", "covariances": "precisions_init"}
"""The parameters that hold the initial values."""


def frozen_structure(estimator: Any, kind: CovarianceStructure) -> CovarianceStructure:
    """Return the structure to fit, with the parameters held that `frozen` names."""
    found = constrained(kind, getattr(estimator, "frozen", None), estimator.n_components)
    if isinstance(found, FrozenStructure) and kind.n_factors is not None:
        raise ValueError(
            f"frozen and covariance_type={kind.name!r} do not go together: no parameters of factor "
            "analyzers can be frozen; use another covariance_type, or frozen=None"
        )
    own = getattr(estimator, "priors", None)
    if isinstance(found, FrozenStructure) and isinstance(own, Prior):
        raise ValueError(
            f"frozen and priors={own!r} do not go together: the M-step of a prior of your own "
            "knows of no frozen parameters; use ConjugatePriors, or frozen=None"
        )
    return found


def check_frozen_start(estimator: Any, structure: CovarianceStructure) -> None:
    """Raise if a fit from the beginning has no initial values for what is frozen."""
    if not isinstance(structure, FrozenStructure):
        return
    for kind, name in _INITIAL.items():
        if getattr(structure.frozen, kind).any() and getattr(estimator, name) is None:
            raise ValueError(
                f"frozen[{kind!r}] keeps the initial values, and there are none: give {name}, or "
                "continue from a fitted mixture, with warm_start=True or partial_fit"
            )
