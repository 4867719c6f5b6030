"""What moves little from one photo of a sequence to the next: residuals of the fits."""

from __future__ import annotations

import jax.numpy as jnp
from flax import struct
from jaxtyping import Float

from dice_jax.array_types import Array
from dice_jax.fitting.levenberg_marquardt import robust
from dice_jax.structs import Camera, HandParams, HeadParams

# Standard deviations of what changes between two photos. Fast motion is an outlier: it pulls less.
_SKIN, _KEYPOINT = 0.003, 0.01  # meters
_SHIFT, _LOG_SCALE = 0.01, 0.01  # of the head before the camera: meters, and of its distance
_BETAS = 0.1  # of the shapes, which do not change
_OUTLIER = 3.0  # standard deviations
_INDEPENDENT_POINTS = 30.0  # as many as all points of a face count


class HeadBefore(struct.PyTreeNode):
    """The head of the photo before.

    Attributes:
        params: of that head.
        camera: of that head, in pixels of this photo's crop.
    """

    params: HeadParams
    camera: Camera


class HandBefore(struct.PyTreeNode):
    """The hand of the photo before.

    Attributes:
        keypoints: in the frame of the person, meters.
        betas: of the hand.
    """

    keypoints: Float[Array, "*B 21 3"]
    betas: Float[Array, "*B 10"]


def head_motion(
    before: HeadBefore,
    params: HeadParams,
    camera: Camera,
    points: Float[Array, "N 3"],
    points_before: Float[Array, "N 3"],
    num_betas: int,
) -> Float[Array, "R"]:
    """Residuals of a head: its skin, its shape and its place before the camera change little.

    Args:
        before: the head of the photo before.
        params, camera: of the head in this photo.
        points, points_before: head-centered points of both, meters.
        num_betas: how many of the coefficients are fitted.
    """
    share = jnp.sqrt(jnp.minimum(1.0, _INDEPENDENT_POINTS / len(points)))
    shift = (camera.transl - before.camera.transl) / (camera.scale * _SHIFT)
    return jnp.concatenate(
        [
            share * robust((points - points_before) / _SKIN, _OUTLIER).ravel(),
            robust(shift[None], _OUTLIER)[0],
            (jnp.log(camera.scale / before.camera.scale) / _LOG_SCALE)[None],
            (params.betas - before.params.betas)[:num_betas] / _BETAS,
        ]
    )


def hand_motion(
    before: HandBefore, params: HandParams, keypoints: Float[Array, "21 3"]
) -> Float[Array, "R"]:
    """Residuals of a hand: its keypoints and its shape change little."""
    moved = robust((keypoints - before.keypoints) / _KEYPOINT, _OUTLIER)
    return jnp.concatenate([moved.ravel(), (params.betas - before.betas) / _BETAS])
