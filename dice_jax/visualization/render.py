"""Draws meshes: the project's rasterizer for visibility and shadow, the light computed per pixel in
NumPy.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import cv2
import jax
import numpy as np
from jaxtyping import Float

from dice_jax.geometry import rasterize
from dice_jax.io.meshes import NamedMesh

_SUPERSAMPLE = 2
_CAMERA_DISTANCE = 10.0  # meters; only keeps every depth positive
_HIDDEN = (
    1e6  # pixels; a mesh moved there is never drawn, and the shapes stay those already compiled
)

# Light comes from where these vectors point (camera axes: x right, y down, z away), linear RGB.
_KEY, _KEY_COLOR = np.float32([-0.45, -0.60, -0.66]), np.float32([0.95, 0.91, 0.86])
_FILL, _FILL_COLOR = np.float32([0.75, -0.10, -0.65]), np.float32([0.16, 0.18, 0.20])
_RIM, _RIM_COLOR = np.float32([0.35, -0.60, 0.72]), np.float32([0.30, 0.31, 0.33])
_SKY, _GROUND = np.float32([0.29, 0.31, 0.33]), np.float32([0.14, 0.12, 0.11])
_SHADOW_SIDE = 640  # pixels of the shadow map
_SHADOW_BIAS = 0.004  # meters
_OCCLUSION = ((0.006, 0.35), (0.02, 0.45))  # radius in meters, strength


def render(
    meshes: Sequence[NamedMesh],
    scale: float,
    transl: Float[np.ndarray, "2"],
    size: int,
    hidden: Sequence[str] = (),
    shadow: bool = True,
) -> Float[np.ndarray, "S S 4"]:
    """Draws meshes under scaled orthography, lit from the upper left, with soft shadow and ambient
    occlusion.

    Args:
        meshes: in camera axes, meters.
        scale: pixels a meter.
        transl: pixels; where the point (0, 0, z) lands.
        size: side of the picture, pixels.
        hidden: names of meshes to leave out. Leaving one out this way re-uses the compiled
            rasterizer.
        shadow: whether meshes throw shadows; without them colors read better.

    Returns:
        sRGB in [0, 1], not multiplied by alpha, and alpha.
    """
    vertices = np.concatenate([mesh.vertices for mesh in meshes]).astype(np.float32)
    colors = np.concatenate([mesh.colors for mesh in meshes]).astype(np.float32)
    starts = np.cumsum([0, *(len(mesh.vertices) for mesh in meshes)])
    faces = np.concatenate([mesh.faces + start for mesh, start in zip(meshes, starts)]).astype(
        np.int32
    )
    absent = np.repeat([mesh.name in hidden for mesh in meshes], np.diff(starts))

    side, zoom = size * _SUPERSAMPLE, scale * _SUPERSAMPLE
    screen = np.concatenate(
        [
            vertices[:, :2] * zoom + np.asarray(transl) * _SUPERSAMPLE,
            vertices[:, 2:] + _CAMERA_DISTANCE,
        ],
        axis=-1,
    )
    screen[absent, 0] += _HIDDEN
    normals = np.concatenate([mesh.normals() for mesh in meshes])
    fragments = _fragments(screen.astype(np.float32), faces, side)
    face_ids, barycentrics, depth = (
        np.asarray(x) for x in (fragments.face_ids, fragments.barycentrics, fragments.depth)
    )

    # From here on only the pixels that show something, (N, 3) each.
    seen = face_ids >= 0
    shown = faces[face_ids[seen]]
    interpolate = lambda values: sum(
        values[shown[:, k]] * barycentrics[seen][:, k : k + 1] for k in range(3)
    )
    normals = interpolate(normals) * _outside_seen(screen, faces)[face_ids[seen], None]
    normals /= np.maximum(np.linalg.norm(normals, axis=-1, keepdims=True), 1e-6)
    lit = np.ones(len(normals), np.float32)
    if shadow:
        lit = _shadow(vertices, faces, absent, interpolate(vertices))
        lit = _masked_blur(_scatter(lit, seen), seen, side / 400)[seen]
    ambient = _ambient_occlusion(np.where(seen, depth, 0.0), seen, zoom)[seen]

    picture = np.zeros((side, side, 4), np.float32)
    picture[seen, :3] = _shade(
        normals, interpolate(_to_linear(colors)), lit[:, None], ambient[:, None]
    )
    picture[seen, 3] = 1.0
    picture = cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA)
    rgb = picture[..., :3] / np.maximum(picture[..., 3:], 1e-6)
    return np.concatenate([_to_srgb(rgb), picture[..., 3:]], axis=-1)


@functools.partial(jax.jit, static_argnames=("side",))
def _fragments(screen, faces, side: int) -> rasterize.Fragments:
    return rasterize.rasterize(screen, faces, side, side)


def _outside_seen(screen: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """(F,) 1 where a face shows its outside, -1 where its inside: through the neck or the wrist."""
    a, b, c = (screen[faces[:, corner], :2] for corner in range(3))
    area = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])
    return np.where(area < 0, 1.0, -1.0).astype(np.float32)


def _shade(
    normals: np.ndarray, albedo: np.ndarray, lit: np.ndarray, ambient: np.ndarray
) -> np.ndarray:
    """Linear radiance: a warm key light with shadow, a cool fill, a rim from behind, sky and
    ground.
    """
    toward = lambda light: normals @ _unit(light)
    wrap = lambda cosine, soft: np.clip((cosine + soft) / (1.0 + soft), 0.0, None)[:, None]
    up = 0.5 - 0.5 * normals[:, 1:2]
    radiance = albedo * (up * _SKY + (1.0 - up) * _GROUND) * ambient
    radiance += albedo * wrap(toward(_KEY), 0.2) * _KEY_COLOR * lit
    radiance += albedo * wrap(toward(_FILL), 0.3) * _FILL_COLOR * ambient
    grazing = (1.0 - np.abs(normals[:, 2:])) ** 3
    radiance += wrap(toward(_RIM), 0.0) * grazing * _RIM_COLOR
    half = _unit(_KEY) + np.float32([0.0, 0.0, -1.0])
    return radiance + 0.06 * wrap(toward(half), 0.0) ** 30 * _KEY_COLOR * lit


def _shadow(vertices, faces, absent, points) -> np.ndarray:
    """(N,) how much of the key light arrives at `points`: a shadow map, read nine times."""
    rotation = look_at(-_KEY).astype(np.float32)
    turned = vertices @ rotation.T
    low, high = turned[~absent, :2].min(axis=0), turned[~absent, :2].max(axis=0)
    zoom = 0.95 * _SHADOW_SIDE / (high - low).max()
    offset = _SHADOW_SIDE / 2 - zoom * (low + high) / 2
    screen = np.concatenate(
        [turned[:, :2] * zoom + offset, turned[:, 2:] + _CAMERA_DISTANCE], axis=-1
    )
    screen[absent, 0] += _HIDDEN
    nearest = np.asarray(_fragments(screen.astype(np.float32), faces, _SHADOW_SIDE).depth)

    positions = points @ rotation.T
    column, row = (positions[:, :2] * zoom + offset).astype(np.int32).T
    behind = positions[:, 2] + _CAMERA_DISTANCE - _SHADOW_BIAS
    lit = np.zeros(len(points), np.float32)
    for dx in (-1, 0, 1):
        for dy in (-1, 0, 1):
            lit += nearest[row + dy, column + dx] >= behind
    return lit / 9.0


def _scatter(values: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Values of the seen pixels as a picture, 0 elsewhere."""
    picture = np.zeros(seen.shape, np.float32)
    picture[seen] = values
    return picture


