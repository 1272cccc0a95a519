"""
Degenerate components and priors
================================

With more components than the data support, the likelihood is highest where a component shrinks onto
a few rows: there it has no maximum. ``reg_covar`` keeps such a covariance positive definite, and a
warning names the component, but the density is still a needle. A prior avoids this: covariances are
estimated from the rows of the component and, in effect, a few rows of typical spread.

The data are two measurements of the 178 wines included in scikit-learn.
"""

import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_wine

from fastgmm import DegenerateComponentWarning, GaussianMixture
from fastgmm.plotting import EllipsesDisplay

wine = load_wine(as_frame=True).data
X = np.log(wine[["malic_acid", "proline"]])

# %%
# Fifteen components of forty wines. The estimate of maximum likelihood is degenerate.

few = X.sample(40, random_state=0)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    likely = GaussianMixture(15, random_state=0).fit(few)
probable = GaussianMixture(15, priors="mclust", random_state=0).fit(few)


def narrowest(mixture):
    """Return the smallest standard deviation of any component in any direction."""
    return np.sqrt(np.linalg.eigvalsh(mixture.covariances_).min())


print(
    f"{len(likely.fit_info_.degeneracies)} components have collapsed: {caught[0].category.__name__}"
)
print(f"smallest standard deviation, maximum likelihood: {narrowest(likely):.4f}")
print(f"smallest standard deviation, with the prior:     {narrowest(probable):.4f}")

# %%
# The ellipses contain half of each component. Needles and points on the left are the degenerate
# components; the prior gives each a width.

figure, axes = plt.subplots(1, 2, figsize=(11, 4.6), sharex=True, sharey=True, layout="constrained")
for ax, mixture, title in zip(
    axes, (likely, probable), ("Maximum likelihood", 'priors="mclust"'), strict=True
):
    EllipsesDisplay.from_estimator(mixture, few, masses=[0.5], ax=ax)
    ax.get_legend().remove()
    ax.set(title=title, xlabel="Malic acid (logarithm)", ylabel="Proline (logarithm)")
plt.show()

# %%
# The narrowest component for each number of components: once one has collapsed, it is at the floor
# that ``reg_covar`` sets.

numbers = range(1, 16)
figure, ax = plt.subplots(figsize=(6.4, 4.2), layout="constrained")
for label, priors in (("maximum likelihood", None), ('priors="mclust"', "mclust")):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DegenerateComponentWarning)
        mixtures = [GaussianMixture(k, priors=priors, random_state=0).fit(few) for k in numbers]
    ax.plot(numbers, [narrowest(each) for each in mixtures], "o-", markersize=4, label=label)
ax.set(
    yscale="log",
    xlabel="Components",
    ylabel="Standard deviation",
    title="The narrowest direction of all components",
)
ax.legend()
plt.show()
