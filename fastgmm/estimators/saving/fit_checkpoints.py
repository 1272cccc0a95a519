"""Checkpoints of a batch fit."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

import numpy as np
import numpy.typing as npt
from sklearn.utils import check_random_state

from fastgmm.data.source import Source
from fastgmm.em.initialization.methods import InitialisationInfo
from fastgmm.em.loop import FitInfo, FitState
from fastgmm.em.models.mixture import AscentState, StopReason
from fastgmm.em.models.variational import VariationalState
from fastgmm.estimators.saving.checkpoints import Arrays, Checkpoint, State
from fastgmm.io.arrays import Size, arrays_of, from_arrays
from fastgmm.io.posteriors import plain_posterior, posterior_from_plain
from fastgmm.io.values import require, typed_members
from fastgmm.mixture.parameters import MixtureParameters
from fastgmm.mixture.priors.variational import VariationalPosterior, VariationalPrior
from fastgmm.mixture.regularization import Regularization
from fastgmm.mixture.statistics import SufficientStatistics

_State = TypeVar("_State")
_Fitted = TypeVar("_Fitted")


_FIT_KINDS = {
    "start": int,
    "n_passes": int,
    "initialization": InitialisationInfo | None,
    "ascent": dict | None,
    "best": dict | None,
    "random_state": tuple[int, int, float],
    "seed": int,
    "size": tuple[int, float],
}
_VARIATIONAL_KINDS = {
    "exact": bool,
    "trace": tuple[float, ...],
    "n_passes": int,
    "reason": StopReason | None,
}
_ASCENT_KINDS = {
    "holding": bool,
    "trace": tuple[float, ...],
    "n_passes": int,
    "reason": StopReason | None,
    "log_likelihood": float | None,
    "weight": float | None,
}


class FitCheckpoint(ABC, Generic[_State, _Fitted]):
    """Keeps the checkpoint of a batch fit, if the estimator has one.

    As a context manager it writes the newest state at the end, whatever the fit ended with. Each
    way of fitting has its own subclass, which takes apart what its starts stand at and result in.
    """

    def __init__(
        self, estimator: Any, source: Source, known: npt.NDArray[np.int64] | None = None
    ) -> None:
        self.random_state: np.random.RandomState = check_random_state(estimator.random_state)
        self.resumed: FitState[_State, _Fitted] | None = None
        self.regularization: Regularization | None = None
        self._source = source
        self._estimator = estimator
        noise = getattr(estimator, "noise_volume", None) is not None
        self._size = Size(
            estimator.n_components + noise,
            source.n_features,
            estimator._structure().is_diagonal,
            has_noise=noise,
        )
        self._checkpoint = Checkpoint.of(estimator, source, known)
        if self._checkpoint is not None and _kind_of(self.random_state) != "MT19937":
            raise ValueError(
                f"random_state draws with {_kind_of(self.random_state)}, whose state a checkpoint "
                "cannot hold: give an int, or a RandomState of one"
            )
        if self._checkpoint is None or self._checkpoint.found is None:
            self.seed = int(self.random_state.randint(np.iinfo(np.int32).max))
            return
        if estimator.random_state is None:
            self.random_state = np.random.RandomState()
        self._checkpoint.read(self._unpack)

    def observer(
        self, regularization: Regularization
    ) -> Callable[[FitState[_State, _Fitted]], None] | None:
        """Return what is to be called with each state of the fit."""
        checkpoint = self._checkpoint
        if checkpoint is None:
            return None

        def observe(state: FitState[_State, _Fitted]) -> None:
            # Taken now: the generator has moved on by the time that the state is written.
            random: Any = self.random_state.get_state(legacy=True)
            checkpoint.observe(partial(self._pack, state, regularization, random))

        return observe

    def __enter__(self) -> Self:
        if self._checkpoint is not None:
            self._checkpoint.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._checkpoint is not None:
            self._checkpoint.__exit__(kind, error, traceback)

    @abstractmethod
    def _pack_state(self, state: _State) -> State:
        """Return values and arrays of a start's state."""

    @abstractmethod
    def _unpack_state(self, values: Mapping[str, Any], arrays: Mapping[str, Any]) -> _State:
        """Return the state that `_pack_state` took apart."""

    @abstractmethod
    def _pack_best(self, fitted: _Fitted) -> State:
        """Return values and arrays of the best result so far."""

    @abstractmethod
    def _unpack_best(self, values: Mapping[str, Any], arrays: Mapping[str, Any]) -> _Fitted:
        """Return the result that `_pack_best` took apart."""

    def _pack(
        self, state: FitState[_State, _Fitted], regularization: Regularization, random: Any
    ) -> State:
        values, arrays = self._pack_fit(state)
        _, key, position, has_gauss, gauss = random
        values["random_state"] = [int(position), int(has_gauss), float(gauss)]
        values["seed"] = self.seed
        values["size"] = [self._source.n_samples, self._source.total_weight]
        arrays["random_state_key"] = key
        return values, arrays | arrays_of(regularization, "regularization")

    def _unpack(self, values: Any, arrays: Mapping[str, Any]) -> None:
        """Take over what `_pack` returned."""
        told = typed_members(values, _FIT_KINDS, "state")
        require(0 <= told["seed"] < 2**32, f"seed={told['seed']} is a seed")
        key = arrays["random_state_key"]
        require(key.shape == (624,) and key.dtype == np.uint32, "random_state_key is a key")
        position, has_gauss, gauss = told["random_state"]
        require(0 <= position <= 624 and has_gauss in (0, 1), "random_state is a state")
        n_samples, weight = told["size"]
        known = self._source.n_samples
        require(n_samples >= 1 and weight > 0.0, f"size={n_samples, weight} is that of some rows")
        require(known in (None, n_samples), f"{n_samples} rows are as many as there are, {known}")
        self.regularization = from_arrays(Regularization, "regularization", arrays, self._size)
        self.resumed = self._unpack_fit(told, arrays)
        self.random_state.set_state(("MT19937", key, position, has_gauss, gauss))
        self.seed = told["seed"]
        self._source.note_size(n_samples, weight)

    def _pack_fit(self, state: FitState[_State, _Fitted]) -> State:
        found = state.initialization
        values: dict[str, Any] = {
            "start": state.start,
            "n_passes": state.n_passes,
            "initialization": None if found is None else asdict(found),
            "ascent": None,
            "best": None,
        }
        arrays: Arrays = {}
        if state.ascent is not None:
            values["ascent"], added = self._pack_state(state.ascent)
            arrays.update(added)
        if state.best is not None:
            fitted, info = state.best
            told, added = self._pack_best(fitted)
            values["best"] = {"info": asdict(info), "fitted": told}
            arrays.update(added)
        return values, arrays

    def _unpack_fit(
        self, told: Mapping[str, Any], arrays: Mapping[str, Any]
    ) -> FitState[_State, _Fitted]:
        start, best, ascent = told["start"], None, None
        if told["best"] is not None:
            held = typed_members(told["best"], {"info": FitInfo, "fitted": dict}, "best")
            best = self._unpack_best(held["fitted"], arrays), held["info"]
            n_steps = len(best[1].trace) - 1
            require(n_steps >= 0 and best[1].n_iter == n_steps, "the trace has a value a step")
            require(0 <= best[1].start < start, "the best start was before the present one")
        if told["ascent"] is not None:
            ascent = self._unpack_state(told["ascent"], arrays)
        going_on = self._estimator.warm_start and hasattr(self._estimator, "converged_")
        n_starts = 1 if going_on else self._estimator.n_init
        where = f"start={start} of {n_starts} goes with"
        require(0 <= start <= n_starts, f"{where} their number")
        require((best is None) == (start == 0), f"{where} a best one before")
        require((ascent is None) == (start == n_starts), f"{where} a state")
        require(told["n_passes"] >= 0, f"n_passes={told['n_passes']} is at least 0")
        return FitState(start, told["initialization"], ascent, best, told["n_passes"])

    def _check_trace(self, told: Mapping[str, Any]) -> None:
        """Raise unless the trace of a start and the number of its passes go together."""
        n_values = len(told["trace"])
        # Of variational Bayes, the trace has a value for the start, too.
        require(
            n_values <= self._estimator.max_iter + 1, f"{n_values} steps are no more than asked"
        )
        require(told["n_passes"] >= n_values - 1, f"n_passes={told['n_passes']} is one a step")


