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
from fastgmm.em.initialization.methods import InitializationInfo
from fastgmm.em.loop import FitInfo, FitState, StartState, StopReason
from fastgmm.em.models.variational import VariationalStatistics
from fastgmm.estimators.saving.checkpoints import Arrays, Checkpoint, State
from fastgmm.io.arrays import Size, arrays_of, from_arrays
from fastgmm.io.posteriors import plain_posterior, posterior_from_plain
from fastgmm.io.values import require, typed_members
from fastgmm.mixture.parameters import MixtureParameters
from fastgmm.mixture.priors.variational import VariationalPosterior, VariationalPrior
from fastgmm.mixture.regularization import Regularization
from fastgmm.mixture.statistics import SufficientStatistics

_Fitted = TypeVar("_Fitted")
_Statistics = TypeVar("_Statistics")


_FIT_KINDS = {
    "start": int,
    "n_passes": int,
    "initialization": InitializationInfo | None,
    "current": dict | None,
    "best": dict | None,
    "random_state": tuple[int, int, float],
    "seed": int,
    "size": tuple[int, float],
}
_START_KINDS = {
    "trace": tuple[float, ...],
    "careful": bool,
    "n_passes": int,
    "reason": StopReason | None,
}
_STATISTICS_KINDS = {"log_likelihood": float | None, "weight": float | None}


