"""Rigs: the loaded skin, posed by an independent reader, equals the package's skinning."""

import dataclasses

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from support.detected_person import MIRROR, left_hand
from support.glb_reader import Glb

from dice_jax.body_models import assets, flame, mano, rig
from dice_jax.io import gltf_skin

TO_GLTF = np.array([1.0, -1.0, -1.0])
TOLERANCE = 1e-5  # meters


@pytest.fixture(scope="module")
def two_handed(person):
    return dataclasses.replace(person, hands=(*person.hands, left_hand(person.hands[0])))


@pytest.fixture(scope="module")
def path(two_handed, tmp_path_factory):
    sizes = {"right_hand": 778, "left_hand": 778, "head": 5023}
    colors = {name: np.full((size, 3), 0.5) for name, size in sizes.items()}
    parts = rig.person_rig(two_handed, assets.load_hand(), assets.load_head(), colors)
    path = tmp_path_factory.mktemp("rig") / "a_rig.glb"
    gltf_skin.write_rig(path, parts, {"source": "a.jpg"})
    return path


def vertices_of(person, name):
    if name == "head":
        return person.head.deformed_vertices
    return next(hand for hand in person.hands if name.startswith(hand.side)).vertices


@pytest.mark.parametrize("name", ["right_hand", "left_hand", "head"])
def test_the_loaded_scene_stands_in_the_pose_of_the_photo(path, two_handed, name):
    expected = vertices_of(two_handed, name) * TO_GLTF
    np.testing.assert_allclose(Glb(path).posed(name), expected, atol=TOLERANCE)


def pose(glb, mesh, joints, rotations):
    """Turns the joints of a mesh, and sets its pose correctives to the entries of R - I."""
    for joint, rotation in zip(joints, rotations):
        glb.node(joint)["rotation"] = rotation.as_quat().tolist()
    entries = np.stack([rotation.as_matrix() for rotation in rotations[1:]]) - np.eye(3)
    count = entries.size
    glb.weights[mesh] = [*glb.weights[mesh][:-count], *entries.ravel()]


@pytest.mark.parametrize("side", ["right", "left"])
def test_posing_the_skin_of_a_hand_is_our_skinning(path, two_handed, rng, side):
    hand = next(hand for hand in two_handed.hands if hand.side == side)
    new = Rotation.from_rotvec(rng.normal(scale=0.4, size=(16, 3)))
    vectors = new.as_rotvec().astype(np.float32)
    params = hand.params.replace(global_orient=vectors[0], hand_pose=vectors[1:].ravel())
    flip = MIRROR if side == "left" else 1.0
    expected = np.asarray(mano.pose_hand(assets.load_hand(), params).vertices) * flip
    if side == "left":
        new = Rotation.from_rotvec(new.as_rotvec() * [1, -1, -1])  # of the mirror image
    glb = Glb(path)
    joints = [f"{side}_hand_{joint}" for joint in rig.HAND_JOINTS]
    for joint, rotation in zip(joints, new):
        glb.node(joint)["rotation"] = rotation.as_quat().tolist()
    entries = Rotation.from_rotvec(vectors[1:]).as_matrix() - np.eye(3)
    glb.weights[f"{side}_hand"] = entries.ravel().tolist()
    np.testing.assert_allclose(glb.posed(f"{side}_hand"), expected * TO_GLTF, atol=TOLERANCE)
    assert np.abs(expected - hand.vertices).max() > 0.02  # it moved


def test_posing_the_skin_of_the_head_is_our_skinning(path, two_handed, rng):
    head = two_handed.head
    new = Rotation.from_rotvec(rng.normal(scale=0.3, size=(3, 3)))
    vectors = new.as_rotvec().astype(np.float32)
    params = head.params.replace(
        global_orient=vectors[0], neck_pose=vectors[1], jaw_pose=vectors[2]
    )
    glb = Glb(path)
    eyes = Rotation.identity(2)
    pose(glb, "head", rig.HEAD_JOINTS, Rotation.concatenate([new, eyes]))
    glb.weights["head"][0] = 0.0  # no deformation
    expected = np.asarray(flame.pose_head(assets.load_head(), params).vertices)
    np.testing.assert_allclose(glb.posed("head"), expected * TO_GLTF, atol=TOLERANCE)


def test_the_first_morph_of_the_head_is_its_deformation(path, two_handed):
    glb = Glb(path)
    head = next(mesh for mesh in glb.document["meshes"] if mesh["name"] == "head")
    assert head["extras"]["targetNames"][0] == rig.DEFORMATION and head["weights"][0] == 1.0
    glb.weights["head"][0] = 0.0
    expected = two_handed.head.vertices * TO_GLTF
    np.testing.assert_allclose(glb.posed("head"), expected, atol=TOLERANCE)


def test_weights_of_every_vertex_sum_to_one_over_at_most_two_sets(path):
    glb = Glb(path)
    for mesh in glb.document["meshes"]:
        attributes = mesh["primitives"][0]["attributes"]
        sets = [glb.array(attributes[key]) for key in attributes if key.startswith("WEIGHTS")]
        assert 1 <= len(sets) <= 2
        np.testing.assert_allclose(np.concatenate(sets, 1).sum(1), 1.0, atol=1e-6)
        assert sets[0].sum(1).min() > 0.99  # readers of four joints lose next to nothing


def test_without_a_head_or_without_hands(person, tmp_path):
    colors = {"right_hand": np.ones((778, 3)), "head": np.ones((5023, 3))}
    bodies = assets.load_hand(), assets.load_head()
    for change, name in (({"head": None}, "right_hand"), ({"hands": ()}, "head")):
        part = dataclasses.replace(person, **change)
        gltf_skin.write_rig(tmp_path / "a.glb", rig.person_rig(part, *bodies, colors))
        assert [mesh["name"] for mesh in Glb(tmp_path / "a.glb").document["meshes"]] == [name]