def _kind_of(random_state: np.random.RandomState) -> str:
    """Return the name of the algorithm that a generator draws with."""
    return str(random_state.get_state(legacy=False)["bit_generator"])


class EMCheckpoint(FitCheckpoint[AscentState, MixtureParameters]):
    """Keeps the checkpoint of a fit by EM."""

    def _pack_state(self, state: AscentState) -> State:
        statistics = state.statistics
        values = {
            "holding": state.holding,
            "trace": list(state.trace),
            "n_passes": state.n_passes,
            "reason": state.reason,
            "log_likelihood": None if statistics is None else statistics.log_likelihood,
            "weight": None if statistics is None else statistics.weight,
        }
        arrays = arrays_of(state.parameters, "current") | arrays_of(state.before, "before")
        if statistics is not None:
            arrays |= arrays_of(statistics, "statistics")
        return values, arrays

    def _unpack_state(self, values: Any, arrays: Mapping[str, Any]) -> AscentState:
        told = typed_members(values, _ASCENT_KINDS, "ascent")
        self._check_trace(told)
        weight, log_likelihood = told.pop("weight"), told.pop("log_likelihood")
        begun = bool(told["trace"])
        require(begun == (weight is not None), "there are statistics after the first step")
        statistics = None
        if begun:
            require(log_likelihood is not None and weight > 0.0, "statistics are those of rows")
            statistics = from_arrays(
                SufficientStatistics,
                "statistics",
                arrays,
                self._size,
                log_likelihood=log_likelihood,
                weight=weight,
            )
        return AscentState(
            from_arrays(MixtureParameters, "current", arrays, self._size),
            from_arrays(MixtureParameters, "before", arrays, self._size),
            statistics,
            **told,
        )

    def _pack_best(self, fitted: MixtureParameters) -> State:
        return {}, arrays_of(fitted, "best")

    def _unpack_best(
        self,
        values: Mapping[str, Any],  # noqa: ARG002 - there are arrays only
        arrays: Mapping[str, Any],
    ) -> MixtureParameters:
        return from_arrays(MixtureParameters, "best", arrays, self._size)


