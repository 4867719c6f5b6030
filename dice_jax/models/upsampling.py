"""Up-sampling from the coarse meshes of the transformers to the full meshes."""

from __future__ import annotations

import hashlib
from typing import Literal

import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Float

from dice_jax.array_types import Array
from dice_jax.body_models.hierarchy import Hierarchy, upsample, upsampling_matrix


class MeshLevels:
    """A mesh hierarchy that can be compared and hashed, and so be a constant of a network.

    A module is a static argument of `jit`: two modules with equal hierarchies must be equal.
    """

    def __init__(self, hierarchy: Hierarchy):
        ids, weights = hierarchy.up_ids, hierarchy.up_weights
        self.hierarchy = hierarchy.replace(
            up_ids=tuple(map(np.asarray, ids)), up_weights=tuple(map(np.asarray, weights))
        )
        arrays = (*self.hierarchy.up_ids, *self.hierarchy.up_weights)
        self._content = b"".join(x.tobytes() for x in arrays)
        self._hash = hash(self._content)

    @property
    def coarsest(self) -> int:
        """Number of the coarsest level: 1 for the hand, 2 for the head."""
        return len(self.hierarchy.up_ids)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, MeshLevels) and self._content == other._content

    def __hash__(self) -> int:
        return self._hash

    def __repr__(self) -> str:
        """Says what it contains, since `kept_programs` tells programs apart by it."""
        return f"MeshLevels({hashlib.sha256(self._content).hexdigest()})"


class Upsampling(nn.Module):
    """Maps values at the vertices of the coarsest level to every finer level.

    "learned" (paper): for each level a linear map over the vertices with one bias for each vertex,
    which starts as the barycentric map. "barycentric": the fixed map of the hierarchy, no weights.
    """

    levels: MeshLevels
    kind: Literal["learned", "barycentric"]

    @nn.compact
    def __call__(self, values: Float[Array, "B W C"]) -> tuple[Float[Array, "B _ C"], ...]:
        """Returns the values at every level, from the finest to the given one."""
        results = [values]
        for level in range(self.levels.coarsest, 0, -1):
            finer = self._learned if self.kind == "learned" else self._barycentric
            results.insert(0, finer(results[0], level))
        return tuple(results)

    def _learned(self, values, level):
        hierarchy = self.levels.hierarchy

        def barycentric(key, shape, dtype=jnp.float32):
            return jnp.asarray(upsampling_matrix(hierarchy, level).T, dtype)

        shape = (hierarchy.counts[level], hierarchy.counts[level - 1])
        kernel = self.param(f"kernel_{level}", barycentric, shape)
        bias = self.param(f"bias_{level}", nn.initializers.zeros, (shape[1],))
        return jnp.einsum("bwc,wv->bvc", values, kernel) + bias[None, :, None]

    def _barycentric(self, values, level):
        return upsample(self.levels.hierarchy, values, level, level - 1)
