"""`load` and `infer`: deterministic, independent of the batch, with one-line errors."""

import json
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util
from support.random_detections import random_detections, random_intrinsics
from support.tiny_model import IMAGE_ALONE, save_tiny_weights

import dice_jax
from dice_jax import errors, inference, models
from dice_jax.body_models import assets, flame, mano
from dice_jax.body_models.landmarks import MIRRORED_LANDMARKS
from dice_jax.checkpoints import config_file, rigid_vertices, weight_shapes
from dice_jax.constants import CROP_SIZE, NUM_HEAD_VERTICES
from dice_jax.geometry import camera
from dice_jax.structs import Detections

RIGID = np.arange(0, NUM_HEAD_VERTICES, 10)  # vertices without deformation


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Random weights with a list of rigid vertices beside them."""
    folder = save_tiny_weights(tmp_path_factory.mktemp("weights") / "tiny")
    np.save(folder / rigid_vertices.FILE, RIGID)
    return folder


@pytest.fixture(scope="module")
def model(folder):
    return dice_jax.load(folder)


@pytest.fixture(scope="module")
def blind(tmp_path_factory):
    """A model that does not see detections, which only tell whether there is a hand."""
    return dice_jax.load(
        save_tiny_weights(tmp_path_factory.mktemp("weights") / "blind", **IMAGE_ALONE)
    )


@pytest.fixture(scope="module")
def images():
    """Two images of 7 x 7 colored patches; noise of single pixels would average out."""
    patches = np.random.default_rng(1).integers(0, 256, (2, 7, 7, 3), np.uint8)
    return patches.repeat(32, axis=1).repeat(32, axis=2)


@pytest.fixture(scope="module")
def prediction(model, images):
    return jax.device_get(dice_jax.infer(model, images))


@pytest.fixture(scope="module")
def blind_prediction(blind, images):
    return jax.device_get(dice_jax.infer(blind, images))


def assert_close(a, b):
    """Equal to 1e-4 meters, radians or probability, and pixels to 1e-5 of the crop."""
    jax.tree.map_with_path(_assert_leaves_close, a, b)


def _assert_leaves_close(path, a, b):
    name = jax.tree_util.keystr(path)
    in_pixels = any(word in name for word in ("2d", "camera", "keypoints_sigma"))
    tolerance = CROP_SIZE * 1e-5 if in_pixels else 1e-4
    np.testing.assert_allclose(a, b, atol=tolerance, rtol=1e-5, err_msg=name)


def test_repeated_calls_give_identical_predictions(model, images, prediction):
    jax.tree.map(np.testing.assert_array_equal, dice_jax.infer(model, images), prediction)


def test_a_prediction_does_not_depend_on_the_rest_of_the_batch(model, images, prediction):
    alone = dice_jax.infer(model, images[1])
    assert_close(alone, jax.tree.map(lambda x: x[1], prediction))
    swapped = dice_jax.infer(model, images[::-1])
    assert_close(jax.tree.map(lambda x: x[::-1], swapped), prediction)


def test_different_images_give_different_predictions(prediction):
    assert np.abs(prediction.hand_vertices[0] - prediction.hand_vertices[1]).max() > 1e-3
    assert np.abs(prediction.hand_contact_probs[0] - prediction.hand_contact_probs[1]).max() > 1e-3


def test_float_and_uint8_images_give_the_same_prediction(model, images, prediction):
    assert_close(dice_jax.infer(model, images.astype(np.float32) / 255.0), prediction)


@pytest.mark.parametrize("leading", [(), (1,), (2, 3)])
def test_leading_dimensions_are_kept(model, prediction, leading):
    shapes = jax.eval_shape(
        dice_jax.infer, model, jax.ShapeDtypeStruct((*leading, CROP_SIZE, CROP_SIZE, 3), np.uint8)
    )
    expected = jax.tree.map(lambda x: (*leading, *x.shape[1:]), prediction)
    assert jax.tree.map(lambda x: x.shape, shapes) == expected


def test_a_nan_pixel_gives_nan_for_its_own_image_only(model, images, prediction):
    floats = images.astype(np.float32) / 255.0
    floats[0, 100, 50, 1] = np.nan
    broken = jax.device_get(dice_jax.infer(model, floats))
    assert all(np.isnan(leaf[0]).all() for leaf in jax.tree.leaves(broken))
    assert_close(jax.tree.map(lambda x: x[1], broken), jax.tree.map(lambda x: x[1], prediction))


def test_the_parameters_pose_the_predicted_vertices(model, prediction):
    hand = jax.jit(mano.pose_hand)(model.hand_model, prediction.hand_params)
    head = jax.jit(flame.pose_head)(model.head_model, prediction.head_params)
    np.testing.assert_allclose(hand.vertices, prediction.hand_vertices, atol=1e-5)
    np.testing.assert_allclose(head.vertices, prediction.head_vertices, atol=1e-5)
    np.testing.assert_allclose(prediction.head_vertices.mean(axis=1), 0.0, atol=1e-6)


def test_the_gate_zeroes_contact_and_deformations_where_nothing_touches(model, images, prediction):
    flat = traverse_util.flatten_dict(model.variables)
    flat["params", "presence", "output", "bias"] -= 20.0
    apart = model.replace(variables=traverse_util.unflatten_dict(flat))
    gated = dice_jax.infer(apart, images)
    free = jax.device_get(dice_jax.infer(apart, images, gate_by_presence=False))
    assert (prediction.contact_presence > 0.5).all()
    assert (free.contact_presence < 0.01).all()
    for name in ("hand_contact_probs", "head_contact_probs", "deformations"):
        assert not np.any(getattr(gated, name))
        np.testing.assert_allclose(getattr(free, name), getattr(prediction, name), atol=1e-5)
        assert np.any(getattr(prediction, name))
    np.testing.assert_allclose(gated.deformed_head_vertices, gated.head_vertices, atol=1e-7)


def detections(confidence):
    """Random landmarks; `confidence` is that of the hand for each image, any shape."""
    rng = np.random.default_rng(2)
    leading = np.shape(confidence)
    hand = rng.uniform(0, CROP_SIZE, (*leading, 21, 4)).astype(np.float32)
    # The surest keypoint counts.
    shares = rng.uniform(0, 0.9, (*leading, 21)).astype(np.float32)
    shares[..., 7] = 1.0
    hand[..., 3] = shares * np.asarray(confidence, np.float32)[..., None]
    face = rng.uniform(0, 1, (*leading, 468, 4)).astype(np.float32)
    return Detections(hand, rng.normal(size=(*leading, 21, 3)).astype(np.float32), face)


CONTACT = ("hand_contact_probs", "head_contact_probs", "contact_presence", "deformations")


def test_where_no_hand_was_detected_nothing_touches(blind, images, blind_prediction):
    seen = jax.device_get(dice_jax.infer(blind, images, detections([0.0, 0.9])))
    np.testing.assert_allclose(seen.hand_presence, [0.0, 0.9])
    for name in CONTACT:
        assert not np.any(getattr(seen, name)[0]) and np.any(getattr(blind_prediction, name)[0])
    np.testing.assert_array_equal(seen.deformed_head_vertices[0], seen.head_vertices[0])
    # Nothing else changes, and nothing of the other image.
    same = {name: getattr(blind_prediction, name) for name in (*CONTACT, "deformed_head_vertices")}
    assert_close(
        seen.replace(**same, hand_presence=blind_prediction.hand_presence), blind_prediction
    )
    for name in same:
        np.testing.assert_allclose(getattr(seen, name)[1], same[name][1], atol=1e-5)


def test_without_the_gate_a_missing_hand_is_only_told(blind, images):
    free = jax.device_get(dice_jax.infer(blind, images, gate_by_presence=False))
    told = dice_jax.infer(blind, images, detections([0.2, 0.0]), gate_by_presence=False)
    np.testing.assert_allclose(told.hand_presence, [0.2, 0.0])
    assert_close(told.replace(hand_presence=free.hand_presence), free)


def test_without_detections_every_hand_is_there_unless_the_network_doubts_it(
    blind, images, blind_prediction
):
    np.testing.assert_array_equal(blind_prediction.hand_presence, [1.0, 1.0])
    given = dice_jax.infer(blind, images, None)
    jax.tree.map(np.testing.assert_array_equal, given, blind_prediction)
    sure = dice_jax.infer(blind, images, detections([1.0, 1.0]))
    assert_close(sure, blind_prediction)


def test_a_network_may_doubt_the_hand(model, images, prediction):
    flat = traverse_util.flatten_dict(model.variables)
    flat["params", "hand_presence", "output", "bias"] -= 20.0
    doubting = model.replace(variables=traverse_util.unflatten_dict(flat))
    seen = jax.device_get(dice_jax.infer(doubting, images))
    assert (prediction.hand_presence > 0.5).all() and (seen.hand_presence < 0.01).all()
    assert not any(np.any(getattr(seen, name)) for name in CONTACT)
    # Detectors know better.
    sure = dice_jax.infer(doubting, images, detections([1.0, 1.0]))
    np.testing.assert_array_equal(sure.hand_presence, [1.0, 1.0])


def test_detections_and_cameras_are_mirrored_for_a_left_hand(rng, model, images):
    found, camera = random_detections(rng, 2), random_intrinsics(rng, 2)
    right = jax.device_get(dice_jax.infer(model, images, found, camera))
    mirrored = inference.mirror_inputs(images, found, camera)
    left = jax.device_get(dice_jax.infer(model, *mirrored, hand="left"))
    assert_close(left, jax.device_get(inference.mirror(right)))
    plain = dice_jax.infer(model, images)
    assert np.abs(right.hand_vertices - plain.hand_vertices).max() > 1e-3  # it sees them


@pytest.mark.parametrize("leading", [(), (1,), (2, 3)])
def test_leading_dimensions_of_detections_are_kept(model, prediction, leading):
    image = jax.ShapeDtypeStruct((*leading, CROP_SIZE, CROP_SIZE, 3), np.uint8)
    shapes = jax.eval_shape(dice_jax.infer, model, image, detections(np.ones(leading)))
    expected = jax.tree.map(lambda x: (*leading, *x.shape[1:]), prediction)
    assert jax.tree.map(lambda x: x.shape, shapes) == expected


def test_a_nan_pixel_beats_a_missing_hand(model, images):
    floats = images.astype(np.float32) / 255.0
    floats[0, 0, 0, 0] = np.nan
    broken = jax.device_get(dice_jax.infer(model, floats, detections([0.0, 0.0])))
    assert all(np.isnan(leaf[0]).all() for leaf in jax.tree.leaves(broken))
    assert all(np.isfinite(leaf[1]).all() for leaf in jax.tree.leaves(broken))


def test_a_left_hand_is_predicted_as_a_mirrored_right_hand(model, images, prediction):
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


def test_mirroring_keeps_the_projection_and_undoes_itself(prediction):
    """The mirrored camera projects the mirrored 3D keypoints to the mirrored 2D keypoints."""
    mirrored = inference.mirror(prediction)
    for part in ("hand", "head"):
        points = getattr(mirrored, f"{part}_keypoints_3d")
        projected = camera.project_orthographic(
            points, mirrored.camera.scale, mirrored.camera.transl
        )
        np.testing.assert_allclose(projected, getattr(mirrored, f"{part}_keypoints_2d"), atol=1e-2)
    assert_close(inference.mirror(mirrored), prediction)


def test_mirrored_landmarks_lie_where_the_landmarks_of_the_symmetric_template_lie():
    head = assets.load_head()
    landmarks = np.asarray(flame.head_landmarks(head, head.v_template))
    flipped = landmarks * [-1.0, 1.0, 1.0]
    largest = lambda points: np.linalg.norm(points - landmarks, axis=-1).max()
    assert largest(flipped[MIRRORED_LANDMARKS]) < 0.006
    assert largest(flipped) > 0.05


def test_rigid_vertices_are_not_deformed(prediction):
    assert not prediction.deformations[:, RIGID].any()
    rigid_head = prediction.head_vertices[:, RIGID]
    np.testing.assert_allclose(prediction.deformed_head_vertices[:, RIGID], rigid_head, atol=1e-7)
    others = np.delete(prediction.deformations, RIGID, axis=1)
    assert np.any(others, axis=-1).all()


def test_wrong_arguments_raise_a_one_line_error(model):
    with pytest.raises(
        ValueError, match=r"must be \(..., 224, 224, 3\) RGB crops, got shape \(3, 224, 224\)"
    ):
        dice_jax.infer(model, np.zeros((3, 224, 224), np.uint8))
    with pytest.raises(ValueError, match='hand must be "right" or "left", got \'both\''):
        dice_jax.infer(model, np.zeros((224, 224, 3), np.uint8), hand="both")


def test_infer_is_jitted_and_importing_dice_jax_does_not_import_jax():
    assert callable(inference.infer_checked.lower)
    code = (
        "import sys, dice_jax; "
        "assert 'jax' not in sys.modules and 'flax' not in sys.modules; "
        "dice_jax.nonsense"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "AttributeError: module 'dice_jax' has no attribute 'nonsense'" in result.stderr


@pytest.fixture
def copy(folder, tmp_path):
    """A copy of the weights that a test may damage."""
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path


def test_truncated_weights_raise_a_one_line_error(copy):
    path = copy / "weights.npz"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ValueError, match=r"weights\.npz is not exported weights") as caught:
        dice_jax.load(copy)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda flat, name: flat.pop(name), "missing"),
        (lambda flat, name: flat.update({name: np.zeros((3, 5), np.float32)}), "another shape"),
        (lambda flat, name: flat.update({name + "x": np.zeros(3, np.float32)}), "unknown"),
    ],
)
def test_the_first_weight_that_does_not_fit_is_named(copy, damage, message):
    with np.load(copy / "weights.npz") as archive:
        flat = dict(archive)
    name = next(name for name in flat if name.endswith("kernel"))
    damage(flat, name)
    np.savez(copy / "weights.npz", **flat)
    with pytest.raises(ValueError, match=message) as caught:
        dice_jax.load(copy)
    assert name in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("content", ["", "[1]", '{"shapes": {}}', "[" * 9999, "<html>"])
def test_damaged_shapes_raise_a_one_line_error(copy, content):
    (copy / "shapes.json").write_text(content)
    with pytest.raises(ValueError, match=r"shapes\.json") as caught:
        dice_jax.load(copy)
    assert "\n" not in str(caught.value)


def test_a_shape_of_other_things_than_numbers_is_an_error(copy):
    shapes = json.loads((copy / "shapes.json").read_text())
    for bad in ([-1], [1.5], [True], "33", [1] * 99, None):
        shapes["shapes"]["params/x"] = bad
        (copy / "shapes.json").write_text(json.dumps(shapes))
        with pytest.raises(ValueError, match="is no shape"):
            dice_jax.load(copy)


def test_shapes_are_those_that_the_network_says(folder, model):
    """Of the weights with shapes, without, and with those of another configuration."""
    config = config_file.load_config(folder)
    kept = weight_shapes.load_shapes(folder, config.model)
    module, queries = models.ModelConfig.from_dict(config.model).create(
        model.hand_model, model.head_model
    )
    image = jax.ShapeDtypeStruct((1, 224, 224, 3), jnp.float32)
    init = lambda key, image: module.init(key, image, queries, train=False)
    expected = jax.eval_shape(init, jax.random.key(0), image)
    assert jax.tree.map(jnp.shape, dict(expected)) == jax.tree.map(jnp.shape, kept)
    config.model.query_pose = "mean"
    assert weight_shapes.load_shapes(folder, config.model) is None


def test_weights_without_shapes_are_checked_too(copy):
    (copy / "shapes.json").unlink()
    dice_jax.load(copy)
    with np.load(copy / "weights.npz") as archive:
        flat = dict(archive)
    name = next(name for name in flat if name.endswith("kernel"))
    del flat[name]
    np.savez(copy / "weights.npz", **flat)
    with pytest.raises(ValueError, match="missing"):
        dice_jax.load(copy)


def test_weights_of_another_version_of_the_network_are_one_line(folder, model, images):
    flat = traverse_util.flatten_dict(model.variables)
    name = next(name for name in flat if name[-1] == "kernel" and flat[name].ndim == 2)
    for changed in (np.zeros((3, 5), np.float32), None):
        damaged = {key: value for key, value in flat.items() if key != name}
        if changed is not None:
            damaged[name] = changed
        other = model.replace(variables=traverse_util.unflatten_dict(damaged))
        with pytest.raises(errors.UserError, match=r"another|do not fit") as caught:
            dice_jax.infer(other, images)
        assert "\n" not in str(caught.value)


def test_unknown_weights_list_the_shipped_ones(tmp_path):
    with pytest.raises(
        FileNotFoundError, match="no weights called 'defualt': neither a folder nor shipped"
    ):
        dice_jax.load("defualt")
    with pytest.raises(FileNotFoundError, match=r"config\.json is missing"):
        dice_jax.load(tmp_path)


def test_a_configuration_without_a_model_section_is_an_error(copy):
    (copy / "config.json").write_text(json.dumps({"seed": 0}))
    with pytest.raises(ValueError, match="no section 'model'"):
        dice_jax.load(copy)
