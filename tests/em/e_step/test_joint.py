"""EM of several mixtures whose passes share readings: each fit as if alone, and fewer readings."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from fastgmm.analysis.criteria import assignment_entropies, assignment_entropy
from fastgmm.data.sources.array import ArraySource
from fastgmm.em.acceleration import Squarem
from fastgmm.em.e_step import passes
from fastgmm.em.e_step.joint import JointStart, fit_jointly
from fastgmm.em.e_step.passes import mixture_statistics, statistics_of_several
from fastgmm.em.loop import Fit, StartState, run
from fastgmm.em.problem import EMProblem
from fastgmm.em.stopping import stopping_rule
from fastgmm.mixture.parameters import MixtureParameters
from fastgmm.mixture.regularization import Regularization
from fastgmm.mixture.structures import structure
from tests.em.batch_fits import initialize
from tests.em.block_source import BlockSource

HELD = Regularization(np.full(2, 1e-6), np.zeros(2, dtype=bool))
NONE = Regularization.none(2)
GRID = [("full", 1), ("full", 3), ("diag", 2), ("spherical", 4), ("tied", 3), ("VEV", 2)]


class CountedSource(BlockSource):
    """Counts how many times its rows are read."""

    n_readings = 0

    def blocks(self):
        self.n_readings += 1
        return super().blocks()


def rows(n_samples=5000, seed=0):
    rng = np.random.default_rng(seed)
    centers = 3.0 * rng.normal(size=(3, 2))
    return centers[rng.integers(3, size=n_samples)] + rng.normal(size=(n_samples, 2))


def start_at(X, name, n_components):
    random_state = np.random.RandomState(0)
    return initialize(
        ArraySource(X), n_components, structure(name), HELD, random_state=random_state
    )[0]


def starts_at(X, tol=1e-5):
    return [JointStart(start_at(X, name, k), structure(name), tol) for name, k in GRID]


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("accelerated", [False, True])
def test_each_fit_is_that_of_the_mixture_alone(dtype, weighted, accelerated):
    X = rows().astype(dtype)
    weights = np.random.default_rng(1).uniform(0.5, 2.0, len(X)) if weighted else None
    source = CountedSource(X, weights)
    ended = []
    fits = fit_jointly(
        source,
        starts_at(X),
        HELD,
        max_iter=200,
        accelerated=accelerated,
        observe=lambda i, fit: ended.append((i, fit)),
    )
    assert sorted(i for i, _ in ended) == list(range(len(GRID)))
    assert all(fits[i] is fit for i, fit in ended)
    n_passes = []
    for start, fit in zip(starts_at(X), fits, strict=True):
        problem = EMProblem(ArraySource(X, weights), start.structure, HELD)
        rule = stopping_rule(start.tol)
        fit_alone = Fit(
            problem, StartState(start.parameters), rule, 200, Squarem() if accelerated else None
        )
        ((parameters, info),) = run([fit_alone.steps()])
        for name in ("log_weights", "means", "whiteners"):
            assert_array_equal(getattr(fit.parameters, name), getattr(parameters, name))
        assert fit.n_iter == info.n_iter
        assert fit.converged
        assert fit.failure is None
        assert fit.log_likelihood == pytest.approx(
            info.trace[-1], rel=1e-12 if dtype == np.float64 else 1e-6
        )
        n_passes.append(info.n_passes)
    assert source.n_readings == max(n_passes)
    assert len(set(n_passes)) > 1


@pytest.mark.parametrize("max_iter", [0, 3])
def test_the_number_of_iterations(max_iter):
    X = rows()
    source = CountedSource(X)
    fits = fit_jointly(source, starts_at(X, tol=0.0), HELD, max_iter=max_iter)
    for fit in fits[1:]:
        assert fit.n_iter == max_iter
        assert not fit.converged
    assert source.n_readings == max_iter + 1


def test_one_that_fails_leaves_the_others_alone():
    X = np.vstack([rows(300), np.repeat([[30.0, 30.0]], 10, axis=0)])
    on_a_point = MixtureParameters.from_covariances(
        np.array([0.9, 0.1]), np.array([X.mean(axis=0), X[-1]]), np.repeat(np.eye(2)[None], 2, 0)
    )
    impossible = MixtureParameters.from_covariances(
        np.array([1.0]), np.array([[1e200, 0.0]]), np.eye(2)[None]
    )
    full = structure("full")
    one = JointStart(start_at(X, "full", 1), full, 1e-5)
    starts = [JointStart(on_a_point, full, 1e-5), one, JointStart(impossible, full, 1e-5)]
    fits = fit_jointly(BlockSource(X), starts, NONE, max_iter=100)
    assert "ill-defined" in fits[0].failure
    assert np.isnan(fits[0].log_likelihood)
    assert "impossibly far" in fits[2].failure
    (alone,) = fit_jointly(BlockSource(X), [one], NONE, max_iter=100)
    assert fits[1].failure is None
    assert fits[1].log_likelihood == alone.log_likelihood
    # kept positive definite by the regularization, it is still no mixture to compare with
    held = fit_jointly(BlockSource(X), starts[:1], HELD, max_iter=100)[0]
    assert "component 1" in held.failure


@pytest.mark.parametrize("n_bytes", [None, 1])
def test_statistics_of_several_are_those_of_each(monkeypatch, n_bytes):
    X = rows()
    source = CountedSource(X)
    mixtures = [start_at(X, name, k) for name, k in GRID]
    if n_bytes is not None:
        monkeypatch.setattr(passes, "_SUMS_BYTES", n_bytes)
    pooled = [name == "EEE" for name, _ in GRID]
    found = statistics_of_several(source, mixtures, pooled)
    assert source.n_readings == (1 if n_bytes is None else len(mixtures))
    for statistics, mixture, only_pooled in zip(found, mixtures, pooled, strict=True):
        expected = mixture_statistics(ArraySource(X), mixture, pooled=only_pooled)
        assert_array_equal(statistics.counts, expected.counts)
        assert_array_equal(statistics.second, expected.second)
        assert statistics.log_likelihood == expected.log_likelihood


def test_statistics_of_several_of_rows_that_lack_values():
    X = rows(400)
    X[::3, 1] = np.nan
    source = ArraySource(X, incomplete=True)
    mixtures = [start_at(rows(400), name, k) for name, k in GRID[:2]]
    found = statistics_of_several(source, mixtures, [False, False])
    for statistics, mixture in zip(found, mixtures, strict=True):
        assert statistics.log_likelihood == mixture_statistics(source, mixture).log_likelihood


def test_entropies_of_several_are_those_of_each():
    X = rows()
    source = CountedSource(X)
    mixtures = [start_at(X, name, k) for name, k in GRID]
    found = assignment_entropies(source, mixtures)
    assert source.n_readings == 1
    np.testing.assert_allclose(
        found,
        [assignment_entropy(ArraySource(X), each) for each in mixtures],
        rtol=1e-12,
        atol=1e-9,
    )
