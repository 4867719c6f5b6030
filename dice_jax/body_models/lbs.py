"""Linear blend skinning: blend shapes, joint regression, kinematic chain, skinning.

One function serves the hand (MANO, 16 joints) and the head (FLAME, 5 joints). `mano.py` and
`flame.py` turn their parameters into blend coefficients and rotations.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Bool, Float, Int

from dice_jax.array_types import Array
from dice_jax.body_models.hierarchy import Hierarchy

# The reduced-precision matrix products that accelerators use by default would move vertices by
# tenths of a millimeter.
_einsum = functools.partial(jnp.einsum, precision=jax.lax.Precision.HIGHEST)


class BodyModel(struct.PyTreeNode):
    """The arrays of a skinned body model, named as in smplx, in meters.

    Attributes:
        v_template: rest vertices.
        shapedirs: shape blend shapes; for the head, 100 `betas` and then 50 `expression`
            components.
        posedirs: pose correctives, multiplied by `R - I` of the non-root joints, row-major.
        J_regressor: rest joints from shaped vertices; rows sum to 1.
        lbs_weights: skinning weights; rows sum to 1.
        faces: the surface, with a hole at the wrist or the neck; counter-clockwise seen from
            outside.
        closed_faces: `faces`, then the triangles that close the hole, over the same vertices; for
            signed distances.
        colors: albedo in [0, 1], linear RGB.
        cavity: inner mouth and eye sockets, which are excluded from contact, collision and signed
            distances (hand: all False).
        stiffness: 0 for the softest skin (cheeks, lips), 1 for skin on bone (forehead, skull)
            (hand: all 1).
        regions: named parts of the head, one row for each of `region_names` (hand: none).
        tip_ids: finger tips in the order thumb, index, middle, ring, little (head: empty).
        lmk_faces_idx, lmk_bary_coords: the 68 iBUG landmarks as points on `faces` (hand: empty).
        pose_mean, pose_components, pose_std: a Gaussian prior of `hand_pose`, `mean + (std * z) @
            components` (head: empty).
        hierarchy: the coarser meshes.
        parents: the parent of each joint, before its children; -1 for the root.
        region_names: names of the rows of `regions`.
        num_betas: number of identity components in `shapedirs`.
        kind: "hand" or "head".
        provenance, license: source of the arrays and its terms.
    """

    v_template: Float[Array, "V 3"]
    shapedirs: Float[Array, "V 3 S"]
    posedirs: Float[Array, "V 3 P"]
    J_regressor: Float[Array, "J V"]
    lbs_weights: Float[Array, "V J"]
    faces: Int[Array, "F 3"]
    closed_faces: Int[Array, "G 3"]
    colors: Float[Array, "V 3"]
    cavity: Bool[Array, "V"]
    stiffness: Float[Array, "V"]
    regions: Bool[Array, "R V"]
    tip_ids: Int[Array, "T"]
    lmk_faces_idx: Int[Array, "L"]
    lmk_bary_coords: Float[Array, "L 3"]
    pose_mean: Float[Array, "D"]
    pose_components: Float[Array, "D D"]
    pose_std: Float[Array, "D"]
    hierarchy: Hierarchy
    parents: tuple[int, ...] = struct.field(pytree_node=False)
    region_names: tuple[str, ...] = struct.field(pytree_node=False)
    num_betas: int = struct.field(pytree_node=False)
    kind: str = struct.field(pytree_node=False)
    provenance: str = struct.field(pytree_node=False)
    license: str = struct.field(pytree_node=False)

    def region(self, name: str) -> Bool[Array, "V"]:
        """Mask of the vertices of one region.

        Raises:
            KeyError: no such region; the message lists the names.
        """
        if name not in self.region_names:
            raise KeyError(
                f"no region {name!r}; this model has {', '.join(self.region_names) or 'none'}"
            )
        return self.regions[self.region_names.index(name)]


def lbs(
    model: BodyModel, coefficients: Float[Array, "*B S"], rotations: Float[Array, "*B J 3 3"]
) -> tuple[Float[Array, "*B V 3"], Float[Array, "*B J 3"]]:
    """Shapes and poses a body model (SMPL eqs. 2-10; MANO and FLAME share them).

    Args:
        model: the body model.
        coefficients: weights of all `shapedirs`.
        rotations: of each joint relative to its parent; that of the root rotates the body about the
            root joint.

    Returns:
        Vertices and joints, meters, in the model's frame. Zero coefficients and identity rotations
        give `v_template`.
    """
    shape_offsets = _einsum("vcs,...s->...vc", model.shapedirs, coefficients)
    v_shaped = jnp.broadcast_to(model.v_template, shape_offsets.shape) + shape_offsets
    rest_joints = _einsum("jv,...vc->...jc", model.J_regressor, v_shaped)
    non_root = rotations[..., 1:, :, :]
    correctives = non_root - jnp.broadcast_to(jnp.eye(3, dtype=rotations.dtype), non_root.shape)
    correctives = correctives.reshape(*rotations.shape[:-3], -1)
    v_posed = v_shaped + _einsum("vcp,...p->...vc", model.posedirs, correctives)

    world_rotations, joints = forward_kinematics(model.parents, rotations, rest_joints)
    # Joint j moves a vertex to R_j (v - rest_j) + joint_j = R_j v + offset_j.
    offsets = joints - _einsum("...jab,...jb->...ja", world_rotations, rest_joints)
    blended = _einsum("vj,...jab->...vab", model.lbs_weights, world_rotations)
    # XLA fuses a product and a sum into one pass over the vertices, but not a batched 3x3 product.
    rotated = (blended * v_posed[..., None, :]).sum(-1)
    return rotated + _einsum("vj,...ja->...va", model.lbs_weights, offsets), joints


def forward_kinematics(
    parents: tuple[int, ...],
    rotations: Float[Array, "*B J 3 3"],
    rest_joints: Float[Array, "*B J 3"],
) -> tuple[Float[Array, "*B J 3 3"], Float[Array, "*B J 3"]]:
    """Chains rotations relative to the parents into rotations relative to the model's frame.

    Args:
        parents: the parent of each joint, before its children; -1 for the root.
        rotations: relative to the parent.
        rest_joints: joints of the shaped, unposed body, meters.

    Returns:
        Rotation of each joint in the model's frame, and posed joints, meters. The root joint does
        not move.
    """
    world_rotations, joints = [rotations[..., 0, :, :]], [rest_joints[..., 0, :]]
    for joint, parent in enumerate(parents[1:], start=1):
        bone = rest_joints[..., joint, :] - rest_joints[..., parent, :]
        joints.append(joints[parent] + _einsum("...ab,...b->...a", world_rotations[parent], bone))
        world_rotations.append(
            _einsum("...ab,...bc->...ac", world_rotations[parent], rotations[..., joint, :, :])
        )
    return jnp.stack(world_rotations, -3), jnp.stack(joints, -2)
