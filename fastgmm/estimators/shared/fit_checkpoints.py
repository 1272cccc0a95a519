"""Checkpoints of the estimators' fits: what a fit is recognized by, and where it stands."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable, Mapping
from dataclasses import asdict, fields, is_dataclass
from functools import partial
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
import numpy.typing as npt
from sklearn.utils import check_random_state

from fastgmm.data.source import Source
from fastgmm.data.sources.dask_collection import is_dask_values, token_of
from fastgmm.em.initialization.methods import InitializationInfo
from fastgmm.em.loop import FitState, StartState
from fastgmm.em.models.variational import VariationalStatistics
from fastgmm.em.stopping import StoppingRule
from fastgmm.estimators.shared.fit_states import (
    best_from_state,
    best_to_state,
    from_earlier_fit,
    start_from_state,
    start_to_state,
)
from fastgmm.estimators.shared.interfaces import BatchEstimator
from fastgmm.io.checkpoint import Checkpoint, Checkpointed
from fastgmm.io.states import Size, State, from_state, require, to_state, typed_members
from fastgmm.mixture.parameters import MixtureParameters
from fastgmm.mixture.priors.conjugate import ConjugatePriors
from fastgmm.mixture.priors.variational import VariationalPosterior, VariationalPrior
from fastgmm.mixture.regularization import Regularization
from fastgmm.mixture.statistics import SufficientStatistics
from fastgmm.mixture.values import Value

_Fitted = TypeVar("_Fitted", bound=MixtureParameters | VariationalPosterior)
_Statistics = TypeVar("_Statistics", bound=SufficientStatistics | VariationalStatistics)

_FREE_PARAMETERS = frozenset(
    {"checkpoint", "checkpoint_interval", "n_jobs", "resume", "verbose", "verbose_interval"}
)
"""Parameters on which the result does not depend."""

_KINDS = {
    "start": int,
    "n_passes": int,
    "initialization": InitializationInfo | None,
    "current": dict | None,
    "best": dict | None,
    "random_state": tuple[int, int, float],
    "seed": int,
    "size": tuple[int, float],
}


def checkpoint_of(
    estimator: BatchEstimator, source: Source, known: Any = None
) -> Checkpoint | None:
    """Return the checkpoint of a fit, if the estimator has one."""
    if estimator.checkpoint is None:
        return None
    fingerprint = fit_fingerprint(estimator, source, known)
    return Checkpoint(
        estimator.checkpoint, estimator.checkpoint_interval, fingerprint, estimator.resume
    )


def fit_fingerprint(estimator: BatchEstimator, source: Source, known: Any = None) -> dict[str, Any]:
    """Return what the result of a fit depends on, in values that JSON knows."""
    parameters = estimator.get_params(deep=False).items()
    return {
        "class": type(estimator).__name__,
        "parameters": {
            name: _identity(value) for name, value in parameters if name not in _FREE_PARAMETERS
        },
        "data": {**source.fingerprint(), "y": _identity(known)},
    }


def _identity(value: Any) -> Any:
    """Return a parameter as JSON can say it: arrays and states of generators by their digest."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.random.RandomState):
        return {"RandomState": _digest(pickle.dumps(value.get_state(legacy=False)))}
    if isinstance(value, ConjugatePriors):
        return value.plain()
    if isinstance(value, dict):
        return {name: _identity(value[name]) for name in sorted(value)}
    if isinstance(value, StoppingRule | Value):
        names = [each.name for each in fields(value)] if is_dataclass(value) else vars(value)
        held = {name: _identity(getattr(value, name)) for name in names}
        return {"class": type(value).__qualname__, **held}
    if is_dask_values(value):
        return {"token": token_of(value)}
    array = np.asarray(value, dtype=np.float64)
    return {"shape": list(array.shape), "digest": _digest(array.tobytes())}


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()


