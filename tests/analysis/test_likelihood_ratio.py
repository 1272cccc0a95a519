"""Components cut in two, the best of many starts, and the distribution of likelihood ratios."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from fastgmm.analysis.batched_fits import MOST_ROWS_TOGETHER, EMSettings, fit_each
from fastgmm.analysis.likelihood_ratio import (
    StartSettings,
    best_fit,
    best_larger_fits,
    log_likelihood_ratio,
    ratio_distribution,
    split_starts,
)
from fastgmm.analysis.small_fits import EMFit
from fastgmm.data.sources.array import ArraySource
from fastgmm.em.e_step.passes import mixture_statistics
from fastgmm.mixture.parameters import MixtureParameters
from fastgmm.mixture.regularization import Regularization
from fastgmm.mixture.structures import structure
from tests.em.batch_fits import fit_em, initialize
from tests.em.block_source import BlockSource

NONE = Regularization.none(2)


def settings_of(name="full", tol=1e-6, n_features=2):
    amounts = Regularization(np.full(n_features, 1e-6), np.zeros(n_features, dtype=bool))
    return EMSettings(structure(name), amounts, tol, 2000)


def rows(n_samples=200, n_groups=3, seed=0, distance=5.0):
    rng = np.random.default_rng(seed)
    centers = distance * np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])[:n_groups]
    return centers[rng.integers(n_groups, size=n_samples)] + rng.normal(size=(n_samples, 2))


@pytest.mark.parametrize("name", ["full", "tied", "diag", "spherical", "tied_diag"])
def test_halves_together_are_the_component(name):
    kind = structure(name)
    source = ArraySource(rows())
    settings = settings_of(name)
    null = best_fit(source, 2, settings, StartSettings("kmeans", 1, 0)).parameters()
    statistics = mixture_statistics(source, null)
    starts = split_starts(statistics, kind, NONE)
    assert [each.n_components for each in starts] == [3, 3]
    for k, start in enumerate(starts):
        weights, means = start.weights, start.means
        assert_allclose(weights.sum(), 1.0)
        assert_allclose(weights[1:].sum(), statistics.weights()[k])
        assert_allclose(weights[1:] @ means[1:] / weights[1:].sum(), statistics.means()[k])
        assert_allclose(means[0], statistics.means()[1 - k])
        if name == "full":
            # Between and within the halves there is what there was.
            offsets = means[1:] - statistics.means()[k]
            total = start.covariances()[1] + np.outer(offsets[0], offsets[0])
            assert_allclose(total, statistics.covariances()[k], rtol=1e-10)


def test_components_are_cut_across_their_longest_direction_in_any_units():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(4000, 2)) * [1.0, 0.2]
    X = X @ np.array([[1.0, 1.0], [-1.0, 1.0]])
    for scales in ([1.0, 1.0], [1e-4, 1e3]):
        source = ArraySource(X * scales)
        null = MixtureParameters.from_covariances(
            np.ones(1), source.X.mean(axis=0)[None], np.cov(source.X.T)[None]
        )
        (start,) = split_starts(mixture_statistics(source, null), structure("full"), NONE)
        offset = (start.means[1] - start.means[0]) / scales
        assert_allclose(np.abs(offset), 2.0 * np.sqrt(2.0 / np.pi) * np.ones(2), rtol=0.05)
        assert offset[0] * offset[1] > 0.0


def test_diagonal_components_are_cut_across_the_feature_that_varies_most_for_its_units():
    rng = np.random.default_rng(0)
    groups = rng.integers(2, size=3000)
    # Feature 0 has small numbers, but most of its variance is within the first group.
    X = np.c_[rng.normal(size=3000) * np.where(groups, 0.1, 1.0) * 1e-3, rng.normal(size=3000)]
    X[:, 1] += 100.0 * groups
    statistics = mixture_statistics(
        ArraySource(X),
        MixtureParameters.from_covariances(
            np.array([0.5, 0.5]), np.array([[0.0, 0.0], [0.0, 100.0]]), np.array([[1e-6, 1.0]] * 2)
        ),
    )
    first = split_starts(statistics, structure("diag"), NONE)[0]
    offset = np.abs(first.means[2] - first.means[1])
    assert offset[0] == pytest.approx(2.0 * np.sqrt(2.0 / np.pi) * 1e-3, rel=0.1)
    assert offset[1] == 0.0


def test_components_without_points_are_not_cut():
    source = ArraySource(rows())
    parameters = MixtureParameters.from_covariances(
        np.array([0.5, 0.5, 0.0]),
        np.array([[0.0, 0.0], [5.0, 0.0], [1.0, 1.0]]),
        np.repeat(np.eye(2)[None], 3, axis=0),
    )
    starts = split_starts(mixture_statistics(source, parameters), structure("full"), NONE)
    assert len(starts) == 2
    for start in starts:
        assert start.n_components == 4
        assert (start.weights == 0.0).sum() == 1


def test_the_larger_mixture_is_as_good_as_the_best_of_many_random_starts():
    """The ratio must be found as well for what is drawn as for the rows; in most samples it is."""
    settings = settings_of("tied")
    null = best_fit(ArraySource(rows(n_groups=2)), 2, settings, StartSettings("kmeans", 1, 0))
    rng = np.random.default_rng(1)
    sources = [ArraySource(rows(100, 2, seed)) for seed in rng.integers(1000, size=12)]
    nulls = fit_each([(source, null.parameters()) for source in sources], settings)
    begun = [fit.parameters() for fit in nulls]
    found = best_larger_fits(sources, begun, settings, StartSettings("kmeans", 3, 0))
    best = []
    for source in sources:
        starts = [
            initialize(
                source,
                3,
                settings.structure,
                settings.regularization,
                random_state=np.random.RandomState(seed),
                method="random_from_data",
            )[0]
            for seed in range(15)
        ]
        fits = fit_each([(source, start) for start in starts], settings)
        best.append(max(fit.log_likelihood for fit in fits))
    values = np.array([fit.log_likelihood for fit in found])
    assert (values >= [fit.log_likelihood for fit in nulls]).all()
    assert (values >= np.array(best) - 0.1).mean() >= 0.75


@pytest.mark.parametrize(
    ("null", "larger", "expected"),
    [(-20.0, -15.0, 10.0), (-20.0, -21.0, 0.0), (None, -10.0, np.nan), (-20.0, None, np.nan)],
)
def test_ratios(null, larger, expected):
    def fit(value):
        if value is None:
            return EMFit(None, -np.inf, np.nan, 0, False, "a component collapsed")
        return EMFit(None, value, np.nan, 5, True, None)

    assert_array_equal(log_likelihood_ratio(fit(null), fit(larger)), expected)


@pytest.mark.parametrize("n_samples", [60, MOST_ROWS_TOGETHER + 1])
def test_a_sample_has_its_ratio_however_many_there_are(n_samples):
    null = best_fit(
        ArraySource(rows(n_groups=1)), 1, settings_of(), StartSettings("kmeans", 1, 0)
    ).parameters()
    n_resamples = 6 if n_samples < 100 else 2
    few, many = (
        ratio_distribution(
            null,
            n_samples,
            np.dtype(np.float64),
            n,
            settings_of(tol=1e-4 / n_samples),
            StartSettings("random_from_data", 1, 3),
        )
        for n in (n_resamples // 2, n_resamples)
    )
    assert len(many) == n_resamples
    assert_array_equal(few, many[: len(few)])
    assert (many >= 0.0).all()
    assert len(set(many)) > 1


def test_rows_that_are_not_in_memory():
    X = rows()
    starts = StartSettings("kmeans", 2, 0)
    settings = settings_of(tol=1e-9)
    fits = [best_fit(cls(X), 2, settings, starts) for cls in (ArraySource, BlockSource)]
    assert_allclose(fits[0].log_likelihood, fits[1].log_likelihood, rtol=1e-6)
    (one,), (other,) = [
        best_larger_fits([cls(X)], [fit.parameters()], settings, starts)
        for cls, fit in zip((ArraySource, BlockSource), fits, strict=True)
    ]
    assert_allclose(one.log_likelihood, other.log_likelihood, rtol=1e-6)


def test_without_random_starts_components_are_cut_all_the_same():
    source = ArraySource(rows())
    settings = settings_of()
    null = best_fit(source, 2, settings, StartSettings("kmeans", 1, 0))
    (found,) = best_larger_fits(
        [source], [null.parameters()], settings, StartSettings("kmeans", 0, 0)
    )
    truth = rows()
    start = initialize(source, 3, settings.structure, NONE, random_state=np.random.RandomState(0))[
        0
    ]
    expected = fit_em(
        ArraySource(truth), start, settings.structure, settings.regularization, tol=1e-8,
        max_iter=1000,
    )[1].trace[-1]  # fmt: skip
    assert found.log_likelihood / len(truth) == pytest.approx(expected, abs=1e-4)
