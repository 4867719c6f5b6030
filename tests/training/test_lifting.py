"""New views of a scene are rigid motions of it before a camera that shows all of it."""

import dataclasses
import functools

import jax
import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from support import loss_scenes

from dice_jax import models
from dice_jax.body_models import load_hand, load_head
from dice_jax.body_models.flame import pose_head
from dice_jax.body_models.mano import pose_hand
from dice_jax.configs import default
from dice_jax.training import lifting
from dice_jax.training.lifting import ViewRanges

SIZE = 32
WIDE = ViewRanges(yaw=0.6, pitch=0.4, roll=0.5, distance=0.6, scale=0.3, shift=20.0)
STILL = ViewRanges(*[0.0] * 6)


@pytest.fixture(scope="module")
def bodies():
    return load_hand(), load_head()


def pinhole(points, intrinsics):
    """Pixels of points in camera axes."""
    focal_length, center = intrinsics.focal_length[:, None, None], intrinsics.camera_center
    return focal_length * points[..., :2] / points[..., 2:] + center[:, None]


@pytest.fixture(scope="module")
def batch(bodies):
    """Hands before heads, in front of pinhole cameras; the last two are not known in 3D."""
    rng = np.random.default_rng(0)
    batch, _, _ = loss_scenes.random_labels(rng, *bodies, SIZE)
    place = rng.normal(0, 0.05, (SIZE, 3)) + [0.0, 0.0, 0.8]
    before = rng.normal(0, 0.03, (SIZE, 3)) - [0.0, 0.0, 0.1]
    known = batch.intrinsics.replace(
        focal_length=rng.uniform(300, 600, SIZE).astype(np.float32),
        camera_center=rng.normal(112, 30, (SIZE, 2)).astype(np.float32),
    )
    known.focal_length[-1] = np.inf
    moved = lambda params, shift: params.replace(transl=(params.transl + shift).astype(np.float32))
    has_3d = batch.has_3d.copy()
    has_3d[-2] = 0
    return batch.replace(
        hand_params=moved(batch.hand_params, place + before),
        head_params=moved(batch.head_params, place),
        intrinsics=known,
        has_3d=has_3d,
    )


@pytest.fixture(scope="module")
def view(bodies, batch):
    @functools.partial(jax.jit, static_argnames="ranges")
    def view(seed, batch, ranges):
        return lifting.new_views(jax.random.key(seed), batch, *bodies, ranges)

    return lambda ranges=WIDE, seed=0: jax.device_get(view(seed, batch, ranges))


def known(tree):
    return jax.tree.map(lambda x: np.asarray(x)[:-2], tree)


def posed(bodies, batch):
    hand, head = pose_hand(bodies[0], batch.hand_params), pose_head(bodies[1], batch.head_params)
    return jax.device_get((hand, head))


def test_every_field_is_in_the_configuration():
    assert set(default.get_config().views) == {
        field.name for field in dataclasses.fields(ViewRanges)
    }


def test_keypoints_are_where_the_new_camera_sees_them(bodies, view):
    new = known(view())
    for mesh, keypoints in zip(posed(bodies, new), (new.hand_keypoints_2d, new.head_keypoints_2d)):
        expected = pinhole(mesh.keypoints.astype(np.float64), new.intrinsics)
        np.testing.assert_allclose(keypoints[..., :2], expected, atol=0.01)


def test_a_scene_is_moved_as_one_rigid_body(bodies, batch, view):
    before, after = (known(models.pose_targets(x, *bodies)) for x in (batch, view()))
    angles = []
    for i in range(SIZE - 2):
        join = lambda x, i=i: np.concatenate([x.hand_vertices[i], x.deformed_head_vertices[i]])
        first, second = join(before).astype(np.float64), join(after).astype(np.float64)
        turn, _ = Rotation.align_vectors(second, first)  # both about the center of the head
        np.testing.assert_allclose(turn.apply(first), second, atol=2e-6)
        angles.append(turn.magnitude())
    assert np.min(angles) < 0.5 < np.max(angles)


def test_all_that_is_seen_is_in_the_crop_and_before_the_camera(bodies, view):
    for seed in range(4):
        new = known(view(seed=seed))
        pixels = np.concatenate([new.hand_keypoints_2d, new.head_keypoints_2d], 1)[..., :2]
        assert pixels.min() > 5 and pixels.max() < 219
        assert min(mesh.keypoints[..., 2].min() for mesh in posed(bodies, new)) > 0.1


def test_the_size_in_the_picture_does_not_follow_the_distance(view):
    """Else the network would learn the distance from the crop, which is as large for everybody."""
    changed = dataclasses.replace(STILL, distance=0.6)
    far = [view(changed, seed) for seed in range(6)]
    depth = np.concatenate([known(x).head_params.transl[:, 2] for x in far])
    size = np.concatenate([np.ptp(known(x).head_keypoints_2d[:, 17:, 1], axis=1) for x in far])
    assert depth.max() / depth.min() > 2
    assert abs(np.corrcoef(depth, size)[0, 1]) < 0.5


def test_without_ranges_the_labels_stay(bodies, batch, view):
    new = view(STILL)
    for old, kept in zip(posed(bodies, batch), posed(bodies, new)):
        np.testing.assert_allclose(kept.vertices, old.vertices, atol=2e-6)
    np.testing.assert_allclose(new.deformations, batch.deformations, atol=1e-8)


def test_a_scene_of_unknown_depth_or_camera_keeps_its_view(batch, view):
    names = ("hand_params", "head_params", "hand_keypoints_2d", "deformations", "intrinsics")
    pick = lambda batch: jax.tree.leaves([getattr(batch, name) for name in names])
    for old, kept in zip(pick(batch), pick(view())):
        np.testing.assert_array_equal(kept[-2:], old[-2:])


def test_what_belongs_to_the_pictures_is_gone(view):
    new = view()
    assert not new.has_depth.any()
    assert not any(x.any() for x in jax.tree.leaves(new.detections))


def test_the_seed_and_the_sample_decide(view):
    first, again, other = view().deformations, view().deformations, view(seed=1).deformations
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other)[:-2].max() > 1e-4