class FitCheckpoint(Checkpointed, Generic[_Fitted, _Statistics]):
    """Keeps the checkpoint of a batch fit, if the estimator has one.

    As a context manager it writes the newest state at the end, whatever the fit ended with.
    """

    _is_variational: ClassVar[bool]

    def __init__(self, estimator: BatchEstimator, source: Source, known: Any = None) -> None:
        self.random_state: np.random.RandomState = check_random_state(estimator.random_state)
        self.resumed: FitState[_Fitted, _Statistics] | None = None
        self.regularization: Regularization | None = None
        self._source = source
        self._estimator = estimator
        noise = getattr(estimator, "noise_volume", None) is not None
        kind = estimator._structure_asked()
        self._size = Size(
            estimator.n_components + noise,
            source.n_features,
            kind.is_diagonal,
            has_noise=noise,
            n_factors=kind.n_factors,
        )
        self._checkpoint = checkpoint_of(estimator, source, known)
        generator = self.random_state.get_state(legacy=False)["bit_generator"]
        if self._checkpoint is not None and generator != "MT19937":
            raise ValueError(
                f"random_state draws with {generator}, whose state a checkpoint cannot hold: give "
                "an int, or a RandomState of one"
            )
        if self._checkpoint is None or self._checkpoint.found is None:
            self.seed = int(self.random_state.randint(np.iinfo(np.int32).max))
            return
        if estimator.random_state is None:
            self.random_state = np.random.RandomState()
        self._checkpoint.read(self._restore)

    def observer(
        self, regularization: Regularization
    ) -> Callable[[FitState[_Fitted, _Statistics]], None] | None:
        """Return what is to be called with each state of the fit."""
        checkpoint = self._checkpoint
        if checkpoint is None:
            return None

        def observe(fit: FitState[_Fitted, _Statistics]) -> None:
            # Taken now: the generator has moved on by the time that the state is written.
            random: Any = self.random_state.get_state(legacy=True)
            checkpoint.observe(partial(self._to_state, fit, regularization, random))

        return observe

    def _to_state(
        self, fit: FitState[_Fitted, _Statistics], regularization: Regularization, random: Any
    ) -> State:
        _, key, position, has_gauss, gauss = random
        found = fit.initialization
        none = State({}, {})
        current = none if fit.current is None else start_to_state(fit.current)
        best = none if fit.best is None else best_to_state(fit.best)
        values = {
            "start": fit.start,
            "n_passes": fit.n_passes,
            "initialization": None if found is None else asdict(found),
            "current": current.values or None,
            "best": best.values or None,
            "random_state": [int(position), int(has_gauss), float(gauss)],
            "seed": self.seed,
            "size": [self._source.n_samples, self._source.total_weight],
        }
        held = to_state(regularization, "regularization").arrays
        return State(values, {**current.arrays, **best.arrays, **held, "random_state_key": key})

    def _restore(self, state: State) -> None:
        """Take over what `_to_state` returned."""
        state = from_earlier_fit(state)
        kept = typed_members(state.values, _KINDS, "state")
        arrays = state.arrays
        require(0 <= kept["seed"] < 2**32, f"seed={kept['seed']} is a seed")
        key = arrays["random_state_key"]
        require(key.shape == (624,) and key.dtype == np.uint32, "random_state_key is a key")
        # From a state of zeros the generator draws zeros for ever, and never a normal number.
        require(bool(key[1:].any() or key[0] >> 31), "random_state_key is a key, not zeros")
        position, has_gauss, gauss = kept["random_state"]
        require(0 <= position <= 624 and has_gauss in (0, 1), "random_state is a state")
        n_samples, weight = kept["size"]
        known = self._source.n_samples
        require(n_samples >= 1 and weight > 0.0, f"size={n_samples, weight} is that of some rows")
        require(known in (None, n_samples), f"{n_samples} rows are as many as there are, {known}")
        self.regularization = from_state(Regularization, "regularization", state, self._size)
        self.resumed = self._fit_from_state(kept, arrays)
        self.random_state.set_state(("MT19937", key, position, has_gauss, gauss))
        self.seed = kept["seed"]
        self._source.note_size(n_samples, weight)

    def _fit_from_state(
        self, kept: Mapping[str, Any], arrays: dict[str, npt.NDArray[Any]]
    ) -> FitState[_Fitted, _Statistics]:
        start, best, current = kept["start"], None, None
        if kept["best"] is not None:
            held = State(kept["best"], arrays)
            best = best_from_state(held, self._size, self._is_variational)
            require(0 <= best[1].start < start, "the best start was before the present one")
        if kept["current"] is not None:
            held = State(kept["current"], arrays)
            current = start_from_state(held, self._size, self._is_variational)
            n_values = len(current.trace)
            most = self._estimator.max_iter + 1
            require(n_values <= most, f"{n_values} steps are no more than asked")
            require(current.n_passes >= n_values - 1, f"n_passes={current.n_passes} is one a step")
        continued = self._estimator.warm_start and hasattr(self._estimator, "converged_")
        n_starts = 1 if continued else self._estimator.n_init
        where = f"start={start} of {n_starts} goes with"
        require(0 <= start <= n_starts, f"{where} their number")
        require((best is None) == (start == 0), f"{where} a best one before")
        require((current is None) == (start == n_starts), f"{where} a state")
        require(kept["n_passes"] >= 0, f"n_passes={kept['n_passes']} is at least 0")
        if current is None and best is not None and best[1].reason == "max_iter":
            parameters, info = best
            if info.n_iter < self._estimator.max_iter:  # it was fewer: the best start continues
                current = StartState(parameters, trace=info.trace)
                last = n_starts - 1
                return FitState(last, info.initialization, current, None, kept["n_passes"])
        return FitState(start, kept["initialization"], current, best, kept["n_passes"])


class EMCheckpoint(FitCheckpoint[MixtureParameters, SufficientStatistics]):
    """Keeps the checkpoint of a fit by EM."""

    _is_variational = False


class VariationalCheckpoint(FitCheckpoint[VariationalPosterior, VariationalStatistics]):
    """Keeps the checkpoint of a fit by variational Bayes."""

    _is_variational = True
    prior: VariationalPrior | None = None
    """The prior, where a checkpoint has it."""

    def _restore(self, state: State) -> None:
        super()._restore(state)
        assert self.resumed is not None
        current, best = self.resumed.current, self.resumed.best
        posteriors = [] if best is None else [best[0]]
        if current is not None:
            posteriors.insert(0, current.parameters)
        asked = vars(self._estimator)["weight_concentration_prior_type"]
        for posterior in posteriors:
            found = posterior.prior.weights.name
            require(found == asked, f"the prior of the weights is {asked}, not {found}")
        self.prior = posteriors[0].prior
