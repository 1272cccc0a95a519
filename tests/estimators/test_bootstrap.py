"""Standard errors and intervals against theory, mclust's, and warnings."""

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.utils import check_random_state

from fastgmm import DegenerateComponentWarning, GaussianMixture, KMeans, bootstrap_parameters
from fastgmm.mixture.structures import structure

REFERENCE = Path(__file__).parents[1] / "reference"
BOOTSTRAP = json.loads((REFERENCE / "bootstrap.json").read_text("utf-8"))
NAMES = {"VVV": "full", "EEE": "tied", "VVI": "diag"}
KINDS = {"bs": "nonparametric", "wlbs": "weighted", "pb": "parametric", "jk": "jackknife"}
PARAMETERS = ("weights", "means", "covariances")
CASES = [
    (case, kind)
    for case, values in BOOTSTRAP.items()
    if isinstance(values, dict)
    for kind in values.get("kinds", ())
]


def features(case):
    table = np.genfromtxt(REFERENCE / f"{case.split('_')[0]}.csv", delimiter=",", skip_header=1)
    return table[:, : {"faithful": 2, "iris": 4}[case.split("_")[0]]]


def as_array(values):
    return np.array(values, dtype=np.float64)


def fitted_by_mclust(case):
    """Return the mixture that mclust's resampling began with."""
    values = BOOTSTRAP[case]["fitted"]
    weights, means, covariances = (as_array(values[name]) for name in PARAMETERS)
    name = NAMES[BOOTSTRAP[case]["model"]]
    kind = structure(name)
    if kind.is_diagonal:
        covariances = np.einsum("kii->ki", covariances)
    reduced = kind.reduce(covariances)
    return GaussianMixture(
        len(weights),
        covariance_type=name,
        weights_init=weights / weights.sum(),
        means_init=means,
        precisions_init=1.0 / reduced if kind.is_diagonal else np.linalg.inv(reduced),
        max_iter=0,
        reg_covar=0.0,
    ).fit(features(case))


def in_the_shape_of(ours, theirs, name):
    """Return mclust's covariance matrices in the shape of the structure."""
    if name != "covariances":
        return theirs
    if ours.ndim == 2 and ours.shape[0] != ours.shape[1]:
        return np.einsum("kii->ki", theirs)
    return theirs if ours.ndim == 3 else theirs[0]


@pytest.mark.parametrize(("case", "kind"), CASES)
def test_standard_errors_and_intervals_are_those_of_mclust(case, kind):
    """Within what the numbers of resamples allow, and with mclust's end of each fit.

    The standard deviation of a standard deviation of n normal numbers is 1 / sqrt(2 n) of it;
    those here come from heavier tails, which the parameters of a variance have.
    """
    X = features(case)
    mixture = fitted_by_mclust(case)
    # mclust ends where the log-likelihood changes by less than 1e-5 of one more than its size.
    tol = 1e-5 * (1.0 + abs(mixture.score(X)) * len(X))
    n_resamples = 600
    found = bootstrap_parameters(
        mixture, X, kind=KINDS[kind], n_resamples=n_resamples, tol=tol, random_state=0
    )
    expected = BOOTSTRAP[case]["kinds"][kind]
    exact = kind == "jk"
    spread = np.sqrt(0.5 / n_resamples + 0.5 / BOOTSTRAP["n_resamples"])
    for name in PARAMETERS:
        ours = getattr(found, name)
        theirs = in_the_shape_of(ours.estimate, as_array(expected["standard_errors"][name]), name)
        assert_allclose(ours.standard_error, theirs, rtol=0.02 if exact else 5.0 * spread)
        for end in ("low", "high"):
            theirs = in_the_shape_of(ours.estimate, as_array(expected[end][name]), name)
            given = np.isfinite(theirs)  # mclust has none for covariances off the diagonal
            assert given.any()
            # The 2.5 % quantile of normal numbers is known to sqrt(p q / n) / density = 2.67 / n.
            allowed = (0.05 if exact else 5.0 * 2.67 * np.sqrt(2.0) * spread) * ours.standard_error
            assert (np.abs(getattr(ours, end) - theirs)[given] < allowed[given]).all()


