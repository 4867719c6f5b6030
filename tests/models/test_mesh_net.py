"""The template that MeshNet's offsets count from."""

import jax
import jax.numpy as jnp
import numpy as np
from random_variables import init
from scipy.spatial.distance import pdist

from dice_jax.models import tokens as layout
from dice_jax.models.mesh_net import Placement, template_in_view

PARTS = ((layout.HAND_KEYPOINTS, layout.HAND_VERTICES), (layout.HEAD_KEYPOINTS, layout.HEAD_VERTICES))


def test_placement_moves_each_part_as_a_rigid_body_and_apart_from_the_other(rng, network):
  _, queries, _ = network
  template = template_in_view(queries)
  grid = jnp.asarray(rng.normal(size=(2, 49, 16)), jnp.float32)
  variables = init(Placement(), rng, grid, template)
  variables["params"]["output"]["kernel"] = rng.normal(scale=0.1, size=(256, 18)).astype(np.float32)
  placed, turns = (np.asarray(x) for x in Placement().apply(variables, grid, template))
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
  assert np.abs(moves[0] - moves[1]).min(axis=None) > 1e-4 and np.abs(placed[0] - placed[1]).max() > 1e-2


def test_placement_begins_at_the_template(network):
  _, queries, _ = network
  template = template_in_view(queries)
  grid = jnp.ones((1, 49, 16))
  variables = Placement().init(jax.random.key(0), grid, template)
  placed, _ = Placement().apply(variables, grid, template)
  assert np.abs(placed - template).max() < 0.02
