"""Passes over mixtures against the oracle: values, memory layouts, types, reproducibility."""

import numpy as np
import pytest

from fastgmm.data.sources.array import ArraySource
from fastgmm.em.e_step import passes
from fastgmm.em.e_step.accumulator import pass_parameters
from fastgmm.kernels.tiles import BLOCK_ROWS, lane_count, slot_count
from fastgmm.mixture.parameters import MixtureParameters
from tests import oracle
from tests.em.block_source import BlockSource
from tests.incomplete_rows import mixture, parameters_of
from tests.pairwise import parametrize_pairwise


def rows_of(means, n_samples, dtype=np.float64, seed=1):
    rng = np.random.default_rng(seed)
    chosen = means[rng.integers(len(means), size=n_samples)]
    return (chosen + rng.normal(size=chosen.shape)).astype(dtype)


def assert_statistics(found, X, shares, weights, diagonal, tolerance):
    counts, first, second = oracle.moments(X, shares, found.reference, weights)
    if diagonal:
        second = np.einsum("kii->ki", second)
    scale = counts.max()
    np.testing.assert_allclose(found.counts, counts, atol=tolerance * scale)
    np.testing.assert_allclose(found.first, first, atol=tolerance * np.abs(first).max())
    np.testing.assert_allclose(found.second, second, atol=tolerance * np.abs(second).max())


@parametrize_pairwise(
    problem=[(1, 3, True), (2, 1, False), (5, 4, True)],
    separation=[2.0, 300.0],
    diagonal=[False, True],
    dtype=[np.float64, np.float32],
)
def test_every_value_of_a_pass(problem, separation, diagonal, dtype):
    D, K, weighted = problem
    truth = mixture(D, K, diagonal=diagonal, separation=separation)
    X = rows_of(truth[1], 300, dtype)
    weights = np.random.default_rng(2).uniform(0, 2, len(X)) if weighted else None
    source = ArraySource(X, weights)
    parameters = parameters_of(*truth, diagonal=diagonal)
    density = oracle.log_density(X, *truth)
    shares = oracle.responsibilities(X, *truth)
    tolerance = 1e-12 if dtype is np.float64 else 2e-5

    found = passes.mixture_statistics(source, parameters, n_jobs=1)
    assert_statistics(found, X, shares, weights, diagonal, tolerance)
    total = np.average(density, weights=weights) * source.total_weight
    assert found.weight == pytest.approx(source.total_weight)
    assert found.log_likelihood == pytest.approx(total, rel=tolerance)
    assert passes.log_likelihood(source, parameters, n_jobs=1) == found.log_likelihood

    values = passes.log_density(source, parameters, n_jobs=1)
    assert values.dtype == dtype
    np.testing.assert_allclose(values, density, rtol=tolerance, atol=50 * tolerance)
    values = passes.responsibilities(source, parameters, n_jobs=1)
    assert values.dtype == dtype
    np.testing.assert_allclose(values, shares, atol=50 * tolerance)
    labels = passes.labels(source, parameters, n_jobs=1)
    assert labels.dtype == np.int64
    margin = np.sort(np.c_[shares, np.zeros(len(X))], axis=1)[:, -2:] @ [-1.0, 1.0]
    certain = margin > 1e-3
    np.testing.assert_array_equal(labels[certain], oracle.labels(X, *truth)[certain])


