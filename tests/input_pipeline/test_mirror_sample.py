"""Mirrored and moved samples: the posed 3D labels project to the moved 2D labels."""

import functools

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dice_jax import body_models
from dice_jax.body_models import load_hand, load_head
from dice_jax.body_models.landmarks import MIRRORED_LANDMARKS
from dice_jax.body_models.mirror_vertices import mirror_vertices
from dice_jax.constants import CROP_SIZE
from dice_jax.datasets import augmentation
from dice_jax.input_pipeline import augment, mirror_sample, schema
from dice_jax.structs import HandParams, HeadParams

pose_hand, pose_head = jax.jit(body_models.pose_hand), jax.jit(body_models.pose_head)
HAND_PARAMS = ("hand_betas", "hand_global_orient", "hand_pose", "hand_transl")
HEAD_PARAMS = (
    "head_betas",
    "head_expression",
    "head_global_orient",
    "head_neck_pose",
    "head_jaw_pose",
    "head_transl",
)
FLIP = np.array([-1.0, 1.0, 1.0])


@pytest.fixture(scope="module")
def head_mirror():
    return augmentation.mirror_of(load_head())


@pytest.fixture(scope="module")
def left_hand():
    """The mirror image of the open hand, as a model of its own."""
    hand = load_hand()
    signs = np.tile(np.outer(FLIP, FLIP).ravel(), 15)  # a mirrored rotation is M R M
    return hand.replace(
        v_template=hand.v_template * FLIP[None],
        shapedirs=hand.shapedirs * FLIP[None, :, None],
        posedirs=hand.posedirs * FLIP[None, :, None] * signs[None, None],
    )


@functools.cache
def symmetric_head():
    """The open head with vertices as landmarks, in exactly symmetric pairs.

    Its own landmarks are symmetric to hundredths of a millimeter only.
    """
    head = load_head()
    vertices, faces = np.asarray(head.v_template), np.asarray(head.faces)
    mirrored_vertex = mirror_vertices(head)
    landmarks = np.asarray(body_models.head_landmarks(head, head.v_template))
    everywhere, midline = np.arange(len(vertices)), np.flatnonzero(np.abs(vertices[:, 0]) < 1e-7)
    chosen = np.zeros(68, int)
    for i, j in enumerate(MIRRORED_LANDMARKS):
        if i <= j:
            allowed = midline if i == j else everywhere
            distances = np.linalg.norm(vertices[allowed] - landmarks[i], axis=-1)
            chosen[i] = allowed[distances.argmin()]
            chosen[j] = mirrored_vertex[chosen[i]]
    faces_idx = np.array([np.flatnonzero((faces == vertex).any(1))[0] for vertex in chosen])
    bary_coords = (faces[faces_idx] == chosen[:, None]).astype(np.float32)
    return head.replace(lmk_faces_idx=faces_idx, lmk_bary_coords=bary_coords)


def posed(sample, hand_model):
    """Poses hand and head in double precision: 1e-3 pixels are a micrometer."""
    fields = lambda names: (np.asarray(sample[name], np.float64)[None] for name in names)
    double = lambda model: jax.tree.map(
        lambda x: np.asarray(x, np.float64 if x.dtype == np.float32 else None), model
    )
    hand, head = HandParams(*fields(HAND_PARAMS)), HeadParams(*fields(HEAD_PARAMS))
    with jax.enable_x64(True):
        meshes = pose_hand(double(hand_model), hand), pose_head(double(symmetric_head()), head)
        return jax.tree.map(lambda x: np.asarray(x[0], np.float64), meshes)


def random_sample(rng):
    """Random bodies in front of a random scaled orthographic camera.

    Returns:
        The sample, its keypoints projected, and scale and translation of the camera.
    """
    sample = {
        name: rng.normal(0, 0.3, schema.shape_of(name)).astype(np.float32)
        for name in (*HAND_PARAMS, *HEAD_PARAMS)
    }
    sample["head_global_orient"] += np.float32([np.pi, 0, 0])
    hand, head = posed(sample, load_hand())
    scale, transl = rng.uniform(300, 700), rng.uniform(80, 140, 2)
    project = lambda points: np.column_stack(
        [scale * points[:, :2] + transl, rng.uniform(0.1, 1, len(points))]
    )
    deformations = np.zeros((5023, 3), np.float32)
    deformations[rng.choice(5023, 40, replace=False)] = rng.normal(0, 0.005, (40, 3))
    sample |= dict(
        image=rng.integers(0, 256, (CROP_SIZE, CROP_SIZE, 3), dtype=np.uint8),
        deformations=deformations,
        hand_keypoints_2d=np.float32(project(hand.keypoints)),
        head_keypoints_2d=np.float32(project(head.keypoints)),
        hand_keypoints_depth=hand.keypoints[:, 2],
        head_keypoints_depth=head.keypoints[:, 2],
        head_contact=(np.linalg.norm(deformations, axis=-1) > 0).astype(np.uint8),
        hand_contact=rng.integers(0, 2, 778).astype(np.uint8),
        foreground=rng.random((CROP_SIZE, CROP_SIZE)) < 0.5,
        hand_box=np.float32([10, 20, 30, 50]),
        head_box=np.zeros(4, np.float32),
    )
    return sample, scale, transl


