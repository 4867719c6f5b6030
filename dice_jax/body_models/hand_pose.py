"""Conversion between conventions of hand poses.

`HandParams.hand_pose` is absolute axis-angle: zero is the flat hand. smplx also has poses relative
to the mean hand, and PCA coefficients.
"""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Float

from dice_jax.array_types import Array
from dice_jax.body_models.lbs import BodyModel


def absolute_pose(
    model: BodyModel,
    hand_pose: Float[Array, "*B P"],
    *,
    flat_hand_mean: bool,
    use_pca: bool = False,
) -> Float[Array, "*B 45"]:
    """From smplx's conventions to `HandParams.hand_pose`.

    Args:
        model: the hand with `pose_mean` and `pose_components` (MANO's `hands_mean` and
            `hands_components`).
        hand_pose: 45 axis-angle numbers, or with `use_pca` the first 1 to 45 coefficients.
        flat_hand_mean: True: zero is the flat hand. False: zero is the mean hand, so the mean is
            added.
        use_pca: whether `hand_pose` holds PCA coefficients.

    Returns:
        15 axis-angle rotations, radians; zero is the flat hand.

    Raises:
        ValueError: `hand_pose` has the wrong size.
    """
    size = hand_pose.shape[-1]
    if not (1 <= size <= 45 if use_pca else size == 45):
        raise ValueError(
            f"hand_pose has {size} numbers; it needs {'1 to 45 coefficients' if use_pca else '45'}"
        )
    pose = hand_pose @ model.pose_components[:size] if use_pca else jnp.asarray(hand_pose)
    return pose if flat_hand_mean else pose + jnp.broadcast_to(model.pose_mean, pose.shape)


def pca_pose(
    model: BodyModel,
    hand_pose: Float[Array, "*B 45"],
    num_components: int = 45,
    *,
    flat_hand_mean: bool,
) -> Float[Array, "*B P"]:
    """The inverse of `absolute_pose` with `use_pca`.

    Args:
        model: the hand with `pose_mean` and `pose_components`.
        hand_pose: absolute axis-angle, radians.
        num_components: how many coefficients.
        flat_hand_mean: as in `absolute_pose`.

    Returns:
        The coefficients of the closest pose; with all 45 components that pose is exact.
    """
    mean = jnp.broadcast_to(model.pose_mean, hand_pose.shape)
    offset = jnp.asarray(hand_pose) if flat_hand_mean else hand_pose - mean
    # A pseudo-inverse, because components need not be orthonormal and may be zero.
    return offset @ jnp.linalg.pinv(model.pose_components[:num_components])
