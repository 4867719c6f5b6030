"""The two small heads: the camera, and the presence of contact."""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Float

from dice_jax.array_types import Array
from dice_jax.constants import CROP_SIZE
from dice_jax.models.config import CameraConfig
from dice_jax.models.layers.initializers import near_zero, torch_linear
from dice_jax.structs import Camera

INITIAL_SCALE = 550.0  # pixels a meter: a head of 0.25 m spans 60 % of the crop


class CameraHead(nn.Module):
    """The scaled-orthographic camera of hand and head (pixels of the crop, pixels a meter).

    With `config.source` "mesh", as in METRO, the input is MeshNet's positions; with "image" it is
    the grid of image features.
    """

    config: CameraConfig

    @nn.compact
    def __call__(self, source: Float[Array, "B 843 3"] | Float[Array, "B 49 C"]) -> Camera:
        if self.config.source == "mesh":
            x = _linear(1, "per_token")(source)[..., 0]
            x = _linear(self.config.hidden, "hidden")(x)
        else:
            x = nn.relu(_linear(16, "per_cell")(source.astype(jnp.float32)))
            x = nn.relu(_linear(self.config.hidden, "hidden")(x.reshape(len(x), -1)))
        if self.config.variant == "release":
            x = _linear(3, "output")(x)
            return Camera(scale=10.0 * jnp.abs(x[:, 0]), transl=x[:, 1:])
        x = self.config.output_scale * nn.Dense(3, kernel_init=near_zero, name="output")(x)
        return Camera(
            scale=INITIAL_SCALE * jnp.exp(x[:, 0]), transl=CROP_SIZE / 2 * (1.0 + x[:, 1:])
        )


class PresenceHead(nn.Module):
    """The logit that hand and head touch: a weighted sum of one number for each grid cell.

    It is part of the released weights, but not described in the paper.
    """

    hidden: Sequence[int]

    @nn.compact
    def __call__(self, grid: Float[Array, "B 49 C"]) -> Float[Array, "B"]:
        x = grid.astype(jnp.float32)
        for i, width in enumerate(self.hidden):
            x = nn.relu(_linear(width, f"hidden_{i}")(x))
        return _linear(1, "output")(_linear(1, "per_cell")(x)[..., 0])[..., 0]


def _linear(features, name):
    return nn.Dense(features, kernel_init=torch_linear, name=name)
