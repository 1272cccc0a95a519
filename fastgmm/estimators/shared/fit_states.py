"""The states of fits as files hold them: the one place that knows their entries."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, TypeVar

import numpy as np

from fastgmm.em.loop import FitInfo, StartState, StopReason
from fastgmm.em.online.minibatch import MinibatchState
from fastgmm.em.online.steps import OnlineState
from fastgmm.em.online.variational import VariationalOnlineState
from fastgmm.io.states import (
    Size,
    State,
    from_state,
    parameters_from_state,
    posterior_from_state,
    posterior_to_state,
    require,
    to_state,
    typed,
    typed_members,
)
from fastgmm.mixture.parameters import MixtureParameters
from fastgmm.mixture.priors.variational import VariationalPosterior
from fastgmm.mixture.regularization import Regularization
from fastgmm.mixture.statistics import SufficientStatistics
from fastgmm.mixture.structures import CovarianceStructure
from fastgmm.mixture.student import StudentStatistics

_Online = TypeVar("_Online", bound=OnlineState)


_START_KINDS = {
    "trace": tuple[float, ...],
    "careful": bool,
    "n_passes": int,
    "reason": StopReason | None,
    "longest": float | None,
}


def start_to_state(start: StartState[Any, Any]) -> State:
    """Return what a checkpoint holds of where one start stands."""
    values: dict[str, Any] = {name: getattr(start, name) for name in _START_KINDS}
    if isinstance(start.parameters, VariationalPosterior):
        posterior = posterior_to_state(start.parameters, "current")
        return State({**values, "posterior": posterior.values}, posterior.arrays)
    arrays = to_state(start.parameters, "current").arrays
    statistics: SufficientStatistics | None = start.statistics
    # A pass that was the last took no moments, and none are needed any more.
    if statistics is None or not statistics.n_components:
        return State({**values, "log_likelihood": None, "weight": None}, arrays)
    own = to_state(statistics, "statistics")
    values["earlier"] = []
    for number, each in enumerate(start.earlier):
        held = to_state(each, f"earlier_{number}")
        values["earlier"].append([held.values["log_likelihood"], held.values["weight"]])
        arrays |= held.arrays
    return State(values | own.values, arrays | own.arrays)


def start_from_state(state: State, size: Size, is_variational: bool) -> StartState[Any, Any]:
    """Return where a start stands, from what `start_to_state` returned."""
    values, arrays = dict(state.values), state.arrays
    parameters: MixtureParameters | VariationalPosterior
    statistics = None
    numbers = typed(values.pop("earlier", []), tuple[tuple[float, float], ...], "earlier")
    earlier = tuple(
        _statistics_from_state(f"earlier_{i}", each, arrays, size) for i, each in enumerate(numbers)
    )
    if is_variational:
        posterior = State(values.pop("posterior"), arrays)
        parameters = posterior_from_state("current", posterior, size)
    else:
        parameters = parameters_from_state("current", state, size)
        own = State({name: values.pop(name) for name in ("log_likelihood", "weight")}, arrays)
        if own.values["weight"] is not None:
            is_student = "statistics_scaled_counts" in arrays
            kind = StudentStatistics if is_student else SufficientStatistics
            statistics = from_state(kind, "statistics", own, size)
    members = typed_members(values, _START_KINDS, "current")
    return StartState(parameters, statistics, earlier=earlier, **members)


def from_earlier_fit(state: State) -> State:
    """Return the state of a fit as it is now where one of November 2026 is given.

    The statistics beside a start were those of the parameters before it.
    """
    if "ascent" not in state.values:
        return state
    values, arrays = dict(state.values), dict(state.arrays)
    start = values.pop("ascent")
    if start is not None:
        start = {**start, "reason": None}
        start["careful"] = start.pop("exact" if "exact" in start else "holding")
        if start.get("weight") is not None:
            arrays |= {f"current_{name}": array for name, array in state.part("before_").items()}
    return State({**values, "current": start}, arrays)


def best_to_state(best: tuple[MixtureParameters | VariationalPosterior, FitInfo]) -> State:
    """Return what a checkpoint holds of the best of the starts so far."""
    fitted, info = best
    if isinstance(fitted, VariationalPosterior):
        values, arrays = posterior_to_state(fitted, "best")
    else:
        values, arrays = to_state(fitted, "best")
    return State({"info": asdict(info), "fitted": values}, arrays)


def best_from_state(state: State, size: Size, is_variational: bool) -> tuple[Any, FitInfo]:
    """Return the best of the starts that `best_to_state` took apart."""
    kinds = {"info": FitInfo, "fitted": dict}
    held = typed_members(state.values, kinds, "best")
    info: FitInfo = held["info"]
    n_steps = len(info.trace) - 1
    require(n_steps >= 0 and info.n_iter == n_steps, "the trace has a value a step")
    if is_variational:
        return posterior_from_state("best", State(held["fitted"], state.arrays), size), info
    return parameters_from_state("best", state, size), info


def online_to_state(online: OnlineState) -> State:
    """Return what files hold of a state of online learning."""
    values, arrays = to_state(online, "online")
    arrays |= to_state(online.parameters, "online").arrays
    arrays |= to_state(online.regularization, "online").arrays
    for name, statistics in (("statistics", online.statistics), ("averaged", online.averaged)):
        values[name] = None
        if statistics is not None:
            own = to_state(statistics, f"online_{name}")
            values[name] = [own.values["log_likelihood"], own.values["weight"]]
            arrays |= own.arrays
    if isinstance(online, VariationalOnlineState):
        posterior = posterior_to_state(online.posterior, "online_posterior")
        values["posterior"] = posterior.values
        arrays |= posterior.arrays
    return State(values, arrays)


def online_from_state(
    kind: type[_Online], state: State, structure: CovarianceStructure, size: Size
) -> _Online:
    """Return the state of online learning that `online_to_state` took apart."""
    values, arrays = dict(state.values), state.arrays
    parts: dict[str, Any] = {"averaged": None}
    for name in ("statistics", "averaged"):
        numbers = typed(values.pop(name), tuple[float, float] | None, f"online.{name}")
        if numbers is not None:
            parts[name] = _statistics_from_state(f"online_{name}", numbers, arrays, size)
    if issubclass(kind, VariationalOnlineState):
        held = State(values.pop("posterior"), arrays)
        parts["posterior"] = posterior_from_state("online_posterior", held, size)
        parts["parameters"] = from_state(MixtureParameters, "online", state, size)
        _check_same(parts["parameters"], parts["posterior"].expected_parameters(), 1e-6)
    else:
        parts["parameters"] = parameters_from_state("online", state, size)
    parts["regularization"] = from_state(Regularization, "online", state, size)
    online = from_state(kind, "online", State(values, arrays), size, **parts)
    for name in ("time", "weight", "n_rows", "n_steps"):
        require(getattr(online, name) >= 0, f"{name}={getattr(online, name):.6g} is at least 0")
    for name in ("unit", "mass"):
        number = getattr(online, name, 1.0)
        require(number > 0.0, f"{name}={number:.6g} is positive")
    with np.errstate(all="ignore"):
        _check_solved(online, structure)
    return online


def _statistics_from_state(
    name: str, numbers: tuple[float, float], arrays: Any, size: Size
) -> SufficientStatistics:
    """Return statistics whose log-likelihood and weight are given apart."""
    held = State(dict(zip(("log_likelihood", "weight"), numbers, strict=True)), arrays)
    return from_state(SufficientStatistics, name, held, size)


def _check_solved(online: OnlineState, structure: CovarianceStructure) -> None:
    """Raise unless parameters, or a posterior, follow from the statistics beside them."""
    if isinstance(online, VariationalOnlineState):
        _check_same(online.posterior, online.solved(structure).posterior, 0.05)
    else:
        made = structure.solve(online.statistics, online.regularization, online.parameters)
        _check_same(online.parameters, made, 0.05)


def _check_same(found: Any, made: Any, tolerance: float) -> None:
    """Raise unless parameters, or a posterior, are those that follow from other parts."""
    for name in ("weights", "log_normalizers", "concentrations", "means", "whiteners"):
        if hasattr(found, name):
            one, other = getattr(found, name), getattr(made, name)
            least = tolerance * float(np.abs(one).max())
            same = np.allclose(one, other, rtol=tolerance, atol=least)
            require(same, f"online_{name} follow from what is beside them")


def minibatch_to_state(fit: MinibatchState) -> State:
    """Return what a checkpoint holds of a fit in batches."""
    online = online_to_state(fit.online)
    return State({"online": online.values, **to_state(fit, "fit").values}, online.arrays)


def minibatch_from_state(
    state: State, structure: CovarianceStructure, size: Size
) -> MinibatchState:
    """Return the fit in batches that `minibatch_to_state` took apart."""
    values, arrays = dict(state.values), state.arrays
    online = online_from_state(OnlineState, State(values.pop("online"), arrays), structure, size)
    fit = from_state(MinibatchState, "fit", State(values, arrays), size, online=online)
    for name in ("epoch", "n_rows"):
        require(getattr(fit, name) >= 0, f"{name}={getattr(fit, name)} is at least 0")
    require(0 <= fit.seed < 2**32, f"seed={fit.seed} is a seed")
    require(fit.held_out[1] >= 0.0, "the weight of the rows held out is at least 0")
    require(len(fit.scores) == fit.epoch + 1, f"{len(fit.scores)} scores are one more than epochs")
    return fit
