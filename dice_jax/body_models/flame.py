"""The head: FLAME's parameters, and 68 landmarks in iBUG order."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Float

from dice_jax.array_types import Array
from dice_jax.body_models.lbs import BodyModel, lbs
from dice_jax.geometry.rotations import axis_angle_to_matrix
from dice_jax.structs import HeadParams, PosedMesh


def pose_head(model: BodyModel, params: HeadParams) -> PosedMesh:
    """Poses the undeformed head like smplx's FLAME with `create_transl` and both eyes at rest.

    Args:
        model: a head model.
        params: betas, expression, `global_orient` about the root joint, `neck_pose`, `jaw_pose`,
            and `transl`, added last.

    Returns:
        5023 vertices, 5 joints (root, neck, jaw, left eye, right eye) and 68 landmarks; meters.
    """
    eyes = jnp.zeros_like(params.jaw_pose)
    pose = jnp.stack([params.global_orient, params.neck_pose, params.jaw_pose, eyes, eyes], -2)
    coefficients = jnp.concatenate([params.betas, params.expression], -1)
    vertices, joints = lbs(model, coefficients, axis_angle_to_matrix(pose))
    transl = params.transl[..., None, :]
    vertices, joints = vertices + transl, joints + transl
    return PosedMesh(vertices=vertices, joints=joints, keypoints=head_landmarks(model, vertices))


def head_landmarks(
    model: BodyModel, vertices: Float[Array, "*B 5023 3"]
) -> Float[Array, "*B 68 3"]:
    """The 68 iBUG landmarks of any mesh in the head's topology: fixed points on its triangles.

    Args:
        model: a head model.
        vertices: meters.

    Returns:
        Landmarks, meters.
    """
    corners = vertices[..., model.faces[model.lmk_faces_idx], :]
    weights = jnp.broadcast_to(model.lmk_bary_coords, corners.shape[:-1])
    return (corners * weights[..., None]).sum(-2)


def head_center(vertices: Float[Array, "*B 5023 3"]) -> Float[Array, "*B 3"]:
    """The origin of the head-centered frame: the mean of the UNDEFORMED head's vertices."""
    return vertices.mean(-2)
