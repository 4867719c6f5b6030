"""Labels follow the image; checked with posed body models and with an image of dots."""

import cv2
import jax
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from dice_jax.body_models import assets, flame, mano
from dice_jax.constants import CROP_SIZE
from dice_jax.datasets import augmentation
from dice_jax.input_pipeline import augment
from dice_jax.structs import HandParams, HeadParams

# Models whose root joint is at the origin.
NO_ROOT = (
    augment.RootJoint(np.zeros(3), np.zeros((3, 10))),
    augment.RootJoint(np.zeros(3), np.zeros((3, 150))),
)
pose_hand, pose_head = jax.jit(mano.pose_hand), jax.jit(flame.pose_head)


@pytest.fixture
def sample(rng):
    normal = lambda *shape: (0.3 * rng.normal(size=shape)).astype(np.float32)
    keypoints = lambda count: np.column_stack(
        [rng.uniform(60, 160, (count, 2)), np.ones(count)]
    ).astype(np.float32)
    return dict(
        image=rng.integers(0, 256, (CROP_SIZE, CROP_SIZE, 3), dtype=np.uint8),
        hand_keypoints_2d=keypoints(21),
        head_keypoints_2d=keypoints(68),
        deformations=normal(5023, 3),
        hand_betas=normal(10),
        hand_global_orient=normal(3),
        hand_pose=normal(45),
        hand_transl=normal(3),
        head_betas=normal(100),
        head_expression=normal(50),
        head_global_orient=normal(3),
        head_neck_pose=normal(3),
        head_jaw_pose=normal(3),
        head_transl=normal(3),
    )


def rotation_2d(angle):
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def posed(sample, hand_model, head_model):
    field = lambda name: sample[name][None]
    hand_fields = ("betas", "global_orient", "hand_pose", "transl")
    head_fields = ("betas", "expression", "global_orient", "neck_pose", "jaw_pose", "transl")
    hand = HandParams(
        **{name: field(name if name == "hand_pose" else f"hand_{name}") for name in hand_fields}
    )
    head = HeadParams(**{name: field(f"head_{name}") for name in head_fields})
    hand_mesh, head_mesh = pose_hand(hand_model, hand), pose_head(head_model, head)
    return np.asarray(hand_mesh.vertices[0]), np.asarray(head_mesh.vertices[0])


@pytest.mark.parametrize("angle", [0.4, -2.0, np.pi])
def test_moved_parameters_pose_the_rotated_meshes(sample, angle):
    hand_model, head_model = assets.load_hand(), assets.load_head()
    roots = augmentation.root_joint(hand_model), augmentation.root_joint(head_model)
    moved = augment.move_in_plane(sample, angle, 1.1, np.array([5.0, -3.0]), *roots)
    rotation = np.eye(3)
    rotation[:2, :2] = rotation_2d(angle)
    before, after = posed(sample, hand_model, head_model), posed(moved, hand_model, head_model)
    for mesh_before, mesh_after in zip(before, after):
        np.testing.assert_allclose(mesh_after, mesh_before @ rotation.T, atol=2e-6)
    expected = sample["deformations"] @ rotation.T
    np.testing.assert_allclose(moved["deformations"], expected, atol=1e-6)


def test_keypoints_stay_on_their_dots(sample):
    grid = np.meshgrid(np.linspace(60, 160, 5), np.linspace(60, 160, 4))
    dots = np.concatenate([np.stack(grid, -1).reshape(-1, 2), [[72.5, 76.5]]])
    rows, columns = np.mgrid[:CROP_SIZE, :CROP_SIZE] + 0.5
    brightness = sum(np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 8) for x, y in dots)
    image = np.repeat((255 * np.clip(brightness, 0, 1)).astype(np.uint8)[..., None], 3, axis=-1)
    sample = {**sample, "image": image, "hand_keypoints_2d": np.column_stack([dots, np.ones(21)])}
    moved = augment.move_in_plane(sample, 0.5, 0.9, np.array([7.5, -4.25]), *NO_ROOT)
    brightness = moved["image"][..., 0].astype(float)
    for x, y, _ in moved["hand_keypoints_2d"]:
        near = (np.abs(columns - x) < 6) & (np.abs(rows - y) < 6)
        weight = brightness * near
        center = np.array([(weight * columns).sum(), (weight * rows).sum()]) / weight.sum()
        assert np.linalg.norm(center - (x, y)) < 0.1


