"""What methods take, and what functions take from an estimator, for strict type checks."""

from __future__ import annotations

from os import PathLike
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
from numpy.typing import ArrayLike

from fastgmm.em.initialization.methods import InitMethod
from fastgmm.mixture.parameters import MixtureParameters
from fastgmm.mixture.structures import CovarianceStructure

FloatingArray = npt.NDArray[np.floating]

Rows = Any
"""An array-like of shape (n_samples, n_features), or anything that `open_data` takes."""

Weights = ArrayLike | str | None
"""Weights of the rows, or the name of the column that holds them."""

Labels = ArrayLike | str | None
"""Components of the rows, or the name of the column that holds them."""


class Estimator(Protocol):
    """Any estimator of scikit-learn's kind."""

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters by name."""


class FittedMixture(Protocol):
    """A mixture whose components can be read from its attributes."""

    weights_: FloatingArray
    means_: FloatingArray
    precisions_cholesky_: FloatingArray

    def _structure(self) -> CovarianceStructure: ...

    def _structure_asked(self) -> CovarianceStructure: ...

    def _parameters(self) -> MixtureParameters: ...


class BatchEstimator(Estimator, FittedMixture, Protocol):
    """A mixture that is fitted by passes over all rows."""

    n_components: int
    reg_covar: float
    reg_covar_scale: Literal["auto", "absolute", "relative"]
    max_iter: int
    n_init: int
    init_params: InitMethod
    labels_init: ArrayLike | None
    random_state: int | np.random.RandomState | None
    warm_start: bool
    verbose: int
    verbose_interval: int
    n_jobs: int | None
    checkpoint: str | PathLike[str] | None
    checkpoint_interval: float
    resume: bool
    lower_bound_: float

    def _init_callback_context(self, *, max_subtasks: int | None) -> Any: ...
