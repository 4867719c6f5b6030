"""Compositing of renderings over random backgrounds."""

import numpy as np

from dice_jax.synthetic.postprocess import postprocess


def test_the_background_is_visible_where_coverage_is_zero(rng):
    coverage = np.zeros((64, 64))
    coverage[:, :32] = 1
    color = np.where(coverage[..., None] > 0, [0.4, 0.1, 0.1], 0.0)
    images = np.stack([postprocess(color, coverage, rng) for _ in range(20)]).astype(float)
    person, background = images[:, :, 4:28], images[:, :, 36:60]
    redness = lambda image: (image[..., 0] - image[..., 2]).mean()
    assert redness(person) > redness(background) + 20
    assert background.mean((1, 2, 3)).std() > 10
