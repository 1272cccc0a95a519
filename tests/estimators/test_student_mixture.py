"""`StudentMixture`: what it finds, keeps, saves, draws and refuses."""

import pickle
from contextlib import suppress

import dask.array as da
import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import f, kstest
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError

from fastgmm import (
    ConjugatePriors,
    GaussianMixture,
    StudentMixture,
    bootstrap_parameters,
    find_modes,
    load,
    match_components,
    reorder_components,
)
from fastgmm.em.initialization.methods import INIT_METHODS
from fastgmm.io.checkpoint import CheckpointError
from fastgmm.plotting import DensityDisplay, EllipsesDisplay
from tests import oracle
from tests.estimators.test_checkpoints import CutOffError, cut_off_after
from tests.structures import every_structure

CENTERS = np.array([[0.0, 0.0], [9.0, 2.0], [2.0, 10.0]])


def rows(n_samples=1500, dofs=(3.0, 3.0, 3.0), seed=0):
    """Return rows of t-distributions around the centers, in the order of these."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n_samples) % 3
    u = rng.chisquare(np.array(dofs)[labels]) / np.array(dofs)[labels]
    return CENTERS[labels] + rng.normal(size=(n_samples, 2)) / np.sqrt(u)[:, None], labels


def in_order(mixture):
    """Return the components in the order of the centers."""
    distances = np.linalg.norm(mixture.means_ - CENTERS[:, None], axis=2)
    return distances.argmin(axis=1)


def scales_of(mixture):
    shape = mixture.means_.shape
    return oracle.covariance_matrices(mixture.covariance_type, mixture.scales_, *shape)


@pytest.fixture(scope="module")
def mixture():
    return StudentMixture(3, dof="separate", random_state=0).fit(rows()[0])


@every_structure
def test_scores_and_responsibilities_are_those_of_scipy(name):
    X, _ = rows()
    mixture = StudentMixture(3, covariance_type=name, dof="separate", random_state=0).fit(X)
    joint = oracle.student_joint_log_density(
        X, mixture.weights_, mixture.means_, scales_of(mixture), mixture.dofs_
    )
    density = logsumexp(joint, axis=1)
    np.testing.assert_allclose(mixture.score_samples(X), density, rtol=1e-10, atol=1e-10)
    shares = np.exp(joint - density[:, None])
    np.testing.assert_allclose(mixture.predict_proba(X), shares, atol=1e-10)
    np.testing.assert_array_equal(mixture.predict(X), joint.argmax(axis=1))
    assert mixture.score(X) == pytest.approx(density.mean())
    assert mixture.lower_bound_ == pytest.approx(density.mean())
    assert (np.diff(mixture.trace_) >= -1e-9).all()
    gaussian = GaussianMixture(3, covariance_type=name, max_iter=0).fit(X)
    n_parameters = gaussian._n_parameters() + 3
    bic = n_parameters * np.log(len(X)) - 2 * density.sum()
    assert mixture.bic(X) == pytest.approx(bic)
    assert mixture.aic(X) == pytest.approx(2 * n_parameters - 2 * density.sum())
    assert mixture.scales_.shape == gaussian.covariances_.shape


@pytest.mark.parametrize(("dof", "n_more"), [("common", 1), ("separate", 3), (5.0, 0)])
def test_degrees_of_freedom_count_where_they_are_estimated(dof, n_more):
    X, _ = rows()
    mixture = StudentMixture(3, dof=dof, random_state=0).fit(X)
    gaussian = GaussianMixture(3, random_state=0).fit(X)
    assert mixture._n_parameters() == gaussian._n_parameters() + n_more


def test_degrees_of_freedom_and_scales_are_found_again():
    X, labels = rows(30_000, dofs=(2.0, 6.0, 20.0))
    mixture = StudentMixture(3, dof="separate", tol=1e-7, random_state=0).fit(X)
    order = in_order(mixture)
    np.testing.assert_allclose(mixture.dofs_[order], [2.0, 6.0, 20.0], rtol=0.25)
    np.testing.assert_allclose(mixture.means_[order], CENTERS, atol=0.05)
    scales = np.repeat(np.eye(2)[None], 3, axis=0)
    np.testing.assert_allclose(mixture.scales_[order], scales, atol=0.06)
    np.testing.assert_allclose(mixture.weights_, 1 / 3, atol=0.01)
    assert (order[labels] == mixture.predict(X)).mean() > 0.97
    common = StudentMixture(3, tol=1e-7, random_state=0).fit(rows(30_000)[0])
    np.testing.assert_allclose(common.dofs_, 3.0, rtol=0.05)


def test_many_degrees_of_freedom_are_a_gaussian_mixture():
    X, _ = rows(dofs=(50.0, 50.0, 50.0))
    options = {"tol": 1e-9, "max_iter": 500, "means_init": CENTERS}
    student = StudentMixture(3, dof=1e9, **options).fit(X)
    gaussian = GaussianMixture(3, **options).fit(X)
    for name in ("weights_", "means_", "precisions_", "lower_bound_"):
        np.testing.assert_allclose(
            getattr(student, name), getattr(gaussian, name), rtol=1e-6, atol=1e-6
        )
    np.testing.assert_allclose(student.scales_, gaussian.covariances_, rtol=1e-6)
    np.testing.assert_allclose(student.score_samples(X), gaussian.score_samples(X), rtol=1e-5)


@pytest.mark.parametrize("covariance_type", ["full", "diag"])
@pytest.mark.parametrize("init", INIT_METHODS)
def test_outliers_hardly_move_the_components_nor_found_any(init, covariance_type):
    X, _ = rows(dofs=(100.0, 100.0, 100.0))
    X[:60] = np.random.default_rng(1).uniform(-200.0, 200.0, size=(60, 2))
    options = {"covariance_type": covariance_type, "random_state": 0}
    student = StudentMixture(3, init_params=init, n_init=3, **options).fit(X)
    gaussian = GaussianMixture(3, n_init=5, **options).fit(X)
    assert np.abs(student.means_[in_order(student)] - CENTERS).max() < 0.3
    assert np.abs(gaussian.means_[in_order(gaussian)] - CENTERS).max() > 2.0
    assert np.linalg.det(scales_of(student)).max() < 1.5
    assert student.bic(X) < gaussian.bic(X)


def test_a_weight_is_so_many_copies_and_order_does_not_matter():
    X, _ = rows(300)
    weights = np.random.default_rng(2).integers(0, 4, size=300)
    options = {
        "means_init": CENTERS,
        "weights_init": [0.2, 0.5, 0.3],
        "precisions_init": np.repeat(np.eye(2)[None], 3, axis=0),
        "reg_covar": 0.0,
        "dof": "separate",
    }
    weighted = StudentMixture(3, **options).fit(X, sample_weight=weights)
    copied = StudentMixture(3, **options).fit(np.repeat(X, weights, axis=0))
    shuffled = StudentMixture(3, **options).fit(X[::-1], sample_weight=weights[::-1])
    for other in (copied, shuffled):
        for name in ("weights_", "means_", "scales_", "dofs_", "lower_bound_"):
            np.testing.assert_allclose(
                getattr(weighted, name), getattr(other, name), rtol=1e-9, atol=1e-9
            )
    assert weighted.bic(X, weights) == pytest.approx(weighted.bic(np.repeat(X, weights, axis=0)))


def test_fits_follow_affine_changes_of_the_rows():
    X, _ = rows(600)
    turn, shift = np.array([[2.0, -1.0], [0.5, 3.0]]), np.array([100.0, -7.0])
    options = {"tol": 1e-9, "reg_covar": 0.0, "max_iter": 500}
    plain = StudentMixture(3, means_init=CENTERS, **options)
    moved = StudentMixture(3, means_init=CENTERS @ turn.T + shift, **options)
    labels = ((X[:, None] - CENTERS) ** 2).sum(axis=2).argmin(axis=1)
    plain.set_params(labels_init=labels).fit(X)
    moved.set_params(labels_init=labels).fit(X @ turn.T + shift)
    np.testing.assert_allclose(moved.means_, plain.means_ @ turn.T + shift, rtol=1e-6)
    np.testing.assert_allclose(moved.scales_, turn @ plain.scales_ @ turn.T, rtol=1e-5)
    np.testing.assert_allclose(moved.dofs_, plain.dofs_, rtol=1e-5)
    log_determinant = np.log(np.linalg.det(turn))
    assert moved.lower_bound_ == pytest.approx(plain.lower_bound_ - log_determinant)


@pytest.mark.parametrize("scale", [1e-140, 1e-20, 1e140])
@pytest.mark.parametrize("covariance_type", ["full", "diag"])
def test_scales_and_offsets_do_not_matter(scale, covariance_type):
    X, _ = rows(600)
    options = {"covariance_type": covariance_type, "random_state": 0, "reg_covar": 0.0}
    plain = StudentMixture(3, **options).fit(X)
    scaled = StudentMixture(3, **options).fit((X + 1e6) * scale)
    np.testing.assert_allclose(scaled.means_ / scale - 1e6, plain.means_, atol=1e-4)
    np.testing.assert_allclose(scaled.dofs_, plain.dofs_, rtol=1e-4)
    np.testing.assert_allclose(scaled.precisions_cholesky_ * scale, plain.precisions_cholesky_,
                               rtol=1e-3, atol=1e-6)  # fmt: skip


def test_single_precision_finds_the_same():
    X, _ = rows()
    X = X.astype(np.float32)
    single = StudentMixture(3, dof="separate", random_state=0).fit(X)
    double = StudentMixture(3, dof="separate", random_state=0).fit(X.astype(np.float64))
    np.testing.assert_allclose(single.means_, double.means_, atol=1e-4)
    np.testing.assert_allclose(single.dofs_, double.dofs_, rtol=1e-3)
    assert single.score_samples(X).dtype == np.float32


def test_files_and_threads_give_the_same_bits_as_an_array(tmp_path):
    X, _ = rows(5000)
    np.save(tmp_path / "rows.npy", X)
    expected = StudentMixture(3, random_state=0, n_jobs=1).fit(X)
    for given, n_jobs in ((X, 2), (tmp_path / "rows.npy", 2), (np.asfortranarray(X), 1)):
        found = StudentMixture(3, random_state=0, n_jobs=n_jobs).fit(given)
        for name in ("weights_", "means_", "scales_", "dofs_", "trace_"):
            np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
        np.testing.assert_array_equal(found.predict(given), expected.predict(X))
    blocks = list(expected.score_samples_blocks(tmp_path / "rows.npy"))
    np.testing.assert_array_equal(np.concatenate(blocks), expected.score_samples(X))


def test_partitions_of_dask_give_the_same_up_to_rounding():
    X, _ = rows(3000)
    options = {"means_init": CENTERS, "tol": 1e-8, "random_state": 0}
    expected = StudentMixture(3, **options).fit(X)
    chunks = da.from_array(X, chunks=(1000, 2))
    found = StudentMixture(3, **options).fit(chunks)
    np.testing.assert_allclose(found.means_, expected.means_, atol=1e-3)
    np.testing.assert_allclose(found.dofs_, expected.dofs_, rtol=1e-2)
    np.testing.assert_allclose(
        found.score_samples(chunks).compute(), found.score_samples(X), rtol=1e-12
    )


def test_large_data_start_from_a_sample():
    X, _ = rows(60_000, dofs=(2.0, 2.0, 2.0))
    mixture = StudentMixture(3, random_state=0).fit(X)
    assert mixture.fit_info_.initialization.subsampled
    np.testing.assert_allclose(mixture.means_[in_order(mixture)], CENTERS, atol=0.1)
    np.testing.assert_allclose(mixture.dofs_, 2.0, rtol=0.1)


def test_it_is_copied_pickled_and_saved(mixture, tmp_path):
    X, _ = rows()
    mixture.save(tmp_path / "mixture.fgm")
    loaded = load(tmp_path / "mixture.fgm")
    for again in (pickle.loads(pickle.dumps(mixture)), loaded):
        assert type(again) is StudentMixture
        assert again.get_params() == mixture.get_params()
        np.testing.assert_array_equal(again.dofs_, mixture.dofs_)
        np.testing.assert_array_equal(again.scales_, mixture.scales_)
        np.testing.assert_array_equal(again.predict_proba(X), mixture.predict_proba(X))
    assert loaded.fit_info_ == mixture.fit_info_
    assert not hasattr(loaded, "covariances_")
    assert not hasattr(clone(mixture), "means_")
    broken = pickle.loads(pickle.dumps(mixture))
    broken.dofs_ = np.array([1.0, -1.0, 2.0])
    with pytest.raises(ValueError, match="dofs_ should be positive and finite"):
        broken.save(tmp_path / "broken.fgm")
    with pytest.raises(NotFittedError):
        StudentMixture().save(tmp_path / "mixture.fgm")


def test_rows_are_drawn_from_the_components(mixture):
    drawn = clone(mixture).set_params(random_state=1)
    drawn.__dict__.update({name: each for name, each in vars(mixture).items() if name[-1] == "_"})
    X, y = drawn.sample(6000)
    np.testing.assert_allclose(np.bincount(y) / 6000, mixture.weights_, atol=0.03)
    for k in range(3):
        offsets = X[y == k] - mixture.means_[k]
        squares = np.einsum("ni,ij,nj->n", offsets, mixture.precisions_[k], offsets)
        assert kstest(squares / 2, f(2, mixture.dofs_[k]).cdf).pvalue > 1e-3
    diagonal = StudentMixture(covariance_type="diag", dof=3.0, random_state=0).fit(X)
    Z, _ = diagonal.sample(6000)
    scaled = (Z - diagonal.means_) / np.sqrt(diagonal.scales_)
    assert kstest((scaled**2).sum(axis=1) / 2, f(2, 3.0).cdf).pvalue > 1e-3


def test_a_warm_start_continues_with_its_degrees_of_freedom():
    X, _ = rows()
    options = {"n_components": 3, "dof": "separate", "random_state": 0, "tol": 1e-7}
    whole = StudentMixture(**options).fit(X)
    parts = StudentMixture(**options, warm_start=True, max_iter=5)
    with pytest.warns(match="did not converge"):
        parts.fit(X)
    before = parts.dofs_
    parts.set_params(max_iter=0).fit(X)
    np.testing.assert_allclose(parts.dofs_, before)
    parts.set_params(max_iter=200).fit(X)
    np.testing.assert_allclose(parts.dofs_, whole.dofs_, rtol=1e-2)
    assert parts.trace_[0] > whole.trace_[0]
    parts.set_params(dof="common", max_iter=0).fit(X)
    assert np.ptp(parts.dofs_) == 0.0


def test_priors_keep_components_of_few_rows_regular():
    X, _ = rows(60)
    X[::3] = X[0]  # a component of equal rows
    options = {"means_init": CENTERS, "reg_covar": 0.0, "dof": 4.0}
    found = StudentMixture(3, priors="mclust", **options).fit(X)
    assert np.linalg.eigvalsh(found.scales_).min() > 1e-3
    strong = StudentMixture(3, priors=ConjugatePriors(mean_precision=1e6), **options).fit(X)
    np.testing.assert_allclose(strong.means_, np.repeat(X.mean(axis=0)[None], 3, 0), atol=0.1)
    with pytest.raises(ValueError, match="covariance"):
        StudentMixture(3, **options).fit(X)


def test_what_needs_gaussian_components_is_refused(mixture):
    X, _ = rows(100)
    uses = {
        "marginal": lambda: mixture.marginal([0]),
        "condition": lambda: mixture.condition({0: 1.0}),
        "explain": lambda: mixture.explain(X),
        "find_modes": lambda: find_modes(mixture),
        "match_components": lambda: match_components(mixture, mixture),
        "reorder_components": lambda: reorder_components(mixture, [2, 1, 0]),
        "a plot of components": lambda: EllipsesDisplay.from_estimator(mixture, X),
    }
    for purpose, use in uses.items():
        with pytest.raises(ValueError, match=f"{purpose} takes mixtures of Gaussians"):
            use()
    with pytest.raises(ValueError, match=r"must be an instance of .*GaussianMixture"):
        bootstrap_parameters(mixture, X)
    with pytest.raises(ValueError, match="StudentMixture are t-distributions"):
        DensityDisplay.from_estimator(mixture, columns=[0])


def test_missing_values_are_integrated_out(tmp_path):
    whole, labels = rows(3000, dofs=(4.0, 4.0, 4.0))
    X = whole.copy()
    X[::5, 0] = X[1::5, 1] = X[7] = np.nan
    options = {"missing": "model", "random_state": 0, "tol": 1e-5, "means_init": CENTERS}
    mixture = StudentMixture(3, **options).fit(X)
    np.testing.assert_allclose(mixture.means_[in_order(mixture)], CENTERS, atol=0.2)
    np.testing.assert_allclose(mixture.dofs_, 4.0, rtol=0.3)
    assert (np.diff(mixture.trace_) >= -1e-9).all()
    scores = mixture.score_samples(whole), mixture.score_samples(X)
    np.testing.assert_allclose(scores[0][3::5], scores[1][3::5], rtol=1e-12)
    np.testing.assert_allclose(mixture.predict_proba(X[7:8])[0], mixture.weights_)
    assert (in_order(mixture)[labels] == mixture.predict(X)).mean() > 0.9
    np.save(tmp_path / "rows.npy", X)
    from_file = StudentMixture(3, **options).fit(tmp_path / "rows.npy")
    np.testing.assert_array_equal(from_file.means_, mixture.means_)
    given = {**options, "precisions_init": [np.eye(2)] * 3, "weights_init": [0.3, 0.3, 0.4]}
    here = StudentMixture(3, **given).fit(X)
    there = StudentMixture(3, **given).fit(da.from_array(X, chunks=(1000, 2)))
    np.testing.assert_allclose(there.scales_, here.scales_, rtol=1e-6)
    np.testing.assert_allclose(there.dofs_, here.dofs_, rtol=1e-6)


def test_outliers_found_no_clusters_where_values_are_missing():
    X, _ = rows(dofs=(100.0, 100.0, 100.0))
    X[:60] = np.random.default_rng(1).uniform(-200.0, 200.0, size=(60, 2))
    X[100::7, 1] = np.nan
    mixture = StudentMixture(3, missing="model", n_init=3, random_state=0).fit(X)
    assert np.abs(mixture.means_[in_order(mixture)] - CENTERS).max() < 0.3


def test_frozen_parameters_stay_and_the_others_are_the_best_given_them():
    X, _ = rows()
    initial = {
        "weights_init": [0.2, 0.5, 0.3],
        "means_init": CENTERS + 0.3,
        "precisions_init": np.repeat(2.0 * np.eye(2)[None], 3, axis=0),
        "reg_covar": 0.0,
    }
    frozen = {"weights": [2], "means": [0, 2], "covariances": [1]}
    options = {**initial, "dof": 3.0, "tol": 1e-13, "max_iter": 3000}
    mixture = StudentMixture(3, frozen=frozen, **options).fit(X)
    assert (np.diff(mixture.trace_) >= -1e-10).all()
    np.testing.assert_array_equal(mixture.means_[[0, 2]], CENTERS[[0, 2]] + 0.3)
    np.testing.assert_allclose(mixture.precisions_[1], 2.0 * np.eye(2), rtol=1e-12)
    assert mixture.weights_[2] == pytest.approx(0.3)
    shares = mixture.predict_proba(X)
    u = oracle.student_weights(X, mixture.means_, mixture.scales_, mixture.dofs_)
    counts, scaled = shares.sum(axis=0), shares * u
    np.testing.assert_allclose(mixture.weights_[:2], 0.7 * counts[:2] / counts[:2].sum(), rtol=1e-5)
    np.testing.assert_allclose(mixture.means_[1], scaled[:, 1] @ X / scaled[:, 1].sum(), rtol=1e-5)
    for k in (0, 2):
        offsets = X - mixture.means_[k]
        scatter = (scaled[:, k, None] * offsets).T @ offsets / counts[k]
        np.testing.assert_allclose(mixture.scales_[k], scatter, rtol=1e-4, atol=1e-6)
    free = StudentMixture(3, **options).fit(X)
    assert free.lower_bound_ > mixture.lower_bound_
    # One of two free weights, one mean, two scale matrices.
    assert mixture._n_parameters() == 1 + 2 + 2 * 3
    again = mixture.set_params(warm_start=True, frozen={"means": True}, dof="separate").fit(X)
    np.testing.assert_array_equal(again.means_[[0, 2]], CENTERS[[0, 2]] + 0.3)
    with pytest.raises(ValueError, match=r"frozen\['means'\] keeps the initial values"):
        StudentMixture(3, frozen={"means": [0]}).fit(X)
    with pytest.raises(ValueError, match=r"frozen\['means'\] names component 7"):
        StudentMixture(3, frozen={"means": [7]}, **initial).fit(X)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("n_passes", [1, 2, 5, 11])
@pytest.mark.parametrize("settings", [{}, {"covariance_type": "diag", "missing": "model"}])
def test_a_fit_cut_off_at_any_pass_ends_the_same(tmp_path, monkeypatch, n_passes, settings):
    X, labels = rows(300)
    if settings:
        X[::5, 0] = np.nan
    options = {"dof": "separate", "random_state": 7, "max_iter": 6, "n_init": 2, "tol": 0.0}
    options["labels_init"] = labels  # as a start that is found takes passes of its own
    options |= settings
    path = tmp_path / "run.fgm"
    resumed = {"checkpoint": path, "checkpoint_interval": 0.0, "resume": True}
    whole = StudentMixture(3, **options).fit(X)
    for _ in range(40):
        with monkeypatch.context() as patch, suppress(CutOffError):
            cut_off_after(patch, n_passes)
            found = StudentMixture(3, **options, **resumed).fit(X)
            break
    for name in ("weights_", "means_", "scales_", "dofs_", "trace_"):
        np.testing.assert_array_equal(getattr(found, name), getattr(whole, name))
    assert found.fit_info_.n_passes == whole.fit_info_.n_passes


def test_an_altered_checkpoint_is_refused(tmp_path):
    X, _ = rows(300)
    path = tmp_path / "run.fgm"
    options = {"checkpoint": path, "random_state": 0, "max_iter": 3, "tol": 0.0}
    with pytest.warns(ConvergenceWarning):
        StudentMixture(3, **options).fit(X)
    options |= {"resume": True, "max_iter": 3}
    with pytest.raises(CheckpointError, match="dof"):
        StudentMixture(3, dof=4.0, **options).fit(X)


def test_rows_that_lack_values_are_refused_or_left_out():
    X, _ = rows(300)
    X[5, 1] = np.nan
    with pytest.raises(ValueError, match="NaN, first in row 5, column 1"):
        StudentMixture(3).fit(X)
    left = StudentMixture(3, missing="drop", random_state=0).fit(X)
    whole = StudentMixture(3, random_state=0).fit(np.delete(X, 5, axis=0))
    np.testing.assert_array_equal(left.means_, whole.means_)
    assert left.fit_predict(X)[5] == -1


@pytest.mark.parametrize("dof", [0.0, -1.0, "all", None])
def test_degrees_of_freedom_that_are_none_are_refused(dof):
    with pytest.raises(ValueError, match="The 'dof' parameter of StudentMixture must be"):
        StudentMixture(2, dof=dof).fit(rows(60)[0])
