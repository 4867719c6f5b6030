"""From a gesture, a hand and a head to a `ContactProblem`: which point is touched, and how the hand
comes to it.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation

from dice_jax.body_models import BodyModel, lbs
from dice_jax.geometry.mesh import face_areas
from dice_jax.geometry.rotations import axis_angle_to_matrix
from dice_jax.synthetic import contact, pose, proximity

# Where the palm tends to face, in the head's axes: towards the body and its middle.
_PALM = np.array([0.4, 0.0, -0.9])
_APPROACH = 0.012  # meters off the skin that the hand starts from
_FAR = 1e3


@dataclasses.dataclass(frozen=True)
class HeadSkin:
    """What stays the same for all heads of a model, NumPy."""

    ids: np.ndarray  # vertices that stand for the surface while solving
    touchable: np.ndarray  # (V,) bool: outer skin
    give: np.ndarray  # (V,) meters
    areas: np.ndarray  # (V,) of the template, square meters


def head_give(model: BodyModel) -> Float[np.ndarray, "V"]:
    """How deep the skin can be dented, meters: 10 mm where it is softest, 1 mm on bone, least over
    the eyes.
    """
    give = 0.001 + 0.010 * (1 - np.asarray(model.stiffness, np.float64)) ** 1.4
    return np.where(np.asarray(model.region("eyelids")), 0.001, give)


def head_skin(model: BodyModel) -> HeadSkin:
    """Prepares a head model for `contact_problem`."""
    touchable = ~np.asarray(model.cavity | model.region("eyes"))
    areas = np.zeros(len(touchable))
    faces = np.asarray(model.faces)
    np.add.at(areas, faces, np.asarray(face_areas(model.v_template, model.faces))[:, None] / 3)
    return HeadSkin(np.asarray(model.hierarchy.down_ids[0]), touchable, head_give(model), areas)


def contact_problem(
    gesture: pose.Gesture,
    patches: dict[str, np.ndarray],
    hand: BodyModel,
    head: BodyModel,
    skin: HeadSkin,
    betas: Float[np.ndarray, "10"],
    head_vertices: Float[np.ndarray, "5023 3"],
    gap: float,
    rng: np.random.Generator,
) -> contact.ContactProblem:
    """Draws a target, a hand pose and a first guess of where the hand is.

    Args:
        gesture: the wanted one.
        patches: of `pose.hand_patches`.
        hand, head: the models.
        skin: of `head_skin`.
        betas: the hand's.
        head_vertices: posed head, in its own axes, meters.
        gap: meters that the hand keeps away; 0 for a touch.
        rng: source of randomness.

    Returns:
        One problem (no batch dimension), NumPy arrays.
    """
    normals = proximity.outward_normals(head_vertices, head)
    toward_wrist = _jittered(np.asarray(gesture.wrist), 0.35, rng)
    target = _draw_target(gesture, head, skin, normals, toward_wrist, rng)
    hand_pose = pose.gesture_pose(gesture, rng)
    rotation, transl, anchor_normal = _approach(
        gesture,
        patches,
        hand,
        betas,
        hand_pose,
        head_vertices[target],
        normals[target],
        toward_wrist,
        gap,
        rng,
    )
    usable = skin.touchable[skin.ids]
    masks = np.zeros((1 + 4, len(hand.v_template)), np.float32)
    for row, name in zip(masks, (gesture.anchor, *gesture.also)):
        row[patches[name]] = 1
    press = -gap if gap > 0 else skin.give[target] * rng.uniform(0.15, 1.0)
    problem = contact.ContactProblem(
        head_points=np.where(usable[:, None], head_vertices[skin.ids], _FAR),
        head_normals=normals[skin.ids],
        head_give=skin.give[skin.ids],
        target=head_vertices[target],
        target_normal=normals[target],
        anchor=masks[0],
        also=masks[1:],
        press=press,
        conform=gesture.conform,
        betas=betas,
        hand_pose=hand_pose,
        global_orient=rotation,
        transl=transl,
        anchor_normal=anchor_normal,
    )
    return contact.ContactProblem(
        **{k: np.asarray(v, np.float32) for k, v in vars(problem).items()}
    )


def _draw_target(gesture, head, skin, normals, toward_wrist, rng):
    """A vertex of one of the gesture's regions, uniform by area, rather where the wrist is on the
    outer side.
    """
    region = np.asarray(head.region(gesture.regions[rng.integers(len(gesture.regions))]))
    reachable = np.clip(normals @ toward_wrist + 0.6, 0.02, 1.0)
    weights = np.where(region & skin.touchable, skin.areas * reachable, 0.0)
    return rng.choice(len(weights), p=weights / weights.sum())


def _approach(gesture, patches, hand, betas, hand_pose, target, normal, toward_wrist, gap, rng):
    """Rotation and translation that bring the anchor before the target, and the anchor's normal at
    rest.
    """
    vertices, wrist = (
        np.asarray(array, np.float64) for array in _unturned_hand(hand, betas, hand_pose)
    )
    hand_normals = proximity.outward_normals(vertices, hand)
    anchor = patches[gesture.anchor]
    anchor_normal = _unit(hand_normals[anchor].mean(0))
    center = vertices[anchor].mean(0)

    # The wrist side is lifted off the skin by an angle: the anchor's normal leans the same way.
    lift = np.deg2rad(rng.uniform(*gesture.lift))
    tangent = toward_wrist - normal * (normal @ toward_wrist)
    tangent = _unit(tangent) if np.linalg.norm(tangent) > 0.2 else np.zeros(3)
    facing = -np.cos(lift) * normal + np.sin(lift) * tangent
    rotation, _ = Rotation.align_vectors(
        np.stack([_unit(facing), toward_wrist, _unit(_PALM)]),
        np.stack([anchor_normal, _unit(wrist - center), (0.0, -1.0, 0.0)]),
        weights=(1.0, 0.5, 0.12),
    )
    rotation = rotation.as_matrix()
    goal = target + (gap + _APPROACH) * normal
    # MANO turns about the wrist: R (x - wrist) + wrist + transl.
    transl = goal - (rotation @ (center - wrist) + wrist)
    return rotation, transl, anchor_normal


@jax.jit
def _unturned_hand(hand, betas, hand_pose):
    """Vertices and wrist joint of a hand in its own axes."""
    rotations = axis_angle_to_matrix(jnp.concatenate([jnp.zeros(3), hand_pose]).reshape(16, 3))
    vertices, joints = lbs(hand, betas, rotations)
    return vertices, joints[0]


def _jittered(direction, sigma, rng):
    return _unit(_unit(direction) + sigma * rng.standard_normal(3) * (1.0, 0.6, 1.0))


def _unit(vector):
    return vector / np.linalg.norm(vector)
