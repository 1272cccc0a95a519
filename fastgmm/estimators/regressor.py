"""`GaussianMixtureRegressor`: targets given inputs, by the mixture of both."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple, Self

import numpy as np
import numpy.typing as npt
from numpy.typing import ArrayLike
from sklearn import config_context
from sklearn.base import BaseEstimator, MultiOutputMixin, RegressorMixin
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.utils import check_array, check_consistent_length, check_random_state
from sklearn.utils.validation import check_is_fitted

from fastgmm.analysis.regression import ConditionalMixture, Conditionals, Draws, Evaluation
from fastgmm.data.column_names import name_list
from fastgmm.data.opening import is_data_reference
from fastgmm.data.source import Source
from fastgmm.data.sources.array import ArraySource
from fastgmm.data.sources.array_like import not_numbers, unmasked
from fastgmm.data.sources.batch import all_finite
from fastgmm.data.sources.dask_collection import is_collection
from fastgmm.data.sources.exactness import check_no_times
from fastgmm.data.sources.frames import is_frame
from fastgmm.docstrings import documented
from fastgmm.em.initialization.methods import InitMethod
from fastgmm.em.missing.incomplete import pieces
from fastgmm.estimators.gaussian_mixture import GaussianMixture
from fastgmm.estimators.shared.interfaces import FloatingArray, Rows, Weights
from fastgmm.estimators.shared.lazy_results import lazy_on_collections
from fastgmm.estimators.shared.mixture_owner import MixtureOwner
from fastgmm.estimators.shared.validation import (
    Missing,
    check_replayable,
    check_source,
    complete_rows,
    constraints_of,
    missing_advice,
    missing_policy,
    validated_fit,
)
from fastgmm.io.states import State, require, typed_members
from fastgmm.mixture.covariance_types import CovarianceType
from fastgmm.mixture.statistics import FloatArray
from fastgmm.mixture.structures import CovarianceStructure

_NAME_TARGETS = (
    "rows that are not in memory have their targets in a column: name it, as in y='price'"
)

Targets = Any
"""An array-like of shape (n_samples,) or (n_samples, n_targets), or names of columns of `X`."""


@dataclass(frozen=True, slots=True, eq=False)
class TargetColumns:
    """Which columns of a mixture are targets."""

    numbers: npt.NDArray[np.intp]  # among the columns of the mixture
    names: tuple[str, ...] | None  # if they were given by name
    single: bool  # not given as a table of one: results have no axis for it


@dataclass(frozen=True, slots=True, eq=False)
class JointRows:
    """Rows of inputs and targets side by side."""

    source: Source
    targets: TargetColumns


@documented(
    """
    X : array-like of shape (n_samples, n_features), or anything that `open_data` takes
        The inputs; beside them the targets, where `y` names their columns.
    y : array-like of shape (n_samples,) or (n_samples, n_targets), str, or list of str
        The targets, or the names of the columns of `X` that hold them.
    """
)
class GaussianMixtureRegressor(MixtureOwner, MultiOutputMixin, RegressorMixin, BaseEstimator):
    """Regression by a Gaussian mixture of inputs and targets.

    A Gaussian mixture is fitted to rows of inputs x and targets y together. Given x, y follows a
    mixture again, whose mean is a blend of linear functions of x: so the whole distribution of y is
    predicted, with several branches and with a spread that depends on x. With one component, the
    mean is ordinary least squares.

    Parameters
    ----------
    n_components : int, default=1
        Number of components.
    covariance_type : str or CovarianceStructure, default="full"
        Type of the covariance parameters over inputs and targets together; see `GaussianMixture`.
        Under diagonal ones each component predicts a constant.
    tol
        As for `GaussianMixture`.
    reg_covar : float, default=1e-6
        Non-negative regularization added to the variances, as for `GaussianMixture`; it shrinks the
        slopes a little.
    max_iter, n_init, init_params
        As for `GaussianMixture`.
    random_state : int, RandomState instance or None, default=None
        Controls the randomness of the initialization and of `sample_y`. Pass an int for
        reproducible results.
    n_jobs, reg_covar_scale
        As for `GaussianMixture`.
    missing : {"error", "drop", "model"}, default="error"
        How to handle missing values: NaN in arrays, null in tables. "error" raises an error.
        "drop" leaves rows that lack an input or a target out of fits and `score`.
        "model" integrates missing values out: of inputs and targets in `fit`, and of inputs in
        predictions.
    forgetting : float, default=1.0
        Below 1, the rows of each unit that `partial_fit` learns count at most this many times
        those of the next.

    Attributes
    ----------
    mixture_ : GaussianMixture
        The mixture of inputs and targets. Its columns are those of a table in their order, or
        those of `X` and then those of `y`.
    target_columns_ : ndarray of int of shape (n_targets,)
        Indices of the mixture's columns that are targets.
    n_iter_ : int
        Number of iterations of the mixture, as its own `n_iter_`.
    n_features_in_ : int
        Number of inputs.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the inputs, if `X` is a table with column names.

    See Also
    --------
    GaussianMixture.condition : The full conditional mixture, for a single row.

    Notes
    -----
    Ghahramani and Jordan, 1994, "Supervised learning from incomplete data via an EM approach", NIPS
    6; Bishop, PRML, eqs. 2.81 and 2.82.

    Examples
    --------
    >>> import numpy as np
    >>> from fastgmm import GaussianMixtureRegressor
    >>> rng = np.random.default_rng(0)
    >>> x = rng.uniform(-3.0, 3.0, (1000, 1))
    >>> y = np.abs(x[:, 0]) + rng.normal(0.0, 0.1, 1000)
    >>> regressor = GaussianMixtureRegressor(2, random_state=0).fit(x, y)
    >>> regressor.predict([[-2.0], [1.0]]).round(1)
    array([2., 1.])
    >>> mean, deviation = regressor.predict([[2.0]], return_std=True)
    >>> deviation.round(1)
    array([0.1])
    """

    mixture_: GaussianMixture
    n_features_in_: int

    _targets: TargetColumns

    def __init__(
        self,
        n_components: int = 1,
        *,
        covariance_type: CovarianceType | CovarianceStructure = "full",
        tol: float = 1e-3,
        reg_covar: float = 1e-6,
        max_iter: int = 100,
        n_init: int = 1,
        init_params: InitMethod = "kmeans",
        random_state: int | np.random.RandomState | None = None,
        n_jobs: int | None = None,
        reg_covar_scale: Literal["auto", "absolute", "relative"] = "auto",
        missing: Missing = "error",
        forgetting: float = 1.0,
    ) -> None:
        self.n_components = n_components
        self.covariance_type = covariance_type
        self.tol = tol
        self.reg_covar = reg_covar
        self.max_iter = max_iter
        self.n_init = n_init
        self.init_params = init_params
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.reg_covar_scale = reg_covar_scale
        self.missing = missing
        self.forgetting = forgetting

    _parameter_constraints = constraints_of(__init__)

    @validated_fit
    def fit(  # type: ignore[override]  # it needs targets
        self, X: Rows, y: Targets, sample_weight: Weights = None
    ) -> Self:
        """Fit the mixture to rows of inputs and targets.

        Raises
        ------
        ValueError
            If the rows, the targets or the weights are not possible, or if a component collapses
            and `reg_covar` is 0.
        TypeError
            If `X` is in a file and `y` is no name.

        Warns
        -----
        ConvergenceWarning
            If EM has not converged after `max_iter` iterations.
        DegenerateComponentWarning
            If a component lost all its points or its spread.
        """
        mixture = GaussianMixture(**self._mixture_parameters())
        joint = self._joint_rows(mixture, X, y, sample_weight, ensure_min_samples=2)
        check_replayable(self, joint.source)
        mixture.fit(joint.source)
        self.mixture_, self._targets = mixture, joint.targets
        return self

    @validated_fit
    def partial_fit(self, X: Rows, y: Targets, sample_weight: Weights = None) -> Self:
        """Learn rows in addition to those before, by a step of online EM.

        The mixture learns them as `GaussianMixture.partial_fit` does, and like it waits for enough
        rows to begin with; the regressor is not fitted until then.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), or anything that `open_data` takes
            The inputs; with the targets, if these are given by name. The rows of an array are one
            batch. Those of files and streams are processed in batches, in their order.

        Raises
        ------
        ValueError
            If the rows, the targets or the weights are not possible, or not of the columns so far.
        TypeError
            If `X` is in a file and `y` is no name.

        Warns
        -----
        DegenerateComponentWarning
            If a component lost all its points or its spread.
        """
        mixture = vars(self).get("mixture_") or GaussianMixture()
        joint = self._joint_rows(mixture, X, y, sample_weight, before=vars(self).get("_targets"))
        mixture.set_params(**self._mixture_parameters())
        mixture.partial_fit(joint.source)
        if not hasattr(self, "mixture_"):
            self.mixture_, self._targets = mixture, joint.targets
        return self

    @lazy_on_collections
    def predict(
        self, X: Rows, *, return_std: bool = False, return_cov: bool = False
    ) -> FloatingArray | tuple[FloatingArray, FloatingArray]:
        """Return the expected targets of rows, and how far these spread.

        Parameters
        ----------
        return_std : bool, default=False
            Whether the standard deviations of the targets are returned, too.
        return_cov : bool, default=False
            Whether the covariances of the targets of each row are returned, too; not both.

        Returns
        -------
        mean : ndarray of shape (n_samples,) or (n_samples, n_targets)
            Expected targets. There is no axis of targets in any result if `y` was a list of
            numbers or a single name.
        std : ndarray of shape (n_samples,) or (n_samples, n_targets)
            Standard deviations, if `return_std`.
        cov : ndarray of shape (n_samples,) or (n_samples, n_targets, n_targets)
            Covariances, or variances of a single target, if `return_cov`.

        Raises
        ------
        ValueError
            If both `return_std` and `return_cov` are asked for.
        """
        if return_std and return_cov:
            raise ValueError("return_std and return_cov are both True: ask for one of them")
        source, conditional = self._checked(X)
        n_targets = len(conditional.targets)

        def evaluation(found: Conditionals, _: Any) -> FloatArray:
            parts = [found.mean()]
            if return_std:
                parts.append(found.deviation())
            if return_cov:
                parts.append(found.covariance().reshape(-1, n_targets**2))
            return np.concatenate(parts, axis=1)

        values = np.concatenate(list(conditional.evaluate(source, evaluation, n_jobs=self.n_jobs)))
        mean = self._shaped(values[:, :n_targets])
        if return_std:
            return mean, self._shaped(values[:, n_targets:])
        if return_cov:
            covariances = values[:, n_targets:].reshape(-1, n_targets, n_targets)
            return mean, covariances[:, 0, 0] if self._targets.single else covariances
        return mean

    def predict_blocks(self, X: Rows) -> Iterator[FloatingArray]:
        """Yield what `predict` returns, block by block, as the rows are read.

        Yields
        ------
        ndarray of shape (n_rows,) or (n_rows, n_targets)
            The expected targets of the next rows.
        """
        return map(self._shaped, self._evaluated(X, lambda found, _: found.mean()))

    @lazy_on_collections
    def predict_quantiles(self, X: Rows, q: ArrayLike) -> FloatingArray:
        """Return quantiles of each target's distribution, given the inputs.

        Parameters
        ----------
        q : float or array-like of shape (n_levels,)
            Levels, above 0 and below 1.

        Returns
        -------
        ndarray of shape (n_samples[, n_targets][, n_levels])
            The roots of the distribution functions, to rounding. There is no axis of levels if `q`
            is a number.

        Raises
        ------
        ValueError
            If a level is not between 0 and 1.
        """
        levels = np.asarray(q, dtype=np.float64)
        if levels.ndim > 1 or not levels.size or not ((levels > 0.0) & (levels < 1.0)).all():
            raise ValueError(
                f"q must be a level, or a list of levels, above 0 and below 1; got {q!r}"
            )
        flat = levels.ravel()
        found = self._evaluated(X, lambda each, _: each.quantiles(flat))
        values = self._shaped(np.concatenate(list(found)))
        return values if levels.ndim else values[..., 0]

    def sample_y(
        self,
        X: Rows,
        n_samples: int = 1,
        random_state: int | np.random.RandomState | None = None,
    ) -> FloatingArray:
        """Draw targets from their distribution given the inputs.

        Parameters
        ----------
        n_samples : int, default=1
            Number of draws for each row.
        random_state : int, RandomState instance or None, default=None
            Source of the randomness; None for the regressor's own. The same int gives the same
            for the same rows and `n_samples`, however the rows are stored.

        Returns
        -------
        ndarray of shape (n_rows, n_samples) or (n_rows, n_targets, n_samples)
            The draws.

        Raises
        ------
        ValueError
            If `n_samples` is less than 1.
        """
        if n_samples < 1:
            raise ValueError(f"Invalid value for 'n_samples': {n_samples}. It must be at least 1.")
        random = check_random_state(self.random_state if random_state is None else random_state)
        return self._drawn(X, n_samples, int(random.randint(np.iinfo(np.int32).max)), partition=0)

    @lazy_on_collections
    def _drawn(self, X: Rows, n_samples: int, seed: int, *, partition: int) -> FloatingArray:
        """Return draws for rows, other ones in each partition of a collection."""
        source, conditional = self._checked(X)
        draws = Draws(n_samples, len(conditional.targets), (seed + partition) % 2**31)
        found = conditional.evaluate(
            source, draws, begin=draws.begin, row_bytes=draws.row_bytes, n_jobs=self.n_jobs
        )
        return self._shaped(np.concatenate(list(found)))

    def log_density(self, X: Rows, y: Targets) -> FloatingArray:
        """Return the log-density of targets given the inputs.

        Returns
        -------
        ndarray of shape (n_samples,)
            log p(y | x) in nats.
        """
        if is_collection(X) and _names(y) is None:
            raise TypeError(_NAME_TARGETS)
        return self._log_density(X, y)

    @lazy_on_collections
    def _log_density(self, X: Rows, y: Targets) -> FloatingArray:
        joint, conditional = self._joint(X, y, each_row=True)
        densities = [
            conditional.log_density(rows, n_jobs=self.n_jobs)
            for rows in pieces(joint.source, conditional.rows_at_once())
        ]
        return np.concatenate(densities).astype(joint.source.dtype, copy=False)

    def score(self, X: Rows, y: Targets, sample_weight: Weights = None) -> float:
        """Return the share of the targets' variance that the predictions explain, R².

        Returns
        -------
        float
            R², the mean over the targets: 1 at best, 0 for predictions as good as the mean of `y`.
            Rows that lack a target are left out.
        """
        joint, conditional = self._joint(X, y, sample_weight)
        found = joint.source.fold(partial(_explained, conditional=conditional), _both_explained)(
            n_jobs=self.n_jobs
        )
        if not found.n_rows:
            raise ValueError("y holds no row of targets that are all known: there is no score")
        return found.r2()

    @property
    def target_columns_(self) -> npt.NDArray[np.intp]:
        """Indices of the mixture's columns that are targets."""
        return self._targets.numbers.copy()

    def _to_state(self) -> State:
        values, arrays = super()._to_state()
        targets = self._targets
        values["targets"] = {
            "numbers": targets.numbers.tolist(),
            "names": None if targets.names is None else list(targets.names),
            "single": targets.single,
        }
        return State(values, arrays)

    @classmethod
    def _from_state(cls, state: State) -> Self:
        kinds = {"numbers": tuple[int, ...], "names": tuple[str, ...] | None, "single": bool}
        kept = typed_members(state.values["targets"], kinds, "targets")
        numbers, names = kept["numbers"], kept["names"]
        regressor = cls._with_mixture(state, len(numbers))
        n_columns = regressor.mixture_.means_.shape[1]
        different = len(set(numbers)) == len(numbers) > 0
        if not different or not set(numbers) < set(range(n_columns)):
            raise ValueError(f"the targets {list(numbers)} are no columns of {n_columns}")
        if names is not None and len(names) != len(numbers):
            raise ValueError(f"{len(names)} names for {len(numbers)} targets")
        require(len(numbers) == 1 or not kept["single"], "a single target is one column")
        regressor._targets = TargetColumns(np.array(numbers, dtype=np.intp), names, kept["single"])
        return regressor

    def _conditional(self) -> ConditionalMixture:
        return ConditionalMixture(self.mixture_._parameters(), self._targets.numbers)

    def _checked(self, X: Rows) -> tuple[Source, ConditionalMixture]:
        """Return checked inputs and the mixture of the targets."""
        check_is_fitted(self)
        return check_source(
            self, X, missing=missing_policy(self, each_row=True)
        ), self._conditional()

    def _joint(
        self, X: Rows, y: Targets, sample_weight: Weights = None, *, each_row: bool = False
    ) -> tuple[JointRows, ConditionalMixture]:
        """Return checked inputs with targets, and the mixture of the targets."""
        check_is_fitted(self)
        joint = self._joint_rows(
            self.mixture_, X, y, sample_weight, before=self._targets, each_row=each_row
        )
        return joint, self._conditional()

    def _joint_rows(
        self,
        mixture: GaussianMixture,
        X: Rows,
        y: Targets,
        sample_weight: Weights = None,
        *,
        before: TargetColumns | None = None,
        ensure_min_samples: int = 1,
        each_row: bool = False,
    ) -> JointRows:
        """Return the inputs and targets given to a method."""
        missing = missing_policy(self, each_row=each_row)
        if y is None:
            raise ValueError(
                f"{type(self).__name__} requires y to be passed, but the target y is None"
            )
        names = _names(y)
        if names is not None:
            joint = _named(self, mixture, X, names, sample_weight, before, missing)
        else:
            joint = _arrays(self, X, y, sample_weight, before, missing, ensure_min_samples)
        if before is not None and len(before.numbers) != len(joint.targets.numbers):
            raise ValueError(
                f"y has {len(joint.targets.numbers)} targets, but {type(self).__name__} was "
                f"fitted to {len(before.numbers)}"
            )
        return joint

    def _evaluated(self, X: Rows, evaluation: Evaluation) -> Iterator[FloatingArray]:
        """Yield what is wanted of the mixtures of the targets of rows."""
        source, conditional = self._checked(X)
        return conditional.evaluate(source, evaluation, n_jobs=self.n_jobs)

    def _shaped(self, values: FloatingArray) -> FloatingArray:
        """Return values of targets without their axis, the second one, if there is to be none."""
        return values[:, 0] if self._targets.single else values


