"""Step two of a pass: every component's log-weight plus log-density over a tile, and the largest.

Symbols and layout are those of ``mixture_pass``.
"""

from __future__ import annotations

from fastgmm.kernels.compilation import inner_kernel
from fastgmm.kernels.microkernels.densities import joint_log_density, joint_log_density_diagonal
from fastgmm.kernels.microkernels.tiles import subtract_reference
from fastgmm.kernels.tiles import greatest


@inner_kernel()
def reset_largest(largest, T):
    """Start the running maximum: finite, or lanes without any density would become NaN."""
    lowest = -greatest(largest)
    for lane in range(T):
        largest[lane] = lowest


@inner_kernel()
def full_densities(
    tile, T, D, K, shared, whiteners, shifts, constants, references, references_low, about_mean,
    joint, largest, margin, leading, spans,
):  # fmt: skip
    """Write every component's log-weight plus log-density and the largest of them.

    The leading component comes first, then those that follow it: the sooner the largest is found,
    the sooner others are seen to be below it by more than the margin.
    """
    packed = whiteners.shape[0] // K
    reset_largest(largest, T)
    points = tile if shared else about_mean
    for i in range(K):
        k = (leading + i) % K
        if not shared:
            subtract_reference(tile, T, D, references, references_low, k * D, about_mean)
        joint_log_density(
            points, T, whiteners, k * packed, shifts, k * D, D, constants[k], joint, k * T,
            largest, margin, spans, k,
        )  # fmt: skip


@inner_kernel()
def diagonal_densities(
    tile, T, D, K, shared, scales, shifts, constants, references, references_low, about_mean,
    joint, largest,
):  # fmt: skip
    """Write every component's log-weight plus log-density and the largest of them."""
    reset_largest(largest, T)
    points = tile if shared else about_mean
    for k in range(K):
        if not shared:
            subtract_reference(tile, T, D, references, references_low, k * D, about_mean)
        joint_log_density_diagonal(
            points, T, scales, k * D, shifts, k * D, D, constants[k], joint, k * T, largest
        )