@pytest.mark.filterwarnings("ignore:overflow")  # as plain Python, NumPy warns of it
@parametrize_pairwise(
    problem=[(8, 16, True), (9, 20, False), (33, 18, True)],
    separation=[25.0, 1e4],
    far=[False, True],
    dtype=[np.float64, np.float32],
)
def test_components_that_lie_apart_are_left_out_of_what_they_do_not_matter_to(
    problem, separation, far, dtype
):
    D, K, weighted = problem
    truth = mixture(D, K, diagonal=False, separation=separation)
    truth = (np.arange(1.0, K + 1) / (K * (K + 1) / 2), *truth[1:])
    X = rows_of(truth[1], 2500, dtype)
    if far:
        X[1234] = dtype(1e9)
    weights = None
    if weighted:
        weights = np.random.default_rng(2).uniform(0, 2, len(X))
        weights[5], X[5] = 0.0, 1e30
    source, parameters = ArraySource(X, weights), parameters_of(*truth, diagonal=False)
    assert len(pass_parameters(dtype, parameters).intercepts) == K
    found = passes.mixture_statistics(source, parameters)
    assert passes.log_likelihood(source, parameters) == found.log_likelihood
    tolerance = 1e-12 if dtype is np.float64 else 2e-5
    shares = oracle.responsibilities(X, *truth)
    assert_statistics(found, X, shares, weights, False, tolerance)
    total = np.average(oracle.log_density(X, *truth), weights=weights) * source.total_weight
    assert found.log_likelihood == pytest.approx(total, rel=tolerance)
    piecewise = passes.mixture_statistics(BlockSource(X, weights), parameters, n_jobs=1)
    again = passes.mixture_statistics(ArraySource(X, weights), parameters, n_jobs=2)
    np.testing.assert_array_equal(piecewise.second, again.second)


@pytest.mark.parametrize(("separation", "pruned"), [(0.5, False), (1.0, False), (5.0, True)])
def test_rows_are_sorted_only_where_it_pays(separation, pruned):
    parameters = parameters_of(*mixture(9, 20, diagonal=False, separation=separation))
    assert (len(pass_parameters(np.float64, parameters).intercepts) > 0) == pruned


@pytest.mark.parametrize("diagonal", [False, True])
@pytest.mark.parametrize("separation", [2.0, 1e6])
def test_statistics_of_given_labels_and_responsibilities(separation, diagonal):
    truth = mixture(3, 4, diagonal=diagonal, separation=separation)
    X = rows_of(truth[1], 250)
    weights = np.random.default_rng(3).integers(0, 3, len(X)).astype(float)
    source = ArraySource(X, weights)
    labels = np.random.default_rng(4).integers(-1, 4, len(X))
    if separation > 2.0:
        labels = oracle.labels(X, *truth)
        labels[:10] = -1
    shares = oracle.one_hot(labels, 4)
    found = passes.labeled_statistics(source, labels, 4, diagonal=diagonal, n_jobs=1)
    assert_statistics(found, X, shares, weights, diagonal, 1e-12)
    assert np.isnan(found.log_likelihood)
    found = passes.responsibility_statistics(source, shares, diagonal=diagonal, n_jobs=1)
    assert_statistics(found, X, shares, weights, diagonal, 1e-12)


def test_far_from_the_origin_nothing_is_lost():
    truth = mixture(3, 3, diagonal=False)
    X = rows_of(truth[1], 300)
    near = passes.mixture_statistics(ArraySource(X), parameters_of(*truth, diagonal=False))
    offset = 2.0**27  # adding it rounds, so the oracle gets the rounded rows and means
    moved = X + offset
    parameters = parameters_of(truth[0], truth[1] + offset, truth[2], diagonal=False)
    far = passes.mixture_statistics(ArraySource(moved), parameters)
    rounded = truth[0], parameters.means - offset, truth[2]
    shares = oracle.responsibilities(moved - offset, *rounded)
    counts, first, _ = oracle.moments(moved, shares, far.reference)
    np.testing.assert_allclose(far.counts, counts, rtol=1e-12)
    np.testing.assert_allclose(far.first, first, rtol=1e-11, atol=1e-9)
    assert far.log_likelihood == pytest.approx(near.log_likelihood, rel=1e-6)


@pytest.mark.parametrize("exponent", [-30, 30])
def test_single_precision_data_whose_squares_leave_its_range(exponent):
    scale = 10.0**exponent
    weights, means, covariances = mixture(2, 2, diagonal=False)
    X = (rows_of(means, 200) * scale).astype(np.float32)
    truth = weights, means * scale, covariances * scale**2
    found = passes.mixture_statistics(ArraySource(X), parameters_of(*truth, diagonal=False))
    shares = oracle.responsibilities(X, *truth)
    assert_statistics(found, X, shares, None, False, 1e-5)


