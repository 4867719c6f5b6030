"""Cameras: scaled orthography for the 224 crop, a pinhole camera for the full image.

Camera axes are x right, y down, z forward; pixels have their centers at +0.5, so that the pixel in
row i and column j covers the point (j + 0.5, i + 0.5). Nothing here clips: a point behind a pinhole
camera projects to nonsense, and the rasterizer leaves such faces out.
"""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Float

from dice_jax.array_types import Array


def project_orthographic(
    points: Float[Array, "*B N 3"], scale: Float[Array, "*B"], transl: Float[Array, "*B 2"]
) -> Float[Array, "*B N 2"]:
    """Scaled orthography: `pixels = scale * (x, y) + transl`.

    Args:
        points: camera axes, meters.
        scale: pixels a meter.
        transl: pixels; where the point (0, 0, z) lands.
    """
    return scale[..., None, None] * points[..., :2] + transl[..., None, :]


def project_perspective(
    points: Float[Array, "*B N 3"],
    focal_length: Float[Array, "*B"],
    camera_center: Float[Array, "*B 2"],
) -> Float[Array, "*B N 2"]:
    """Pinhole: `pixels = focal_length * (x, y) / z + camera_center`.

    Args:
        points: camera axes, meters, z > 0.
        focal_length: pixels, the same along x and y.
        camera_center: principal point, pixels.
    """
    return (
        focal_length[..., None, None] * points[..., :2] / points[..., 2:]
        + camera_center[..., None, :]
    )


def orthographic_to_screen(
    points: Float[Array, "*B N 3"],
    scale: Float[Array, "*B"],
    transl: Float[Array, "*B 2"],
    distance: float = 1.0,
) -> Float[Array, "*B N 3"]:
    """What `rasterize` takes: orthographic pixels and `z + distance`, meters.

    `distance` puts the head-centerd scene in front of the camera; a scaled orthographic view does
    not change with it.
    """
    pixels = project_orthographic(points, scale, transl)
    return jnp.concatenate([pixels, points[..., 2:] + distance], axis=-1)


def perspective_to_screen(
    points: Float[Array, "*B N 3"],
    focal_length: Float[Array, "*B"],
    camera_center: Float[Array, "*B 2"],
) -> Float[Array, "*B N 3"]:
    """What `rasterize(..., perspective=True)` takes: pinhole pixels and depth z, meters."""
    pixels = project_perspective(points, focal_length, camera_center)
    return jnp.concatenate([pixels, points[..., 2:]], axis=-1)


def orthographic_to_perspective(
    scale: Float[Array, "*B"],
    transl: Float[Array, "*B 2"],
    focal_length: Float[Array, "*B"],
    camera_center: Float[Array, "*B 2"],
) -> Float[Array, "*B 3"]:
    """Where a pinhole camera must see the scene to agree with a scaled orthographic one.

    Both project `points` alike on the plane z = 0, exactly, and elsewhere up to terms of order z /
    distance: `project_perspective(points + translation) ~ project_orthographic(points)`.

    Args:
        scale: pixels a meter, > 0, of the SAME picture as `focal_length` (see `crop_to_image`).
        transl: pixels of that picture.
        focal_length: pixels.
        camera_center: principal point, pixels.

    Returns:
        Translation to add to the points, meters; its z is the distance `focal_length / scale`.
    """
    xy = (transl - camera_center) / scale[..., None]
    return jnp.concatenate([xy, (focal_length / scale)[..., None]], axis=-1)


def crop_to_image(
    scale: Float[Array, "*B"],
    transl: Float[Array, "*B 2"],
    box: Float[Array, "*B 3"],
    crop_size: int = 224,
) -> tuple[Float[Array, "*B"], Float[Array, "*B 2"]]:
    """The orthographic camera of a square crop, in pixels of the picture it was cut from.

    Args:
        scale, transl: camera in pixels of the crop.
        box: left, top and side of the crop, pixels of the picture.
        crop_size: side to which the crop was resized, pixels.

    Returns:
        (scale, transl) in pixels of the picture.
    """
    zoom = box[..., 2] / crop_size
    return scale * zoom, transl * zoom[..., None] + box[..., :2]
