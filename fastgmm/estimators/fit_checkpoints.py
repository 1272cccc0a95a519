"""Checkpoints of a batch fit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from types import TracebackType
from typing import Any, Self

import numpy as np
from sklearn.utils import check_random_state

from fastgmm.data.source import Source
from fastgmm.estimators.checkpoints import Arrays, Checkpoint, State
from fastgmm.inference.ascent import AscentState
from fastgmm.inference.em import EMState, FitInfo, FitState
from fastgmm.inference.initialisation import InitialisationInfo
from fastgmm.model.parameters import MixtureParameters
from fastgmm.model.persistence import StoredModel
from fastgmm.model.plain_arrays import arrays_of, from_arrays
from fastgmm.model.regularisation import Regularisation
from fastgmm.model.statistics import SufficientStatistics


class FitCheckpoint:
    """Keeps the checkpoint of a batch fit, if the estimator has one.

    As a context manager it writes the newest state at the end, whatever the fit ended with.

    Parameters
    ----------
    estimator : GaussianMixture
        Whose `checkpoint`, `checkpoint_interval` and `resume` say where, how often, and whether
        to go on from what is there.
    source : Source
        The data. Its size is taken over from the checkpoint.

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

    def __init__(self, estimator: Any, source: Source) -> None:
        self.random_state: np.random.RandomState = check_random_state(estimator.random_state)
        self.resumed: EMState | None = None
        self._source = source
        self._checkpoint = Checkpoint.of(estimator, source)
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
        self.resumed = _unpack_fit(values, arrays)

    @property
    def regularisation(self) -> Regularisation | None:
        """The amounts added to variances, where a checkpoint has them."""
        if self._stored is None:
            return None
        arrays = self._stored.arrays
        return Regularisation(arrays["regularisation"], arrays["constant"])

    def observer(self, regularisation: Regularisation) -> Callable[[EMState], None] | None:
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

        def observe(state: EMState) -> None:
            # Taken now: the generator has moved on by the time that the state is written.
            random: Any = self.random_state.get_state(legacy=True)
            checkpoint.observe(partial(self._pack, state, regularisation, random))

        return observe

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._checkpoint is not None:
            self._checkpoint.write()

    def _pack(self, state: EMState, regularisation: Regularisation, random: Any) -> State:
        values, arrays = _pack_fit(state)
        _, key, position, has_gauss, gauss = random
        values["random_state"] = [int(position), int(has_gauss), float(gauss)]
        values["seed"] = self.seed
        values["size"] = [self._source.n_samples, self._source.total_weight]
        arrays["random_state_key"] = key
        arrays["regularisation"] = regularisation.amounts
        arrays["constant"] = regularisation.constant
        return values, arrays


def _pack_fit(state: EMState) -> State:
    values: dict[str, Any] = {
        "start": state.start,
        "n_passes": state.n_passes,
        "initialisation": None if state.initialisation is None else asdict(state.initialisation),
        "ascent": None,
        "best": None,
    }
    arrays: Arrays = {}
    ascent = state.ascent
    if ascent is not None:
        statistics = ascent.statistics
        values["ascent"] = {
            "holding": ascent.holding,
            "trace": list(ascent.trace),
            "n_passes": ascent.n_passes,
            "reason": ascent.reason,
            "log_likelihood": None if statistics is None else statistics.log_likelihood,
            "weight": None if statistics is None else statistics.weight,
        }
        arrays.update(arrays_of(ascent.parameters, "current"))
        arrays.update(arrays_of(ascent.before, "before"))
        if statistics is not None:
            arrays.update(arrays_of(statistics, "statistics"))
    if state.best is not None:
        parameters, info = state.best
        values["best"] = asdict(info)
        arrays.update(arrays_of(parameters, "best"))
    return values, arrays


def _unpack_fit(values: Mapping[str, Any], arrays: Mapping[str, Any]) -> EMState:
    ascent: AscentState | None = None
    if values["ascent"] is not None:
        told = values["ascent"]
        statistics = None
        if told["weight"] is not None:
            statistics = from_arrays(
                SufficientStatistics,
                "statistics",
                arrays,
                log_likelihood=told["log_likelihood"],
                weight=told["weight"],
            )
        ascent = AscentState(
            from_arrays(MixtureParameters, "current", arrays),
            from_arrays(MixtureParameters, "before", arrays),
            statistics,
            told["holding"],
            tuple(told["trace"]),
            told["n_passes"],
            told["reason"],
        )
    found = values["initialisation"]
    best: tuple[MixtureParameters, FitInfo] | None = None
    if values["best"] is not None:
        info = FitInfo.from_plain(values["best"])
        best = from_arrays(MixtureParameters, "best", arrays), info
    return FitState(
        values["start"],
        None if found is None else InitialisationInfo(**found),
        ascent,
        best,
        values["n_passes"],
    )
