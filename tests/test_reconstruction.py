"""From a photo to people, with known detections, and with the detectors on the shipped samples."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support import detected_person
from support.detected_person import MIRROR, SHAPE, mirrored, touching_person
from support.tiny_model import save_tiny_weights

import dice_jax
from dice_jax import demo, inference
from dice_jax.body_models import assets, flame, mano
from dice_jax.body_models.landmarks import MIRRORED_LANDMARKS
from dice_jax.detection.results import DetectedPerson
from dice_jax.fitting import detector_points
from dice_jax.geometry import crop
from dice_jax.geometry.crop import CropBox
from dice_jax.io import images
from dice_jax.structs import Detections, Intrinsics
from dice_jax.turned_photo import turn_detections, turn_pixels

PINHOLE = 0.01  # pixels


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return dice_jax.load(save_tiny_weights(tmp_path_factory.mktemp("weights") / "tiny"))


@pytest.fixture(scope="module")
def photo():
    return np.random.default_rng(0).integers(0, 256, (*SHAPE, 3), np.uint8)


@pytest.fixture(scope="module")
def detections():
    return detected_person.detections()


@pytest.fixture(scope="module")
def person(model, photo, detections):
    (person,) = dice_jax.reconstruct(model, photo, people=[detections])
    return person


def parts(person):
    return [part for part in (person.head, *person.hands) if part is not None]


def moved(found, offset):
    """The detections with all points moved by `offset` pixels."""
    move = lambda part: part and dataclasses.replace(part, points=part.points + [*offset, 0.0])
    return DetectedPerson(move(found.face), tuple(map(move, found.hands)))


def assert_finite(person):
    leaves = jax.tree.leaves([dataclasses.asdict(person)])
    assert all(np.isfinite(leaf).all() for leaf in leaves if not isinstance(leaf, str))


def assert_equal(a, b):
    jax.tree.map(np.testing.assert_array_equal, dataclasses.asdict(a), dataclasses.asdict(b))


################ The fit ################


def test_perfect_detections_are_reproduced(model, person):
    truth = touching_person()
    error = np.linalg.norm(person.head.keypoints_2d - truth.head.keypoints_2d, axis=-1)
    assert error.max() < 0.5  # pixels
    (hand,) = person.hands
    error = np.linalg.norm(hand.keypoints_2d - truth.hands[0].keypoints_2d, axis=-1)
    assert error.mean() < 8.0  # random weights pull it by centimeters
    assert hand.side == "right" and hand.score == 0.95 and person.head.score == 0.99
    scale = person.photo_camera.transl[2] / detected_person.CAMERA.transl[2]
    # An image does not tell a small near head from a large far one.
    expected = scale * truth.head.vertices
    faces_idx, _ = detector_points.face_mesh_points(model.head_model)
    seen = np.unique(np.asarray(model.head_model.faces)[faces_idx])
    np.testing.assert_allclose(person.head.vertices[seen], expected[seen], atol=4e-3)
    # Behind the face the random weights pull it too.
    assert np.linalg.norm(person.head.vertices - expected, axis=-1).mean() < 3e-3


def test_the_parameters_pose_the_vertices(person):
    head = flame.pose_head(assets.load_head(), person.head.params)
    np.testing.assert_allclose(head.vertices, person.head.vertices, atol=1e-5)
    np.testing.assert_allclose(head.keypoints, person.head.keypoints_3d, atol=1e-5)
    np.testing.assert_allclose(person.head.vertices.mean(0), 0.0, atol=1e-6)
    hand = mano.pose_hand(assets.load_hand(), person.hands[0].params)
    np.testing.assert_allclose(hand.vertices, person.hands[0].vertices, atol=1e-5)
    np.testing.assert_allclose(hand.keypoints, person.hands[0].keypoints_3d, atol=1e-5)


def test_the_pinhole_projects_the_keypoints(person):
    camera = person.photo_camera
    for part in parts(person):
        x, y, z = (np.asarray(part.keypoints_3d, np.float64) + camera.transl).T
        pixels = np.stack([x / z, y / z], axis=-1) * camera.focal_length + camera.center
        np.testing.assert_allclose(part.keypoints_2d, pixels, atol=PINHOLE)
    assert camera.focal_length == pytest.approx(np.hypot(*SHAPE))
    np.testing.assert_array_equal(camera.center, [SHAPE[1] / 2, SHAPE[0] / 2])


@pytest.mark.parametrize("fit", [True, False])
def test_a_person_projects_the_keypoints(model, photo, detections, fit):
    (found,) = dice_jax.reconstruct(model, photo, people=[detections], fit=fit)
    assert found.is_fitted == fit
    for part in parts(found):
        projected = found.project(part.keypoints_3d)
        np.testing.assert_allclose(projected, part.keypoints_2d, atol=PINHOLE)


def test_the_focal_length_changes_the_distance_and_not_the_image(model, photo, detections, person):
    # The detections come from a camera with half of that focal length.
    far = dice_jax.reconstruct(
        model, photo, people=[detections], focal_length=2 * person.photo_camera.focal_length
    )[0]
    assert far.photo_camera.transl[2] > 1.8 * person.photo_camera.transl[2]
    np.testing.assert_allclose(far.head.keypoints_2d, person.head.keypoints_2d, atol=3.0)


def test_the_crop_camera_is_the_closest_orthography(person):
    points = np.concatenate([part.keypoints_3d for part in parts(person)])
    pixels = np.concatenate([part.keypoints_2d for part in parts(person)])
    pixels = CropBox(*person.crop_box).to_crop(pixels)
    ones, zeros = np.ones(len(points)), np.zeros(len(points))
    matrix = np.concatenate(
        [np.stack([points[:, 0], ones, zeros], 1), np.stack([points[:, 1], zeros, ones], 1)]
    )
    solution = np.linalg.lstsq(matrix, pixels.T.ravel())[0]
    camera = person.crop_camera
    np.testing.assert_allclose([camera.scale, *camera.transl], solution, rtol=1e-4)


def test_the_residual_is_the_distance_from_the_detections(model, person, detections):
    """With the points on the skinned mesh, not those that the fit skins itself."""
    head_model = model.head_model
    faces_idx, barycentrics = detector_points.face_mesh_points(head_model)
    corners = person.head.vertices[np.asarray(head_model.faces)[faces_idx]]
    face = (corners * barycentrics[..., None]).sum(1)
    rms = lambda points, found: np.sqrt(
        ((person.photo_camera.project(points) - found.points[:, :2]) ** 2).sum(-1).mean()
    )
    assert person.head.residual == pytest.approx(rms(face, detections.face), abs=0.1)
    (hand,) = person.hands
    # On photographs the keypoints of detector and model are the same.
    expected = rms(hand.keypoints_3d, detections.hands[0])
    assert hand.residual == pytest.approx(expected, rel=1e-3)


def test_sigma_is_positive_and_grows_with_the_residual(model, photo, detections, person, rng):
    face = detections.face
    noise = np.column_stack([rng.normal(scale=4.0, size=(468, 2)), np.zeros(468)])
    noisy = dataclasses.replace(
        detections, face=dataclasses.replace(face, points=face.points + noise)
    )
    worse = dice_jax.reconstruct(model, photo, people=[noisy])[0]
    for part in parts(person):
        assert (part.keypoints_sigma > 0).all()
    assert worse.head.residual > person.head.residual + 2.0
    assert (worse.head.keypoints_sigma > person.head.keypoints_sigma).all()


def test_the_same_input_gives_the_same_bits(model, photo, detections, person):
    assert_equal(dice_jax.reconstruct(model, photo, people=[detections])[0], person)


def test_contact_and_deformation_need_a_hand_at_the_skin(model, photo, detections):
    (hand,) = detections.hands
    aside = dataclasses.replace(hand, points=hand.points + [250.0, 0.0, 0.0])
    apart = dataclasses.replace(detections, hands=(aside,))
    person = dice_jax.reconstruct(model, photo, people=[apart])[0]
    assert person.hands[0].contact_presence < 1e-6
    for values in (person.hands[0].contact_probs, person.head.contact_probs):
        assert values.max() < 1e-3
    assert not person.head.deformations.any()
    np.testing.assert_array_equal(person.head.deformed_vertices, person.head.vertices)


################ What is not there ################


def test_without_a_hand_there_is_no_hand(model, photo, detections, person):
    alone = dice_jax.reconstruct(
        model, photo, people=[dataclasses.replace(detections, hands=())], hand="left"
    )[0]
    assert alone.hands == () and not alone.head.deformations.any()
    assert not alone.head.contact_probs.any()
    assert_finite(alone)


def test_without_a_face_there_is_no_head(model, photo, detections):
    (found,) = dice_jax.reconstruct(
        model, photo, people=[dataclasses.replace(detections, face=None)]
    )
    assert found.head is None
    (hand,) = found.hands
    truth = touching_person().hands[0]
    error = np.linalg.norm(hand.keypoints_2d - truth.keypoints_2d, axis=-1)
    assert error.mean() < 2.0
    assert hand.contact_presence == 0.0 and not hand.contact_probs.any()
    assert np.abs(hand.keypoints_3d.mean(0)).max() < 0.01  # meters: the origin is near the hand
    np.testing.assert_allclose(
        found.photo_camera.project(hand.keypoints_3d), hand.keypoints_2d, atol=PINHOLE
    )
    assert_finite(found)


@pytest.mark.parametrize("fit", [True, False])
def test_nobody_gives_an_empty_list(model, photo, fit):
    assert dice_jax.reconstruct(model, photo, people=[], fit=fit) == []


@pytest.mark.parametrize(
    "empty",
    [
        np.zeros((120, 200, 3), np.uint8),
        np.full((120, 200, 3), 128, np.uint8),
        np.random.default_rng(0).integers(0, 256, (120, 200, 3), np.uint8),
        np.zeros((1, 1, 3), np.uint8),
        np.zeros((1, 500, 3), np.uint8),
    ],
    ids=["black", "gray", "noise", "one pixel", "one row"],
)
def test_the_detectors_find_nobody_where_nobody_is(model, empty):
    assert dice_jax.reconstruct(model, empty) == []


@pytest.mark.parametrize(
    ("photo", "options", "message"),
    [
        (np.zeros((20, 30), np.uint8), {}, r"got \(20, 30\) uint8"),
        (np.zeros((20, 30, 4), np.uint8), {}, r"got \(20, 30, 4\) uint8"),
        (np.zeros((0, 30, 3), np.uint8), {}, r"got \(0, 30, 3\) uint8"),
        (np.zeros((20, 30, 3), np.float32), {}, "RGB of type uint8, got .* float32"),
        (np.zeros((20, 30, 3), np.uint8), {"hand": "two"}, "hand must be one of auto, right"),
        (
            np.zeros((20, 30, 3), np.uint8),
            {"hand": "both", "fit": False},
            "both hands need the fit",
        ),
        (np.zeros((20, 30, 3), np.uint8), {"box": (1, 2, 3)}, "box must be left, top, width"),
        (np.zeros((20, 30, 3), np.uint8), {"box": (9, 9, 44, 2)}, "is not in the photo of 30 x 20"),
        (np.zeros((20, 30, 3), np.uint8), {"box": (9, 9, 4, 2), "crop": "full"}, "must be auto"),
        (np.zeros((20, 30, 3), np.uint8), {"crop": "face"}, "crop must be one of auto, center"),
        (np.zeros((20, 30, 3), np.uint8), {"focal_length": -1.0}, "no focal length in pixels"),
        (np.zeros((400, 600, 3), np.uint8), {"focal_length": 35.0}, "for a photo of 600 x 400"),
        (np.zeros((20, 30, 3), np.uint8), {"focal_length": np.nan}, "no focal length in pixels"),
    ],
)
def test_wrong_arguments_raise_a_one_line_error(model, photo, options, message):
    reconstruct = dice_jax.reconstruct
    reconstruct = getattr(reconstruct, "__wrapped__", reconstruct)  # without checked types
    with pytest.raises(ValueError, match=message) as caught:
        reconstruct(model, photo, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("part", ["face", "hand", "world"])
def test_detections_that_are_no_numbers_are_refused_in_one_line(model, photo, detections, part):
    (hand,) = detections.hands
    broken = {
        "face": lambda: dataclasses.replace(
            detections, face=dataclasses.replace(detections.face, points=np.full((468, 3), np.nan))
        ),
        "hand": lambda: dataclasses.replace(
            detections, hands=(dataclasses.replace(hand, points=hand.points + np.inf),)
        ),
        "world": lambda: dataclasses.replace(
            detections, hands=(dataclasses.replace(hand, world=hand.world * np.nan),)
        ),
    }[part]()
    with pytest.raises(ValueError, match=r"people\[1\] has points that are not finite") as caught:
        dice_jax.reconstruct(model, photo, people=[detections, broken])
    assert "\n" not in str(caught.value)


def test_a_person_of_nothing_is_refused(model, photo):
    with pytest.raises(ValueError, match="neither a face nor a hand"):
        dice_jax.reconstruct(model, photo, people=[DetectedPerson(None, ())])


@pytest.mark.parametrize("offset", [(5000.0, -7000.0), (-300.0, 200.0)])
def test_detections_of_another_photo_give_finite_meshes(model, photo, detections, offset):
    (found,) = dice_jax.reconstruct(model, photo, people=[moved(detections, offset)])
    assert_finite(found)


def test_detections_of_one_pixel_give_finite_meshes(model, photo, detections):
    shrink = lambda part: dataclasses.replace(part, points=0.003 * part.points + 50.0)
    tiny = DetectedPerson(shrink(detections.face), tuple(map(shrink, detections.hands)))
    (found,) = dice_jax.reconstruct(model, photo, people=[tiny])
    assert_finite(found)


################ Turned and mirrored photos, sides of the hand ################


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_turned_photo_gives_the_turned_person(model, photo, detections, person, turns):
    turned_photo = np.ascontiguousarray(np.rot90(photo, turns))
    found = turn_detections(detections, turns, SHAPE)
    (turned,) = dice_jax.reconstruct(model, turned_photo, people=[found])
    rotation = np.linalg.matrix_power(np.array([[0, 1, 0], [-1, 0, 0], [0, 0, 1.0]]), turns)
    for before, after in zip(parts(person), parts(turned)):
        np.testing.assert_allclose(after.vertices, before.vertices @ rotation.T, atol=1e-5)
        expected = turn_pixels(before.keypoints_2d, turns, SHAPE)
        np.testing.assert_allclose(after.keypoints_2d, expected, atol=PINHOLE)
        projected = turned.photo_camera.project(after.keypoints_3d)
        np.testing.assert_allclose(projected, expected, atol=PINHOLE)
    head = flame.pose_head(model.head_model, turned.head.params)
    np.testing.assert_allclose(head.vertices, turned.head.vertices, atol=1e-5)
    hand = mano.pose_hand(model.hand_model, turned.hands[0].params)
    np.testing.assert_allclose(hand.vertices, turned.hands[0].vertices, atol=1e-5)


@pytest.mark.parametrize("fit", [True, False])
def test_a_mirrored_photo_gives_the_mirrored_person(model, photo, detections, fit):
    (right,) = dice_jax.reconstruct(model, photo, people=[detections], fit=fit)
    flipped = np.ascontiguousarray(photo[:, ::-1])
    (left,) = dice_jax.reconstruct(model, flipped, people=[mirrored(detections)], fit=fit)
    (hand,), (expected,) = left.hands, right.hands
    assert (hand.side, expected.side) == ("left", "right")
    np.testing.assert_allclose(hand.vertices, expected.vertices * MIRROR, atol=2e-3)
    mirror_pixels = lambda pixels: np.column_stack([SHAPE[1] - pixels[:, 0], pixels[:, 1]])
    np.testing.assert_allclose(hand.keypoints_2d, mirror_pixels(expected.keypoints_2d), atol=0.5)
    # The parameters of a left hand pose its mirror image, those of the head the head itself.
    posed = mano.pose_hand(model.hand_model, hand.params)
    np.testing.assert_allclose(np.asarray(posed.vertices) * MIRROR, hand.vertices, atol=1e-5)
    posed = flame.pose_head(model.head_model, left.head.params)
    np.testing.assert_allclose(posed.vertices, left.head.vertices, atol=1e-5)
    landmarks = mirror_pixels(right.head.keypoints_2d)[MIRRORED_LANDMARKS]
    np.testing.assert_allclose(left.head.keypoints_2d, landmarks, atol=2.0)


@pytest.mark.parametrize("fit", [True, False])
@pytest.mark.parametrize("which", ["right", "left"])
def test_the_side_of_the_hand_can_be_forced(model, photo, detections, which, fit):
    second = dataclasses.replace(detections.hands[0], score=0.6, right=0.1)
    both = dataclasses.replace(detections, hands=(*detections.hands, second))
    (found,) = dice_jax.reconstruct(model, photo, people=[both], hand=which, fit=fit)
    assert [hand.side for hand in found.hands] == [which]


def test_the_box_is_the_crop_also_in_a_turned_photo(model, photo, detections):
    box = (150.0, 30.0, 300.0, 340.0)
    (upright,) = dice_jax.reconstruct(model, photo, people=[detections], box=box)
    np.testing.assert_allclose(upright.crop_box, [130.0, 30.0, 340.0])  # the square around it
    turned = np.ascontiguousarray(np.rot90(photo))
    found = turn_detections(detections, 1, SHAPE)
    low, high = turn_pixels(np.array([[150.0, 30.0], [450.0, 370.0]]), 1, SHAPE)
    sides = np.abs(high - low)
    (same,) = dice_jax.reconstruct(
        model, turned, people=[found], box=(*np.minimum(low, high), *sides)
    )
    expected = turn_pixels(upright.head.keypoints_2d, 1, SHAPE)
    np.testing.assert_allclose(same.head.keypoints_2d, expected, atol=0.1)


def test_both_hands_of_a_person_are_fitted_and_share_the_head(model, photo, detections, person):
    second = mirrored(detections).hands[0]
    both = dataclasses.replace(detections, hands=(*detections.hands, second))
    (found,) = dice_jax.reconstruct(model, photo, people=[both])
    assert [hand.side for hand in found.hands] == ["right", "left"]
    assert np.isfinite(found.hands[1].vertices).all()
    larger = np.linalg.norm(found.head.deformations, axis=-1)
    assert larger.shape == (5023,) and np.isfinite(larger).all()


################ The network alone ################


@pytest.mark.parametrize("mode", ["center", "full"])
def test_without_a_fit_it_is_infer_on_the_crop(model, photo, detections, mode):
    (found,) = dice_jax.reconstruct(model, photo, people=[detections], fit=False, crop=mode)
    box = getattr(crop, f"{mode}_box")(*SHAPE)
    seen = Detections.nothing()
    (detected,) = detections.hands
    for part, points in ((detected, seen.hand_points), (detections.face, seen.face_points)):
        points[:, :2] = box.to_crop(part.points[:, :2])
        points[:, 2] = part.points[:, 2] / box.scale
        points[:, 3] = part.score
    seen.hand_world[:] = detected.world
    inputs = crop.cut(photo, box), seen, Intrinsics.unknown()
    expected = jax.device_get(inference.infer(model, *inputs))
    (hand,) = found.hands
    for value, reference in (
        (hand.vertices, expected.hand_vertices),
        (hand.keypoints_3d, expected.hand_keypoints_3d),
        (hand.contact_probs, expected.hand_contact_probs),
        (hand.contact_presence, expected.contact_presence),
        (hand.keypoints_2d, box.to_photo(expected.hand_keypoints_2d)),
        (found.head.vertices, expected.head_vertices),
        (found.head.deformations, expected.deformations),
        (found.head.contact_probs, expected.head_contact_probs),
        (found.head.keypoints_2d, box.to_photo(expected.head_keypoints_2d)),
        (found.crop_camera.scale, expected.camera.scale),
        (found.crop_camera.transl, expected.camera.transl),
    ):
        np.testing.assert_array_equal(value, reference)
    assert np.isnan(hand.residual) and np.isnan(found.head.residual)


def test_without_a_fit_the_pinhole_agrees_in_the_plane_through_the_origin(model, photo, detections):
    (found,) = dice_jax.reconstruct(model, photo, people=[detections], fit=False)
    points = found.head.keypoints_3d * np.float32([1, 1, 0])
    camera = found.crop_camera
    pixels = CropBox(*found.crop_box).to_photo(camera.scale * points[:, :2] + camera.transl)
    np.testing.assert_allclose(found.photo_camera.project(points), pixels, atol=PINHOLE)


def test_the_presence_gate_can_be_left_open(model, photo, detections):
    """As in the authors' demo: contacts where the network says that nothing touches."""
    params = model.variables["params"]
    output = {**params["presence"]["output"], "bias": jnp.full(1, -20.0)}
    presence = {**params["presence"], "output": output}
    nothing_touches = model.replace(
        variables={**model.variables, "params": {**params, "presence": presence}}
    )
    run = functools.partial(
        dice_jax.reconstruct, nothing_touches, photo, people=[detections], fit=False
    )
    (gated,), (open_gate,) = run(), run(presence_gate=False)
    assert gated.hands[0].contact_presence < 1e-3
    assert gated.head.contact_probs.max() == np.abs(gated.head.deformations).max() == 0
    assert open_gate.head.contact_probs.min() > 0 and open_gate.head.deformations.any()
    np.testing.assert_array_equal(open_gate.head.vertices, gated.head.vertices)


