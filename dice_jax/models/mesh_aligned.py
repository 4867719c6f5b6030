"""Mesh-aligned features: image features where a point of the mesh projects to (PyMAF, Zhang et al.
2021).

A token of the transformer has the whole image in 49 coarse cells. Which part of the face lies under
a finger tip is a matter of a few pixels, for which the finer map of `fine_map` is sampled.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Float

from dice_jax.array_types import Array
from dice_jax.constants import CROP_SIZE
from dice_jax.geometry.camera import project_orthographic
from dice_jax.models.layers import tokens as layout
from dice_jax.structs import Camera

_PROXIMITY_RANGES = (8.0, 24.0)  # pixels: the widths of a finger tip and of two fingers


class MeshAlignedFeatures(struct.PyTreeNode):
    """Everything that a mesh needs to sample the image.

    Gradients reach `features` only: neither positions, nor keypoints, nor the camera get any.

    Attributes:
        features: a map that covers the crop.
        keypoints: of hand and head, found in the image; pixels of the crop. NaN: not found.
        camera: projects the meshes.
    """

    features: Float[Array, "B H W C"]
    keypoints: Float[Array, "B 89 2"]
    camera: Camera

    def sample(self, positions: Float[Array, "B N 3"]) -> Float[Array, "B N C"]:
        """The features where `positions` (meters, head-centered) project to."""
        return sample_bilinear(self.features, self._project(positions))

    def reprojection_offset(self, positions: Float[Array, "B 89 3"]) -> Float[Array, "B 89 2"]:
        """Offset of each keypoint in the image from the projection of its token, pixels.

        It is 0 for keypoints that were not found.
        """
        keypoints = jax.lax.stop_gradient(self.keypoints)
        return jnp.nan_to_num(keypoints - self._project(positions))

    def proximity_to_hand(self, positions: Float[Array, "B N 3"]) -> Float[Array, "B N 42"]:
        """exp(-distance / range) in the image to each hand keypoint, for two ranges.

        It is 0 for keypoints that were not found.
        """
        hand = jax.lax.stop_gradient(self.keypoints[:, layout.HAND_KEYPOINTS])
        distance = jnp.linalg.norm(self._project(positions)[:, :, None] - hand[:, None], axis=-1)
        distance = jnp.where(jnp.isnan(distance), jnp.inf, distance)
        return jnp.concatenate([jnp.exp(-distance / r) for r in _PROXIMITY_RANGES], axis=-1)

    def _project(self, positions):
        positions, camera = jax.lax.stop_gradient((positions, self.camera))
        return project_orthographic(positions, camera.scale, camera.transl)


def sample_bilinear(
    features: Float[Array, "B H W C"], pixels: Float[Array, "B N 2"]
) -> Float[Array, "B N C"]:
    """Bilinear interpolation between the centers of the cells of a map that covers the crop.

    Beyond the centers of the outer cells the value is that of the nearest point inside.

    Args:
        features: the map.
        pixels: x, y in pixels of the crop.
    """
    # Matrix products with hat functions are faster than gathers: their gradient is a product too,
    # and not a scatter.
    height, width = features.shape[1:3]
    columns = _hats(pixels[..., 0] * (width / CROP_SIZE) - 0.5, width).astype(features.dtype)
    rows = _hats(pixels[..., 1] * (height / CROP_SIZE) - 0.5, height).astype(features.dtype)
    of_rows = jnp.einsum("bnh,bhwc->bnwc", rows, features)
    return jnp.einsum("bnw,bnwc->bnc", columns, of_rows)


def _hats(x: Float[Array, "B N"], count: int) -> Float[Array, "B N {count}"]:
    """Interpolation weights of `count` points at 0, 1, ...; x is clipped to their range."""
    x = jnp.clip(x, 0.0, count - 1.0)
    return jax.nn.relu(1.0 - jnp.abs(x[..., None] - jnp.arange(count)[None, None]))
