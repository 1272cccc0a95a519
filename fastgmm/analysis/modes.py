"""Modes of a mixture: the maxima of its density, and where the ascent from a point ends.

Ascent is by the fixed-point iteration of Carreira-Perpiñán (2000), "Mode-finding for mixtures of
Gaussian distributions", IEEE PAMI 22: x moves to the mean of the components' means, each with its
responsibility times its precision as the weight (section 3). That is EM: the density never falls.
It needs no step size, but slows down where the top is flat. Newton's steps take over once the
quadratic model of the log-density is concave and close to its top, where they double the digits.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fastgmm.data.sources.array import ArraySource
from fastgmm.em.e_step.passes import log_density, responsibilities
from fastgmm.mixture.parameters import MixtureParameters
from fastgmm.mixture.statistics import FloatArray

_MOST_STEPS = 5000
_NEAR = 0.5
"""Length of a step, in standard deviations, from which on the quadratic model is looked at."""
_CLOSE = 0.1
"""Standard deviations from the top of the quadratic model at which Newton's steps begin."""
_ARRIVED = 1e-9
"""Standard deviations from the top at which an ascent ends."""
_SAME = 1e-4
"""Standard deviations within which two ends are the same mode."""
_NUDGE = 1e-2
"""Standard deviations by which an ascent leaves a saddle point."""
_FLAT = 1e-10
"""Curvature, as a share of that of the components, below which the log-density is not concave."""
_FALL = 1e-12
"""Rounding of a log-density, relative to its size."""
_BYTES = 2**26


class Modes(NamedTuple):
    """The modes of a mixture, from the highest to the lowest."""

    locations: FloatArray  # (n_modes, n_features)
    log_densities: FloatArray  # (n_modes,): in nats
    covariances: FloatArray
    """(n_modes, n_features, n_features): minus the inverse of the Hessian of the log-density."""
    components: npt.NDArray[np.int64]  # (n_components,): the mode that each mean ascends to


class Ends(NamedTuple):
    """Where ascents ended."""

    points: FloatArray  # (n_points, n_features)
    log_densities: FloatArray  # (n_points,)
    hessians: FloatArray  # (n_points, n_features, n_features): of minus the log-density
    arrived: npt.NDArray[np.bool_]  # (n_points,): whether the end is a maximum


def find_modes(parameters: MixtureParameters, *, n_jobs: int | None = None) -> tuple[Modes, bool]:
    """Return the modes that the ascents from the components' means lead to, and whether all ended.

    A component without weight takes no part in the density, and gets the mode that its mean would
    ascend to.
    """
    ends = ascend(parameters.means, parameters, n_jobs=n_jobs)
    members = np.full(len(ends.points), -1, dtype=np.int64)
    chosen: list[int] = []
    for i in np.argsort(-ends.log_densities, kind="stable"):
        place = nearest_mode(ends.points[i : i + 1], ends.points[chosen], ends.hessians[chosen])[0]
        if place < 0:
            place = len(chosen)
            chosen.append(int(i))
        members[i] = place
    found = Modes(
        ends.points[chosen],
        ends.log_densities[chosen],
        np.asarray(np.linalg.inv(ends.hessians[chosen]), dtype=np.float64),
        members,
    )
    return found, bool(ends.arrived.all())


