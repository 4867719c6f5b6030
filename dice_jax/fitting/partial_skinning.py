"""Skinning of a few points of a body model, without the rest of the mesh."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Float, Int

from dice_jax.array_types import Array
from dice_jax.body_models.lbs import BodyModel, forward_kinematics

_einsum = functools.partial(jnp.einsum, precision=jax.lax.Precision.HIGHEST)


class PosedPoints(NamedTuple):
    """Points of a posed body model in the model's frame.

    Attributes:
        points: meters.
        joints: meters.
        rotations: of each joint.
    """

    points: Float[Array, "N 3"]
    joints: Float[Array, "J 3"]
    rotations: Float[Array, "J 3 3"]


class PartialModel(struct.PyTreeNode):
    """Points of a body model with all they need to be posed, in meters.

    Attributes:
        v_template, shapedirs, posedirs, lbs_weights: of the points, as in `BodyModel`.
        rest_joints, joint_shapedirs: joints at rest, and how the coefficients move them.
        parents: as in `BodyModel`.
    """

    v_template: Float[Array, "N 3"]
    shapedirs: Float[Array, "N 3 S"]
    posedirs: Float[Array, "N 3 P"]
    lbs_weights: Float[Array, "N J"]
    rest_joints: Float[Array, "J 3"]
    joint_shapedirs: Float[Array, "J 3 S"]
    parents: tuple[int, ...] = struct.field(pytree_node=False)

    def pose(
        self, coefficients: Float[Array, "S"], rotations: Float[Array, "J 3 3"]
    ) -> PosedPoints:
        """Poses the points; arguments as for `lbs.lbs`."""
        rest_joints = self.rest_joints + self.joint_shapedirs @ coefficients
        correctives = (rotations[1:] - jnp.eye(3)[None]).ravel()
        points = self.v_template + self.shapedirs @ coefficients + self.posedirs @ correctives
        world, joints = forward_kinematics(self.parents, rotations, rest_joints)
        offsets = joints - (world * rest_joints[:, None, :]).sum(-1)
        blended = (self.lbs_weights @ world.reshape(-1, 9)).reshape(-1, 3, 3)
        points = (blended * points[:, None, :]).sum(-1) + self.lbs_weights @ offsets
        return PosedPoints(points, joints, world)


def at_vertices(model: BodyModel, ids: Int[Array, "N"]) -> PartialModel:
    """The vertices `ids`; posing them is exact."""
    return _partial(model, lambda values: values[ids])


def on_surface(
    model: BodyModel, faces_idx: Int[Array, "N"], barycentrics: Float[Array, "N 3"]
) -> PartialModel:
    """Points on triangles of the mesh.

    The corners' rest positions, blend shapes and skinning weights are interpolated before posing,
    and not the posed corners. On a head the difference is about 0.1 mm at most, because corners of
    one triangle have nearly the same skinning weights. In the creases of a bent hand it is up to
    2 mm.
    """
    corners = model.faces[faces_idx]
    return _partial(model, lambda values: _einsum("nk,nk...->n...", barycentrics, values[corners]))


def centroid(model: BodyModel) -> tuple[PartialModel, Float[Array, "J"]]:
    """The mean of all vertices, as a weighted sum of one point for each joint; exact.

    Returns:
        The points, and the weights that sum to 1.
    """
    weights = model.lbs_weights / len(model.lbs_weights)
    shares = weights.sum(0)
    points = _partial(model, lambda x: _einsum("vj,v...->j...", weights / shares[None], x))
    return points.replace(lbs_weights=jnp.eye(len(shares))), shares


def _partial(model: BodyModel, choose: Callable[[Array], Array]) -> PartialModel:
    """The points that `choose` makes of an array with one row for each vertex."""
    return PartialModel(
        v_template=choose(model.v_template),
        shapedirs=choose(model.shapedirs),
        posedirs=choose(model.posedirs),
        lbs_weights=choose(model.lbs_weights),
        rest_joints=_einsum("jv,vc->jc", model.J_regressor, model.v_template),
        joint_shapedirs=_einsum("jv,vcs->jcs", model.J_regressor, model.shapedirs),
        parents=model.parents,
    )
