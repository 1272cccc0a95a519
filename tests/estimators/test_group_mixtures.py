"""A mixture for each group, beside GaussianMixture fitted to each."""

import math
import pickle
import warnings
from dataclasses import fields

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture as Reference

import fastgmm
from fastgmm import GaussianMixture, fit_groups
from fastgmm.extend import structure
from fastgmm.io import model_file
from tests.structures import DISTINCT

RNG = np.random.default_rng(0)
SIZES = np.array([60, 200, 75, 61, 130])
NAMES = np.array(["b", "a", "e", "c", "d"])
GROUPS = np.repeat(NAMES, SIZES)
CENTERS = RNG.normal(size=(len(SIZES), 2, 3)) * 8.0
WHICH = RNG.integers(0, 2, size=len(GROUPS))
X = CENTERS[np.repeat(np.arange(len(SIZES)), SIZES), WHICH] + RNG.normal(size=(len(GROUPS), 3))
ORDER = RNG.permutation(len(X))
X, GROUPS = X[ORDER], GROUPS[ORDER]


@pytest.mark.parametrize("name", DISTINCT)
def test_each_mixture_is_that_of_its_rows(name):
    found = fit_groups(X, GROUPS, 2, covariance_type=name, tol=1e-9, max_iter=500, random_state=0)
    assert_array_equal(found.groups, np.sort(NAMES))
    assert found.converged.all()
    for g, group in enumerate(found.groups):
        own = X[group == GROUPS]
        alone = GaussianMixture(
            2, covariance_type=name, tol=1e-9, max_iter=500, random_state=0
        ).fit(own)
        assert found.log_likelihoods[g] == pytest.approx(alone.score(own) * len(own), rel=1e-6)
        assert found.bic[g] == pytest.approx(alone.bic(own), rel=1e-5)
        mixture = found.mixture(group)
        order = mixture.predict(alone.means_)
        assert_allclose(mixture.means_[order], alone.means_, rtol=1e-3, atol=1e-3)
        assert mixture.covariances_.shape == alone.covariances_.shape
        assert_allclose(mixture.score(own), alone.score(own), rtol=1e-6)


def test_it_is_as_good_as_scikit_learn():
    found = fit_groups(X, GROUPS, 2, n_init=3, random_state=0)
    for g, group in enumerate(found.groups):
        own = X[group == GROUPS]
        theirs = Reference(2, n_init=3, random_state=0).fit(own)
        assert found.log_likelihoods[g] / len(own) > theirs.score(own) - 0.02


def test_rows_are_evaluated_by_the_mixture_of_their_group():
    found = fit_groups(X, GROUPS, 2, random_state=0)
    labels, shares = found.predict(X, GROUPS), found.predict_proba(X, GROUPS)
    densities = found.score_samples(X, GROUPS)
    for group in found.groups:
        own, mixture = group == GROUPS, found.mixture(group)
        assert_array_equal(labels[own], mixture.predict(X[own]))
        assert_allclose(shares[own], mixture.predict_proba(X[own]))
        assert_allclose(densities[own], mixture.score_samples(X[own]))
    totals = [densities[group == GROUPS].sum() for group in found.groups]
    assert_allclose(totals, found.log_likelihoods, rtol=1e-9)


def test_a_weight_is_as_many_copies():
    start = {"n_init": 5, "random_state": 0, "tol": 1e-9, "max_iter": 500}
    weights = np.random.default_rng(1).integers(0, 3, size=len(X))
    one = fit_groups(X, GROUPS, 2, sample_weight=weights, **start)
    other = fit_groups(np.repeat(X, weights, axis=0), np.repeat(GROUPS, weights), 2, **start)
    assert_allclose(one.sizes, other.sizes)
    assert_allclose(one.log_likelihoods, other.log_likelihoods, rtol=1e-6)


def test_order_and_numbers_of_threads_do_not_matter():
    one = fit_groups(X, GROUPS, 2, random_state=0, n_jobs=1)
    other = fit_groups(X, GROUPS, 2, random_state=0, n_jobs=2)
    assert_array_equal(one.means, other.means)
    apart = np.argsort(GROUPS, kind="stable")
    assert_allclose(fit_groups(X[apart], GROUPS[apart], 2, random_state=0).means, one.means)


def test_groups_may_be_a_column(tmp_path):
    table = pd.DataFrame(X, columns=["x", "y", "z"]).assign(place=GROUPS)
    expected = fit_groups(X, GROUPS, 2, random_state=0)
    found = fit_groups(table, "place", 2, random_state=0)
    assert_array_equal(found.means, expected.means)
    assert_array_equal(found.predict(table, "place"), expected.predict(X, GROUPS))
    table.to_parquet(tmp_path / "rows.parquet")
    found = fit_groups(tmp_path / "rows.parquet", "place", 2, random_state=0)
    assert_allclose(found.means, expected.means)
    assert_array_equal(found.mixture("a").feature_names_in_, ["x", "y", "z"])


def test_large_and_difficult_groups_are_fitted_alone():
    rows = np.concatenate([RNG.normal(size=(5000, 2)), np.repeat([[0.0, 0.0], [1.0, 1.0]], 20, 0)])
    groups = np.repeat([0, 1], [5000, 40])
    found = fit_groups(rows, groups, 2, random_state=0, tol=1e-2)
    assert np.isfinite(found.log_likelihoods).all()
    assert np.isfinite(found.covariances).all()
    wide = RNG.normal(size=(200, 20))
    assert fit_groups(wide, np.arange(200) % 2).means.shape == (2, 1, 20)


