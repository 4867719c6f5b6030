"""Renders meshes with shading, shadow and ambient occlusion.

Every pixel is shaded once, at its center. Where meshes, or parts of one, hide each other within a
pixel, it is the mean of four samples.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import Bool, Float

from dice_jax.io.meshes import NamedMesh
from dice_jax.visualization import shading, z_buffer
from dice_jax.visualization.z_buffer import Pixels, Surface

_SUPERSAMPLE = 2
_CHUNK = 2**14  # pixels that are shaded at a time; their arrays fit into the processor's cache
_STEP = 0.002  # meters; a change of the slope over two pixels that is taken for an edge


def render(
    meshes: Sequence[NamedMesh],
    scale: float,
    transl: Float[np.ndarray, "2"],
    size: int,
    shadow: bool = True,
) -> Float[np.ndarray, "{size} {size} 4"]:
    """Renders meshes under scaled orthography, lit from the upper left.

    Args:
        meshes: camera axes, meters.
        scale: pixels per meter.
        transl: pixels; where the point (0, 0, z) is projected.
        size: side of the rendering, pixels.
        shadow: whether meshes cast shadows. Turn them off where colors stand for values.

    Returns:
        sRGB in [0, 1], not multiplied by alpha, and alpha.
    """
    surfaces = [Surface.of(mesh, shading.to_linear(mesh.colors)) for mesh in meshes]
    transl = np.asarray(transl)
    center = z_buffer.draw(surfaces, scale, transl, size)
    seen = center.ids >= 0
    z = center.depth - np.float32(center.distance)
    light = _Light(surfaces, z, seen, scale, transl, shadow)

    rgba = np.zeros((size * size, 4), np.float32)
    inside = np.flatnonzero(seen)
    rgba[inside, :3] = light.of(center, inside, inside)
    rgba[inside, 3] = 1.0
    at_edges = edges(center)
    pixels = np.flatnonzero(at_edges)
    if len(pixels):
        fine = (scale * _SUPERSAMPLE, transl * _SUPERSAMPLE, size * _SUPERSAMPLE)
        rgba[pixels] = _samples(z_buffer.draw(surfaces, *fine, at_edges), pixels, size, light)
    rgba[:, :3] = shading.to_srgb(rgba[:, :3])
    return rgba.reshape(size, size, 4)


class _Light:
    """The light of a scene that does not depend on the resolution of a drawing."""

    def __init__(self, surfaces, z, seen, scale, transl, shadow: bool) -> None:
        self.lit = np.ones(z.size, np.float32)
        if shadow:
            self.lit = shading.shadow_map(surfaces, z, seen, scale, transl).ravel()
        self.occlusion = shading.AmbientOcclusion(z, seen, scale)

    def of(self, drawn: Pixels, samples, pixels) -> Float[np.ndarray, "N 3"]:
        """Linear radiance of the flat indices `samples` of a drawing.

        Args:
            drawn: of any resolution.
            samples: flat indices into it.
            pixels: flat indices of the pixels of the rendering that contain them.
        """
        radiance = np.empty((len(samples), 3), np.float32)
        for start in range(0, len(samples), _CHUNK):
            part = slice(start, start + _CHUNK)
            sample, pixel = samples[part], pixels[part]
            radiance[part] = shading.shade(
                drawn.normals(sample),
                drawn.albedo(sample),
                self.lit.take(pixel),
                self.occlusion(drawn.z(sample), pixel),
            )
        return radiance


def _samples(fine: Pixels, pixels, size: int, light: _Light) -> Float[np.ndarray, "N 4"]:
    """Mean linear color, and alpha, of the samples in each of the pixels."""
    row, column = np.divmod(pixels, size)
    within = np.arange(_SUPERSAMPLE)
    rows = row[:, None, None] * _SUPERSAMPLE + within[:, None]
    columns = column[:, None, None] * _SUPERSAMPLE + within
    samples = (rows * size * _SUPERSAMPLE + columns).reshape(len(pixels), -1)
    covered = fine.ids.take(samples) >= 0
    radiance = light.of(fine, samples.ravel(), np.repeat(pixels, samples.shape[1]))
    radiance = np.maximum(radiance, 0.0).reshape(*samples.shape, 3) * covered[..., None]
    count = covered.sum(axis=1, keepdims=True).astype(np.float32)
    mean = radiance.sum(axis=1) / np.maximum(count, 1)
    return np.concatenate([mean, count / samples.shape[1]], axis=1)


def edges(drawn: Pixels) -> Bool[np.ndarray, "H W"]:
    """Pixels in which more than one piece of a surface may be seen."""
    found = np.zeros(drawn.ids.shape, np.uint8)
    for axis in (0, 1):
        found |= _steps(drawn.ids, drawn.depth, axis)
    return cv2.dilate(found, np.ones((3, 3), np.uint8)) > 0


def _steps(ids, depth, axis: int):
    """Pixels that differ from the next one, or where the surface steps back."""
    found = np.zeros(ids.shape, np.uint8)
    first, last = ((slice(None),) * axis + (part,) for part in (np.s_[:-1], np.s_[1:]))
    found[first] = ids[first] != ids[last]
    slope = depth[last] - depth[first]
    middle = (slice(None),) * axis + (np.s_[1:-1],)
    found[middle] |= np.abs(slope[last] - slope[first]) > _STEP
    return found
