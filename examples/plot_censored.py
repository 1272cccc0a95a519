"""
Cells that saturate a detector
==============================

A flow cytometer measures the light that each cell scatters and emits. Where it is set too
sensitive, bright cells are reported at the end of the detector's range: what is known of them is
that they are brighter. In this example the range of measured cells is shortened afterwards, so
that the truth is known, and a mixture is fitted to what remains.
"""

from importlib.util import find_spec
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from fastgmm import GaussianMixture

# %%
# The cells are from the package FlowCytometryTools (Yurtsev and Friedman, MIT license), whose
# file is read without importing the package: a header says where the text and the values are, and
# the text what they are called. Those that express the yellow fluorescent protein are far apart
# from the rest.

package = find_spec("FlowCytometryTools").submodule_search_locations[0]
raw = Path(package, "tests", "data", "Plate01", "YFP_Well_C7.fcs").read_bytes()
text_start, text_end, data_start, data_end = (int(raw[i : i + 8]) for i in (10, 18, 26, 34))
words = raw[text_start + 1 : text_end].decode("latin-1").split(chr(raw[text_start]))
text = dict(zip(words[::2], words[1::2], strict=False))
names = [text[f"$P{i + 1}N"] for i in range(int(text["$PAR"]))]
order = "<" if text["$BYTEORD"].startswith("1") else ">"
values = np.frombuffer(raw[data_start : data_end + 1], order + "f4").reshape(-1, len(names))
scatter, yellow = (values[:, names.index(name)].astype(float) for name in ("SSC-A", "B1-A"))
true = np.log10(np.column_stack([scatter, yellow])[(yellow > 1e3) & (scatter > 0.0)])
true = true[(true < np.log10(float(text["$P1R"]))).all(axis=1)]  # not saturated as it is

# %%
# The shortened range: three in ten cells are at its end in one of the two channels.

ends = np.quantile(true, 0.8, axis=0)
X = np.minimum(true, ends)
censored = (true > ends).astype(int)  # 1: at least that
saturated = censored.any(axis=1)
print(f"{len(X):,} cells, {saturated.mean():.0%} of them saturated")

# %%
# ``censored`` takes the ends of the range as limits. Without it, a fit takes them for values; and
# a fit without the saturated cells misses the brightest.

settings = {"n_components": 1, "random_state": 0}
fits = {
    "all of the range": GaussianMixture(**settings).fit(true),
    "limits as values": GaussianMixture(**settings).fit(X),
    "saturated left out": GaussianMixture(**settings).fit(X[~saturated]),
    "censored": GaussianMixture(**settings, tol=1e-6).fit(X, censored=censored),
}
for name, mixture in fits.items():
    spread = np.sqrt(np.diag(mixture.covariances_[0]))
    correlation = mixture.covariances_[0, 0, 1] / spread.prod()
    mean = mixture.means_[0]
    print(
        f"{name:20s} mean {mean[0]:.2f}, {mean[1]:.2f}  "
        f"spread {spread[0]:.2f}, {spread[1]:.2f}  correlation {correlation:.2f}"
    )

# %%
# Ellipses of two standard deviations, over what the detector reports and over what it did not.

angles = np.linspace(0.0, 2.0 * np.pi, 200)
circle = 2.0 * np.column_stack([np.cos(angles), np.sin(angles)])
colors = ("black", "tab:red", "tab:orange", "tab:blue")
figure, planes = plt.subplots(
    1, 2, figsize=(10.0, 4.4), layout="constrained", sharex=True, sharey=True
)
for plane, title, rows in zip(planes, ("Reported", "Truth"), (X, true), strict=True):
    plane.scatter(*rows.T, s=2, color="lightgray")
    plane.axvline(ends[0], color="gray", linewidth=0.8, linestyle=":")
    plane.axhline(ends[1], color="gray", linewidth=0.8, linestyle=":")
    for color, (name, mixture) in zip(colors, fits.items(), strict=True):
        outline = mixture.means_[0] + circle @ np.linalg.cholesky(mixture.covariances_[0]).T
        plane.plot(*outline.T, color=color, linestyle="-" if color == "black" else "--", label=name)
    plane.set(title=title, xlabel="Scattered light, log10", xlim=(2.3, 4.6), ylim=(3.2, 5.3))
planes[0].set_ylabel("Yellow fluorescence, log10")
planes[1].legend(frameon=False, loc="lower right")

# %%
# ``impute`` returns what saturated values are expected to be, from the other channel.

filled = fits["censored"].impute(X, censored=censored)
here = censored == 1
for name, guess in (("the end of the range", X), ("imputed", filled)):
    error = np.sqrt(np.mean((guess - true)[here] ** 2))
    print(f"error of saturated values, {name}: {error:.2f}")

plt.show()
