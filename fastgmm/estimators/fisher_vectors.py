"""Fisher vectors: one row of features for each set of rows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from fastgmm.analysis.fisher import FisherEncoder
from fastgmm.analysis.fisher import improved as improve
from fastgmm.data.sources.array_like import unmasked
from fastgmm.data.sources.batch import all_finite
from fastgmm.estimators.shared.attributes import gaussians_from_attributes
from fastgmm.estimators.shared.evaluation import MixtureEvaluation
from fastgmm.mixture.statistics import FloatArray


def fisher_vectors(
    mixture: MixtureEvaluation,
    descriptors: Iterable[Any],
    *,
    improved: bool = True,
    include_weights: bool = False,
) -> FloatArray:
    """Describe sets of rows by how they would change a mixture: their Fisher vectors.

    An image is a set of local descriptors, a recording one of frames: sets of different sizes,
    which a classifier cannot take. A mixture is fitted to the descriptors of many sets. A set then
    has the gradient of its mean log-likelihood for features, in the metric of the Fisher
    information (Perronnin, Sánchez and Mensink, 2010). Each takes one pass over the set.

    Parameters
    ----------
    mixture : GaussianMixture
        A fitted mixture with diagonal covariances, such as those of ``covariance_type="diag"``.
    descriptors : iterable of array-like of shape (n_rows, n_features)
        The sets. A set may be empty. Those of one array X with a column of set numbers in order
        are ``numpy.split(X, firsts)`` with the first rows of all sets but the first.
    improved : bool, default=True
        Whether vectors are normalized as the paper proposes: the signed root of each number, then
        all scaled to unit length. Then dot products of vectors are similarities of sets.
    include_weights : bool, default=False
        Whether the gradients by the weights are features, too. The paper leaves them out, as they
        add little.

    Returns
    -------
    ndarray of float64 of shape (n_sets, n_components * (2 * n_features [+ 1]))
        The vectors: if asked for, the gradients by the weights, then those by the means, component
        after component, then those by the standard deviations. A set without rows has zeros.

    Raises
    ------
    TypeError
        If `descriptors` is a single array of rows, or a set does not hold real numbers.
    ValueError
        If the mixture has noise or covariances that are not diagonal, or a set has another number
        of columns or values that are not finite.

    Examples
    --------
    >>> import numpy as np
    >>> from fastgmm import GaussianMixture, fisher_vectors
    >>> rng = np.random.default_rng(0)
    >>> images = [rng.normal(rng.choice([-1.0, 1.0]), 1.0, (100, 4)) for _ in range(30)]
    >>> mixture = GaussianMixture(3, covariance_type="diag", random_state=0)
    >>> mixture = mixture.fit(np.concatenate(images))
    >>> vectors = fisher_vectors(mixture, images)
    >>> vectors.shape
    (30, 24)
    >>> bool(np.allclose(np.linalg.norm(vectors, axis=1), 1.0))
    True
    """
    parameters = gaussians_from_attributes(mixture, "fisher_vectors")
    if not parameters.is_diagonal:
        raise ValueError(
            "fisher_vectors takes mixtures with diagonal covariances, and this one has "
            f"covariance_type={mixture.covariance_type!r}: fit one with covariance_type='diag'"
        )
    if not isinstance(descriptors, Iterable) or getattr(descriptors, "ndim", None) == 2:
        raise TypeError(
            "descriptors must be a list of arrays, one for each set; got a single one: put it in a "
            "list, or cut it up with numpy.split"
        )
    encoder = FisherEncoder(parameters, mixture.n_jobs)
    vectors = []
    for number, each in enumerate(descriptors):
        by_weight, *others = encoder.gradients(_checked(each, number, parameters.n_features))
        parts = [part.ravel() for part in others]
        vector = np.concatenate([by_weight, *parts] if include_weights else parts)
        vectors.append(improve(vector) if improved else vector)
    size = parameters.n_components * (2 * parameters.n_features + include_weights)
    return np.array(vectors).reshape(-1, size)


def _checked(rows: Any, number: int, n_features: int) -> npt.NDArray[Any]:
    """Return the rows of a set as floating-point numbers, after a look at them."""
    X = np.asarray(unmasked(rows))
    if X.dtype.kind not in "fiub":
        raise TypeError(f"descriptors[{number}] holds no real numbers, but {X.dtype}")
    if X.ndim != 2 or X.shape[1] != n_features:
        raise ValueError(
            f"descriptors[{number}] should have the shape of (n_rows, {n_features}), as the "
            f"mixture has {n_features} features, but got {X.shape}"
        )
    if not all_finite(X):
        row, column = np.argwhere(~np.isfinite(X))[0]
        raise ValueError(
            f"descriptors[{number}] has NaN or infinity in it, first in row {row}, column "
            f"{column}, counted from 0: leave such rows out of the set"
        )
    return X.astype(X.dtype if X.dtype in (np.float32, np.float64) else np.float64, copy=False)
