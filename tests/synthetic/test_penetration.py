"""Penetration depths against trimesh."""

import numpy as np
import trimesh

from dice_jax.body_models import load_head
from dice_jax.synthetic.penetration import MAX_DISTANCE, measure_penetration

PLAIN_REGIONS = ("cheek_right", "forehead", "chin", "temple_left", "nose")


def test_depth_and_nearest_point_agree_with_trimesh(rng):
    head = load_head()
    vertices = np.asarray(head.v_template, np.float64)
    surface = ~np.asarray(head.cavity)
    # Lips, lids and ears fold onto themselves at rest, where inside is a matter of definition.
    plain = np.stack([head.region(name) for name in PLAIN_REGIONS]).any(0)
    ids = rng.choice(np.flatnonzero(plain & surface), 300)
    points = vertices[ids] + rng.normal(0, 0.006, (300, 3))
    found = measure_penetration(points, vertices, head, surface)
    faces = np.asarray(head.faces)
    skin = trimesh.Trimesh(vertices, faces[surface[faces].all(-1)], process=False)
    _, distance, _ = trimesh.proximity.closest_point(skin, points)
    near = distance < MAX_DISTANCE - 1e-5
    closed = trimesh.Trimesh(vertices, np.asarray(head.closed_faces), process=False)
    signed = np.where(closed.contains(points), distance, -distance)
    np.testing.assert_allclose(found.depth[near], signed[near], atol=1e-5)
    nearest = (vertices[found.faces] * found.barycentrics[..., None]).sum(1)
    to_nearest = np.linalg.norm(nearest - points, axis=-1)
    np.testing.assert_allclose(to_nearest[near], distance[near], atol=1e-5)
    assert np.isneginf(found.depth[distance > MAX_DISTANCE + 1e-5]).all()
