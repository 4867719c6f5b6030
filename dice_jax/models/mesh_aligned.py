"""Mesh-aligned evidence: what the image shows where a point of the mesh lands (as in PyMAF, Zhang
et al. 2021).

A transformer's token sees the whole image through 49 coarse cells. Which part of the face lies
under a fingertip is a matter of a few pixels: finer maps of the backbone, read where the mesh
projects to, tell it.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax import struct
from jaxtyping import Float

from dice_jax.array_types import Array
from dice_jax.geometry.camera import project_orthographic
from dice_jax.models.layers import tokens as layout
from dice_jax.models.layers.initializers import torch_linear
from dice_jax.structs import Camera

CROP_SIZE = 224.0
FINE_CELLS = 28
_NEAR = (
    8.0,
    24.0,
)  # pixels over which nearness to a keypoint of the hand fades: a fingertip, a finger


class View(struct.PyTreeNode):
    """The image as meshes can look into it.

    Attributes:
        features: a fine map.
        keypoints: of hand and head as they are found in it, pixels of the 224 crop.
        camera: says where a point lands.
    """

    features: Float[Array, "B H W C"]
    keypoints: Float[Array, "B 89 2"]
    camera: Camera

    def at(self, positions: Float[Array, "B N 3"]) -> Float[Array, "B N C"]:
        """The features where `positions` (meters, head-centerd) land; only the features get a
        gradient.
        """
        return sample_bilinear(self.features, self._project(positions))

    def missed(self, positions: Float[Array, "B 89 3"]) -> Float[Array, "B 89 2"]:
        """How far each keypoint in the image is from where its token lands, pixels; no gradient."""
        return jax.lax.stop_gradient(self.keypoints) - self._project(positions)

    def near_hand(self, positions: Float[Array, "B N 3"]) -> Float[Array, "B N 42"]:
        """exp(-distance / range) in the image to each keypoint of the hand, for two ranges; no
        gradient.
        """
        hand = jax.lax.stop_gradient(self.keypoints[:, layout.HAND_KEYPOINTS])
        distance = jnp.linalg.norm(self._project(positions)[:, :, None] - hand[:, None], axis=-1)
        return jnp.concatenate([jnp.exp(-distance / r) for r in _NEAR], axis=-1)

    def _project(self, positions):
        positions, camera = jax.lax.stop_gradient((positions, self.camera))
        return project_orthographic(positions, camera.scale, camera.transl)


class FineMap(nn.Module):
    """One map of 28 x 28 cells from several of the backbone's, each through a linear layer of its
    own, and then two convolutions over the sum, residual ones that begin as nothing.
    """

    features: int
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(
        self, levels: Sequence[Float[Array, "B _ _ _"]]
    ) -> Float[Array, "B 28 28 {self.features}"]:
        total = 0.0
        for i, level in enumerate(levels):
            x = nn.Dense(
                self.features, kernel_init=torch_linear, dtype=self.dtype, name=f"level_{i}"
            )(level)
            total += jax.image.resize(x, (len(x), FINE_CELLS, FINE_CELLS, self.features), "linear")
        x = nn.relu(total)
        for i in range(2):
            conv = nn.Conv(
                self.features,
                (3, 3),
                kernel_init=nn.initializers.zeros,
                dtype=self.dtype,
                name=f"context_{i}",
            )
            x = nn.relu(x + conv(x))
        return x


class Heatmaps(nn.Module):
    """Looks for each keypoint of hand and head in a map."""

    @nn.compact
    def __call__(self, features: Float[Array, "B H W C"]) -> Float[Array, "B H W 89"]:
        """Returns the logits of where each is: a softmax over the cells away from their shares."""
        return nn.Dense(layout.HEAD_KEYPOINTS.stop, kernel_init=torch_linear, name="scores")(
            features.astype(jnp.float32)
        )


def expected_keypoints(heatmaps: Float[Array, "B H W K"]) -> Float[Array, "B K 2"]:
    """The mean place of each keypoint, pixels of the 224 crop (integral regression, Sun et al.
    2018).
    """
    height, width = heatmaps.shape[1:3]
    shares = jax.nn.softmax(heatmaps, axis=(1, 2))
    columns = (jnp.arange(width) + 0.5) * (CROP_SIZE / width)
    rows = (jnp.arange(height) + 0.5) * (CROP_SIZE / height)
    return jnp.stack(
        [jnp.einsum("bhwk,w->bk", shares, columns), jnp.einsum("bhwk,h->bk", shares, rows)], axis=-1
    )


def sample_bilinear(
    features: Float[Array, "B H W C"], pixels: Float[Array, "B N 2"]
) -> Float[Array, "B N C"]:
    """Values of a map that covers the crop, between the centers of its cells; beyond the outer ones
    theirs.

    Args:
        features: of square cells.
        pixels: x, y in the 224 crop.
    """
    # Products with hat functions, not gathers: their gradient is a product too, where a scatter
    # would crawl.
    height, width = features.shape[1:3]
    columns = _hats(pixels[..., 0] * (width / CROP_SIZE) - 0.5, width).astype(features.dtype)
    rows = _hats(pixels[..., 1] * (height / CROP_SIZE) - 0.5, height).astype(features.dtype)
    of_rows = jnp.einsum("bnh,bhwc->bnwc", rows, features)
    return jnp.einsum("bnw,bnwc->bnc", columns, of_rows)


def _hats(x: Float[Array, "B N"], count: int) -> Float[Array, "B N {count}"]:
    """Weights of the two cells around each x; those of the nearest one outside [0, count - 1]."""
    x = jnp.clip(x, 0.0, count - 1.0)
    return jax.nn.relu(1.0 - jnp.abs(x[..., None] - jnp.arange(count)))
