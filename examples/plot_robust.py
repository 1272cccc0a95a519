"""
Mixtures of t-distributions and outliers
========================================

Chemical measurements of 178 wines from three cultivars, included in scikit-learn. In one wine in
twenty, a decimal point slips: one of its four values is ten times too large. A Gaussian mixture
spends components on these; a mixture of t-distributions hardly sees them.
"""

import warnings

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import Ellipse
from sklearn.datasets import load_wine
from sklearn.metrics import adjusted_rand_score

from fastgmm import DegenerateComponentWarning, GaussianMixture, StudentMixture

# Gaussian components collapse onto some wines with errors, which is what this example is about.
warnings.filterwarnings("ignore", category=DegenerateComponentWarning)

data = load_wine()
names = ["alcohol", "flavanoids", "color_intensity", "proline"]
clean = data.data[:, [data.feature_names.index(name) for name in names]]


def with_slips(share, seed=0):
    """Return the measurements with slipped points, and which wines have one."""
    rng = np.random.default_rng(seed)
    wrong = rng.choice(len(clean), round(share * len(clean)), replace=False)
    X, is_wrong = clean.copy(), np.isin(np.arange(len(clean)), wrong)
    X[wrong, rng.integers(len(names), size=len(wrong))] *= 10.0
    return X, is_wrong


# %%
# Both mixtures are fitted to all rows. The other wines are then compared with their cultivars,
# which no fit has seen: an adjusted Rand index of 1 is a perfect match, 0 that of chance.

X, is_wrong = with_slips(0.05)
mixtures = [kind(3, n_init=10, random_state=0).fit(X) for kind in (GaussianMixture, StudentMixture)]
for mixture in mixtures:
    match = adjusted_rand_score(data.target[~is_wrong], mixture.predict(X[~is_wrong]))
    print(f"{type(mixture).__name__}: {match:.2f}, BIC {mixture.bic(X):.0f}")
    print("  weights of the components:", mixture.weights_.round(2))
gaussian, student = mixtures
print(f"degrees of freedom: {student.dofs_[0]:.1f}")
assert gaussian.bic(X) > student.bic(X) + 100

# %%
# Ellipses at two standard deviations, or their equals of the scale matrices, in two of the four
# measurements. Components of the Gaussian mixture that took the errors reach far beyond the figure.

figure, axes = plt.subplots(
    1, 2, figsize=(9.6, 4.4), sharex=True, sharey=True, layout="constrained"
)
shown = [names.index("flavanoids"), names.index("color_intensity")]
for ax, mixture, matrices in zip(
    axes, mixtures, (gaussian.covariances_, student.scales_), strict=True
):
    labels = mixture.predict(X)
    for k in range(3):
        color = f"C{k}"
        ax.plot(*X[(labels == k) & ~is_wrong][:, shown].T, ".", color=color, alpha=0.7)
        variances, directions = np.linalg.eigh(matrices[k][np.ix_(shown, shown)])
        width, height = 4.0 * np.sqrt(variances)
        angle = np.degrees(np.arctan2(directions[1, 0], directions[0, 0]))
        center = mixture.means_[k][shown]
        ax.add_patch(Ellipse(center, width, height, angle=angle, fill=False, ec=color, lw=2))
    ax.plot(*X[is_wrong][:, shown].T, "x", color="black", label="a slipped point")
    ax.set(title=type(mixture).__name__, xlabel="Flavanoids", xlim=(0, 7), ylim=(0, 15))
axes[0].set_ylabel("Color intensity")
axes[1].legend(loc="upper right")
plt.show()

# %%
# How many errors can they take? Each point is the mean over five draws of the wines with errors.

shares = np.array([0.0, 0.02, 0.05, 0.1, 0.15])
figure, ax = plt.subplots(figsize=(6.8, 4.2), layout="constrained")
for kind in (GaussianMixture, StudentMixture):
    matches = []
    for share in shares:
        found = []
        for seed in range(5):
            rows, wrong = with_slips(share, seed)
            fitted = kind(3, n_init=10, random_state=0).fit(rows)
            found.append(adjusted_rand_score(data.target[~wrong], fitted.predict(rows[~wrong])))
        matches.append(np.mean(found))
    ax.plot(100 * shares, matches, "o-", label=kind.__name__)
ax.set(xlabel="Wines with a slipped point (%)", ylabel="Adjusted Rand index", ylim=(-0.05, 1.0))
ax.legend()
plt.show()