def _unit(vector: np.ndarray) -> np.ndarray:
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def _ambient_occlusion(depth: np.ndarray, seen: np.ndarray, zoom: float) -> np.ndarray:
    """(side, side) factor below 1 where a pixel lies deeper than its surroundings (Luft et al.
    2006).
    """
    factor = np.ones(depth.shape, np.float32)
    for radius, strength in _OCCLUSION:
        sunk = (depth - _masked_blur(depth, seen, radius * zoom)) / radius
        factor *= 1.0 - strength * np.clip(sunk, 0.0, 1.0)
    return factor


def _masked_blur(values: np.ndarray, mask: np.ndarray, sigma: float) -> np.ndarray:
    """A Gaussian blur that only takes from pixels in the mask, run at a quarter of the size where
    it is wide.
    """
    shrink = 4 if sigma > 8 else 1
    small = tuple(n // shrink for n in values.shape[::-1])
    both = np.stack([values * mask, mask], axis=-1).astype(np.float32)
    both = cv2.resize(both, small, interpolation=cv2.INTER_AREA)
    both = cv2.GaussianBlur(
        both, (0, 0), sigma / shrink, borderType=cv2.BORDER_CONSTANT
    )  # nothing beyond the picture
    both = cv2.resize(both, values.shape[::-1], interpolation=cv2.INTER_LINEAR)
    return both[..., 0] / np.maximum(both[..., 1], 1e-4)


def look_at(direction: Float[np.ndarray, "3"]) -> Float[np.ndarray, "3 3"]:
    """The rotation into the axes of a camera that looks along `direction` and keeps the vertical
    upright.
    """
    forward = np.asarray(direction, np.float64) / np.linalg.norm(direction)
    right = np.cross([0.0, 1.0, 0.0], forward)
    if np.linalg.norm(right) < 1e-12:  # straight up or down
        right = np.array([1.0, 0.0, 0.0]) - forward[0] * forward
    right /= np.linalg.norm(right)
    return np.stack([right, np.cross(forward, right), forward])


def _to_linear(srgb: np.ndarray) -> np.ndarray:
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def _to_srgb(linear: np.ndarray) -> np.ndarray:
    linear = np.clip(linear, 0.0, 1.0)
    return np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)
