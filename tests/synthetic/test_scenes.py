"""Scenes: repeatable, exact labels, hands that press but do not pierce."""

import cv2
import jax.numpy as jnp
import numpy as np
import pytest
import trimesh
from scipy.spatial.transform import Rotation

from dice_jax.body_models import load_hand, load_head, pose_hand, pose_head
from dice_jax.input_pipeline import schema
from dice_jax.structs import HandParams, HeadParams
from dice_jax.synthetic.deform import CONTACT_DISTANCE, TOLERANCE
from dice_jax.synthetic.scenes import SceneSampler
from dice_jax.synthetic.solve import draw_gesture
from dice_jax.visualization import panels

SEED, SCENES = 11, range(7)


@pytest.fixture(scope="module")
def models():
    return load_hand(), load_head()


@pytest.fixture(scope="module")
def sampler():
    return SceneSampler(SEED, views_per_scene=1)


@pytest.fixture(scope="module")
def scenes(sampler):
    return [sampler.solver.solve(index) for index in SCENES]


@pytest.fixture(scope="module")
def views(sampler, scenes):
    """Example and rendering of the first four scenes."""
    return [sampler.scene_with_renderings(index)[0] for index in range(4)]


def touching(scenes):
    chosen = [scene for scene in scenes if scene.hand_contact.any()]
    assert len(chosen) >= 3, "the seed of this test should give touching scenes"
    return chosen


def closed(vertices, model):
    return trimesh.Trimesh(vertices, np.asarray(model.closed_faces), process=False)


def skin_mesh(scene, head):
    """The touchable surface of a deformed head."""
    outer = ~np.asarray(head.cavity | head.region("eyes"))
    faces = np.asarray(head.faces)
    return outer, trimesh.Trimesh(
        scene.deformed_head_vertices, faces[outer[faces].all(-1)], process=False
    )


def overlap(points, solid, surface):
    """Depth of the points inside a solid, by ray casting and exact closest points: meters."""
    inside = solid.contains(points)
    if not inside.any():
        return 0.0
    return trimesh.proximity.closest_point(surface, points[inside])[1].max()


def test_same_number_same_scene_whatever_came_before(sampler, views):
    example, _ = views[2]
    again = SceneSampler(SEED, views_per_scene=1).scene(2)[0]
    assert set(again) == set(example)
    for name, value in example.items():
        np.testing.assert_array_equal(again[name], value, err_msg=name)
    other = SceneSampler(SEED + 1, views_per_scene=1).solver.solve(2)
    assert not np.allclose(other.person.head_betas, example["head_betas"])


def test_skin_and_hand_hardly_overlap(scenes, models):
    hand, head = models
    for scene in touching(scenes):
        outer, skin = skin_mesh(scene, head)
        deformed, hand_mesh = (
            closed(scene.deformed_head_vertices, head),
            closed(scene.hand_vertices, hand),
        )
        assert overlap(scene.hand_vertices, deformed, skin) <= TOLERANCE
        assert overlap(scene.deformed_head_vertices[outer], hand_mesh, hand_mesh) <= TOLERANCE


def test_without_the_dent_they_would_overlap(scenes, models):
    _, head = models
    deepest = []
    for scene in touching(scenes):
        _, skin = skin_mesh(scene, head)
        undeformed = closed(scene.head_vertices, head)
        surface = trimesh.Trimesh(scene.head_vertices, skin.faces, process=False)
        deepest.append(overlap(scene.hand_vertices, undeformed, surface))
    assert np.mean(deepest) > 1.5 * TOLERANCE


