"""Coarse levels of a body model's mesh, and the maps between them.

Level 0 is the full mesh, level 1 the next coarser one, and so on: 778 and 195 vertices for the
hand, 5023, 1675 and 559 for the head. Every coarse vertex is also a vertex of the finer mesh, so
down-sampling is a gather, which works for labels too. Up-sampling makes each fine vertex a fixed
barycentric combination of three coarse ones.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Float, Int, Shaped

from dice_jax.array_types import Array
from dice_jax.body_models.simplify import closest_points, simplify


class Hierarchy(struct.PyTreeNode):
    """Maps between the levels of a mesh.

    Entry `k` of each tuple connects level `k` (finer) and level `k + 1` (coarser).

    Attributes:
        down_ids: for each vertex of level k + 1, which vertex of level k it is; ascending.
        up_ids: for each vertex of level k, three vertices of level k + 1.
        up_weights: their barycentric weights; rows sum to 1.
        faces: the triangles of level k + 1.
    """

    down_ids: tuple[Int[Array, "_"], ...]
    up_ids: tuple[Int[Array, "_ 3"], ...]
    up_weights: tuple[Float[Array, "_ 3"], ...]
    faces: tuple[Int[Array, "_ 3"], ...]

    @property
    def counts(self) -> tuple[int, ...]:
        """Number of vertices of each level, finest first."""
        return (*(len(ids) for ids in self.up_ids), len(self.down_ids[-1]))


def downsample(
    hierarchy: Hierarchy, values: Shaped[Array, "*B V C"], level: int, from_level: int = 0
) -> Shaped[Array, "*B W C"]:
    """Takes values at the vertices of a level to a coarser one.

    Args:
        hierarchy: of the body model.
        values: one vector for each vertex of `from_level`.
        level: the coarser level.
        from_level: the finer level; 0 is the full mesh.

    Returns:
        One vector for each vertex of `level`.
    """
    for ids in hierarchy.down_ids[from_level:level]:
        values = values[..., ids, :]
    return values


def downsample_labels(
    hierarchy: Hierarchy, labels: Shaped[Array, "*B V"], level: int, from_level: int = 0
) -> Shaped[Array, "*B W"]:
    """`downsample` for one number per vertex, such as contact labels."""
    return downsample(hierarchy, labels[..., None], level, from_level)[..., 0]


def upsample(
    hierarchy: Hierarchy, values: Float[Array, "*B W C"], level: int, to_level: int = 0
) -> Float[Array, "*B V C"]:
    """Takes values at the vertices of a level to a finer one.

    Args:
        hierarchy: of the body model.
        values: one vector for each vertex of `level`.
        level: the coarser level.
        to_level: the finer level; 0 is the full mesh.

    Returns:
        One vector for each vertex of `to_level`.
    """
    for k in reversed(range(to_level, level)):
        corners = values[..., hierarchy.up_ids[k], :]
        weights = jnp.broadcast_to(hierarchy.up_weights[k], corners.shape[:-1])
        values = (corners * weights[..., None]).sum(-2)
    return values


def upsampling_matrix(hierarchy: Hierarchy, level: int) -> Float[Array, "V W"]:
    """The map from `level` to `level - 1` as a dense matrix; initializes learned up-sampling."""
    ids, weights = hierarchy.up_ids[level - 1], hierarchy.up_weights[level - 1]
    rows = jnp.arange(len(ids))[:, None]
    return jnp.zeros((len(ids), hierarchy.counts[level]), weights.dtype).at[rows, ids].add(weights)


def build_hierarchy(
    vertices: np.ndarray,
    faces: np.ndarray,
    counts: Sequence[int],
    importance: np.ndarray | None = None,
    poses: Sequence[np.ndarray] = (),
) -> Hierarchy:
    """Simplifies a mesh level by level (NumPy, takes seconds).

    Args:
        vertices: rest positions of the full mesh (V, 3), meters.
        faces: its triangles (F, 3).
        counts: number of vertices of the coarser levels, finest first, e.g. `(1675, 559)`.
        importance: positive weight of each vertex; more vertices are kept where it is large. None:
            1 everywhere.
        poses: vertices in other poses that the levels should also approximate, e.g. an open mouth.

    Returns:
        The hierarchy, as NumPy arrays. Every connected component and every boundary loop is kept at
        every level.

    Raises:
        ValueError: a count cannot be reached without breaking the surface.
    """
    importance = (
        np.ones(len(vertices)) if importance is None else np.asarray(importance, np.float64)
    )
    vertices = np.concatenate([np.asarray(pose, np.float64) for pose in (vertices, *poses)], -1)
    down_ids, up_ids, up_weights, level_faces = [], [], [], []
    for count in counts:
        kept, coarse_faces, survivors = simplify(vertices, faces, count, importance)
        ids, weights = _barycentric_map(vertices, kept, coarse_faces, survivors)
        down_ids.append(kept.astype(np.int32))
        up_ids.append(ids.astype(np.int32))
        up_weights.append(weights.astype(np.float32))
        level_faces.append(coarse_faces.astype(np.int32))
        vertices, faces, importance = vertices[kept], coarse_faces, importance[kept]
    return Hierarchy(tuple(down_ids), tuple(up_ids), tuple(up_weights), tuple(level_faces))


def _barycentric_map(vertices, kept, coarse_faces, survivors):
    """For each fine vertex, three coarse vertices and their barycentric weights.

    The closest point is searched over all poses and only near the coarse vertex that the fine one
    was collapsed into: on the whole surface, that of an eyeball's vertex may lie on an eyelid.
    """
    corners = vertices[kept][coarse_faces]
    incident = [[] for _ in kept]
    for face_id, face in enumerate(coarse_faces):
        for corner in face:
            incident[corner].append(face_id)

    ids, weights = np.zeros((len(vertices), 3), int), np.zeros((len(vertices), 3))
    for vertex, survivor in enumerate(survivors):
        one_ring = {corner for face_id in incident[survivor] for corner in coarse_faces[face_id]}
        candidates = np.array(
            sorted({face_id for corner in one_ring for face_id in incident[corner]})
        )
        barycentrics, distances = closest_points(vertices[vertex], corners[candidates])
        best = distances.argmin()
        ids[vertex], weights[vertex] = coarse_faces[candidates[best]], barycentrics[best]
    # A kept vertex is reproduced without rounding.
    ids[kept] = coarse_faces[[faces[0] for faces in incident]]
    weights[kept] = ids[kept] == np.arange(len(kept))[:, None]
    return ids, weights
