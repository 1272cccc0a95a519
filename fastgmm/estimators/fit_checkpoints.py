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
from fastgmm.estimators.checkpoints import Arrays, Checkpoint, State
from fastgmm.inference.ascent import AscentState
from fastgmm.inference.em import FitInfo, FitState
from fastgmm.inference.initialisation import InitialisationInfo
from fastgmm.inference.variational import VariationalState
from fastgmm.model.parameters import MixtureParameters
from fastgmm.model.persistence import StoredModel
from fastgmm.model.plain_arrays import arrays_of, from_arrays
from fastgmm.model.plain_posteriors import plain_posterior, posterior_from_plain
from fastgmm.model.regularisation import Regularisation
from fastgmm.model.statistics import SufficientStatistics
from fastgmm.model.variational import VariationalPosterior, VariationalPrior

_State = TypeVar("_State")
_Fitted = TypeVar("_Fitted")


class FitCheckpoint(ABC, Generic[_State, _Fitted]):
    """Keeps the checkpoint of a batch fit, if the estimator has one.

    As a context manager it writes the newest state at the end, whatever the fit ended with. Each
    way of fitting has its own subclass, which takes apart what its starts stand at and result in.

    Parameters
    ----------
    estimator : GaussianMixture
        Whose `checkpoint`, `checkpoint_interval` and `resume` say where, how often, and whether
        to go on from what is there.
    source : Source
        The data. Its size is taken over from the checkpoint.
    known : ndarray of shape (n_samples,) or None
        Components that rows are known to come from.

    Attributes
    ----------
    resumed : FitState or None
        Where the fit stood; None to begin.
    random_state : RandomState
        What starts are drawn with, put back into the state that it was in.
    seed : int
        Seed of the survey's sample.

    Raises
    ------
    CheckpointError
        If the checkpoint does not belong to this fit.
    ModelFileError
        If it is damaged.
    """

    def __init__(
        self, estimator: Any, source: Source, known: npt.NDArray[np.int64] | None = None
    ) -> None:
        self.random_state: np.random.RandomState = check_random_state(estimator.random_state)
        self.resumed: FitState[_State, _Fitted] | None = None
        self._source = source
        self._checkpoint = Checkpoint.of(estimator, source, known)
        self._stored: StoredModel | None = None
        if self._checkpoint is not None:
            self._stored = self._checkpoint.found
        if self._stored is None:
            self.seed = int(self.random_state.randint(np.iinfo(np.int32).max))
            return
        values, arrays = self._stored.values["state"], self._stored.arrays
        if estimator.random_state is None:
            self.random_state = np.random.RandomState()
        state, key = values["random_state"], arrays["random_state_key"]
        self.random_state.set_state(("MT19937", key, *state))
        self.seed = values["seed"]
        source.note_size(*values["size"])
        self.resumed = self._unpack_fit(values, arrays)

    @property
    def regularisation(self) -> Regularisation | None:
        """The amounts added to variances, where a checkpoint has them."""
        if self._stored is None:
            return None
        arrays = self._stored.arrays
        return Regularisation(arrays["regularisation"], arrays["constant"])

    def observer(
        self, regularisation: Regularisation
    ) -> Callable[[FitState[_State, _Fitted]], None] | None:
        """Return what is to be called with each state of the fit.

        Parameters
        ----------
        regularisation : Regularisation
            The amounts added to variances.

        Returns
        -------
        callable or None
            None where there is no checkpoint.
        """
        checkpoint = self._checkpoint
        if checkpoint is None:
            return None

        def observe(state: FitState[_State, _Fitted]) -> None:
            # Taken now: the generator has moved on by the time that the state is written.
            random: Any = self.random_state.get_state(legacy=True)
            checkpoint.observe(partial(self._pack, state, regularisation, random))

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
        self, state: FitState[_State, _Fitted], regularisation: Regularisation, random: Any
    ) -> State:
        values, arrays = self._pack_fit(state)
        _, key, position, has_gauss, gauss = random
        values["random_state"] = [int(position), int(has_gauss), float(gauss)]
        values["seed"] = self.seed
        values["size"] = [self._source.n_samples, self._source.total_weight]
        arrays["random_state_key"] = key
        arrays["regularisation"] = regularisation.amounts
        arrays["constant"] = regularisation.constant
        return values, arrays

    def _pack_fit(self, state: FitState[_State, _Fitted]) -> State:
        found = state.initialisation
        values: dict[str, Any] = {
            "start": state.start,
            "n_passes": state.n_passes,
            "initialisation": None if found is None else asdict(found),
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
        self, values: Mapping[str, Any], arrays: Mapping[str, Any]
    ) -> FitState[_State, _Fitted]:
        found, best = values["initialisation"], None
        if values["best"] is not None:
            info = FitInfo.from_plain(values["best"]["info"])
            best = self._unpack_best(values["best"]["fitted"], arrays), info
        return FitState(
            values["start"],
            None if found is None else InitialisationInfo(**found),
            None if values["ascent"] is None else self._unpack_state(values["ascent"], arrays),
            best,
            values["n_passes"],
        )


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

    def _unpack_state(self, values: Mapping[str, Any], arrays: Mapping[str, Any]) -> AscentState:
        statistics = None
        if values["weight"] is not None:
            statistics = from_arrays(
                SufficientStatistics,
                "statistics",
                arrays,
                log_likelihood=values["log_likelihood"],
                weight=values["weight"],
            )
        return AscentState(
            from_arrays(MixtureParameters, "current", arrays),
            from_arrays(MixtureParameters, "before", arrays),
            statistics,
            values["holding"],
            tuple(values["trace"]),
            values["n_passes"],
            values["reason"],
        )

    def _pack_best(self, fitted: MixtureParameters) -> State:
        return {}, arrays_of(fitted, "best")

    def _unpack_best(
        self,
        values: Mapping[str, Any],  # noqa: ARG002 - there are arrays only
        arrays: Mapping[str, Any],
    ) -> MixtureParameters:
        return from_arrays(MixtureParameters, "best", arrays)


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

    def _unpack_state(
        self, values: Mapping[str, Any], arrays: Mapping[str, Any]
    ) -> VariationalState:
        return VariationalState(
            posterior_from_plain("current", values["posterior"], arrays),
            values["exact"],
            tuple(values["trace"]),
            values["n_passes"],
            values["reason"],
        )

    def _pack_best(self, fitted: VariationalPosterior) -> State:
        return plain_posterior(fitted, "best")

    def _unpack_best(
        self, values: Mapping[str, Any], arrays: Mapping[str, Any]
    ) -> VariationalPosterior:
        return posterior_from_plain("best", values, arrays)
