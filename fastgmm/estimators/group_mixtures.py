"""One mixture for each group of rows."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from numpy.typing import ArrayLike
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import StrOptions

from fastgmm.analysis.group_fits import GroupedRows, GroupSettings, are_small, fit_group_mixtures
from fastgmm.data.label_columns import given_labels
from fastgmm.data.source import Source
from fastgmm.data.sources.array import ArraySource
from fastgmm.data.sources.dask_collection import DaskSource, is_collection
from fastgmm.data.sources.rechunking import rows_in_memory
from fastgmm.docstrings import documented
from fastgmm.em.blas_threads import one_blas_thread
from fastgmm.em.degeneracy import DegenerateComponentWarning, regularization_for
from fastgmm.em.e_step import passes
from fastgmm.estimators.classification.class_labels import LabeledRows, check_labeled
from fastgmm.estimators.gaussian_mixture import GaussianMixture
from fastgmm.estimators.shared.attributes import attributes_from_parameters
from fastgmm.estimators.shared.interfaces import Rows, Weights
from fastgmm.estimators.shared.saving import SavedModel, restored, set_features
from fastgmm.estimators.shared.validation import check_source
from fastgmm.io.states import State, check_spread, check_squares, require, typed_members
from fastgmm.mixture.covariance_types import CovarianceType
from fastgmm.mixture.parameters import MixtureParameters, whiteners_from_covariances
from fastgmm.mixture.statistics import FloatArray
from fastgmm.mixture.structures import CovarianceStructure, structure

_GROUPS = """
    groups : array-like of shape (n_samples,) or str
        The group of each row, numbers or text; or the name of the column of `X` that holds it.
    """

_PARAMETERS = (
    *("n_components", "covariance_type", "tol", "reg_covar", "max_iter", "n_init"),
    *("random_state", "n_jobs"),
)
"""The parameters of `fit_groups`, which all mixtures have."""
_KINDS: dict[str, Any] = {
    "parameters": dict,
    "groups": list,
    "groups_dtype": str,
    "feature_names": tuple[str, ...] | None,
}
"""What the values in the header of a model file are, in the form that `typed` takes."""


@documented(_GROUPS)
@dataclass(frozen=True, eq=False)
class GroupMixtures(SavedModel):
    """A mixture for each of several groups of rows.

    The arrays belong together, with an entry for each group.

    Attributes
    ----------
    groups : ndarray of shape (n_groups,)
        The groups, in ascending order.
    weights : ndarray of shape (n_groups, n_components)
        Weights of the mixtures.
    means : ndarray of shape (n_groups, n_components, n_features)
        Means of the mixtures.
    covariances : ndarray of shape (n_groups, ...)
        Covariances of the mixtures, each in the shape of `covariances_` of `GaussianMixture`.
    sizes : ndarray of shape (n_groups,)
        Sum of the weights of the rows, or their number.
    log_likelihoods : ndarray of shape (n_groups,)
        Log-likelihood of the rows of each group, in nats.
    n_iter : ndarray of int of shape (n_groups,)
        Number of iterations.
    converged : ndarray of bool of shape (n_groups,)
        Whether EM converged before `max_iter`.
    template : GaussianMixture
        An estimator, not fitted, with the parameters of all mixtures.
    """

    groups: npt.NDArray[Any]
    weights: FloatArray
    means: FloatArray
    covariances: FloatArray
    sizes: FloatArray
    log_likelihoods: FloatArray
    n_iter: npt.NDArray[np.int64]
    converged: npt.NDArray[np.bool_]
    template: GaussianMixture

    def __len__(self) -> int:
        return len(self.groups)

    def mixture(self, group: Any) -> GaussianMixture:
        """Return the mixture of a group as an estimator.

        Parameters
        ----------
        group : object
            One of `groups`.

        Returns
        -------
        GaussianMixture
            The fitted mixture.

        Raises
        ------
        ValueError
            If there is no such group.
        """
        place = np.flatnonzero(self.groups == group)
        if not len(place):
            raise ValueError(f"there is no group {group!r}: groups holds the {len(self)} there are")
        g = int(place[0])
        mixture = GaussianMixture(**self.template.get_params())
        mixture.__dict__.update(vars(self.template))
        mixture.__dict__.update(attributes_from_parameters(self._parameters(g), self._kind()))
        mixture.converged_, mixture.n_iter_ = bool(self.converged[g]), int(self.n_iter[g])
        mixture.lower_bound_ = float(self.log_likelihoods[g] / self.sizes[g])
        return mixture

    @property
    def bic(self) -> FloatArray:
        """Bayesian information criterion of each mixture on its rows, shape (n_groups,)."""
        n_parameters = self._kind().n_parameters(*self.means.shape[1:])
        bic: FloatArray = -2.0 * self.log_likelihoods + n_parameters * np.log(self.sizes)
        return bic

    def predict(self, X: Rows, groups: ArrayLike | str) -> npt.NDArray[np.int64]:
        """Return the most probable component of each row in the mixture of its group.

        Returns
        -------
        ndarray of int64 of shape (n_samples,)
            The components.

        Raises
        ------
        ValueError
            If rows are of groups that no mixture was fitted to.
        """
        labels: npt.NDArray[np.int64] = self._evaluated(passes.labels, X, groups)
        return labels

    def predict_proba(self, X: Rows, groups: ArrayLike | str) -> FloatArray:
        """Return the responsibilities of the components of the mixture of each row's group.

        Returns
        -------
        ndarray of shape (n_samples, n_components)
            The responsibilities, in the dtype of the rows.

        Raises
        ------
        ValueError
            If rows are of groups that no mixture was fitted to.
        """
        shares: FloatArray = self._evaluated(passes.responsibilities, X, groups)
        return shares

    def score_samples(self, X: Rows, groups: ArrayLike | str) -> FloatArray:
        """Return the log-density of each row under the mixture of its group.

        Returns
        -------
        ndarray of shape (n_samples,)
            Log-densities in nats, in the dtype of the rows.

        Raises
        ------
        ValueError
            If rows are of groups that no mixture was fitted to.
        """
        densities: FloatArray = self._evaluated(passes.log_density, X, groups)
        return densities

    def _to_state(self) -> State:
        dtype, template = self.groups.dtype, self.template
        plain = self.groups.view(np.int64) if dtype.kind in "mM" else self.groups
        parameters, names = template._saved_parameters(), vars(template).get("feature_names_in_")
        values = {
            "parameters": {name: parameters[name] for name in _PARAMETERS},
            "groups": plain.tolist(),
            "groups_dtype": "object" if dtype.kind == "O" else dtype.str,
            "feature_names": None if names is None else list(names),
        }
        return State(values, {name: getattr(self, name) for name in self._arrays(template, 0, 0)})

    @classmethod
    def _from_state(cls, state: State) -> Self:
        values, arrays = typed_members(state.values, _KINDS, "values"), state.arrays
        template = restored(
            GaussianMixture,
            typed_members(values["parameters"], dict.fromkeys(_PARAMETERS, object), "parameters"),
        )
        plain, dtype = values["groups"], np.dtype(values["groups_dtype"])
        groups = np.array(plain, dtype=np.int64 if dtype.kind in "mM" else dtype)
        require(groups.tolist() == plain, f"the groups are of the type {dtype}")
        groups = groups.view(dtype) if dtype.kind in "mM" else groups
        rising = bool(len(groups)) and bool((groups[1:] > groups[:-1]).all())
        require(rising, "the groups are in ascending order")
        n_features = arrays["means"].shape[-1]
        expected = cls._arrays(template, len(groups), n_features)
        require(arrays.keys() == expected.keys(), f"there are the arrays {', '.join(expected)}")
        for name, (own_dtype, shape) in expected.items():
            array = arrays[name]
            require(
                array.dtype == own_dtype and array.shape == shape,
                f"{name}, of {array.dtype} and shape {array.shape}, is of {own_dtype} and {shape}",
            )
        weights = arrays["weights"]
        sound = weights.min() >= 0.0 and (abs(weights.sum(axis=1) - 1.0) < 1e-3).all()
        require(bool(sound), "the weights of each group sum to 1")
        check_squares("means", arrays["means"])
        kind, covariances = structure(template.covariance_type), arrays["covariances"]
        check_spread("covariances", covariances, kind.is_diagonal)
        covariances = covariances[:, None] if kind.is_tied else covariances
        covariances = covariances[..., None] if kind.is_spherical else covariances
        axes = (n_features,) * (1 if kind.is_diagonal else 2)
        of_each = np.broadcast_to(covariances, (*weights.shape, *axes)).reshape(-1, *axes)
        whiteners_from_covariances(of_each)  # which refuses what is not positive definite
        require(bool((arrays["sizes"] > 0.0).all()), "sizes are above 0")
        require(bool((arrays["n_iter"] >= 0).all()), "n_iter is at least 0")
        set_features(template, n_features, values["feature_names"])
        return cls(groups=groups, template=template, **arrays)

    @staticmethod
    def _arrays(
        template: GaussianMixture, n_groups: int, n_features: int
    ) -> dict[str, tuple[type, tuple[int, ...]]]:
        """Return the types and shapes of the arrays that have a row for each group."""
        G, K, D = n_groups, template.n_components, n_features
        shape = structure(template.covariance_type).covariance_shape(K, D)
        return {
            "weights": (np.float64, (G, K)),
            "means": (np.float64, (G, K, D)),
            "covariances": (np.float64, (G, *shape)),
            "sizes": (np.float64, (G,)),
            "log_likelihoods": (np.float64, (G,)),
            "n_iter": (np.int64, (G,)),
            "converged": (np.bool_, (G,)),
        }

    def _validate_params(self) -> None:
        self.template._validate_params()

    def _kind(self) -> CovarianceStructure:
        return structure(self.template.covariance_type)

    def _parameters(self, g: int) -> MixtureParameters:
        return self._kind().from_covariances(self.weights[g], self.means[g], self.covariances[g])

    def _evaluated(self, evaluate: Any, X: Rows, groups: ArrayLike | str) -> Any:
        """Return the results of rows, which are evaluated group by group."""
        labeled = _labeled(self.template, X, groups, None)
        rows, _ = _in_memory(labeled.source)
        places = np.searchsorted(self.groups, labeled.classes)
        places = np.minimum(places, len(self.groups) - 1)
        unknown = np.flatnonzero(self.groups[places] != labeled.classes)
        if len(unknown):
            raise ValueError(
                f"no mixture was fitted to group {labeled.classes[unknown].tolist()[0]!r}, nor to "
                f"{len(unknown) - 1} others of these rows: leave them out, or fit with them"
            )
        found: Any = None
        with one_blas_thread():
            order, counts = _order(labeled)
            for code, members in enumerate(np.split(order, np.cumsum(counts)[:-1])):
                own = evaluate(
                    ArraySource(rows[members]),
                    self._parameters(int(places[code])),
                    n_jobs=self.template.n_jobs,
                )
                if found is None:
                    found = np.empty((len(rows), *own.shape[1:]), own.dtype)
                found[members] = own
        return found


@documented(_GROUPS)
def fit_groups(
    X: Rows,
    groups: ArrayLike | str,
    n_components: int = 1,
    *,
    covariance_type: CovarianceType = "full",
    tol: float = 1e-3,
    reg_covar: float = 1e-6,
    max_iter: int = 100,
    n_init: int = 1,
    random_state: int | np.random.RandomState | None = None,
    n_jobs: int | None = None,
    sample_weight: Weights = None,
) -> GroupMixtures:
    """Fit a mixture to each group of rows.

    Thousands of small groups are fitted together in compiled code, from clusters of k-means. Larger
    groups, of more than 4096 rows or 16 features, and those whose fit fails there, because a
    component loses its points, are fitted one by one as by `GaussianMixture`.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features), or anything that `open_data` takes
        The rows, which are read into memory.
    n_components : int, default=1
        Number of components of each mixture.
    covariance_type : str, default="full"
        Type of the covariance parameters; see `GaussianMixture`.
    tol : float, default=1e-3
        Convergence threshold: smallest change of the mean log-likelihood that is worth another
        iteration, in nats.
    reg_covar : float, default=1e-6
        Non-negative regularization added to the diagonals of the covariances, which decreases with
        the variance of a feature over all rows where that is below 0.01.
    max_iter : int, default=100
        Maximum number of EM iterations.
    n_init : int, default=1
        Number of initializations; the result with the highest log-likelihood is kept.

    Returns
    -------
    GroupMixtures
        The mixtures, which predict by group.

    Raises
    ------
    ValueError
        If a group has fewer rows than components, rows lack values, or a covariance is singular and
        `reg_covar` is 0.

    Warns
    -----
    ConvergenceWarning
        If EM has not converged in some groups.

    See Also
    --------
    GaussianMixtureClassifier : Mixtures of classes that are compared with each other.

    Examples
    --------
    >>> import numpy as np
    >>> from fastgmm import fit_groups
    >>> rng = np.random.default_rng(0)
    >>> groups = np.repeat(np.arange(1000), 50)
    >>> X = rng.normal(size=(50_000, 2)) + groups[:, None]
    >>> X[::2] += 8.0
    >>> mixtures = fit_groups(X, groups, n_components=2, random_state=0)
    >>> mixtures.means.shape
    (1000, 2, 2)
    >>> mixtures.predict(X[:4], groups[:4]).shape
    (4,)
    """
    template = GaussianMixture(
        n_components,
        covariance_type=covariance_type,
        tol=tol,
        reg_covar=reg_covar,
        max_iter=max_iter,
        n_init=n_init,
        random_state=random_state,
        n_jobs=n_jobs,
    )
    template._validate_params()
    if not isinstance(covariance_type, str) or not isinstance(tol, int | float):
        raise ValueError(
            "fit_groups takes the names of covariance structures, and a number as tol: fit "
            "GaussianMixture to each group for instances of your own"
        )
    labeled = _labeled(template, X, groups, sample_weight, reset=True)
    rows, masses = _in_memory(labeled.source)
    order, counts = _order(labeled)
    if not (np.diff(order) == 1).all():
        rows, masses = rows[order], None if masses is None else masses[order]
    firsts = np.cumsum(counts) - counts
    sizes = counts if masses is None else np.add.reduceat(masses, firsts)
    present = counts if masses is None else np.add.reduceat((masses > 0.0).astype(int), firsts)
    _check_sizes(labeled.classes, present, n_components)
    kind = structure(covariance_type)
    kind.check_features(rows.shape[1])
    G, D = len(counts), rows.shape[1]
    arrays: dict[str, Any] = {
        name: np.zeros(shape, dtype)
        for name, (dtype, shape) in GroupMixtures._arrays(template, G, D).items()
    }
    found = GroupMixtures(groups=labeled.classes, template=template, **arrays)
    found.sizes[:], found.log_likelihoods[:] = sizes, -np.inf
    random = check_random_state(random_state)
    small = np.flatnonzero(are_small(counts, D))
    if len(small):
        amounts = regularization_for(labeled.source, reg_covar, "auto", n_jobs=n_jobs).amounts
        settings = GroupSettings(kind, n_components, amounts, tol, max_iter, n_init, n_jobs)
        grouped = GroupedRows(rows, masses, firsts[small], counts[small])
        fits = fit_group_mixtures(grouped, settings, random)
        covariances = fits.covariances
        if kind.is_diagonal:
            covariances = np.einsum("gkii->gki", covariances)
        of_component = 0 if kind.is_tied else slice(None)
        of_feature = 0 if kind.is_spherical else slice(None)
        found.weights[small], found.means[small] = fits.weights, fits.means
        found.covariances[small] = covariances[:, of_component, ..., of_feature]
        for name in ("log_likelihoods", "n_iter", "converged"):
            getattr(found, name)[small] = getattr(fits, name)
    for g in np.flatnonzero(np.isinf(found.log_likelihoods)):
        own = slice(firsts[g], firsts[g] + counts[g])
        _fit_alone(found, int(g), rows[own], None if masses is None else masses[own], random)
    if not found.converged.all() and max_iter > 0:
        warnings.warn(
            f"EM did not converge in {np.count_nonzero(~found.converged)} of {G} groups after "
            f"max_iter={max_iter} iterations: `converged` says in which. Increase max_iter or tol.",
            ConvergenceWarning,
            stacklevel=2,
        )
    return found


def _fit_alone(
    found: GroupMixtures,
    g: int,
    rows: npt.NDArray[Any],
    masses: FloatArray | None,
    random: np.random.RandomState,
) -> None:
    """Fit the mixture of a group by itself."""
    mixture = GaussianMixture(**found.template.get_params()).set_params(random_state=random)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.simplefilter("ignore", DegenerateComponentWarning)
        try:
            mixture.fit(rows, sample_weight=masses)
        except ValueError as error:
            raise ValueError(f"group {found.groups.tolist()[g]!r}: {error}") from error
    found.weights[g], found.means[g] = mixture.weights_, mixture.means_
    found.covariances[g] = mixture.covariances_
    found.log_likelihoods[g] = mixture.lower_bound_ * found.sizes[g]
    found.n_iter[g], found.converged[g] = mixture.n_iter_, mixture.converged_


class GroupMixture(GaussianMixture):
    """The mixture of a group, which takes whole rows only."""

    _parameter_constraints = GaussianMixture._parameter_constraints | {
        "missing": [StrOptions({"error"})]
    }


def _labeled(
    template: GaussianMixture,
    X: Rows,
    groups: ArrayLike | str,
    sample_weight: Weights,
    *,
    reset: bool = False,
) -> LabeledRows:
    """Return rows and their groups."""
    reader = GroupMixture(**template.get_params())
    reader.__dict__.update(vars(template))
    labeled = _read(reader, X, groups, sample_weight, reset)
    if reset:
        template.__dict__.update(vars(reader))
    return labeled


def _read(
    reader: GroupMixture, X: Rows, groups: ArrayLike | str, sample_weight: Weights, reset: bool
) -> LabeledRows:
    if isinstance(groups, str) or is_collection(groups):  # which are read as classes are
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="y holds -1")  # a group like any other
            warnings.filterwarnings("ignore", message="The number of unique classes")
            return check_labeled(reader, X, groups, sample_weight, reset=reset)
    source = check_source(reader, X, sample_weight, reset=reset)
    values, missing = given_labels(groups)
    if values.shape != (source.n_samples,):
        raise ValueError(
            f"groups should have one group for each of the {source.n_samples} rows, but got an "
            f"array of shape {values.shape}"
        )
    if missing.any():
        raise ValueError(
            f"groups has none for row {int(missing.argmax())}, counted from 0: give the group of "
            "each row, or leave such rows out"
        )
    # Rows of a group often follow each other, and there are few of such runs.
    first = np.concatenate([[True], values[1:] != values[:-1]]).astype(bool)
    heads = values[first]
    if heads.dtype.kind == "O":
        heads = np.array(heads.tolist())
    found, codes = np.unique(heads, return_inverse=True)
    lengths = np.diff(np.append(np.flatnonzero(first), len(values)))
    return LabeledRows(source, found, np.repeat(codes.ravel(), lengths))


def _in_memory(source: Source) -> tuple[npt.NDArray[Any], FloatArray | None]:
    """Return all rows and their weights."""
    if isinstance(source, DaskSource):
        raise ValueError(
            "groups of a Dask collection may lie in any partition: compute the collection first"
        )
    if isinstance(source, ArraySource):
        return source.X, source.weights
    return rows_in_memory(source)


def _order(labeled: LabeledRows) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.int64]]:
    """Return the numbers of the rows, group by group, and how many rows each group has."""
    counts = np.bincount(labeled.codes, minlength=len(labeled.classes))
    return np.argsort(labeled.codes, kind="stable"), counts


def _check_sizes(
    groups: npt.NDArray[Any], present: npt.NDArray[np.int64], n_components: int
) -> None:
    """Raise if groups have fewer rows that count than components."""
    few = np.flatnonzero(present < max(n_components, 2))
    if len(few):
        first, least = groups[few].tolist()[0], max(n_components, 2)
        raise ValueError(
            f"group {first!r} has {present[few[0]]} rows that count, and {least} are needed at "
            f"least ({len(few)} groups have too few): leave such groups out, or use fewer "
            "components"
        )
