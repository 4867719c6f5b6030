"""Renders meshes with shading, shadow and ambient occlusion.

The package's rasterizer finds the visible faces and the shadows. NumPy shades the pixels.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import cv2
import jax
import numpy as np
from jaxtyping import Bool, Float, Int

from dice_jax.array_types import Array
from dice_jax.geometry import rasterize
from dice_jax.io.meshes import NamedMesh

_SUPERSAMPLE = 2
_CAMERA_DISTANCE = 10.0  # meters, added to keep all depths positive
_VERTICES, _FACES = 8192, 16384  # the arrays of the rasterizer have multiples of these sizes
_FAR_ASIDE = 1e6  # pixels that a hidden mesh is moved by; compiled shapes stay the same


def _vector(x: float, y: float, z: float) -> Float[np.ndarray, "3"]:
    return np.array([x, y, z], np.float32)


# Directions towards the lights (camera axes: x right, y down, z away) and colors in linear RGB.
_KEY, _KEY_COLOR = _vector(-0.45, -0.60, -0.66), _vector(0.95, 0.91, 0.86)
_FILL, _FILL_COLOR = _vector(0.75, -0.10, -0.65), _vector(0.16, 0.18, 0.20)
_RIM, _RIM_COLOR = _vector(0.35, -0.60, 0.72), _vector(0.30, 0.31, 0.33)
_SKY, _GROUND = _vector(0.29, 0.31, 0.33), _vector(0.14, 0.12, 0.11)
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
) -> Float[np.ndarray, "{size} {size} 4"]:
    """Renders meshes under scaled orthography, lit from the upper left.

    Args:
        meshes: camera axes, meters.
        scale: pixels per meter.
        transl: pixels; where the point (0, 0, z) is projected.
        size: side of the rendering, pixels.
        hidden: names of meshes to leave out. This reuses the rasterizer that was compiled for all
            meshes.
        shadow: whether meshes cast shadows. Turn them off where colors stand for values.

    Returns:
        sRGB in [0, 1], not multiplied by alpha, and alpha.
    """
    vertices = np.concatenate([mesh.vertices for mesh in meshes]).astype(np.float32)
    colors = np.concatenate([mesh.colors for mesh in meshes]).astype(np.float32)
    normals = np.concatenate([mesh.normals() for mesh in meshes])
    starts = np.cumsum([0, *(len(mesh.vertices) for mesh in meshes)])
    faces = np.concatenate([mesh.faces + start for mesh, start in zip(meshes, starts)])
    faces = faces.astype(np.int32)
    absent = np.repeat([mesh.name in hidden for mesh in meshes], np.diff(starts))

    side, zoom = size * _SUPERSAMPLE, scale * _SUPERSAMPLE
    screen = _to_screen(vertices, zoom, np.asarray(transl) * _SUPERSAMPLE, absent)
    fragments = _draw(screen, faces, side)
    face_ids, depth = np.asarray(fragments.face_ids), np.asarray(fragments.depth)

    # From here on arrays hold only the N pixels that show a mesh, (N, 3) each.
    seen = face_ids >= 0
    corners, weights = faces[face_ids[seen]], np.asarray(fragments.barycentrics)[seen]

    def interpolate(values: Float[np.ndarray, "V 3"]) -> Float[np.ndarray, "N 3"]:
        first, second, third = (values[corners[:, k]] * weights[:, k : k + 1] for k in range(3))
        return first + second + third

    normals = interpolate(normals) * _outside_seen(screen, faces)[face_ids[seen], None]
    normals /= np.maximum(np.linalg.norm(normals, axis=-1, keepdims=True), 1e-6)
    lit = np.ones(len(normals), np.float32)
    if shadow:
        lit = _shadow(vertices, faces, absent, interpolate(vertices))
        lit = _masked_blur(_scatter(lit, seen), seen, side / 400)[seen]
    ambient = _ambient_occlusion(np.where(seen, depth, 0.0), seen, zoom)[seen]
    albedo = interpolate(_to_linear(colors))

    rgba = np.zeros((side, side, 4), np.float32)
    rgba[seen, :3] = _shade(normals, albedo, lit[:, None], ambient[:, None])
    rgba[seen, 3] = 1.0
    rgba = cv2.resize(rgba, (size, size), interpolation=cv2.INTER_AREA)
    rgb = rgba[..., :3] / np.maximum(rgba[..., 3:], 1e-6)
    return np.concatenate([_to_srgb(rgb), rgba[..., 3:]], axis=-1)


def _to_screen(
    points: Float[np.ndarray, "V 3"],
    zoom: float,
    transl: Float[np.ndarray, "2"],
    absent: Bool[np.ndarray, "V"],
) -> Float[np.ndarray, "V 3"]:
    """Pixels and positive depth; absent vertices lie far outside the image."""
    pixels, depth = points[:, :2] * zoom + transl, points[:, 2:] + _CAMERA_DISTANCE
    screen = np.concatenate([pixels, depth], axis=-1)
    screen[absent, 0] += _FAR_ASIDE
    return screen


def _draw(
    screen: Float[np.ndarray, "V 3"], faces: Int[np.ndarray, "F 3"], side: int
) -> rasterize.Fragments:
    """Rasterizes after filling up the arrays, so that few sizes need to be compiled.

    Faces that are three times the first vertex have no area and are not drawn.
    """
    more_vertices, more_faces = -len(screen) % _VERTICES, -len(faces) % _FACES
    filled = np.pad(screen.astype(np.float32), ((0, more_vertices), (0, 0)), mode="edge")
    return _fragments(filled, np.pad(faces, ((0, more_faces), (0, 0))), side)


@functools.partial(jax.jit, static_argnames=("side",))
def _fragments(
    screen: Float[Array, "V 3"], faces: Int[Array, "F 3"], side: int
) -> rasterize.Fragments:
    return rasterize.rasterize(screen, faces, side, side)


def _outside_seen(
    screen: Float[np.ndarray, "V 3"], faces: Int[np.ndarray, "F 3"]
) -> Float[np.ndarray, "F"]:
    """1 where a face shows its outside, -1 where its inside (through the open neck or wrist)."""
    a, b, c = (screen[faces[:, corner], :2] for corner in range(3))
    area = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])
    return np.where(area < 0, 1.0, -1.0).astype(np.float32)


def _shade(
    normals: Float[np.ndarray, "N 3"],
    albedo: Float[np.ndarray, "N 3"],
    lit: Float[np.ndarray, "N 1"],
    ambient: Float[np.ndarray, "N 1"],
) -> Float[np.ndarray, "N 3"]:
    """Linear radiance under key, fill and rim light, sky and ground.

    Args:
        normals: unit.
        albedo: linear RGB.
        lit: fraction of the key light that is not in shadow.
        ambient: factor of ambient occlusion.
    """
    toward = lambda light: normals @ _unit(light)
    wrap = lambda cosine, soft: np.clip((cosine + soft) / (1.0 + soft), 0.0, None)[:, None]
    up = 0.5 - 0.5 * normals[:, 1:2]
    radiance = albedo * (up * _SKY + (1.0 - up) * _GROUND) * ambient
    radiance += albedo * wrap(toward(_KEY), 0.2) * _KEY_COLOR * lit
    radiance += albedo * wrap(toward(_FILL), 0.3) * _FILL_COLOR * ambient
    grazing = (1.0 - np.abs(normals[:, 2:])) ** 3
    radiance += wrap(toward(_RIM), 0.0) * grazing * _RIM_COLOR
    half = _unit(_KEY) + _vector(0.0, 0.0, -1.0)
    return radiance + 0.06 * wrap(toward(half), 0.0) ** 30 * _KEY_COLOR * lit


def _shadow(
    vertices: Float[np.ndarray, "V 3"],
    faces: Int[np.ndarray, "F 3"],
    absent: Bool[np.ndarray, "V"],
    points: Float[np.ndarray, "N 3"],
) -> Float[np.ndarray, "N"]:
    """The fraction of the key light at `points`: 3 x 3 samples of a shadow map."""
    rotation = look_at(-_KEY).astype(np.float32)
    turned = vertices @ rotation.T
    low, high = turned[~absent, :2].min(axis=0), turned[~absent, :2].max(axis=0)
    zoom = float(0.95 * _SHADOW_SIDE / (high - low).max())
    offset = _SHADOW_SIDE / 2 - zoom * (low + high) / 2
    screen = _to_screen(turned, zoom, offset, absent)
    nearest = np.asarray(_draw(screen, faces, _SHADOW_SIDE).depth)

    positions = points @ rotation.T
    column, row = (positions[:, :2] * zoom + offset).astype(np.int32).T
    behind = positions[:, 2] + _CAMERA_DISTANCE - _SHADOW_BIAS
    lit = np.zeros(len(points), np.float32)
    for dx in (-1, 0, 1):
        for dy in (-1, 0, 1):
            lit += nearest[row + dy, column + dx] >= behind
    return lit / 9.0


def _scatter(
    values: Float[np.ndarray, "N"], seen: Bool[np.ndarray, "H W"]
) -> Float[np.ndarray, "H W"]:
    """Values of the seen pixels as an image, 0 elsewhere."""
    image = np.zeros(seen.shape, np.float32)
    image[seen] = values
    return image


def _unit(vector: Float[np.ndarray, "3"]) -> Float[np.ndarray, "3"]:
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def _ambient_occlusion(
    depth: Float[np.ndarray, "H W"], seen: Bool[np.ndarray, "H W"], zoom: float
) -> Float[np.ndarray, "H W"]:
    """A factor below 1 where a pixel lies deeper than its surroundings (Luft et al. 2006)."""
    factor = np.ones(depth.shape, np.float32)
    for radius, strength in _OCCLUSION:
        sunk = (depth - _masked_blur(depth, seen, radius * zoom)) / radius
        factor *= 1.0 - strength * np.clip(sunk, 0.0, 1.0)
    return factor


def _masked_blur(
    values: Float[np.ndarray, "H W"], mask: Bool[np.ndarray, "H W"], sigma: float
) -> Float[np.ndarray, "H W"]:
    """A Gaussian blur over the pixels in the mask; a wide one runs at a quarter of the size."""
    shrink = 4 if sigma > 8 else 1
    small = tuple(n // shrink for n in values.shape[::-1])
    both = np.stack([values * mask, mask], axis=-1).astype(np.float32)
    both = cv2.resize(both, small, interpolation=cv2.INTER_AREA)
    # A constant border of 0: pixels beyond the image have weight 0.
    both = cv2.GaussianBlur(both, (0, 0), sigma / shrink, borderType=cv2.BORDER_CONSTANT)
    both = cv2.resize(both, values.shape[::-1], interpolation=cv2.INTER_LINEAR)
    return both[..., 0] / np.maximum(both[..., 1], 1e-4)


def look_at(direction: Float[np.ndarray, "3"]) -> Float[np.ndarray, "3 3"]:
    """The rotation into the axes of an upright camera that looks along `direction`."""
    forward = np.asarray(direction, np.float64) / np.linalg.norm(direction)
    right = np.cross([0.0, 1.0, 0.0], forward)
    if np.linalg.norm(right) < 1e-12:  # straight up or down
        right = np.array([1.0, 0.0, 0.0]) - forward[0] * forward
    right /= np.linalg.norm(right)
    return np.stack([right, np.cross(forward, right), forward])


def _to_linear(srgb: Float[np.ndarray, "*B"]) -> Float[np.ndarray, "*B"]:
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def _to_srgb(linear: Float[np.ndarray, "*B"]) -> Float[np.ndarray, "*B"]:
    linear = np.clip(linear, 0.0, 1.0)
    return np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)