def test_one_component_has_the_errors_of_the_textbook():
    rng = np.random.default_rng(1)
    X = rng.normal(size=(500, 2)) @ np.array([[2.0, 0.0], [1.0, 0.5]])
    mixture = GaussianMixture(reg_covar=0.0).fit(X)
    of_means = X.std(axis=0) / np.sqrt(len(X))
    variances = X.var(axis=0)
    for kind in ("nonparametric", "weighted", "parametric", "jackknife"):
        found = bootstrap_parameters(mixture, X, kind=kind, n_resamples=1000, random_state=0)
        assert_allclose(found.means.standard_error[0], of_means, rtol=0.1)
        of_variances = variances * np.sqrt(2.0 / len(X))
        diagonal = np.diag(found.covariances.standard_error[0])
        assert_allclose(diagonal, of_variances, rtol=0.15)
        reach = 1.96 * of_means
        assert (np.abs(found.means.low[0] - (X.mean(axis=0) - reach)) < 0.4 * of_means).all()
        assert (np.abs(found.means.high[0] - (X.mean(axis=0) + reach)) < 0.4 * of_means).all()
        assert_array_equal(found.weights.standard_error, [0.0])
    exact = X.std(axis=0, ddof=1) / np.sqrt(len(X))
    assert_allclose(found.means.standard_error[0], exact, rtol=1e-10)  # the jackknife's


@pytest.mark.parametrize(
    ("covariance_type", "shape"),
    [("full", (3, 2, 2)), ("tied", (2, 2)), ("diag", (3, 2)), ("spherical", (3,))],
)
def test_shapes(covariance_type, shape):
    X = features("faithful_VVV_2")
    mixture = GaussianMixture(3, covariance_type=covariance_type, random_state=0).fit(X)
    found = bootstrap_parameters(
        mixture, X, n_resamples=5, kind="weighted", confidence_level=0.5, random_state=0
    )
    for name, expected in [("weights", (3,)), ("means", (3, 2)), ("covariances", shape)]:
        values = getattr(found, name)
        assert_allclose(values.estimate, getattr(mixture, f"{name}_"))
        assert values.replicates.shape == (5, *expected)
        for each in ("standard_error", "low", "high"):
            assert getattr(values, each).shape == expected
        assert_allclose(values.standard_error, values.replicates.std(axis=0, ddof=1))
        assert_allclose(values.low, np.quantile(values.replicates, 0.25, axis=0))
    assert (found.kind, found.confidence_level, found.n_resamples) == ("weighted", 0.5, 5)
    assert (found.n_failed, found.n_unconverged) == (0, 0)


def test_files_and_weights_by_name(tmp_path):
    pl = pytest.importorskip("polars")
    X = features("faithful_VVV_2")
    weights = np.random.default_rng(0).integers(0, 3, size=len(X)).astype(float)
    path = tmp_path / "x.parquet"
    pl.DataFrame({"a": X[:, 0], "b": X[:, 1], "w": weights}).write_parquet(path)
    mixture = GaussianMixture(2, random_state=0).fit(path, sample_weight="w")
    arguments = {"n_resamples": 3, "random_state": 4, "tol": 1e-7}
    of_file = bootstrap_parameters(mixture, path, "w", **arguments)
    mixture.__dict__.pop("feature_names_in_")
    of_array = bootstrap_parameters(mixture, X, weights, **arguments)
    assert_allclose(of_file.means.replicates, of_array.means.replicates, rtol=1e-3)


def test_the_seed_decides():
    X = features("faithful_VVV_2")
    mixture = GaussianMixture(2, random_state=0).fit(X)
    one, same, other, threads = (
        bootstrap_parameters(mixture, X, n_resamples=4, random_state=seed, n_jobs=n_jobs)
        for seed, n_jobs in [(0, 1), (check_random_state(0), 1), (1, 1), (0, 2)]
    )
    assert_array_equal(one.means.replicates, same.means.replicates)
    assert_array_equal(one.means.replicates, threads.means.replicates)
    assert not np.array_equal(one.means.replicates, other.means.replicates)


