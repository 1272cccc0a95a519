"""What is compared: fastgmm and its peers, each behind the same few methods.

All get the same data and the same start and run the same number of passes. Only the passes are
timed, in the way that is best for the peer: scikit-learn by its E-step and M-step alone, without
validation, initialization and the last labeling; where a library only offers a whole call, by
the difference between a long and a short one, which removes all that is done once.
"""

from __future__ import annotations

import time
import warnings
from abc import ABC, abstractmethod
from importlib.util import find_spec
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fastgmm.bench.grid import Case
from fastgmm.bench.mixture_problem import MixtureProblem

JUDGED_ROWS = 20_000


def judge_mixture(
    X: NDArray[Any],
    weights: NDArray[np.float64],
    means: NDArray[np.float64],
    covariances: NDArray[np.float64],
) -> float:
    """Return the mean log-likelihood of the first rows, by plain NumPy in float64.

    All competitors are judged by this code, so that what they report about themselves plays no
    part.
    """
    rows = np.asarray(X[:JUDGED_ROWS], dtype=np.float64)
    K, D = means.shape
    joint = np.empty((len(rows), K))
    for k in range(K):
        deviations = rows - means[k]
        if covariances.ndim == 2:
            quadratic = (deviations**2 / covariances[k]).sum(axis=1)
            log_determinant = np.log(covariances[k]).sum()
        else:
            factor = np.linalg.cholesky(covariances[k])
            quadratic = (np.linalg.solve(factor, deviations.T) ** 2).sum(axis=0)
            log_determinant = 2 * np.log(np.diag(factor)).sum()
        joint[:, k] = np.log(weights[k]) - 0.5 * (
            D * np.log(2 * np.pi) + log_determinant + quadratic
        )
    largest = joint.max(axis=1)
    return float((largest + np.log(np.exp(joint - largest[:, None]).sum(axis=1))).mean())


def judge_centers(X: NDArray[Any], centers: NDArray[np.float64]) -> float:
    """Return the mean squared distance of the first rows to the nearest center, in float64."""
    rows = np.asarray(X[:JUDGED_ROWS], dtype=np.float64)
    nearest = np.full(len(rows), np.inf)
    for center in centers:
        np.minimum(nearest, ((rows - center) ** 2).sum(axis=1), out=nearest)
    return float(nearest.mean())


class Competitor(ABC):
    """A library that can run some of the tasks."""

    name: ClassVar[str]
    module: ClassVar[str]
    package: ClassVar[str]
    tasks: ClassVar[frozenset[str]]
    dtypes: ClassVar[frozenset[str]] = frozenset({"float64", "float32"})
    keeps_memory: ClassVar[bool] = False

    def __init__(self, case: Case, problem: MixtureProblem) -> None:
        self.case = case
        self.problem = problem

    @classmethod
    def takes(cls, case: Case) -> bool:
        """Whether the library can run a case."""
        return case.task in cls.tasks and case.dtype in cls.dtypes

    @classmethod
    def is_installed(cls) -> bool:
        """Whether the library can be imported."""
        return find_spec(cls.module) is not None

    @property
    def calls_whole_fits(self) -> bool:
        """Whether `run` does work besides the passes, once in a call."""
        return False

    @abstractmethod
    def run(self, n_passes: int) -> None:
        """Run passes from the start, and keep what they lead to."""

    @abstractmethod
    def result(self) -> float:
        """Judge what the last call of `run` led to, the same way for all competitors."""

    def description(self) -> tuple[str, ...]:
        """Name what does the arithmetic where it cannot be found out from outside."""
        return ()

    def repeat(self) -> tuple[float, float]:
        """Time the passes once."""
        n_passes = self.case.n_passes
        if not self.calls_whole_fits:
            return _seconds(self, n_passes), 0.0
        once = _seconds(self, 1)
        return _seconds(self, 1 + n_passes), once


def _seconds(competitor: Competitor, n_passes: int) -> float:
    start = time.perf_counter()
    competitor.run(n_passes)
    return time.perf_counter() - start


def _mixture_of_scikit_learn(case: Case, problem: MixtureProblem) -> Any:
    """Return scikit-learn's estimator as if it had been fitted, with the start as parameters."""
    from sklearn.mixture import GaussianMixture

    mixture = GaussianMixture(case.n_components, covariance_type=case.structure, reg_covar=0.0)
    if case.structure == "full":
        factors = np.linalg.inv(np.linalg.cholesky(problem.covariances)).transpose(0, 2, 1)
        precisions = factors @ factors.transpose(0, 2, 1)
    else:
        factors = 1 / np.sqrt(problem.covariances)
        precisions = factors**2
    mixture.weights_ = problem.weights.astype(case.dtype)
    mixture.means_ = problem.means.astype(case.dtype)
    mixture.covariances_ = problem.covariances.astype(case.dtype)
    mixture.precisions_cholesky_ = factors.astype(case.dtype)
    mixture.precisions_ = precisions.astype(case.dtype)
    mixture.n_features_in_ = case.n_features
    return mixture