class VariationalCheckpoint(FitCheckpoint[VariationalState, VariationalPosterior]):
    """Keeps the checkpoint of a fit by variational Bayes."""

    @property
    def prior(self) -> VariationalPrior | None:
        """The prior, where a checkpoint has it."""
        if self.resumed is None:
            return None
        if self.resumed.ascent is not None:
            return self.resumed.ascent.posterior.prior
        return None if self.resumed.best is None else self.resumed.best[0].prior

    def _pack_state(self, state: VariationalState) -> State:
        posterior, arrays = plain_posterior(state.posterior, "current")
        values = {
            "posterior": posterior,
            "exact": state.exact,
            "trace": list(state.trace),
            "n_passes": state.n_passes,
            "reason": state.reason,
        }
        return values, arrays

    def _unpack_state(self, values: Any, arrays: Mapping[str, Any]) -> VariationalState:
        told = dict(values)
        posterior = self._posterior("current", told.pop("posterior"), arrays)
        told = typed_members(told, _VARIATIONAL_KINDS, "ascent")
        self._check_trace(told)
        return VariationalState(posterior, **told)

    def _pack_best(self, fitted: VariationalPosterior) -> State:
        return plain_posterior(fitted, "best")

    def _unpack_best(
        self, values: Mapping[str, Any], arrays: Mapping[str, Any]
    ) -> VariationalPosterior:
        return self._posterior("best", values, arrays)

    def _posterior(
        self, prefix: str, values: Any, arrays: Mapping[str, Any]
    ) -> VariationalPosterior:
        """Return a posterior whose prior of the weights is of the type asked for."""
        posterior = posterior_from_plain(prefix, values, arrays, self._size)
        found, asked = posterior.prior.weights.name, self._estimator.weight_concentration_prior_type
        require(found == asked, f"the prior of the weights is {asked}, not {found}")
        return posterior
