"""Light on surfaces: key, fill and rim light, sky and ground, shadows, ambient occlusion.

Shading takes (N, 3) arrays of the pixels that show a surface. Shadow and occlusion are smooth, so
they are images of a lower resolution.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int

from dice_jax.visualization import z_buffer
from dice_jax.visualization.z_buffer import Surface


def _vector(x: float, y: float, z: float) -> Float[np.ndarray, "3"]:
    return np.array([x, y, z], np.float32)


def _unit(vector: Float[np.ndarray, "3"]) -> Float[np.ndarray, "3"]:
    return (vector / np.linalg.norm(vector)).astype(np.float32)


# Directions towards the lights (camera axes: x right, y down, z away) and colors in linear RGB.
_KEY, _KEY_COLOR = _vector(-0.45, -0.60, -0.66), _vector(0.95, 0.91, 0.86)
_FILL, _FILL_COLOR = _vector(0.75, -0.10, -0.65), _vector(0.16, 0.18, 0.20)
_RIM, _RIM_COLOR = _vector(0.35, -0.60, 0.72), _vector(0.30, 0.31, 0.33)
_SKY, _GROUND = _vector(0.29, 0.31, 0.33), _vector(0.14, 0.12, 0.11)
_HALF = _unit(_unit(_KEY) + _vector(0.0, 0.0, -1.0))  # between the key light and the camera
_SHADOW_SIDE = 640  # pixels of the shadow map
_SHADOW_BIAS = 0.004  # meters
_OCCLUSION = ((0.006, 0.35), (0.02, 0.45))  # radius in meters, strength
_LEVELS = 4096  # of the table that turns linear light into sRGB


def shade(
    normals: Float[np.ndarray, "N 3"],
    albedo: Float[np.ndarray, "N 3"],
    lit: Float[np.ndarray, "N"],
    ambient: Float[np.ndarray, "N"],
) -> Float[np.ndarray, "N 3"]:
    """Linear radiance under key, fill and rim light, sky and ground.

    Args:
        normals: of any length.
        albedo: linear RGB.
        lit: fraction of the key light that is not in shadow.
        ambient: factor of ambient occlusion.
    """
    x, y, z = np.ascontiguousarray(normals.T)
    scale = 1.0 / np.sqrt(np.maximum(x * x + y * y + z * z, 1e-12))
    x, y, z = x * scale, y * scale, z * scale
    toward = lambda light: x * light[0] + y * light[1] + z * light[2]
    wrap = lambda cosine, soft: np.maximum((cosine + soft) * np.float32(1 / (1 + soft)), 0.0)
    up = (0.5 - 0.5 * y) * ambient
    key = wrap(toward(_unit(_KEY)), 0.2) * lit
    fill = wrap(toward(_unit(_FILL)), 0.3) * ambient
    grazing = 1.0 - np.abs(z)
    rim = wrap(toward(_unit(_RIM)), 0.0) * (grazing * grazing * grazing)
    gloss = 0.06 * _power_30(wrap(toward(_HALF), 0.0)) * lit
    radiance = np.empty((3, len(x)), np.float32)
    for channel, reflected in enumerate(albedo.T):
        diffuse = ambient * _GROUND[channel] + up * (_SKY - _GROUND)[channel]
        diffuse += key * _KEY_COLOR[channel] + fill * _FILL_COLOR[channel]
        radiance[channel] = diffuse * reflected
        radiance[channel] += rim * _RIM_COLOR[channel] + gloss * _KEY_COLOR[channel]
    return radiance.T


def _power_30(x: Float[np.ndarray, "N"]) -> Float[np.ndarray, "N"]:
    """x^30 by products; `np.power` takes ten times as long."""
    square = x * x
    fourth = square * square
    eighth = fourth * fourth
    return square * fourth * eighth * eighth * eighth


def shadow_map(
    surfaces: Sequence[Surface],
    z: Float[np.ndarray, "H W"],
    seen: Bool[np.ndarray, "H W"],
    scale: float,
    transl: Float[np.ndarray, "2"],
) -> Float[np.ndarray, "H W"]:
    """The fraction of the key light at the surface of each pixel, blurred a little.

    Args:
        surfaces: that cast shadows.
        z: of the visible surface, meters.
        seen: whether there is one.
        scale, transl: see `z_buffer.draw`.
    """
    shrink = 2 if len(z) >= 400 else 1
    # The nearest point of each block of pixels, so that thin fingers are not missed.
    block = cv2.erode(z, np.ones((shrink, shrink), np.uint8), anchor=(0, 0))[::shrink, ::shrink]
    mask = cv2.dilate(seen.astype(np.uint8), np.ones((shrink, shrink), np.uint8), anchor=(0, 0))
    mask = mask[::shrink, ::shrink] > 0
    rows, columns = np.nonzero(mask)
    pixels = np.stack([columns, rows], axis=-1).astype(np.float32) * shrink + shrink / 2
    xy = (pixels - np.asarray(transl, np.float32)) / np.float32(scale)
    lit = _lit(surfaces, np.concatenate([xy, block[mask][:, None]], axis=-1))
    image = np.zeros(mask.shape, np.float32)
    image[mask] = lit
    blurred = _Blur(mask, len(z) / 400 / shrink)
    return blurred(image, z.shape)


def _lit(surfaces: Sequence[Surface], points: Float[np.ndarray, "N 3"]) -> Float[np.ndarray, "N"]:
    """The fraction of the key light at `points`: 3 x 3 samples of a depth map seen from there."""
    rotation = look_at(-_KEY).astype(np.float32)
    turned = [_turned(surface, rotation) for surface in surfaces]
    corners = np.concatenate([x.vertices[np.unique(x.faces)] for x in turned])
    if not len(corners):
        return np.ones(len(points), np.float32)
    low, high = corners[:, :2].min(axis=0), corners[:, :2].max(axis=0)
    zoom = float(0.95 * _SHADOW_SIDE / max((high - low).max(), 1e-6))
    offset = _SHADOW_SIDE / 2 - zoom * (low + high) / 2
    nearest = z_buffer.draw_depth(turned, zoom, offset, _SHADOW_SIDE).ravel()

    positions = points @ rotation.T
    cells = (positions[:, :2] * zoom + offset.astype(np.float32)).astype(np.int32)
    column, row = np.clip(cells, 1, _SHADOW_SIDE - 2).T
    start, behind = row * _SHADOW_SIDE + column, positions[:, 2] - _SHADOW_BIAS
    count = np.zeros(len(points), np.uint8)
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            count += nearest.take(start + (dy * _SHADOW_SIDE + dx)) >= behind
    return count * np.float32(1 / 9)


def _turned(surface: Surface, rotation: Float[np.ndarray, "3 3"]) -> Surface:
    vertices = surface.vertices @ rotation.T
    return Surface(vertices, surface.normals, surface.faces, surface.colors, surface.one_color)


class AmbientOcclusion:
    """A factor below 1 where a point lies deeper than its surroundings (Luft et al. 2006)."""

    def __init__(
        self, z: Float[np.ndarray, "H W"], seen: Bool[np.ndarray, "H W"], scale: float
    ) -> None:
        """`z` is that of the visible surface, meters; `scale` in pixels per meter."""
        z = np.where(seen, z, np.float32(0))
        self.surroundings = [
            _Blur(seen, radius * scale)(z, z.shape).ravel() for radius, _ in _OCCLUSION
        ]

    def __call__(
        self, z: Float[np.ndarray, "N"], pixels: Int[np.ndarray, "N"]
    ) -> Float[np.ndarray, "N"]:
        """The factor of points at depth `z` in pixels of these flat indices."""
        factor = np.ones(len(z), np.float32)
        for (radius, strength), around in zip(_OCCLUSION, self.surroundings):
            sunk = (z - around.take(pixels)) * np.float32(1 / radius)
            factor *= 1.0 - strength * np.clip(sunk, 0.0, 1.0)
        return factor


class _Blur:
    """A Gaussian blur over the pixels in a mask; a wide one runs at a quarter of the size."""

    def __init__(self, mask: Bool[np.ndarray, "H W"], sigma: float) -> None:
        self.shrink = 4 if sigma > 8 else 1
        self.sigma = max(sigma / self.shrink, 0.1)
        self.mask = mask.astype(np.float32)

    def __call__(
        self, values: Float[np.ndarray, "H W"], shape: tuple[int, ...]
    ) -> Float[np.ndarray, "..."]:
        """Values, 0 outside of the mask, blurred and enlarged to `shape`."""
        both = cv2.merge([values, self.mask])
        if self.shrink > 1:
            small = tuple(max(1, n // self.shrink) for n in values.shape[::-1])
            both = cv2.resize(both, small, interpolation=cv2.INTER_AREA)
        # A constant border of 0: pixels beyond the image have weight 0.
        both = cv2.GaussianBlur(
            both, (0, 0), self.sigma, borderType=cv2.BORDER_CONSTANT | cv2.BORDER_ISOLATED
        )
        if both.shape[:2] != shape:
            both = cv2.resize(both, shape[::-1], interpolation=cv2.INTER_LINEAR)
        return both[..., 0] / np.maximum(both[..., 1], 1e-4)


def look_at(direction: Float[np.ndarray, "3"]) -> Float[np.ndarray, "3 3"]:
    """The rotation into the axes of an upright camera that looks along `direction`."""
    forward = np.asarray(direction, np.float64) / np.linalg.norm(direction)
    right = np.cross([0.0, 1.0, 0.0], forward)
    if np.linalg.norm(right) < 1e-12:  # straight up or down
        right = np.array([1.0, 0.0, 0.0]) - forward[0] * forward
    right /= np.linalg.norm(right)
    return np.stack([right, np.cross(forward, right), forward])


def to_linear(srgb: Float[np.ndarray, "*B"]) -> Float[np.ndarray, "*B"]:
    """Linear light of sRGB in [0, 1]."""
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def to_srgb(linear: Float[np.ndarray, "*B"]) -> Float[np.ndarray, "*B"]:
    """sRGB of linear light in [0, 1], float32, from a table: exact to 0.001."""
    steps = np.sqrt(np.clip(linear, 0.0, 1.0)) * np.float32(_LEVELS - 1) + np.float32(0.5)
    return _srgb_table().take(steps.astype(np.uint16))


@functools.cache
def _srgb_table() -> Float[np.ndarray, "4096"]:
    """sRGB of the squares of evenly spaced numbers; their steps in sRGB are nearly even."""
    linear = np.linspace(0.0, 1.0, _LEVELS) ** 2
    srgb = np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)
    return srgb.astype(np.float32)
