"""Brings a hand into contact with a head: gradient descent on the pose of hand and forearm.

Everything here is in the head's own axes (FLAME's: x to the person's left, y up, z forward), before
the camera. The head is a cloud of surface points with normals; the depth of a hand vertex is
measured along the normal of the nearest of them, and which one that is is looked up only every few
steps. That is exact enough to find a pose; `deform` and `scenes` judge the result on the full
meshes.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Float

from dice_jax.array_types import Array
from dice_jax.body_models import BodyModel, lbs
from dice_jax.geometry.rotations import axis_angle_to_matrix
from dice_jax.synthetic import pose

SHOULDER = np.array([-0.19, -0.22, -0.06])  # of the right arm, meters
UPPER_ARM, FOREARM = 0.30, 0.25  # meters
FOREARM_RADIUS = 0.045
_ALSO = 4  # patches that may lie on the skin besides the anchor

_LOOKUPS, _STEPS_PER_LOOKUP = 30, 5
_LEARNING_RATE = 0.04
_CLEARANCE = 0.015  # meters between skin and any part of a hand that does not touch
_TRANSL_UNIT, _ELBOW_UNIT = 0.03, 0.05  # meters that count like a radian


class ContactProblem(struct.PyTreeNode):
    """What a hand is asked to do.

    Attributes:
        head_points, head_normals: of the skin; points that do not count lie far away.
        head_give: how deep the skin there can be dented, meters.
        target, target_normal: where the anchor should go.
        anchor: 1 for the hand's vertices in the anchor, else 0.
        also: the same for further patches; rows of zeros are unused.
        press: how deep the deepest point of the anchor goes in, meters; negative: the gap that
            stays.
        conform: see `pose.Gesture`.
        betas, hand_pose, global_orient, transl: of the hand to start from; `global_orient` a
            matrix.
        anchor_normal: mean normal of the anchor in the hand's own axes.
    """

    head_points: Float[Array, "*B P 3"]
    head_normals: Float[Array, "*B P 3"]
    head_give: Float[Array, "*B P"]
    target: Float[Array, "*B 3"]
    target_normal: Float[Array, "*B 3"]
    anchor: Float[Array, "*B 778"]
    also: Float[Array, "*B 4 778"]
    press: Float[Array, "*B"]
    conform: Float[Array, "*B"]
    betas: Float[Array, "*B 10"]
    hand_pose: Float[Array, "*B 45"]
    global_orient: Float[Array, "*B 3 3"]
    transl: Float[Array, "*B 3"]
    anchor_normal: Float[Array, "*B 3"]


class ContactSolution(struct.PyTreeNode):
    """A hand, and the forearm behind it.

    Attributes:
        hand_pose: 15 joint rotations, axis-angle.
        global_orient: rotation matrix about the wrist joint.
        transl: meters.
        elbow: meters.
        wrist_bend: unit direction from wrist to elbow in the hand's axes; (1, 0, 0) is a straight
            wrist.
        energy: what was minimized, for the record.
    """

    hand_pose: Float[Array, "*B 45"]
    global_orient: Float[Array, "*B 3 3"]
    transl: Float[Array, "*B 3"]
    elbow: Float[Array, "*B 3"]
    wrist_bend: Float[Array, "*B 3"]
    energy: Float[Array, "*B"]


class _Variables(struct.PyTreeNode):
    hand_pose: Array
    turn: Array  # axis-angle, about the target
    shift: Array  # in _TRANSL_UNIT
    elbow: Array  # from the wrist, in _ELBOW_UNIT


@functools.partial(jax.jit, static_argnames="batch_size")
def solve_contacts(
    model: BodyModel, problems: ContactProblem, batch_size: int | None = None
) -> ContactSolution:
    """Solves a batch of problems, independently of each other.

    Args:
        model: the hand.
        problems: with one leading dimension.
        batch_size: how many to solve at a time (a GPU likes many); None: one after the other, so
            that a scene comes out the same whatever it is batched with.
    """
    return jax.lax.map(lambda problem: _solve(model, problem), problems, batch_size=batch_size)


def _solve(model: BodyModel, problem: ContactProblem) -> ContactSolution:
    forearm = problem.global_orient @ jnp.array([FOREARM / _ELBOW_UNIT, 0.0, 0.0])
    zero = jnp.zeros(3)
    variables = _Variables(hand_pose=problem.hand_pose, turn=zero, shift=zero, elbow=forearm)
    moments = jax.tree.map(jnp.zeros_like, (variables, variables))
    value_and_grad = jax.value_and_grad(_energy)
    total = _LOOKUPS * _STEPS_PER_LOOKUP

    def lookup(carry, round_index):
        variables = carry[0]
        vertices, _, joints = _posed(model, problem, variables)
        queries = jnp.concatenate([vertices, _arm_points(joints[0], _elbow(joints[0], variables))])
        nearest = _nearest(queries, problem.head_points)

        def step(carry, index):
            variables, (mean, square) = carry
            energy, gradient = value_and_grad(variables, model, problem, nearest)
            count = round_index * _STEPS_PER_LOOKUP + index
            rate = _LEARNING_RATE * (0.05 + 0.475 * (1 + jnp.cos(jnp.pi * count / total)))
            mean = jax.tree.map(lambda m, g: 0.85 * m + 0.15 * g, mean, gradient)
            square = jax.tree.map(lambda s, g: 0.98 * s + 0.02 * g * g, square, gradient)
            unbias = jnp.sqrt(1 - 0.98 ** (count + 1.0)) / (1 - 0.85 ** (count + 1.0))
            variables = jax.tree.map(
                lambda x, m, s: x - rate * unbias * m / (jnp.sqrt(s) + 1e-8),
                variables,
                mean,
                square,
            )
            return (variables, (mean, square)), energy

        return jax.lax.scan(step, carry, jnp.arange(_STEPS_PER_LOOKUP))

    (variables, _), energies = jax.lax.scan(lookup, (variables, moments), jnp.arange(_LOOKUPS))
    _, (rotation, origin), joints = _posed(model, problem, variables)
    elbow = _elbow(joints[0], variables)
    bend = rotation.T @ (elbow - joints[0])
    rest_wrist = _rest_wrist(model, problem.betas)
    return ContactSolution(
        hand_pose=variables.hand_pose,
        global_orient=rotation,
        transl=origin + rotation @ rest_wrist - rest_wrist,
        elbow=elbow,
        wrist_bend=bend / jnp.linalg.norm(bend),
        energy=energies[-1, -1],
    )


def _posed(model, problem, variables):
    """Vertices; the rotation and origin that take the hand's own axes there; joints."""
    fingers = axis_angle_to_matrix(variables.hand_pose.reshape(15, 3))
    rotations = jnp.concatenate([jnp.eye(3)[None], fingers])
    vertices, joints = lbs(model, problem.betas, rotations)
    # `transl` of the start is MANO's: the hand turns about its wrist. Here it goes on to turn about
    # the target.
    rest_wrist = _rest_wrist(model, problem.betas)
    start = problem.transl + rest_wrist - problem.global_orient @ rest_wrist
    turn = axis_angle_to_matrix(variables.turn)
    rotation = turn @ problem.global_orient
    origin = turn @ (start - problem.target) + problem.target + _TRANSL_UNIT * variables.shift
    place = lambda points: points @ rotation.T + origin
    return place(vertices), (rotation, origin), place(joints)