def test_contacts_are_what_is_near_the_other_surface(scenes, models):
    hand, head = models
    for scene in touching(scenes):
        outer, skin = skin_mesh(scene, head)
        hand_surface = trimesh.Trimesh(scene.hand_vertices, np.asarray(hand.faces), process=False)
        from_hand = trimesh.proximity.closest_point(skin, scene.hand_vertices)[1]
        from_head = trimesh.proximity.closest_point(hand_surface, scene.deformed_head_vertices)[1]
        # Within the tolerance the inside counts as touching too; leave out what rounding decides.
        clear = np.abs(from_hand - CONTACT_DISTANCE) > 1e-6
        np.testing.assert_array_equal(
            scene.hand_contact[clear], (from_hand < CONTACT_DISTANCE)[clear]
        )
        expected = outer & (from_head < CONTACT_DISTANCE)
        clear = np.abs(from_head - CONTACT_DISTANCE) > 1e-6
        np.testing.assert_array_equal(scene.head_contact[clear], expected[clear])


def test_a_hand_that_does_not_touch_leaves_no_trace(sampler):
    index = next(i for i in range(100, 200) if not_touching(sampler, i))
    scene = sampler.solver.solve(index)
    assert (
        not scene.hand_contact.any()
        and not scene.head_contact.any()
        and not scene.deformations.any()
    )
    distance = trimesh.proximity.closest_point(
        closed(scene.head_vertices, sampler.head), scene.hand_vertices
    )[1]
    assert distance.min() > CONTACT_DISTANCE


def not_touching(sampler, index):
    return draw_gesture(np.random.default_rng((sampler.seed, 3, index, 0)))[1] > 0


def test_eyes_and_inner_mouth_never_move(scenes, models):
    _, head = models
    held = np.asarray(head.cavity | head.region("eyes"))
    for scene in scenes:
        assert not scene.deformations[held].any() and not scene.head_contact[held].any()


def test_parameters_reproduce_the_rendered_meshes(views, scenes, models):
    hand, head = models
    for (example, _), scene in zip(views, scenes):
        single = lambda *names: [jnp.asarray(example[name], jnp.float32) for name in names]
        posed_hand = pose_hand(
            hand,
            HandParams(*single("hand_betas", "hand_global_orient", "hand_pose", "hand_transl")),
        )
        names = ("betas", "expression", "global_orient", "neck_pose", "jaw_pose", "transl")
        posed_head = pose_head(head, HeadParams(*single(*(f"head_{name}" for name in names))))
        rotation = Rotation.from_rotvec(example["head_global_orient"]).as_matrix()
        offset = np.asarray(posed_head.vertices[0]) - rotation @ scene.head_vertices[0]
        to_camera = lambda points: points @ rotation.T + offset
        np.testing.assert_allclose(posed_head.vertices, to_camera(scene.head_vertices), atol=2e-5)
        np.testing.assert_allclose(posed_hand.vertices, to_camera(scene.hand_vertices), atol=2e-5)
        deformed = np.asarray(posed_head.vertices) - example["deformations"]
        np.testing.assert_allclose(deformed, to_camera(scene.deformed_head_vertices), atol=2e-5)


def test_keypoints_are_one_pinhole_projection(views, models):
    """x/z and y/z of the posed keypoints determine pixels up to one focal length and center for
    hand and head.
    """
    hand, head = models
    for example, _ in views:
        points = np.concatenate(camera_keypoints(example, hand, head))
        pixels = np.concatenate([example["hand_keypoints_2d"], example["head_keypoints_2d"]])
        rays = points[:, :2] / points[:, 2:]
        design = np.zeros((2 * len(rays), 3))
        design[0::2, 0], design[1::2, 0], design[0::2, 1], design[1::2, 2] = (
            rays[:, 0],
            rays[:, 1],
            1,
            1,
        )
        fit, *_ = np.linalg.lstsq(design, pixels[:, :2].ravel(), rcond=None)
        assert fit[0] > 100
        np.testing.assert_allclose(design @ fit, pixels[:, :2].ravel(), atol=0.02)
        inside = ((pixels[:, :2] >= 0) & (pixels[:, :2] < 224)).all(-1)
        np.testing.assert_array_equal(pixels[:, 2], inside)


