"""What InteractionNet is told of the meshes, and of the image where they land."""

import jax.numpy as jnp
import numpy as np
from scipy.spatial import cKDTree
from support.random_variables import init

from dice_jax.models.interaction_net import InteractionNet, proximity
from dice_jax.models.layers import tokens as layout
from dice_jax.models.layers.tokens import Tokens
from dice_jax.models.mesh_aligned import View
from dice_jax.structs import Camera


def test_proximity_is_that_of_the_nearest_token_of_the_other_part(rng):
    positions = rng.normal(scale=0.05, size=(2, layout.NUM_TOKENS, 3)).astype(np.float32)
    is_head = np.asarray(layout.part_of_token()) == 1
    assert is_head.sum() == 68 + 559
    told = np.asarray(proximity(positions))
    for image, numbers in zip(positions, told):
        for own, other in ((is_head, ~is_head), (~is_head, is_head)):
            distances, indices = cKDTree(image[other]).query(image[own])
            np.testing.assert_allclose(
                numbers[own, 3:6], 10 * (image[other][indices] - image[own]), atol=1e-5
            )
            expected = np.exp(-distances[:, None] / [0.005, 0.015, 0.045])
            np.testing.assert_allclose(numbers[own, 6:], expected, atol=1e-4)


def test_proximity_does_not_depend_on_the_origin(rng):
    positions = rng.normal(scale=0.05, size=(1, layout.NUM_TOKENS, 3)).astype(np.float32)
    np.testing.assert_allclose(
        proximity(positions + np.float32(0.25)), proximity(positions), atol=1e-4
    )


def test_contact_depends_on_what_the_image_shows_where_the_mesh_lands(rng, network):
    module, queries, _ = network
    config = module.config
    levels = (module.hand_levels, module.head_levels)
    net = InteractionNet(config.interaction_net, config.upsampling, *levels)
    grid = jnp.asarray(rng.normal(size=(1, 49, 8)), jnp.float32)
    tokens = Tokens(
        grid, *(jnp.asarray(rng.normal(size=s), jnp.float32) for s in ((49, 843), (843,))), queries
    )
    positions = jnp.asarray(rng.uniform(-0.1, 0.1, size=(1, 843, 3)), jnp.float32)
    features = jnp.asarray(rng.normal(size=(1, 28, 28, 8)), jnp.float32)
    view = View(
        features, jnp.full((1, 89, 2), 112.0), Camera(jnp.full(1, 400.0), jnp.full((1, 2), 112.0))
    )
    variables = init(net, rng, tokens, positions, view, train=False)
    apply = lambda features: net.apply(
        variables, tokens, positions, view.replace(features=features), train=False
    )
    contact = lambda features: np.asarray(apply(features)[1].head)
    here, nowhere = features.at[:, 14, 14].add(1.0), features.at[:, :, :5].add(1.0)
    assert np.abs(contact(here) - contact(features)).max() > 1e-4
    np.testing.assert_array_equal(contact(nowhere), contact(features))
