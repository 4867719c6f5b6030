"""What InteractionNet is told of the meshes."""

import numpy as np
from scipy.spatial import cKDTree

from dice_jax.models import tokens as layout
from dice_jax.models.interaction_net import proximity


def test_proximity_is_that_of_the_nearest_token_of_the_other_part(rng):
  positions = rng.normal(scale=0.05, size=(2, layout.NUM_TOKENS, 3)).astype(np.float32)
  is_head = np.asarray(layout.part_of_token()) == 1
  assert is_head.sum() == 68 + 559
  told = np.asarray(proximity(positions))
  for image, numbers in zip(positions, told):
    for own, other in ((is_head, ~is_head), (~is_head, is_head)):
      distances, indices = cKDTree(image[other]).query(image[own])
      np.testing.assert_allclose(numbers[own, 3:6], 10 * (image[other][indices] - image[own]), atol=1e-5)
      expected = np.exp(-distances[:, None] / [0.005, 0.015, 0.045])
      np.testing.assert_allclose(numbers[own, 6:], expected, atol=1e-4)


def test_proximity_does_not_depend_on_the_origin(rng):
  positions = rng.normal(scale=0.05, size=(1, layout.NUM_TOKENS, 3)).astype(np.float32)
  np.testing.assert_allclose(proximity(positions + np.float32(0.25)), proximity(positions), atol=1e-4)
