"""Results that may not change in silence: ``make golden`` writes them, ``test_golden.py`` compares.

Rows are made by integer arithmetic, so that no generator of random numbers stands between versions.
Where a result is meant to change, write the file again and say in CHANGELOG.md what changed.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np

import fastgmm

FILE = Path(__file__).parents[1] / "reference" / "golden.json"

_i = np.arange(240)
_HASHED = np.stack([(_i * _i * 7919) % 1009, (_i**3 * 104729) % 1013, (_i * 31) % 97], axis=1)
GROUPS = _i % 3
ROWS = _HASHED / [400.0, 300.0, 40.0] + 1.5 * GROUPS[:, None] * [1.0, -1.0, 0.5]
WEIGHTS = 0.5 + (_i % 7)
_HOLES = np.where(_HASHED % 11 == 0, np.nan, ROWS)


def _mixture(model):
    kept = {
        "weights": model.weights_,
        "means": model.means_,
        "covariances": model.covariances_,
        "lower_bound": model.lower_bound_,
        "n_iter": model.n_iter_,
        "log_density": model.score_samples(ROWS[:5]),
    }
    return {name: np.asarray(value).tolist() for name, value in kept.items()}


def _gaussian(**options):
    options = {"random_state": 0, "tol": 1e-6, "max_iter": 500, **options}
    return fastgmm.GaussianMixture(3, **options)


def results():
    """Return what the models of now give, by name."""
    found = {
        f"mixture {kind}": _mixture(_gaussian(covariance_type=kind).fit(ROWS))
        for kind in ("full", "tied", "diag", "spherical", "EEV", "VEI")
    }
    found["mixture weighted"] = _mixture(_gaussian().fit(ROWS, sample_weight=WEIGHTS))
    found["mixture missing"] = _mixture(_gaussian(missing="model").fit(_HOLES))
    found["mixture prior"] = _mixture(_gaussian(priors="mclust").fit(ROWS))
    found["mixture noise"] = _mixture(_gaussian(noise_volume=1e3).fit(ROWS))
    found["mixture single precision"] = _mixture(_gaussian().fit(ROWS.astype(np.float32)))
    found["mixture k-means"] = _mixture(_gaussian(init_params="kmeans", n_init=2).fit(ROWS))
    found["mixture sample"] = {"rows": _gaussian().fit(ROWS).sample(4)[0].tolist()}
    found["variational"] = _mixture(
        fastgmm.BayesianGaussianMixture(4, tol=1e-6, max_iter=500, random_state=0).fit(ROWS)
    )
    found["message length"] = _mixture(
        fastgmm.MessageLengthGaussianMixture(6, random_state=0).fit(ROWS)
    )
    found["minibatch"] = _mixture(
        fastgmm.MiniBatchGaussianMixture(3, batch_size=64, max_epochs=3, random_state=0).fit(ROWS)
    )
    clusters = fastgmm.KMeans(3, random_state=0).fit(ROWS)
    found["k-means"] = {
        "centers": clusters.cluster_centers_.tolist(),
        "inertia": clusters.inertia_,
    }
    classifier = fastgmm.GaussianMixtureClassifier(random_state=0).fit(ROWS, GROUPS)
    found["classifier"] = {"probabilities": classifier.predict_proba(ROWS[:5]).tolist()}
    detector = fastgmm.GaussianMixtureOutlierDetector(3, random_state=0).fit(ROWS)
    found["detector"] = {"offset": float(detector.offset_)}
    regressor = fastgmm.GaussianMixtureRegressor(3, random_state=0).fit(ROWS[:, :2], ROWS[:, 2])
    found["regressor"] = {"values": regressor.predict(ROWS[:5, :2]).tolist()}
    return found


if __name__ == "__main__":
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        FILE.write_text(json.dumps(results(), indent=1) + "\n")
