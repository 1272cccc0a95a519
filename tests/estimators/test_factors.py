"""Mixtures of factor analyzers: fits, attributes, what they go with, and what is refused."""

import pickle
import tracemalloc
import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.decomposition import FactorAnalysis
from sklearn.exceptions import ConvergenceWarning

from fastgmm import (
    BayesianGaussianMixture,
    DegenerateComponentWarning,
    GaussianMixture,
    MiniBatchGaussianMixture,
    adapt,
    bootstrap_likelihood_ratio_test,
    bootstrap_parameters,
    load,
    reorder_components,
)
from fastgmm.mixture.structures import FACTOR_NAMES, FactorStructure
from tests.factors import factor_mixture, factor_rows

MIXTURE = factor_mixture(2, 8, 2)
X, LABELS = factor_rows(MIXTURE, 400)
every_model = pytest.mark.parametrize("name", FACTOR_NAMES)


def made(**parameters):
    given = {"n_components": 2, "covariance_type": "factors", "n_factors": 2, "random_state": 0}
    return GaussianMixture(**{**given, **parameters})


@pytest.fixture(scope="module")
def fitted():
    return made().fit(X)


@pytest.mark.parametrize("n_factors", [1, 2, 3])
def test_one_component_is_scikit_learns_factor_analysis(n_factors):
    rows = factor_rows(factor_mixture(1, 9, n_factors), 500)[0]
    theirs = FactorAnalysis(n_factors, tol=1e-12, max_iter=100_000, svd_method="lapack").fit(rows)
    ours = made(n_components=1, n_factors=n_factors, tol=1e-12, max_iter=20_000, reg_covar=0.0)
    ours.fit(rows)
    assert ours.lower_bound_ == pytest.approx(theirs.score(rows), abs=1e-6)
    assert_allclose(ours.covariances_[0], theirs.get_covariance(), rtol=1e-3, atol=1e-3)
    assert_allclose(ours.noise_variances_[0], theirs.noise_variance_, rtol=1e-3)
    turn = np.linalg.lstsq(ours.factor_loadings_[0], theirs.components_.T, rcond=None)[0]
    assert_allclose(ours.factor_scores(rows) @ turn, theirs.transform(rows), atol=1e-2)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_further_initializations_find_the_higher_of_several_maxima():
    """Of rows that no two factors describe: features without noise are others at each maximum."""
    rng = np.random.default_rng(0)
    rows = rng.standard_t(2, size=(340, 14)) @ rng.normal(size=(14, 14))
    options = {"n_components": 1, "tol": 1e-7, "max_iter": 1000}
    one, several = (made(**options, n_init=n_init).fit(rows) for n_init in (1, 6))
    assert several.lower_bound_ > one.lower_bound_ + 0.02
    theirs = FactorAnalysis(2, tol=1e-6, max_iter=2000, svd_method="lapack").fit(rows)
    assert several.lower_bound_ > theirs.score(rows) - 1e-2


@every_model
def test_the_likelihood_rises_and_parameters_are_counted(name):
    mixture = made(covariance_type=name, tol=1e-7, max_iter=500)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        mixture.fit(X)
    assert (np.diff(mixture.trace_) > -1e-10).all()
    assert mixture.score(X) == pytest.approx(mixture.lower_bound_, rel=1e-12)
    n_parameters = FactorStructure(name, 2).n_parameters(2, 8)
    assert mixture.bic(X) == pytest.approx(n_parameters * np.log(400) - 800 * mixture.lower_bound_)
    loadings, noise = mixture.factor_loadings_, mixture.noise_variances_
    letters = "UUU" if name == "factors" else name
    if letters[0] == "C":
        assert_allclose(loadings[0], loadings[1], rtol=1e-9)
    assert (letters[1] == "C") == np.allclose(noise[0], noise[1], rtol=1e-9)
    assert (letters[2] == "C") == np.allclose(noise, noise[:, :1], rtol=1e-9)


def test_as_many_factors_as_a_covariance_can_have_are_a_full_covariance():
    rows = factor_rows(factor_mixture(1, 6, 3, noise=1.0), 2000)[0]
    full = GaussianMixture(reg_covar=0.0).fit(rows)
    factors = made(n_components=1, n_factors=3, reg_covar=0.0, tol=1e-13, max_iter=50_000)
    assert factors.fit(rows).lower_bound_ == pytest.approx(full.lower_bound_, abs=1e-6)


