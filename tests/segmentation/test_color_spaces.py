"""Colors in the spaces of the CIE, against their definition and published values."""

import mpmath
import numpy as np
import pytest
from numpy.testing import assert_allclose

from fastgmm.segmentation.color_spaces import COLOR_SPACES, coordinates, decoded, levels_of

COLORS = np.array(
    [
        [1.0, 0.0, 0.0],
        [0.0, 1.0, 0.0],
        [0.0, 0.0, 1.0],
        [0.2, 0.4, 0.6],
        [0.9, 0.85, 0.8],
        [0.01, 0.02, 0.03],  # where both functions are linear
        [0.5, 0.5, 0.5],
        [1.0, 1.0, 1.0],
        [0.0, 0.0, 0.0],
    ]
)


def converted(colors, space, dtype=np.float64):
    return coordinates(decoded(np.asarray(colors, dtype), space), space)


def _linear(level):
    if level <= mpmath.mpf("0.04045"):
        return level / mpmath.mpf("12.92")
    return ((level + mpmath.mpf("0.055")) / mpmath.mpf("1.055")) ** mpmath.mpf("2.4")


def by_definition(color, space):
    """L*a*b* or L*u*v* of a color of sRGB, a number at a time, in thirty digits."""
    with mpmath.workdps(30):
        number = mpmath.mpf
        x, y = (number("0.64"), "0.30", "0.15"), (number("0.33"), "0.60", "0.06")
        primaries = mpmath.matrix(3, 3)
        for j in range(3):
            for i, value in enumerate(
                (number(x[j]), number(y[j]), 1 - number(x[j]) - number(y[j]))
            ):
                primaries[i, j] = value / number(y[j])
        xn, yn = number("0.3127"), number("0.3290")
        white = mpmath.matrix([xn / yn, 1, (1 - xn - yn) / yn])
        scales = mpmath.lu_solve(primaries, white)
        light = [_linear(number(level)) for level in color.tolist()]
        X, Y, Z = primaries * mpmath.matrix([light[j] * scales[j] for j in range(3)])

        def f(t):
            small = t <= (number(6) / 29) ** 3
            return t * (number(29) / 6) ** 2 / 3 + number(4) / 29 if small else mpmath.cbrt(t)

        lightness = 116 * f(Y) - 16
        if space == "lab":
            fx, fy, fz = f(X / white[0]), f(Y), f(Z / white[2])
            return [float(lightness), float(500 * (fx - fy)), float(200 * (fy - fz))]

        def hue(X, Y, Z):
            total = X + 15 * Y + 3 * Z
            return (4 * X / total, 9 * Y / total) if total else (0, 0)

        (u, v), (un, vn) = hue(X, Y, Z), hue(*white)
        return [
            float(lightness),
            float(13 * lightness * (u - un)),
            float(13 * lightness * (v - vn)),
        ]


@pytest.mark.parametrize("space", ["lab", "luv"])
def test_coordinates_are_those_of_the_definition(space):
    expected = [by_definition(color, space) for color in COLORS]
    assert_allclose(converted(COLORS, space), expected, atol=1e-11)
    assert_allclose(converted(COLORS, space, np.float32), expected, atol=2e-4)
    assert converted(COLORS, space, np.float32).dtype == np.float32


# Of B. Lindbloom's calculator and scikit-image 0.26, whose D65 is (0.95047, 1, 1.08883): it differs
# from the white of sRGB's chromaticities in the fourth digit.
@pytest.mark.parametrize(
    ("space", "expected"),
    [
        ("lab", [[53.24, 80.09, 67.20], [87.73, -86.18, 83.18], [32.30, 79.19, -107.86]]),
        ("luv", [[53.24, 175.01, 37.76], [87.73, -83.08, 107.40], [32.30, -9.40, -130.34]]),
    ],
)
def test_primaries_are_where_they_are_known_to_be(space, expected):
    assert_allclose(converted(COLORS[:3], space), expected, atol=0.025)


@pytest.mark.parametrize("space", ["lab", "luv"])
def test_gray_has_lightness_only(space):
    levels = np.linspace(0.0, 1.0, 11)[:, None]
    colors = converted(np.repeat(levels, 3, axis=1), space)
    assert_allclose(colors[:, 1:], 0.0, atol=1e-12)
    assert_allclose(colors[:, :1], converted(levels, space), atol=1e-12)
    assert_allclose(colors[[0, -1], 0], [0.0, 100.0], atol=1e-12)


@pytest.mark.parametrize("space", COLOR_SPACES)
def test_there_and_back(space):
    for levels in (
        COLORS,
        np.random.default_rng(0).random((500, 3)),
        np.linspace(0, 1, 50)[:, None],
    ):
        assert_allclose(levels_of(converted(levels, space), space), levels, atol=1e-13)


@pytest.mark.parametrize("space", COLOR_SPACES)
def test_colors_that_no_screen_shows_are_clipped(space):
    largest = 2.0 if space == "rgb" else 150.0
    beyond = [[largest, 0.0, 0.0], [-largest, 0.0, 0.0], [50.0, 500.0, -500.0], [0.0, 80.0, -300.0]]
    levels = levels_of(np.array(beyond), space)
    assert levels.min() >= 0.0
    assert levels.max() <= 1.0
    assert (levels[1] == 0.0).all()
