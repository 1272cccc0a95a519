"""`KMeans`: Lloyd's algorithm with the conventions of scikit-learn's estimator."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from numbers import Integral, Real
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
from numpy.typing import ArrayLike
from scipy.spatial.distance import cdist
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    ClusterMixin,
    TransformerMixin,
)
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import Tags, check_array, check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from fastgmm.data.source import Source
from fastgmm.data.sources.array import ArraySource
from fastgmm.data.sources.array_like import not_numbers, unmasked
from fastgmm.data.sources.dask_collection import is_collection
from fastgmm.docstrings import documented
from fastgmm.em.initialization.kmeans import KMeansSettings, KMeansStart, assign, fit_kmeans
from fastgmm.estimators.shared.evaluation import labels_of_all
from fastgmm.estimators.shared.interfaces import FloatingArray, Rows, Weights
from fastgmm.estimators.shared.lazy_results import lazy_on_collections
from fastgmm.estimators.shared.validation import (
    check_in_memory,
    constraints_of,
    missing_policy,
    refuse_to_split_collections,
    validated_fit,
)
from fastgmm.mixture.statistics import FloatArray

_AUTOMATIC_RUNS = 10
"""Number of runs for ``n_init="auto"`` where a start says little about where it leads."""


@documented(
    """
    X : array-like of shape (n_samples, n_features), or anything that `open_data` takes
        The rows; those of files and streams are read into memory.
    """
)
class KMeans(ClassNamePrefixFeaturesOutMixin, TransformerMixin, ClusterMixin, BaseEstimator):
    """K-means clustering by Lloyd's algorithm.

    Provides the parameters, attributes and methods of :class:`sklearn.cluster.KMeans`. A row of
    weight w is equivalent to w copies of the row.

    Parameters
    ----------
    n_clusters : int, default=8
        Number of clusters.
    init : {"k-means++", "random"}, callable or array-like of shape \
            (n_clusters, n_features), default="k-means++"
        Method of initialization: "k-means++" draws rows one after the other with probabilities in
        proportion to the squared distance from those drawn before (the best of a few draws each
        time), and "random" draws rows at random. A callable is called as ``init(X, n_clusters,
        random_state=random_state)``, and an array holds the initial centers.
    n_init : "auto" or int, default="auto"
        Number of runs; the one with the lowest inertia is kept. "auto" is 10 where `init` is
        "random" or a callable, and 1 otherwise.
    max_iter : int, default=300
        Maximum number of iterations of a run.
    tol : float, default=1e-4
        Relative tolerance. A run stops when the squared movements of all centers sum to no more
        than this many times the mean variance of the features, and always when the centers do not
        move any more.
    verbose : int, default=0
        1 prints each iteration.
    copy_x : bool, default=True
        Has no effect: `X` is never changed, and copied only if it is not an array of native
        float64 or float32.
    algorithm : {"lloyd", "elkan"}, default="lloyd"
        Has no effect: both algorithms give the same result, and only one is implemented.
    missing : {"error", "drop"}, default="error"
        Whether rows that lack a value are an error, or left out of the fit and of `score`.

    Attributes
    ----------
    cluster_centers_ : ndarray of shape (n_clusters, n_features)
        Cluster centers, always float64.
    labels_ : ndarray of int64 of shape (n_samples,)
        Cluster of each row, with respect to `cluster_centers_`; -1 for rows left out.
    inertia_ : float
        Sum of the weights of the rows times their squared distances to the nearest center.
    n_iter_ : int
        Number of iterations of the best run.

    See Also
    --------
    GaussianMixture : Clusters of different sizes and shapes, with probabilities.

    Notes
    -----
    An empty cluster is moved to the row that is farthest from its center.

    Examples
    --------
    >>> import numpy as np
    >>> from fastgmm import KMeans
    >>> X = np.array([[1, 2], [1, 4], [1, 0], [10, 2], [10, 4], [10, 0]])
    >>> clusters = KMeans(n_clusters=2, random_state=0).fit(X)
    >>> np.sort(clusters.cluster_centers_, axis=0)
    array([[ 1.,  2.],
           [10.,  2.]])
    >>> clusters.inertia_
    16.0
    """

    cluster_centers_: FloatingArray
    labels_: npt.NDArray[np.int64]
    inertia_: float
    n_iter_: int

    def __init__(
        self,
        n_clusters: int = 8,
        *,
        init: Literal["k-means++", "random"] | Callable[..., ArrayLike] | ArrayLike = "k-means++",
        n_init: Literal["auto"] | int = "auto",
        max_iter: int = 300,
        tol: float = 1e-4,
        verbose: int = 0,
        random_state: int | np.random.RandomState | None = None,
        copy_x: bool = True,
        algorithm: Literal["lloyd", "elkan"] = "lloyd",
        n_jobs: int | None = None,
        missing: Literal["error", "drop"] = "error",
    ) -> None:
        self.n_clusters = n_clusters
        self.init = init
        self.n_init = n_init
        self.max_iter = max_iter
        self.tol = tol
        self.verbose = verbose
        self.random_state = random_state
        self.copy_x = copy_x
        self.algorithm = algorithm
        self.n_jobs = n_jobs
        self.missing = missing

    _parameter_constraints = constraints_of(
        __init__,
        n_clusters=[Interval(Integral, 1, None, closed="left")],
        init=[StrOptions({"k-means++", "random"}), callable, "array-like"],
        n_init=[StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        max_iter=[Interval(Integral, 1, None, closed="left")],
        tol=[Interval(Real, 0, None, closed="left")],
        copy_x=["boolean"],
        algorithm=[StrOptions({"lloyd", "elkan"})],
        missing=[StrOptions({"error", "drop"})],
    )

    @validated_fit
    def fit(
        self,
        X: Rows,
        y: Any = None,  # noqa: ARG002 - pipelines pass it
        sample_weight: Weights = None,
    ) -> Self:
        """Find the clusters of rows.

        Raises
        ------
        ValueError
            If the rows, the weights or the starting centers are not possible, or if there are
            fewer rows than clusters.

        Warns
        -----
        ConvergenceWarning
            If clusters are empty because too few rows are distinct.
        """
        source = check_in_memory(self, X, sample_weight, reset=True)
        init = self._start(source)
        result = fit_kmeans(
            source,
            self.n_clusters,
            check_random_state(self.random_state),
            KMeansSettings(init, self._n_runs(init), self.max_iter, self.tol),
            n_jobs=self.n_jobs,
            listener=_print_iteration if self.verbose else None,
        )
        n_distinct = np.count_nonzero(result.sizes)
        if n_distinct < self.n_clusters:
            warnings.warn(
                f"Only {n_distinct} of n_clusters={self.n_clusters} clusters have rows: there "
                "may be too few distinct rows in X for as many. Use fewer clusters.",
                ConvergenceWarning,
                # The caller of fit is two frames up: its decorator lies between.
                stacklevel=3,
            )
        self.cluster_centers_ = result.centers
        if isinstance(source, ArraySource):
            assert result.labels is not None  # of rows in memory
            self.labels_ = labels_of_all(result.labels, source)
        else:
            self.labels_ = self.predict(source)
        self.inertia_ = result.inertia
        self.n_iter_ = result.n_iter
        return self

    def fit_predict(
        self, X: Rows, y: Any = None, sample_weight: Weights = None
    ) -> npt.NDArray[np.int64]:
        """Find the clusters of rows and return the cluster of each row.

        Parameters
        ----------
        X, y, sample_weight
            As for `fit`.

        Returns
        -------
        ndarray of int64 of shape (n_samples,)
            `labels_`.
        """
        return self.fit(X, y, sample_weight=sample_weight).labels_

    def fit_transform(self, X: Rows, y: Any = None, sample_weight: Weights = None) -> FloatingArray:
        """Find the clusters of rows and return the distance of each row from each center.

        Parameters
        ----------
        X, y, sample_weight
            As for `fit`.

        Returns
        -------
        ndarray of shape (n_samples, n_clusters)
            The same as ``fit(X).transform(X)``.
        """
        fitted = self.fit(X, y, sample_weight=sample_weight)
        return fitted.transform(X) if is_collection(X) else fitted._distances(X)

    @lazy_on_collections
    def predict(self, X: Rows) -> npt.NDArray[np.int64]:
        """Return the cluster whose center is nearest to each row.

        Returns
        -------
        ndarray of int64 of shape (n_samples,)
            Indices of the clusters.
        """
        found = assign(*self._evaluated(X), n_jobs=self.n_jobs)
        assert found.labels is not None  # of rows in memory
        return found.labels

    @lazy_on_collections
    def transform(self, X: Rows) -> FloatingArray:
        """Return the distance of each row from each center.

        Returns
        -------
        ndarray of shape (n_samples, n_clusters)
            Euclidean distances, in the dtype of the rows.
        """
        return self._distances(X)

    def score(
        self,
        X: Rows,
        y: Any = None,  # noqa: ARG002 - scorers and pipelines pass it
        sample_weight: Weights = None,
    ) -> float:
        """Return minus the inertia of rows; higher is better.

        Returns
        -------
        float
            Minus the sum of weights times squared distances to the nearest center.
        """
        source, centers = self._evaluated(X, sample_weight, each_row=False)
        return -assign(source, centers, n_jobs=self.n_jobs).inertia

    @property
    def _n_features_out(self) -> int:
        """Number of columns that `transform` returns."""
        return int(self.cluster_centers_.shape[0])

    def __sklearn_tags__(self) -> Tags:
        refuse_to_split_collections()
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def _start(self, source: Source) -> KMeansStart:
        """Return `init` with given or computed centers checked."""
        if isinstance(self.init, str):
            return "random" if self.init == "random" else "k-means++"
        if not callable(self.init):
            return self._checked_centers(self.init, source)
        draw = self.init
        if not isinstance(source, ArraySource):
            raise ValueError(
                "init is a function, which takes all rows, and X is a Dask collection: give "
                "'k-means++', 'random' or the centers"
            )

        def draw_centers(random_state: np.random.RandomState) -> FloatArray:
            centers = draw(source.X, self.n_clusters, random_state=random_state)
            return self._checked_centers(centers, source)

        return draw_centers

    def _checked_centers(self, centers: ArrayLike, source: Source) -> FloatArray:
        given = unmasked(centers)
        try:
            checked: FloatArray = check_array(given, dtype=np.float64, input_name="init")
        except (TypeError, ValueError) as error:
            raise not_numbers("init", given, error) from error
        expected = (self.n_clusters, source.n_features)
        if checked.shape != expected:
            raise ValueError(
                f"The shape of the initial centers {checked.shape} does not match n_clusters and "
                f"the number of features of the data, {expected}."
            )
        return checked

    def _n_runs(self, init: KMeansStart) -> int:
        is_given = isinstance(init, np.ndarray)
        if self.n_init == "auto":
            return 1 if is_given or init == "k-means++" else _AUTOMATIC_RUNS
        if is_given and self.n_init != 1:
            warnings.warn(
                f"There is one run, not n_init={self.n_init}: init gives the centers, and all "
                'runs from them would be equal. Use n_init=1 or "auto".',
                RuntimeWarning,
                # The caller of fit is three frames up: this one, fit and its decorator.
                stacklevel=4,
            )
            return 1
        return self.n_init

    def _evaluated(
        self, X: Rows, sample_weight: Weights = None, *, each_row: bool = True
    ) -> tuple[Source, FloatArray]:
        """Return checked rows and the centers to compare them with."""
        check_is_fitted(self, "cluster_centers_")
        source = check_in_memory(
            self, X, sample_weight, missing=missing_policy(self, each_row=each_row)
        )
        centers = np.asarray(self.cluster_centers_, dtype=np.float64)
        if centers.shape[1:] != (source.n_features,):
            raise ValueError(
                f"X has {source.n_features} features, but cluster_centers_ has the shape "
                f"{centers.shape}"
            )
        return source, centers

    def _distances(self, X: Rows) -> FloatingArray:
        # Differences first, squares after: the expanded square of scikit-learn's distances
        # loses all digits on rows far from the origin.
        source, centers = self._evaluated(X)
        parts = [_distances(X, centers) for X, _ in source.blocks()]
        return np.concatenate(parts) if len(parts) > 1 else parts[0]


def _distances(X: FloatingArray, centers: FloatArray) -> FloatingArray:
    """Return the distance of each row from each center, in the type of the rows."""
    distances: FloatArray = cdist(X, centers)
    far = np.isinf(distances).any(axis=1)
    if far.any():  # whose squares overflow, and not they themselves
        rows = X[far].astype(np.float64)
        sizes = np.maximum(np.abs(rows).max(axis=1), np.abs(centers).max())[:, None, None]
        offsets = rows[:, None] / sizes - centers / sizes
        with np.errstate(over="ignore"):
            distances[far] = np.linalg.norm(offsets, axis=2) * sizes[:, 0]
    with np.errstate(over="ignore"):
        found: FloatingArray = distances.astype(X.dtype, copy=False)
    return found


def _print_iteration(run: int, iteration: int, inertia: float, movement: float) -> None:
    """Print what scikit-learn's k-means prints."""
    if iteration == 0:
        print(f"Initialization {run} complete")
    print(f"Iteration {iteration}, inertia {inertia}, squared movement of the centers {movement}.")