class FastGMM(Competitor):
    """The package itself: its passes of EM and k-means, and its estimator."""

    name = "fastgmm"
    module = "fastgmm"
    package = "fastgmm"
    tasks = frozenset({"pass", "scoring", "k-means", "fit"})

    def __init__(self, case: Case, problem: MixtureProblem) -> None:
        super().__init__(case, problem)
        from fastgmm import GaussianMixture
        from fastgmm.bench.passes import Passes

        self._passes = Passes(case, problem)
        self._scores: NDArray[Any] = np.empty(0)
        if case.task == "scoring":
            self._estimator = GaussianMixture.from_sklearn(_mixture_of_scikit_learn(case, problem))

    def run(self, n_passes: int) -> None:
        """Run passes from the start, and keep what they lead to."""
        if self.case.task == "scoring":
            for _ in range(n_passes):
                self._scores = self._estimator.score_samples(self.problem.X)
        elif self.case.task == "fit":
            self._run_fit(n_passes)
        else:
            self._passes.run(n_passes)

    def _run_fit(self, n_passes: int) -> None:
        from fastgmm import GaussianMixture

        estimator = GaussianMixture(
            self.case.n_components,
            covariance_type=self.case.structure,
            tol=0.0,
            max_iter=n_passes,
            random_state=0,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            estimator.fit(self.problem.X)
        self._passes.parameters = type(self._passes.parameters).from_covariances(
            *(
                np.asarray(values, dtype=np.float64)
                for values in (estimator.weights_, estimator.means_, estimator.covariances_)
            )
        )

    def result(self) -> float:
        """Judge what the last call of `run` led to, the same way for all competitors."""
        X = self.problem.X
        if self.case.task == "scoring":
            return float(np.mean(self._scores[:JUDGED_ROWS], dtype=np.float64))
        if self.case.task == "k-means":
            return judge_centers(X, self._passes.centers)
        parameters = self._passes.parameters
        return judge_mixture(X, parameters.weights, parameters.means, parameters.covariances())


class ScikitLearn(Competitor):
    """scikit-learn's GaussianMixture and KMeans."""

    name = "scikit-learn"
    module = "sklearn"
    package = "scikit-learn"
    tasks = frozenset({"pass", "scoring", "k-means"})

    def __init__(self, case: Case, problem: MixtureProblem) -> None:
        super().__init__(case, problem)
        self._mixture = _mixture_of_scikit_learn(case, problem)
        self._centers = problem.means
        self._scores: NDArray[Any] = np.empty(0)

    @property
    def calls_whole_fits(self) -> bool:
        """Only k-means: its single pass is internal to scikit-learn's C code."""
        return self.case.task == "k-means"

    def run(self, n_passes: int) -> None:
        """Run passes from the start, and keep what they lead to."""
        X, mixture = self.problem.X, self._mixture
        if self.case.task == "pass":
            self._mixture = mixture = _mixture_of_scikit_learn(self.case, self.problem)
            for _ in range(n_passes):
                _, log_responsibilities = mixture._e_step(X)
                mixture._m_step(X, log_responsibilities)
        elif self.case.task == "scoring":
            for _ in range(n_passes):
                self._scores = mixture.score_samples(X)
        else:
            self._run_kmeans(n_passes)

    def _run_kmeans(self, n_passes: int) -> None:
        from sklearn.cluster import KMeans

        estimator = KMeans(
            self.case.n_components,
            init=self.problem.means.astype(self.case.dtype),
            n_init=1,
            tol=0.0,
            max_iter=n_passes,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            estimator.fit(self.problem.X)
        self._centers = estimator.cluster_centers_

    def result(self) -> float:
        """Judge what the last call of `run` led to, the same way for all competitors."""
        X, mixture = self.problem.X, self._mixture
        if self.case.task == "scoring":
            return float(np.mean(self._scores[:JUDGED_ROWS], dtype=np.float64))
        if self.case.task == "k-means":
            return judge_centers(X, np.asarray(self._centers, dtype=np.float64))
        return judge_mixture(
            X,
            np.asarray(mixture.weights_, dtype=np.float64),
            np.asarray(mixture.means_, dtype=np.float64),
            np.asarray(mixture.covariances_, dtype=np.float64),
        )


class OneDAL(Competitor):
    """Intel's oneDAL, through daal4py."""

    name = "oneDAL"
    module = "daal4py"
    package = "scikit-learn-intelex"
    tasks = frozenset({"pass", "k-means"})
    keeps_memory = True

    def __init__(self, case: Case, problem: MixtureProblem) -> None:
        super().__init__(case, problem)
        import daal4py

        self._library = daal4py
        self._type = "double" if case.dtype == "float64" else "float"
        self._result: Any = None

    @property
    def calls_whole_fits(self) -> bool:
        """A call of oneDAL converts its input and builds tables before the first pass."""
        return True

    def run(self, n_passes: int) -> None:
        """Run passes from the start, and keep what they lead to."""
        problem, case = self.problem, self.case
        means = problem.means.astype(case.dtype)
        if case.task == "k-means":
            algorithm = self._library.kmeans(
                nClusters=case.n_components,
                maxIterations=n_passes,
                fptype=self._type,
                accuracyThreshold=0.0,
                assignFlag=False,
            )
            self._result = algorithm.compute(problem.X, means)
            return
        if case.structure == "full":
            covariances = [matrix.astype(case.dtype) for matrix in problem.covariances]
        else:
            covariances = [variances[None].astype(case.dtype) for variances in problem.covariances]
        algorithm = self._library.em_gmm(
            nComponents=case.n_components,
            maxIterations=n_passes,
            fptype=self._type,
            accuracyThreshold=0.0,
            covarianceStorage="full" if case.structure == "full" else "diagonal",
        )
        weights = problem.weights[None].astype(case.dtype)
        self._result = algorithm.compute(problem.X, weights, means, covariances)

    def result(self) -> float:
        """Judge what the last call of `run` led to, the same way for all competitors."""
        result = self._result
        if self.case.task == "k-means":
            return judge_centers(self.problem.X, np.asarray(result.centroids, dtype=np.float64))
        covariances = np.asarray(result.covariances, dtype=np.float64)
        return judge_mixture(
            self.problem.X,
            np.asarray(result.weights, dtype=np.float64).ravel(),
            np.asarray(result.means, dtype=np.float64),
            covariances if self.case.structure == "full" else covariances[:, 0],
        )

    def description(self) -> tuple[str, ...]:
        """Name what does the arithmetic where it cannot be found out from outside."""
        return ("oneMKL inside oneDAL, kernels chosen by itself",)


class Pomegranate(Competitor):
    """pomegranate's GeneralMixtureModel of Normal distributions, on PyTorch.

    Its weights are float32 whatever the data are.
    """

    name = "pomegranate"
    module = "pomegranate"
    package = "pomegranate"
    tasks = frozenset({"pass"})
    dtypes = frozenset({"float32"})

    def __init__(self, case: Case, problem: MixtureProblem) -> None:
        super().__init__(case, problem)
        import torch

        self._rows = torch.from_numpy(problem.X)
        self._mixture = self._start()

    def _start(self) -> Any:
        """Return a mixture with the parameters of the start."""
        import torch
        from pomegranate.distributions import Normal
        from pomegranate.gmm import GeneralMixtureModel

        weights, means, covariances = (
            torch.from_numpy(np.array(values, dtype=self.case.dtype))
            for values in (self.problem.weights, self.problem.means, self.problem.covariances)
        )
        components = [
            Normal(mean, covariance, covariance_type=self.case.structure)
            for mean, covariance in zip(means, covariances, strict=True)
        ]
        return GeneralMixtureModel(components, priors=weights)

    def run(self, n_passes: int) -> None:
        """Run passes from the start, and keep what they lead to."""
        self._mixture = self._start()
        for _ in range(n_passes):
            self._mixture.summarize(self._rows)
            self._mixture.from_summaries()

    def result(self) -> float:
        """Judge what the last call of `run` led to, the same way for all competitors."""
        components = self._mixture.distributions
        return judge_mixture(
            self.problem.X,
            self._mixture.priors.numpy().astype(np.float64),
            np.array([each.means.numpy() for each in components], dtype=np.float64),
            np.array([each.covs.numpy() for each in components], dtype=np.float64),
        )

    def description(self) -> tuple[str, ...]:
        """Name what does the arithmetic where it cannot be found out from outside."""
        return ("oneMKL inside PyTorch",)


COMPETITORS: dict[str, type[Competitor]] = {
    competitor.name: competitor for competitor in (FastGMM, ScikitLearn, OneDAL, Pomegranate)
}
PEERS = tuple(name for name in COMPETITORS if name != FastGMM.name)
