"""Contact solver: gradient descent on the pose of hand and forearm until hand and head touch.

Everything is in the head's own axes (FLAME's: x to the person's left, y up, z forward). The head is
a set of surface points with normals. The depth of a hand vertex is measured along the normal of the
nearest of these points, and the nearest points are looked up only every few steps. That is accurate
enough to find a pose; `deform` measures the result on the full meshes.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Float

from dice_jax.array_types import Array
from dice_jax.body_models import BodyModel, lbs
from dice_jax.body_models.finger_joints import joint_limits
from dice_jax.geometry.rotations import axis_angle_to_matrix
from dice_jax.synthetic.contact_problem import ContactProblem
from dice_jax.synthetic.pose import pose_deviation

UPPER_ARM, FOREARM = 0.30, 0.25  # lengths, meters
FOREARM_RADIUS = 0.045

_LOOKUPS, _STEPS_PER_LOOKUP = 24, 5
_LEARNING_RATE = 0.04
_CLEARANCE = 0.015  # meters between the skin and any part of a hand that does not touch
_TRANSL_SCALE, _ELBOW_SCALE = 0.03, 0.05  # meters that correspond to one radian in the optimizer


class ContactSolution(struct.PyTreeNode):
    """A hand and its forearm.

    Attributes:
        hand_pose: 15 joint rotations, axis-angle.
        global_orient: rotation matrix about the wrist joint.
        transl: meters.
        elbow: meters.
        wrist_bend: unit direction from wrist to elbow in the hand's axes; (1, 0, 0) is a straight
            wrist.
        energy: the minimized objective.
    """

    hand_pose: Float[Array, "*B 45"]
    global_orient: Float[Array, "*B 3 3"]
    transl: Float[Array, "*B 3"]
    elbow: Float[Array, "*B 3"]
    wrist_bend: Float[Array, "*B 3"]
    energy: Float[Array, "*B"]


class _Variables(struct.PyTreeNode):
    hand_pose: Float[Array, "45"]
    rotation: Float[Array, "3"]  # axis-angle, about the target
    shift: Float[Array, "3"]  # in units of _TRANSL_SCALE
    elbow: Float[Array, "3"]  # from the wrist, in units of _ELBOW_SCALE


class _Arm(struct.PyTreeNode):
    """The hand and forearm that the variables stand for, in the head's axes."""

    vertices: Float[Array, "778 3"]
    wrist: Float[Array, "3"]
    elbow: Float[Array, "3"]
    rotation: Float[Array, "3 3"]  # of the hand's own axes
    origin: Float[Array, "3"]  # of the hand's own axes

    def samples(self):
        """Hand vertices, then points on the axis of the forearm."""
        fractions = jnp.array([0.3, 0.5, 0.7, 0.85, 1.0])[:, None]
        forearm = self.wrist[None] + fractions * (self.elbow - self.wrist)[None]
        return jnp.concatenate([self.vertices, forearm])


@functools.partial(jax.jit, static_argnames="batch_size")
def solve_contacts(
    model: BodyModel, problems: ContactProblem, batch_size: int | None = None
) -> ContactSolution:
    """Solves a batch of problems, independently of each other.

    Args:
        model: the hand.
        problems: with one leading dimension.
        batch_size: number of problems solved in parallel, which is faster on a GPU. None: one after
            the other, so that the solution of a problem does not depend on its batch.
    """
    return jax.lax.map(lambda problem: _solve(model, problem), problems, batch_size=batch_size)