def test_scaled_orthography_costs_a_few_pixels(views, models):
    """The network's camera cannot follow perspective: a floor under every 2D error, which the
    scenes keep low.
    """
    floors = []
    for example, _ in views:
        points = np.concatenate(camera_keypoints(example, *models))
        pixels = np.concatenate([example["hand_keypoints_2d"], example["head_keypoints_2d"]])[:, :2]
        camera = panels.fit_camera(points, np.concatenate([pixels, np.ones((89, 1))], axis=1))
        floors.append(
            np.linalg.norm(camera.scale * points[:, :2] + camera.transl - pixels, axis=-1)
        )
    # 3.0 px over 256 pictures of the test split, where people stand 0.5 to 1.6 m away; from half as
    # far twice as much.
    assert 0.5 < np.mean(floors) < 6


def test_depth_is_that_of_what_is_seen(views, models):
    hand, head = models
    for example, rendering in views:
        for name, points in zip(("hand", "head"), camera_keypoints(example, hand, head)):
            depth, seen = (
                example[f"{name}_keypoints_depth"],
                example[f"{name}_keypoints_2d"][:, 2] > 0,
            )
            assert np.isfinite(depth).all() and (depth > 0.2).all()
            assert (depth <= points[:, 2] + 1e-4).all()
            # Most keypoints are on a surface that fills their pixel; joints and hidden landmarks
            # lie behind one.
            column, row = np.floor(example[f"{name}_keypoints_2d"][seen, :2]).astype(int).T
            rendered = rendering.depth[row, column]
            assert (np.abs(rendered - depth[seen]) < 0.003).mean() > 0.6
            assert (depth[seen] <= rendered + 1e-4).all()
        assert rendering.hand_mask.any() and rendering.head_mask.any()
        assert not (rendering.hand_mask & rendering.head_mask).any()
        np.testing.assert_array_equal(
            np.isfinite(rendering.depth), rendering.hand_mask | rendering.head_mask
        )


def camera_keypoints(example, hand, head):
    single = lambda *names: [jnp.asarray(example[name], jnp.float32) for name in names]
    posed_hand = pose_hand(
        hand, HandParams(*single("hand_betas", "hand_global_orient", "hand_pose", "hand_transl"))
    )
    names = ("betas", "expression", "global_orient", "neck_pose", "jaw_pose", "transl")
    posed_head = pose_head(head, HeadParams(*single(*(f"head_{name}" for name in names))))
    return np.asarray(posed_hand.keypoints, np.float64), np.asarray(
        posed_head.keypoints, np.float64
    )


def test_pictures_show_something(views):
    for example, rendering in views:
        image = example["image"]
        assert image.shape == (224, 224, 3) and image.dtype == np.uint8
        assert image.std() > 10
        # Where the labels say the hand ends the picture changes: edges of mask and of picture
        # coincide.
        edges = (
            cv2.morphologyEx(
                rendering.hand_mask.astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((3, 3))
            )
            > 0
        )
        contrast = cv2.morphologyEx(image.max(-1), cv2.MORPH_GRADIENT, np.ones((3, 3)))
        inner = cv2.erode(rendering.hand_mask.astype(np.uint8), np.ones((7, 7))) > 0
        assert contrast[edges].mean() > contrast[inner].mean()


def test_samples_survive_storage(views):
    for example, _ in views:
        stored = schema.encode(example)
        assert (
            sum(len(v) if isinstance(v, bytes) else np.asarray(v).nbytes for v in stored.values())
            < 45_000
        )
        back = schema.decode(stored)
        assert set(back) == set(example)
        np.testing.assert_allclose(back["deformations"], example["deformations"], atol=2.5e-5)
        assert np.abs(back["image"].astype(int) - example["image"]).mean() < 8
        np.testing.assert_array_equal(back["head_contact"], example["head_contact"])
