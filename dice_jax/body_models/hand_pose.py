"""The conventions in which hand poses are written down, and ours: absolute axis-angle, zero is the
flat hand.
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
        model: the hand whose `pose_mean` and `pose_components` are meant (MANO's `hands_mean`,
            `hands_components`).
        hand_pose: 45 axis-angle numbers, or with `use_pca` the first 1 to 45 coefficients.
        flat_hand_mean: True: zero is the flat hand. False: zero is the mean hand, so the mean is
            added.
        use_pca: whether `hand_pose` are coefficients.

    Raises:
        ValueError: no pose of that size.
    """
    size = hand_pose.shape[-1]
    if not (1 <= size <= 45 if use_pca else size == 45):
        raise ValueError(
            f"hand_pose has {size} numbers; it needs {'1 to 45 coefficients' if use_pca else '45'}"
        )
    pose = hand_pose @ model.pose_components[:size] if use_pca else jnp.asarray(hand_pose)
    return pose if flat_hand_mean else pose + model.pose_mean


def pca_pose(
    model: BodyModel,
    hand_pose: Float[Array, "*B 45"],
    num_components: int = 45,
    *,
    flat_hand_mean: bool,
) -> Float[Array, "*B P"]:
    """The other way round: the coefficients whose pose is closest to an absolute one; with all 45
    components, exactly it.

    Args:
        model: the hand that the components belong to.
        hand_pose: absolute axis-angle.
        num_components: how many coefficients.
        flat_hand_mean: as in `absolute_pose`.
    """
    offset = hand_pose if flat_hand_mean else hand_pose - model.pose_mean
    # The pseudo-inverse: the rows need not be orthonormal, and a direction that no pose takes may
    # be zero.
    return offset @ jnp.linalg.pinv(model.pose_components[:num_components])
