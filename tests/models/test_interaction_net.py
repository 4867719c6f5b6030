"""The inputs that InteractionNet gets from the rough meshes and from the image."""

import jax
import jax.numpy as jnp
import numpy as np
from scipy.spatial import cKDTree
from support.random_variables import init

from dice_jax.models.interaction_net import InteractionNet, proximity
from dice_jax.models.layers import tokens as layout
from dice_jax.models.layers.tokens import Tokens
from dice_jax.models.mesh_aligned import MeshAlignedFeatures
from dice_jax.structs import Camera


def test_proximity_is_relative_to_the_nearest_token_of_the_other_part(rng):
    positions = rng.normal(scale=0.05, size=(2, layout.NUM_TOKENS, 3)).astype(np.float32)
    is_head = layout.PART_OF_TOKEN == 1
    assert is_head.sum() == 68 + 559
    result = np.asarray(proximity(positions))
    for image, numbers in zip(positions, result):
        for own, other in ((is_head, ~is_head), (~is_head, is_head)):
            distances, indices = cKDTree(image[other]).query(image[own])
            offsets = image[other][indices] - image[own]
            np.testing.assert_allclose(numbers[own, 3:6], 10 * offsets, atol=1e-5)
            expected = np.exp(-distances[:, None] / [0.005, 0.015, 0.045])
            np.testing.assert_allclose(numbers[own, 6:], expected, atol=1e-4)


def test_proximity_does_not_depend_on_the_origin(rng):
    positions = rng.normal(scale=0.05, size=(1, layout.NUM_TOKENS, 3)).astype(np.float32)
    moved = proximity(positions + np.float32(0.25))
    np.testing.assert_allclose(moved, proximity(positions), atol=1e-4)


def test_contact_depends_on_image_features_where_the_mesh_projects_to_and_not_elsewhere(
    rng, network
):
    module, queries, _ = network
    config = module.config
    levels = (module.hand_levels, module.head_levels)
    net = InteractionNet(config.interaction_net, config.upsampling, *levels)
    grid = jnp.asarray(rng.normal(size=(1, 49, 8)), jnp.float32)
    kernel, bias = (jnp.asarray(rng.normal(size=s), jnp.float32) for s in ((49, 843), (843,)))
    tokens = Tokens(grid, kernel, bias, queries)
    positions = jnp.asarray(rng.uniform(-0.1, 0.1, size=(1, 843, 3)), jnp.float32)
    features = jnp.asarray(rng.normal(size=(1, 28, 28, 8)), jnp.float32)
    camera = Camera(jnp.full(1, 400.0), jnp.full((1, 2), 112.0))
    image_features = MeshAlignedFeatures(features, jnp.full((1, 89, 2), 112.0), camera)
    variables = init(net, rng, tokens, positions, image_features, train=False)

    @jax.jit
    def contact(features):
        image = image_features.replace(features=features)
        return net.apply(variables, tokens, positions, image, train=False).contact_logits.head

    inside, outside = features.at[:, 14, 14].add(1.0), features.at[:, :, :5].add(1.0)
    assert np.abs(contact(inside) - contact(features)).max() > 1e-4
    np.testing.assert_array_equal(contact(outside), contact(features))
