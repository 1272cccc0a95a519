"""Truncated EM: its bound, and what does not change it."""

import numpy as np
import pytest

from fastgmm import GaussianMixture, open_data
from fastgmm.data.sources.array import ArraySource
from fastgmm.em.e_step import truncated
from fastgmm.em.e_step.passes import log_likelihood
from fastgmm.em.e_step.truncated import Truncation
from fastgmm.em.problem import EMProblem
from fastgmm.mixture.parameters import MixtureParameters
from fastgmm.mixture.regularization import Regularization
from fastgmm.mixture.structures import structure

N_COMPONENTS = 300
AMOUNTS = Regularization(np.full(4, 1e-6), np.zeros(4, dtype=bool))


def rows(spread=3.0, n_samples=9000):
    rng = np.random.default_rng(0)
    means = spread * rng.normal(size=(N_COMPONENTS, 4))
    chosen = rng.integers(N_COMPONENTS, size=n_samples)
    return means[chosen] + rng.normal(size=(n_samples, 4)), means


def start(X, kind):
    chosen = np.random.default_rng(1).choice(len(X), N_COMPONENTS, replace=False)
    shape = (N_COMPONENTS, *(4,) * (1 if kind.is_diagonal else 2))
    unit = np.ones(4) if kind.is_diagonal else np.eye(4)
    weights = np.full(N_COMPONENTS, 1.0 / N_COMPONENTS)
    return MixtureParameters.from_covariances(weights, X[chosen], np.broadcast_to(unit, shape))


def iterated(source, kind, n_iter, n_jobs=None):
    problem = EMProblem(source, kind, AMOUNTS, n_jobs=n_jobs, truncation=Truncation())
    parameters = start(rows()[0], kind)
    values = []
    for _ in range(n_iter):
        statistics = problem.e_step(parameters)
        values.append(statistics.mean_log_likelihood)
        exact = log_likelihood(source, parameters) / source.total_weight
        assert values[-1] <= exact + 1e-10
        lowest = -np.inf if len(values) == 1 else values[-2] - problem.rounding(values[-2])
        assert values[-1] >= lowest
        parameters = problem.m_step(statistics, parameters)
    return values, exact


@pytest.mark.parametrize("name", ["full", "diag", "EVV"])
def test_bound_rises_to_the_log_likelihood(name):
    values, exact = iterated(ArraySource(rows()[0]), structure(name), 18)
    assert exact - values[-1] < 2e-4 * abs(exact)


def test_likelihood_is_that_of_dense_em():
    source, kind = ArraySource(rows()[0]), structure("full")
    _, exact = iterated(source, kind, 18)
    parameters = start(source.X, kind)
    problem = EMProblem(source, kind, AMOUNTS)
    for _ in range(18):
        parameters = problem.m_step(problem.e_step(parameters), parameters)
    dense = log_likelihood(source, parameters) / source.total_weight
    assert dense - exact < 1e-3 * abs(dense)


def test_cells_of_the_pass_before_serve_where_the_bound_would_fall():
    source, kind = ArraySource(rows()[0]), structure("full")
    problem = EMProblem(source, kind, AMOUNTS, truncation=(truncation := Truncation()))
    parameters = start(source.X, kind)
    statistics = problem.e_step(parameters)
    proposed = [each._replace(sizes=np.ones_like(each.sizes)) for each in truncation.proposed]
    truncation.proposed, cells = proposed, truncation.cells
    parameters = problem.m_step(statistics, parameters)
    assert problem.e_step(parameters, moments=False).log_likelihood > statistics.log_likelihood
    assert problem.e_step(parameters).log_likelihood > statistics.log_likelihood
    assert truncation.cells is cells


def test_results_do_not_depend_on_threads_or_source(tmp_path):
    X, _ = rows()
    np.save(tmp_path / "x.npy", X)
    expected, _ = iterated(ArraySource(X), structure("full"), 6, n_jobs=1)
    assert iterated(ArraySource(X), structure("full"), 6, n_jobs=2)[0] == expected
    file = open_data(tmp_path / "x.npy", block_rows=1024)
    assert iterated(file, structure("full"), 6)[0] == expected


