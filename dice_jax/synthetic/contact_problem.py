"""Samples a contact problem: target point on the head, hand pose, initial placement of the hand."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Bool, Float, Int
from scipy.spatial.transform import Rotation

from dice_jax.array_types import Array
from dice_jax.body_models import BodyModel, lbs
from dice_jax.constants import NUM_HAND_VERTICES
from dice_jax.geometry.mesh import face_areas
from dice_jax.geometry.rotations import axis_angle_to_matrix
from dice_jax.synthetic import penetration
from dice_jax.synthetic.gestures import Gesture
from dice_jax.synthetic.pose import sample_pose

SHOULDER = np.array([-0.19, -0.22, -0.06])  # of the right arm, meters
NUM_SECONDARY = 4  # rows of `ContactProblem.secondary_masks`
_PALM_DIRECTION = np.array([0.4, 0.0, -0.9])  # preferred, head axes: backwards and to the middle
_INITIAL_GAP = 0.012  # meters between the anchor and the skin where the solver starts
_FAR_AWAY = 1e3  # meters; coordinates of head points that are not part of the surface


class ContactProblem(struct.PyTreeNode):
    """Input of the contact solver, in the head's axes, meters and radians.

    Attributes:
        head_points, head_normals: samples of the skin; unused ones are far away.
        max_indentation: how far the skin at each of these points can be indented.
        target, target_normal: the point of the skin to be touched.
        anchor_mask: 1 for the hand vertices that should touch the target, else 0.
        secondary_masks: the same for further patches that are drawn to the skin; rows of zeros are
            unused.
        indentation: how deep the deepest anchor vertex lies below the skin; negative: a gap.
        conformity: see `Gesture`.
        betas, hand_pose, global_orient, transl: of the initial hand; `global_orient` is a matrix.
        anchor_normal: mean normal of the anchor in the hand's own axes.
        shoulder: where the arm begins.
        own_arm: 1 for an arm of the same person, whose elbow has its range; 0 for another's.
    """

    head_points: Float[Array, "*B P 3"]
    head_normals: Float[Array, "*B P 3"]
    max_indentation: Float[Array, "*B P"]
    target: Float[Array, "*B 3"]
    target_normal: Float[Array, "*B 3"]
    anchor_mask: Float[Array, "*B 778"]
    secondary_masks: Float[Array, "*B 4 778"]
    indentation: Float[Array, "*B"]
    conformity: Float[Array, "*B"]
    betas: Float[Array, "*B 10"]
    hand_pose: Float[Array, "*B 45"]
    global_orient: Float[Array, "*B 3 3"]
    transl: Float[Array, "*B 3"]
    anchor_normal: Float[Array, "*B 3"]
    shoulder: Float[Array, "*B 3"]
    own_arm: Float[Array, "*B"]


@dataclasses.dataclass(frozen=True)
class HeadSkin:
    """Properties of a head model that do not depend on shape and pose.

    Attributes:
        sample_ids: vertices that represent the surface in the contact solver.
        touchable: outer skin, without eyes and cavities.
        max_indentation: meters.
        areas: of the template around each vertex, square meters.
    """

    sample_ids: Int[np.ndarray, "P"]
    touchable: Bool[np.ndarray, "V"]
    max_indentation: Float[np.ndarray, "V"]
    areas: Float[np.ndarray, "V"]


def head_skin(model: BodyModel) -> HeadSkin:
    """The skin properties of a head model."""
    touchable = ~np.asarray(model.cavity | model.region("eyes"))
    areas = np.zeros(len(touchable))
    faces = np.asarray(model.faces)
    np.add.at(areas, faces, np.asarray(face_areas(model.v_template, model.faces))[:, None] / 3)
    sample_ids = np.asarray(model.hierarchy.down_ids[0])
    return HeadSkin(sample_ids, touchable, max_indentation(model), areas)


def max_indentation(model: BodyModel) -> Float[np.ndarray, "V"]:
    """How far the skin can be indented, meters.

    11 mm where the skin is softest, 1 mm on bone and on the eyelids.
    """
    depth = 0.001 + 0.010 * (1 - np.asarray(model.stiffness, np.float64)) ** 1.4
    return np.where(np.asarray(model.region("eyelids")), 0.001, depth)


def sample_contact_problem(
    gesture: Gesture,
    patches: dict[str, np.ndarray],
    hand: BodyModel,
    head: BodyModel,
    skin: HeadSkin,
    betas: Float[np.ndarray, "10"],
    head_vertices: Float[np.ndarray, "5023 3"],
    gap: float,
    rng: np.random.Generator,
) -> ContactProblem:
    """Draws a target, a hand pose and an initial placement of the hand.

    Args:
        gesture: what the hand does.
        patches: of `pose.hand_patches`.
        hand: the hand model.
        head: the head model.
        skin: of `head_skin`.
        betas: the hand's.
        head_vertices: posed head, in its own axes, meters.
        gap: distance between hand and skin, meters; 0 for a contact.
        rng: source of randomness.

    Returns:
        One problem without batch dimensions, float32 NumPy arrays.
    """
    normals = penetration.outward_normals(head_vertices, head)
    to_wrist = _jittered(np.asarray(gesture.wrist_direction), 0.35, rng)
    target_id = _sample_target(gesture, head, skin, normals, to_wrist, rng)
    target, target_normal = head_vertices[target_id], normals[target_id]
    hand_pose = sample_pose(gesture, rng)
    vertices, wrist = (
        np.asarray(array, np.float64) for array in _hand_in_own_axes(hand, betas, hand_pose)
    )
    anchor = patches[gesture.anchor]
    anchor_normal = _unit(penetration.outward_normals(vertices, hand)[anchor].mean(0))
    rotation, transl = _initial_placement(
        anchor_center=vertices[anchor].mean(0),
        anchor_normal=anchor_normal,
        wrist=wrist,
        goal=target + (gap + _INITIAL_GAP) * target_normal,
        normal=target_normal,
        to_wrist=to_wrist,
        lift=np.deg2rad(rng.uniform(*gesture.lift_range)),
    )
    masks = np.zeros((1 + NUM_SECONDARY, NUM_HAND_VERTICES), np.float32)
    for row, name in zip(masks, (gesture.anchor, *gesture.secondary)):
        row[patches[name]] = 1
    pressure = rng.uniform(*gesture.pressure)
    indentation = -gap if gap > 0 else skin.max_indentation[target_id] * pressure
    ids = skin.sample_ids
    arrays = dict(
        head_points=np.where(skin.touchable[ids][:, None], head_vertices[ids], _FAR_AWAY),
        head_normals=normals[ids],
        max_indentation=skin.max_indentation[ids],
        target=target,
        target_normal=target_normal,
        anchor_mask=masks[0],
        secondary_masks=masks[1:],
        indentation=indentation,
        conformity=gesture.conformity,
        betas=betas,
        hand_pose=hand_pose,
        global_orient=rotation,
        transl=transl,
        anchor_normal=anchor_normal,
        shoulder=SHOULDER,
        own_arm=1.0,
    )
    return ContactProblem(**{name: np.asarray(a, np.float32) for name, a in arrays.items()})


def _sample_target(gesture, head, skin, normals, to_wrist, rng):
    """A vertex of one of the gesture's regions.

    Uniform by area, weighted towards skin that faces the wrist.
    """
    region = np.asarray(head.region(gesture.regions[rng.integers(len(gesture.regions))]))
    reachability = np.clip(normals @ to_wrist + 0.6, 0.02, 1.0)
    weights = np.where(region & skin.touchable, skin.areas * reachability, 0.0)
    return rng.choice(len(weights), p=weights / weights.sum())


def _initial_placement(anchor_center, anchor_normal, wrist, goal, normal, to_wrist, lift):
    """Rotation matrix and translation that bring the anchor to the goal, facing the skin.

    The wrist side of the hand is raised off the skin by the angle `lift`, so the anchor's normal is
    tilted by the same angle.
    """
    tangent = to_wrist - normal * (normal @ to_wrist)
    tangent = _unit(tangent) if np.linalg.norm(tangent) > 0.2 else np.zeros(3)
    facing = -np.cos(lift) * normal + np.sin(lift) * tangent
    rotation = Rotation.align_vectors(
        np.stack([_unit(facing), to_wrist, _unit(_PALM_DIRECTION)]),
        np.stack([anchor_normal, _unit(wrist - anchor_center), (0.0, -1.0, 0.0)]),
        weights=(1.0, 0.5, 0.12),
    )[0].as_matrix()
    # MANO rotates about the wrist: R (x - wrist) + wrist + transl.
    return rotation, goal - (rotation @ (anchor_center - wrist) + wrist)


@jax.jit
def _hand_in_own_axes(hand, betas, hand_pose):
    """Vertices and wrist joint of a hand without global rotation and translation."""
    rotations = axis_angle_to_matrix(jnp.concatenate([jnp.zeros(3), hand_pose]).reshape(16, 3))
    vertices, joints = lbs(hand, betas, rotations)
    return vertices, joints[0]


def _jittered(direction, sigma, rng):
    return _unit(_unit(direction) + sigma * rng.standard_normal(3) * (1.0, 0.6, 1.0))


def _unit(vector):
    return vector / np.linalg.norm(vector)
