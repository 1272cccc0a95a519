"""Mixtures of multivariate Student t-distributions by EM, for rows of which some are outliers.

Peel and McLachlan (2000), "Robust mixture modelling using the t distribution", Statistics and
Computing 10; with the structures of Andrews and McNicholas (2012), "Model-based clustering,
classification, and discriminant analysis via mixtures of multivariate t-distributions", Statistics
and Computing 22. What is weighted by u enters the M-step of a Gaussian mixture in place of what is
counted (`StudentStatistics`); that of the degrees of freedom has equations of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from fastgmm.data.source import Source
from fastgmm.data.sources.array import ArraySource
from fastgmm.em.e_step.passes import log_density, source_moments
from fastgmm.em.loop import Fit, StartState, run
from fastgmm.em.problem import EMProblem
from fastgmm.em.stopping import stopping_rule
from fastgmm.mixture.parameters import MixtureParameters
from fastgmm.mixture.regularization import IllDefinedCovarianceError
from fastgmm.mixture.statistics import FloatArray, SufficientStatistics
from fastgmm.mixture.structures import structure
from fastgmm.mixture.student import INITIAL_DOF, Dof, StudentParameters, StudentStatistics

_ROUGHLY, _FEW_ITERATIONS = 1e-3, 50
"""How far a single distribution is fitted whose weights of rows a start is found with."""


@dataclass(frozen=True, slots=True, eq=False)
class StudentProblem(EMProblem):
    """A mixture of t-distributions to be fitted to rows by maximum likelihood or MAP.

    It may begin from a mixture of Gaussians, whose covariances become scales.
    """

    dof: Dof = "common"  # the degrees of freedom, or how they are estimated

    may_extrapolate: ClassVar[bool] = False

    def student(
        self, parameters: MixtureParameters, dofs: FloatArray | None = None
    ) -> StudentParameters:
        """Return parameters with degrees of freedom: their own, or given ones, or initial ones."""
        if isinstance(parameters, StudentParameters):
            return parameters
        if not isinstance(self.dof, str):
            dofs = np.full(parameters.n_components, float(self.dof))
        elif dofs is None:
            dofs = np.full(parameters.n_components, INITIAL_DOF)
        elif self.dof == "common":
            dofs = np.full_like(dofs, np.average(dofs, weights=parameters.weights))
        return StudentParameters.from_gaussians(parameters, dofs)

    def starting_rows(self, rows: Source) -> Source:
        """Return rows weighted by u under a single t-distribution: outliers found no clusters."""
        assert isinstance(rows, ArraySource)
        kind = structure("VVI" if self.structure.is_diagonal else "VVV")
        alone = StudentProblem(rows, kind, self.regularization, n_jobs=self.n_jobs)
        moments = source_moments(rows, diagonal=kind.is_diagonal, n_jobs=self.n_jobs)
        rule = stopping_rule(_ROUGHLY)
        try:
            start = kind.solve(moments, self.regularization)
            steps = Fit(alone, StartState(start), rule, _FEW_ITERATIONS).steps()
            ((fitted, _),) = run([steps])
        except IllDefinedCovarianceError:
            return rows
        student, weights = alone.student(fitted), rows.weights
        below = log_density(rows, student, n_jobs=self.n_jobs) - student.log_normalizers[0]
        half = 0.5 * (student.dofs[0] + student.n_features)
        u = np.exp(below.astype(np.float64) / half)  # as a share of the largest there can be
        return rows.reweighted(u if weights is None else u * weights)

    def e_step(
        self, parameters: MixtureParameters, *, moments: bool = True
    ) -> SufficientStatistics:
        """Make a pass at the parameters; one without moments takes less time."""
        return EMProblem.e_step(self, self.student(parameters), moments=moments)

    def m_step(
        self, statistics: SufficientStatistics, before: MixtureParameters
    ) -> MixtureParameters:
        """Return the parameters that maximize the expected log-likelihood and log-prior."""
        assert isinstance(statistics, StudentStatistics)
        old = self.student(before)
        solved = EMProblem.m_step(self, statistics, old.gaussians())
        dofs = statistics.solve_dofs(self.dof, old.dofs, careful=self.careful)
        return StudentParameters.from_gaussians(solved, dofs)

    def continued(self, fitted: MixtureParameters) -> StudentParameters:
        """Return where a fit continues from the mixture that an earlier one found."""
        found = EMProblem.continued(self, fitted)
        return self.student(found, self.student(fitted).dofs)

    def gaussians(self, parameters: MixtureParameters) -> MixtureParameters:
        """Return Gaussians with the scales of a mixture as covariances."""
        return self.student(parameters).gaussians()
