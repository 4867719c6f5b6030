"""From the network's output, or from labels, to posed meshes in the head-centerd frame."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from dice_jax.array_types import Array
from dice_jax.body_models.flame import head_center, head_landmarks, pose_head
from dice_jax.body_models.lbs import BodyModel
from dice_jax.body_models.mano import hand_keypoints, pose_hand
from dice_jax.geometry.camera import project_orthographic
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
    """Poses hand and head with the parameters that the network put out.

    The head is posed with its neck and jaw, turned by `global_orient` about its own centroid and
    centerd there. A rotation about the root joint differs from that by a translation only, so the
    parameters returned differ from the network's in `transl` alone. The hand's `transl` counts from
    the head's centroid already, unless the output has a `head_root`: then the centroid of that
    FLAME head is subtracted first.

    Args:
        output: of the network.
        hand_model, head_model: body models.
        gate_by_presence: no deformation and no contact where the network thinks that nothing
            touches. Leave it off while training: the gate has no gradient.
        gate_contact: False lets the gate act on the deformation alone, as the authors do.

    Returns:
        Meshes, keypoints and smplx parameters that reproduce them; meters, head-centerd camera
        axes; pixels of the crop. The answer of a network that is not parametric are its rough
        meshes, and the parameters are zero.
    """
    if not output.parametric:
        return _rough_answer(output, hand_model, head_model, gate_by_presence, gate_contact)
    head = pose_head(
        head_model, output.head_params.replace(transl=jnp.zeros_like(output.head_params.transl))
    )
    transl = -head_center(head.vertices)
    head = jax.tree.map(lambda points: points + transl[..., None, :], head)
    hand_params = output.hand_params
    if output.head_root is not None:
        rooted = pose_head(head_model, output.head_params.replace(global_orient=output.head_root))
        hand_params = hand_params.replace(transl=hand_params.transl - head_center(rooted.vertices))
    hand = pose_hand(hand_model, hand_params)
    head_params = output.head_params.replace(transl=transl)
    return _answer(output, hand, head, hand_params, head_params, gate_by_presence, gate_contact)


def _rough_answer(output, hand_model, head_model, gate_by_presence, gate_contact):
    """The rough meshes, centerd, as the answer; no parameters belong to them."""
    center = head_center(output.rough.head_vertices)[..., None, :]
    hand, head = output.rough.hand_vertices - center, output.rough.head_vertices - center
    return _answer(
        output,
        _Points(hand, hand_keypoints(hand_model, hand)),
        _Points(head, head_landmarks(head_model, head)),
        output.hand_params,
        output.head_params,
        gate_by_presence,
        gate_contact,
    )


class _Points(NamedTuple):
    """A mesh and its keypoints."""

    vertices: Array
    keypoints: Array


def _answer(output, hand, head, hand_params, head_params, gate_by_presence, gate_contact):
    presence = jax.nn.sigmoid(output.presence_logit)
    gate = (
        (presence > 0.5)[..., None]
        if gate_by_presence
        else jnp.ones_like(presence, bool)[..., None]
    )
    deformations = jnp.where(gate[..., None], output.deformations, 0.0)
    contact_gate = gate if gate_contact else jnp.ones_like(gate)
    project = lambda points: project_orthographic(points, output.camera.scale, output.camera.transl)
    return Prediction(
        hand_vertices=hand.vertices,
        head_vertices=head.vertices,
        deformations=deformations,
        deformed_head_vertices=head.vertices - deformations,
        hand_keypoints_3d=hand.keypoints,
        head_keypoints_3d=head.keypoints,
        hand_keypoints_2d=project(hand.keypoints),
        head_keypoints_2d=project(head.keypoints),
        hand_contact_probs=jnp.where(contact_gate, jax.nn.sigmoid(output.contact_logits.hand), 0.0),
        head_contact_probs=jnp.where(contact_gate, jax.nn.sigmoid(output.contact_logits.head), 0.0),
        contact_presence=presence,
        hand_params=hand_params,
        head_params=head_params,
        camera=output.camera,
    )


def pose_targets(batch: Batch, hand_model: BodyModel, head_model: BodyModel) -> Targets:
    """Poses the ground truth of a batch and centers it on its UNDEFORMED head, as predictions are."""
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
    """Hand and head posed in one frame, then both moved so that the head's centroid is the origin."""
    hand, head = pose_hand(hand_model, hand_params), pose_head(head_model, head_params)
    center = head_center(head.vertices)[..., None, :]
    return jax.tree.map(lambda points: points - center, (hand, head))
