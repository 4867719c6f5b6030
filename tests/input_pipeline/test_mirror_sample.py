"""Whatever is done to the image plane: the 3D labels, posed and projected, land on the 2D ones."""

import functools

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dice_jax import body_models
from dice_jax.body_models import load_hand, load_head
from dice_jax.body_models.mirror_vertices import mirror_vertices
from dice_jax.datasets import augmentation
from dice_jax.body_models.landmarks import MIRRORED_LANDMARKS
from dice_jax.input_pipeline import augment, mirror_sample
from dice_jax.structs import HandParams, HeadParams

pose_hand, pose_head = jax.jit(body_models.pose_hand), jax.jit(body_models.pose_head)
SIZES = dict(
    hand_betas=10,
    hand_global_orient=3,
    hand_pose=45,
    hand_transl=3,
    head_betas=100,
    head_expression=50,
    head_global_orient=3,
    head_neck_pose=3,
    head_jaw_pose=3,
    head_transl=3,
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
        v_template=hand.v_template * FLIP,
        shapedirs=hand.shapedirs * FLIP[:, None],
        posedirs=hand.posedirs * FLIP[:, None] * signs,
    )


@functools.cache
def symmetric_head():
    """The open head with exactly symmetric landmarks, vertices; its own are so to hundredths of a
    millimeter.
    """
    head = load_head()
    vertices, faces, other = (
        np.asarray(head.v_template),
        np.asarray(head.faces),
        mirror_vertices(head),
    )
    landmarks = np.asarray(body_models.head_landmarks(head, head.v_template))
    chosen = np.zeros(68, int)
    for i, j in enumerate(MIRRORED_LANDMARKS):
        if i <= j:
            allowed = (
                np.flatnonzero(np.abs(vertices[:, 0]) < 1e-7)
                if i == j
                else np.arange(len(vertices))
            )
            chosen[i] = allowed[np.linalg.norm(vertices[allowed] - landmarks[i], axis=-1).argmin()]
            chosen[j] = other[chosen[i]]
    faces_idx = np.array([np.flatnonzero((faces == vertex).any(1))[0] for vertex in chosen])
    bary_coords = (faces[faces_idx] == chosen[:, None]).astype(np.float32)
    return head.replace(lmk_faces_idx=faces_idx, lmk_bary_coords=bary_coords)


def posed(sample, hand_model):
    """In double precision: 1e-3 pixels are a micrometer."""
    field = lambda name: np.asarray(sample[name], np.float64)[None]
    double = lambda model: jax.tree.map(
        lambda x: np.asarray(x, np.float64 if x.dtype == np.float32 else None), model
    )
    hand = HandParams(
        field("hand_betas"), field("hand_global_orient"), field("hand_pose"), field("hand_transl")
    )
    head = HeadParams(
        *(
            field(f"head_{name}")
            for name in ("betas", "expression", "global_orient", "neck_pose", "jaw_pose", "transl")
        )
    )
    with jax.enable_x64(True):
        meshes = pose_hand(double(hand_model), hand), pose_head(double(symmetric_head()), head)
        return jax.tree.map(lambda x: np.asarray(x[0], np.float64), meshes)


