"""M-steps of one small mixture: against plain NumPy, for every structure."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.linalg import expm

from fastgmm.kernels import structure_m_steps
from tests import oracle
from tests.parsimonious import MODELS

LETTERS = {
    "E": structure_m_steps.EQUAL,
    "V": structure_m_steps.VARYING,
    "I": structure_m_steps.IDENTITY,
}
SMALLEST = 1e-14


def scatter_of(counts, D, seed=0):
    rng = np.random.default_rng(seed)
    K = len(counts)
    rows = rng.normal(size=(K, 4 * D, D)) * rng.uniform(0.3, 3.0, size=(K, 1, D))
    rows = rows @ rng.normal(size=(K, D, D))
    return counts[:, None, None] * (rows.transpose(0, 2, 1) @ rows) / rows.shape[1]


def m_step(letters, scatter, counts, state=None, *, first=True):
    K, D = scatter.shape[:2]
    state = structure_m_steps.memory_of(K, D) if state is None else state
    whiteners, log_determinants = np.zeros((K, D, D)), np.full(K, np.nan)
    sound = structure_m_steps.m_step(
        np.array([LETTERS[each] for each in letters]), scatter / counts[:, None, None],
        counts / counts.sum(), state, whiteners, log_determinants,
        structure_m_steps.Effort(first, 1e-10, SMALLEST),
    )  # fmt: skip
    if not sound:
        return False, None
    assert_array_equal(np.triu(whiteners, 1), 0.0)
    covariances = np.linalg.inv(whiteners.transpose(0, 2, 1) @ whiteners)
    assert_allclose(log_determinants, np.linalg.slogdet(covariances)[1], rtol=1e-9, atol=1e-9)
    return True, covariances


@pytest.mark.parametrize("letters", MODELS)
@pytest.mark.parametrize(("K", "D"), [(1, 2), (3, 1), (3, 3), (2, 5)])
def test_covariances_are_the_best_of_their_structure(letters, K, D):
    counts = np.array([30.0, 7.5, 50.0])[:K]
    scatter = scatter_of(counts, D)
    observed = scatter / counts[:, None, None]
    expected = oracle.best_covariances(letters, observed, counts)
    state = structure_m_steps.memory_of(K, D)
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


@pytest.mark.parametrize("letters", sorted(set(MODELS) - {"EII", "VII"}))
def test_a_direction_without_variance_has_no_maximum(letters):
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
    structure_m_steps.eigen(turned, vectors, 1e-13)
    assert_allclose(np.diag(turned), values, rtol=1e-4, atol=1e-14)
    assert_allclose(np.diag(turned)[: D // 2 + 1], values[: D // 2 + 1], rtol=1e-9)
    assert_allclose(vectors.T @ vectors, np.eye(D), atol=1e-13)
    assert_allclose(vectors.T @ matrix @ vectors, np.diag(values), atol=1e-14)


def test_inverse_of_a_factor():
    matrix = scatter_of(np.ones(1), 4)[0]
    whitener = np.full((4, 4), np.nan)
    found = structure_m_steps.invert_cholesky(matrix, whitener, SMALLEST)
    assert found == pytest.approx(np.linalg.slogdet(matrix)[1], rel=1e-12)
    assert_allclose(whitener, np.linalg.inv(np.linalg.cholesky(matrix)), rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("matrix", [np.diag([1.0, 0.0]), np.ones((2, 2)), np.diag([-1.0, 1.0])])
def test_a_singular_matrix_has_no_factor(matrix):
    assert np.isnan(structure_m_steps.invert_cholesky(matrix, np.empty((2, 2)), SMALLEST))


# -- orientations ----------------------------------------------------------------------------------

equal_or_not = pytest.mark.parametrize("equal_volumes", [False, True])


class Search:
    """A search for the orientation of some covariances, and the criterion's derivatives."""

    def __init__(self, equal_volumes, seed=0, n_components=3, n_features=4):
        rng = np.random.default_rng(seed)
        A = rng.normal(size=(n_components, n_features, 2 * n_features))
        self.shares = rng.dirichlet(np.full(n_components, 3.0))
        self.axes = np.linalg.qr(rng.normal(size=(n_features, n_features)))[0].copy()
        self.covariances = A @ A.transpose(0, 2, 1)
        self.equal_volumes = equal_volumes

    def look(self, axes):
        K, D = self.covariances.shape[:2]
        shapes = (K, D, D), (K, D), (K,), (D, D)
        known = structure_m_steps.View(*(np.empty(shape) for shape in shapes))
        axes = np.ascontiguousarray(axes)
        value = structure_m_steps._look(
            self.covariances, self.shares, self.equal_volumes, axes, known
        )
        return value, known

    def value(self, axes):
        return self.look(axes)[0]

    def gradient(self, axes):
        return structure_m_steps._gradient(self.look(axes)[1])[1]

    def times(self, X, *, with_tensor=True):
        known = self.look(self.axes)[1]
        linear, _, _ = structure_m_steps._gradient(known)
        tensor = structure_m_steps._own_row_tensor(known)
        product = np.empty_like(X)
        structure_m_steps._hessian_times(
            X,
            known,
            self.equal_volumes,
            linear,
            tensor if with_tensor else tensor[:0],
            product,
        )
        return product

    def best(self, starts, before=None):
        axes = np.eye(len(self.axes)) if before is None else before.copy()
        variances = structure_m_steps.common_orientation(
            self.covariances, self.shares, self.equal_volumes,
            np.array(starts).reshape(-1, *axes.shape), axes, before is not None, 0.0,
        )  # fmt: skip
        turned = axes.T @ self.covariances @ axes
        assert_allclose(variances, np.einsum("kii->ki", turned), rtol=1e-10, atol=1e-12)
        return axes