def test_a_mixture_is_found_again():
    rows, labels = factor_rows(MIXTURE, 20_000)
    mixture = made(tol=1e-6, max_iter=1000).fit(rows)
    order = np.argsort(np.abs(mixture.means_[:, None] - MIXTURE[1]).sum(axis=2).argmin(axis=1))
    truth = MIXTURE[2] @ MIXTURE[2].transpose(0, 2, 1)
    found = mixture.factor_loadings_ @ mixture.factor_loadings_.transpose(0, 2, 1)
    assert_allclose(found[order], truth, atol=0.2)
    assert_allclose(mixture.noise_variances_[order], MIXTURE[3], rtol=0.15)
    assert np.mean(order[labels] == mixture.predict(rows)) > 0.99


def test_covariances_are_found_when_they_are_asked_for(fitted):
    assert not {"covariances_", "precisions_", "precisions_cholesky_"} & set(vars(fitted))
    loadings, noise = fitted.factor_loadings_, fitted.noise_variances_
    assert loadings.shape == (2, 8, 2)
    covariances = loadings @ loadings.transpose(0, 2, 1) + noise[:, :, None] * np.eye(8)
    assert_allclose(fitted.covariances_, covariances, atol=1e-12)
    assert_allclose(fitted.precisions_ @ covariances, [np.eye(8)] * 2, atol=1e-10)
    factors = fitted.precisions_cholesky_
    assert_allclose(factors @ factors.transpose(0, 2, 1), fitted.precisions_, atol=1e-9)
    assert not np.tril(factors, -1).any()
    assert not hasattr(GaussianMixture(), "covariances_")
    with pytest.raises(AttributeError, match="'GaussianMixture' object has no attribute 'prec"):
        _ = GaussianMixture().precisions_
    again = clone(fitted).set_params(covariance_type="full", n_factors=None).fit(X)
    assert "covariances_" in vars(again)
    assert not hasattr(again.set_params(**fitted.get_params()).fit(X), "nothing")
    assert "covariances_" not in vars(again)


def test_rows_are_drawn_from_the_mixture(fitted):
    rows, labels = fitted.sample(200_000)
    for k in range(2):
        own = rows[labels == k]
        assert_allclose(own.mean(axis=0), fitted.means_[k], atol=0.05)
        assert_allclose(np.cov(own.T), fitted.covariances_[k], atol=0.15)


def test_what_uses_covariances_takes_factor_analyzers(fitted):
    theirs = fitted.to_sklearn()
    assert theirs.covariance_type == "full"
    assert_allclose(theirs.score_samples(X), fitted.score_samples(X), rtol=1e-10)
    assert_allclose(fitted.marginal([1, 0]).covariances_[:, 0, 1], fitted.covariances_[:, 0, 1])
    assert fitted.condition({0: 1.0}).means_.shape == (2, 7)
    assert_allclose(fitted.explain(X[:3]).log_densities, fitted.score_samples(X[:3]))
    adapted = adapt(fitted, X[:50] + 1.0)
    assert_allclose(adapted.covariances_, fitted.covariances_, rtol=1e-9)
    moved = adapt(fitted, X, relevance=1e-6, what=("means", "covariances"))
    assert_allclose(moved.covariances_, fitted.covariances_, rtol=0.05, atol=0.05)
    turned = reorder_components(fitted, [1, 0])
    assert_array_equal(turned.predict(X), 1 - fitted.predict(X))
    assert turned.n_factors == 2
    errors = bootstrap_parameters(fitted, X, n_resamples=20, random_state=0, kind="parametric")
    assert_allclose(errors.means.standard_error, 0.1, atol=0.1)
    assert errors.covariances.replicates.shape == (20, 2, 8, 8)
    with pytest.raises(ValueError, match="does not fit factor analyzers"):
        bootstrap_likelihood_ratio_test(fitted, X)


def test_a_mixture_survives_files_and_copies(fitted, tmp_path):
    fitted.save(tmp_path / "model.fgm")
    loaded, copied = load(tmp_path / "model.fgm"), pickle.loads(pickle.dumps(fitted))
    for other in (loaded, copied):
        assert other.n_factors == 2
        for name in ("factor_loadings_", "noise_variances_", "covariances_", "means_"):
            assert_array_equal(getattr(other, name), getattr(fitted, name))
        assert_array_equal(other.predict_proba(X), fitted.predict_proba(X))
    hand_made = made()
    for name in ("weights_", "means_", "factor_loadings_", "noise_variances_"):
        setattr(hand_made, name, getattr(fitted, name))
    assert_array_equal(hand_made.score_samples(X), fitted.score_samples(X))
    assert_array_equal(hand_made.covariances_, fitted.covariances_)
    hand_made.noise_variances_ = -fitted.noise_variances_
    with pytest.raises(ValueError, match="noise_variances_ should be positive"):
        hand_made.predict(X)
    hand_made.factor_loadings_ = fitted.factor_loadings_[:, :, :1]
    with pytest.raises(ValueError, match="factor_loadings_ should have the shape of"):
        hand_made.predict(X)


