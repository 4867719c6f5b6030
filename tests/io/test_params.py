"""The parameter file: names, the camera of the whole photo, and no pickled objects."""

import numpy as np
import pytest

from dice_jax.body_models import assets, flame, mano
from dice_jax.constants import CROP_SIZE
from dice_jax.geometry import camera
from dice_jax.geometry.crop import CropBox
from dice_jax.io import params
from dice_jax.structs import HandParams, HeadParams

BOX, SHAPE = CropBox(-12.5, 40.0, 310.0), (600, 400)


@pytest.fixture(scope="module")
def arrays(prediction, tmp_path_factory):
    path = tmp_path_factory.mktemp("params") / "a_params.npz"
    params.write_params(path, params.to_arrays(prediction, BOX, SHAPE))
    return params.read_params(path)


def test_stored_parameters_reproduce_the_stored_vertices(arrays):
    hand_names = ("betas", "global_orient", "hand_pose", "transl")
    hand = HandParams(**{name: arrays[f"hand_{name}"] for name in hand_names})
    head_names = ("betas", "expression", "global_orient", "neck_pose", "jaw_pose", "transl")
    head = HeadParams(**{name: arrays[f"head_{name}"] for name in head_names})
    posed_hand = mano.pose_hand(assets.load_hand(), hand)
    posed_head = flame.pose_head(assets.load_head(), head)
    np.testing.assert_allclose(posed_hand.vertices, arrays["hand_vertices"], atol=1e-6)
    np.testing.assert_allclose(posed_head.vertices, arrays["head_vertices"], atol=1e-6)


@pytest.mark.parametrize("focal_length", [None, 1e5])
def test_the_photo_camera_agrees_with_the_crop_camera(prediction, focal_length):
    """Exactly on the plane z = 0, and in the limit of a long focal length everywhere."""
    arrays = params.to_arrays(prediction, BOX, SHAPE, focal_length=focal_length)
    points = np.asarray(prediction.hand_keypoints_3d).copy()
    if focal_length is None:
        assert arrays["focal_length"] == pytest.approx(np.hypot(*SHAPE))
        points[:, 2] = 0.0
    crop_px = camera.project_orthographic(points, arrays["cam_scale"], arrays["cam_transl"])
    photo_px = camera.project_perspective(
        points + arrays["full_transl"], arrays["focal_length"], arrays["camera_center"]
    )
    assert np.abs(BOX.to_photo(crop_px) - photo_px).max() < 1.0


def test_keypoints_are_pixels_of_the_photo(prediction, arrays):
    expected = np.asarray(prediction.hand_keypoints_2d) * BOX.size / CROP_SIZE + [-12.5, 40.0]
    np.testing.assert_allclose(arrays["hand_keypoints_2d"], expected, rtol=1e-5)
    np.testing.assert_array_equal(arrays["crop_box"], [-12.5, 40.0, 310.0])
    np.testing.assert_array_equal(arrays["image_size"], SHAPE)


def test_no_array_of_the_file_is_pickled(arrays):
    assert all(value.dtype.kind in "fiU" for value in arrays.values())
    assert str(arrays["hand_side"]) == "right"