def layouts(X, folder):
    strided = np.empty((2 * len(X), 3 * X.shape[1]))[::2, ::3]
    strided[...] = X
    reverse = np.ascontiguousarray(X[::-1, ::-1])[::-1, ::-1]
    frozen = X.copy()
    frozen.setflags(write=False)
    np.save(folder / "rows.npy", X)
    return {
        "Fortran": np.asfortranarray(X),
        "strided": strided,
        "negative strides": reverse,
        "read-only": frozen,
        "memory map": np.load(folder / "rows.npy", mmap_mode="r"),
        "unaligned": np.frombuffer(b"?" + X.tobytes(), np.uint8)[1:].view(X.dtype).reshape(X.shape),
    }


@pytest.mark.parametrize("diagonal", [False, True])
def test_memory_layout_does_not_change_a_bit(diagonal, tmp_path):
    truth = mixture(5, 3, diagonal=diagonal)
    X = rows_of(truth[1], 300)
    parameters = parameters_of(*truth, diagonal=diagonal)
    expected = passes.mixture_statistics(ArraySource(X), parameters)
    for name, rows in layouts(X, tmp_path).items():
        found = passes.mixture_statistics(ArraySource(rows), parameters)
        np.testing.assert_array_equal(found.second, expected.second, err_msg=name)
        assert found.log_likelihood == expected.log_likelihood, name


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_very_distant_row_still_belongs_to_the_nearest_component(dtype):
    far = 1e100 if dtype is np.float64 else 1e15
    parameters = MixtureParameters.from_covariances(
        np.array([0.5, 0.5]), np.array([[0.0], [1.0]]), np.array([[1.0], [4.0]])
    )
    source = ArraySource(np.array([[far], [0.0]], dtype))
    np.testing.assert_array_equal(passes.responsibilities(source, parameters)[0], [0.0, 1.0])
    density = passes.log_density(source, parameters)
    np.testing.assert_allclose(density[0], -(far**2) / 8, rtol=1e-6)


@pytest.mark.filterwarnings("ignore:overflow")  # as plain Python, NumPy warns of it
def test_a_row_that_overflows_every_density_belongs_to_the_widest():
    parameters = MixtureParameters.from_covariances(
        np.array([0.5, 0.5]), np.zeros((2, 1)), np.array([[1.0], [2.0]])
    )
    source = ArraySource(np.array([[0.0], [1e200], [1.0]]))
    density = passes.log_density(source, parameters)
    assert density[1] == -np.inf
    found = passes.mixture_statistics(source, parameters)
    shares = passes.responsibilities(source, parameters)
    np.testing.assert_array_equal(shares[1], [0.0, 1.0])
    np.testing.assert_allclose(found.counts, shares.sum(axis=0))
    assert np.isfinite(found.second[0]).all()
    np.testing.assert_array_equal(passes.labels(source, parameters), [0, 1, 0])


def test_a_weight_of_zero_takes_part_in_nothing():
    parameters = MixtureParameters.from_covariances(
        np.array([0.0, 1.0]), np.zeros((2, 2)), np.stack([np.eye(2)] * 2)
    )
    X = np.random.default_rng(0).normal(size=(40, 2))
    found = passes.responsibilities(ArraySource(X), parameters)
    np.testing.assert_array_equal(found, np.tile([0.0, 1.0], (40, 1)))
    statistics = passes.mixture_statistics(ArraySource(X, np.zeros(40)), parameters)
    assert statistics.log_likelihood == 0.0
    assert not statistics.counts.any()


def test_slots_and_lanes_depend_on_the_problem_only():
    assert slot_count(1000) == 64
    assert slot_count(2**20) == 32
    assert slot_count(2**40) == 8
    for itemsize in (4, 8):
        assert BLOCK_ROWS % lane_count(1, 1, itemsize) == 0
        assert lane_count(1, 1, itemsize) == 2 * lane_count(200, 50, itemsize)


@pytest.mark.filterwarnings("ignore:overflow")  # as plain Python, NumPy warns of it
@pytest.mark.parametrize("diagonal", [False, True])
@pytest.mark.parametrize(("dtype", "fill"), [(np.float64, 1e100), (np.float32, 9.97e36)])
def test_rows_without_weight_are_absent_whatever_they_hold(dtype, fill, diagonal):
    truth = mixture(2, 3, diagonal=diagonal)
    X = rows_of(truth[1], 300, dtype)
    filled = np.r_[np.full((1500, 2), fill, dtype), X]
    weights = np.r_[np.zeros(1500), np.ones(len(X))]
    labels = oracle.labels(X, *truth)
    source = ArraySource(filled, weights)
    given = np.r_[np.zeros(1500, np.int64), labels]
    found = passes.labeled_statistics(source, given, 3, diagonal=diagonal)
    shares = oracle.one_hot(labels, 3)
    tolerance = 1e-12 if dtype is np.float64 else 2e-5
    assert_statistics(found, X, shares, None, diagonal, tolerance)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("diagonal", [False, True])
