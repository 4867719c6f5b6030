"""The template of hand and head that the tokens stand for."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Float

from dice_jax.array_types import Array
from dice_jax.body_models.flame import head_landmarks
from dice_jax.body_models.hierarchy import downsample
from dice_jax.body_models.lbs import BodyModel
from dice_jax.body_models.mano import pose_hand
from dice_jax.geometry.rotations import axis_angle_to_matrix
from dice_jax.models.layers import tokens as layout
from dice_jax.structs import HandParams

# Axis-angle of an upright head that faces the camera.
FRONTAL_HEAD = (3.14159265, 0.0, 0.0)
# Axis-angle of a right hand in front of its owner's face, palm to the face: in the image the
# fingers point up, the thumb is at the left, and the palm faces away from the camera.
PALM_TO_FACE = (-1.20919958, -1.20919958, 1.20919958)


@functools.partial(jax.jit, static_argnames=("mean_pose",))
def template_queries(
    hand_model: BodyModel, head_model: BodyModel, *, mean_pose: bool = False
) -> Float[Array, "843 3"]:
    """Positions of all tokens on the templates: mean shape, the head at rest.

    Args:
        hand_model, head_model: body models.
        mean_pose: the hand is in the mean pose of its prior (paper: "with the pose set to the mean
            pose"); otherwise flat (released code).

    Returns:
        21 hand keypoints (OpenPose's order), 68 head landmarks, 195 hand vertices and 559 head
        vertices; meters, axes of the body models. The origins of hand and head are the means of
        their coarsest vertices.
    """
    pose = hand_model.pose_mean if mean_pose else jnp.zeros_like(hand_model.pose_mean)
    zeros = jnp.zeros(3)
    hand = pose_hand(hand_model, HandParams(jnp.zeros(hand_model.num_betas), zeros, pose, zeros))
    hand_vertices = downsample(hand_model.hierarchy, hand.vertices, 1)
    head_vertices = downsample(head_model.hierarchy, head_model.v_template, 2)
    hand_center, head_center = hand_vertices.mean(0)[None], head_vertices.mean(0)[None]
    return jnp.concatenate(
        [
            hand.keypoints - hand_center,
            head_landmarks(head_model, head_model.v_template) - head_center,
            hand_vertices - hand_center,
            head_vertices - head_center,
        ]
    )


def template_in_view(queries: Float[Array, "843 3"]) -> Float[Array, "843 3"]:
    """The templates in camera axes, `FRONTAL_HEAD` and `PALM_TO_FACE`, both about the origin."""
    rotations = axis_angle_to_matrix(jnp.array([PALM_TO_FACE, FRONTAL_HEAD]))
    return jnp.einsum("nij,nj->ni", rotations[layout.PART_OF_TOKEN], queries)