class _Explained(NamedTuple):
    """How much the targets of rows vary, and the predictions' errors."""

    n_rows: int
    weight: float
    means: FloatArray  # (n_targets,): of the targets
    total: FloatArray  # (n_targets,): squares about the means, summed up
    left: FloatArray  # (n_targets,): the same of what predictions leave

    def r2(self) -> float:
        """Return the share that is explained, the mean over the targets."""
        if self.n_rows < 2:
            warnings.warn("R² is not defined for less than two rows", UndefinedMetricWarning, 3)
            return math.nan
        constant = np.where(self.left > 0.0, 0.0, 1.0)
        varied = self.total > 0.0
        ratio = np.divide(self.left, self.total, out=np.zeros_like(self.left), where=varied)
        return float(np.where(varied, 1.0 - ratio, constant).mean())


def _explained(
    source: Source, *, conditional: ConditionalMixture, n_jobs: int | None
) -> _Explained:
    """Return what predictions explain of the targets of rows that are all known."""
    known, predicted, given = list[FloatArray](), list[FloatArray](), list[FloatArray]()
    for rows in pieces(source, conditional.rows_at_once()):
        targets = rows.X[:, conditional.targets].astype(np.float64)
        present = ~np.isnan(targets).any(axis=1)  # what is not known cannot be explained
        if present.any():
            known.append(targets[present])
            inputs = type(rows)(rows.X[present][:, conditional.inputs], incomplete=rows.incomplete)
            predicted += conditional.evaluate(inputs, lambda each, _: each.mean(), n_jobs=n_jobs)
            weights = np.ones(len(targets)) if rows.weights is None else rows.weights
            given.append(weights[present])
    nothing = np.zeros(len(conditional.targets))
    if not known:
        return _Explained(0, 0.0, nothing, nothing, nothing)
    y, w = np.concatenate(known), np.concatenate(given)
    weight = float(w.sum())
    means = w @ y / weight if weight else nothing
    left = w @ (y - np.concatenate(predicted)) ** 2
    return _Explained(len(y), weight, means, w @ (y - means) ** 2, left)


