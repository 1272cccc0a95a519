"""The mixtures of a search that are fitted so far, kept in its checkpoint if it has one.

What the checkpoint holds of a candidate is its first fit, which depends on no other candidate:
candidates are fitted again from each other once all are known, and so in the same order when a
search resumes, which ends with the same bits.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from fastgmm.analysis.search import Candidate, SearchPlan, with_entropies
from fastgmm.data.source import Source
from fastgmm.em.loop import FitInfo
from fastgmm.io.checkpoint import Checkpoint, Checkpointed
from fastgmm.io.states import Size, State, parameters_from_state, require, to_state, typed_members
from fastgmm.mixture.parameters import MixtureParameters

Key = tuple[str, int]
"""The label of a structure, and a number of components."""

_FIGURES = ("log_likelihood", "bic", "aic", "icl", "n_iter", "converged", "failure")
_KINDS = {
    **dict.fromkeys(_FIGURES[:4], float | None),
    "n_iter": int,
    "converged": bool,
    "failure": str | None,
}
_SHAPING = ("init_params", "tol", "reg_covar", "max_iter", "missing")
"""Parameters on which each mixture depends; others of the search may differ when it resumes."""


class KnownCandidates(Checkpointed):
    """What a search has found; a context manager that writes the checkpoint at the end, too."""

    def __init__(self, search: Any, source: Source, plan: SearchPlan) -> None:
        self.found: dict[Key, Candidate] = {}
        self._first: dict[Key, Candidate] = {}
        names = ("n_features_in_", "feature_names_in_")
        self.features = {name: vars(search)[name] for name in names if name in vars(search)}
        self._source = source
        self._plan = plan
        self._report: Callable[[KnownCandidates], None] | None = search.on_candidate
        self._checkpoint = None
        if search.checkpoint is None:
            return
        fingerprint = {
            "class": type(search).__name__,
            "parameters": {name: getattr(search, name) for name in _SHAPING},
            "data": source.fingerprint(),
        }
        self._checkpoint = Checkpoint(
            search.checkpoint, search.checkpoint_interval, fingerprint, search.resume
        )
        if self._checkpoint.found is not None:
            self.found = self._checkpoint.read(self._restore)
            self._first = dict(self.found)

    @property
    def counts(self) -> tuple[int, int]:
        """How many candidates are known, and how many there are."""
        return len(self.found), len(self._plan.grid)

    def add(self, candidate: Candidate) -> None:
        """Keep a candidate that was fitted, unless a likelier one of its kind is known."""
        key = candidate.structure.label, candidate.n_components
        self._first.setdefault(key, candidate)
        old = self.found.get(key)
        if old is None or old.failure is not None or candidate.log_likelihood > old.log_likelihood:
            self.found[key] = candidate
        if self._checkpoint is not None:
            self._checkpoint.observe(self._to_state)
        if self._report is not None:
            self._report(self)

    def all_candidates(self) -> list[Candidate]:
        """Return all candidates with their criteria; those that are not fitted as failed."""
        why = "the search was interrupted before"
        n_features = self._source.n_features
        blank = [
            Candidate(kind, k, kind.n_parameters(k, n_features)) for kind, k in self._plan.grid
        ]
        known = [
            self.found.get((each.structure.label, each.n_components), each.failed(why))
            for each in blank
        ]
        return with_entropies(self._source, known, self._plan)

    def info_of(self, candidate: Candidate) -> FitInfo:
        """Return how the fit of a candidate went, of which the end is known."""
        mean = candidate.log_likelihood / self._source.total_weight
        passes, converged = candidate.n_iter, candidate.converged
        return FitInfo((mean,), 0, passes, converged, "callback", 0.0, 1, 0, ())

    def _to_state(self) -> State:
        values: list[dict[str, Any]] = []
        arrays: dict[str, Any] = {}
        for number, ((name, size), each) in enumerate(self._first.items()):
            figures = {figure: getattr(each, figure) for figure in _FIGURES}
            plain = {
                figure: None if isinstance(value, float) and math.isnan(value) else value
                for figure, value in figures.items()
            }
            values.append({"structure": name, "n_components": size, **plain})
            if each.failure is None:
                arrays |= to_state(each.parameters(), f"{number}").arrays
        return State({"candidates": values}, arrays)

    def _restore(self, state: State) -> dict[Key, Candidate]:
        """Return what `_to_state` was given, of those that the search is for."""
        kinds = {(kind.label, size): kind for kind, size in self._plan.grid}
        found = {}
        for number, values in enumerate(state.values["candidates"]):
            key = str(values["structure"]), int(values["n_components"])
            if (kind := kinds.get(key)) is None:
                continue
            given = {name: values[name] for name in _KINDS}
            kept = typed_members(given, _KINDS, f"candidate {number}")
            n_features = self._source.n_features
            blank = Candidate(kind, key[1], kind.n_parameters(key[1], n_features))
            if kept["failure"] is not None:
                found[key] = blank.failed(kept["failure"])
                continue
            size = Size(key[1], n_features, kind.is_diagonal, n_factors=kind.n_factors)
            mixture = parameters_from_state(f"{number}", state, size)
            require(kept["log_likelihood"] is not None, f"candidate {number} has a likelihood")
            figures: dict[str, Any] = {
                name: math.nan if kept[name] is None else kept[name] for name in _FIGURES[:4]
            }
            others: dict[str, Any] = {name: kept[name] for name in ("n_iter", "converged")}
            found[key] = replace(blank, mixture=_returning(mixture), **figures, **others)
        return found


def _returning(mixture: MixtureParameters) -> Callable[[], MixtureParameters]:
    """Return what a candidate has of a mixture that is there already."""
    return lambda: mixture