def skew(seed, n_features=4):
    X = np.random.default_rng(seed).normal(size=(n_features, n_features))
    return X - X.T


@equal_or_not
def test_the_value_is_the_criterion(equal_volumes):
    search = Search(equal_volumes)
    axes = search.axes
    variances = np.array([np.diag(axes.T @ each @ axes) for each in search.covariances])
    if equal_volumes:
        expected = 4 * np.log(search.shares @ variances.prod(axis=1) ** 0.25)
    else:
        expected = search.shares @ np.log(variances).sum(axis=1)
    assert search.value(axes) == pytest.approx(expected, rel=1e-12)


@equal_or_not
def test_gradient_and_hessian_are_those_of_differences(equal_volumes):
    search = Search(equal_volumes)
    axes, step = search.axes, 1e-3
    for seed in range(3):
        X = skew(seed)
        values = [search.value(axes @ expm(s * step * X)) for s in (-2, -1, 0, 1, 2)]
        slope = np.dot([1, -8, 0, 8, -1], values) / (12 * step)
        bend = np.dot([-1, 16, -30, 16, -1], values) / (12 * step**2)
        assert np.vdot(search.gradient(axes), X) == pytest.approx(slope, rel=1e-6)
        product = search.times(X)
        assert np.vdot(product, X) == pytest.approx(bend, rel=1e-5)
        assert_allclose(product, -product.T, atol=1e-12)
        other = skew(seed + 10)
        assert np.vdot(product, other) == pytest.approx(np.vdot(search.times(other), X))


@equal_or_not
@pytest.mark.parametrize("n_features", [6, 30])
def test_products_of_many_features_take_another_way_to_the_same_end(equal_volumes, n_features):
    search, X = Search(equal_volumes, 0, 3, n_features), skew(0, n_features)
    many = search.times(X, with_tensor=False)
    assert_allclose(many, search.times(X), rtol=1e-10, atol=1e-10)


@equal_or_not
@pytest.mark.parametrize("n_features", [6, 30])
def test_the_search_ends_where_the_gradient_vanishes(equal_volumes, n_features):
    for seed in range(5 if n_features == 6 else 1):
        search = Search(equal_volumes, seed, 5, n_features)
        found = search.best([search.axes])
        assert_allclose(found.T @ found, np.eye(n_features), atol=1e-13)
        assert np.abs(search.gradient(found)).max() < 1e-9
        assert search.value(found) < search.value(search.axes)


@equal_or_not
def test_of_several_starts_the_best_end_counts(equal_volumes):
    search = Search(equal_volumes, 4, 4, 6)
    starts = [Search(equal_volumes, seed, 4, 6).axes for seed in range(4)]
    ends = [search.value(search.best([each])) for each in starts]
    assert search.value(search.best(starts)) == pytest.approx(min(ends), abs=1e-12)


@equal_or_not
def test_other_starts_are_followed_only_if_they_begin_better(equal_volumes):
    search = Search(equal_volumes)
    best = search.best([search.axes])
    assert_array_equal(search.best([search.axes], best), search.best([], best))
    assert search.value(search.best([best], search.axes)) <= search.value(best) + 1e-12


@equal_or_not
def test_the_steps_of_a_search_never_rise(equal_volumes):
    for seed in range(20):
        search = Search(equal_volumes, seed, 4, 5)
        axes, value = search.axes, search.value(search.axes)
        for _ in range(10):
            structure_m_steps.common_orientation(
                search.covariances, search.shares, equal_volumes, np.empty((0, 5, 5)), axes,
                True, 1e-12,
            )  # fmt: skip
            before, value = value, search.value(axes)
            assert value <= before + 1e-12


def test_axes_whose_variances_vanish_in_rounding_are_no_error():
    search = Search(False, 0, 2, 2)
    search.covariances = np.diag([1.0, 1e-300])[None] * np.ones((2, 1, 1))
    assert np.isfinite(search.value(np.array([[1.0, 0.0], [-1e-200, 1.0]])))
    assert np.isfinite(search.best([np.eye(2)])).all()
