"""Model files to estimators."""

from __future__ import annotations

from importlib import import_module
from os import PathLike, fspath
from typing import Any

from fastgmm.io import model_file
from fastgmm.io.model_file import ModelFileError, fitting_together
from fastgmm.io.states import State

_MODULES = {
    "BayesianGaussianMixture": "bayesian_mixture",
    "GaussianMixture": "gaussian_mixture",
    "GaussianMixtureClassifier": "classifier",
    "GaussianMixtureOutlierDetector": "outlier_detector",
    "GaussianMixtureRegressor": "regressor",
    "GaussianMixtureTransformer": "transformer",
    "GroupMixtures": "group_mixtures",
    "MessageLengthGaussianMixture": "message_length",
    "MiniBatchGaussianMixture": "minibatch",
    "StudentMixture": "student_mixture",
}
"""The modules of the classes that files may hold; each is imported when a file holds it."""


def load(path: str | PathLike[str]) -> Any:
    """Return the fitted model in a model file, as `save` wrote it.

    Nothing in the file can run code.

    Parameters
    ----------
    path : str or path
        The file.

    Returns
    -------
    estimator
        Of the class of the one saved, with its parameters and fitted attributes.

    Raises
    ------
    ModelFileError
        If the file is not a model file, is damaged, or was written by a newer version.
    OSError
        If the file cannot be read.
    """
    path = fspath(path)
    stored = model_file.load(path)
    name = stored.model_class
    if name not in _MODULES:
        raise ModelFileError(
            f"{path!r} holds a {name}, and fastgmm.load reads models: {', '.join(_MODULES)}"
        )
    kind = getattr(import_module(f"fastgmm.estimators.{_MODULES[name]}"), name)
    with fitting_together(path, f"a {name}", "save the model again"):
        return kind._from_state(State(stored.values, stored.arrays))
