r"""
Adding a covariance structure
=============================

A covariance structure defines what the covariances of the components have in common, and therefore
how they are estimated from the spread of the points of each component. It is one class with one
method, ``whiten``, its part of the M-step. Passes, initialization, the EM loop, and the rules for
degenerate components are the same for all structures.

This example adds a structure that is not in the package. Suppose that the noise of an instrument
has a known shape :math:`S`, for example from calibration, and that only its strength differs
between components:

.. math:: \Sigma_k = \lambda_k S

Setting the derivative of the expected log-likelihood with respect to :math:`\lambda_k` to zero
gives, with :math:`\hat\Sigma_k` the weighted covariance of the component's points and :math:`D`
features,

.. math:: \lambda_k = \operatorname{tr}(S^{-1} \hat\Sigma_k) / D
"""

import matplotlib.pyplot as plt
import numpy as np
from scipy.linalg import solve_triangular

from fastgmm.data.sources.array import ArraySource
from fastgmm.em.degeneracy import regularization_for
from fastgmm.em.e_step import passes
from fastgmm.em.initialization.methods import InitSettings, initialize
from fastgmm.em.loop import Starts, fit_best
from fastgmm.em.problem import EMProblem
from fastgmm.em.stopping import SmallChange
from fastgmm.mixture.structures import CovarianceStructure, structure

# %%
# The structure. With :math:`S = L L^\top`, the matrix :math:`L^{-1}` transforms the points such
# that the noise is spherical. ``whiteners`` of the parameters are the inverse Cholesky factors of
# the covariances, :math:`W_k = L^{-1} / \sqrt{\lambda_k}`, the form used by the compiled pass.


class ScaledShape(CovarianceStructure):
    """Multiples of one known covariance."""

    def __init__(self, shape):
        super().__init__("scaled_shape")
        factor = np.linalg.cholesky(shape)
        self.whitener = solve_triangular(factor, np.eye(len(shape)), lower=True)

    def whiten(self, spread):
        """Return the whitener of each component: the common one, divided by its strength."""
        n_features = len(self.whitener)
        strengths = (
            np.einsum("ij,kjl,il->k", self.whitener, spread.covariances, self.whitener) / n_features
        )
        return self.whitener / np.sqrt(strengths)[:, None, None]

    def n_covariance_parameters(self, n_components, n_features):  # noqa: ARG002
        """Return the number of free parameters of the covariances: one strength for each."""
        return n_components


# %%
# Points from three components with noise of the same shape and low, medium and high strength.

shape = np.array([[1.0, 0.8], [0.8, 1.0]])
strengths = np.array([0.05, 0.3, 1.0])
centers = np.array([[0.0, 0.0], [2.0, -1.0], [5.0, 3.0]])
random = np.random.default_rng(0)
origin = random.integers(3, size=3000)
noise = random.multivariate_normal(np.zeros(2), shape, size=3000)
points = centers[origin] + np.sqrt(strengths[origin])[:, None] * noise

# %%
# A fit consists of an initialization, followed by a loop over the pass and the ``solve`` method of
# the structure.

source = ArraySource(points)
regularization = regularization_for(source, 1e-6, "auto")


def fit(kind):
    """Fit three components of a structure."""
    problem = EMProblem(source, kind, regularization)
    start, _ = initialize(problem, source, 3, InitSettings(np.random.RandomState(0)))
    return fit_best(problem, Starts.at(start), SmallChange(1e-8), 1000)


own = ScaledShape(shape)
parameters, info = fit(own)
found = np.array([np.trace(np.linalg.solve(shape, each)) / 2 for each in parameters.covariances()])
print(f"{info.reason} after {info.n_iter} iterations")
print("strengths drawn from:", strengths)
print("strengths found:     ", np.sort(found).round(3))
assert np.all(np.diff(info.trace) >= -1e-12)

# %%
# The structure has 11 parameters, a full covariance for each component has 17. The Bayesian
# information criterion takes this into account.

for kind in (own, structure("full"), structure("spherical")):
    _, kind_info = fit(kind)
    n_parameters = kind.n_parameters(3, 2)
    bic = n_parameters * np.log(len(points)) - 2 * len(points) * kind_info.trace[-1]
    print(f"{kind.name:14}{n_parameters:4} parameters   BIC {bic:.1f}")

# %%
# The components, with the ellipses of the noise at two standard deviations.

figure, ax = plt.subplots(figsize=(6.4, 5.2), layout="constrained")
ax.scatter(*points.T, c=passes.labels(source, parameters), s=4, alpha=0.4, vmax=9, cmap="tab10")
angles = np.linspace(0, 2 * np.pi, 200)
circle = np.stack([np.cos(angles), np.sin(angles)])
for mean, covariance in zip(parameters.means, parameters.covariances(), strict=True):
    ax.plot(*(mean[:, None] + 2 * np.linalg.cholesky(covariance) @ circle), color="black")
ax.set(xlabel="First feature", ylabel="Second feature", title="One shape, three strengths")
ax.set_aspect("equal")

# %%
# Within the package, ``GaussianMixture(covariance_type="scaled_shape")`` would require one more
# line: an instance in the table in ``fastgmm/mixture/structures/registry.py``.

plt.show()
