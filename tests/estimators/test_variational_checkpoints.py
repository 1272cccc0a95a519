"""Fits by variational Bayes that are cut off and go on as if they never had been."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from fastgmm import BayesianGaussianMixture
from fastgmm.data.sources.array import ArraySource
from fastgmm.em.loop import StartState
from fastgmm.em.models import variational
from fastgmm.estimators.bayesian_mixture import attributes_from_posterior
from fastgmm.io.checkpoint import CheckpointError
from fastgmm.mixture.regularization import Regularization
from fastgmm.mixture.structures import structure
from tests.em.batch_fits import fit_variational
from tests.pairwise import parametrize_pairwise
from tests.problems import problem

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

ATTRIBUTES = (
    "weights_",
    "means_",
    "covariances_",
    "precisions_cholesky_",
    "mean_precision_",
    "degrees_of_freedom_",
    "weight_concentration_",
    "mean_prior_",
    "covariance_prior_",
    "trace_",
)


class CutOffError(Exception):
    """Stands for the end of the process."""


def mixture(path=None, **parameters):
    settings = {"n_components": 4, "random_state": 7, "tol": 1e-4, "max_iter": 6, "n_init": 2}
    settings |= {"checkpoint": path, "checkpoint_interval": 0.0, "resume": True}
    return BayesianGaussianMixture(**{**settings, **parameters})


def cut_off_after(monkeypatch, n_passes):
    """Let the pass after so many fail."""
    run, passes = variational.mixture_statistics, [0]

    def counted(*arguments, **options):
        passes[0] += 1
        if passes[0] > n_passes:
            raise CutOffError
        return run(*arguments, **options)

    monkeypatch.setattr(variational, "mixture_statistics", counted)


def resumed(monkeypatch, n_passes, fit):
    """Fit, cut off after every so many passes, until there is a result."""
    for _ in range(100):
        with monkeypatch.context() as patch:
            cut_off_after(patch, n_passes)
            try:
                return fit()
            except CutOffError:
                continue
    raise AssertionError("never done")


def assert_same_fit(one, other):
    for name in ATTRIBUTES:
        assert_array_equal(getattr(one, name), getattr(other, name))
    assert one.n_iter_ == other.n_iter_
    assert one.converged_ == other.converged_
    for name in ("n_passes", "reason", "start", "initialization"):
        assert getattr(one.fit_info_, name) == getattr(other.fit_info_, name)


@parametrize_pairwise(
    weights=["dirichlet_process", "dirichlet_distribution"],
    covariance_type=["full", "diag", "tied_spherical"],
    n_passes=[1, 2, 3, 5, 8],
)
def test_a_fit_cut_off_at_any_pass_ends_the_same(
    tmp_path, monkeypatch, n_passes, covariance_type, weights
):
    X = problem("overlapping").X
    how = {"covariance_type": covariance_type, "weight_concentration_prior_type": weights}
    whole = mixture(**how).fit(X)
    path = tmp_path / "run.fgm"
    again = resumed(monkeypatch, n_passes, lambda: mixture(path, **how).fit(X))
    assert_same_fit(again, whole)
    # with nothing left to do
    assert_same_fit(mixture(path, **how).fit(X), whole)


def test_steps_that_are_taken_otherwise_are_so_after_a_cut(tmp_path, monkeypatch):
    X = problem("overlapping").X
    source, kind = ArraySource(X), structure("full")
    regularization = Regularization(np.full(3, 0.5), np.zeros(3, dtype=bool))
    start = mixture(reg_covar=0.5, max_iter=3, n_init=1).fit(X)
    # From the highest bound, plain steps lead down.
    best, info = fit_variational(
        source,
        StartState(start._posterior(), careful=True),
        kind,
        regularization,
        tol=1e-9,
        max_iter=2000,
    )
    found = attributes_from_posterior(best, kind)
    found |= {"converged_": True, "lower_bound_": info.trace[-1]}

    def fit(path=None):
        how = {"reg_covar": 0.5, "tol": 0.0, "max_iter": 12}
        model = mixture(path, warm_start=True, **how)
        model.__dict__.update(found)
        return model.fit(X)

    whole = fit()
    assert whole.fit_info_.n_passes > whole.n_iter_
    for n_passes in (2, 7):
        path = tmp_path / f"{n_passes}.fgm"
        assert_same_fit(resumed(monkeypatch, n_passes, lambda path=path: fit(path)), whole)


def test_a_warm_start_continues_the_same(tmp_path, monkeypatch):
    X = problem("overlapping").X
    start = mixture(max_iter=2, n_init=1).fit(X)

    def fit(path=None):
        model = mixture(path, warm_start=True)
        model.__dict__.update(
            {name: value for name, value in vars(start).items() if name.endswith("_")}
        )
        return model.fit(X)

    again = resumed(monkeypatch, 2, lambda: fit(tmp_path / "run.fgm"))
    assert_same_fit(again, fit())


def test_another_prior_is_another_fit(tmp_path, monkeypatch):
    X = problem("overlapping").X
    path = tmp_path / "run.fgm"
    with monkeypatch.context() as patch:
        cut_off_after(patch, 2)
        with pytest.raises(CutOffError):
            mixture(path, mean_prior=np.zeros(3)).fit(X)
    with pytest.raises(CheckpointError, match=r"other parameters .*mean_prior"):
        mixture(path, mean_prior=np.ones(3)).fit(X)
