"""The names of the covariance structures, as users write them."""

from __future__ import annotations

from typing import Literal

CovarianceType = Literal[
    "full", "tied", "diag", "spherical", "tied_diag", "tied_spherical",
    "EII", "VII", "EEI", "VEI", "EVI", "VVI", "EEE", "VEE", "EVE", "VVE",
    "EEV", "VEV", "EVV", "VVV",
    "E", "V",
]  # fmt: skip
"""scikit-learn's names and their kin, then mclust's, of which those for one feature come last."""

FactorType = Literal["factors", "UUU", "UUC", "UCU", "UCC", "CUU", "CUC", "CCU", "CCC"]
"""Factor analyzers: McNicholas and Murphy's names, after that of the first of them."""