class FitCheckpoint(ABC, Generic[_Fitted, _Statistics]):
    """Keeps the checkpoint of a batch fit, if the estimator has one.

    As a context manager it writes the newest state at the end, whatever the fit ended with. Each
    way of fitting has its own subclass, which takes apart what its starts stand at and result in.
    """

    def __init__(
        self, estimator: Any, source: Source, known: npt.NDArray[np.int64] | None = None
    ) -> None:
        self.random_state: np.random.RandomState = check_random_state(estimator.random_state)
        self.resumed: FitState[_Fitted, _Statistics] | None = None
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
    ) -> Callable[[FitState[_Fitted, _Statistics]], None] | None:
        """Return what is to be called with each state of the fit."""
        checkpoint = self._checkpoint
        if checkpoint is None:
            return None

        def observe(state: FitState[_Fitted, _Statistics]) -> None:
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
    def _pack_start(self, state: StartState[_Fitted, _Statistics]) -> State:
        """Return values and arrays of what a start has of its own."""

    @abstractmethod
    def _unpack_start(
        self, values: dict[str, Any], arrays: Mapping[str, Any]
    ) -> tuple[_Fitted, _Statistics | None]:
        """Return what `_pack_start` packed: the parameters, and the statistics if there are any."""

    @abstractmethod
    def _pack_best(self, fitted: _Fitted) -> State:
        """Return values and arrays of the best result so far."""

    @abstractmethod
    def _unpack_best(self, values: Mapping[str, Any], arrays: Mapping[str, Any]) -> _Fitted:
        """Return the result that `_pack_best` took apart."""

    def _pack(
        self, state: FitState[_Fitted, _Statistics], regularization: Regularization, random: Any
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

    def _pack_fit(self, state: FitState[_Fitted, _Statistics]) -> State:
        found = state.initialization
        values: dict[str, Any] = {
            "start": state.start,
            "n_passes": state.n_passes,
            "initialization": None if found is None else asdict(found),
            "current": None,
            "best": None,
        }
        arrays: Arrays = {}
        if state.current is not None:
            own, added = self._pack_start(state.current)
            told = {name: getattr(state.current, name) for name in _START_KINDS}
            values["current"] = {**own, **told, "trace": list(state.current.trace)}
            arrays.update(added)
        if state.best is not None:
            fitted, info = state.best
            told, added = self._pack_best(fitted)
            values["best"] = {"info": asdict(info), "fitted": told}
            arrays.update(added)
        return values, arrays

    def _unpack_fit(
        self, told: Mapping[str, Any], arrays: Mapping[str, Any]
    ) -> FitState[_Fitted, _Statistics]:
        start, best, current = told["start"], None, None
        if told["best"] is not None:
            held = typed_members(told["best"], {"info": FitInfo, "fitted": dict}, "best")
            best = self._unpack_best(held["fitted"], arrays), held["info"]
            n_steps = len(best[1].trace) - 1
            require(n_steps >= 0 and best[1].n_iter == n_steps, "the trace has a value a step")
            require(0 <= best[1].start < start, "the best start was before the present one")
        if told["current"] is not None:
            current = self._unpack_current(dict(told["current"]), arrays)
        going_on = self._estimator.warm_start and hasattr(self._estimator, "converged_")
        n_starts = 1 if going_on else self._estimator.n_init
        where = f"start={start} of {n_starts} goes with"
        require(0 <= start <= n_starts, f"{where} their number")
        require((best is None) == (start == 0), f"{where} a best one before")
        require((current is None) == (start == n_starts), f"{where} a state")
        require(told["n_passes"] >= 0, f"n_passes={told['n_passes']} is at least 0")
        return FitState(start, told["initialization"], current, best, told["n_passes"])

    def _unpack_current(
        self, values: dict[str, Any], arrays: Mapping[str, Any]
    ) -> StartState[_Fitted, _Statistics]:
        own = {name: values.pop(name) for name in set(values) - set(_START_KINDS)}
        told = typed_members(values, _START_KINDS, "current")
        n_values = len(told["trace"])
        require(
            n_values <= self._estimator.max_iter + 1, f"{n_values} steps are no more than asked"
        )
        require(told["n_passes"] >= n_values - 1, f"n_passes={told['n_passes']} is one a step")
        return StartState(*self._unpack_start(own, arrays), **told)


def _kind_of(random_state: np.random.RandomState) -> str:
    """Return the name of the algorithm that a generator draws with."""
    return str(random_state.get_state(legacy=False)["bit_generator"])


class EMCheckpoint(FitCheckpoint[MixtureParameters, SufficientStatistics]):
    """Keeps the checkpoint of a fit by EM."""

    def _pack_start(self, state: StartState[MixtureParameters, SufficientStatistics]) -> State:
        # A pass that was the last took no moments, and none are needed any more.
        statistics = state.statistics
        arrays = arrays_of(state.parameters, "current")
        if statistics is None or not statistics.n_components:
            return {"log_likelihood": None, "weight": None}, arrays
        values = {"log_likelihood": statistics.log_likelihood, "weight": statistics.weight}
        return values, arrays | arrays_of(statistics, "statistics")

    def _unpack_start(
        self, values: dict[str, Any], arrays: Mapping[str, Any]
    ) -> tuple[MixtureParameters, SufficientStatistics | None]:
        told = typed_members(values, _STATISTICS_KINDS, "current")
        parameters = from_arrays(MixtureParameters, "current", arrays, self._size)
        weight, log_likelihood = told["weight"], told["log_likelihood"]
        if weight is None:
            return parameters, None
        require(log_likelihood is not None and weight > 0.0, "statistics are those of rows")
        statistics = from_arrays(
            SufficientStatistics,
            "statistics",
            arrays,
            self._size,
            log_likelihood=log_likelihood,
            weight=weight,
        )
        return parameters, statistics

    def _pack_best(self, fitted: MixtureParameters) -> State:
        return {}, arrays_of(fitted, "best")

    def _unpack_best(
        self,
        values: Mapping[str, Any],  # noqa: ARG002 - there are arrays only
        arrays: Mapping[str, Any],
    ) -> MixtureParameters:
        return from_arrays(MixtureParameters, "best", arrays, self._size)


class VariationalCheckpoint(FitCheckpoint[VariationalPosterior, VariationalStatistics]):
    """Keeps the checkpoint of a fit by variational Bayes."""

    @property
    def prior(self) -> VariationalPrior | None:
        """The prior, where a checkpoint has it."""
        if self.resumed is None:
            return None
        if self.resumed.current is not None:
            return self.resumed.current.parameters.prior
        return None if self.resumed.best is None else self.resumed.best[0].prior

    def _pack_start(self, state: StartState[VariationalPosterior, VariationalStatistics]) -> State:
        values, arrays = plain_posterior(state.parameters, "current")
        return {"posterior": values}, arrays

    def _unpack_start(
        self, values: dict[str, Any], arrays: Mapping[str, Any]
    ) -> tuple[VariationalPosterior, None]:
        told = typed_members(values, {"posterior": dict}, "current")
        return self._posterior("current", told["posterior"], arrays), None

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