def test_without_a_fit_nothing_is_prepared_for_one(model, photo, detections, monkeypatch):
    """It takes seconds; a left hand alone needs it, because its head is mirrored."""

    def prepare(*models):
        raise AssertionError("models are prepared for a fit")

    monkeypatch.setattr(detector_points, "prepare", prepare)
    assert len(dice_jax.reconstruct(model, photo, people=[detections], fit=False)) == 1


@pytest.mark.parametrize(("hand", "side"), [("auto", "right"), ("left", "left")])
def test_without_a_fit_every_face_has_a_hand(model, photo, detections, hand, side):
    alone = dataclasses.replace(detections, hands=())
    (found,) = dice_jax.reconstruct(model, photo, people=[alone], fit=False, hand=hand)
    assert [hand.side for hand in found.hands] == [side]


@pytest.mark.parametrize("turns", [1, 3])
def test_without_a_fit_the_parameters_of_a_left_hand_turn_too(model, photo, detections, turns):
    turned_photo = np.ascontiguousarray(np.rot90(photo, turns))
    found = turn_detections(mirrored(detections), turns, SHAPE)
    (turned,) = dice_jax.reconstruct(model, turned_photo, people=[found], fit=False)
    head = flame.pose_head(model.head_model, turned.head.params)
    np.testing.assert_allclose(head.vertices, turned.head.vertices, atol=1e-5)
    hand = mano.pose_hand(model.hand_model, turned.hands[0].params)
    mirrored_vertices = np.asarray(hand.vertices) * MIRROR
    np.testing.assert_allclose(mirrored_vertices, turned.hands[0].vertices, atol=1e-5)


