"""EM for mixtures of t-distributions: steps against the oracle, and what they raise."""

import numpy as np
import pytest
from scipy.special import logsumexp

from fastgmm.data.sources.array import ArraySource
from fastgmm.em.e_step import passes
from fastgmm.em.initialization.methods import InitSettings, initialize
from fastgmm.em.loop import Starts, fit_best
from fastgmm.em.models.student import StudentProblem
from fastgmm.em.problem import EMProblem
from fastgmm.em.stopping import stopping_rule
from fastgmm.mixture.parameters import MixtureParameters
from fastgmm.mixture.priors.conjugate import ConjugatePriors
from fastgmm.mixture.regularization import Regularization
from fastgmm.mixture.structures import structure
from fastgmm.mixture.student import INITIAL_DOF, StudentParameters
from tests import oracle
from tests.pairwise import parametrize_pairwise
from tests.structures import DISTINCT, covariances_of, every_structure

D = 3
NONE = Regularization.none(D)


def rows(n_samples=600, dof=3.0):
    rng = np.random.default_rng(0)
    centers = np.array([[0.0, 0.0, 0.0], [7.0, 1.0, 0.0], [0.0, 6.0, 2.0]])
    X = rng.standard_t(dof, size=(n_samples, D)) @ np.triu(rng.uniform(0.3, 1.0, (D, D)))
    return X + centers[np.arange(n_samples) % 3]


def start(name, source):
    problem = EMProblem(source, structure(name), NONE)
    settings = InitSettings(np.random.RandomState(0))
    return initialize(problem, source, 3, settings)[0]


