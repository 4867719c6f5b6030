"""The placement of the template that MeshNet's offsets are relative to."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.distance import pdist
from support.random_variables import init

from dice_jax.models.layers import tokens as layout
from dice_jax.models.mesh_aligned import MeshAlignedFeatures
from dice_jax.models.placement import Placement
from dice_jax.models.template import template_in_view
from dice_jax.structs import Camera

PARTS = (
    np.r_[layout.HAND_KEYPOINTS, layout.HAND_VERTICES],
    np.r_[layout.HEAD_KEYPOINTS, layout.HEAD_VERTICES],
)


@pytest.fixture
def image_features(rng):
    features = jnp.asarray(rng.normal(size=(2, 28, 28, 4)), jnp.float32)
    keypoints = jnp.asarray(rng.uniform(50.0, 170.0, size=(2, 89, 2)), jnp.float32)
    camera = Camera(jnp.full(2, 200.0), jnp.full((2, 2), 112.0))
    return MeshAlignedFeatures(features, keypoints, camera)


@pytest.fixture
def template(network):
    return template_in_view(network[1])


def create(network, refinements):
    module = network[0]
    config = dataclasses.replace(module.config.mesh_net, refinements=refinements)
    return Placement(config, module.head_levels)


@pytest.mark.parametrize("refinements", [0, 2])
def test_each_part_moves_rigidly_and_independently(
    rng, network, template, image_features, refinements
):
    grid = jnp.asarray(rng.normal(size=(2, 49, 16)), jnp.float32)
    placement = create(network, refinements)
    variables = init(placement, rng, grid, template, image_features)
    params = variables["params"]
    for name in params:
        if name.endswith("output"):
            params[name]["kernel"] = rng.normal(scale=0.1, size=(256, 18)).astype(np.float32)
    if refinements:  # no deformation of the template
        params["bend"] = jax.tree.map(np.zeros_like, params["bend"])
    outputs = placement.apply(variables, grid, template, image_features)
    placed, rotations = (np.asarray(x) for x in outputs[:2])
    translations = []
    for part, tokens in enumerate(PARTS):
        before, after = np.asarray(template)[tokens], placed[:, tokens]
        for points in after:
            np.testing.assert_allclose(pdist(points), pdist(before), atol=1e-5)
            # A rotation and not a reflection.
            volume = lambda points: np.linalg.det(points[[1, 5, 9]] - points[0])
            assert np.isclose(volume(points), volume(before), rtol=1e-2, atol=1e-9)
        centered = lambda points: points - points.mean(-2, keepdims=True)
        rotated = np.einsum("bij,nj->bni", rotations[:, part], centered(before))
        np.testing.assert_allclose(centered(after), rotated, atol=1e-5)
        translations.append(after.mean(1) - before.mean(0))
    assert np.abs(translations[0] - translations[1]).min() > 1e-4
    assert np.abs(placed[0] - placed[1]).max() > 1e-2  # it depends on the image


@pytest.mark.parametrize("refinements", [0, 2])
def test_training_starts_near_the_template(network, template, image_features, refinements):
    placement, grid = create(network, refinements), jnp.ones((2, 49, 16))
    variables = placement.init(jax.random.key(0), grid, template, image_features)
    placed = placement.apply(variables, grid, template, image_features).positions
    assert np.abs(placed - template[None]).max() < 0.02 * (1 + refinements)


def test_refinements_depend_on_the_image_where_the_template_projects_to(
    rng, network, template, image_features
):
    placement, grid = create(network, 1), jnp.ones((2, 49, 16))
    variables = init(placement, rng, grid, template, image_features)

    @jax.jit
    def place(features):
        image = image_features.replace(features=features)
        return placement.apply(variables, grid, template, image)[0]

    # At 200 pixels a meter, head and hand, at most half a meter wide, project to the middle of the
    # crop.
    features = image_features.features
    inside, outside = features.at[:, 13:15, 13:15].add(1.0), features.at[:, 0].add(1.0)
    assert np.abs(place(inside) - place(features)).max() > 1e-5
    np.testing.assert_array_equal(place(outside), place(features))
