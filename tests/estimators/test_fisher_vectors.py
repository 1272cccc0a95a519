"""Fisher vectors of sets, as users see them."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression

from fastgmm import BayesianGaussianMixture, GaussianMixture, fisher_vectors
from fastgmm.analysis.fisher import FisherEncoder, improved


def sets(n_sets=20, seed=0):
    """Return sets of rows of two kinds, and their kinds: only the spread differs."""
    rng = np.random.default_rng(seed)
    kinds = np.arange(n_sets) % 2
    return [rng.normal(size=(rng.integers(20, 60), 3)) * (1.0 + 0.6 * k) for k in kinds], kinds


def fitted(name="diag", **parameters):
    rows = np.concatenate(sets()[0])
    return GaussianMixture(2, covariance_type=name, random_state=0, **parameters).fit(rows)


def test_layout():
    mixture, (some, _) = fitted(), sets(3)
    plain = fisher_vectors(mixture, some, improved=False, include_weights=True)
    for vector, rows in zip(plain, some, strict=True):
        parts = FisherEncoder(mixture._parameters()).gradients(rows)
        assert_allclose(vector, np.concatenate([each.ravel() for each in parts]), atol=1e-14)
    normal = fisher_vectors(mixture, some)
    assert normal.shape == (3, 2 * 2 * 3)
    assert_array_equal(normal, [improved(vector[2:]) for vector in plain])


def test_the_set_that_a_mixture_was_fitted_to_has_no_gradient():
    mixture = fitted(tol=1e-12, max_iter=5000, reg_covar=0.0)
    whole = fisher_vectors(mixture, [np.concatenate(sets()[0])], improved=False)
    assert_allclose(whole, 0.0, atol=1e-4)


def test_order_of_rows_and_sets_does_not_matter():
    mixture, (some, _) = fitted(), sets(4)
    vectors = fisher_vectors(mixture, some)
    turned = fisher_vectors(mixture, (rows[::-1] for rows in reversed(some)))
    assert_allclose(turned[::-1], vectors, atol=1e-12)


def test_kinds_of_sets_are_distinguished():
    mixture = fitted()
    some, kinds = sets(60, seed=1)
    vectors = fisher_vectors(mixture, some)
    assert (
        LogisticRegression(C=10).fit(vectors[:30], kinds[:30]).score(vectors[30:], kinds[30:]) > 0.9
    )


@pytest.mark.parametrize("name", ["spherical", "tied_diag", "EVI"])
def test_other_diagonal_structures(name):
    assert fisher_vectors(fitted(name), sets(2)[0]).shape == (2, 12)


def test_a_variational_mixture_counts_as_its_expected_components():
    some, _ = sets(3)
    bayes = BayesianGaussianMixture(2, covariance_type="diag", max_iter=500, random_state=0)
    bayes.fit(np.concatenate(some))
    plain = GaussianMixture(2, covariance_type="diag")
    for name in ("weights_", "means_", "precisions_cholesky_"):
        setattr(plain, name, getattr(bayes, name))
    assert_array_equal(fisher_vectors(bayes, some), fisher_vectors(plain, some))


def test_sets_without_rows():
    mixture = fitted()
    assert_array_equal(fisher_vectors(mixture, [np.empty((0, 3))]), np.zeros((1, 12)))
    assert fisher_vectors(mixture, []).shape == (0, 12)
    integers = fisher_vectors(mixture, [[[1, 2, 3], [0, 0, 0]]])
    assert_array_equal(integers, fisher_vectors(mixture, [[[1.0, 2.0, 3.0], [0.0, 0.0, 0.0]]]))


@pytest.mark.parametrize(
    ("descriptors", "kind", "message"),
    [
        (np.zeros((4, 3)), TypeError, "put it in a list, or cut it up with numpy.split"),
        (3, TypeError, "descriptors must be a list of arrays"),
        ([np.zeros((4, 3)), np.zeros((4, 2))], ValueError, r"descriptors\[1\] should have .* 3\)"),
        ([np.zeros(3)], ValueError, r"but got \(3,\)"),
        (
            [np.full((2, 3), np.nan)],
            ValueError,
            r"descriptors\[0\] has NaN or infinity in it, first in row 0, column 0",
        ),
        ([[["a", "b", "c"]]], TypeError, r"descriptors\[0\] holds no real numbers"),
    ],
)
def test_sets_that_cannot_be(descriptors, kind, message):
    with pytest.raises(kind, match=message):
        fisher_vectors(fitted(), descriptors)


def test_mixtures_that_cannot_be():
    some, _ = sets(2)
    with pytest.raises(ValueError, match="this one has covariance_type='full': fit one with"):
        fisher_vectors(fitted("full"), some)
    with pytest.raises(ValueError, match="this one has noise"):
        fisher_vectors(fitted(noise_volume="auto"), some)
    with pytest.raises(NotFittedError):
        fisher_vectors(GaussianMixture(covariance_type="diag"), some)
