"""`load` and `infer`: pure, deterministic, independent of the batch, and clear about what is wrong."""

import json
import subprocess
import sys

import jax
import numpy as np
import pytest
from flax import traverse_util
from support.tiny_model import save_tiny_weights

import dice_jax
from dice_jax import inference
from dice_jax.body_models import assets, flame, mano
from dice_jax.geometry import camera


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_tiny_weights(tmp_path_factory.mktemp("weights") / "tiny")


@pytest.fixture(scope="module")
def model(folder):
    return dice_jax.load(folder)


@pytest.fixture(scope="module")
def images():
    """Colored patches: white noise would average out."""
    return (
        np.random.default_rng(1)
        .integers(0, 256, (2, 7, 7, 3), np.uint8)
        .repeat(32, axis=1)
        .repeat(32, axis=2)
    )


@pytest.fixture(scope="module")
def prediction(model, images):
    return jax.device_get(dice_jax.infer(model, images))


def assert_close(a, b):
    """To 1e-4 of a meter, a radian or a probability; pixels, sums that cancel, to 1e-5 of the crop."""
    jax.tree.map_with_path(_assert_leaves_close, a, b)


def _assert_leaves_close(path, a, b):
    name = jax.tree_util.keystr(path)
    tolerance = 224e-5 if "2d" in name or "camera" in name else 1e-4
    np.testing.assert_allclose(a, b, atol=tolerance, rtol=1e-5, err_msg=name)


def test_the_same_images_give_the_same_bits(model, images, prediction):
    jax.tree.map(np.testing.assert_array_equal, dice_jax.infer(model, images), prediction)


def test_a_prediction_does_not_depend_on_its_batch(model, images, prediction):
    alone = dice_jax.infer(model, images[1])
    assert_close(alone, jax.tree.map(lambda x: x[1], prediction))
    swapped = dice_jax.infer(model, images[::-1])
    assert_close(jax.tree.map(lambda x: x[::-1], swapped), prediction)


def test_images_are_told_apart(prediction):
    assert np.abs(prediction.hand_vertices[0] - prediction.hand_vertices[1]).max() > 1e-3
    assert np.abs(prediction.hand_contact_probs[0] - prediction.hand_contact_probs[1]).max() > 1e-3


def test_float_and_uint8_agree(model, images, prediction):
    assert_close(dice_jax.infer(model, images.astype(np.float32) / 255.0), prediction)


@pytest.mark.parametrize("leading", [(), (1,), (2, 3)])
def test_leading_dimensions_come_back(model, prediction, leading):
    shapes = jax.eval_shape(
        dice_jax.infer, model, jax.ShapeDtypeStruct((*leading, 224, 224, 3), np.uint8)
    )
    jax.tree.map(
        lambda got, one: got.shape == (*leading, *one.shape[1:]) or pytest.fail(str(got)),
        shapes,
        prediction,
    )


def test_a_nan_pixel_spoils_its_own_image_and_no_other(model, images, prediction):
    floats = images.astype(np.float32) / 255.0
    floats[0, 100, 50, 1] = np.nan
    spoilt = jax.device_get(dice_jax.infer(model, floats))
    assert all(np.isnan(leaf[0]).all() for leaf in jax.tree.leaves(spoilt))
    assert_close(jax.tree.map(lambda x: x[1], spoilt), jax.tree.map(lambda x: x[1], prediction))


def test_the_parameters_reproduce_the_vertices(model, prediction):
    hand = jax.jit(mano.pose_hand)(model.hand_model, prediction.hand_params)
    head = jax.jit(flame.pose_head)(model.head_model, prediction.head_params)
    np.testing.assert_allclose(hand.vertices, prediction.hand_vertices, atol=1e-5)
    np.testing.assert_allclose(head.vertices, prediction.head_vertices, atol=1e-5)
    np.testing.assert_allclose(prediction.head_vertices.mean(axis=1), 0.0, atol=1e-6)


def test_the_gate_takes_contact_and_dent_away_where_nothing_touches(model, images, prediction):
    flat = traverse_util.flatten_dict(model.variables)
    flat["params", "presence", "output", "bias"] -= 20.0
    apart = model.replace(variables=traverse_util.unflatten_dict(flat))
    gated, free = (
        dice_jax.infer(apart, images),
        dice_jax.infer(apart, images, gate_by_presence=False),
    )
    assert (prediction.contact_presence > 0.5).all() and (
        np.asarray(free.contact_presence) < 0.01
    ).all()
    for name in ("hand_contact_probs", "head_contact_probs", "deformations"):
        assert not np.any(getattr(gated, name))
        np.testing.assert_allclose(getattr(free, name), getattr(prediction, name), atol=1e-5)
        assert np.any(getattr(prediction, name))
    np.testing.assert_array_equal(gated.deformed_head_vertices, gated.head_vertices)