def _both_explained(one: _Explained, other: _Explained) -> _Explained:
    """Return what is explained of both sets of rows (Chan, Golub and LeVeque, 1983)."""
    weight = one.weight + other.weight
    share = other.weight / weight if weight else 0.0
    apart = other.means - one.means
    return _Explained(
        one.n_rows + other.n_rows,
        weight,
        one.means + share * apart,
        one.total + other.total + one.weight * share * apart**2,
        one.left + other.left,
    )


def _names(y: Any) -> tuple[str, ...] | None:
    """Return the names of target columns, if they are given by name."""
    if isinstance(y, str):
        return (y,)
    if isinstance(y, list | tuple) and y and all(isinstance(each, str) for each in y):
        return tuple(y)
    return None


def _named(
    estimator: GaussianMixtureRegressor,
    mixture: GaussianMixture,
    X: Any,
    names: tuple[str, ...],
    sample_weight: Any,
    before: TargetColumns | None,
    missing: Missing,
) -> JointRows:
    """Return rows whose targets are columns of their own table."""
    if not is_frame(X) and not is_data_reference(X):
        raise ValueError(
            f"y={list(names)} names columns, and X has no names: give an array of targets, one for "
            "each row"
        )
    if before is not None and before.names != names:
        known = "an array" if before.names is None else f"the columns {name_list(before.names)}"
        raise ValueError(
            f"y names the columns {name_list(names)}, but {type(estimator).__name__} was fitted to "
            f"{known} as y: give the same"
        )
    source = check_source(mixture, X, sample_weight, reset=before is None, missing=missing)
    columns = source.feature_names
    if columns is None:
        raise ValueError(
            f"y={list(names)} names columns, and those of X have no names: give an array of "
            "targets, one for each row"
        )
    for name in names:
        if name not in columns:
            raise ValueError(f"X has no column {name!r}: its columns are {name_list(columns)}")
    if len(set(names)) < len(names):
        raise ValueError(f"y names a column twice; got {list(names)}")
    inputs = [name for name in columns if name not in names]
    if not inputs:
        raise ValueError(f"y names all columns of X, {name_list(columns)}: which leaves no input")
    if before is None:
        estimator.n_features_in_ = len(inputs)
        estimator.feature_names_in_ = np.array(inputs, dtype=object)
    numbers = np.array([columns.index(name) for name in names], dtype=np.intp)
    return JointRows(source, TargetColumns(numbers, names, len(names) == 1))