def test_weights_are_repetitions(monkeypatch):
    monkeypatch.setattr(truncated, "_FIRST_SHARE", np.inf)  # else other rows would be seen
    monkeypatch.setattr(truncated, "_NEGLIGIBLE", 0.0)
    X, _ = rows(spread=60.0, n_samples=2000)
    times = np.random.default_rng(2).integers(1, 4, size=len(X))
    kind = structure("full")
    weighted = Truncation().statistics(
        ArraySource(X, times), start(X, kind), moments=True, n_jobs=1
    )
    repeated = Truncation().statistics(
        ArraySource(np.repeat(X, times, axis=0)), start(X, kind), moments=True, n_jobs=1
    )
    assert weighted.log_likelihood == pytest.approx(repeated.log_likelihood, rel=1e-12)
    np.testing.assert_allclose(weighted.counts, repeated.counts, atol=1e-9)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_estimator_finds_clusters_that_lie_apart(dtype):
    X, means = rows(spread=60.0)
    given = {
        "means_init": means,
        "weights_init": np.full(N_COMPONENTS, 1.0 / N_COMPONENTS),
        "precisions_init": np.broadcast_to(np.eye(4), (N_COMPONENTS, 4, 4)),
    }
    dense = GaussianMixture(N_COMPONENTS, **given).fit(X.astype(dtype))
    found = GaussianMixture(N_COMPONENTS, e_step="truncated", **given).fit(X.astype(dtype))
    assert found.converged_
    assert found.lower_bound_ == pytest.approx(dense.lower_bound_, rel=1e-5)
    np.testing.assert_allclose(found.means_, dense.means_, atol=1e-3)
    np.testing.assert_array_equal(found.predict(X), dense.predict(X))


def test_each_start_has_cells_of_its_own():
    X, _ = rows()
    own = {"covariance_type": "diag", "e_step": "truncated", "max_iter": 3, "tol": 0.0}
    first = GaussianMixture(N_COMPONENTS, random_state=0, **own)
    best = GaussianMixture(N_COMPONENTS, random_state=0, n_init=2, **own)
    with pytest.warns(match="did not converge"):
        first.fit(X)
    with pytest.warns(match="did not converge"):
        best.fit(X)
    assert best.lower_bound_ >= first.lower_bound_
    assert best.fit_info_.start == 1 or best.lower_bound_ == first.lower_bound_


def test_warm_start_continues():
    X, means = rows()
    mixture = GaussianMixture(
        N_COMPONENTS,
        covariance_type="diag",
        means_init=means,
        e_step="truncated",
        random_state=0,
        warm_start=True,
    )
    before = mixture.fit(X).score(X)
    assert mixture.fit(X).score(X) > before - 1e-6


def test_few_components_are_fitted_densely():
    X, _ = rows(n_samples=500)
    with pytest.warns(UserWarning, match="n_components=2 is dense") as caught:
        found = GaussianMixture(2, e_step="truncated", random_state=0).fit(X)
    assert caught[0].filename == __file__
    assert found.lower_bound_ == GaussianMixture(2, random_state=0).fit(X).lower_bound_


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ({"noise_volume": "auto"}, "noise_volume"),
        ({"semi_supervised": True}, "semi_supervised"),
        ({"checkpoint": "x.ckpt"}, "checkpoint"),
        ({"missing": "model"}, "missing values"),
    ],
)
def test_what_it_does_not_go_with(given, what, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    X, _ = rows()
    if what == "missing values":
        X[0, 0] = np.nan
    mixture = GaussianMixture(N_COMPONENTS, e_step="truncated", **given)
    with pytest.raises(ValueError, match=f"e_step='truncated' does not go together with {what}"):
        mixture.fit(X, np.full(len(X), -1) if what == "semi_supervised" else None)
