"""Which of several structures separates classes best."""

import numpy as np
import pytest
from scipy.special import log_softmax

from fastgmm.analysis.structure_choice import (
    MOST_JUDGED,
    N_FOLDS,
    fit_structures,
    lowest_bic,
    row_folds,
    shares_of_structures,
    solve_classes,
)
from fastgmm.data.opening import open_data
from fastgmm.data.sources.array import ArraySource
from fastgmm.em.models.class_mixtures import (
    class_log_densities,
    class_statistics,
    single_components,
)
from fastgmm.mixture.regularization import IllDefinedCovarianceError, Regularization
from fastgmm.mixture.structures import structure

KINDS = [structure(name) for name in ("EII", "EEE", "VVI", "VVV")]
NONE = Regularization.none(2)


@pytest.fixture
def rows():
    rng = np.random.default_rng(1)
    codes = rng.integers(0, 3, 150)
    X = rng.normal(size=(150, 2)) * (1.0 + 0.2 * codes[:, None]) + 1.5 * codes[:, None]
    return X, codes


def test_folds_are_balanced_and_keep_equal_rows_together(rows):
    X, codes = rows
    folds, judged = row_folds(ArraySource(X), codes)
    assert judged.all()
    for code in range(3):
        sizes = np.bincount(folds[codes == code], minlength=N_FOLDS)
        assert sizes.max() - sizes.min() <= 1
    order = np.random.default_rng(0).permutation(np.tile(np.arange(150), 2))
    weights = np.ones(300)
    weights[5] = 0.0
    again, judged = row_folds(ArraySource(X[order], weights), codes[order])
    assert judged.sum() == 299
    assert again[5] == -1
    again[5] = folds[order[5]]
    np.testing.assert_array_equal(again, folds[order])
    unknown = np.where(np.arange(150) < 10, -1, codes)
    assert (row_folds(ArraySource(X), unknown)[0][:10] == -1).all()
    signed = np.array([[0.0, 1.0], [-0.0, 1.0], [1.0, 0.0]])
    found, _ = row_folds(ArraySource(signed), np.zeros(3, np.int64))
    assert found[0] == found[1] != found[2]


def test_of_many_rows_some_are_judged():
    X = np.random.default_rng(0).normal(size=(3 * MOST_JUDGED, 2))
    folds, judged = row_folds(ArraySource(X), np.zeros(len(X), np.int64))
    assert judged.sum() == pytest.approx(MOST_JUDGED, rel=0.02)
    assert np.bincount(folds[judged]) == pytest.approx(np.full(N_FOLDS, MOST_JUDGED / 5), rel=0.05)


@pytest.mark.parametrize("priors", [None, np.array([0.2, 0.3, 0.5])])
def test_shares_are_those_of_fits_without_each_fold(rows, priors):
    X, codes = rows
    factors = np.array([1.0, 0.5, 2.0])
    folds, judged = row_folds(ArraySource(X), codes)
    assert judged.all()
    gains = np.zeros(len(KINDS))
    for i, kind in enumerate(KINDS):
        for fold in range(N_FOLDS):
            kept, held = folds != fold, folds == fold
            statistics = class_statistics(
                ArraySource(X[kept]), codes[kept], factors, diagonal=False, n_jobs=None
            )
            solved = solve_classes(statistics, kind, NONE, priors)
            joint = class_log_densities(ArraySource(X[held]), single_components(solved))
            right = log_softmax(joint + solved.log_weights, axis=1)
            gains[i] += factors[codes[held]] @ right[np.arange(held.sum()), codes[held]]
    shares = np.exp(gains - gains.max())
    shares[shares < 1e-3 * shares.sum()] = 0.0
    shares /= shares.sum()
    assert (shares > 0.0).sum() > 1
    found = shares_of_structures(ArraySource(X), codes, KINDS, factors, NONE, priors)
    np.testing.assert_allclose(found, shares, rtol=1e-9)
    read = open_data(lambda: (X[first : first + 40] for first in range(0, 150, 40)))
    np.testing.assert_allclose(
        shares_of_structures(read, codes, KINDS, factors, NONE, priors), shares, rtol=1e-9
    )


def test_structures_that_cannot_be_fitted_have_no_share_and_no_criterion(rows):
    X, codes = rows
    X = X.copy()
    X[:, 1] = 2.0 * X[:, 0]
    source = ArraySource(X)
    shares = shares_of_structures(source, codes, KINDS, np.ones(3), NONE, None)
    assert shares[[1, 3]].tolist() == [0.0, 0.0]
    assert shares.sum() == pytest.approx(1.0)
    matrices = [KINDS[1], KINDS[3]]
    assert not shares_of_structures(source, codes, matrices, np.ones(3), NONE, None).any()
    statistics = class_statistics(source, codes, np.ones(3), diagonal=False, n_jobs=None)
    fits = fit_structures(statistics, KINDS, NONE, None)
    assert lowest_bic(fits).structure.is_diagonal
    with pytest.raises(IllDefinedCovarianceError, match="none of the covariance structures"):
        lowest_bic([fits[1], fits[3]])
    # Kept positive definite by the regularization alone, they are not to be chosen.
    tiny = Regularization(np.full(2, 1e-9), np.zeros(2, dtype=bool))
    regularized = fit_structures(statistics, KINDS, tiny, None)
    assert regularized[3].parameters is not None
    assert np.isinf(regularized[3].bic)
    assert "lost its spread" in regularized[3].failure
    assert lowest_bic([regularized[3]]) is regularized[3]


def test_bic_counts_the_parameters_of_the_classes(rows):
    X, codes = rows
    statistics = class_statistics(ArraySource(X), codes, np.ones(3), diagonal=False, n_jobs=None)
    for fit in fit_structures(statistics, KINDS, NONE, None):
        size = fit.structure.n_covariance_parameters(3, 2) + 3 * 2 + 2
        assert fit.bic == pytest.approx(-2.0 * fit.log_likelihood + size * np.log(150))


def test_a_class_of_a_single_row_is_not_held_out(rows):
    X, codes = rows
    X, codes = np.vstack([X, [[9.0, 9.0]]]), np.append(codes, 3)
    shares = shares_of_structures(ArraySource(X), codes, KINDS[:2], np.ones(4), NONE, None)
    assert np.isfinite(shares).all()
    assert shares.sum() == pytest.approx(1.0)
