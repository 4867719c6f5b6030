"""Rendered hands upon photos: the labels are exact, and the photo stays elsewhere."""

import dataclasses

import cv2
import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from support import solved_scenes

from dice_jax.body_models import load_hand, load_head
from dice_jax.geometry import crop
from dice_jax.synthetic import portrait as portraits
from dice_jax.synthetic.composite import Compositor
from dice_jax.synthetic.kinds import Kind
from dice_jax.synthetic.portrait import camera_of, make_portrait
from dice_jax.synthetic.sample import sample_camera

SIDE = 320  # of the photo, pixels


class StoredHand:
    """Places the hand of a solved scene."""

    def __init__(self, scene):
        self.scene = scene

    def place(self, request, head_vertices, rng):
        np.testing.assert_allclose(head_vertices, self.scene.head_vertices, atol=1e-5)
        return self.scene.right


@pytest.fixture(scope="module")
def scene():
    return solved_scenes.load()[0]


@pytest.fixture(scope="module")
def portrait(scene):
    """A photo of noise, upon which the head of the scene lies."""
    rng = np.random.default_rng(0)
    camera = sample_camera(scene.head_vertices, rng)
    zoom = SIDE / 224 / 2  # the head takes half of the photo
    camera = dataclasses.replace(
        camera,
        focal_length=zoom * camera.focal_length,
        camera_center=zoom * camera.camera_center + SIDE / 4,
    )
    pixels = rng.integers(90, 160, (SIDE, SIDE, 3), np.uint8)
    head, person = load_head(), scene.person
    return make_portrait(
        pixels, 5, head, scene.head_vertices, person.head_betas, scene.face, camera
    )


@pytest.fixture(scope="module")
def composites(scene, portrait):
    compositor = Compositor(load_hand(), load_head(), seed=0)
    compositor._placer = StoredHand(scene)
    made = {}
    index = 0
    while not {Kind.TOUCH, Kind.NO_HAND} <= set(made):
        example, rendering = compositor.compose(portrait, index)
        made.setdefault(Kind(example["kind"]), (example, rendering))
        index += 1
    return made


def box_of(example, portrait):
    """The crop of a composite, from its camera."""
    scale = float(portrait.camera.focal_length / example["focal_length"])
    corner = portrait.camera.camera_center - scale * example["camera_center"]
    return crop.CropBox(*corner, 224 * scale)


def test_a_photo_without_a_hand_is_the_photo(composites, portrait):
    example, rendering = composites[Kind.NO_HAND]
    expected = crop.cut(portrait.pixels, box_of(example, portrait), 448)
    difference = np.abs(rendering.large_image.astype(int) - expected)
    assert np.percentile(difference, 99.9) <= 2
    assert example["hand_present"][0] == 0 and not example["head_contact"].any()


def test_the_photo_is_replaced_by_the_hand_and_shaded_on_the_head(composites, portrait):
    example, rendering = composites[Kind.TOUCH]
    expected = crop.cut(portrait.pixels, box_of(example, portrait), 224)
    gray = lambda image: image.mean(-1)
    alike = lambda mask: np.corrcoef(gray(rendering.image)[mask], gray(expected)[mask])[0, 1]
    hand, head = rendering.hand_mask, rendering.head_mask
    inner_hand = cv2.erode(hand.astype(np.uint8), np.ones((5, 5))) > 0
    assert inner_hand.sum() > 200 and abs(alike(inner_hand)) < 0.3
    assert alike(head) > 0.8
    # Elsewhere there is the photo, apart from the arm, which has no label.
    difference = np.abs(gray(rendering.image) - gray(expected))
    assert np.median(difference[~hand & ~head]) <= 1


def test_labels_are_those_of_the_scene(composites, scene):
    example, rendering = composites[Kind.TOUCH]
    np.testing.assert_array_equal(example["hand_contact"], scene.hand_contact)
    np.testing.assert_array_equal(example["head_contact"], scene.head_contact)
    lengths = np.linalg.norm(example["deformations"], axis=1)
    np.testing.assert_allclose(lengths, np.linalg.norm(scene.deformations, axis=1), atol=1e-6)
    inside = example["hand_keypoints_2d"][:, 2] > 0
    x, y = example["hand_keypoints_2d"][inside, :2].astype(int).T
    near = np.pad(rendering.hand_mask | rendering.head_mask, 3)
    assert np.mean([near[b : b + 7, a : a + 7].any() for a, b in zip(x, y)]) > 0.9


def test_the_light_is_found_again(rng):
    """As bright on every side as under the true lights."""
    normals = Rotation.random(400, random_state=1).as_matrix()[:, 2]
    normals = normals[normals[:, 2] < -0.25]  # those that face the camera
    directions = portraits._directions(0.9, 0.4)
    strengths = np.array([1.1, 0.2, 0.3, 0.1])
    gray = portraits._basis(normals, directions) @ strengths
    light = portraits._estimate_light(normals, np.tile(gray[:, None], 3))
    np.testing.assert_allclose(light.directions[0], directions[0], atol=1e-6)
    found = np.array([*light.colors[:2, 0], light.sky[0], light.ground[0]])
    np.testing.assert_allclose(found, strengths, atol=1e-3)


def test_the_camera_of_a_posed_head(rng, scene):
    own = scene.head_vertices
    turn, shift = Rotation.random(random_state=3).as_matrix(), rng.normal(size=3)
    transl = np.array([0.1, -0.05, 1.2])
    camera = camera_of(own, own @ turn.T + shift, transl, 900.0, np.array([160.0, 120.0]))
    np.testing.assert_allclose(
        own @ camera.rotation.T + camera.transl, own @ turn.T + shift + transl, atol=1e-9
    )
