"""From the network's output, or from labels, to posed meshes in the head-centered frame."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Float

from dice_jax.array_types import Array
from dice_jax.body_models.flame import head_center, head_landmarks, pose_head
from dice_jax.body_models.lbs import BodyModel
from dice_jax.body_models.mano import hand_keypoints, pose_hand
from dice_jax.constants import NUM_HAND_KEYPOINTS
from dice_jax.geometry.camera import project_orthographic
from dice_jax.models.fine_map import keypoint_sigma
from dice_jax.structs import (
    Batch,
    HandParams,
    HeadParams,
    NetworkOutput,
    PosedMesh,
    Prediction,
    Targets,
)


def decode(
    output: NetworkOutput,
    hand_model: BodyModel,
    head_model: BodyModel,
    *,
    gate_by_presence: bool,
    gate_contact: bool = True,
) -> Prediction:
    """Poses hand and head with the network's parameters.

    The prediction of a network that is not parametric is its rough meshes, centered on the head;
    its parameters are zero.

    Args:
        output: of the network.
        hand_model, head_model: body models.
        gate_by_presence: set deformations and contacts to zero where the probability of contact
            presence is at most 0.5; no effect on a network without that output. Not for training:
            the gate has no gradient.
        gate_contact: with `gate_by_presence`, gate the contacts too; the authors gate the
            deformations only.

    Returns:
        Meshes and keypoints in meters, head-centered camera axes; keypoints and camera in pixels of
        the crop; and smplx parameters that reproduce the meshes.
    """
    pose = _pose if output.parametric else _center_rough_meshes
    return _predict(output, pose(output, hand_model, head_model), gate_by_presence, gate_contact)


@dataclasses.dataclass
class _Posed:
    """Meshes of hand and head in the head-centered frame, with their parameters."""

    hand_vertices: Float[Array, "*B 778 3"]
    head_vertices: Float[Array, "*B 5023 3"]
    hand_keypoints: Float[Array, "*B 21 3"]
    head_keypoints: Float[Array, "*B 68 3"]
    hand_params: HandParams
    head_params: HeadParams


def _pose(output: NetworkOutput, hand_model: BodyModel, head_model: BodyModel) -> _Posed:
    """Poses the body models.

    The head is posed with its neck and jaw, rotated by `global_orient` about its centroid, and
    centered there. This differs from a rotation about the root joint by a translation only, so the
    resulting `transl` is the only parameter that differs from the network's. The hand's `transl` is
    relative to the head's centroid unless the output has a `head_root`: then the centroid of that
    FLAME head is subtracted first.
    """
    at_origin = output.head_params.replace(transl=jnp.zeros_like(output.head_params.transl))
    head = pose_head(head_model, at_origin)
    transl = -head_center(head.vertices)
    head = jax.tree.map(lambda points: points + transl[..., None, :], head)
    hand_params = output.hand_params
    if output.head_root is not None:
        rooted = pose_head(head_model, output.head_params.replace(global_orient=output.head_root))
        hand_params = hand_params.replace(transl=hand_params.transl - head_center(rooted.vertices))
    hand = pose_hand(hand_model, hand_params)
    head_params = output.head_params.replace(transl=transl)
    return _Posed(
        hand.vertices, head.vertices, hand.keypoints, head.keypoints, hand_params, head_params
    )


def _center_rough_meshes(
    output: NetworkOutput, hand_model: BodyModel, head_model: BodyModel
) -> _Posed:
    center = head_center(output.rough.head_vertices)[..., None, :]
    hand, head = output.rough.hand_vertices - center, output.rough.head_vertices - center
    return _Posed(
        hand,
        head,
        hand_keypoints(hand_model, hand),
        head_landmarks(head_model, head),
        output.hand_params,
        output.head_params,
    )


def _predict(
    output: NetworkOutput, posed: _Posed, gate_by_presence: bool, gate_contact: bool
) -> Prediction:
    hand_contact, head_contact = map(
        jax.nn.sigmoid, (output.contact_logits.hand, output.contact_logits.head)
    )
    if output.presence_logit is None:
        presence = jnp.maximum(hand_contact.max(-1), head_contact.max(-1))
        gate_by_presence = False
    else:
        presence = jax.nn.sigmoid(output.presence_logit)
    gate = (presence > 0.5 if gate_by_presence else jnp.ones_like(presence, bool))[..., None]
    contact_gate = gate if gate_contact else jnp.ones_like(gate)
    deformations = jnp.where(gate[..., None], output.deformations, 0.0)
    project = lambda points: project_orthographic(points, output.camera.scale, output.camera.transl)
    hand_sigma = head_sigma = None
    if output.heatmaps is not None:
        sigma = keypoint_sigma(output.heatmaps)
        hand_sigma, head_sigma = sigma[..., :NUM_HAND_KEYPOINTS], sigma[..., NUM_HAND_KEYPOINTS:]
    return Prediction(
        hand_vertices=posed.hand_vertices,
        head_vertices=posed.head_vertices,
        deformations=deformations,
        deformed_head_vertices=posed.head_vertices - deformations,
        hand_keypoints_3d=posed.hand_keypoints,
        head_keypoints_3d=posed.head_keypoints,
        hand_keypoints_2d=project(posed.hand_keypoints),
        head_keypoints_2d=project(posed.head_keypoints),
        hand_contact_probs=jnp.where(contact_gate, hand_contact, 0.0),
        head_contact_probs=jnp.where(contact_gate, head_contact, 0.0),
        contact_presence=presence,
        hand_params=posed.hand_params,
        head_params=posed.head_params,
        camera=output.camera,
        hand_presence=None
        if output.hand_presence_logit is None
        else jax.nn.sigmoid(output.hand_presence_logit),
        hand_keypoints_sigma=hand_sigma,
        head_keypoints_sigma=head_sigma,
        hand_depth_sigma=output.hand_depth_sigma,
    )


def pose_targets(batch: Batch, hand_model: BodyModel, head_model: BodyModel) -> Targets:
    """Ground-truth meshes of a batch, meters, centered on the UNDEFORMED head."""
    hand, head = pose_pair(batch.hand_params, batch.head_params, hand_model, head_model)
    return Targets(
        hand_vertices=hand.vertices,
        head_vertices=head.vertices,
        deformed_head_vertices=head.vertices - batch.deformations,
        hand_keypoints=hand.keypoints,
        head_keypoints=head.keypoints,
    )


def pose_pair(
    hand_params: HandParams, head_params: HeadParams, hand_model: BodyModel, head_model: BodyModel
) -> tuple[PosedMesh, PosedMesh]:
    """Poses hand and head and moves both so that the head's centroid is the origin; meters."""
    hand, head = pose_hand(hand_model, hand_params), pose_head(head_model, head_params)
    center = head_center(head.vertices)[..., None, :]
    return jax.tree.map(lambda points: points - center, (hand, head))