def test_fits_that_do_not_converge_are_reported():
    X = features("faithful_VVV_2")
    mixture = GaussianMixture(3, random_state=0).fit(X)
    with pytest.warns(ConvergenceWarning, match="in 5 of 5 resamples: after max_iter=1 ") as caught:
        found = bootstrap_parameters(mixture, X, n_resamples=5, max_iter=1, random_state=0)
    assert found.n_unconverged == 5
    assert caught[0].filename == __file__


def lonely_rows():
    """Return rows of which three are far from all others, and a mixture without regularization."""
    X = np.random.default_rng(0).normal(size=(100, 2))
    X[:3] = [[50.0, 50.0], [51.0, 50.0], [50.0, 51.0]]
    means = np.array([[0.0, 0.0], [50.0, 50.0]])
    return X, GaussianMixture(2, reg_covar=0.0, means_init=means, random_state=0).fit(X)


def test_resamples_in_which_a_component_collapses_are_left_out():
    X, mixture = lonely_rows()
    with pytest.warns(DegenerateComponentWarning, match=r"of 40 resamples are left out") as caught:
        found = bootstrap_parameters(mixture, X, n_resamples=40, random_state=0)
    assert 0 < found.n_failed < 38
    assert found.n_failed + found.n_resamples == 40
    assert len(found.means.replicates) == found.n_resamples
    assert np.isfinite(found.covariances.standard_error).all()
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        weighted = bootstrap_parameters(mixture, X, n_resamples=40, kind="weighted", random_state=0)
    assert weighted.n_failed == 0


def test_nothing_left():
    X, mixture = lonely_rows()
    with pytest.raises(ValueError, match=r"a component collapsed in \d of 2 resamples.*reg_covar"):
        bootstrap_parameters(mixture, X, n_resamples=2, random_state=0)


def test_arguments_are_checked():
    X = features("faithful_VVV_2")
    mixture = GaussianMixture(2, random_state=0).fit(X)
    with pytest.raises(NotFittedError, match="not fitted"):
        bootstrap_parameters(GaussianMixture(2), X)
    with pytest.raises(ValueError, match=r"'mixture' parameter .* must be an instance of"):
        bootstrap_parameters(KMeans(2), X)
    with pytest.raises(ValueError, match=r"'kind' parameter .* 'bs'"):
        bootstrap_parameters(mixture, X, kind="bs")
    with pytest.raises(ValueError, match="'n_resamples' parameter"):
        bootstrap_parameters(mixture, X, n_resamples=1)
    with pytest.raises(ValueError, match="'confidence_level' parameter"):
        bootstrap_parameters(mixture, X, confidence_level=95)
    with pytest.raises(ValueError, match="3 features"):
        bootstrap_parameters(mixture, np.ones((5, 3)))


@pytest.mark.parametrize(
    "more", [{"noise_volume": "auto"}, {"priors": "mclust"}, {"semi_supervised": True}]
)
def test_what_is_more_than_maximum_likelihood_is_refused(more):
    X = features("faithful")
    mixture = GaussianMixture(2, random_state=0, **more)
    mixture.fit(X, np.full(len(X), -1) if mixture.semi_supervised else None)
    with pytest.raises(
        ValueError, match=f"by maximum likelihood .*this one has {next(iter(more))}"
    ):
        bootstrap_parameters(mixture, X)


def test_whole_rows_are_not_drawn_in_place_of_incomplete_ones():
    rng = np.random.default_rng(0)
    X = np.where(rng.random((200, 2)) < 0.2, np.nan, rng.normal(size=(200, 2)))
    mixture = GaussianMixture(missing="model").fit(X)
    with pytest.raises(ValueError, match=r"'parametric' draws whole rows.*'nonparametric' or 'wei"):
        bootstrap_parameters(mixture, X, kind="parametric", n_resamples=10)
    found = bootstrap_parameters(mixture, X, kind="nonparametric", n_resamples=200, random_state=0)
    # of 160 values known of each feature, not of 200
    assert found.means.standard_error[0, 0] == pytest.approx(1.0 / np.sqrt(160), rel=0.2)
