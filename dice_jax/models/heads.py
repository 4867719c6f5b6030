"""The two small heads: the camera, and whether anything touches at all."""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Float

from dice_jax.array_types import Array
from dice_jax.models.config import CameraConfig
from dice_jax.models.layers.initializers import torch_linear
from dice_jax.structs import Camera

CROP_CENTER = 112.0


class CameraHead(nn.Module):
    """A learned scaled-orthographic camera, shared by hand and head.

    From the mesh, as in METRO, it can only see what MeshNet leaves in the positions of its tokens.
    From the image it reads the grid itself, cell by cell.
    """

    config: CameraConfig

    @nn.compact
    def __call__(
        self, positions: Float[Array, "B 843 3"] | None, grid: Float[Array, "B 49 C"]
    ) -> Camera:
        """Of `positions` and `grid`, the one that is not the source may be anything."""
        if self.config.source == "mesh":
            x = _linear(1, "per_token")(positions)[..., 0]
            x = _linear(self.config.hidden, "hidden")(x)
        else:
            x = nn.relu(_linear(16, "per_cell")(grid.astype(jnp.float32)))
            x = nn.relu(_linear(self.config.hidden, "hidden")(x.reshape(len(x), -1)))
        if self.config.variant == "release":
            x = _linear(3, "output")(x)
            return Camera(scale=10.0 * jnp.abs(x[:, 0]), transl=x[:, 1:])
        x = self.config.output_scale * nn.Dense(
            3, kernel_init=nn.initializers.normal(1e-3), name="output"
        )(x)
        return Camera(
            scale=self.config.initial_scale * jnp.exp(x[:, 0]),
            transl=CROP_CENTER * (1.0 + x[:, 1:]),
        )


class PresenceHead(nn.Module):
    """The logit that hand and head touch: one number a grid cell, then a weighted sum. The
    release's, not the paper's.
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
