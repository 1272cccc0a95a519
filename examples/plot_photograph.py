"""
Segmenting a photograph
=======================

The 273,280 pixels of a photograph included in scikit-learn are points in a color space. A mixture
of eight Gaussians with full covariances finds the main colors of the photograph; the color of each
pixel is then replaced by the mean color of its component.

It is compared with scikit-learn's mixture, from the same initialization and with the same
tolerance; here on every 16th pixel, because scikit-learn takes long on all. ``make demo`` compares
on all, and writes the images and the model to ``demo_output``.
"""

import argparse
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import sklearn.mixture
from sklearn.datasets import load_sample_image

import fastgmm
from fastgmm.plotting import ConvergenceDisplay

parser = argparse.ArgumentParser(description="Segment a photograph with a Gaussian mixture.")
parser.add_argument("--output", type=Path, help="folder for the images and the model")
parser.add_argument("--thin", type=int, default=16, help="compare on one pixel of so many")
parser.add_argument("--step", type=int, default=1, help="subsampling step of rows and columns")
arguments = parser.parse_args()

# %%
# The data have one row per pixel, and one column each for red, green and blue.

photograph = load_sample_image("china.jpg")[:: arguments.step, :: arguments.step]
pixels = photograph.reshape(-1, 3) / 255.0
print(f"{len(pixels)} pixels, {pixels.shape[1]} channels")

# %%
# The initialization for both libraries: with ``max_iter=0`` a fit returns its initialization. This
# first fit also compiles the passes, unless they are already in numba's cache.

n_components = 8
began = time.perf_counter()
start = fastgmm.GaussianMixture(
    n_components, max_iter=0, init_params="k-means++", random_state=10
).fit(pixels)
print(f"initialization: {time.perf_counter() - began:.2f} s, including compilation if needed")

# %%
# The fits that are compared, with their times and log-likelihoods.

options = {
    "n_components": n_components,
    "tol": 1e-4,
    "max_iter": 500,
    "weights_init": start.weights_,
    "means_init": start.means_,
    "precisions_init": start.precisions_,
}
compared, rows = pixels[:: arguments.thin], []
for name, estimator in {
    "fastgmm": fastgmm.GaussianMixture(**options),
    "scikit-learn": sklearn.mixture.GaussianMixture(**options),
}.items():
    began = time.perf_counter()
    estimator.fit(compared)
    seconds = time.perf_counter() - began
    rows.append((name, seconds, estimator.n_iter_, estimator.score(compared)))

print(f"{'':14}{'time':>10}{'passes':>8}{'time a pass':>14}{'log-likelihood':>17}")
for name, seconds, n_passes, log_likelihood in rows:
    per_pass = f"{1000 * seconds / n_passes:.2f} ms"
    print(f"{name:14}{seconds:8.3f} s{n_passes:8}{per_pass:>14}{log_likelihood:17.6f}")
print(f"ratio of the times: {rows[1][1] / rows[0][1]:.0f}")

# %%
# The photograph, and each pixel in the mean color of its component in the mixture of all pixels.

mixture = fastgmm.GaussianMixture(**options).fit(pixels)
colors = np.rint(255 * mixture.means_.clip(0, 1)).astype(np.uint8)
segmented = colors[mixture.predict(pixels)].reshape(photograph.shape)

figure, axes = plt.subplots(1, 2, figsize=(10, 3.7), layout="constrained")
for ax, image, title in zip(
    axes, (photograph, segmented), ("Photograph", f"{n_components} components"), strict=True
):
    ax.imshow(image)
    ax.set_title(title)
    ax.axis("off")

# %%
# The log-likelihood never decreases from one iteration to the next.

display = ConvergenceDisplay.from_estimator(mixture)

# %%
# All results are written to the output folder, if one is given.

if arguments.output is not None:
    arguments.output.mkdir(parents=True, exist_ok=True)
    plt.imsave(arguments.output / "segmented.png", segmented)
    figure.savefig(arguments.output / "side_by_side.jpg", dpi=100)
    display.figure_.savefig(arguments.output / "convergence.png", dpi=120)
    mixture.save(arguments.output / "model.fgm")
    for path in sorted(arguments.output.iterdir()):
        print(f"wrote {path}")