def ascend(X: FloatArray, parameters: MixtureParameters, *, n_jobs: int | None = None) -> Ends:
    """Return where the ascents from some points end, shape (n_points, n_features)."""
    precisions = precision_matrices(parameters)
    D = parameters.n_features
    points = np.array(X, dtype=np.float64)
    log_densities = np.empty(len(points))
    hessians = np.empty((len(points), D, D))
    arrived = np.zeros(len(points), dtype=bool)
    step = max(1, _BYTES // (8 * D * (D + parameters.n_components)))
    for first in range(0, len(points), step):
        part = slice(first, first + step)
        points[part], log_densities[part], hessians[part], arrived[part] = _ascend_together(
            points[part], parameters, precisions, n_jobs
        )
    return Ends(points, log_densities, hessians, arrived)


def nearest_mode(
    points: FloatArray, locations: FloatArray, hessians: FloatArray
) -> npt.NDArray[np.int64]:
    """Return the mode that each end of an ascent is, -1 where it is none of them."""
    labels = np.full(len(points), -1, dtype=np.int64)
    least = np.full(len(points), _SAME**2)
    for m, (location, hessian) in enumerate(zip(locations, hessians, strict=True)):
        offsets = points - location
        squares = ((offsets @ hessian) * offsets).sum(axis=1)
        nearer = squares < least
        labels[nearer], least[nearer] = m, squares[nearer]
    return labels


def _ascend_together(
    points: FloatArray,
    parameters: MixtureParameters,
    precisions: FloatArray,
    n_jobs: int | None,
) -> tuple[FloatArray, FloatArray, FloatArray, npt.NDArray[np.bool_]]:
    """Ascend from so many points at once as fit in memory."""
    n_points, D = points.shape
    points = points.copy()
    log_densities = np.full(n_points, -np.inf)
    hessians = np.zeros((n_points, D, D))
    arrived = np.zeros(n_points, dtype=bool)
    plain = np.zeros(n_points, dtype=bool)  # a step of Newton's has led downward before
    before = points.copy()
    on_way = np.arange(n_points)
    for _ in range(_MOST_STEPS):
        heights = log_density(ArraySource(points[on_way]), parameters, n_jobs=n_jobs)
        fell = heights < log_densities[on_way] - _FALL * (1.0 + np.abs(heights))
        fell &= ~plain[on_way]  # or only by rounding
        if fell.any():  # back to where it was, from where the fixed point rises for certain
            points[on_way[fell]] = before[on_way[fell]]
            plain[on_way[fell]] = True
            heights = log_density(ArraySource(points[on_way]), parameters, n_jobs=n_jobs)
        log_densities[on_way] = heights
        model = Ascent.at(points[on_way], parameters, precisions, n_jobs)
        steps = np.linalg.solve(model.pulls, model.gradients[:, :, None])[:, :, 0]
        near = np.flatnonzero((steps * model.gradients).sum(axis=1) < _NEAR**2)
        top = _Top.of(model, near, points[on_way[near]])
        hessians[on_way[near]] = top.hessians
        ended = top.concave & (top.distances < np.maximum(_ARRIVED, top.rounding))
        arrived[on_way[near[ended]]] = True
        close = top.concave & (top.distances < _CLOSE) & ~plain[on_way[near]]
        steps[near[close]] = top.newton[close]
        stuck = ~top.concave & (top.distances < _ARRIVED)
        steps[near[stuck]] = top.downhill[stuck]
        going = ~arrived[on_way]
        on_way = on_way[going]
        if not len(on_way):
            break
        before[on_way] = points[on_way]
        points[on_way] += steps[going]
    return points, log_densities, hessians, arrived


def precision_matrices(parameters: MixtureParameters) -> FloatArray:
    """Return the precisions as matrices, shape (K, D, D)."""
    found = parameters.precisions()
    return found[:, :, None] * np.eye(parameters.n_features) if parameters.is_diagonal else found


class Ascent(NamedTuple):
    """The gradient Σ r_k P_k (μ_k - x) of the log-density at points, and the pull Σ r_k P_k.

    The fixed point is a step of the gradient divided by the pull.
    """

    gradients: FloatArray  # (M, D)
    pulls: FloatArray  # (M, D, D)
    shares: FloatArray  # (M, K)
    slopes: FloatArray  # (K, M, D): P_k (μ_k - x)

    @classmethod
    def at(
        cls,
        X: FloatArray,
        parameters: MixtureParameters,
        precisions: FloatArray,
        n_jobs: int | None,
    ) -> Ascent:
        """Return them at points."""
        shares = responsibilities(ArraySource(X), parameters, n_jobs=n_jobs)
        K, D = parameters.n_components, parameters.n_features
        slopes = (parameters.means[:, None, :] - X) @ precisions
        return cls(
            np.einsum("mk,kmd->md", shares, slopes),
            (shares @ precisions.reshape(K, -1)).reshape(-1, D, D),
            shares,
            slopes,
        )


class _Top(NamedTuple):
    """The quadratic model of minus the log-density around points."""

    hessians: FloatArray  # (M, D, D): the pull minus the spread of the slopes
    concave: npt.NDArray[np.bool_]  # (M,): whether the log-density is concave there
    distances: FloatArray  # (M,): how far away its top is, in standard deviations
    rounding: FloatArray  # (M,): the distance that rounding alone makes
    newton: FloatArray  # (M, D): the step to the top
    downhill: FloatArray  # (M, D): a short step away from a saddle point

    @classmethod
    def of(cls, model: Ascent, chosen: npt.NDArray[np.intp], X: FloatArray) -> _Top:
        """Return the quadratic models around some of the points, X."""
        gradients, pulls = model.gradients[chosen], model.pulls[chosen]
        roots = np.sqrt(model.shares[chosen].T)[:, :, None]
        spread = (roots * (model.slopes[:, chosen] - gradients)).transpose(1, 2, 0)
        hessians = pulls - spread @ spread.transpose(0, 2, 1)
        # In units in which the pull has a diagonal of 1, so that no feature's scale matters.
        scales = 1.0 / np.sqrt(np.einsum("mii->mi", pulls))
        values, vectors = np.linalg.eigh(hessians * scales[:, :, None] * scales[:, None, :])
        concave = values[:, 0] > _FLAT
        along = np.einsum("mij,mi->mj", vectors, gradients * scales)
        divisors = np.where(concave[:, None], values, 1.0)
        rounding = 64.0 * np.finfo(np.float64).eps * np.linalg.norm(X / scales, axis=1)
        return cls(
            hessians,
            concave,
            np.sqrt((along * along / divisors).sum(axis=1)),
            rounding,
            np.einsum("mij,mj->mi", vectors, along / divisors) * scales,
            _NUDGE * vectors[:, :, 0] * scales,
        )
