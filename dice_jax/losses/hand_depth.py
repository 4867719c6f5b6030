"""The depth of the hand relative to the head, which nothing in the plane of the image tells."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Float

from dice_jax.array_types import Array


def hand_depth_loss(
    keypoints: Float[Array, "*B 21 3"],
    target_keypoints: Float[Array, "*B 21 3"],
    sigma: Float[Array, "*B"],
) -> Float[Array, "*B"]:
    """Negative log-likelihood of the hand's mean depth under a Laplace distribution.

    Its minimum over `sigma` is the expected absolute error, so that `sigma` learns how far off the
    depth is; a sample whose depth cannot be known pulls less at the mesh.

    Args:
        keypoints, target_keypoints: of the hand, head-centered, meters.
        sigma: predicted scale of the distribution, meters.

    Returns:
        |error| / sigma + log(sigma), of sigma in meters.
    """
    error = jnp.abs(keypoints[..., 2].mean(-1) - target_keypoints[..., 2].mean(-1))
    return error / sigma + jnp.log(sigma)