def _energy(variables, model, problem, nearest):
    """Sum of squares of quantities divided by what is tolerable: 1 is as bad as it should get."""
    vertices, (rotation, _), joints = _posed(model, problem, variables)
    wrist, elbow = joints[0], _elbow(joints[0], variables)
    points = jnp.concatenate([vertices, _arm_points(wrist, elbow)])
    depths = ((problem.head_points[nearest] - points) * problem.head_normals[nearest]).sum(-1)
    depth, arm_depth = depths[: len(vertices)], depths[len(vertices) :]
    give = problem.head_give[nearest[: len(vertices)]]
    touching = problem.press > 0

    # The anchor reaches the target and goes in as far as it should.
    weights = _soft_maximum_weights(depth, problem.anchor)
    deepest = weights @ depth
    offset = weights @ vertices - problem.target
    offset -= problem.target_normal * (offset @ problem.target_normal)
    reach = ((deepest - problem.press) / 0.001) ** 2 + (offset**2).sum() / 0.008**2
    facing = (rotation @ problem.anchor_normal) @ problem.target_normal
    reach += 4 * jnp.maximum(facing + 0.2, 0.0) ** 2

    # Flat parts lie on the skin; other patches come to it if they can (a bounded cost: they may
    # give up).
    hollow = jnp.maximum(-depth, 0.0)
    lies = problem.conform * (hollow**2 @ problem.anchor) / problem.anchor.sum() / 0.005**2
    patch_depths = jax.vmap(lambda mask: _soft_maximum_weights(depth, mask) @ depth)(problem.also)
    short = (patch_depths - 0.4 * problem.press) ** 2 / 0.003**2
    lies += (problem.also.any(-1) * 8.0 * short / (16.0 + short)).sum()

    # The skin gives way only so far; a hand that shall not touch keeps its distance.
    limit = jnp.where(
        touching,
        jnp.minimum(give, problem.press + 0.001),
        jnp.maximum(0.8 * problem.press, -_CLEARANCE),
    )
    inside = (jnp.maximum(depth - limit, 0.0) ** 2).sum() / 0.0015**2

    # Fingers keep near the gesture and within their joints.
    low, high = (jnp.asarray(bound, jnp.float32) for bound in pose.pose_limits())
    change = (variables.hand_pose - problem.hand_pose) / pose.pose_stiffness()
    beyond = jnp.maximum(low - variables.hand_pose, 0.0) + jnp.maximum(
        variables.hand_pose - high, 0.0
    )
    natural = (
        0.5 * (change**2).sum() + (beyond**2).sum() / 0.03**2 + (variables.turn**2).sum() / 0.6**2
    )

    return (
        reach
        + jnp.where(touching, lies, 0.0)
        + inside
        + natural
        + _arm_energy(wrist, elbow, rotation, arm_depth)
    )


