"""Colors of the drawings, sRGB in [0, 1], and color ramps for values."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

HAND = np.array([0.90, 0.69, 0.54])
HEAD = np.array([0.70, 0.76, 0.84])
NEUTRAL = np.array([0.80, 0.80, 0.81])
PAPER = np.array([0.965, 0.965, 0.970])
INK = np.array([0.16, 0.17, 0.20])
FAINT_INK = np.array([0.45, 0.46, 0.50])

# Evenly spaced stops. Lightness decreases steadily, so that the ramps also read in gray.
CONTACT = np.array(
    [
        [1.0, 0.93, 0.62],
        [0.99, 0.72, 0.31],
        [0.94, 0.40, 0.17],
        [0.78, 0.10, 0.16],
        [0.45, 0.0, 0.16],
    ]
)
DEFORMATION = np.array(
    [
        [0.78, 0.91, 0.80],
        [0.44, 0.78, 0.74],
        [0.17, 0.56, 0.69],
        [0.18, 0.33, 0.60],
        [0.19, 0.10, 0.40],
    ]
)
_OPAQUE_FROM = 0.2  # value from which `heat` shows the ramp alone


def ramp(
    values: Float[np.ndarray, "*B"], stops: Float[np.ndarray, "K 3"]
) -> Float[np.ndarray, "*B 3"]:
    """Colors for values in [0, 1], interpolated linearly between evenly spaced stops.

    Values outside [0, 1] get the color of the nearest end.
    """
    knots = np.linspace(0.0, 1.0, len(stops))
    return np.stack([np.interp(values, knots, stops[:, channel]) for channel in range(3)], axis=-1)


def heat(
    values: Float[np.ndarray, "V"],
    base: Float[np.ndarray, "3"] | Float[np.ndarray, "V 3"],
    stops: Float[np.ndarray, "K 3"],
) -> Float[np.ndarray, "V 3"]:
    """Colors for values in [0, 1] over a base color: the base at 0, the ramp alone from 0.2.

    Args:
        values: NaN counts as 0.
        base: sRGB, one color or one for each value.
        stops: of the ramp.
    """
    values = np.nan_to_num(np.asarray(values, np.float64))
    opacity = np.clip(values / _OPAQUE_FROM, 0.0, 1.0)[..., None]
    return (1.0 - opacity) * base + opacity * ramp(values, stops)