def random_sample(rng):
    """Random bodies in front of a random scaled-orthographic camera; keypoints are the projected
    ones.
    """
    sample = {name: rng.normal(0, 0.3, size).astype(np.float32) for name, size in SIZES.items()}
    sample["head_global_orient"] += np.float32([np.pi, 0, 0])
    hand, head = posed(sample, load_hand())
    scale, transl = rng.uniform(300, 700), rng.uniform(80, 140, 2)
    project = lambda points: np.column_stack(
        [scale * points[:, :2] + transl, rng.uniform(0.1, 1, len(points))]
    )
    deformations = np.zeros((5023, 3), np.float32)
    deformations[rng.choice(5023, 40, replace=False)] = rng.normal(0, 0.005, (40, 3))
    sample |= dict(
        image=rng.integers(0, 256, (224, 224, 3), dtype=np.uint8),
        deformations=deformations,
        hand_keypoints_2d=np.float32(project(hand.keypoints)),
        head_keypoints_2d=np.float32(project(head.keypoints)),
        hand_keypoints_depth=hand.keypoints[:, 2],
        head_keypoints_depth=head.keypoints[:, 2],
        head_contact=(np.linalg.norm(deformations, axis=-1) > 0).astype(np.uint8),
        hand_contact=rng.integers(0, 2, 778).astype(np.uint8),
        foreground=rng.random((224, 224)) < 0.5,
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
def test_projection_of_the_moved_scene_is_the_moved_one(
    head_mirror, left_hand, seed, flip, angle, resize, shift
):
    sample, scale, transl = random_sample(np.random.default_rng(seed))
    hand_model = left_hand if flip else load_hand()
    if flip:
        sample, transl = (
            mirror_sample.mirrored(sample, head_mirror),
            np.array([224 - transl[0], transl[1]]),
        )
    roots = augmentation.root_joint(hand_model), registry.root_joint(load_head())
    moved = augment.move_in_plane(sample, angle, resize, np.array(shift), *roots)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    new_transl = resize * turn @ (transl - 112) + 112 + shift
    for name, mesh in zip(("hand", "head"), posed(moved, hand_model)):
        projected = resize * scale * mesh.keypoints[:, :2] + new_transl
        np.testing.assert_allclose(moved[f"{name}_keypoints_2d"][:, :2], projected, atol=1e-3)
        np.testing.assert_allclose(
            moved[f"{name}_keypoints_depth"], mesh.keypoints[:, 2], atol=1e-5
        )


def test_mirrored_meshes_are_the_mirror_images(rng, head_mirror, left_hand):
    sample, _, _ = random_sample(rng)
    flipped = mirror_sample.mirrored(sample, head_mirror)
    (hand, head), (left, right) = posed(sample, load_hand()), posed(flipped, left_hand)
    np.testing.assert_allclose(left.vertices, hand.vertices * FLIP, atol=2e-6)
    np.testing.assert_allclose(
        right.vertices, head.vertices[head_mirror.vertex_ids] * FLIP, atol=2e-6
    )
    deformed = (head.vertices - sample["deformations"])[head_mirror.vertex_ids] * FLIP
    np.testing.assert_allclose(right.vertices - flipped["deformations"], deformed, atol=2e-6)
    np.testing.assert_array_equal(
        flipped["head_contact"], np.linalg.norm(flipped["deformations"], axis=-1) > 0
    )


def test_mirroring_twice_changes_nothing(rng, head_mirror):
    sample, _, _ = random_sample(rng)
    twice = mirror_sample.mirrored(mirror_sample.mirrored(sample, head_mirror), head_mirror)
    assert list(twice) == list(sample)
    for name, value in sample.items():
        np.testing.assert_allclose(twice[name], value, atol=3e-5, err_msg=name)
        assert twice[name].dtype == np.asarray(value).dtype


def test_landmarks_are_swapped_in_pairs_that_are_symmetric_on_the_template():
    head = load_head()
    landmarks = np.asarray(body_models.head_landmarks(head, head.v_template))
    np.testing.assert_allclose(landmarks[MIRRORED_LANDMARKS] * FLIP, landmarks, atol=1e-4)
    np.testing.assert_array_equal(MIRRORED_LANDMARKS[MIRRORED_LANDMARKS], np.arange(68))


def test_what_is_not_there_stays_away(rng, head_mirror):
    """A photograph without 3D labels; a keypoint that was not detected stays at the origin."""
    keypoints = np.column_stack([rng.uniform(0, 224, (21, 2)), np.ones(21)]).astype(np.float32)
    keypoints[3] = 0
    sample = dict(
        image=rng.integers(0, 256, (224, 224, 3), dtype=np.uint8), hand_keypoints_2d=keypoints
    )
    flipped = mirror_sample.mirrored(sample, head_mirror)
    assert set(flipped) == set(sample)
    np.testing.assert_array_equal(flipped["image"][:, ::-1], sample["image"])
    np.testing.assert_allclose(
        flipped["hand_keypoints_2d"][4:, 0], 224 - keypoints[4:, 0], atol=1e-4
    )
    assert not flipped["hand_keypoints_2d"][3].any()
    no_root = augment.RootJoint(np.zeros(3), np.zeros((3, 10)))
    moved = augment.move_in_plane(flipped, 0.1, 1.1, np.zeros(2), no_root, no_root)
    assert set(moved) == set(sample)
