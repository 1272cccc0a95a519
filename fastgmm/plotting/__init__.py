"""Plots of fitted mixtures, in the style of scikit-learn's Display objects.

They need matplotlib, from the extra ``plot``, which is imported when the first one is drawn. Where
it is not installed, all of them raise an ImportError. Estimators must be fitted.
"""

from fastgmm.plotting.convergence import ConvergenceDisplay
from fastgmm.plotting.criterion import CriterionDisplay
from fastgmm.plotting.density import DensityDisplay
from fastgmm.plotting.ellipses import EllipsesDisplay
from fastgmm.plotting.entropy import EntropyDisplay
from fastgmm.plotting.explanation import ExplanationDisplay
from fastgmm.plotting.operating_point import OperatingPointDisplay
from fastgmm.plotting.pairs import PairsDisplay
from fastgmm.plotting.projection import Projection
from fastgmm.plotting.uncertainty import UncertaintyDisplay

__all__ = [
    "ConvergenceDisplay",
    "CriterionDisplay",
    "DensityDisplay",
    "EllipsesDisplay",
    "EntropyDisplay",
    "ExplanationDisplay",
    "OperatingPointDisplay",
    "PairsDisplay",
    "Projection",
    "UncertaintyDisplay",
]
