"""
Outlier detection
=================

The breast cancer data included in scikit-learn describe the cell nuclei in samples of 569 tumors,
benign or malignant, by 30 features each. Suppose that only benign tumors are well known: a mixture
is fitted to them, and tumors at which its density is low are classified as outliers. The threshold
is then chosen with a few labeled tumors.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split

from fastgmm import GaussianMixtureOutlierDetector
from fastgmm.plotting import OperatingPointDisplay

# %%
# The mixture is fitted to half of the benign tumors. The other tumors are split again: one part is
# used to choose the threshold, and the other is held out for testing.

data = load_breast_cancer()
is_malignant = data.target == 0
training, others = train_test_split(np.flatnonzero(~is_malignant), test_size=0.5, random_state=0)
others = np.concatenate([others, np.flatnonzero(is_malignant)])
labeled, unseen = train_test_split(
    others, test_size=0.5, random_state=0, stratify=is_malignant[others]
)
X = data.data / data.data[training].std(axis=0)
print(f"{len(training)} benign tumors for training, {len(labeled)} others to choose the threshold")

# %%
# Without any labels, the threshold is the level below which the mixture has a twentieth of its own
# probability; or, with ``contamination=0.05``, it is given by a proportion of the training rows.

detector = GaussianMixtureOutlierDetector(3, covariance_type="diag", n_init=10, random_state=0)
detector.fit(X[training])
for name, rows in (("benign", training), ("other", unseen)):
    print(f"{np.mean(detector.predict(X[rows]) == -1):.0%} of the {name} tumors are outliers")

# %%
# Twice as many benign tumors are below this level as samples from the mixture: the data have
# heavier tails than a few normal distributions. With labels, the threshold is chosen by its
# performance: here the highest recall of malignant tumors with a false positive rate of at most one
# in ten benign tumors.

point = detector.choose_threshold(
    X[labeled], is_malignant[labeled], target="false_positive_rate", value=0.1
)
print(f"chosen: recall {point.recall:.2f}, false positive rate {point.false_positive_rate:.2f}")

# %%
# The performance of this threshold on the test data. The curves show the performance of all other
# thresholds, and the areas under them how well the scores separate the two classes.

found = detector.operating_point(X[unseen], is_malignant[unseen])
print(f"unseen: recall {found.recall:.2f}, false positive rate {found.false_positive_rate:.2f}")
assert found.recall > 0.75
assert found.roc_auc > 0.93
display = OperatingPointDisplay.from_estimator(
    detector, X[unseen], is_malignant[unseen], name="density of benign tumors"
)

# %%
# With two of the features, the threshold can be shown in a plane: it is a contour of equal density.

features = [list(data.feature_names).index(name) for name in ("mean texture", "worst area")]
pairs = np.log(data.data[:, features])
pair_detector = GaussianMixtureOutlierDetector(2, contamination=0.05, random_state=0)
pair_detector.fit(pairs[training])

figure, ax = plt.subplots(figsize=(6.8, 5.2), layout="constrained")
(left, bottom), (right, top) = pairs.min(axis=0) - 0.15, pairs.max(axis=0) + 0.15
x, y = np.meshgrid(np.linspace(left, right, 300), np.linspace(bottom, top, 300))
decisions = pair_detector.decision_function(np.column_stack([x.ravel(), y.ravel()]))
ax.contour(np.exp(x), np.exp(y), decisions.reshape(x.shape), levels=[0.0], colors="gray")
for kind, color, label in ((False, "C0", "benign, unseen"), (True, "C1", "malignant, unseen")):
    rows = unseen[is_malignant[unseen] == kind]
    ax.plot(*np.exp(pairs[rows]).T, ".", color=color, label=label, alpha=0.8)
ax.plot([], [], color="gray", label="threshold: 5% of benign tumors")
ax.set(xscale="log", yscale="log", xlabel="Mean texture", ylabel="Worst area")
ax.set_title("Tumors outside the contour are outliers")
ax.legend()
plt.show()
