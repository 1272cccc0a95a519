"""A search that is interrupted, and one that resumes."""

import numpy as np
import pytest

from fastgmm import CheckpointError, MixtureSearch
from tests import mclust

FEW = {"structures": ["EII", "VVI", "EEE", "VVV"], "reg_covar": 1e-6, "random_state": 0}


class Stopped(BaseException):
    """What a signal raises."""


def stop_after(search, count):
    """Let a search end as soon as so many candidates are known; what is known comes last."""
    seen = []

    def on_candidate(known):
        seen.append(known)
        if known.counts == (count, 12):
            raise Stopped

    search.on_candidate = on_candidate
    return seen


def interrupted(count, X, **parameters):
    search = MixtureSearch([1, 2, 3], **FEW, **parameters)
    seen = stop_after(search, count)
    with pytest.raises(Stopped):
        search.fit(X)
    return search, seen[-1]


def test_the_best_of_what_is_known_is_kept():
    X = mclust.rows("iris")
    search, known_then = interrupted(5, X)
    assert search._keep_known(known_then) == 5
    known = search.results_["failure"] == ""
    assert known.sum() == 5
    assert np.isfinite(search.results_["icl"][known]).all()
    assert set(search.results_["failure"][~known]) == {"the search was interrupted before"}
    best = search.best_estimator_
    assert search.best_score_ == np.nanmin(search.results_["bic"])
    assert search.best_score_ == pytest.approx(best.bic(X), rel=1e-9)


def test_a_search_resumes_with_what_is_in_the_checkpoint(tmp_path):
    X = mclust.rows("iris")
    path = tmp_path / "search.fgm"
    interrupted(7, X, checkpoint=path)
    fitted = []
    search = MixtureSearch([1, 2, 3, 4], **FEW, checkpoint=path, resume=True)
    search.on_candidate = lambda known: fitted.append(known.counts)
    search.fit(X)
    assert fitted[0] == (8, 16)  # seven were known, of a smaller search
    whole = MixtureSearch([1, 2, 3, 4], **FEW).fit(X)
    assert search.best_params_ == whole.best_params_
    for name in ("bic", "icl"):
        np.testing.assert_allclose(search.results_[name], whole.results_[name], rtol=1e-3)
    with pytest.raises(CheckpointError, match=r"tol: 1e-05 then, 0\.1 now"):
        MixtureSearch([1], **FEW, tol=0.1, checkpoint=path, resume=True).fit(X)
    with pytest.raises(CheckpointError, match="there is a file"):
        MixtureSearch([1], **FEW, checkpoint=path).fit(X)