def _solve(model: BodyModel, problem: ContactProblem) -> ContactSolution:
    forearm = problem.global_orient @ jnp.array([FOREARM / _ELBOW_SCALE, 0.0, 0.0])
    zero = jnp.zeros(3)
    variables = _Variables(hand_pose=problem.hand_pose, rotation=zero, shift=zero, elbow=forearm)
    moments = jax.tree.map(jnp.zeros_like, (variables, variables))
    value_and_grad = jax.value_and_grad(_energy)
    total = _LOOKUPS * _STEPS_PER_LOOKUP

    def lookup(carry, round_index):
        nearest = _nearest(_posed(model, problem, carry[0]).samples(), problem.head_points)

        def adam_step(carry, index):
            variables, (mean, square) = carry
            energy, gradient = value_and_grad(variables, model, problem, nearest)
            count = round_index * _STEPS_PER_LOOKUP + index
            rate = _LEARNING_RATE * (0.05 + 0.475 * (1 + jnp.cos(jnp.pi * count / total)))
            mean = jax.tree.map(lambda m, g: 0.85 * m + 0.15 * g, mean, gradient)
            square = jax.tree.map(lambda s, g: 0.98 * s + 0.02 * g * g, square, gradient)
            unbias = jnp.sqrt(1 - 0.98 ** (count + 1.0)) / (1 - 0.85 ** (count + 1.0))
            update = lambda x, m, s: x - rate * unbias * m / (jnp.sqrt(s) + 1e-8)
            variables = jax.tree.map(update, variables, mean, square)
            return (variables, (mean, square)), energy

        return jax.lax.scan(adam_step, carry, jnp.arange(_STEPS_PER_LOOKUP))

    (variables, _), energies = jax.lax.scan(lookup, (variables, moments), jnp.arange(_LOOKUPS))
    arm = _posed(model, problem, variables)
    bend = arm.rotation.T @ (arm.elbow - arm.wrist)
    rest_wrist = _rest_wrist(model, problem.betas)
    return ContactSolution(
        hand_pose=variables.hand_pose,
        global_orient=arm.rotation,
        transl=arm.origin + arm.rotation @ rest_wrist - rest_wrist,
        elbow=arm.elbow,
        wrist_bend=bend / jnp.linalg.norm(bend),
        energy=energies[-1, -1],
    )


def _posed(model: BodyModel, problem: ContactProblem, variables: _Variables) -> _Arm:
    fingers = axis_angle_to_matrix(variables.hand_pose.reshape(15, 3))
    rotations = jnp.concatenate([jnp.eye(3)[None], fingers])
    vertices, joints = lbs(model, problem.betas, rotations)
    # The initial `transl` is MANO's, for a rotation about the wrist. The variables then rotate the
    # hand about the target.
    rest_wrist = _rest_wrist(model, problem.betas)
    initial = problem.transl + rest_wrist - problem.global_orient @ rest_wrist
    about_target = axis_angle_to_matrix(variables.rotation)
    rotation = about_target @ problem.global_orient
    origin = about_target @ (initial - problem.target) + problem.target
    origin = origin + _TRANSL_SCALE * variables.shift
    to_head = lambda points: points @ rotation.T + origin[None]
    vertices, wrist = to_head(vertices), to_head(joints)[0]
    return _Arm(vertices, wrist, wrist + _ELBOW_SCALE * variables.elbow, rotation, origin)


def _energy(variables, model, problem, nearest):
    """Sum of squared residuals, each divided by its largest acceptable value."""
    arm = _posed(model, problem, variables)
    offsets = problem.head_points[nearest] - arm.samples()
    depths = (offsets * problem.head_normals[nearest]).sum(-1)
    depth, arm_depth = depths[: len(arm.vertices)], depths[len(arm.vertices) :]
    max_indentation = problem.max_indentation[nearest[: len(arm.vertices)]]
    touching = problem.indentation > 0

    # The anchor reaches the target and goes in to the given depth.
    weights = _soft_maximum_weights(depth, problem.anchor_mask)
    deepest = weights @ depth
    offset = weights @ arm.vertices - problem.target
    offset -= problem.target_normal * (offset @ problem.target_normal)
    reach = ((deepest - problem.indentation) / 0.001) ** 2 + (offset**2).sum() / 0.008**2
    facing = (arm.rotation @ problem.anchor_normal) @ problem.target_normal
    reach += 4 * jnp.maximum(facing + 0.2, 0.0) ** 2

    # Anchors with conformity lie flat on the skin. Secondary patches are drawn to it with a bounded
    # cost, so one that is too far away is given up.
    hollow = jnp.maximum(-depth, 0.0)
    contact = problem.conformity * (hollow**2 @ problem.anchor_mask)
    contact = contact / problem.anchor_mask.sum() / 0.005**2
    patch_depths = jax.vmap(lambda mask: _soft_maximum_weights(depth, mask) @ depth)(
        problem.secondary_masks
    )
    short = (patch_depths - 0.4 * problem.indentation) ** 2 / 0.003**2
    contact += (problem.secondary_masks.any(-1) * 8.0 * short / (16.0 + short)).sum()

    # No vertex is deeper than the skin can be indented; a hand that should not touch keeps away.
    limit = jnp.where(
        touching,
        jnp.minimum(max_indentation, problem.indentation + 0.001),
        jnp.maximum(0.8 * problem.indentation, -_CLEARANCE),
    )
    too_deep = (jnp.maximum(depth - limit, 0.0) ** 2).sum() / 0.0015**2

    return (
        reach
        + jnp.where(touching, contact, 0.0)
        + too_deep
        + _pose_energy(variables, problem.hand_pose)
        + _arm_energy(arm, arm_depth, problem)
    )


