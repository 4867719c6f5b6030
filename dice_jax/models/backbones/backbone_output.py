"""The output of every backbone."""

from __future__ import annotations

from flax import struct
from jaxtyping import Float

from dice_jax.array_types import Array


class BackboneOutput(struct.PyTreeNode):
    """Image features of a crop.

    Attributes:
        features: those of the last layer, at 1/32 of the resolution (7 x 7 cells for a crop).
        levels: maps of the layers before it, at 1/8, 1/16 and 1/32 of the resolution.
    """

    features: Float[Array, "B h w C"]
    levels: tuple[Float[Array, "B _ _ _"], Float[Array, "B _ _ _"], Float[Array, "B _ _ _"]]
