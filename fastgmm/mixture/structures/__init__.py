"""Covariance structures: how a mixture's covariances follow from the statistics.

Each structure is one class: what its covariances share, and how they are found. Covariances are
decomposed as Σ_k = λ_k D_k A_k D_k^T (Banfield and Raftery, 1993, "Model-based Gaussian and
non-Gaussian clustering", Biometrics 49): a volume λ_k, a shape A_k, diagonal of determinant 1, and
an orientation D_k, orthogonal. Each of the three may be equal or vary.
"""

from fastgmm.mixture.structures.covariance_structure import CovarianceStructure, Spread
from fastgmm.mixture.structures.factors import FACTOR_NAMES, FactorStructure, factor_structure
from fastgmm.mixture.structures.frozen import FrozenStructure, constrained
from fastgmm.mixture.structures.parsimonious import (
    STRUCTURE_NAMES,
    is_built_in,
    name_or_instance,
    structure,
    structures_of,
)
from fastgmm.mixture.structures.whitening import smallest_raised, whiten_matrices

__all__ = [
    "FACTOR_NAMES",
    "STRUCTURE_NAMES",
    "CovarianceStructure",
    "FactorStructure",
    "FrozenStructure",
    "Spread",
    "constrained",
    "factor_structure",
    "is_built_in",
    "name_or_instance",
    "smallest_raised",
    "structure",
    "structures_of",
    "whiten_matrices",
]
