"""Random weights and drawn rows: their distribution, and that nothing but the seed decides them."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from fastgmm.analysis.resampling import (
    DrawnSource,
    JackknifeSource,
    ResampledSource,
    block_weights,
)
from fastgmm.data.sources.array import ArraySource
from fastgmm.em.e_step.passes import mixture_statistics, source_moments
from fastgmm.kernels.tiles import BLOCK_ROWS
from fastgmm.mixture.parameters import MixtureParameters
from tests.em.block_source import BlockSource


def rows(n_samples=2 * BLOCK_ROWS + 500):
    return np.random.default_rng(0).normal(size=(n_samples, 2))


def weights_of(source):
    return np.concatenate([weights for _, weights in source.blocks()])


def resampled(source, draw, number=0, seed=7):
    return ResampledSource(source, draw, block_weights(source), seed, number)


def many_weights(source, draw, n_resamples=400):
    return np.array([weights_of(resampled(source, draw, number)) for number in range(n_resamples)])


@pytest.mark.parametrize("draw", ["counts", "weights"])
def test_the_weights_sum_to_the_number_of_rows(draw):
    source = ArraySource(rows())
    resample = resampled(source, draw)
    weights = weights_of(resample)
    assert weights.sum() == pytest.approx(source.n_samples, rel=1e-12)
    assert resample.total_weight == pytest.approx(source.n_samples, rel=1e-12)
    assert resample.has_weights
    assert resample.n_samples == source.n_samples
    assert (weights >= 0.0).all()


def test_counts_are_multinomial():
    n = BLOCK_ROWS + 200
    counts = many_weights(ArraySource(rows(n)), "counts")
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
    weights = many_weights(ArraySource(rows(n)), "weights")
    assert_allclose(weights.mean(), 1.0)
    assert_allclose(weights.var(axis=0).mean(), (n - 1.0) / (n + 1.0), rtol=0.01)
    first = weights[:, :BLOCK_ROWS].sum(axis=1)
    share = BLOCK_ROWS / n
    assert_allclose(first.mean(), BLOCK_ROWS, rtol=0.005)
    assert_allclose(first.var(), n**2 * share * (1.0 - share) / (n + 1.0), rtol=0.3)


@pytest.mark.parametrize("draw", ["counts", "weights"])
def test_a_weight_of_w_is_that_of_w_copies(draw):
    copies = np.array([3.0, 0.0, 1.0, 4.0, 2.0])
    drawn = many_weights(ArraySource(rows(5), copies), draw, 4000)
    assert not drawn[:, 1].any()
    assert_allclose(drawn.mean(axis=0), copies, atol=0.1)
    n = copies.sum()
    shrunk = 1.0 if draw == "counts" else n / (n + 1.0)
    assert_allclose(drawn.var(axis=0), shrunk * copies * (1.0 - copies / n), rtol=0.1)


@pytest.mark.parametrize("draw", ["counts", "weights"])
def test_neither_blocks_nor_earlier_draws_change_the_weights(draw):
    X = rows(5 * BLOCK_ROWS + 17)
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
    weights = weights_of(resampled(ArraySource(rows(4 * BLOCK_ROWS)), "weights"))
    blocks = weights.reshape(4, BLOCK_ROWS)
    correlations = np.corrcoef(blocks)[np.triu_indices(4, 1)]
    assert np.abs(correlations).max() < 0.15


def test_a_block_without_weight_stays_so():
    X = rows(3 * BLOCK_ROWS)
    own = np.ones(len(X))
    own[BLOCK_ROWS : 2 * BLOCK_ROWS] = 0.0
    for draw in ("counts", "weights"):
        drawn = weights_of(resampled(ArraySource(X, own), draw))
        assert not drawn[BLOCK_ROWS : 2 * BLOCK_ROWS].any()
        assert drawn.sum() == pytest.approx(2 * BLOCK_ROWS)


def test_a_pass_sees_the_weights():
    source = BlockSource(rows())
    resample = resampled(source, "counts")
    found = source_moments(resample, diagonal=False)
    expected = source_moments(ArraySource(source.X, weights_of(resample)), diagonal=False)
    assert_array_equal(found.means(), expected.means())
    assert_array_equal(found.covariances(), expected.covariances())
    assert found.weight == expected.weight


def test_the_jackknife_leaves_out_one_copy():
    X = rows(BLOCK_ROWS + 3)
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
    source = ArraySource(rows(20))
    assert resampled(source, "counts").fingerprint() == source.fingerprint()
    one, two = (
        DrawnSource(mixture(diagonal=True), 10, np.float64, seed=1, number=number)
        for number in (0, 1)
    )
    assert one.fingerprint() != two.fingerprint()
    assert not one.has_weights