################ Real detection ################


def test_a_rendered_sample_has_one_head_and_one_right_hand_where_they_are(model):
    photo = images.read_image(demo.SAMPLES / "scene_palm_cheek.jpg")
    (found,) = dice_jax.reconstruct(model, photo)
    assert [hand.side for hand in found.hands] == ["right"]
    assert 0 < found.head.residual < 3.0  # pixels of a photo of 224 x 224
    for part in parts(found):
        assert ((part.keypoints_2d > 0) & (part.keypoints_2d < 224)).mean() > 0.9


def test_a_portrait_without_a_hand_has_a_head_only_and_two_portraits_two(model):
    portrait = images.read_image(demo.SAMPLES / "astronaut.jpg")
    (alone,) = dice_jax.reconstruct(model, portrait)
    assert alone.head is not None and alone.hands == ()
    pair = dice_jax.reconstruct(model, np.concatenate([portrait, portrait], axis=1))
    assert len(pair) == 2
    left, right = sorted(pair, key=lambda person: person.head.keypoints_2d[:, 0].mean())
    offsets = right.head.keypoints_2d - left.head.keypoints_2d
    np.testing.assert_allclose(offsets.mean(0), [portrait.shape[1], 0], atol=5)


def test_a_portrait_on_its_side_is_turned_upright(model):
    portrait = images.read_image(demo.SAMPLES / "astronaut.jpg")
    (upright,) = dice_jax.reconstruct(model, portrait)
    (lying,) = dice_jax.reconstruct(model, np.ascontiguousarray(np.rot90(portrait)))
    expected = turn_pixels(upright.head.keypoints_2d, 1, portrait.shape[:2])
    size = np.ptp(expected, axis=0).max()
    error = np.linalg.norm(lying.head.keypoints_2d - expected, axis=-1)
    assert error.mean() < 0.05 * size