@pytest.mark.parametrize("dof", ["common", "separate"])
@every_structure
def test_a_step_is_that_of_the_oracle(name, dof):
    X = rows()
    weights = np.random.default_rng(1).uniform(0.5, 1.5, len(X))
    source = ArraySource(X, weights)
    problem = StudentProblem(source, structure(name), NONE, dof=dof, careful=True)
    before = problem.student(start(name, source), np.array([2.0, 8.0, 20.0]))
    scales = covariances_of(name, before)
    # Where a covariance has to be found by iteration, its own steps are many.
    iterative = name in ("VEI", "VEE", "EVE", "VVE", "VEV")
    found = problem.m_step(problem.e_step(before), before)
    expected = oracle.student_step(
        X, before.weights, before.means, scales, before.dofs, name, dof, weights
    )
    np.testing.assert_allclose(found.weights, expected[0], rtol=1e-10)
    np.testing.assert_allclose(found.means, expected[1], rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(found.dofs, expected[3], rtol=1e-8)
    if not iterative:
        np.testing.assert_allclose(covariances_of(name, found), expected[2], atol=1e-9)
    else:
        observed = oracle.student_step(
            X, before.weights, before.means, scales, before.dofs, "full", dof, weights
        )[2]
        best, reached, first = (
            oracle.criterion(each, observed, expected[0])
            for each in (expected[2], covariances_of(name, found), scales)
        )
        assert best - 1e-9 <= reached <= best + 0.1 * (first - best)


def holed_rows():
    """Return rows of which some lack values, and one has none."""
    X = rows(200)
    X[np.random.default_rng(3).random(X.shape) < 0.25] = np.nan
    X[7] = np.nan
    return X


@pytest.mark.parametrize("dof", ["common", "separate"])
@pytest.mark.parametrize("name", ["VVV", "EEE", "VVI", "EII"])
def test_a_step_with_missing_values_is_that_of_the_oracle(name, dof):
    X, weights = holed_rows(), np.random.default_rng(1).uniform(0.5, 1.5, 200)
    source = ArraySource(X, weights, incomplete=True)
    problem = StudentProblem(source, structure(name), NONE, dof=dof, careful=True)
    before = problem.student(start(name, ArraySource(rows())), np.array([2.0, 8.0, 20.0]))
    statistics = problem.e_step(before)
    found = problem.m_step(statistics, before)
    expected, joint = oracle.observed_student_step(
        X, before.weights, before.means, covariances_of(name, before), before.dofs, name, dof,
        weights,
    )  # fmt: skip
    np.testing.assert_allclose(found.weights, expected[0], rtol=1e-10)
    np.testing.assert_allclose(found.means, expected[1], rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(covariances_of(name, found), expected[2], atol=1e-9)
    np.testing.assert_allclose(found.dofs, expected[3], rtol=1e-8)
    density = logsumexp(joint, axis=1)
    assert statistics.log_likelihood == pytest.approx(weights @ density)
    assert problem.e_step(before, moments=False).log_likelihood == pytest.approx(weights @ density)
    np.testing.assert_allclose(passes.log_density(source, before), density, atol=1e-10)
    shares = np.exp(joint - density[:, None])
    np.testing.assert_allclose(passes.responsibilities(source, before), shares, atol=1e-10)


@parametrize_pairwise(name=DISTINCT, dof=["common", "separate", 4.0], careful=[False, True])
def test_the_likelihood_of_what_is_observed_never_falls(name, dof, careful):
    source = ArraySource(holed_rows(), incomplete=True)
    problem = StudentProblem(source, structure(name), NONE, dof=dof, careful=careful)
    starts = Starts.at(start(name, ArraySource(rows())))
    _, info = fit_best(problem, starts, stopping_rule(1e-7), 30)
    assert (np.diff(info.trace) >= -1e-9).all()


@parametrize_pairwise(name=DISTINCT, dof=["common", "separate", 4.0], careful=[False, True])
def test_the_likelihood_never_falls(name, dof, careful):
    source = ArraySource(rows())
    problem = StudentProblem(source, structure(name), NONE, dof=dof, careful=careful)
    starts = Starts.at(start(name, source))
    fitted, info = fit_best(problem, starts, stopping_rule(1e-7), 100)
    trace = np.array(info.trace)
    assert (np.diff(trace) >= -1e-9).all()
    assert isinstance(fitted, StudentParameters)
    joint = oracle.student_joint_log_density(
        rows(), fitted.weights, fitted.means, covariances_of(name, fitted), fitted.dofs
    )
    density = np.log(np.exp(joint).sum(axis=1)).mean()
    assert info.trace[-1] == pytest.approx(density, abs=1e-10)
    if dof == "common":
        assert (fitted.dofs == fitted.dofs[0]).all()


def test_long_steps_lead_to_where_short_ones_do_in_fewer_iterations():
    source = ArraySource(rows(3000, dof=30.0))
    found = []
    for careful in (False, True):
        problem = StudentProblem(source, structure("VVV"), NONE, dof="common", careful=careful)
        starts = Starts.at(start("VVV", source))
        found.append(fit_best(problem, starts, stopping_rule(1e-11), 5000))
    (long, quick), (short, slow) = found
    np.testing.assert_allclose(long.dofs, short.dofs, rtol=1e-2)
    np.testing.assert_allclose(long.means, short.means, atol=1e-3)
    assert quick.trace[-1] >= slow.trace[-1] - 1e-8
    assert quick.n_iter < slow.n_iter / 5


def test_a_prior_raises_the_posterior_at_every_step():
    source = ArraySource(rows())
    kind = structure("VVV")
    moments = np.mean(source.X, axis=0), np.cov(source.X.T)
    prior = ConjugatePriors(mean_precision=5.0).for_data(kind, 3, *moments)
    problem = StudentProblem(source, kind, NONE, prior, dof="separate")
    _, info = fit_best(problem, Starts.at(start("VVV", source)), stopping_rule(1e-8), 200)
    assert (np.diff(info.trace) >= -1e-9).all()
    assert info.converged


def test_degrees_of_freedom_at_the_start():
    mixture = MixtureParameters.from_covariances(
        np.array([0.25, 0.75]), np.zeros((2, 1)), np.ones((2, 1))
    )
    source = ArraySource(np.zeros((2, 1)))
    none = Regularization.none(1)

    def dofs(dof, given=None):
        return StudentProblem(source, structure("VVI"), none, dof=dof).student(mixture, given).dofs

    before = np.array([2.0, 6.0])
    np.testing.assert_array_equal(dofs("common"), INITIAL_DOF)
    np.testing.assert_array_equal(dofs("separate", before), before)
    np.testing.assert_array_equal(dofs("common", before), 5.0)
    np.testing.assert_array_equal(dofs(3.0, before), 3.0)
