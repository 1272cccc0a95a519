"""Fits to resamples: together or alone, in memory or not, they are the same."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from fastgmm.analysis.batched_fits import MOST_ROWS_TOGETHER, EMSettings, fit_each, fits_at_once
from fastgmm.analysis.bootstrap import (
    BOOTSTRAP_KINDS,
    DrawnSource,
    JackknifeSource,
    ResampledSource,
    block_weights,
    bootstrap,
)
from fastgmm.data.sources.array import ArraySource
from fastgmm.em.e_step.passes import mixture_statistics, source_moments
from fastgmm.kernels.tiles import BLOCK_ROWS
from fastgmm.mixture.parameters import MixtureParameters
from fastgmm.mixture.regularization import Regularization
from fastgmm.mixture.structures import structure
from tests.em.batch_fits import fit_em, initialize
from tests.em.block_source import BlockSource

FULL = structure("full")
SETTINGS = EMSettings(FULL, Regularization.none(2), 1e-9, 1000)


def rows(n_samples=300, seed=0):
    rng = np.random.default_rng(seed)
    centers = np.array([[0.0, 0.0], [5.0, 3.0]])
    return centers[rng.integers(2, size=n_samples)] + rng.normal(size=(n_samples, 2))


def fitted(source, settings=SETTINGS):
    start, _ = initialize(
        source,
        2,
        settings.structure,
        settings.regularization,
        random_state=np.random.RandomState(0),
    )
    return fit_em(
        source, start, settings.structure, settings.regularization, tol=1e-10, max_iter=1000
    )[0]


def all_fits(replicates):
    return MixtureParameters.joined([fit.parameters() for fit in replicates.fits])


@pytest.mark.parametrize("kind", BOOTSTRAP_KINDS)
def test_resamples_of_files_are_those_of_arrays(kind):
    X = rows(12)
    copies = np.random.default_rng(2).integers(0, 30, size=len(X)).astype(float)
    parameters = fitted(ArraySource(X, copies))
    together, apart = (
        bootstrap(source, parameters, SETTINGS, kind=kind, n_resamples=5, seed=3)
        for source in (ArraySource(X, copies), BlockSource(X, copies))
    )
    assert_allclose(all_fits(together).means, all_fits(apart).means, atol=1e-4)
    assert_allclose(all_fits(together).weights, all_fits(apart).weights, atol=1e-4)
    assert_array_equal(together.multiplicities, apart.multiplicities)


def test_the_jackknife_of_weights_is_that_of_copies():
    X = rows(40)
    copies = np.random.default_rng(2).integers(0, 4, size=len(X))
    parameters = fitted(ArraySource(X, copies))
    weighted, repeated = (
        bootstrap(source, parameters, SETTINGS, kind="jackknife", n_resamples=2, seed=0)
        for source in (ArraySource(X, copies.astype(float)), ArraySource(X.repeat(copies, axis=0)))
    )
    assert_array_equal(weighted.multiplicities, copies[copies > 0])
    assert_array_equal(repeated.multiplicities, np.ones(copies.sum()))
    each = all_fits(weighted).means.reshape(-1, 2, 2)
    assert_allclose(
        each.repeat(copies[copies > 0], axis=0),
        all_fits(repeated).means.reshape(-1, 2, 2),
        atol=1e-6,
    )


def test_a_number_has_its_resample_however_many_there_are():
    source = ArraySource(rows())
    parameters = fitted(source)
    few, many = (
        bootstrap(source, parameters, SETTINGS, kind="nonparametric", n_resamples=n, seed=1)
        for n in (3, 8)
    )
    assert_array_equal(all_fits(few).means, all_fits(many).means[: 3 * 2])


def test_large_rows_are_fitted_to_one_by_one():
    assert fits_at_once(MOST_ROWS_TOGETHER + 1, 2, 2) == 1
    assert fits_at_once(272, 2, 3) > 1000
    assert 1 <= fits_at_once(MOST_ROWS_TOGETHER, 60, 50) < 10
    X = rows(MOST_ROWS_TOGETHER + 1)
    source = ArraySource(X)
    found = bootstrap(source, fitted(source), SETTINGS, kind="nonparametric", n_resamples=2, seed=1)
    assert [fit.failure for fit in found.fits] == [None, None]
    error = all_fits(found).means - np.tile(fitted(source).means, (2, 1))
    assert 0.0 < np.abs(error).max() < 6.0 / np.sqrt(len(X) / 2)


@pytest.mark.parametrize("cls", [ArraySource, BlockSource])
def test_a_fit_that_collapses_fails_and_the_others_do_not(cls):
    """The second component is left with a single row where the others are out."""
    X = rows(100)
    X[:3] = [[50.0, 50.0], [51.0, 50.0], [50.0, 51.0]]
    weights = np.ones((3, 100))
    weights[1, :2] = 0.0
    start = fitted(ArraySource(X))
    sources = [cls(X, each) for each in weights]
    fits = fit_each([(source, start) for source in sources], SETTINGS)
    assert [fit.failure is None for fit in fits] == [True, False, True]
    assert [fit.converged for fit in fits] == [True, False, True]
    assert fits[1].log_likelihood == -np.inf
    (alone,) = fit_each([(sources[2], start)], SETTINGS)
    assert_allclose(fits[2].parameters().means, alone.parameters().means, rtol=1e-12)


def test_a_collapsed_fit_is_held_up_by_the_regularization():
    X = rows(100)
    X[:3] = [[50.0, 50.0], [51.0, 50.0], [50.0, 51.0]]
    weights = np.ones(100)
    weights[:2] = 0.0
    held = EMSettings(FULL, Regularization(np.full(2, 1e-6), np.zeros(2, dtype=bool)), 1e-8, 1000)
    source = ArraySource(X, weights)
    start = fitted(ArraySource(X), held)
    (fit,) = fit_each([(source, start)], held)
    alone, info = fit_em(source, start, FULL, held.regularization, tol=1e-8, max_iter=1000)
    assert fit.failure is None
    assert_allclose(fit.parameters().means, alone.means, atol=1e-6)
    assert fit.log_likelihood / source.total_weight == pytest.approx(info.trace[-1], abs=1e-6)


def test_rows_in_memory_of_other_numbers_are_fitted_to_alone():
    sources = [ArraySource(rows(n)) for n in (50, 60)]
    problems = [(source, fitted(source)) for source in sources]
    for fit, (_, start) in zip(fit_each(problems, SETTINGS), problems, strict=True):
        assert fit.converged
        assert_allclose(fit.parameters().means, start.means, atol=1e-4)


@pytest.mark.parametrize("kind", BOOTSTRAP_KINDS)
def test_weights_must_be_numbers_of_copies(kind):
    X = rows(20)
    source = ArraySource(X, np.full(20, 0.05))
    with pytest.raises(ValueError, match="total weight of 2 or more, but got 1: a weight of w"):
        bootstrap(source, fitted(source), SETTINGS, kind=kind, n_resamples=2, seed=0)


def normal_rows(n_samples=2 * BLOCK_ROWS + 500):
    return np.random.default_rng(0).normal(size=(n_samples, 2))


def weights_of(source):
    return np.concatenate([weights for _, weights in source.blocks()])


def resampled(source, draw, number=0, seed=7):
    return ResampledSource(source, draw, block_weights(source), seed, number)


def many_weights(source, draw, n_resamples=400):
    return np.array([weights_of(resampled(source, draw, number)) for number in range(n_resamples)])


@pytest.mark.parametrize("draw", ["counts", "weights"])
def test_the_weights_sum_to_the_number_of_rows(draw):
    source = ArraySource(normal_rows())
    resample = resampled(source, draw)
    weights = weights_of(resample)
    assert weights.sum() == pytest.approx(source.n_samples, rel=1e-12)
    assert resample.total_weight == pytest.approx(source.n_samples, rel=1e-12)
    assert resample.has_weights
    assert resample.n_samples == source.n_samples
    assert (weights >= 0.0).all()


def test_counts_are_multinomial():
    n = BLOCK_ROWS + 200
    counts = many_weights(ArraySource(normal_rows(n)), "counts")
    assert_array_equal(counts, np.round(counts))
    assert_allclose(counts.mean(), 1.0)
    assert_allclose(counts.var(axis=0).mean(), 1.0 - 1.0 / n, rtol=0.01)
    # The numbers in two blocks vary against each other as those of any two sets of rows do.
    first = counts[:, :BLOCK_ROWS].sum(axis=1)
    share = BLOCK_ROWS / n
    assert_allclose(first.mean(), BLOCK_ROWS, rtol=0.005)
    assert_allclose(first.var(), n * share * (1.0 - share), rtol=0.3)


def test_weights_have_a_dirichlet_distribution():
    n = BLOCK_ROWS + 200
    weights = many_weights(ArraySource(normal_rows(n)), "weights")
    assert_allclose(weights.mean(), 1.0)
    assert_allclose(weights.var(axis=0).mean(), (n - 1.0) / (n + 1.0), rtol=0.01)
    first = weights[:, :BLOCK_ROWS].sum(axis=1)
    share = BLOCK_ROWS / n
    assert_allclose(first.mean(), BLOCK_ROWS, rtol=0.005)
    assert_allclose(first.var(), n**2 * share * (1.0 - share) / (n + 1.0), rtol=0.3)


@pytest.mark.parametrize("draw", ["counts", "weights"])
def test_a_weight_of_w_is_that_of_w_copies(draw):
    copies = np.array([3.0, 0.0, 1.0, 4.0, 2.0])
    drawn = many_weights(ArraySource(normal_rows(5), copies), draw, 4000)
    assert not drawn[:, 1].any()
    assert_allclose(drawn.mean(axis=0), copies, atol=0.1)
    n = copies.sum()
    shrunk = 1.0 if draw == "counts" else n / (n + 1.0)
    assert_allclose(drawn.var(axis=0), shrunk * copies * (1.0 - copies / n), rtol=0.1)


@pytest.mark.parametrize("draw", ["counts", "weights"])
def test_neither_blocks_nor_earlier_draws_change_the_weights(draw):
    X = normal_rows(5 * BLOCK_ROWS + 17)
    own = np.random.default_rng(1).integers(0, 4, size=len(X)).astype(float)
    for weights in (None, own):
        whole, cut = ArraySource(X, weights), BlockSource(X, weights)
        resample = resampled(whole, draw, 3)
        assert_array_equal(weights_of(resample), weights_of(resampled(cut, draw, 3)))
        assert_array_equal(weights_of(resample), weights_of(resample))
        assert not np.array_equal(weights_of(resample), weights_of(resampled(whole, draw, 4)))
        assert not np.array_equal(
            weights_of(resample), weights_of(resampled(whole, draw, 3, seed=8))
        )


def test_blocks_share_no_random_numbers():
    weights = weights_of(resampled(ArraySource(normal_rows(4 * BLOCK_ROWS)), "weights"))
    blocks = weights.reshape(4, BLOCK_ROWS)
    correlations = np.corrcoef(blocks)[np.triu_indices(4, 1)]
    assert np.abs(correlations).max() < 0.15


def test_a_block_without_weight_stays_so():
    X = normal_rows(3 * BLOCK_ROWS)
    own = np.ones(len(X))
    own[BLOCK_ROWS : 2 * BLOCK_ROWS] = 0.0
    for draw in ("counts", "weights"):
        drawn = weights_of(resampled(ArraySource(X, own), draw))
        assert not drawn[BLOCK_ROWS : 2 * BLOCK_ROWS].any()
        assert drawn.sum() == pytest.approx(2 * BLOCK_ROWS)


def test_a_pass_sees_the_weights():
    source = BlockSource(normal_rows())
    resample = resampled(source, "counts")
    found = source_moments(resample, diagonal=False)
    expected = source_moments(ArraySource(source.X, weights_of(resample)), diagonal=False)
    assert_array_equal(found.means(), expected.means())
    assert_array_equal(found.covariances(), expected.covariances())
    assert found.weight == expected.weight


def test_the_jackknife_leaves_out_one_copy():
    X = normal_rows(BLOCK_ROWS + 3)
    resample = JackknifeSource(BlockSource(X), BLOCK_ROWS + 1)
    expected = np.ones(len(X))
    expected[BLOCK_ROWS + 1] = 0.0
    assert_array_equal(weights_of(resample), expected)
    assert resample.total_weight == expected.sum()
    own = np.full(len(X), 2.5)
    own[4] = 0.5
    assert weights_of(JackknifeSource(ArraySource(X, own), 3, own[3]))[3] == 1.5
    small = JackknifeSource(ArraySource(X, own), 4, own[4])
    assert weights_of(small)[4] == 0.0
    assert small.total_weight == pytest.approx(own.sum() - 0.5)
    assert own[3] == 2.5


def mixture(diagonal):
    covariances = np.array([[[2.0, 0.9], [0.9, 1.0]], [[0.5, -0.2], [-0.2, 0.3]]])
    if diagonal:
        covariances = np.einsum("kii->ki", covariances)
    return MixtureParameters.from_covariances(
        np.array([0.3, 0.7]), np.array([[-3.0, 0.0], [4.0, 9.0]]), covariances
    )


@pytest.mark.parametrize("diagonal", [False, True])
def test_rows_are_drawn_from_the_mixture(diagonal):
    parameters = mixture(diagonal)
    drawn = DrawnSource(parameters, 40_000, np.float64, seed=1, number=0)
    statistics = mixture_statistics(drawn, parameters)
    assert_allclose(statistics.weights(), parameters.weights, atol=0.01)
    assert_allclose(statistics.means(), parameters.means, atol=0.05)
    assert_allclose(statistics.covariances(), parameters.covariances(), atol=0.05)
    assert statistics.weight == drawn.total_weight == drawn.n_samples == 40_000


def test_drawn_rows_are_the_same_in_every_pass():
    parameters = mixture(diagonal=False)
    drawn = DrawnSource(parameters, 70 * BLOCK_ROWS + 5, np.float32, seed=1, number=2)
    X = np.concatenate([block for block, _ in drawn.blocks()])
    assert X.shape == (70 * BLOCK_ROWS + 5, 2)
    assert X.dtype == np.float32
    assert len(list(drawn.blocks())) > 1
    assert_array_equal(X, drawn.held().X)
    other = DrawnSource(parameters, len(X), np.float32, seed=1, number=3)
    assert not np.array_equal(X[:100], other.held().X[:100])


def test_sources_can_be_distinguished_as_far_as_they_promise():
    source = ArraySource(normal_rows(20))
    assert resampled(source, "counts").fingerprint() == source.fingerprint()
    one, two = (
        DrawnSource(mixture(diagonal=True), 10, np.float64, seed=1, number=number)
        for number in (0, 1)
    )
    assert one.fingerprint() != two.fingerprint()
    assert not one.has_weights
