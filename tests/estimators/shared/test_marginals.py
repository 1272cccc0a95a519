"""Mixtures of some columns: their marginal, and given the values of others."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import NotFittedError

import fastgmm
from fastgmm import BayesianGaussianMixture, GaussianMixture, MiniBatchGaussianMixture
from tests import oracle
from tests.structures import every_structure

NAMES = ["a", "b", "c", "d"]


def rows(n_samples=400, dtype=np.float64):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n_samples, 4)) @ rng.normal(size=(4, 4))
    X[n_samples // 2 :] += 3.0
    return X.astype(dtype)


def fitted(name="full", **parameters):
    return GaussianMixture(2, covariance_type=name, random_state=0, **parameters).fit(rows())


def full_covariances(mixture):
    """Return a matrix for each component, however the mixture holds them."""
    kind, shape = mixture._structure(), mixture.means_.shape
    covariances = kind.expand(mixture.covariances_, *shape)
    return covariances[..., None] * np.eye(shape[1]) if kind.is_diagonal else covariances


def expected_conditional(mixture, given, values):
    """Return weights, means and covariances by PRML, eqs. 2.81, 2.82 and 2.98."""
    rest = [j for j in range(4) if j not in given]
    S, means = full_covariances(mixture), mixture.means_
    gains = S[:, rest][:, :, given] @ np.linalg.inv(S[:, given][:, :, given])
    moved = means[:, rest] + np.einsum("kij,kj->ki", gains, values - means[:, given])
    covariances = S[:, rest][:, :, rest] - gains @ S[:, given][:, :, rest]
    weights = oracle.responsibilities(
        values[None], mixture.weights_, means[:, given], S[:, given][:, :, given]
    )[0]
    return weights, moved, covariances


@every_structure
def test_marginal_and_conditional(name):
    mixture = fitted(name)
    marginal = mixture.marginal([2, 0])
    diagonal = mixture._structure().is_diagonal
    assert type(marginal) is GaussianMixture
    assert marginal.covariance_type == ("diag" if diagonal else "full")
    assert_array_equal(marginal.weights_, mixture.weights_)
    assert_array_equal(marginal.means_, mixture.means_[:, [2, 0]])
    expected = full_covariances(mixture)[:, [2, 0]][:, :, [2, 0]]
    assert_allclose(full_covariances(marginal), expected, rtol=1e-12, atol=1e-13)
    x = np.array([0.3, -1.0])
    conditional = mixture.condition({3: x[1], 1: x[0]})
    assert conditional.covariance_type == marginal.covariance_type
    weights, means, covariances = expected_conditional(mixture, [1, 3], x)
    assert_allclose(conditional.weights_, weights, atol=1e-12)
    assert_allclose(conditional.means_, means, rtol=1e-10, atol=1e-12)
    assert_allclose(full_covariances(conditional), covariances, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    "mixture",
    [
        GaussianMixture(3, random_state=0),
        GaussianMixture(3, covariance_type="diag", random_state=0),
        BayesianGaussianMixture(3, max_iter=500, random_state=0),
        MiniBatchGaussianMixture(3, max_epochs=1, random_state=0),
    ],
    ids=lambda mixture: f"{type(mixture).__name__}-{mixture.covariance_type}",
)
def test_together_they_are_the_whole(mixture):
    X = rows()
    mixture.fit(X)
    whole = GaussianMixture(3, covariance_type=mixture.covariance_type)
    for name in ("weights_", "means_", "precisions_cholesky_"):
        setattr(whole, name, getattr(mixture, name))
    marginal = mixture.marginal([1, 3])
    for x in X[:10]:
        conditional = mixture.condition({1: x[1], 3: x[3]})
        assert conditional.weights_.sum() == pytest.approx(1.0)
        parts = marginal.score_samples([x[[1, 3]]]) + conditional.score_samples([x[[0, 2]]])
        assert_allclose(parts, whole.score_samples([x]), rtol=1e-11)


def test_all_columns_in_another_order_score_the_same():
    mixture = fitted()
    order = [3, 1, 0, 2]
    assert_allclose(
        mixture.marginal(order).score_samples(rows()[:, order]), mixture.score_samples(rows())
    )


def test_columns_by_name():
    frame = pd.DataFrame(rows(), columns=NAMES)
    mixture = GaussianMixture(2, random_state=0).fit(frame)
    marginal = mixture.marginal(["d", 1])
    assert list(marginal.feature_names_in_) == ["d", "b"]
    assert marginal.n_features_in_ == 2
    marginal.score_samples(frame[["d", "b"]])
    conditional = mixture.condition({"c": 0.5, 0: np.float32(1.0)})
    assert list(conditional.feature_names_in_) == ["b", "d"]
    again = fitted().condition({2: 0.5, 0: 1.0})
    assert not hasattr(again, "feature_names_in_")
    assert_allclose(conditional.means_, again.means_)


def test_values_far_from_every_component():
    conditional = fitted().condition({0: 1e6})
    assert np.isfinite(conditional.means_).all()
    assert conditional.weights_.sum() == pytest.approx(1.0)


def test_results_are_mixtures_like_others(tmp_path):
    mixture = GaussianMixture(2, random_state=7, n_jobs=1).fit(rows(dtype=np.float32))
    conditional = mixture.condition({0: 1.0})
    assert conditional.means_.dtype == conditional.covariances_.dtype == np.float64
    assert conditional.get_params()["random_state"] == 7
    assert conditional.get_params()["n_jobs"] == 1
    drawn, _ = conditional.sample(20_000)
    expected = conditional.weights_ @ conditional.means_
    assert_allclose(drawn.mean(axis=0), expected, atol=0.1)
    conditional.save(tmp_path / "model.fgm")
    assert_array_equal(fastgmm.load(tmp_path / "model.fgm").means_, conditional.means_)
    conditional.marginal([0]).partial_fit(rows()[:, :1])


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (["a", "z"], "no column 'z': its columns are 'a', 'b', 'c', 'd'"),
        ([4], "no column 4: its columns are numbered from 0 to 3"),
        ([-1], "no column -1"),
        (["a", 0], r"column 0 \('a'\) is given twice"),
        ([], "columns names no column"),
    ],
)
def test_columns_that_are_not_there(columns, message):
    mixture = GaussianMixture().fit(pd.DataFrame(rows(), columns=NAMES))
    with pytest.raises(ValueError, match=message):
        mixture.marginal(columns)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"z": 1.0}, "no column 'z'"),
        ({"a": np.nan}, "the value of column 'a' must be finite, but got nan"),
        ({}, "values gives no column"),
        (dict.fromkeys(range(4), 0.0), "values gives all 4 columns"),
    ],
)
def test_values_that_cannot_be(values, message):
    mixture = GaussianMixture().fit(pd.DataFrame(rows(), columns=NAMES))
    with pytest.raises(ValueError, match=message):
        mixture.condition(values)


def test_other_things_than_columns():
    mixture = fitted()
    with pytest.raises(TypeError, match=r"write \['a'\] for a single one"):
        mixture.marginal("a")
    with pytest.raises(TypeError, match="by its number or its name; got 2"):
        mixture.marginal([2.0])
    with pytest.raises(TypeError, match="mapping from columns to their values"):
        mixture.condition([1.0, np.nan])
    with pytest.raises(TypeError, match="the value of column 0 must be a number; got 'high'"):
        mixture.condition({0: "high"})
    with pytest.raises(ValueError, match="no column 'a': it was fitted to columns without names"):
        mixture.condition({"a": 1.0})


def test_mixtures_that_have_no_marginal():
    with pytest.raises(NotFittedError):
        GaussianMixture().marginal([0])
    noisy = fitted(noise_volume="auto")
    with pytest.raises(ValueError, match="marginal takes mixtures of Gaussians alone"):
        noisy.marginal([0])
    with pytest.raises(ValueError, match="condition takes mixtures of Gaussians alone"):
        noisy.condition({0: 1.0})
