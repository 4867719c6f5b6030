"""The hand: MANO's parameters, and 21 keypoints in OpenPose order."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Float

from dice_jax.array_types import Array
from dice_jax.body_models.lbs import BodyModel, lbs
from dice_jax.geometry.rotations import axis_angle_to_matrix
from dice_jax.structs import HandParams, PosedMesh

# MANO's 16 joints are the wrist and three joints each of index, middle, LITTLE, RING and thumb,
# from the palm outwards. The tips of thumb, index, middle, ring and little are appended as 16 to
# 20. These indices into the 21 points give OpenPose's order.
OPENPOSE_FROM_MANO = (0, 13, 14, 15, 16, 1, 2, 3, 17, 4, 5, 6, 18, 10, 11, 12, 19, 7, 8, 9, 20)


def pose_hand(model: BodyModel, params: HandParams) -> PosedMesh:
    """Poses the hand like smplx's MANO with `flat_hand_mean=True, use_pca=False`.

    Args:
        model: a hand model.
        params: betas, `global_orient` about the wrist joint, `hand_pose` as 15 axis-angle rotations
            in MANO's joint order (all zero: the flat hand), and `transl`, added last.

    Returns:
        778 vertices, 16 joints in MANO's order and 21 keypoints in OpenPose's, meters. The
        keypoints are the joints of the kinematic chain and five vertices at the finger tips.
    """
    pose = jnp.concatenate([params.global_orient, params.hand_pose], -1)
    rotations = axis_angle_to_matrix(pose.reshape(*pose.shape[:-1], -1, 3))
    vertices, joints = lbs(model, params.betas, rotations)
    transl = params.transl[..., None, :]
    vertices, joints = vertices + transl, joints + transl
    keypoints = _openpose_order(model, joints, vertices)
    return PosedMesh(vertices=vertices, joints=joints, keypoints=keypoints)


def hand_keypoints(model: BodyModel, vertices: Float[Array, "*B 778 3"]) -> Float[Array, "*B 21 3"]:
    """Keypoints regressed from a hand mesh without parameters (the rough mesh of paper sec. 3.1).

    Args:
        model: a hand model.
        vertices: any mesh in the hand's topology, meters.

    Returns:
        21 keypoints in OpenPose's order, meters. The regressor was fitted at rest: on a posed hand
        its joints are about a millimeter from those of the kinematic chain.
    """
    joints = jnp.einsum(
        "jv,...vc->...jc", model.J_regressor, vertices, precision=jax.lax.Precision.HIGHEST
    )
    return _openpose_order(model, joints, vertices)


def _openpose_order(model, joints, vertices):
    native = jnp.concatenate([joints, vertices[..., model.tip_ids, :]], -2)
    return native[..., jnp.array(OPENPOSE_FROM_MANO), :]
