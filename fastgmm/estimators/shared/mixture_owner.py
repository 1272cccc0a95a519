"""What estimators that own a fitted mixture, their `mixture_`, have in common."""

from __future__ import annotations

from typing import Any, Self

from sklearn.base import BaseEstimator
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from fastgmm.data.source import Source
from fastgmm.data.sources.wrapped import observed_rows
from fastgmm.docstrings import documented
from fastgmm.estimators.gaussian_mixture import GaussianMixture
from fastgmm.estimators.shared.interfaces import Rows, Weights
from fastgmm.estimators.shared.saving import SavedModel, restored, set_features
from fastgmm.estimators.shared.validation import (
    Missing,
    check_replayable,
    check_source,
    refuse_to_split_collections,
    validated_fit,
)
from fastgmm.io.states import State, require, typed


@documented()
class MixtureOwner(SavedModel, BaseEstimator):
    """An estimator that owns a mixture; its state is as in a file of its own."""

    mixture_: GaussianMixture
    missing: Missing

    @validated_fit
    def fit(
        self,
        X: Rows,
        y: Any = None,  # noqa: ARG002 - pipelines pass it
        sample_weight: Weights = None,
    ) -> Self:
        """Fit the mixture to rows, and what is derived from it.

        Raises
        ------
        ValueError
            If the rows or the weights are invalid, or if a component collapses and `reg_covar` is
            0.

        Warns
        -----
        ConvergenceWarning
            If EM has not converged after `max_iter` iterations.
        DegenerateComponentWarning
            If a component lost all its points or its spread.
        """
        source = check_source(self, X, sample_weight, reset=True, ensure_min_samples=2)
        check_replayable(self, source)
        source = observed_rows(source)
        self._take(GaussianMixture(**self._mixture_parameters()).fit(source), source)
        return self

    def _take(self, mixture: GaussianMixture, source: Source) -> None:  # noqa: ARG002
        """Take a mixture that was fitted to rows."""
        self.mixture_ = mixture

    def _mixture_parameters(self) -> dict[str, Any]:
        """Return the parameters that the mixture has, too."""
        names = set(GaussianMixture._get_param_names())
        return {name: value for name, value in self.get_params().items() if name in names}

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "mixture_") and hasattr(self.mixture_, "means_")

    def __sklearn_tags__(self) -> Tags:
        refuse_to_split_collections()
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = self.missing == "model"
        return tags

    @property
    def n_iter_(self) -> int:
        """Number of iterations of the mixture."""
        return self.mixture_.n_iter_

    def _to_state(self) -> State:
        check_is_fitted(self)
        values, arrays = self.mixture_._to_state()
        names = vars(self).get("feature_names_in_")
        held = {
            "parameters": self._saved_parameters(),
            "feature_names": None if names is None else list(names),
            "mixture": {"class": GaussianMixture.__name__, **values},
        }
        return State(held, arrays)

    @classmethod
    def _from_state(cls, state: State) -> Self:
        return cls._with_mixture(state)

    @classmethod
    def _with_mixture(cls, state: State, n_targets: int = 0) -> Self:
        """Return the estimator with its mixture, of whose columns some may be targets."""
        owner = restored(cls, state.values["parameters"])
        mixture = dict(state.values["mixture"])
        name = mixture.pop("class")
        require(name == GaussianMixture.__name__, f"the mixture is a GaussianMixture, not {name}")
        owner.mixture_ = GaussianMixture._from_state(State(mixture, state.arrays))
        names = typed(state.values["feature_names"], tuple[str, ...] | None, "feature_names")
        set_features(owner, owner.mixture_.means_.shape[1] - n_targets, names)
        return owner  # type: ignore[no-any-return]
