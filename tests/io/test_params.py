"""The parameter file: names, missing parts, the camera of the photo, no pickled objects."""

import dataclasses
import json

import numpy as np
import pytest
from support.detected_person import MIRROR, SHAPE, left_hand

from dice_jax.body_models import assets, flame, mano
from dice_jax.geometry import rotations
from dice_jax.io import params
from dice_jax.structs import HandParams, HeadParams

HAND_PARAMS = ("betas", "global_orient", "hand_pose", "transl")
HEAD_PARAMS = ("betas", "expression", "global_orient", "neck_pose", "jaw_pose", "transl")


@pytest.fixture(scope="module")
def two_handed(person):
    return dataclasses.replace(person, hands=(*person.hands, left_hand(person.hands[0])))


@pytest.fixture(scope="module")
def arrays(two_handed, tmp_path_factory):
    path = tmp_path_factory.mktemp("params") / "a_params.npz"
    params.write_params(path, params.to_arrays(two_handed, SHAPE))
    return params.read_params(path)


def test_stored_parameters_reproduce_the_stored_vertices(arrays):
    head = HeadParams(**{name: arrays[f"head_{name}"] for name in HEAD_PARAMS})
    posed_head = flame.pose_head(assets.load_head(), head)
    np.testing.assert_allclose(posed_head.vertices, arrays["head_vertices"], atol=1e-6)
    for part, flip in (("right_hand", 1.0), ("left_hand", MIRROR)):
        hand = HandParams(**{name: arrays[f"{part}_{name}"] for name in HAND_PARAMS})
        vertices = np.asarray(mano.pose_hand(assets.load_hand(), hand).vertices) * flip
        np.testing.assert_allclose(vertices, arrays[f"{part}_vertices"], atol=1e-6)


def test_the_stored_pinhole_projects_the_stored_keypoints(arrays):
    for part in ("head", "right_hand", "left_hand"):
        x, y, z = (arrays[f"{part}_keypoints_3d"] + arrays["full_transl"]).T
        pixels = arrays["focal_length"] * np.stack([x / z, y / z], 1) + arrays["camera_center"]
        np.testing.assert_allclose(pixels, arrays[f"{part}_keypoints_2d"], atol=0.01)


def test_the_stored_values_are_those_of_the_person(two_handed, arrays):
    right, left = two_handed.hands
    for part, source in (("head", two_handed.head), ("right_hand", right), ("left_hand", left)):
        for name in ("contact_probs", "keypoints_2d", "keypoints_sigma", "score", "residual"):
            np.testing.assert_allclose(arrays[f"{part}_{name}"], getattr(source, name), rtol=1e-6)
    assert arrays["left_hand_contact_presence"] == pytest.approx(left.contact_presence)
    np.testing.assert_array_equal(arrays["deformations"], two_handed.head.deformations)
    np.testing.assert_array_equal(arrays["crop_box"], two_handed.crop_box.astype(np.float32))
    np.testing.assert_array_equal(arrays["cam_scale"], two_handed.crop_camera.scale)
    np.testing.assert_array_equal(arrays["image_size"], SHAPE)


@pytest.mark.parametrize(
    ("change", "absent", "there"),
    [
        ({"hands": ()}, ("right_hand", "left_hand"), "head_vertices"),
        ({"head": None}, ("head", "left_hand", "deformations"), "right_hand_vertices"),
    ],
)
def test_a_part_that_was_not_found_has_no_array(person, change, absent, there):
    arrays = params.to_arrays(dataclasses.replace(person, **change), SHAPE)
    assert there in arrays and "focal_length" in arrays
    assert not [name for name in arrays if name.startswith(absent)]


def test_the_table_of_names_is_complete(arrays):
    """Every array is one of the documented ones."""
    parts = tuple(f"{part}_" for part in ("head", "right_hand", "left_hand"))
    documented = params.to_arrays.__doc__
    for name in arrays:
        prefix = next((part for part in parts if name.startswith(part)), "")
        bare = name.removeprefix(prefix)
        bare = bare.removesuffix("_matrix")
        if bare not in HEAD_PARAMS + HAND_PARAMS:
            assert (
                f"`PART_{bare}`" in documented
                or f"`{name}`" in documented
                or (bare == "contact_presence")
            ), name


def test_a_person_is_read_back_from_its_arrays(two_handed, person, arrays):
    again = params.from_arrays(arrays)
    for name, value in params.to_arrays(again, SHAPE).items():
        np.testing.assert_allclose(value, arrays[name], atol=1e-6, err_msg=name)
    assert {hand.side for hand in again.hands} == {"right", "left"}
    for change in ({"hands": ()}, {"head": None}):
        part = params.to_arrays(dataclasses.replace(person, **change), SHAPE)
        assert set(params.to_arrays(params.from_arrays(part), SHAPE)) == set(part)


def test_matrices_are_those_of_the_axis_angle_vectors(arrays):
    for name in ("head_global_orient", "head_jaw_pose", "right_hand_hand_pose"):
        vectors = arrays[name].reshape(-1, 3)
        matrices = arrays[f"{name}_matrix"].reshape(-1, 3, 3)
        np.testing.assert_allclose(matrices, rotations.axis_angle_to_matrix(vectors), atol=1e-6)


def test_the_pinhole_of_the_crop_sees_the_keypoints_where_the_crop_shows_them(arrays):
    points = arrays["head_keypoints_3d"] + arrays["full_transl"]
    pixels = arrays["crop_focal_length"] * points[:, :2] / points[:, 2:]
    left, top, side = arrays["crop_box"]
    expected = (arrays["head_keypoints_2d"] - [left, top]) * 224 / side
    np.testing.assert_allclose(pixels + arrays["crop_camera_center"], expected, atol=0.01)


def test_the_json_file_holds_the_parameters_and_cameras(two_handed, arrays, tmp_path):
    document = params.to_document(arrays, {"source": "ä.jpg"})
    params.write_document(tmp_path / "a.json", document)
    read = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))
    assert read == document and read["source"] == "ä.jpg"
    assert set(read["conventions"]) == set(params.CONVENTIONS)
    assert np.shape(read["left_hand"]["hand_pose"]["axis_angle"]) == (15, 3)
    assert np.shape(read["left_hand"]["hand_pose"]["matrix"]) == (15, 3, 3)
    assert np.shape(read["head"]["jaw_pose"]["axis_angle"]) == (3,)
    np.testing.assert_allclose(read["head"]["betas"], arrays["head_betas"], rtol=1e-6)
    assert read["image_size"] == {"height": SHAPE[0], "width": SHAPE[1]}
    camera = read["camera_photo"]
    points = np.array(read["head"]["keypoints_3d"]) + camera["transl"]
    pixels = camera["focal_length"] * points[:, :2] / points[:, 2:] + camera["center"]
    np.testing.assert_allclose(pixels, read["head"]["keypoints_2d"], atol=0.01)
    assert "vertices" not in read["head"]


def test_what_is_not_finite_is_null_in_json(person):
    head = dataclasses.replace(person.head, residual=np.nan, keypoints_sigma=np.full(68, np.inf))
    arrays = params.to_arrays(dataclasses.replace(person, head=head), SHAPE)
    document = params.to_document(arrays)
    assert document["head"]["residual"] is None and document["head"]["keypoints_sigma"][0] is None
    json.dumps(document, allow_nan=False)


def test_no_array_of_the_file_is_pickled(arrays):
    assert all(value.dtype.kind in "fib" for value in arrays.values())


def test_the_file_says_how_poses_are_read(arrays):
    assert arrays["flat_hand_mean"] and not arrays["use_pca"] and arrays["mirrored_left_hand"]
