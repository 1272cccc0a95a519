"""Online learning: `partial_fit` of mixtures."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
from numpy.typing import ArrayLike
from sklearn.exceptions import NotFittedError
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from fastgmm.data.source import Rows as SourceRows
from fastgmm.data.source import Source
from fastgmm.data.sources.array import ArraySource
from fastgmm.data.sources.batch import all_finite
from fastgmm.data.sources.rechunking import joined, recut
from fastgmm.data.sources.wrapped import observed_rows
from fastgmm.docstrings import documented
from fastgmm.em.blas_threads import one_blas_thread
from fastgmm.em.degeneracy import Degeneracy, find_degeneracies, warn_of_degeneracies
from fastgmm.em.initialization.methods import InitMethod
from fastgmm.em.loop import FitInfo
from fastgmm.em.online.minibatch import batch_rows
from fastgmm.em.online.start import (
    OnlineStart,
    begin_from_mixture,
    begin_online,
    rows_to_begin,
)
from fastgmm.em.online.steps import OnlineState, StepSchedule, online_step
from fastgmm.estimators.shared.attributes import attributes_from_parameters, check_same_form
from fastgmm.estimators.shared.evaluation import MixtureEvaluation
from fastgmm.estimators.shared.fit_states import online_from_state, online_to_state
from fastgmm.estimators.shared.frozen import check_frozen_start, frozen_structure
from fastgmm.estimators.shared.interfaces import Rows, Weights
from fastgmm.estimators.shared.validation import (
    Missing,
    UnchangedOnFailure,
    available_where,
    check_source,
    check_start,
    check_weight_scale,
    validated_partial_fit,
)
from fastgmm.io.states import Size, State, require
from fastgmm.mixture.parameters import MixtureParameters
from fastgmm.mixture.statistics import FloatArray
from fastgmm.mixture.structures import CovarianceStructure

_OF_BATCH_FITS = (
    "trace_",
    "lower_bounds_",
    "fit_info_",
    "n_epochs_",
    "validation_scores_",
)


def _can_learn(mixture: Any) -> bool:
    """Say whether there is nothing about a mixture that only a batch fit can find."""
    own = (("priors", "they are"), ("noise_volume", "it is"), ("n_factors", "it is"))
    for name, verb in own:
        if (value := getattr(mixture, name, None)) is not None:
            raise AttributeError(
                f"partial_fit knows no {name}, and {verb} {value!r}: use fit, or {name}=None"
            )
    if getattr(mixture, "semi_supervised", False):
        raise AttributeError(
            "partial_fit takes no labels, and semi_supervised is True: use fit, or "
            "semi_supervised=False"
        )
    if hasattr(mixture, "noise_weight_"):
        raise AttributeError(
            "partial_fit cannot continue from a mixture with noise: use fit, or a new estimator"
        )
    return True


@documented()
class OnlineLearning(MixtureEvaluation):
    """`partial_fit`, and the state that it continues from."""

    n_components: int
    reg_covar: float
    reg_covar_scale: Any
    n_init: int
    init_params: InitMethod
    weights_init: ArrayLike | None
    means_init: ArrayLike | None
    precisions_init: ArrayLike | float | None
    step_exponent: float
    step_offset: float
    averaging: bool
    forgetting: float
    lower_bounds_: list[float]
    trace_: FloatArray
    fit_info_: FitInfo
    n_samples_seen_: int
    n_steps_: int

    _state_class: ClassVar[type[OnlineState]] = OnlineState
    """The state that `partial_fit` continues from."""
    _describing: ClassVar[tuple[str, ...]] = ("weights_", "means_", "precisions_cholesky_")
    """The attributes that the state is known by; with others in their place it is of no use."""
    _waiting: list[SourceRows] | None = None
    """Rows that are too few to begin with."""
    _next_look: int = 0
    """How many of them there must be for another look at whether they are enough."""
    _learnt: tuple[OnlineState, tuple[npt.NDArray[Any], ...]] | None = None
    """The state, and copies of the attributes that were made from it."""
    _told: frozenset[tuple[int | None, str]] = frozenset()
    """Degenerate components that a warning named."""

    @available_where(_can_learn)
    @validated_partial_fit
    def partial_fit(
        self,
        X: Rows,
        y: Any = None,  # noqa: ARG002 - taken so that the mixture can be part of a pipeline
        sample_weight: Weights = None,
    ) -> Self:
        """Update the mixture with further rows, by online EM or stochastic variational inference.

        The first rows are kept until there are ten for each mean and weight; the mixture is then
        initialized from them, and is not fitted until then. What a prior takes from the data, it
        takes from these. A mixture fitted by `fit`, or constructed manually, is continued from. It
        counts as much as the first batch that follows, or, if it is Bayesian, as many rows as it
        was fitted to.

        How the rows are split into batches hardly matters, as every row counts by itself. Large
        batches are faster.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), or anything that `open_data` takes
            The rows. Those of an array are one batch. Those of files and streams are processed in
            batches, in their order, and not held in memory as a whole.

        Raises
        ------
        ValueError
            If the rows or the weights are invalid, or not those of the mixture so far; what was
            learned before the batch stays.
        IllDefinedCovarianceError
            If a component collapses and `reg_covar` is 0.

        Warns
        -----
        DegenerateComponentWarning
            If a component lost all its points or its spread.
        """
        begun = hasattr(self, "means_")
        features_known = hasattr(self, "n_features_in_")
        reset = not features_known or not (begun or self._waiting)
        found: list[Degeneracy] = []
        state: OnlineState | None = None
        learned: OnlineState | None = None
        with UnchangedOnFailure(self) as unchanged, one_blas_thread():
            source = check_source(self, X, sample_weight, reset=reset)
            check_weight_scale(source)
            self._structure_asked().check_features(source.n_features)
            try:
                for batch in self._batches(observed_rows(source)):
                    if batch.total_weight == 0.0:
                        continue
                    state = state or self._state_before(batch)
                    if state is not None:
                        state = self._learn(state, batch)
                    elif (start := self._begin(batch)) is not None:
                        state, info = start
                        found += info.degeneracies
                    else:
                        unchanged.renew()
                    learned = state
            finally:
                if learned is not None:
                    self._keep(learned)
                    unchanged.renew()
            if learned is not None:
                found += self._degeneracies(learned)
        new = [each for each in found if (each.component, each.kind) not in self._told]
        self._told = frozenset((each.component, each.kind) for each in found)
        warn_of_degeneracies(new, stacklevel=3)
        return self

    def _learn(self, state: OnlineState, batch: ArraySource) -> OnlineState:
        """Return the state after a batch."""
        after, _ = online_step(
            state,
            batch,
            self._schedule(),
            self._structure_to_fit(),
            averaging=self.averaging,
            n_jobs=self.n_jobs,
        )
        return after

    def _degeneracies(self, state: OnlineState) -> tuple[Degeneracy, ...]:
        """Return what is degenerate in a state."""
        return find_degeneracies(state.parameters, self._structure_to_fit(), state.regularization)

    def _structure_to_fit(self) -> CovarianceStructure:
        """Return the structure asked for, with the parameters held that are to stay as they are."""
        return frozen_structure(self, self._structure_asked())

    def _schedule(self) -> StepSchedule:
        return StepSchedule(self.step_exponent, self.step_offset, self.forgetting)

    def _batches(self, source: Source) -> Iterable[ArraySource]:
        if isinstance(source, ArraySource):
            return [source]
        size = batch_rows(self.n_components, source.n_features, None)
        return (
            ArraySource(*rows, incomplete=source.incomplete)
            for rows in recut(source.blocks(), size)
        )

    def _state_before(self, batch: ArraySource) -> OnlineState | None:
        """Return the state to continue from; None if there is none yet."""
        if not hasattr(self, "means_"):
            return None
        self._waiting = None
        shape = (self.n_components, batch.n_features)
        if np.shape(self.means_) != shape:
            raise ValueError(
                f"partial_fit continues from means_ of shape {np.shape(self.means_)}, but "
                f"n_components={shape[0]} and X with {shape[1]} features need {shape}: use fit, "
                "or a new estimator, for a mixture of another size"
            )
        check_same_form(self)
        state = self._current_state()
        return self._state_from_mixture(batch) if state is None else state

    def _state_from_mixture(self, batch: ArraySource) -> OnlineState:
        """Return a state that continues from the attributes, wherever they came from."""
        return begin_from_mixture(
            self._parameters(),
            batch,
            reg_covar=self.reg_covar,
            scale=self.reg_covar_scale,
            n_jobs=self.n_jobs,
        )

    def _current_state(self) -> OnlineState | None:
        """Return the state, unless the mixture was fitted or changed in another way since."""
        if self._learnt is None:
            return None
        state, made = self._learnt
        now: list[Any] = [vars(self).get(name) for name in self._describing]
        # Values, not objects: a copy of the estimator holds equal arrays, and users may write
        # into those that are there.
        same = (np.array_equal(a, b) for a, b in zip(made, now, strict=True))
        return state if all(same) else None

    def _begin(self, batch: ArraySource) -> tuple[OnlineState, FitInfo] | None:
        """Begin with the rows so far, if they are enough; otherwise keep them."""
        if self._waiting is None:
            self._waiting = []
            self._next_look = rows_to_begin(self.n_components, batch.n_features)
        # The caller may write into the batch before the next one comes.
        weights = None if batch.weights is None else batch.weights.copy()
        self._waiting = [*self._waiting, SourceRows(batch.X.copy(), weights)]
        if sum(len(each.X) for each in self._waiting) < self._next_look:
            return None
        X, weights = joined(self._waiting)
        rows = ArraySource(X, weights, incomplete=not all_finite(X))
        present = slice(None) if rows.weights is None else rows.weights > 0.0
        weighty = rows.X[present]
        # Looking costs more than keeping: the next time there must be twice as many rows.
        self._next_look = 2 * rows.n_samples
        if (
            len(weighty) < rows_to_begin(self.n_components, batch.n_features)
            or len(np.unique(weighty, axis=0)) < self.n_components
            or np.isnan(weighty).all(axis=0).any()
        ):
            return None
        start = self._start_from(rows, None)
        self._waiting = None
        return start

    def _start_from(self, rows: ArraySource, unit: float | None) -> tuple[OnlineState, FitInfo]:
        """Return the state after first rows."""
        kind = self._structure_to_fit()
        check_frozen_start(self, kind)
        given = check_start(
            self.weights_init,
            self.means_init,
            self.precisions_init,
            kind,
            self.n_components,
            rows.n_features,
        )
        return begin_online(rows, self.n_components, kind, self._start_settings(), given, unit)

    def _start_settings(self) -> OnlineStart:
        """Return how first rows are fitted."""
        return OnlineStart(
            self.reg_covar,
            self.reg_covar_scale,
            check_random_state(self.random_state),
            self.init_params,
            self.n_init,
            self.n_jobs,
        )

    def _keep(self, state: OnlineState) -> None:
        """Set the attributes that describe a state."""
        self.__dict__.update(self._online_attributes(state))
        self.converged_ = False
        self.n_iter_ = self.n_steps_ = state.n_steps
        self.n_samples_seen_ = state.n_rows
        for name in _OF_BATCH_FITS:
            self.__dict__.pop(name, None)
        self._go_on_from(state)

    def _online_attributes(self, state: OnlineState) -> dict[str, Any]:
        """Return the attributes that describe what was learned."""
        return {
            **attributes_from_parameters(
                state.estimate(self._structure_to_fit()), self._structure_asked()
            ),
            "lower_bound_": state.statistics.mean_log_likelihood,
        }

    def _go_on_from(self, state: OnlineState) -> None:
        """Take a state for the one that the attributes describe."""
        self._learnt = state, tuple(np.array(vars(self)[name]) for name in self._describing)

    def _forget_online(self) -> None:
        """Drop what `partial_fit` left: a fit from the beginning takes its place."""
        for name in ("_waiting", "_next_look", "_learnt", "_told", "n_samples_seen_", "n_steps_"):
            self.__dict__.pop(name, None)

    def _to_state(self) -> State:
        values, arrays = super()._to_state()
        learned = self._current_state()
        if learned is not None:
            own = online_to_state(learned)
            values["online"] = own.values
            arrays |= own.arrays
        return State(values, arrays)

    @classmethod
    def _from_state(cls, state: State, *, may_be_empty: bool = False) -> Self:
        online = {name: a for name, a in state.arrays.items() if name.startswith("online_")}
        own = {name: a for name, a in state.arrays.items() if name not in online}
        mixture = super()._from_state(State(state.values, own), may_be_empty=may_be_empty)
        if "online" in state.values:
            (K, D), kind = mixture.means_.shape, mixture._structure()
            held = State(state.values["online"], online)
            online_state = online_from_state(
                cls._state_class, held, mixture._structure_to_fit(), Size(K, D, kind.is_diagonal)
            )
            made = mixture._online_attributes(online_state)
            for name in cls._describing:
                found = getattr(mixture, name)
                same = np.allclose(found, made[name], rtol=1e-3, atol=1e-3 * np.abs(found).max())
                require(same, f"{name} is that of the state of partial_fit")
            mixture._go_on_from(online_state)
        return mixture

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "means_")

    def _evaluated(
        self,
        X: Rows,
        sample_weight: Weights = None,
        *,
        missing: Missing | None = None,
        annotated: bool = False,
    ) -> tuple[Source, MixtureParameters]:
        """Return checked rows and the mixture to evaluate on them."""
        if self._waiting and not hasattr(self, "means_"):
            n_rows = sum(len(each.X) for each in self._waiting)
            raise NotFittedError(
                f"This {type(self).__name__} instance is not fitted yet: it waits with {n_rows} "
                f"rows for {self._next_look} to begin with, at least {self.n_components} of them "
                "different. Call partial_fit with more rows, or fit."
            )
        check_is_fitted(self, "means_")
        return super()._evaluated(X, sample_weight, missing=missing, annotated=annotated)
