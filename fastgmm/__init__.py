"""Gaussian mixture models by one-pass kernels, with the interface of scikit-learn.

The classes are imported when they are first used, so that ``import fastgmm`` stays light.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastgmm import distances as distances
    from fastgmm import extend as extend
    from fastgmm import onnx as onnx
    from fastgmm import plotting as plotting
    from fastgmm.analysis.explanations import Explanations
    from fastgmm.data.errors import DataError, DataWarning, RoundedDataWarning, SkippedDataWarning
    from fastgmm.data.opening import open_data
    from fastgmm.em.degeneracy import DegenerateComponentWarning
    from fastgmm.em.loop import FitInfo
    from fastgmm.estimators.bayesian_mixture import BayesianGaussianMixture
    from fastgmm.estimators.bootstrap import (
        MixtureBootstrap,
        ParameterUncertainty,
        bootstrap_parameters,
    )
    from fastgmm.estimators.classifier import GaussianMixtureClassifier
    from fastgmm.estimators.component_matching import match_components, reorder_components
    from fastgmm.estimators.derived.adaptation import adapt
    from fastgmm.estimators.derived.modes import MixtureModes, find_modes
    from fastgmm.estimators.fisher_vectors import fisher_vectors
    from fastgmm.estimators.gaussian_mixture import GaussianMixture
    from fastgmm.estimators.group_mixtures import GroupMixtures, fit_groups
    from fastgmm.estimators.kmeans import KMeans
    from fastgmm.estimators.likelihood_ratio import (
        LikelihoodRatioTests,
        bootstrap_likelihood_ratio_test,
    )
    from fastgmm.estimators.loading import load
    from fastgmm.estimators.merging import MergedComponents, merge_components
    from fastgmm.estimators.message_length import MessageLengthGaussianMixture
    from fastgmm.estimators.minibatch import MiniBatchGaussianMixture
    from fastgmm.estimators.mixture_search import MixtureSearch
    from fastgmm.estimators.operating_point import OperatingPoint
    from fastgmm.estimators.outlier_detector import GaussianMixtureOutlierDetector
    from fastgmm.estimators.regressor import GaussianMixtureRegressor
    from fastgmm.estimators.student_mixture import StudentMixture
    from fastgmm.estimators.transformer import GaussianMixtureTransformer
    from fastgmm.io.checkpoint import CheckpointError
    from fastgmm.io.model_file import ModelFileError
    from fastgmm.mixture.priors.conjugate import ConjugatePriors
    from fastgmm.segmentation import Segmentation, segment_image
    from fastgmm.versions import show_versions

    __version__: str

__all__ = [
    "BayesianGaussianMixture",
    "CheckpointError",
    "ConjugatePriors",
    "DataError",
    "DataWarning",
    "DegenerateComponentWarning",
    "Explanations",
    "FitInfo",
    "GaussianMixture",
    "GaussianMixtureClassifier",
    "GaussianMixtureOutlierDetector",
    "GaussianMixtureRegressor",
    "GaussianMixtureTransformer",
    "GroupMixtures",
    "KMeans",
    "LikelihoodRatioTests",
    "MergedComponents",
    "MessageLengthGaussianMixture",
    "MiniBatchGaussianMixture",
    "MixtureBootstrap",
    "MixtureModes",
    "MixtureSearch",
    "ModelFileError",
    "OperatingPoint",
    "ParameterUncertainty",
    "RoundedDataWarning",
    "Segmentation",
    "SkippedDataWarning",
    "StudentMixture",
    "__version__",
    "adapt",
    "bootstrap_likelihood_ratio_test",
    "bootstrap_parameters",
    "find_modes",
    "fisher_vectors",
    "fit_groups",
    "load",
    "match_components",
    "merge_components",
    "open_data",
    "reorder_components",
    "segment_image",
    "show_versions",
]

_HOMES = {
    "BayesianGaussianMixture": "fastgmm.estimators.bayesian_mixture",
    "CheckpointError": "fastgmm.io.checkpoint",
    "ConjugatePriors": "fastgmm.mixture.priors.conjugate",
    "DataError": "fastgmm.data.errors",
    "DataWarning": "fastgmm.data.errors",
    "DegenerateComponentWarning": "fastgmm.em.degeneracy",
    "Explanations": "fastgmm.analysis.explanations",
    "FitInfo": "fastgmm.em.loop",
    "GaussianMixture": "fastgmm.estimators.gaussian_mixture",
    "GaussianMixtureClassifier": "fastgmm.estimators.classifier",
    "GaussianMixtureOutlierDetector": "fastgmm.estimators.outlier_detector",
    "GaussianMixtureRegressor": "fastgmm.estimators.regressor",
    "GaussianMixtureTransformer": "fastgmm.estimators.transformer",
    "GroupMixtures": "fastgmm.estimators.group_mixtures",
    "KMeans": "fastgmm.estimators.kmeans",
    "LikelihoodRatioTests": "fastgmm.estimators.likelihood_ratio",
    "MergedComponents": "fastgmm.estimators.merging",
    "MessageLengthGaussianMixture": "fastgmm.estimators.message_length",
    "MiniBatchGaussianMixture": "fastgmm.estimators.minibatch",
    "MixtureBootstrap": "fastgmm.estimators.bootstrap",
    "MixtureModes": "fastgmm.estimators.derived.modes",
    "MixtureSearch": "fastgmm.estimators.mixture_search",
    "ModelFileError": "fastgmm.io.model_file",
    "OperatingPoint": "fastgmm.estimators.operating_point",
    "ParameterUncertainty": "fastgmm.estimators.bootstrap",
    "RoundedDataWarning": "fastgmm.data.errors",
    "Segmentation": "fastgmm.segmentation",
    "SkippedDataWarning": "fastgmm.data.errors",
    "StudentMixture": "fastgmm.estimators.student_mixture",
    "adapt": "fastgmm.estimators.derived.adaptation",
    "bootstrap_likelihood_ratio_test": "fastgmm.estimators.likelihood_ratio",
    "bootstrap_parameters": "fastgmm.estimators.bootstrap",
    "find_modes": "fastgmm.estimators.derived.modes",
    "fisher_vectors": "fastgmm.estimators.fisher_vectors",
    "fit_groups": "fastgmm.estimators.group_mixtures",
    "load": "fastgmm.estimators.loading",
    "match_components": "fastgmm.estimators.component_matching",
    "merge_components": "fastgmm.estimators.merging",
    "open_data": "fastgmm.data.opening",
    "reorder_components": "fastgmm.estimators.component_matching",
    "segment_image": "fastgmm.segmentation",
    "show_versions": "fastgmm.versions",
}

_MODULES = ("distances", "extend", "onnx", "plotting")


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        value: Any = version("fastgmm")
    elif name in _HOMES:
        from importlib import import_module

        value = getattr(import_module(_HOMES[name]), name)
    elif name in _MODULES:
        from importlib import import_module

        value = import_module(f"fastgmm.{name}")
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
