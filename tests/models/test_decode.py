"""Decoding: parameters that reproduce the meshes, the head-centered frame, the gate."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from dice_jax.body_models import pose_hand, pose_head
from dice_jax.constants import HAND_LEVELS, HEAD_LEVELS, NUM_HAND_KEYPOINTS, NUM_HEAD_KEYPOINTS
from dice_jax.models import decode, pose_targets
from dice_jax.structs import (
    Batch,
    Camera,
    ContactLogits,
    Detections,
    HandParams,
    HeadParams,
    Intrinsics,
    NetworkOutput,
    RoughMeshes,
)

B = 3
CONTACT_COUNTS = (*HAND_LEVELS[::-1], *HEAD_LEVELS[::-1])
ROUGH_COUNTS = (NUM_HAND_KEYPOINTS, NUM_HEAD_KEYPOINTS, *CONTACT_COUNTS)


@pytest.fixture(scope="module")
def params():
    rng = np.random.default_rng(1)
    draw = lambda size, scale: jnp.asarray(scale * rng.normal(size=(B, size)), jnp.float32)
    hand = HandParams(
        betas=draw(10, 1), global_orient=draw(3, 1), hand_pose=draw(45, 0.3), transl=draw(3, 0.1)
    )
    head = HeadParams(
        betas=draw(100, 1),
        expression=draw(50, 1),
        global_orient=draw(3, 1),
        neck_pose=draw(3, 0.2),
        jaw_pose=draw(3, 0.1),
        transl=draw(3, 1),
    )
    return hand, head


@pytest.fixture(scope="module")
def output(params):
    """A random output of a network; contact in the first image, none in the second."""
    rng = np.random.default_rng(2)
    normal = lambda *shape: jnp.asarray(rng.normal(size=shape), jnp.float32)
    return NetworkOutput(
        rough=RoughMeshes(*(jnp.zeros((B, count, 3)) for count in ROUGH_COUNTS)),
        hand_params=params[0],
        head_params=params[1],
        contact_logits=ContactLogits(*(normal(B, count) for count in CONTACT_COUNTS)),
        camera=Camera(scale=jnp.array([500.0, 600.0, 700.0]), transl=112 + 20 * normal(B, 2)),
        deformations=0.01 * normal(B, 5023, 3),
        presence_logit=jnp.array([2.0, -2.0, 0.5]),
    )


@pytest.fixture(scope="module")
def decoded(output, bodies):
    """The prediction with the gate, and without."""
    both = lambda o: tuple(decode(o, *bodies, gate_by_presence=gate) for gate in (True, False))
    return jax.jit(both)(output)


def test_parameters_reproduce_the_meshes(decoded, bodies):
    for prediction in decoded:
        hand = pose_hand(bodies[0], prediction.hand_params)
        head = pose_head(bodies[1], prediction.head_params)
        for got, expected in (
            (prediction.hand_vertices, hand.vertices),
            (prediction.hand_keypoints_3d, hand.keypoints),
            (prediction.head_vertices, head.vertices),
            (prediction.head_keypoints_3d, head.keypoints),
        ):
            np.testing.assert_allclose(got, expected, atol=1e-6)


def test_the_head_is_rotated_about_its_centroid_and_centered_there(decoded, params, bodies):
    prediction, _ = decoded
    np.testing.assert_allclose(prediction.head_vertices.mean(1), 0.0, atol=1e-6)
    without = params[1].replace(global_orient=jnp.zeros((B, 3)))
    vertices = np.asarray(pose_head(bodies[1], without).vertices, np.float64)
    rotation = Rotation.from_rotvec(params[1].global_orient).as_matrix()
    expected = (vertices - vertices.mean(1, keepdims=True)) @ rotation.swapaxes(-1, -2)
    np.testing.assert_allclose(prediction.head_vertices, expected, atol=1e-5)


def test_without_a_presence_head_there_is_no_gate(output, decoded, bodies):
    headless = jax.jit(lambda o: decode(o, *bodies, gate_by_presence=True))(
        output.replace(presence_logit=None)
    )
    ungated = decoded[1]
    highest = np.maximum(ungated.hand_contact_probs.max(1), ungated.head_contact_probs.max(1))
    np.testing.assert_allclose(headless.contact_presence, highest)
    expected = ungated.replace(contact_presence=headless.contact_presence)
    jax.tree.map(np.testing.assert_array_equal, headless, expected)


def test_the_predicted_translation_of_the_head_has_no_effect(output, bodies):
    head_params = output.head_params.replace(transl=output.head_params.transl + 5.0)
    moved = output.replace(head_params=head_params)
    run = jax.jit(lambda o: decode(o, *bodies, gate_by_presence=False))
    jax.tree.map(lambda x, y: np.testing.assert_array_equal(x, y), run(output), run(moved))


def test_2d_keypoints_are_3d_keypoints_projected_by_the_camera(decoded):
    prediction, _ = decoded
    for name in ("hand", "head"):
        points, pixels = (np.asarray(getattr(prediction, f"{name}_keypoints_{d}d")) for d in (3, 2))
        scale, transl = np.asarray(prediction.camera.scale), np.asarray(prediction.camera.transl)
        np.testing.assert_allclose(
            pixels, points[..., :2] * scale[:, None, None] + transl[:, None], rtol=1e-5, atol=1e-3
        )


def test_the_gate_changes_images_without_contact_only(decoded):
    gated, ungated = decoded
    for name in ("deformations", "hand_contact_probs", "head_contact_probs"):
        got, free = (np.asarray(getattr(prediction, name)) for prediction in (gated, ungated))
        assert (got[1] == 0).all() and (free[1] != 0).any()
        np.testing.assert_array_equal(got[[0, 2]], free[[0, 2]])
    np.testing.assert_allclose(
        gated.deformed_head_vertices, gated.head_vertices - gated.deformations, atol=1e-7
    )
    assert ((ungated.head_contact_probs > 0) & (ungated.head_contact_probs < 1)).all()


def batch_of(hand_params, head_params, deformations):
    """A batch with these labels, the others zero."""
    zeros = lambda *shape: jnp.zeros((B, *shape))
    masks = ("2d", "3d", "params", "contact", "deformations", "depth", "hand")
    return Batch(
        images=jnp.zeros((B, 224, 224, 3), jnp.uint8),
        hand_keypoints_2d=zeros(NUM_HAND_KEYPOINTS, 3),
        head_keypoints_2d=zeros(NUM_HEAD_KEYPOINTS, 3),
        hand_keypoints_depth=zeros(NUM_HAND_KEYPOINTS),
        head_keypoints_depth=zeros(NUM_HEAD_KEYPOINTS),
        hand_params=hand_params,
        head_params=head_params,
        deformations=deformations,
        hand_contact=zeros(HAND_LEVELS[0]),
        head_contact=zeros(HEAD_LEVELS[0]),
        detections=Detections.nothing(B),
        intrinsics=Intrinsics.unknown(B),
        **{f"has_{name}": zeros() for name in masks},
    )


def test_targets_are_the_labels_centered_on_the_undeformed_head(params, bodies, rng):
    hand_params, head_params = params
    deformations = jnp.asarray(0.01 * rng.normal(size=(B, 5023, 3)), jnp.float32)
    targets = pose_targets(batch_of(hand_params, head_params, deformations), *bodies)
    hand, head = pose_hand(bodies[0], hand_params), pose_head(bodies[1], head_params)
    center = np.asarray(head.vertices, np.float64).mean(1, keepdims=True)
    np.testing.assert_allclose(targets.head_vertices, head.vertices - center, atol=1e-6)
    np.testing.assert_allclose(targets.hand_vertices, hand.vertices - center, atol=1e-6)
    np.testing.assert_allclose(targets.hand_keypoints, hand.keypoints - center, atol=1e-6)
    np.testing.assert_allclose(targets.head_keypoints, head.keypoints - center, atol=1e-6)
    np.testing.assert_allclose(
        targets.head_vertices - targets.deformed_head_vertices, deformations, atol=1e-6
    )


def test_output_with_the_true_parameters_decodes_to_the_targets(output, params, bodies):
    hand_params, head_params = params
    centroid = pose_head(bodies[1], head_params).vertices.mean(1)
    perfect = output.replace(hand_params=hand_params.replace(transl=hand_params.transl - centroid))
    prediction = decode(perfect, *bodies, gate_by_presence=False)
    targets = pose_targets(batch_of(hand_params, head_params, output.deformations), *bodies)
    for name in ("hand_vertices", "head_vertices", "deformed_head_vertices"):
        np.testing.assert_allclose(getattr(prediction, name), getattr(targets, name), atol=2e-6)