@every_model
def test_an_interrupted_fit_resumes_to_the_same_bits(name, tmp_path):
    whole, options = made(covariance_type=name, tol=0.0, max_iter=9), {"checkpoint_interval": 0.0}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        whole.fit(X)
        path = tmp_path / "checkpoint.fgm"
        options |= {"checkpoint": path, "covariance_type": name, "tol": 0.0}
        made(max_iter=4, **options).fit(X)
        resumed = made(max_iter=9, resume=True, **options).fit(X)
    assert_array_equal(resumed.factor_loadings_, whole.factor_loadings_)
    assert_array_equal(resumed.trace_, whole.trace_)


@every_model
def test_a_warm_start_continues(name):
    mixture = made(covariance_type=name, max_iter=3, warm_start=True, tol=0.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        first = mixture.fit(X).lower_bound_
        mixture.fit(X)
        assert mixture.trace_[0] == pytest.approx(first, rel=1e-12)
        assert (np.diff(mixture.trace_) > -1e-10).all()
        whole = made(covariance_type=name, max_iter=6, tol=0.0).fit(X)
    assert mixture.lower_bound_ == pytest.approx(whole.lower_bound_, rel=1e-10)
    mixture.set_params(n_factors=3)
    with pytest.raises(ValueError, match=r"and n_factors=2, and .* n_factors=3 cannot continue"):
        mixture.fit(X)


def test_a_weight_is_that_many_copies_and_the_order_of_rows_does_not_matter():
    sizes = np.arange(len(X)) % 3 + 1
    options = {"tol": 1e-10, "max_iter": 2000}
    weighted = made(labels_init=LABELS, **options).fit(X, sample_weight=sizes)
    repeated = made(labels_init=LABELS.repeat(sizes), **options).fit(X.repeat(sizes, axis=0))
    assert weighted.lower_bound_ == pytest.approx(repeated.lower_bound_, rel=1e-7)
    assert_allclose(weighted.covariances_, repeated.covariances_, rtol=1e-3, atol=1e-3)
    order = np.random.default_rng(0).permutation(len(X))
    shuffled = made(labels_init=LABELS[order], **options).fit(X[order], sample_weight=sizes[order])
    assert shuffled.lower_bound_ == pytest.approx(weighted.lower_bound_, rel=1e-7)


def test_units_of_features_do_not_matter():
    units = np.exp2(np.arange(-4, 4))
    fits = [made(labels_init=LABELS, reg_covar=0.0).fit(X * each) for each in (np.ones(8), units)]
    moved = fits[1].lower_bound_ + np.log(units).sum()
    assert moved == pytest.approx(fits[0].lower_bound_, rel=1e-10)
    assert_allclose(fits[1].factor_scores(X * units), fits[0].factor_scores(X), atol=1e-6)


def test_files_threads_and_single_precision(fitted, tmp_path):
    np.save(tmp_path / "rows.npy", X)
    read = made(n_jobs=1).fit(tmp_path / "rows.npy")
    assert_array_equal(read.factor_loadings_, fitted.factor_loadings_)
    assert_array_equal(read.factor_scores(tmp_path / "rows.npy"), fitted.factor_scores(X))
    single = made().fit(X.astype(np.float32))
    assert single.lower_bound_ == pytest.approx(fitted.lower_bound_, rel=1e-5)
    assert single.factor_scores(X.astype(np.float32)).dtype == np.float32


def test_dask_collections(fitted):
    array = pytest.importorskip("dask.array")
    rows = array.from_array(X, chunks=(100, 8))
    assert made().fit(rows).lower_bound_ == pytest.approx(fitted.lower_bound_, abs=1e-3)
    scores = fitted.factor_scores(rows)
    assert_array_equal(scores.compute(), fitted.factor_scores(X))


@every_model
def test_missing_values_are_integrated_out(name):
    lacking = X.copy()
    lacking[np.random.default_rng(0).random(X.shape) < 0.1] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        mixture = made(covariance_type=name, missing="model", max_iter=30).fit(lacking)
    assert (np.diff(mixture.trace_) > -1e-10).all()
    dense = mixture.to_sklearn()
    truth = [mixture.marginal(np.flatnonzero(~np.isnan(row))) for row in lacking[:5]]
    density = [each.score_samples(row[None, ~np.isnan(row)])[0]
               for each, row in zip(truth, lacking[:5], strict=True)]  # fmt: skip
    assert_allclose(mixture.score_samples(lacking[:5]), density, rtol=1e-9)
    assert_allclose(mixture.score_samples(X), dense.score_samples(X), rtol=1e-9)
    assert np.isfinite(mixture.impute(lacking)).all()
    with pytest.raises(ValueError, match=r"NaN|missing"):
        mixture.factor_scores(lacking)


def test_noise_and_known_components(tmp_path):
    spread = np.random.default_rng(3).uniform(-12, 12, size=(60, 8))
    rows = np.concatenate([X, spread])
    mixture = made(noise_volume="auto").fit(rows)
    assert (np.diff(mixture.trace_) > -1e-10).all()
    assert mixture.factor_scores(rows).shape == (460, 2)
    mixture.save(tmp_path / "model.fgm")
    assert_array_equal(load(tmp_path / "model.fgm").predict(rows), mixture.predict(rows))
    known = np.where(np.arange(400) < 100, 1 - LABELS, -1)
    held = made(semi_supervised=True).fit(X, known)
    assert (np.diff(held.trace_) > -1e-10).all()
    assert_array_equal(held.predict(X[:100]), known[:100])


@pytest.mark.parametrize("method", ["random", "random_from_data", "k-means++", "hierarchical"])
def test_every_initialization(method, fitted):
    mixture = made(init_params=method, n_init=2, max_iter=300).fit(X)
    assert mixture.lower_bound_ == pytest.approx(fitted.lower_bound_, abs=0.05)


def test_given_precisions_are_fitted_by_factors(fitted):
    given = {"weights_init": fitted.weights_, "means_init": fitted.means_}
    again = made(precisions_init=fitted.precisions_, **given).fit(X)
    assert again.trace_[0] == pytest.approx(fitted.lower_bound_, abs=1e-4)
    spheres = made(precisions_init=np.tile(np.eye(8), (2, 1, 1)), **given).fit(X)
    assert spheres.lower_bound_ == pytest.approx(fitted.lower_bound_, abs=1e-2)


def test_components_with_few_rows_keep_their_noise_above_the_regularization():
    with pytest.warns(DegenerateComponentWarning, match="lost its spread"):
        mixture = made(n_components=5).fit(X[:12])
    assert mixture.noise_variances_.min() >= 1e-6 * (1 - 1e-12)
    assert np.isfinite(mixture.score_samples(X)).all()


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"n_factors": None}, "covariance_type='factors' needs the number of factors"),
        ({"n_factors": 5}, "n_factors=5 is too many for 8 features: beyond 4"),
        ({"covariance_type": "full"}, "n_factors=2 is for covariance_type='factors'"),
        ({"n_factors": 0}, "'n_factors' parameter of GaussianMixture must be an int"),
        ({"n_factors": 1.5}, "'n_factors' parameter of GaussianMixture must be an int"),
        ({"e_step": "truncated"}, "e_step='truncated' does not go together with n_factors"),
        ({"priors": "mclust"}, "priors and covariance_type='factors' do not go together"),
        ({"frozen": {"means": True}}, "frozen and covariance_type='factors' do not go together"),
    ],
)
def test_what_is_refused(parameters, words):
    with pytest.raises(ValueError, match=words):
        made(**parameters).fit(X)


def test_what_knows_no_factors_says_so():
    with pytest.raises(AttributeError) as error:
        made().partial_fit(X)
    assert "partial_fit knows no n_factors, and it is 2: use fit" in str(error.value.__cause__)
    for other in (MiniBatchGaussianMixture, BayesianGaussianMixture):
        with pytest.raises(ValueError, match=r"'covariance_type' parameter .* must be a str among"):
            other(2, covariance_type="factors").fit(X)
    with pytest.raises(ValueError, match="fit one with covariance_type='factors'"):
        GaussianMixture().fit(X).factor_scores(X)


def test_thousands_of_features_need_no_matrices():
    mixture = factor_mixture(3, 2000, 4)
    rows, labels = factor_rows(mixture, 300)
    made(n_components=3).fit(rows[:, :50])  # so that nothing is left to import
    tracemalloc.start()
    found = made(n_components=3, n_factors=4).fit(rows)
    predicted = found.predict(rows)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3 * 2000 * 2000 * 8 / 2
    assert (np.diff(found.trace_) > -1e-8).all()
    assert len(np.unique(np.stack([labels, predicted]), axis=1).T) == 3
