"""The parameter file: names, missing parts, the camera of the photo, no pickled objects."""

import dataclasses

import numpy as np
import pytest
from support.detected_person import MIRROR, SHAPE, left_hand

from dice_jax.body_models import assets, flame, mano
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
        if bare not in HEAD_PARAMS + HAND_PARAMS:
            assert (
                f"`PART_{bare}`" in documented
                or f"`{name}`" in documented
                or (bare == "contact_presence")
            ), name


def test_no_array_of_the_file_is_pickled(arrays):
    assert all(value.dtype.kind in "fib" for value in arrays.values())


def test_the_file_says_how_poses_are_read(arrays):
    assert arrays["flat_hand_mean"] and not arrays["use_pca"] and arrays["mirrored_left_hand"]
