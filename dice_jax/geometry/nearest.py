"""Nearest neighbors and nearest points on a surface, with exact gradients.

The search itself is discrete: it runs without gradient, in blocks that bound its memory, and only
the winner's distance is computed again for the gradient. By the envelope theorem that is the exact
gradient of the distance.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from dice_jax.array_types import Array
from dice_jax.geometry import mesh

# Pairs looked at together. On a CPU a table of them must stay in the cache (2 MiB in float32: 7
# times faster than 16 MiB); an accelerator wants few large kernels (64 MiB).
PAIRS_PER_BLOCK_CPU = 2**19
PAIRS_PER_BLOCK = 2**24


def nearest_neighbors(
    query: Float[Array, "*B N 3"],
    points: Float[Array, "*B M 3"],
    valid: Bool[Array, "*B M"] | None = None,
) -> tuple[Float[Array, "*B N"], Int[Array, "*B N"]]:
    """Distance to, and index of, the nearest of `points` for every query.

    Args:
        query, points: meters.
        valid: points that count; None for all.

    Returns:
        distances, meters, differentiable in `query` and `points`, with gradient zero where the
        distance is zero;
            infinite (gradient zero) where no point is valid.
        indices into `points`, the lowest where several are equally near.
    """
    if valid is None:
        valid = jnp.ones(points.shape[:-1], dtype=bool)
    indices = blocked(_nearest_indices, query, (points, valid), pairs=points.shape[-2])
    nearest = jnp.vectorize(lambda p, i: p[i], signature="(m,c),(n)->(n,c)")(points, indices)
    distances = safe_norm(query - nearest)
    return jnp.where(valid.any(-1, keepdims=True), distances, jnp.inf), indices


def closest_point_on_mesh(
    points: Float[Array, "*B N 3"],
    vertices: Float[Array, "*B V 3"],
    faces: Int[Array, "F 3"],
    valid_faces: Bool[Array, "*B F"] | None = None,
) -> tuple[
    Float[Array, "*B N 3"], Int[Array, "*B N"], Float[Array, "*B N 3"], Float[Array, "*B N"]
]:
    """Exact closest point of a triangle mesh: every point against every face.

    Args:
        points, vertices: meters.
        valid_faces: faces that count (at least one); None for all.

    Returns:
        closest points, differentiable in `vertices` with the barycentrics held fixed;
        the ids of their faces, the lowest where several are equally near;
        their barycentrics, without gradient;
        distances, meters, whose gradient in `points` and `vertices` is exact (zero where the
        distance is zero).
    """
    if valid_faces is None:
        valid_faces = jnp.ones((*vertices.shape[:-2], faces.shape[0]), dtype=bool)
    triangles = mesh.gather_faces(vertices, faces)
    face_ids = blocked(_nearest_faces, points, (triangles, valid_faces), pairs=faces.shape[0])
    corners = mesh.gather_corners(vertices, faces, face_ids)
    barycentrics = jax.lax.stop_gradient(closest_barycentrics(points, corners))
    closest = (corners * barycentrics[..., None]).sum(-2)
    return closest, face_ids, barycentrics, safe_norm(points - closest)


def closest_barycentrics(
    points: Float[Array, "*B 3"], triangles: Float[Array, "*B 3 3"]
) -> Float[Array, "*B 3"]:
    """Barycentrics of the point of a triangle nearest to a point (Ericson 2005, 5.1.5).

    The nearest of four candidates: the foot of the perpendicular, if it lies within, and the
    nearest points of the three sides. So a triangle without area, which has no such foot, is
    treated as the segment or point that it is.
    """
    corners = jnp.moveaxis(triangles, -2, 0)
    normal = jnp.cross(corners[1] - corners[0], corners[2] - corners[0])
    candidates, weights = [], []
    for start, end in ((1, 2), (2, 0), (0, 1)):
        side, offset = corners[end] - corners[start], points - corners[start]
        length = (side**2).sum(-1)
        t = jnp.clip((offset * side).sum(-1) / jnp.where(length > 0.0, length, 1.0), 0.0, 1.0)
        candidates.append((1.0 - t)[..., None] * jnp.eye(3)[start] + t[..., None] * jnp.eye(3)[end])
        weights.append((jnp.cross(side, offset) * normal).sum(-1))
    foot = jnp.stack(weights, axis=-1)
    within = (foot > 0.0).all(-1, keepdims=True)
    foot = jnp.where(
        within, foot / jnp.where(within, foot.sum(-1, keepdims=True), 1.0), candidates[0]
    )
    candidates = jnp.stack([foot, *candidates], axis=-2)
    offsets = points[..., None, :] - (candidates[..., None] * triangles[..., None, :, :]).sum(-2)
    best = jnp.argmin((offsets**2).sum(-1), axis=-1)
    return jnp.take_along_axis(candidates, best[..., None, None], axis=-2)[..., 0, :]


def safe_norm(vectors: Float[Array, "*B C"]) -> Float[Array, "*B"]:
    """Euclidean length, with gradient zero (not NaN) at zero."""
    squared = (vectors**2).sum(-1)
    positive = squared > 0.0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, squared, 1.0)), 0.0)


def blocked(function, query: Array, context: tuple[Array, ...], pairs: int) -> Array:
    """`function(query (N, C), *context)` for each batch entry, a block of rows of `query` at a
    time, without gradient.

    Args:
        function: maps (n, C) and the context of one batch entry to (n, ...), row by row.
        query: (*B, N, C).
        context: arrays with the same leading dimensions.
        pairs: things each row is compared with; sets the size of the blocks, see PAIRS_PER_BLOCK.
    """
    query, context = jax.lax.stop_gradient((query, context))
    batch, rows = query.shape[:-2], query.shape[-2]
    count = math.prod(batch)
    budget = PAIRS_PER_BLOCK_CPU if jax.default_backend() == "cpu" else PAIRS_PER_BLOCK
    block = max(1, min(rows, budget // pairs))
    blocks = -(-rows // block)
    flat = query.reshape(count, rows, -1)
    flat = jnp.pad(flat, ((0, 0), (0, blocks * block - rows), (0, 0)), mode="edge").reshape(
        count, blocks, block, -1
    )
    context = tuple(array.reshape(count, *array.shape[len(batch) :]) for array in context)

    def one(entry):
        chunks, own = entry
        return jax.lax.map(lambda chunk: function(chunk, *own), chunks)

    result = jax.lax.map(one, (flat, context))
    return result.reshape(count, blocks * block, *result.shape[3:])[:, :rows].reshape(
        *batch, rows, *result.shape[3:]
    )


def _nearest_indices(query: Array, points: Array, valid: Array) -> Array:
    # |q - p|^2 = |q|^2 - 2 q.p + |p|^2 runs as a matrix product; about a common center it keeps its
    # digits.
    center = jnp.where(valid[:, None], points, 0.0).sum(0) / jnp.maximum(valid.sum(), 1)
    query, points = query - center, jnp.where(valid[:, None], points - center, 0.0)
    scores = jnp.where(valid, (points**2).sum(-1), jnp.inf) - 2.0 * jnp.matmul(
        query, points.T, precision="highest"
    )
    return _first_minimum(scores)


def _nearest_faces(points: Array, triangles: Array, valid: Array) -> Array:
    return _first_minimum(jnp.where(valid, _squared_distances(points, triangles), jnp.inf))


def _first_minimum(scores: Array) -> Array:
    """`argmin` of each row as two minima, which vectorize on a CPU where `jnp.argmin` does not (7
    times faster).
    """
    scores = jax.lax.optimization_barrier(scores)
    columns = jnp.arange(scores.shape[-1], dtype=jnp.int32)
    at_minimum = scores <= scores.min(-1, keepdims=True)
    return jnp.where(at_minimum, columns, scores.shape[-1] - 1).min(-1)


def _squared_distances(points: Array, triangles: Array) -> Array:
    """(N, F) squared point-triangle distances: to the plane inside the triangle's prism, else to
    the nearest side.

    Written by component, so that one fused loop over the pairs keeps nothing but the result.
    """
    tiny = jnp.finfo(points.dtype).tiny
    corners = jnp.moveaxis(triangles, -2, 0)
    normal = jnp.cross(corners[1] - corners[0], corners[2] - corners[0])
    within, to_side = True, jnp.inf
    for start, end in ((1, 2), (2, 0), (0, 1)):
        side = corners[end] - corners[start]
        offset = [points[:, None, k] - corners[start][:, k] for k in range(3)]
        dot = lambda vectors: sum(offset[k] * vectors[:, k] for k in range(3))
        t = jnp.clip(dot(side) / jnp.maximum((side**2).sum(-1), tiny), 0.0, 1.0)
        to_side = jnp.minimum(to_side, sum((offset[k] - t * side[:, k]) ** 2 for k in range(3)))
        within &= dot(jnp.cross(normal, side)) > 0.0
    to_plane = dot(normal) ** 2 / jnp.maximum((normal**2).sum(-1), tiny)
    return jnp.where(within, to_plane, to_side)
