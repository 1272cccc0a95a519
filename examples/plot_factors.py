r"""
Factor analyzers of handwritten digits
======================================

The images of scikit-learn's digits have 64 pixels, and there are 180 for each digit: too few for
covariances of 2080 parameters each. A factor analyzer, :math:`\Lambda \Lambda^\top + \Psi`, has
fewer, and its loadings :math:`\Lambda` are images of how a digit varies. See
:doc:`/user_guide/factor_analyzers`.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

from fastgmm import GaussianMixture

rng = np.random.default_rng(0)
images, _ = load_digits(return_X_y=True)
X = images + rng.uniform(size=images.shape)  # whole numbers of ink, spread over their interval
train, test = X[::2], X[1::2]

# %%
# Mixtures of twelve components are fitted to half of the images, which leaves 75 for each: full
# covariances would be all but singular. The likelihood of the other half is the highest with some
# factors, far above those of diagonal covariances, or of one for all components.


def fit(**structure):
    """Fit a mixture to one half of the images."""
    return GaussianMixture(12, random_state=0, reg_covar=0.01, max_iter=500, **structure).fit(train)


numbers = [1, 2, 4, 6, 8, 12]
mixtures = [fit(covariance_type="factors", n_factors=q) for q in numbers]
scores = [each.score(test) for each in mixtures]
others = {name: fit(covariance_type=name).score(test) for name in ("tied", "diag")}
for q, mixture, score in zip(numbers, mixtures, scores, strict=True):
    print(f"{q:2} factors: BIC {mixture.bic(train):.0f}, {score:.1f} nats an image of the others")
assert max(scores) > max(others.values()) + 3

figure, ax = plt.subplots(figsize=(6.4, 3.8), layout="constrained")
ax.plot(numbers, scores, marker="o", label="factors")
for (name, score), style in zip(others.items(), ("--", ":"), strict=True):
    ax.axhline(score, color="gray", linestyle=style, label=name)
ax.set(
    xlabel="Number of factors",
    ylabel="Log-likelihood of an image (nats)",
    title="Images that were not in the fit",
)
ax.legend(loc="center right")
plt.show()

# %%
# The mean of each component in the middle, and what the first factor does to it: two standard
# deviations down, on the left, and up, on the right. It slants the digits, or makes them wider.

mixture = mixtures[numbers.index(4)]
order = np.argsort(-mixture.weights_)
figure, axes = plt.subplots(3, 12, figsize=(9, 2.7), layout="constrained")
for column, k in zip(axes.T, order, strict=True):
    for ax, step in zip(column, (-2.0, 0.0, 2.0), strict=True):
        image = mixture.means_[k] + step * mixture.factor_loadings_[k, :, 0]
        ax.imshow(image.reshape(8, 8), cmap="gray_r", vmin=0.0, vmax=16.0)
        ax.set(xticks=[], yticks=[])
for ax, step in zip(axes[:, 0], ("−2 Λ", "μ", "+2 Λ"), strict=True):
    ax.set_ylabel(step)
figure.suptitle("Means, and how they change along the first factor")
plt.show()

# %%
# Images drawn from the mixture.

drawn, _ = mixture.sample(36)
figure, axes = plt.subplots(3, 12, figsize=(9, 2.7), layout="constrained")
for ax, image in zip(axes.ravel(), rng.permutation(drawn), strict=True):
    ax.imshow(image.reshape(8, 8), cmap="gray_r", vmin=0.0, vmax=16.0)
    ax.set(xticks=[], yticks=[])
figure.suptitle("Drawn from the mixture")
plt.show()
