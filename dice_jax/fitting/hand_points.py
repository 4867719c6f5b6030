"""The points of a hand that the fit poses, and the names of what it changes."""

from __future__ import annotations

import jax.numpy as jnp
from flax import struct
from jaxtyping import Float

from dice_jax.array_types import Array
from dice_jax.body_models.finger_joints import joint_limits
from dice_jax.body_models.lbs import BodyModel
from dice_jax.body_models.mano import OPENPOSE_FROM_MANO
from dice_jax.fitting.partial_skinning import PartialModel, PosedPoints, at_vertices
from dice_jax.geometry.rotations import axis_angle_to_matrix, matrix_to_axis_angle
from dice_jax.structs import HandParams

# The joint whose rotation moves the offset of each keypoint; for a tip, the last joint of its
# finger.
BONES = tuple(i if i < 16 else (15, 3, 6, 12, 9)[i - 16] for i in OPENPOSE_FROM_MANO)
_NUM_TIPS = 5
_SHIFT = 0.1  # meters: unit of the unknown translation


class HandPoints(struct.PyTreeNode):
    """The parts of a hand model that the fit poses.

    Attributes:
        tips: the finger tips.
        coarse: the vertices of the coarse level, then the finger tips.
        offsets: from each keypoint of the model to that of the detector, meters, in the rest axes
            of the keypoint's bone.
        low, high: range of motion of `hand_pose`.
        mean_pose: of the hand model.
    """

    tips: PartialModel
    coarse: PartialModel
    offsets: Float[Array, "21 3"]
    low: Float[Array, "45"]
    high: Float[Array, "45"]
    mean_pose: Float[Array, "45"]

    def keypoints(self, params: HandParams) -> tuple[Float[Array, "21 3"], Float[Array, "21 3"]]:
        """Keypoints of the model, and keypoints of the detector; meters."""
        return self._keypoints(_pose(self.tips, params), params)

    def pose(
        self, params: HandParams
    ) -> tuple[Float[Array, "N 3"], Float[Array, "21 3"], Float[Array, "21 3"]]:
        """Coarse vertices, and both kinds of keypoints; meters."""
        posed = _pose(self.coarse, params)
        return posed.points[:-_NUM_TIPS] + params.transl[None], *self._keypoints(posed, params)

    def _keypoints(self, posed: PosedPoints, params: HandParams):
        native = jnp.concatenate([posed.joints, posed.points[-_NUM_TIPS:]]) + params.transl[None]
        keypoints = native[jnp.array(OPENPOSE_FROM_MANO)]
        bones = posed.rotations[jnp.array(BONES)]
        return keypoints, keypoints + (bones * self.offsets[:, None, :]).sum(-1)


def hand_points(model: BodyModel, offsets: Float[Array, "21 3"]) -> HandPoints:
    """Prepares a hand model; `offsets` as in `HandPoints`."""
    coarse = jnp.concatenate([model.hierarchy.down_ids[0], model.tip_ids])
    return HandPoints(
        tips=at_vertices(model, model.tip_ids),
        coarse=at_vertices(model, coarse),
        offsets=offsets,
        low=jnp.asarray(joint_limits()[0], jnp.float32),
        high=jnp.asarray(joint_limits()[1], jnp.float32),
        mean_pose=model.pose_mean,
    )


def _pose(points: PartialModel, params: HandParams) -> PosedPoints:
    pose = jnp.concatenate([params.global_orient, params.hand_pose]).reshape(-1, 3)
    return points.pose(params.betas, axis_angle_to_matrix(pose))


class HandUnknowns(struct.PyTreeNode):
    """What the fit changes.

    Attributes:
        turn: of the whole hand relative to the start, radians.
        pose: `hand_pose`.
        betas: of the hand.
        shift: of the whole hand relative to the start, decimeters.
    """

    turn: Float[Array, "*B 3"]
    pose: Float[Array, "*B 45"]
    betas: Float[Array, "*B 10"]
    shift: Float[Array, "*B 3"]

    @classmethod
    def at(cls, params: HandParams) -> HandUnknowns:
        """The unknowns for which `params` are the start."""
        zero = jnp.zeros_like(params.transl)
        return cls(turn=zero, pose=params.hand_pose, betas=params.betas, shift=zero)

    def params(self, start: HandParams) -> HandParams:
        """The parameters, given those of the start."""
        orient = axis_angle_to_matrix(start.global_orient) @ axis_angle_to_matrix(self.turn)
        return HandParams(
            betas=self.betas,
            global_orient=matrix_to_axis_angle(orient),
            hand_pose=self.pose,
            transl=start.transl + _SHIFT * self.shift,
        )

    def moved_away(self, distance: Float[Array, ""]) -> HandUnknowns:
        """Farther from the camera by `distance`, meters."""
        return self.replace(shift=self.shift + jnp.array([0.0, 0.0, 1.0 / _SHIFT]) * distance)