def test_rows_of_known_component_keep_it(diagonal, dtype):
    D, K = 3, 5
    generator = np.random.default_rng(0)
    weights, means, covariances = mixture(D, K, diagonal=diagonal)
    parameters = parameters_of(weights, means, covariances, diagonal=diagonal)
    X = rows_of(means, 3000, dtype)
    sample_weight = generator.uniform(size=len(X))
    known = generator.integers(-1, K, size=len(X))
    joint = oracle.joint_log_density(X, weights, means, covariances)
    joint[(known[:, None] >= 0) & (known[:, None] != np.arange(K))] = -np.inf
    densities = np.logaddexp.reduce(joint, axis=1)
    source = ArraySource(X, sample_weight)
    tolerance = 1e-10 if dtype == np.float64 else 1e-4

    found = passes.mixture_statistics(source, parameters, known=known)

    shares = np.exp(joint - densities[:, None])
    assert_statistics(found, X, shares, sample_weight, diagonal, tolerance)
    expected = sample_weight @ densities
    assert found.log_likelihood == pytest.approx(expected, rel=tolerance)
    measured = passes.log_likelihood(source, parameters, known=known)
    assert measured == pytest.approx(expected, rel=tolerance)


@parametrize_pairwise(
    problem=[(1, 3, True), (2, 2, False), (3, 4, True), (9, 5, False)],
    dtype=[np.float64, np.float32],
    labeled=[False, True],
)
def test_pooled_moments_of_a_mixture_with_one_covariance(problem, dtype, labeled):
    D, K, weighted = problem
    shares, means, covariances = mixture(D, K, diagonal=False, separation=2.0)
    truth = shares, means, np.repeat(covariances[:1], K, axis=0)
    parameters = parameters_of(*truth, diagonal=False)
    X = rows_of(means, 700, dtype)
    rng = np.random.default_rng(2)
    source = ArraySource(X, rng.uniform(0, 2, len(X)) if weighted else None)
    known = np.where(rng.uniform(size=len(X)) < 0.3, rng.integers(K, size=len(X)), -1)
    known = known if labeled else None
    tolerance = 1e-12 if dtype is np.float64 else 2e-5

    each = passes.mixture_statistics(source, parameters, known=known)
    found = passes.mixture_statistics(source, parameters, known=known, pooled=True)
    assert found.log_likelihood == pytest.approx(each.log_likelihood, rel=tolerance)
    for one, other in (
        (found.counts, each.counts),
        (found.first, each.first),
        (found.second.sum(axis=0), each.second.sum(axis=0)),
    ):
        np.testing.assert_allclose(one, other, atol=tolerance * np.abs(other).max())
    covariances = found.covariances()
    np.testing.assert_allclose(
        covariances, np.repeat(covariances[:1], K, axis=0), atol=tolerance * covariances.max()
    )
    np.testing.assert_array_equal(covariances, covariances.transpose(0, 2, 1))


def test_pooled_moments_of_features_that_are_constant_within_components():
    means = np.array([[0.1, 0.7], [3.3, 1.9]])
    X = means[np.arange(600) % 2] + np.random.default_rng(0).normal(size=(600, 1)) * [1.0, 0.0]
    parameters = MixtureParameters.from_covariances(
        np.full(2, 0.5), means, np.repeat(np.eye(2)[None], 2, axis=0)
    )
    known = np.arange(600) % 2
    found = passes.mixture_statistics(ArraySource(X), parameters, known=known, pooled=True)
    covariances = found.covariances()
    assert not covariances[:, 1].any()
    assert not covariances[:, :, 1].any()
    within = np.mean([X[known == k, 0].var() for k in range(2)])
    np.testing.assert_allclose(covariances[:, 0, 0], within, rtol=1e-12)
