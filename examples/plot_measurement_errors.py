"""
Mixtures of rows with measurement errors
========================================

Stars of a cluster move together, stars of the field do not. Their motions across the sky are
measured with errors that are small for bright stars and large for faint ones, and that a catalog
states beside each value. In this example motions and errors are drawn, so that the truth is known;
a mixture is fitted to what would be seen without errors.
"""

import matplotlib.pyplot as plt
import numpy as np

from fastgmm import GaussianMixture

rng = np.random.default_rng(0)
n_stars = 6000
is_member = rng.random(n_stars) < 0.3
cluster = rng.multivariate_normal([-1.5, 1.0], [[0.05, 0.02], [0.02, 0.04]], n_stars)
field = rng.multivariate_normal([0.5, -0.5], [[4.0, -1.6], [-1.6, 2.0]], n_stars)
true = np.where(is_member[:, None], cluster, field)
magnitude = rng.uniform(12.0, 20.0, n_stars)
std_errors = 0.03 + 1.2 * 10 ** (0.25 * (magnitude - 20.0))
std_errors = std_errors[:, None] * rng.uniform(0.8, 1.25, size=(n_stars, 2))
X = true + std_errors * rng.normal(size=(n_stars, 2))

# %%
# Fitted to the measured motions, a mixture describes motions and errors together. With
# ``error_covariance``, which holds the squares of the standard errors, it describes the motions.

settings = {"n_components": 2, "tol": 1e-6, "max_iter": 2000, "random_state": 0}
plain = GaussianMixture(**settings).fit(X)
mixture = GaussianMixture(**settings).fit(X, error_covariance=std_errors**2)


def narrow(fitted):
    """Return the number of the component of the cluster."""
    return int(np.linalg.det(fitted.covariances_).argmin())


for name, fitted in (("ignoring errors", plain), ("with errors", mixture)):
    k = narrow(fitted)
    spread = np.sqrt(np.diag(fitted.covariances_[k]))
    print(f"{name}: {fitted.weights_[k]:.0%} members, spread {spread[0]:.2f} and {spread[1]:.2f}")
print(f"truth: {is_member.mean():.0%} members, spread {np.sqrt(0.05):.2f} and {np.sqrt(0.04):.2f}")

# %%
# ``denoise`` returns the expected true motions. Measured motions of faint stars are drawn to where
# such motions are likely, those of bright stars stay where they are.

means, _ = mixture.denoise(X, std_errors**2)
limits = {"xlim": (-6.5, 7.0), "ylim": (-5.5, 5.0)}
panels = (("Measured", X), ("Denoised", means), ("Truth", true))
figure, axes = plt.subplots(
    1, 3, figsize=(11.0, 3.9), layout="constrained", sharex=True, sharey=True
)
for plane, (title, rows) in zip(axes, panels, strict=True):
    drawn = plane.scatter(*rows.T, s=3, c=magnitude, cmap="viridis_r", alpha=0.5, linewidth=0)
    plane.set(title=title, xlabel="Motion in right ascension (mas/yr)", **limits)
axes[0].set_ylabel("Motion in declination (mas/yr)")
figure.colorbar(drawn, ax=axes, label="Magnitude")

# %%
# Ellipses of two standard deviations. The components of the mixture that takes errors into account
# agree with the truth.

angles = np.linspace(0.0, 2.0 * np.pi, 200)
circle = 2.0 * np.column_stack([np.cos(angles), np.sin(angles)])
truth = [(each.mean(axis=0), np.cov(each.T)) for each in (true[is_member], true[~is_member])]
figure, plane = plt.subplots(figsize=(6.4, 4.8), layout="constrained")
plane.scatter(*X.T, s=2, color="lightgray")
for label, color, style, components in (
    ("truth", "black", "-", truth),
    ("ignoring errors", "tab:red", "--", list(zip(plain.means_, plain.covariances_, strict=True))),
    ("with errors", "tab:blue", "--", list(zip(mixture.means_, mixture.covariances_, strict=True))),
):
    for number, (mean, covariance) in enumerate(components):
        outline = mean + circle @ np.linalg.cholesky(covariance).T
        plane.plot(*outline.T, color=color, linestyle=style, label=label if number == 0 else None)
plane.set(
    xlabel="Motion in right ascension (mas/yr)",
    ylabel="Motion in declination (mas/yr)",
    title="Components found",
    **limits,
)
plane.legend(frameon=False)

# %%
# Who belongs to the cluster: errors say how much a motion tells.

y = is_member.astype(int)
for name, chosen in (
    ("ignoring errors", plain.predict(X) == narrow(plain)),
    ("with errors", mixture.predict(X, std_errors**2) == narrow(mixture)),
):
    print(f"{name}: {np.mean(chosen == y):.1%} of the stars are assigned correctly")

plt.show()
