"""The rule that ends a fit, and rules of users' own in its place."""

import pickle
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

from fastgmm import BayesianGaussianMixture, GaussianMixture, GaussianMixtureClassifier
from fastgmm.em.stopping import ExtrapolatedGain, SmallChange, StoppingRule, stopping_rule
from tests.problems import problem


@dataclass(frozen=True)
class AfterSoMany(StoppingRule):
    """A fit has converged after so many iterations."""

    number: int

    def has_converged(self, values: Sequence[float]) -> bool:
        return len(values) > self.number


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([-np.inf, -3.0], False),
        ([-3.0, -2.9], False),
        ([-3.0, -2.9991], True),
        ([-3.0, -3.0009], True),
        ([-5.0, -3.0, -2.9], False),
    ],
)
def test_a_small_change_is_one_below_the_tolerance(values, expected):
    assert SmallChange(1e-3).has_converged(values) is expected


def test_a_number_stands_for_a_small_change():
    assert stopping_rule(0.5) == SmallChange(0.5)
    rule = AfterSoMany(3)
    assert stopping_rule(rule) is rule


@pytest.mark.parametrize("estimator", [GaussianMixture, BayesianGaussianMixture])
def test_a_rule_of_ones_own_ends_the_fit(estimator):
    X = problem("overlapping").X
    mixture = estimator(3, tol=AfterSoMany(4), random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mixture.fit(X)
    assert (mixture.n_iter_, mixture.converged_) == (4, True)
    assert mixture.fit_info_.reason == "tolerance"
    assert clone(mixture).tol == AfterSoMany(4)
    assert pickle.loads(pickle.dumps(mixture)).fit(X).n_iter_ == 4
    with pytest.warns(ConvergenceWarning, match="after max_iter=2 iterations.*has not converged"):
        mixture.set_params(max_iter=2).fit(X)


def test_classes_that_are_fitted_together_take_a_rule():
    hard = problem("separated")
    y = np.where(np.arange(len(hard.X)) % 4, hard.labels, -1)
    model = GaussianMixtureClassifier(tol=AfterSoMany(3), semi_supervised=True, random_state=0)
    assert model.fit(hard.X, y).n_iter_ == 3


def test_the_small_change_given_as_a_rule_is_that_given_as_a_number():
    X = problem("overlapping").X
    number = GaussianMixture(3, tol=1e-4, random_state=0).fit(X)
    rule = GaussianMixture(3, tol=SmallChange(1e-4), random_state=0).fit(X)
    assert rule.trace_.tolist() == number.trace_.tolist()


@pytest.mark.parametrize("tol", [-1.0, "small", None])
def test_what_is_no_rule_is_an_error(tol):
    with pytest.raises(ValueError, match="The 'tol' parameter of GaussianMixture must be"):
        GaussianMixture(tol=tol).fit(problem("overlapping").X)


def test_a_mixture_with_a_rule_is_not_saved_by_halves(tmp_path):
    mixture = GaussianMixture(2, tol=AfterSoMany(2), random_state=0).fit(problem("overlapping").X)
    with pytest.raises(TypeError, match="cannot save AfterSoMany"):
        mixture.save(tmp_path / "mixture.fgm")
    assert not list(tmp_path.iterdir())


def rising(rate, n_values, limit=-3.0, gap=1.0):
    return [-np.inf, *(limit - gap * rate ** np.arange(n_values))]


@pytest.mark.parametrize("rate", [0.1, 0.9, 0.999])
def test_what_gains_promise_is_what_is_left(rate):
    """A single small change would end the slow one a thousand times too early."""
    rule = ExtrapolatedGain(1e-4, 1.0)
    values = rising(rate, 20_000)
    n_values = next(n for n in range(2, len(values)) if rule.has_converged(values[:n]))
    left = -3.0 - values[n_values - 1]
    assert left <= 1e-4 * 4.0
    assert left > 0.1 * rate**2 * 1e-4 * 4.0


def test_gains_that_grow_or_have_just_begun_promise_nothing():
    rule = ExtrapolatedGain(1e-4, 1.0)
    leaving = [-np.inf, *(-3.0 + 1e-5 * 1.2 ** np.arange(10))]
    assert not any(rule.has_converged(leaving[:n]) for n in range(2, 11))
    assert not rule.has_converged([-np.inf, -3.0])
    assert rule.has_converged([-np.inf, -3.0, -3.0])
