"""What a variational mixture does with its posterior: evaluate rows, and learn more of them."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy.typing as npt

from fastgmm.data.sources.array import ArraySource
from fastgmm.em.degeneracy import Degeneracy
from fastgmm.em.loop import FitInfo
from fastgmm.em.online.steps import OnlineState
from fastgmm.em.online.variational import (
    VariationalOnlineState,
    begin_from_posterior,
    begin_variational_online,
    variational_online_step,
)
from fastgmm.estimators.bayesian.attributes import (
    attributes_from_posterior,
    check_prior,
    posterior_from_attributes,
)
from fastgmm.estimators.shared.online import OnlineLearning
from fastgmm.io.states import check_posterior
from fastgmm.mixture.parameters import MixtureParameters
from fastgmm.mixture.priors.variational import VariationalPosterior, VariationalPrior
from fastgmm.mixture.regularization import Regularization
from fastgmm.mixture.statistics import SufficientStatistics


class VariationalLearning(OnlineLearning):
    """The part of `partial_fit` and of the evaluation that concerns the posterior."""

    weight_concentration_prior_type: Any
    weight_concentration_prior: float | None
    mean_precision_prior: float | None
    mean_prior: Any
    degrees_of_freedom_prior: float | None
    covariance_prior: Any

    _objective: ClassVar[str] = "lower bound"
    _state_class: ClassVar[type[OnlineState]] = VariationalOnlineState
    _describing: ClassVar[tuple[str, ...]] = (
        "weight_concentration_",
        "mean_precision_",
        "means_",
        "degrees_of_freedom_",
        "precisions_cholesky_",
        "weight_concentration_prior_",
        "mean_precision_prior_",
        "mean_prior_",
        "degrees_of_freedom_prior_",
        "covariance_prior_",
    )

    def _posterior(self) -> VariationalPosterior:
        return posterior_from_attributes(self, self._structure())

    def _check_saved(self, arrays: dict[str, npt.NDArray[Any]]) -> None:
        super()._check_saved(arrays)
        check_posterior(self._posterior(), "posterior")

    def _parameters(self) -> MixtureParameters:
        return self._posterior().expected_parameters()

    def _learn(self, state: OnlineState, batch: ArraySource) -> OnlineState:
        assert isinstance(state, VariationalOnlineState)
        after, _ = variational_online_step(
            state,
            batch,
            self._schedule(),
            self._structure(),
            averaging=self.averaging,
            n_jobs=self.n_jobs,
        )
        return after

    def _degeneracies(self, state: OnlineState) -> tuple[Degeneracy, ...]:  # noqa: ARG002
        return ()  # a component without points has the prior

    def _state_from_mixture(self, batch: ArraySource) -> OnlineState:
        return begin_from_posterior(
            self._posterior(),
            self._structure(),
            batch,
            reg_covar=self.reg_covar,
            scale=self.reg_covar_scale,
            n_jobs=self.n_jobs,
        )

    def _start_from(
        self,
        rows: ArraySource,
        unit: float | None,  # noqa: ARG002 - the first rows are one
    ) -> tuple[OnlineState, FitInfo]:
        kind = self._structure()
        given = check_prior(self, kind, rows.n_features)

        def prior_for(
            moments: SufficientStatistics, regularization: Regularization
        ) -> VariationalPrior:
            return given.completed(moments, kind, regularization)

        return begin_variational_online(
            rows, self.n_components, kind, prior_for, self._start_settings()
        )

    def _online_attributes(self, state: OnlineState) -> dict[str, Any]:
        assert isinstance(state, VariationalOnlineState)
        kind = self._structure()
        return {
            **attributes_from_posterior(state.estimated_posterior(kind), kind),
            "lower_bound_": state.lower_bound(),
        }
