"""Searches over structures and numbers of components, of few rows and of many."""

import numpy as np

from fastgmm import MixtureSearch

from .sizes import rows

_FEW, _MANY = 200, rows(100_000)
_STRUCTURES = ("EII", "VVI", "EEE", "VVV")


class Searches:
    """A search, and the BIC of what it chooses."""

    params = (("few", "many"),)
    param_names = ("rows",)
    timeout = 600

    def setup(self, size):
        rng = np.random.default_rng(0)
        n_rows = _FEW if size == "few" else _MANY
        centers = 5.0 * rng.standard_normal((4, 4))
        self.X = centers[rng.integers(4, size=n_rows)] + rng.standard_normal((n_rows, 4))
        self.search = (
            MixtureSearch()
            if size == "few"
            else MixtureSearch((2, 4, 6), structures=_STRUCTURES, random_state=0)
        )
        self.search.fit(self.X[:_FEW])  # compiles
        self.search.fit(self.X)

    def time_search(self, size):
        del size
        self.search.fit(self.X)

    def track_bic(self, size):
        del size
        return self.search.best_score_ / len(self.X)