FOCAL = 500.0
# Principal points: in the middle of the crop, beside it, and far from it as for a crop at the edge
# of a wide picture.
CENTERS = [(112.0, 112.0), (130.0, 90.0), (-180.0, 260.0)]


def pinhole(points, focal, center):
    return focal * points[:, :2] / points[:, 2:] + center


def seen_by_a_pinhole(sample, rng, center):
    """The sample with 21 points before a pinhole camera, near the ray of the crop."""
    ray = np.append((CROP_SIZE / 2 - np.array(center)) / FOCAL, 1.0)
    points = rng.normal(0, 0.05, (21, 3)) + 0.8 * ray
    keypoints = np.column_stack([pinhole(points, FOCAL, np.array(center)), np.ones(21)])
    camera = {"focal_length": np.float32(FOCAL), "camera_center": np.float32(center)}
    return points, {**sample, "other_hand_keypoints_2d": keypoints, **camera}


def about_the_ray(center, angle):
    ray = np.append((CROP_SIZE / 2 - np.array(center)) / FOCAL, 1.0)
    return Rotation.from_rotvec(angle * ray / np.linalg.norm(ray)).as_matrix()


@pytest.mark.parametrize("center", CENTERS)
def test_labels_and_picture_of_a_pinhole_camera_move_together(sample, rng, center):
    """3D labels that were rotated with the sample project to its moved keypoints."""
    points, sample = seen_by_a_pinhole(sample, rng, center)
    # Deformations are vectors in camera axes: they tell which rotation the labels got.
    axes = np.zeros((5023, 3), np.float32)
    axes[:3] = np.eye(3)
    sample["deformations"] = axes
    moved = augment.move_in_plane(sample, 0.6, 1.15, np.array([3.0, -8.0]), *NO_ROOT)
    rotation = moved["deformations"][:3].T
    np.testing.assert_allclose(rotation, about_the_ray(center, 0.6), atol=1e-6)
    expected = pinhole(points @ rotation.T, moved["focal_length"], moved["camera_center"])
    np.testing.assert_allclose(moved["other_hand_keypoints_2d"][:, :2], expected, atol=1e-3)


@pytest.mark.parametrize("center", CENTERS)
@pytest.mark.parametrize("part", ["hand", "head"])
def test_depths_are_those_of_the_rotated_points(sample, rng, center, part):
    """In the unit of the sample, whatever it is."""
    points, sample = seen_by_a_pinhole(sample, rng, center)
    sample[f"{part}_keypoints_2d"] = sample["other_hand_keypoints_2d"]
    sample[f"{part}_keypoints_depth"] = (7.0 * points[:, 2]).astype(np.float32)
    moved = augment.move_in_plane(sample, 0.6, 1.15, np.array([3.0, -8.0]), *NO_ROOT)
    rotated = points @ about_the_ray(center, 0.6).T
    np.testing.assert_allclose(moved[f"{part}_keypoints_depth"], 7.0 * rotated[:, 2], rtol=1e-5)


@pytest.mark.parametrize("center", CENTERS)
def test_a_rotation_does_not_move_the_camera_or_the_middle_of_the_crop(sample, rng, center):
    """So a rotated crop is one that the same lens could have taken."""
    _, sample = seen_by_a_pinhole(sample, rng, center)
    middle = np.full((21, 3), CROP_SIZE / 2)
    moved = augment.move_in_plane(
        {**sample, "hand_keypoints_2d": middle}, 0.6, 1.0, np.zeros(2), *NO_ROOT
    )
    np.testing.assert_allclose(moved["camera_center"], center, atol=1e-4)
    assert moved["focal_length"] == FOCAL
    np.testing.assert_allclose(moved["hand_keypoints_2d"][:, :2], CROP_SIZE / 2, atol=1e-4)


