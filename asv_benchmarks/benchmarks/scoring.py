"""What a fitted mixture says about rows."""

from fastgmm import GaussianMixture
from fastgmm.bench.grid import Case
from fastgmm.bench.mixture_problem import make_problem

from .sizes import SMALL, rows

METHODS = ("score_samples", "predict", "predict_proba", "score")


class Scoring:
    """Methods of the estimator that evaluate every row."""

    params = (list(METHODS), ["full"] if SMALL else ["full", "diag"])
    param_names = ("method", "structure")
    timeout = 600

    def setup(self, method, structure):
        self.X = make_problem(Case("scoring", structure, rows(1_000_000), 8, 16)).X
        few = self.X[:1_000]
        mixture = GaussianMixture(16, covariance_type=structure, random_state=0, tol=1.0).fit(few)
        self.evaluate = getattr(mixture, method)
        self.evaluate(few)

    def time_method(self, method, structure):
        del method, structure
        self.evaluate(self.X)


class Memory(Scoring):
    """Peak memory of a process that evaluates every row."""

    params = (["score_samples", "predict_proba"], ["full"])

    def peakmem_method(self, method, structure):
        del method, structure
        self.evaluate(self.X)

    # Timed above.
    time_method = None