def _pose_energy(variables, hand_pose):
    """Penalty of fingers far from the gesture or outside their range of motion."""
    low, high = (jnp.asarray(bound, jnp.float32) for bound in joint_limits())
    change = (variables.hand_pose - hand_pose) / pose_deviation()
    below, above = low - variables.hand_pose, variables.hand_pose - high
    outside = jnp.maximum(below, 0.0) + jnp.maximum(above, 0.0)
    return (
        0.5 * (change**2).sum()
        + (outside**2).sum() / 0.03**2
        + (variables.rotation**2).sum() / 0.6**2
    )


def _arm_energy(arm, arm_depth, problem):
    """Penalty of implausible arms.

    Wrong lengths, a wrist bent too far, a forearm inside the head, or an elbow out of its range.
    """
    forearm = arm.elbow - arm.wrist
    length = jnp.linalg.norm(forearm)
    reach = jnp.linalg.norm(arm.elbow - problem.shoulder)
    lengths = ((length - FOREARM) / 0.01) ** 2 + ((reach - UPPER_ARM) / 0.04) ** 2
    along, flexion, deviation = arm.rotation.T @ forearm / length
    excess = jnp.maximum(jnp.abs(flexion) - 0.75, 0.0) + jnp.maximum(jnp.abs(deviation) - 0.35, 0.0)
    excess += jnp.maximum(0.6 - along, 0.0)
    inside = jnp.maximum(arm_depth + FOREARM_RADIUS, 0.0) / 0.01
    # The elbow is rarely above the shoulder, and hardly ever behind it or across the body.
    x, y, z = arm.elbow
    shoulder = problem.shoulder
    out_of_range = jnp.stack([y - shoulder[1] - 0.05, shoulder[2] - 0.02 - z, x - 0.05])
    out_of_range = problem.own_arm * jnp.maximum(out_of_range, 0.0) / 0.06
    return lengths + (excess / 0.1) ** 2 + (inside**2).sum() + (out_of_range**2).sum()


def _soft_maximum_weights(depth, mask, temperature=0.0015):
    """Weights that sum to 1 on the deepest points of a patch (all zero for an empty patch)."""
    scores = jnp.where(mask > 0, depth / temperature, -jnp.inf)
    top = jnp.where(mask.any(), jax.lax.stop_gradient(scores.max()), 0.0)
    weights = jnp.exp(jnp.where(mask > 0, scores - top, -1e3)) * mask
    return weights / jnp.maximum(weights.sum(), 1e-9)


def _rest_wrist(model, betas):
    return model.J_regressor[0] @ (model.v_template + model.shapedirs @ betas)


def _nearest(queries, points):
    """Index of the nearest point for every query: the maximum of `2 q.p - |p|^2`."""
    products = jnp.dot(queries, points.T, precision=jax.lax.Precision.HIGHEST)
    return jnp.argmax(2 * products - (points**2).sum(-1)[None], axis=-1)
