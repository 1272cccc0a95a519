"""Why rows are outliers: against conditional mixtures and a general optimizer."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.optimize import minimize
from sklearn.exceptions import NotFittedError

from fastgmm import GaussianMixture, GaussianMixtureOutlierDetector
from tests.structures import DISTINCT

RNG = np.random.default_rng(0)
MIXING = np.array([[1.0, 0.8, 0.0], [0.0, 1.0, -0.5], [0.0, 0.0, 1.0]])
X = np.concatenate(
    [RNG.normal(size=(300, 3)) @ MIXING, RNG.normal(size=(200, 3)) * [1.0, 0.3, 2.0] + 5.0]
)
FAR = np.array([[0.0, 0.0, 9.0], [5.0, 9.0, 5.0], [-6.0, -6.0, 2.0], [0.0, 0.1, 0.2]])


def fitted(name="full", K=2):
    return GaussianMixture(K, covariance_type=name, random_state=0, max_iter=30, tol=1e-2).fit(X)


@pytest.mark.parametrize("name", DISTINCT)
def test_surprises_are_those_of_conditional_densities(name):
    mixture = fitted(name)
    found = mixture.explain(FAR)
    for i, row in enumerate(FAR):
        for j in range(3):
            others = {m: float(row[m]) for m in range(3) if m != j}
            given = mixture.condition(others)
            grid = np.linspace(-30.0, 30.0, 20_001)[:, None]
            densities = given.score_samples(grid)
            own = given.score_samples(row[None, [j]])[0]
            assert found.surprises[i, j] == pytest.approx(max(densities.max(), own) - own, abs=1e-3)
            assert given.score_samples([[found.expected[i, j]]])[0] >= densities.max() - 1e-9


def test_one_feature_given_the_others_has_a_closed_form():
    mixture = GaussianMixture().fit(X)
    precision, offsets = mixture.precisions_[0], FAR - mixture.means_[0]
    slopes = offsets @ precision
    found = mixture.explain(FAR)
    diagonal = np.diag(precision)
    assert_allclose(found.surprises, 0.5 * slopes**2 / diagonal, rtol=1e-9)
    assert_allclose(found.expected, FAR - slopes / diagonal, rtol=1e-9)
    assert_allclose(found.distances**2, (slopes * offsets).sum(axis=1), rtol=1e-9)
    assert_allclose(found.shares.sum(axis=1), 1.0)


@pytest.mark.parametrize("name", ["full", "diag", "tied", "VEE"])
@pytest.mark.parametrize("K", [1, 2])
def test_the_smallest_change_is_that_of_a_general_optimizer(name, K):
    detector = GaussianMixtureOutlierDetector(K, covariance_type=name, random_state=0).fit(X)
    mixture = detector.mixture_
    found = detector.explain(FAR)
    assert_array_equal(found.is_outlier, detector.predict(FAR) == -1)
    middle = mixture.weights_ @ mixture.means_
    draws = mixture.sample(200_000)[0]
    deviations = draws.std(axis=0)
    assert_allclose(middle, draws.mean(axis=0), atol=0.05)
    for row, change, far in zip(FAR, found.changes, found.is_outlier, strict=True):
        if not far:
            assert_array_equal(change, 0.0)
            continue
        level = mixture.score_samples((row + change)[None])[0]
        assert level == pytest.approx(detector.offset_, abs=1e-6)
        limit = {
            "type": "ineq",
            "fun": lambda z: mixture.score_samples(z[None])[0] - detector.offset_,
        }

        def length(z, row=row):
            return (((z - row) / deviations) ** 2).sum()

        best = min(
            (
                minimize(length, start, constraints=limit, method="SLSQP")
                for start in (*mixture.means_, row + change)
            ),
            key=lambda each: each.fun if each.success else np.inf,
        )
        assert length(row + change) <= best.fun * (1.0 + 0.01) + 1e-6


def test_units_of_features_do_not_matter():
    scale, offset = np.array([1e-3, 10.0, 1e6]), np.array([5.0, -1e3, 0.0])
    plain = GaussianMixture(2, random_state=0, reg_covar=0.0).fit(X)
    moved = GaussianMixture(
        2,
        reg_covar=0.0,
        max_iter=0,
        weights_init=plain.weights_,
        means_init=plain.means_ * scale + offset,
        precisions_init=plain.precisions_ / scale[:, None] / scale,
    ).fit(X * scale + offset)
    one, other = plain.explain(FAR), moved.explain(FAR * scale + offset)
    assert_allclose(other.surprises, one.surprises, rtol=1e-6, atol=1e-8)
    assert_allclose(other.changes / scale, one.changes, rtol=1e-5, atol=1e-7)
    assert_array_equal(other.components, one.components)


def test_rows_come_from_tables_and_files(tmp_path):
    detector = GaussianMixtureOutlierDetector(2, random_state=0).fit(X)
    np.save(tmp_path / "rows.npy", X)
    one, other = detector.explain(X), detector.explain(tmp_path / "rows.npy")
    assert_allclose(one.surprises, other.surprises, rtol=1e-12)
    assert_allclose(one.log_densities, detector.score_samples(X), rtol=1e-10)
    single = detector.explain(X.astype(np.float32))
    assert_allclose(single.surprises, one.surprises, rtol=1e-3, atol=1e-4)


def test_what_cannot_be_explained_is_refused():
    mixture = fitted()
    with pytest.raises(ValueError, match="share must be between 0 and 1"):
        mixture.explain(FAR, share=1.0)
    with pytest.raises(ValueError, match="first in row 1, column 0"):
        mixture.explain([[0.0, 0.0, 0.0], [np.nan, 0.0, 0.0]])
    with pytest.raises(ValueError, match="explain takes mixtures of Gaussians alone"):
        GaussianMixture(2, noise_volume=1e3, random_state=0).fit(X).explain(FAR)
    array = pytest.importorskip("dask.array")
    with pytest.raises(ValueError, match="pick the rows of the Dask collection"):
        mixture.explain(array.from_array(FAR, chunks=(2, 3)))
    with pytest.raises(NotFittedError, match="not fitted"):
        GaussianMixtureOutlierDetector().explain(FAR)


@pytest.mark.parametrize("name", ["full", "diag", "VEE"])
def test_rows_that_lack_values_are_explained_by_the_others(name):
    detector = GaussianMixtureOutlierDetector(
        2, covariance_type=name, missing="model", random_state=0
    ).fit(X)
    mixture = detector.mixture_
    holed = np.array([[0.0, np.nan, 9.0], [0.2, 0.1, np.nan], [-6.0, -6.0, 2.0], [np.nan] * 3])
    found = detector.explain(holed)
    assert_allclose(found.log_densities, detector.score_samples(holed), rtol=1e-9, atol=1e-12)
    assert_array_equal(found.is_outlier, detector.predict(holed) == -1)
    assert_array_equal(found.components[:3], mixture.predict(holed[:3]))
    lacks = np.isnan(holed)
    assert_array_equal(found.surprises[lacks], 0.0)
    assert_array_equal(found.changes[lacks], 0.0)
    whole = detector.explain(holed[2:3])
    assert_allclose(found.surprises[2], whole.surprises[0])
    assert_allclose(found.changes[2], whole.changes[0])
    others = GaussianMixtureOutlierDetector(2, covariance_type=name, random_state=0).fit(X)
    alone = mixture.marginal([0, 2]).explain(holed[:1, [0, 2]])
    assert_allclose(found.surprises[0, [0, 2]], alone.surprises[0])
    assert_allclose(found.expected[0, [0, 2]], alone.expected[0])
    assert_allclose(found.distances[0], alone.distances[0])
    changed = detector.score_samples(holed[:1] + found.changes[:1])
    assert changed[0] == pytest.approx(detector.offset_, abs=1e-6)
    grid = np.linspace(-30.0, 30.0, 20_001)[:, None]
    for i, j in zip(*np.nonzero(lacks[:2]), strict=True):
        given = mixture.condition({m: holed[i, m] for m in range(3) if m != j})
        highest = given.score_samples(grid).max()
        assert given.score_samples([[found.expected[i, j]]])[0] >= highest - 1e-9
    assert np.isfinite(found.expected).all()
    with pytest.raises(ValueError, match="row 0, column 1"):
        others.explain(holed)
