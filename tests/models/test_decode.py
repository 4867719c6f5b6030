"""Decoding: parameters that reproduce the meshes, the head-centerd frame, the gate."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from dice_jax.body_models import pose_hand, pose_head
from dice_jax.models import decode, pose_targets
from dice_jax.structs import (
    Batch,
    Camera,
    ContactLogits,
    HandParams,
    HeadParams,
    NetworkOutput,
    RoughMeshes,
)

B = 3


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
    """What a network might put out; the first image touches, the second does not."""
    rng = np.random.default_rng(2)
    normal = lambda *shape: jnp.asarray(rng.normal(size=shape), jnp.float32)
    empty = lambda cls: cls(**{name: jnp.zeros((B, 1)) for name in cls.__dataclass_fields__})
    return NetworkOutput(
        rough=empty(RoughMeshes),
        hand_params=params[0],
        head_params=params[1],
        contact_logits=empty(ContactLogits).replace(hand=normal(B, 778), head=normal(B, 5023)),
        camera=Camera(scale=jnp.array([500.0, 600.0, 700.0]), transl=112 + 20 * normal(B, 2)),
        deformations=0.01 * normal(B, 5023, 3),
        presence_logit=jnp.array([2.0, -2.0, 0.5]),
    )


@pytest.fixture(scope="module")
def decoded(output, bodies):
    """With the gate, and without."""
    return jax.jit(
        lambda o: tuple(decode(o, *bodies, gate_by_presence=gate) for gate in (True, False))
    )(output)


def test_parameters_reproduce_the_meshes(decoded, bodies):
    for prediction in decoded:
        hand, head = (
            pose_hand(bodies[0], prediction.hand_params),
            pose_head(bodies[1], prediction.head_params),
        )
        for got, expected in (
            (prediction.hand_vertices, hand.vertices),
            (prediction.hand_keypoints_3d, hand.keypoints),
            (prediction.head_vertices, head.vertices),
            (prediction.head_keypoints_3d, head.keypoints),
        ):
            np.testing.assert_allclose(got, expected, atol=1e-6)


def test_head_is_turned_about_its_centroid_and_centerd_there(decoded, params, bodies):
    prediction, _ = decoded
    np.testing.assert_allclose(prediction.head_vertices.mean(1), 0.0, atol=1e-6)
    unturned = np.asarray(
        pose_head(bodies[1], params[1].replace(global_orient=jnp.zeros((B, 3)))).vertices,
        np.float64,
    )
    rotation = Rotation.from_rotvec(params[1].global_orient).as_matrix()
    expected = (unturned - unturned.mean(1, keepdims=True)) @ rotation.swapaxes(-1, -2)
    np.testing.assert_allclose(prediction.head_vertices, expected, atol=1e-5)


def test_the_networks_head_translation_does_not_matter(output, bodies):
    moved = output.replace(
        head_params=output.head_params.replace(transl=output.head_params.transl + 5.0)
    )
    run = jax.jit(lambda o: decode(o, *bodies, gate_by_presence=False))
    jax.tree.map(lambda x, y: np.testing.assert_array_equal(x, y), run(output), run(moved))


def test_keypoints_are_projected_by_the_camera(decoded):
    prediction, _ = decoded
    for name in ("hand", "head"):
        points, pixels = (np.asarray(getattr(prediction, f"{name}_keypoints_{d}d")) for d in (3, 2))
        scale, transl = np.asarray(prediction.camera.scale), np.asarray(prediction.camera.transl)
        np.testing.assert_allclose(
            pixels, points[..., :2] * scale[:, None, None] + transl[:, None], rtol=1e-5, atol=1e-3
        )


def test_gate_silences_images_without_contact_only(decoded):
    gated, open_ = decoded
    for name in ("deformations", "hand_contact_probs", "head_contact_probs"):
        got, free = (np.asarray(getattr(prediction, name)) for prediction in (gated, open_))
        assert (got[1] == 0).all() and (free[1] != 0).any()
        np.testing.assert_array_equal(got[[0, 2]], free[[0, 2]])
    np.testing.assert_allclose(
        gated.deformed_head_vertices, gated.head_vertices - gated.deformations, atol=1e-7
    )
    assert ((open_.head_contact_probs > 0) & (open_.head_contact_probs < 1)).all()


def test_targets_are_the_labels_centerd_on_the_undeformed_head(params, bodies, rng):
    hand_params, head_params = params
    deformations = jnp.asarray(0.01 * rng.normal(size=(B, 5023, 3)), jnp.float32)
    others = {name: jnp.zeros((B, 1)) for name in Batch.__dataclass_fields__}
    batch = Batch(
        **{
            **others,
            "hand_params": hand_params,
            "head_params": head_params,
            "deformations": deformations,
        }
    )
    targets = pose_targets(batch, *bodies)
    hand, head = pose_hand(bodies[0], hand_params), pose_head(bodies[1], head_params)
    center = np.asarray(head.vertices, np.float64).mean(1, keepdims=True)
    np.testing.assert_allclose(targets.head_vertices, head.vertices - center, atol=1e-6)
    np.testing.assert_allclose(targets.hand_vertices, hand.vertices - center, atol=1e-6)
    np.testing.assert_allclose(targets.hand_keypoints, hand.keypoints - center, atol=1e-6)
    np.testing.assert_allclose(targets.head_keypoints, head.keypoints - center, atol=1e-6)
    np.testing.assert_allclose(
        targets.head_vertices - targets.deformed_head_vertices, deformations, atol=1e-6
    )


def test_a_perfect_network_reaches_the_targets(output, params, bodies):
    """Ground truth written as a network would put it out decodes to the posed targets."""
    hand_params, head_params = params
    centroid = pose_head(bodies[1], head_params).vertices.mean(1)
    perfect = output.replace(hand_params=hand_params.replace(transl=hand_params.transl - centroid))
    prediction = decode(perfect, *bodies, gate_by_presence=False)
    others = {name: jnp.zeros((B, 1)) for name in Batch.__dataclass_fields__}
    batch = Batch(
        **{
            **others,
            "hand_params": hand_params,
            "head_params": head_params,
            "deformations": output.deformations,
        }
    )
    targets = pose_targets(batch, *bodies)
    for name in ("hand_vertices", "head_vertices", "deformed_head_vertices"):
        np.testing.assert_allclose(getattr(prediction, name), getattr(targets, name), atol=2e-6)
