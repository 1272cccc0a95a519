"""Colors of an image in the spaces in which distances are those that the eye perceives.

Levels of red, green and blue are those of sRGB (IEC 61966-2-1), from 0 to 1. CIE 1976 L*a*b* and
L*u*v* (CIE 15:2018, sections 8.2.1 and 8.2.2) are taken against the white of sRGB, D65, so that
gray has a* = b* = u* = v* = 0. A single level stands for gray, whose only coordinate is L*.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

ColorSpace = Literal["rgb", "lab", "luv"]

COLOR_SPACES: tuple[ColorSpace, ...] = get_args(ColorSpace)

LARGEST = {"rgb": 1.0, "lab": 100.0, "luv": 100.0}
"""White's first coordinate in each space."""

Colors = npt.NDArray[np.floating[Any]]

_PRIMARIES = np.array([[0.64, 0.33], [0.30, 0.60], [0.15, 0.06]])
_WHITE = np.array([0.3127, 0.3290])
"""Chromaticities x and y of sRGB's primaries and of its white."""

_KNEE = 6.0 / 29.0
"""The cube root of the luminance below which lightness is linear in it, in both spaces."""


def _tristimulus(chromaticities: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return X, Y and Z at Y = 1."""
    x, y = chromaticities[..., 0], chromaticities[..., 1]
    return np.stack([x / y, np.ones_like(x), (1.0 - x - y) / y], axis=-1)


# The primaries are as bright as it takes for all of them together to be white.
_WHITE_XYZ = _tristimulus(_WHITE)
_TO_XYZ = _tristimulus(_PRIMARIES).T
_TO_XYZ = _TO_XYZ * np.linalg.solve(_TO_XYZ, _WHITE_XYZ)
_WEIGHTS_UV = np.array([1.0, 15.0, 3.0])
_WHITE_UV = np.array([4.0, 9.0]) * _WHITE_XYZ[:2] / (_WHITE_XYZ @ _WEIGHTS_UV)


def decoded(levels: Colors, space: ColorSpace) -> Colors:
    """Return what the coordinates of a space are functions of: linear light, but for "rgb"."""
    if space == "rgb":
        return levels
    dark = levels / 12.92
    return np.where(levels <= 0.04045, dark, ((levels + 0.055) / 1.055) ** 2.4)


def coordinates(decoded_levels: Colors, space: ColorSpace) -> Colors:
    """Return coordinates of colors in a space."""
    if space == "rgb":
        return decoded_levels
    dtype = decoded_levels.dtype
    if decoded_levels.shape[1] == 1:
        return _lightness(_compressed(decoded_levels))
    if space == "lab":
        f = _compressed(decoded_levels @ (_TO_XYZ / _WHITE_XYZ[:, None]).T.astype(dtype))
        lab = np.empty_like(f)
        lab[:, 0] = _lightness(f[:, 1])
        lab[:, 1] = 500.0 * (f[:, 0] - f[:, 1])
        lab[:, 2] = 200.0 * (f[:, 1] - f[:, 2])
        return lab
    xyz = decoded_levels @ _TO_XYZ.T.astype(dtype)
    lightness = _lightness(_compressed(xyz[:, 1]))
    total = xyz @ _WEIGHTS_UV.astype(dtype)
    total[total == 0.0] = 1.0  # black has no hue: it gets 0 because its lightness is 0
    luv = np.empty_like(xyz)
    luv[:, 0] = lightness
    luv[:, 1] = 13.0 * lightness * (4.0 * xyz[:, 0] / total - dtype.type(_WHITE_UV[0]))
    luv[:, 2] = 13.0 * lightness * (9.0 * xyz[:, 1] / total - dtype.type(_WHITE_UV[1]))
    return luv


def levels_of(colors: Colors, space: ColorSpace) -> Colors:
    """Return the levels of sRGB that coordinates stand for."""
    if space == "rgb":
        return np.clip(colors, 0.0, 1.0)
    f = (colors[:, :1] + 16.0) / 116.0
    if colors.shape[1] == 1:
        linear = _expanded(f)
    elif space == "lab":
        f = f + colors * np.array([0.0, 1.0 / 500.0, -1.0 / 200.0])
        # What a* and b* add belongs to X and Z: f holds Y, X and Z in this order.
        linear = (_expanded(f[:, [1, 0, 2]]) * _WHITE_XYZ) @ np.linalg.inv(_TO_XYZ).T
    else:
        y = np.maximum(_expanded(f[:, 0]), 0.0)
        # Black has any hue; and one that is far out of what can be seen would have no v'.
        scale = 13.0 * np.maximum(colors[:, 0], 1e-6)
        u = colors[:, 1] / scale + _WHITE_UV[0]
        v = np.maximum(colors[:, 2] / scale + _WHITE_UV[1], 1e-3)
        xyz = np.stack([2.25 * y * u / v, y, y * (12.0 - 3.0 * u - 20.0 * v) / (4.0 * v)], axis=1)
        linear = xyz @ np.linalg.inv(_TO_XYZ).T
    linear = np.clip(linear, 0.0, 1.0)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1.0 / 2.4) - 0.055)


def _compressed(ratios: Colors) -> Colors:
    """Return f(t) of CIE 15:2018, eqs. 8.6 to 8.11: the cube root, and linear near 0."""
    linear = ratios / (3.0 * _KNEE**2) + 4.0 / 29.0
    return np.where(ratios > _KNEE**3, np.cbrt(ratios), linear)


def _expanded(f: Colors) -> Colors:
    """Return t for f(t)."""
    return np.where(f > _KNEE, f**3, 3.0 * _KNEE**2 * (f - 4.0 / 29.0))


def _lightness(f: Colors) -> Colors:
    """Return L* for f(Y)."""
    return 116.0 * f - 16.0