def test_a_left_hand_is_a_mirrored_right_hand(model, images, prediction):
    left = jax.device_get(dice_jax.infer(model, images[:, :, ::-1], hand="left"))
    flip = np.array([-1.0, 1.0, 1.0])
    for name in (
        "hand_vertices",
        "head_vertices",
        "deformations",
        "deformed_head_vertices",
        "hand_keypoints_3d",
    ):
        np.testing.assert_allclose(getattr(left, name), getattr(prediction, name) * flip, atol=1e-5)
    np.testing.assert_allclose(left.hand_contact_probs, prediction.hand_contact_probs, atol=1e-5)
    expected = np.array([224.0, 0.0]) + prediction.hand_keypoints_2d * [-1.0, 1.0]
    np.testing.assert_allclose(left.hand_keypoints_2d, expected, atol=1e-2)


def test_a_mirrored_prediction_is_consistent(prediction):
    """Its camera projects its keypoints onto its 2D keypoints, and mirroring again undoes it."""
    mirrored = inference.mirror(prediction)
    for part in ("hand", "head"):
        points = getattr(mirrored, f"{part}_keypoints_3d")
        projected = camera.project_orthographic(
            points, mirrored.camera.scale, mirrored.camera.transl
        )
        np.testing.assert_allclose(projected, getattr(mirrored, f"{part}_keypoints_2d"), atol=1e-2)
    assert_close(inference.mirror(mirrored), prediction)


def test_mirrored_landmarks_keep_their_meaning():
    """The template is nearly symmetric: its mirror image has its landmarks in nearly the same
    places.
    """
    head = assets.load_head()
    landmarks = np.asarray(flame.head_landmarks(head, head.v_template))
    mirrored = (landmarks * [-1.0, 1.0, 1.0])[inference._MIRRORED_LANDMARKS]
    assert np.linalg.norm(mirrored - landmarks, axis=-1).max() < 0.006
    assert (
        np.linalg.norm(landmarks * [-1.0, 1.0, 1.0] - landmarks, axis=-1).max() > 0.05
    )  # without it, far off


def test_wrong_arguments_are_named(model):
    with pytest.raises(
        ValueError, match=r"must be \(..., 224, 224, 3\) RGB crops, got shape \(3, 224, 224\)"
    ):
        dice_jax.infer(model, np.zeros((3, 224, 224), np.uint8))
    with pytest.raises(ValueError, match='hand must be "right" or "left", got \'both\''):
        dice_jax.infer(model, np.zeros((224, 224, 3), np.uint8), hand="both")


def test_infer_is_jitted_and_nothing_is_imported_before_it_is_used():
    assert callable(dice_jax.infer.lower)
    code = "import sys, dice_jax; assert 'jax' not in sys.modules and 'flax' not in sys.modules; dice_jax.nonsense"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "AttributeError: module 'dice_jax' has no attribute 'nonsense'" in result.stderr


@pytest.fixture
def copy(folder, tmp_path):
    """A copy of the weights to spoil."""
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path


def test_truncated_weights_are_named(copy):
    path = copy / "weights.npz"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ValueError, match=r"weights\.npz is damaged") as caught:
        dice_jax.load(copy)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda flat, name: flat.pop(name), "missing"),
        (lambda flat, name: flat.update({name: np.zeros((3, 5), np.float32)}), "another shape"),
        (lambda flat, name: flat.update({name + "x": np.zeros(3, np.float32)}), "unknown"),
    ],
)
def test_weights_that_do_not_fit_are_named(copy, spoil, message):
    with np.load(copy / "weights.npz") as archive:
        flat = dict(archive)
    name = next(name for name in flat if name.endswith("kernel"))
    spoil(flat, name)
    np.savez(copy / "weights.npz", **flat)
    with pytest.raises(ValueError, match=message) as caught:
        dice_jax.load(copy)
    assert name in str(caught.value) and "\n" not in str(caught.value)


def test_unknown_weights_list_what_there_is(tmp_path):
    with pytest.raises(
        FileNotFoundError, match="no weights called 'defualt': neither a folder nor shipped"
    ):
        dice_jax.load("defualt")
    with pytest.raises(FileNotFoundError, match=r"config\.json is missing"):
        dice_jax.load(tmp_path)


def test_a_configuration_without_a_network_is_named(copy):
    (copy / "config.json").write_text(json.dumps({"seed": 0}))
    with pytest.raises(ValueError, match="no section 'model'"):
        dice_jax.load(copy)