@settings(max_examples=20, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 10**6),
    flip=st.booleans(),
    angle=st.floats(-3.1, 3.1),
    resize=st.floats(0.6, 1.6),
    shift=st.tuples(st.floats(-40, 40), st.floats(-40, 40)),
)
def test_3d_labels_project_to_the_2d_labels_after_any_move(
    head_mirror, left_hand, seed, flip, angle, resize, shift
):
    sample, scale, transl = random_sample(np.random.default_rng(seed))
    hand_model = left_hand if flip else load_hand()
    if flip:
        sample = mirror_sample.mirrored(sample, head_mirror)
        transl = np.array([CROP_SIZE - transl[0], transl[1]])
    roots = augmentation.root_joint(hand_model), augmentation.root_joint(load_head())
    moved = augment.move_in_plane(sample, angle, resize, np.array(shift), *roots)
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    new_transl = resize * rotation @ (transl - CROP_SIZE / 2) + CROP_SIZE / 2 + shift
    for name, mesh in zip(("hand", "head"), posed(moved, hand_model)):
        projected = resize * scale * mesh.keypoints[:, :2] + new_transl
        np.testing.assert_allclose(moved[f"{name}_keypoints_2d"][:, :2], projected, atol=1e-3)
        depth = moved[f"{name}_keypoints_depth"]
        np.testing.assert_allclose(depth, mesh.keypoints[:, 2], atol=1e-5)


def test_a_mirrored_sample_poses_the_mirrored_meshes(rng, head_mirror, left_hand):
    sample, _, _ = random_sample(rng)
    flipped = mirror_sample.mirrored(sample, head_mirror)
    hand, head = posed(sample, load_hand())
    mirrored_hand, mirrored_head = posed(flipped, left_hand)
    mirror_head = lambda points: points[head_mirror.vertex_ids] * FLIP
    np.testing.assert_allclose(mirrored_hand.vertices, hand.vertices * FLIP, atol=2e-6)
    np.testing.assert_allclose(mirrored_head.vertices, mirror_head(head.vertices), atol=2e-6)
    deformed = mirrored_head.vertices - flipped["deformations"]
    expected = mirror_head(head.vertices - sample["deformations"])
    np.testing.assert_allclose(deformed, expected, atol=2e-6)
    is_deformed = np.linalg.norm(flipped["deformations"], axis=-1) > 0
    np.testing.assert_array_equal(flipped["head_contact"], is_deformed)


def test_mirroring_twice_changes_nothing(rng, head_mirror):
    sample, _, _ = random_sample(rng)
    twice = mirror_sample.mirrored(mirror_sample.mirrored(sample, head_mirror), head_mirror)
    assert list(twice) == list(sample)
    for name, value in sample.items():
        np.testing.assert_allclose(twice[name], value, atol=3e-5, err_msg=name)
        assert twice[name].dtype == np.asarray(value).dtype


def test_mirrored_landmarks_are_symmetric_on_the_template():
    head = load_head()
    landmarks = np.asarray(body_models.head_landmarks(head, head.v_template))
    np.testing.assert_allclose(landmarks[MIRRORED_LANDMARKS] * FLIP, landmarks, atol=1e-4)
    np.testing.assert_array_equal(MIRRORED_LANDMARKS[MIRRORED_LANDMARKS], np.arange(68))


def test_missing_labels_and_undetected_keypoints_stay_missing(rng, head_mirror):
    """A photo without 3D labels; an undetected keypoint stays at the origin."""
    keypoints = np.column_stack([rng.uniform(0, CROP_SIZE, (21, 2)), np.ones(21)])
    keypoints = keypoints.astype(np.float32)
    keypoints[3] = 0
    image = rng.integers(0, 256, (CROP_SIZE, CROP_SIZE, 3), dtype=np.uint8)
    sample = dict(image=image, hand_keypoints_2d=keypoints)
    flipped = mirror_sample.mirrored(sample, head_mirror)
    assert set(flipped) == set(sample)
    np.testing.assert_array_equal(flipped["image"][:, ::-1], sample["image"])
    expected = CROP_SIZE - keypoints[4:, 0]
    np.testing.assert_allclose(flipped["hand_keypoints_2d"][4:, 0], expected, atol=1e-4)
    assert not flipped["hand_keypoints_2d"][3].any()
    no_root = augment.RootJoint(np.zeros(3), np.zeros((3, 10)))
    moved = augment.move_in_plane(flipped, 0.1, 1.1, np.zeros(2), no_root, no_root)
    assert set(moved) == set(sample)


def test_the_camera_and_the_other_hand_are_mirrored_too(rng):
    points = rng.normal(0, 0.1, (21, 3)) + (0, 0, 0.8)
    project = lambda points, center: 400 * points[:, :2] / points[:, 2:] + center
    center = np.array([150.0, 80.0], np.float32)
    keypoints = np.column_stack([project(points, center), np.ones(21)]).astype(np.float32)
    sample = {"other_hand_keypoints_2d": keypoints, "camera_center": center}
    flipped = mirror_sample.mirrored(sample, None)
    expected = project(points * FLIP, flipped["camera_center"])
    np.testing.assert_allclose(flipped["other_hand_keypoints_2d"][:, :2], expected, atol=1e-3)
