"""Vertex colors of the open models: linear RGB albedo of skin, brows, lips, irises and nails.

The skin has a medium tone. Scenes multiply it by a skin tone of their own, so only its variation
over the surface matters here.
"""

from __future__ import annotations

import numpy as np

SKIN = np.array([0.80, 0.62, 0.53])
_LIPS = np.array([0.68, 0.38, 0.37])
_MOUTH = np.array([0.42, 0.14, 0.14])
_BROWS = np.array([0.22, 0.15, 0.11])
_NAILS = np.array([0.90, 0.70, 0.64])
_PALM = np.array([0.88, 0.67, 0.58])
_PUPIL = np.array([0.02, 0.02, 0.02])
_IRIS_INNER = np.array([0.36, 0.24, 0.13])
_IRIS = np.array([0.26, 0.17, 0.10])
_LIMBUS = np.array([0.12, 0.08, 0.06])
_WHITE = np.array([0.88, 0.86, 0.85])
_FLUSH = np.array([1.05, 0.90, 0.90])  # cheeks, nose tip and ears are redder
_SHADE = np.array([0.86, 0.80, 0.80])  # skin around the eyes is darker
_BROW_HALF_WIDTH = 4.5  # millimeters


def hand_colors(template: np.ndarray, faces: np.ndarray, nails: np.ndarray) -> np.ndarray:
    """Colors (778, 3) of the hand: the palm is paler, the nails are pink.

    Args:
        template: (778, 3); the palm faces -y.
        faces: (F, 3).
        nails: (778,) painted mask in [0, 1].
    """
    normals = np.zeros_like(template)
    a, b, c = template[faces].transpose(1, 0, 2)
    np.add.at(normals, faces, np.cross(b - a, c - a)[:, None])
    downwards = -normals[:, 1] / np.linalg.norm(normals, axis=1)
    colors = _blend(np.tile(SKIN, (len(template), 1)), _PALM, _ramp(downwards, 0.0, 0.6))
    return _blend(colors, _NAILS, _ramp(nails, 0.2, 0.6) * (downwards < 0.2))


def head_colors(
    points: np.ndarray,
    masks: dict[str, np.ndarray],
    lips: np.ndarray,
    mouth: np.ndarray,
    brows: np.ndarray,
    eye_angles: np.ndarray,
) -> np.ndarray:
    """Colors (V, 3) of the head.

    Args:
        points: (V, 3) millimeters, origin between the eyes; the eyeballs come last.
        masks: `regions.head_regions` of the points.
        lips, mouth: (V,) painted masks in [0, 1]; `mouth` is the inner mouth.
        brows: (2, N, 3) curves along the middle of the brows, same frame as `points`.
        eye_angles: (E,) angle of the eyeballs' vertices from the visual axis, degrees.
    """
    x, y, z = np.abs(points[:, 0]), points[:, 1], points[:, 2]
    cheeks = 0.9 * np.exp(-(((x - 42) / 16) ** 2) - ((y + 35) / 15) ** 2)
    nose_tip = np.exp(-((x / 12) ** 2) - ((y + 38) / 9) ** 2)
    flush = cheeks + nose_tip
    ears = 0.6 * (masks["ear_left"] | masks["ear_right"])
    shade = np.exp(-(((x - 29) / 17) ** 2) - ((y + 1) / 9) ** 2) * (z > -20)
    colors = np.tile(SKIN, (len(points), 1))
    colors = _blend(colors, colors * _FLUSH, np.clip(flush * (z > -20) + ears, 0, 1))
    colors = _blend(colors, colors * _SHADE, shade)
    colors = _blend(colors, _LIPS, _ramp(lips, 0.1, 0.9))
    colors = _blend(colors, _MOUTH, _ramp(mouth, 0.1, 0.9))
    colors = _blend(colors, _BROWS, 0.85 * brow_weights(points, brows))
    eyes = slice(len(points) - len(eye_angles), None)
    stops = [0, 8, 11.5, 14, 20, 25, 29, 45]
    palette = np.stack([_PUPIL, _PUPIL, _IRIS_INNER, _IRIS_INNER, _IRIS, _LIMBUS, _WHITE, _WHITE])
    colors[eyes] = np.stack([np.interp(eye_angles, stops, channel) for channel in palette.T], 1)
    return np.clip(colors, 0, 1)


def brow_weights(points: np.ndarray, brows: np.ndarray) -> np.ndarray:
    """Weight (V,) of the brow color in [0, 1]; brows become thinner towards the temples."""
    weights = np.zeros(len(points))
    for curve in brows:
        fine = np.linspace(0, len(curve) - 1, 60)
        dense = np.stack(
            [np.interp(fine, np.arange(len(curve)), channel) for channel in curve.T], 1
        )
        thinning = np.interp(np.abs(dense[:, 0]), [15, 40, 55], [1.0, 0.85, 0.35])
        half_width = _BROW_HALF_WIDTH * thinning
        reach = np.linalg.norm(points[:, None] - dense[None], axis=-1) - half_width
        weights = np.maximum(weights, _ramp(-reach.min(1), -2.0, 1.5))
    return weights


def _ramp(values: np.ndarray, low: float, high: float) -> np.ndarray:
    return np.clip((values - low) / (high - low), 0, 1)


def _blend(colors: np.ndarray, other: np.ndarray, weight: np.ndarray) -> np.ndarray:
    return colors + weight[:, None] * (other - colors)
