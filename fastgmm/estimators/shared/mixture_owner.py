"""What estimators that own a fitted mixture, their `mixture_`, have in common."""

from __future__ import annotations

from typing import Self

from sklearn.utils.validation import check_is_fitted

from fastgmm.estimators.gaussian_mixture import GaussianMixture
from fastgmm.estimators.shared.saving import SavedModel, restored, set_features
from fastgmm.io.states import State, require, typed


class MixtureOwner(SavedModel):
    """The state of an estimator and its mixture, which is as in a file of its own."""

    mixture_: GaussianMixture

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
