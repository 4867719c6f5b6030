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
    the grid of image features, and the camera of a detected face where there is one.
    """

    config: CameraConfig

    @nn.compact
    def __call__(
        self,
        source: Float[Array, "B 843 3"] | Float[Array, "B 49 C"],
        detected: Camera | None = None,
        features: Float[Array, "B F"] | None = None,
    ) -> Camera:
        """Predicts the camera.

        Args:
            source: see the class.
            detected: start of the prediction; None: in the middle of the crop.
            features: hidden features of the detections, or None.
        """
        if self.config.source == "mesh":
            x = _linear(1, "per_token")(source)[..., 0]
            x = _linear(self.config.hidden, "hidden")(x)
        else:
            x = nn.relu(_linear(16, "per_cell")(source.astype(jnp.float32)))
            x = x.reshape(x.shape[0], -1)
            x = x if features is None else jnp.concatenate([x, features], axis=-1)
            x = nn.relu(_linear(self.config.hidden, "hidden")(x))
        if self.config.variant == "release":
            x = _linear(3, "output")(x)
            return Camera(scale=10.0 * jnp.abs(x[:, 0]), transl=x[:, 1:])
        x = self.config.output_scale * nn.Dense(3, kernel_init=near_zero, name="output")(x)
        scale, transl = INITIAL_SCALE, CROP_SIZE / 2
        if detected is not None:
            scale, transl = detected.scale, detected.transl
        return Camera(scale=scale * jnp.exp(x[:, 0]), transl=transl + CROP_SIZE / 2 * x[:, 1:])


class PresenceHead(nn.Module):
    """A logit of the image: a weighted sum of one number for each grid cell, and of `features`.

    Whether hand and head touch: part of the released weights, but not described in the paper.
    Whether there is a hand: not in the paper.
    """

    hidden: Sequence[int]

    @nn.compact
    def __call__(
        self, grid: Float[Array, "B 49 C"], features: Float[Array, "B F"] | None = None
    ) -> Float[Array, "B"]:
        x = grid.astype(jnp.float32)
        for i, width in enumerate(self.hidden):
            x = nn.relu(_linear(width, f"hidden_{i}")(x))
        logit = _linear(1, "output")(_linear(1, "per_cell")(x)[..., 0])[..., 0]
        if features is not None:
            logit += nn.Dense(1, kernel_init=near_zero, name="evidence")(features)[..., 0]
        return logit


def _linear(features, name):
    return nn.Dense(features, kernel_init=torch_linear, name=name)
