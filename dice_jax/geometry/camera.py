"""Cameras: scaled orthography for the 224 crop, a pinhole for the full image.

Camera axes are x right, y down, z forward. Pixel centers lie at +0.5: the center of the pixel in
row i and column j is (j + 0.5, i + 0.5). Nothing here clips: the projection of a point behind a
pinhole camera is meaningless, and the rasterizer does not draw such faces.
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from dice_jax.array_types import Array
from dice_jax.constants import CROP_SIZE

MIN_SCALE = 10.0  # pixels per meter
_NEAREST = 0.1  # of the distance of the plane z = 0; a fit may pass by such points
_DEFAULT_SCALE = 550.0  # pixels per meter: a head of 0.25 m spans 60 % of the crop


def project_orthographic(
    points: Float[Array, "*B N 3"], scale: Float[Array, "*B"], transl: Float[Array, "*B 2"]
) -> Float[Array, "*B N 2"]:
    """Scaled orthography: `pixels = scale * (x, y) + transl`.

    Args:
        points: camera axes, meters.
        scale: pixels per meter.
        transl: pixels; the projection of every point (0, 0, z).
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
    centered = focal_length[..., None, None] * points[..., :2] / points[..., 2:]
    return centered + camera_center[..., None, :]


def orthographic_to_screen(
    points: Float[Array, "*B N 3"],
    scale: Float[Array, "*B"],
    transl: Float[Array, "*B 2"],
    distance: float = 1.0,
) -> Float[Array, "*B N 3"]:
    """The input of `rasterize`: orthographic pixels, and depth `z + distance` in meters.

    `distance` places the head-centered scene in front of the camera. The scaled orthographic view
    does not depend on it.
    """
    pixels = project_orthographic(points, scale, transl)
    return jnp.concatenate([pixels, points[..., 2:] + distance], axis=-1)


def perspective_to_screen(
    points: Float[Array, "*B N 3"],
    focal_length: Float[Array, "*B"],
    camera_center: Float[Array, "*B 2"],
) -> Float[Array, "*B N 3"]:
    """The input of `rasterize(..., perspective=True)`: pinhole pixels, and depth z in meters."""
    pixels = project_perspective(points, focal_length, camera_center)
    return jnp.concatenate([pixels, points[..., 2:]], axis=-1)


def project_scaled_perspective(
    points: Float[Array, "*B N 3"],
    scale: Float[Array, "*B"],
    transl: Float[Array, "*B 2"],
    focal_length: Float[Array, "*B"],
    camera_center: Float[Array, "*B 2"],
) -> Float[Array, "*B N 2"]:
    """The pinhole that agrees with a scaled orthographic camera in the plane z = 0.

    Equal to `project_perspective(points + orthographic_to_perspective(...), ...)`. With an infinite
    focal length it is `project_orthographic`. Points nearer to the camera than a tenth of the
    distance of the plane z = 0, or behind it, are projected as if they were at that tenth.

    Args:
        points: camera axes, meters.
        scale: pixels per meter in the plane z = 0.
        transl: projection of the origin, pixels.
        focal_length, camera_center: of the pinhole, pixels.
    """
    center = camera_center[..., None, :]
    from_center = project_orthographic(points, scale, transl) - center
    depth_ratio = 1.0 + points[..., 2:] * (scale / focal_length)[..., None, None]
    return from_center / jnp.maximum(depth_ratio, _NEAREST) + center


def orthographic_to_perspective(
    scale: Float[Array, "*B"],
    transl: Float[Array, "*B 2"],
    focal_length: Float[Array, "*B"],
    camera_center: Float[Array, "*B 2"],
) -> Float[Array, "*B 3"]:
    """Translation of the scene for which a pinhole camera agrees with scaled orthography.

    `project_perspective(points + translation) ~ project_orthographic(points)`: exact on the plane z
    = 0, and elsewhere up to terms of order z / distance.

    Args:
        scale: pixels per meter, > 0, in the SAME image as `focal_length` (see `crop_to_image`).
        transl: pixels of that image.
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
    crop_size: int = CROP_SIZE,
) -> tuple[Float[Array, "*B"], Float[Array, "*B 2"]]:
    """The orthographic camera of a square crop, in pixels of the image it was cut from.

    Args:
        scale, transl: camera in pixels of the crop.
        box: left, top and side of the crop, pixels of the image.
        crop_size: side to which the crop was resized, pixels.

    Returns:
        (scale, transl) in pixels of the image.
    """
    zoom = box[..., 2] / crop_size
    return scale * zoom, transl * zoom[..., None] + box[..., :2]


def closest_orthography(
    points: Float[np.ndarray, "K 3"],
    pixels: Float[np.ndarray, "K 2"],
    weights: Float[np.ndarray, "K"] | None = None,
) -> tuple[Float[np.ndarray, ""], Float[np.ndarray, "2"]]:
    """The scaled orthography that projects points closest to given pixels (least squares, NumPy).

    Args:
        points: camera axes, meters.
        pixels: where they should be.
        weights: of the squared distances; None: all 1.

    Returns:
        Scale (pixels per meter; at least `MIN_SCALE`, because a mirror image cannot be drawn) and
        translation (pixels). With fewer than two weighted points: a head in the middle of the crop.
    """
    weight = (
        np.ones((len(points), 1)) if weights is None else np.asarray(weights, np.float64)[:, None]
    )
    if np.count_nonzero(weight) < 2:
        return np.asarray(_DEFAULT_SCALE, np.float32), np.full(2, CROP_SIZE / 2, np.float32)
    source = np.asarray(points, np.float64)[:, :2]
    target = np.where(weight > 0, pixels, 0.0)
    mean = lambda x: (weight * x).sum(0) / weight.sum()
    centered = source - mean(source)
    fitted = (weight * centered * (target - mean(target))).sum() / max(
        (weight * centered**2).sum(), 1e-12
    )
    scale = max(fitted, MIN_SCALE)
    return np.asarray(scale, np.float32), (mean(target) - scale * mean(source)).astype(np.float32)