def test_the_picture_moves_by_the_homography_of_its_labels(sample, rng):
    """Dots of a rendered picture stay under their keypoints, also where the map is not affine."""
    grid = np.meshgrid(np.linspace(70, 150, 5), np.linspace(70, 150, 4))
    dots = np.concatenate([np.stack(grid, -1).reshape(-1, 2), [[81.5, 83.5]]])
    rows, columns = np.mgrid[:CROP_SIZE, :CROP_SIZE] + 0.5
    brightness = sum(np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 8) for x, y in dots)
    image = np.repeat((255 * np.clip(brightness, 0, 1)).astype(np.uint8)[..., None], 3, axis=-1)
    _, sample = seen_by_a_pinhole(sample, rng, CENTERS[2])
    sample |= {"image": image, "hand_keypoints_2d": np.column_stack([dots, np.ones(21)])}
    moved = augment.move_in_plane(sample, 0.5, 0.9, np.array([7.5, -4.25]), *NO_ROOT)
    brightness = moved["image"][..., 0].astype(float)
    for x, y, _ in moved["hand_keypoints_2d"]:
        weight = brightness * ((np.abs(columns - x) < 6) & (np.abs(rows - y) < 6))
        found = np.array([(weight * columns).sum(), (weight * rows).sum()]) / weight.sum()
        assert np.linalg.norm(found - (x, y)) < 0.1
    similar = rotation_2d(0.5) @ (dots - CROP_SIZE / 2).T
    flat = 0.9 * similar.T + CROP_SIZE / 2 + [7.5, -4.25]
    assert np.abs(moved["hand_keypoints_2d"][:, :2] - flat).max() > 1.0


def test_moved_3d_points_project_to_the_moved_keypoints(sample, rng):
    """With the moved scaled orthographic camera."""
    points, scale, transl = rng.normal(size=(21, 3)), 500.0, np.array([100.0, 120.0])
    keypoints = np.column_stack([scale * points[:, :2] + transl, np.ones(21)])
    sample = {**sample, "hand_keypoints_2d": keypoints}
    angle, resize, shift = 0.7, 1.2, np.array([4.0, 9.0])
    moved = augment.move_in_plane(sample, angle, resize, shift, *NO_ROOT)
    rotation, center = rotation_2d(angle), CROP_SIZE / 2
    new_transl = resize * rotation @ (transl - center) + center + shift
    expected = resize * scale * points[:, :2] @ rotation.T + new_transl
    np.testing.assert_allclose(moved["hand_keypoints_2d"][:, :2], expected, rtol=1e-5, atol=1e-3)


def test_a_larger_image_is_resized_to_the_crop(sample):
    gradient = np.linspace(0, 255, 2 * CROP_SIZE).astype(np.uint8)
    large = np.repeat(np.tile(gradient, (2 * CROP_SIZE, 1))[..., None], 3, axis=-1)
    moved = augment.move_in_plane({**sample, "image": large}, 0.0, 1.0, np.zeros(2), *NO_ROOT)
    expected = cv2.resize(large, (CROP_SIZE, CROP_SIZE), interpolation=cv2.INTER_AREA)
    assert moved["image"].shape == (CROP_SIZE, CROP_SIZE, 3)
    assert np.abs(moved["image"][4:-4, 4:-4].astype(int) - expected[4:-4, 4:-4]).max() <= 2


def test_ranges_of_zero_change_nothing(sample, rng):
    same = augment.augment(sample, rng, augment.Ranges(), *NO_ROOT)
    np.testing.assert_array_equal(same["image"], sample["image"])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), same, dict(sample))


def test_the_random_generator_alone_determines_the_result(sample):
    ranges = augment.Ranges(rotation=0.3, scale=0.1, shift=10, color=0.3, blur=0.5, noise=10)
    first, second, other = (
        augment.augment(sample, np.random.default_rng(seed), ranges, *NO_ROOT) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first["image"], second["image"])
    assert np.abs(first["image"].astype(int) - other["image"]).mean() > 1


def test_pixel_noise_has_the_standard_deviation_of_the_range():
    gray = np.full((CROP_SIZE, CROP_SIZE, 3), 128, np.uint8)
    deviations = [
        augment.jitter(gray, np.random.default_rng(seed), augment.Ranges(noise=10.0)).std()
        for seed in range(200)
    ]
    assert 9.0 < max(deviations) < 11.0 and min(deviations) < 1.0
