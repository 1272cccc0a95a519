"""Fisher vectors: the gradient of the log-likelihood of a set of rows, in a mixture's own metric.

The gradients follow from the sufficient statistics of the set alone, so that a Fisher vector costs
one pass (Perronnin, Sánchez and Mensink, 2010, "Improving the Fisher kernel for large-scale image
classification", ECCV; Sánchez, Perronnin, Mensink and Verbeek, 2013, "Image classification with the
Fisher vector: theory and practice", International Journal of Computer Vision 105, eqs. 16 to 18).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fastgmm.em.e_step.accumulator import RunningPass, gaussian_pass, statistics_of
from fastgmm.kernels import mixture_pass
from fastgmm.kernels.mixture_pass import PassParameters
from fastgmm.mixture.parameters import MixtureParameters
from fastgmm.mixture.statistics import FloatArray, SufficientStatistics


class FisherEncoder:
    """Fisher vectors under one mixture."""

    def __init__(self, parameters: MixtureParameters, n_jobs: int | None = None) -> None:
        self.parameters = parameters
        self._n_jobs = n_jobs
        self._packed: dict[np.dtype[Any], PassParameters] = {}

    def gradients(self, X: npt.NDArray[Any]) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return the gradients by weights, means and standard deviations, in the Fisher metric.

        The Fisher information is taken for diagonal, as in the papers: w_k for the logarithm of
        a weight, w_k / σ² for a mean, and 2 w_k / σ² for a standard deviation.
        """
        shape = self.parameters.means.shape
        if not len(X):
            return np.zeros(shape[0]), np.zeros(shape), np.zeros(shape)
        statistics = self._statistics(X)
        shares = statistics.counts / len(X)
        offsets = self.parameters.means - statistics.reference
        first = statistics.first - statistics.counts[:, None] * offsets
        second = statistics.second - (statistics.first + first) * offsets
        whiteners, weights = self.parameters.whiteners, self.parameters.weights
        roots = np.sqrt(np.where(weights > 0.0, weights, np.inf))
        scales = 1.0 / (len(X) * roots[:, None])
        by_mean = whiteners * first * scales
        by_deviation = (whiteners**2 * second - statistics.counts[:, None]) * scales
        return (shares - weights) / roots, by_mean, by_deviation / np.sqrt(2.0)

    def _statistics(self, X: npt.NDArray[Any]) -> SufficientStatistics:
        """Return the sufficient statistics of rows."""
        if X.dtype not in self._packed:
            self._packed[X.dtype] = gaussian_pass(X.dtype, self.parameters)
        packed = self._packed[X.dtype]
        running = RunningPass(
            packed, mixture_pass.MOMENTS, diagonal=True, n_rows=len(X), n_jobs=self._n_jobs
        )
        running.add(X, None)
        return statistics_of(running.sums(), packed, diagonal=True, weight=float(len(X)))


def improved(vector: FloatArray) -> FloatArray:
    """Return a Fisher vector with the signed root of each number, scaled to unit length."""
    rooted: FloatArray = np.sign(vector) * np.sqrt(np.abs(vector))
    length = np.linalg.norm(rooted)
    return rooted / length if length > 0.0 else rooted
