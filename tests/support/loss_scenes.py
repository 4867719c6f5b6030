"""Random scenes of the open body models, with predictions that are perfect or perturbed."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from dice_jax.body_models.flame import head_center, head_landmarks, pose_head
from dice_jax.body_models.hierarchy import downsample, downsample_labels
from dice_jax.body_models.mano import hand_keypoints, pose_hand
from dice_jax.constants import CROP_SIZE, NUM_HAND_VERTICES, NUM_HEAD_VERTICES
from dice_jax.geometry.camera import project_orthographic
from dice_jax.structs import (
    Batch,
    Camera,
    ContactLogits,
    Detections,
    HandParams,
    HeadParams,
    Intrinsics,
    NetworkOutput,
    Prediction,
    RoughMeshes,
    Targets,
)

CERTAIN = 30.0  # a logit whose cross-entropy is 0 in single precision


def random_labels(rng, hand_model, head_model, size):
    """A batch with every label, its targets and its camera; a few vertices are in contact."""
    normal = lambda n, scale: rng.normal(scale=scale, size=(size, n)).astype(np.float32)
    hand_params = HandParams(
        betas=normal(10, 0.5),
        global_orient=normal(3, 0.5),
        hand_pose=normal(45, 0.2),
        transl=normal(3, 0.01),
    )
    head_params = HeadParams(
        betas=normal(100, 0.3),
        expression=normal(50, 0.3),
        global_orient=normal(3, 0.1) + np.array([[np.pi, 0, 0]], np.float32),
        neck_pose=normal(3, 0.05),
        jaw_pose=normal(3, 0.05),
        transl=np.zeros((size, 3), np.float32),
    )
    deformed = rng.uniform(size=(size, NUM_HEAD_VERTICES, 1)) < 0.05
    deformations = rng.normal(scale=0.004, size=(size, NUM_HEAD_VERTICES, 3))
    deformations = np.where(deformed, deformations, 0.0).astype(np.float32)
    targets = jax.device_get(_pose(hand_model, head_model, hand_params, head_params, deformations))
    camera = random_camera(rng, size)
    label = lambda n: (rng.uniform(size=(size, n)) < 0.03).astype(np.float32)
    ones = np.ones(size, np.float32)
    batch = Batch(
        images=np.zeros((size, CROP_SIZE, CROP_SIZE, 3), np.uint8),
        hand_keypoints_2d=_detect(targets.hand_keypoints, camera),
        head_keypoints_2d=_detect(targets.head_keypoints, camera),
        hand_keypoints_depth=1 + targets.hand_keypoints[..., 2],
        head_keypoints_depth=1 + targets.head_keypoints[..., 2],
        hand_params=hand_params,
        head_params=head_params,
        deformations=deformations,
        hand_contact=label(NUM_HAND_VERTICES),
        head_contact=label(NUM_HEAD_VERTICES),
        has_2d=ones,
        has_3d=ones,
        has_params=ones,
        has_contact=ones,
        has_deformations=ones,
        has_depth=ones,
        has_hand=ones,
        detections=Detections.nothing(size),
        intrinsics=Intrinsics.unknown(size),
    )
    return batch, targets, camera


def random_camera(rng, size):
    return Camera(
        scale=rng.uniform(500, 600, size).astype(np.float32),
        transl=rng.normal(CROP_SIZE / 2, 5, (size, 2)).astype(np.float32),
    )


def _detect(points, camera):
    """Projected points with confidence 1."""
    pixels = camera.scale[:, None, None] * points[..., :2] + camera.transl[:, None]
    return np.concatenate([pixels, np.ones_like(points[..., :1])], axis=-1)


@jax.jit
def _pose(hand_model, head_model, hand_params, head_params, deformations):
    hand, head = pose_hand(hand_model, hand_params), pose_head(head_model, head_params)
    head = jax.tree.map(lambda points: points - head_center(head.vertices)[:, None], head)
    # The hand is placed in front of the face. No loss uses its translation.
    place = jnp.array([[[0.03, 0.03, -0.15]]]) - hand.vertices.mean(1, keepdims=True)
    return Targets(
        hand_vertices=hand.vertices + place,
        head_vertices=head.vertices,
        deformed_head_vertices=head.vertices - deformations,
        hand_keypoints=hand.keypoints + place,
        head_keypoints=head.keypoints,
    )


@jax.jit
def perfect(batch, targets, camera, hand_model, head_model):
    """Network output and prediction that equal the ground truth."""
    certain = lambda labels: CERTAIN * (2 * labels - 1)
    hand_vertices = lambda level: downsample(hand_model.hierarchy, targets.hand_vertices, level)
    head_vertices = lambda level: downsample(head_model.hierarchy, targets.head_vertices, level)
    hand_logits = lambda level: certain(
        downsample_labels(hand_model.hierarchy, batch.hand_contact, level)
    )
    head_logits = lambda level: certain(
        downsample_labels(head_model.hierarchy, batch.head_contact, level)
    )
    output = NetworkOutput(
        rough=RoughMeshes(
            hand_keypoints=targets.hand_keypoints,
            head_keypoints=targets.head_keypoints,
            hand_vertices_coarse=hand_vertices(1),
            hand_vertices=hand_vertices(0),
            head_vertices_coarse=head_vertices(2),
            head_vertices_mid=head_vertices(1),
            head_vertices=head_vertices(0),
        ),
        hand_params=batch.hand_params,
        head_params=batch.head_params,
        camera=camera,
        deformations=batch.deformations,
        contact_logits=ContactLogits(
            hand_coarse=hand_logits(1),
            hand=hand_logits(0),
            head_coarse=head_logits(2),
            head_mid=head_logits(1),
            head=head_logits(0),
        ),
        presence_logit=certain(jnp.maximum(batch.hand_contact.max(-1), batch.head_contact.max(-1))),
    )
    return output, decode(
        output,
        targets.hand_vertices,
        targets.head_vertices,
        targets.hand_keypoints,
        targets.head_keypoints,
    )


@jax.jit
def decode(output, hand_vertices, head_vertices, hand_keypoints_3d, head_keypoints_3d):
    """A prediction with given meshes and keypoints; everything else comes from `output`."""
    project = lambda points: project_orthographic(points, output.camera.scale, output.camera.transl)
    return Prediction(
        hand_vertices=hand_vertices,
        head_vertices=head_vertices,
        deformations=output.deformations,
        deformed_head_vertices=head_vertices - output.deformations,
        hand_keypoints_3d=hand_keypoints_3d,
        head_keypoints_3d=head_keypoints_3d,
        hand_keypoints_2d=project(hand_keypoints_3d),
        head_keypoints_2d=project(head_keypoints_3d),
        hand_contact_probs=jax.nn.sigmoid(output.contact_logits.hand),
        head_contact_probs=jax.nn.sigmoid(output.contact_logits.head),
        contact_presence=jax.nn.sigmoid(output.presence_logit),
        hand_params=output.hand_params,
        head_params=output.head_params,
        camera=output.camera,
    )


def perturb(rng, output, prediction, hand_model, head_model, scale=0.01):
    """Adds noise to every output; the refined meshes remain close to those of a hand and a head."""
    noise = lambda x, scale=scale: (x + rng.normal(scale=scale, size=x.shape)).astype(np.float32)
    noisy = lambda tree: jax.tree.map(noise, tree)
    output = output.replace(
        rough=noisy(output.rough),
        hand_params=noisy(output.hand_params),
        head_params=noisy(output.head_params),
        camera=output.camera.replace(transl=noise(output.camera.transl, 2.0)),
        deformations=noise(output.deformations, 0.002),
        contact_logits=jax.tree.map(lambda x: noise(x / CERTAIN, 1.0), output.contact_logits),
        presence_logit=noise(output.presence_logit / CERTAIN, 1.0),
    )
    hand_vertices = noise(prediction.hand_vertices, 0.002)
    head_vertices = noise(prediction.head_vertices, 0.0005)
    return output, decode(
        output,
        hand_vertices,
        head_vertices,
        jax.jit(hand_keypoints)(hand_model, hand_vertices),
        jax.jit(head_landmarks)(head_model, head_vertices),
    )
