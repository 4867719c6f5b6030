"""The template that MeshNet's offsets count from."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.distance import pdist
from support.random_variables import init

from dice_jax.models.layers import tokens as layout
from dice_jax.models.mesh_aligned import View
from dice_jax.models.mesh_net import Placement, template_in_view
from dice_jax.structs import Camera

PARTS = (
    (layout.HAND_KEYPOINTS, layout.HAND_VERTICES),
    (layout.HEAD_KEYPOINTS, layout.HEAD_VERTICES),
)


@pytest.mark.parametrize("refinements", [0, 2])
def test_placement_moves_each_part_as_a_rigid_body_and_apart_from_the_other(
    rng, network, refinements
):
    module, queries, _ = network
    template = template_in_view(queries)
    grid, view = jnp.asarray(rng.normal(size=(2, 49, 16)), jnp.float32), random_view(rng)
    placement = Placement(refined(module, refinements), module.head_levels)
    variables = init(placement, rng, grid, template, view)
    params = variables["params"]
    for name in params:
        if name.endswith("output"):
            params[name]["kernel"] = rng.normal(scale=0.1, size=(256, 18)).astype(np.float32)
    if refinements:
        params["bend"] = jax.tree.map(np.zeros_like, params["bend"])
    placed, turns = (np.asarray(x) for x in placement.apply(variables, grid, template, view))
    moves = []
    for slices in PARTS:
        tokens = np.concatenate([np.arange(layout.NUM_TOKENS)[part] for part in slices])
        before, after = np.asarray(template)[tokens], placed[:, tokens]
        for image in after:
            np.testing.assert_allclose(pdist(image), pdist(before), atol=1e-5)
            # A rotation and not a reflection.
            frame = lambda points: np.linalg.det(points[[1, 5, 9]] - points[0])
            assert np.isclose(frame(image), frame(before), rtol=1e-2, atol=1e-9)
        centered = lambda points: points - points.mean(-2, keepdims=True)
        turned = np.einsum("bij,nj->bni", turns[:, len(moves)], centered(before))
        np.testing.assert_allclose(centered(after), turned, atol=1e-5)
        moves.append(after.mean(1) - before.mean(0))
    assert (
        np.abs(moves[0] - moves[1]).min(axis=None) > 1e-4
        and np.abs(placed[0] - placed[1]).max() > 1e-2
    )


@pytest.mark.parametrize("refinements", [0, 2])
def test_placement_begins_at_the_template(rng, network, refinements):
    module, queries, _ = network
    template = template_in_view(queries)
    grid, view = jnp.ones((2, 49, 16)), random_view(rng)
    placement = Placement(refined(module, refinements), module.head_levels)
    variables = placement.init(jax.random.key(0), grid, template, view)
    placed, _ = placement.apply(variables, grid, template, view)
    assert np.abs(placed - template).max() < 0.02 * (1 + refinements)


def test_refinements_depend_on_what_the_image_shows_where_the_template_lands(rng, network):
    module, queries, _ = network
    template, grid, view = template_in_view(queries), jnp.ones((2, 49, 16)), random_view(rng)
    placement = Placement(refined(module, 1), module.head_levels)
    variables = init(placement, rng, grid, template, view)
    place = lambda features: np.asarray(
        placement.apply(variables, grid, template, view.replace(features=features))[0]
    )
    # Head and hand, half a meter wide at most, stay in the middle of the crop: 200 pixels a meter.
    inside, outside = view.features.at[:, 13:15, 13:15].add(1.0), view.features.at[:, 0].add(1.0)
    assert np.abs(place(inside) - place(view.features)).max() > 1e-5
    np.testing.assert_array_equal(place(outside), place(view.features))


def refined(module, refinements):
    return dataclasses.replace(module.config.mesh_net, refinements=refinements)


def random_view(rng):
    features = jnp.asarray(rng.normal(size=(2, 28, 28, 4)), jnp.float32)
    keypoints = jnp.asarray(rng.uniform(50.0, 170.0, size=(2, 89, 2)), jnp.float32)
    return View(features, keypoints, Camera(jnp.full(2, 200.0), jnp.full((2, 2), 112.0)))
