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

from fastgmm import GaussianMixture
from fastgmm.extend import CovarianceStructure

# %%
# The structure. With :math:`S = L L^\top`, the matrix :math:`L^{-1}` transforms the points such
# that the noise is spherical. ``whiteners`` of the parameters are the inverse Cholesky factors of
# the covariances, :math:`W_k = L^{-1} / \sqrt{\lambda_k}`, the form used by the compiled pass.


class ScaledShape(CovarianceStructure):
    """Multiples of one known covariance."""

    def __init__(self, shape):
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
# An instance is a value of ``covariance_type``, in every estimator.


def fit(covariance_type):
    """Fit three components of a structure."""
    mixture = GaussianMixture(
        3, covariance_type=covariance_type, tol=1e-8, max_iter=1000, random_state=0
    )
    return mixture.fit(points)


mixture = fit(ScaledShape(shape))
found = np.array([np.trace(np.linalg.solve(shape, each)) / 2 for each in mixture.covariances_])
print(f"converged: {mixture.converged_}, after {mixture.n_iter_} iterations")
print("strengths drawn from:", strengths)
print("strengths found:     ", np.sort(found).round(3))
assert np.all(np.diff(mixture.trace_) >= -1e-12)

# %%
# The structure has 11 parameters, a full covariance for each component has 17. The Bayesian
# information criterion takes this into account.

for name, each in (
    ("ScaledShape", mixture),
    ("full", fit("full")),
    ("spherical", fit("spherical")),
):
    print(f"{name:14}BIC {each.bic(points):.1f}")

# %%
# The components, with the ellipses of the noise at two standard deviations.

figure, ax = plt.subplots(figsize=(6.4, 5.2), layout="constrained")
ax.scatter(*points.T, c=mixture.predict(points), s=4, alpha=0.4, vmax=9, cmap="tab10")
angles = np.linspace(0, 2 * np.pi, 200)
circle = np.stack([np.cos(angles), np.sin(angles)])
for mean, covariance in zip(mixture.means_, mixture.covariances_, strict=True):
    ax.plot(*(mean[:, None] + 2 * np.linalg.cholesky(covariance) @ circle), color="black")
ax.set(xlabel="First feature", ylabel="Second feature", title="One shape, three strengths")
ax.set_aspect("equal")

plt.show()