def _arm_energy(wrist, elbow, rotation, arm_depth):
    """How unlike an arm: lengths, a wrist bent too far, a forearm inside the head, an elbow where
    none can be.
    """
    forearm = elbow - wrist
    length = jnp.linalg.norm(forearm)
    reach = jnp.linalg.norm(elbow - SHOULDER)
    lengths = ((length - FOREARM) / 0.01) ** 2 + ((reach - UPPER_ARM) / 0.04) ** 2
    along, flexion, deviation = rotation.T @ forearm / length
    excess = jnp.maximum(jnp.abs(flexion) - 0.75, 0.0) + jnp.maximum(jnp.abs(deviation) - 0.35, 0.0)
    excess += jnp.maximum(0.6 - along, 0.0)
    inside = jnp.maximum(arm_depth + FOREARM_RADIUS, 0.0) / 0.01
    # Above the shoulder is tiring, behind it and across the body hardly possible.
    odd = jnp.stack([elbow[1] - SHOULDER[1] - 0.05, SHOULDER[2] - 0.02 - elbow[2], elbow[0] - 0.05])
    odd = jnp.maximum(odd, 0.0) / 0.06
    return lengths + (excess / 0.1) ** 2 + (inside**2).sum() + (odd**2).sum()


def _soft_maximum_weights(depth, mask, temperature=0.0015):
    """Weights that sum to 1 on the deepest points of a patch (all zero for an empty patch)."""
    scores = jnp.where(mask > 0, depth / temperature, -jnp.inf)
    top = jnp.where(mask.any(), jax.lax.stop_gradient(scores.max()), 0.0)
    weights = jnp.exp(jnp.where(mask > 0, scores - top, -1e3)) * mask
    return weights / jnp.maximum(weights.sum(), 1e-9)


def _arm_points(wrist, elbow):
    shares = jnp.array([0.3, 0.5, 0.7, 0.85, 1.0])
    return wrist + shares[:, None] * (elbow - wrist)


def _elbow(wrist, variables):
    return wrist + _ELBOW_UNIT * variables.elbow


def _rest_wrist(model, betas):
    return model.J_regressor[0] @ (model.v_template + model.shapedirs @ betas)


def _nearest(queries, points):
    """Index of the nearest point for every query: the larger of `2 q.p - |p|^2`."""
    scores = 2 * jnp.dot(queries, points.T, precision=jax.lax.Precision.HIGHEST) - (points**2).sum(
        -1
    )
    return jnp.argmax(scores, axis=-1)