def _arrays(
    estimator: GaussianMixtureRegressor,
    X: Any,
    y: Any,
    sample_weight: Any,
    before: TargetColumns | None,
    missing: Missing,
    ensure_min_samples: int,
) -> JointRows:
    """Return rows in memory with targets in an array."""
    source = check_source(
        estimator,
        X,
        sample_weight,
        reset=before is None,
        ensure_min_samples=ensure_min_samples,
        missing="error" if missing == "error" else "model",  # left out once y is there
    )
    if not isinstance(source, ArraySource):
        raise TypeError(_NAME_TARGETS)
    given = unmasked(y)
    check_no_times("y", given)
    try:
        with config_context(array_api_dispatch=False):
            values = check_array(
                given,
                dtype=[np.float64, np.float32],
                ensure_2d=False,
                ensure_all_finite="allow-nan",
                ensure_min_samples=0,
                input_name="y",
                estimator=estimator,
            )
    except (TypeError, ValueError) as error:
        raise not_numbers("y", given, error) from error
    absent = np.isnan(values)
    if missing == "error" and absent.any():
        raise ValueError(
            f"Input y contains NaN, first in row {np.argwhere(absent)[0, 0]}, counted from 0: "
            f"{missing_advice(estimator)}"
        )
    check_consistent_length(source.stored, values)
    single = values.ndim == 1
    both = np.column_stack([source.X, values])
    targets = np.arange(source.n_features, both.shape[1])
    if before is not None and before.names is not None:
        # the columns of the mixture are in the order of the table that it was fitted to
        inputs = np.setdiff1d(np.arange(both.shape[1]), before.numbers)
        if len(before.numbers) == len(targets):
            reordered = np.empty_like(both)
            reordered[:, inputs] = both[:, : len(inputs)]
            reordered[:, before.numbers] = both[:, len(inputs) :]
            both, targets = reordered, before.numbers
    rows = ArraySource(both, source.weights, incomplete=not all_finite(both))
    if missing == "drop" and rows.incomplete:
        rows = complete_rows(rows, ensure_min_samples)
    return JointRows(rows, TargetColumns(targets, None, single))