def test_results_are_pickled():
    found = fit_groups(X, GROUPS, 2, random_state=0)
    copy = pickle.loads(pickle.dumps(found))
    assert_array_equal(copy.predict(X, GROUPS), found.predict(X, GROUPS))
    assert len(copy) == 5


@pytest.mark.parametrize("name", ["full", "tied", "diag", "spherical", "tied_spherical", "EVE"])
def test_what_is_loaded_is_what_was_saved(tmp_path, name):
    table = pd.DataFrame(X, columns=["x", "y", "z"]).assign(place=GROUPS)
    found = fit_groups(table, "place", 2, covariance_type=name, random_state=0)
    found.save(tmp_path / "groups.fgm")
    loaded = fastgmm.load(tmp_path / "groups.fgm")
    assert type(loaded) is fastgmm.GroupMixtures
    assert loaded.template.get_params() == found.template.get_params()
    for field in fields(found):
        if field.name != "template":
            assert_array_equal(getattr(loaded, field.name), getattr(found, field.name))
    assert_array_equal(loaded.predict(table, "place"), found.predict(table, "place"))
    one, other = loaded.mixture("c"), found.mixture("c")
    assert vars(one).keys() == vars(other).keys()
    assert_array_equal(
        one.score_samples(table[["x", "y", "z"]]), other.score_samples(table[["x", "y", "z"]])
    )


NUMBERS = np.repeat(np.arange(len(SIZES)), SIZES)[ORDER]


@pytest.mark.parametrize(
    "groups",
    [NUMBERS, NUMBERS * 0.5, NUMBERS > 2, NUMBERS.astype("M8[D]"), list(map(str, NUMBERS))],
)
def test_groups_of_every_type_are_saved(tmp_path, groups):
    found = fit_groups(X, groups, random_state=0)
    found.save(tmp_path / "groups.fgm")
    loaded = fastgmm.load(tmp_path / "groups.fgm")
    assert loaded.groups.dtype == found.groups.dtype
    assert_array_equal(loaded.score_samples(X, groups), found.score_samples(X, groups))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda values, _: values["groups"].reverse(), "groups are in ascending order"),
        (lambda values, _: values.update(groups_dtype="<i8"), "invalid literal"),
        (lambda values, _: values["parameters"].update(n_components=3), "weights, of float64"),
        (lambda _, arrays: arrays.update(weights=arrays["weights"] * 2.0), "each group sum to 1"),
        (lambda _, arrays: arrays.update(covariances=-arrays["covariances"]), "not positive"),
        (lambda _, arrays: arrays.pop("sizes"), "there are the arrays weights"),
    ],
)
def test_files_that_do_not_fit_together_are_refused(tmp_path, change, message):
    path = tmp_path / "groups.fgm"
    fit_groups(X, GROUPS, 2, random_state=0).save(path)
    stored = model_file.load(path)
    change(stored.values, stored.arrays)
    model_file.save(path, stored.model_class, stored.values, stored.arrays)
    with pytest.raises(fastgmm.ModelFileError, match=message):
        fastgmm.load(path)


def test_fits_that_do_not_converge_are_reported():
    with pytest.warns(ConvergenceWarning, match="did not converge in 5 of 5 groups"):
        fit_groups(X, GROUPS, 3, tol=0.0, max_iter=1, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit_groups(X, GROUPS, 2, random_state=0)


def test_what_cannot_be_fitted_is_refused():
    few = GROUPS.astype(object)
    few[0] = "few"
    with pytest.raises(ValueError, match=r"'few'.* has 1 rows that count, and 2 are needed"):
        fit_groups(X, few, 2)
    none = GROUPS.astype(object)
    none[7] = None
    with pytest.raises(ValueError, match="groups has none for row 7"):
        fit_groups(X, none, 2)
    holed = X.copy()
    holed[4, 1] = math.nan
    with pytest.raises(ValueError, match="first in row 4, column 1"):
        fit_groups(holed, GROUPS, 2)
    with pytest.raises(ValueError, match="names of covariance structures"):
        fit_groups(X, GROUPS, 2, covariance_type=structure("full"))
    found = fit_groups(X, GROUPS, 2, random_state=0)
    with pytest.raises(ValueError, match=r"no mixture was fitted to group .*'z'"):
        found.predict(X[:2], ["a", "z"])
    with pytest.raises(ValueError, match="there is no group 'z'"):
        found.mixture("z")
    array = pytest.importorskip("dask.array")
    with pytest.raises(ValueError, match="compute the collection first"):
        fit_groups(
            array.from_array(X, chunks=(100, 3)),
            array.from_array(np.arange(len(X)) % 2, chunks=100),
            2,
        )


def test_rows_that_lack_values_are_refused_without_naming_parameters_that_there_are_not():
    X, groups = np.random.default_rng(0).normal(size=(40, 2)), np.repeat(np.arange(4), 10)
    mixtures = fit_groups(X, groups, random_state=0)
    lacking = X.copy()
    lacking[3, 1] = np.nan
    advice = r"row 3, column 1, .*: remove such rows, or fill in what is missing; GaussianMixture"
    with pytest.raises(ValueError, match=advice):
        fit_groups(lacking, groups)
    with pytest.raises(ValueError, match=advice):
        mixtures.predict(lacking, groups)
