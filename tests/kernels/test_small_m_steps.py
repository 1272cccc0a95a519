"""M-steps of one small mixture: against plain NumPy, for every structure."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from fastgmm.kernels import small_m_steps
from fastgmm.kernels.small_em import Memory
from tests import oracle
from tests.parsimonious import MODELS

LETTERS = {
    "E": small_m_steps.EQUAL,
    "V": small_m_steps.VARYING,
    "I": small_m_steps.IDENTITY,
}
SMALLEST = 1e-14


def memory(K, D):
    return Memory(
        shape=np.ones(D),
        volumes=np.ones(K),
        axes=np.eye(D),
        diagonals=np.empty((K, D)),
        vectors=np.repeat(np.eye(D)[None], K, axis=0),
        turned=np.empty((K, D, D)),
        pooled=np.empty((D, D)),
        whitener=np.empty((D, D)),
    )


def scatter_of(counts, D, seed=0):
    rng = np.random.default_rng(seed)
    K = len(counts)
    rows = rng.normal(size=(K, 4 * D, D)) * rng.uniform(0.3, 3.0, size=(K, 1, D))
    rows = rows @ rng.normal(size=(K, D, D))
    return counts[:, None, None] * (rows.transpose(0, 2, 1) @ rows) / rows.shape[1]


def m_step(letters, scatter, counts, state=None, *, first=True):
    K, D = scatter.shape[:2]
    state = memory(K, D) if state is None else state
    volume, shape, orientation = (LETTERS[each] for each in letters)
    covariances = np.full((K, D, D), np.nan)
    if orientation == small_m_steps.IDENTITY:
        sound = small_m_steps.diagonal_m_step(
            volume, shape, scatter.copy(), counts, state, covariances, K, D
        )
    else:
        sound = small_m_steps.full_m_step(
            volume, shape, orientation, scatter.copy(), counts, state, covariances, K, D,
            SMALLEST, first,
        )  # fmt: skip
    return sound, covariances


@pytest.mark.parametrize("letters", MODELS)
@pytest.mark.parametrize(("K", "D"), [(1, 2), (3, 1), (3, 3), (2, 5)])
def test_covariances_are_the_best_of_their_structure(letters, K, D):
    counts = np.array([30.0, 7.5, 50.0])[:K]
    scatter = scatter_of(counts, D)
    observed = scatter / counts[:, None, None]
    expected = oracle.best_covariances(letters, observed, counts)
    state = memory(K, D)
    sound, found = m_step(letters, scatter, counts, state)
    for _ in range(20):  # inner iterations go on from where the step before ended
        sound_again, found = m_step(letters, scatter, counts, state, first=False)
        sound &= sound_again
    assert sound
    shares = counts / counts.sum()
    least = oracle.criterion(expected, observed, shares)
    if letters in ("EVE", "VVE"):
        assert oracle.criterion(found, observed, shares) <= least + 1e-7 * abs(least)
    else:
        assert_allclose(found, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())
        assert oracle.criterion(found, observed, shares) == pytest.approx(least, rel=1e-8)


@pytest.mark.parametrize(
    "letters", sorted(set(MODELS) - {"EII", "VII", "EEI", "VVI", "EEE", "VVV"})
)
def test_a_direction_without_variance_has_no_maximum(letters):
    """Closed forms leave it to the Cholesky factor of what they return."""
    counts = np.array([30.0, 20.0])
    scatter = np.repeat(np.diag([3.0, 0.0, 1.0])[None], 2, axis=0)
    sound, _ = m_step(letters, scatter, counts)
    assert not sound


@pytest.mark.parametrize("letters", ["VEI", "VEV", "VEE"])
def test_a_component_without_variance_has_no_volume(letters):
    scatter = np.array([np.eye(2), np.zeros((2, 2))])
    sound, _ = m_step(letters, scatter, np.array([5.0, 5.0]))
    assert not sound


@pytest.mark.parametrize("D", [1, 2, 6])
def test_eigenvalues_and_vectors(D):
    values = 10.0 ** -np.arange(0.0, 2.0 * D, 2.0)
    rng = np.random.default_rng(D)
    axes = np.linalg.qr(rng.normal(size=(D, D)))[0]
    matrix = (axes * values) @ axes.T
    turned, vectors = matrix.copy(), np.eye(D)
    small_m_steps.eigen(turned, vectors, D)
    assert_allclose(np.diag(turned), values, rtol=1e-4, atol=1e-14)
    assert_allclose(np.diag(turned)[: D // 2 + 1], values[: D // 2 + 1], rtol=1e-9)
    assert_allclose(vectors.T @ vectors, np.eye(D), atol=1e-13)
    assert_allclose(vectors.T @ matrix @ vectors, np.diag(values), atol=1e-14)


def test_inverse_of_a_factor():
    matrix = scatter_of(np.ones(1), 4)[0]
    whitener = np.full((4, 4), np.nan)
    found = small_m_steps.invert_cholesky(matrix, whitener, 4, SMALLEST)
    assert found == pytest.approx(np.linalg.slogdet(matrix)[1], rel=1e-12)
    assert_allclose(whitener, np.linalg.inv(np.linalg.cholesky(matrix)), rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("matrix", [np.diag([1.0, 0.0]), np.ones((2, 2)), np.diag([-1.0, 1.0])])
def test_a_singular_matrix_has_no_factor(matrix):
    assert np.isnan(small_m_steps.invert_cholesky(matrix, np.empty((2, 2)), 2, SMALLEST))
