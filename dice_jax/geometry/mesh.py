"""Triangle meshes: normals, areas, points on faces (JAX), and connectivity (NumPy, done once a
template).

Faces are triangles, counter-clockwise when seen from outside.
"""

from __future__ import annotations

from collections import Counter, defaultdict

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from dice_jax.array_types import Array

_EPSILON = 1e-20


def gather_faces(
    vertices: Float[Array, "*B V C"], faces: Int[Array, "F 3"]
) -> Float[Array, "*B F 3 C"]:
    """The three corners of every face."""
    return vertices[..., faces, :]


def gather_corners(
    values: Float[Array, "*B V C"], faces: Int[Array, "F 3"], face_ids: Int[Array, "*B K"]
) -> Float[Array, "*B K 3 C"]:
    """The three corners of chosen faces; leading dimensions of `values` and `face_ids` broadcast."""
    corners = jnp.asarray(faces)[face_ids]
    take = jnp.vectorize(lambda value, index: value[index], signature="(v,c),(k)->(k,c)")
    taken = take(values, corners.reshape(*face_ids.shape[:-1], -1))
    return taken.reshape(*taken.shape[:-2], face_ids.shape[-1], 3, values.shape[-1])


def barycentric_points(
    values: Float[Array, "*B V C"],
    faces: Int[Array, "F 3"],
    face_ids: Int[Array, "*B K"],
    barycentrics: Float[Array, "*B K 3"],
) -> Float[Array, "*B K C"]:
    """Points on faces (or any vertex attribute there): sum of corners weighted by `barycentrics`.

    Leading dimensions broadcast, so landmarks shared by a batch are `face_ids (K,)`, `barycentrics
    (K, 3)`.
    """
    return (gather_corners(values, faces, face_ids) * barycentrics[..., None]).sum(-2)


def face_normals(
    vertices: Float[Array, "*B V 3"], faces: Int[Array, "F 3"]
) -> Float[Array, "*B F 3"]:
    """Unit outward normals; a face without area gets the zero vector, with zero gradient."""
    return _normalize(_area_vectors(vertices, faces))


def face_areas(vertices: Float[Array, "*B V 3"], faces: Int[Array, "F 3"]) -> Float[Array, "*B F"]:
    """Areas, in the square of the unit of `vertices`; gradient zero for a face without area."""
    squared = (_area_vectors(vertices, faces) ** 2).sum(-1)
    return 0.5 * jnp.where(squared > 0.0, jnp.sqrt(jnp.where(squared > 0.0, squared, 1.0)), 0.0)


def vertex_normals(
    vertices: Float[Array, "*B V 3"], faces: Int[Array, "F 3"]
) -> Float[Array, "*B V 3"]:
    """Unit outward normals: the area-weighted mean of the faces around a vertex (zero where there
    is none).
    """
    normals = _area_vectors(vertices, faces)
    summed = jnp.zeros_like(vertices)
    for corner in range(3):
        summed = summed.at[..., faces[:, corner], :].add(normals)
    return _normalize(summed)


def boundary_loops(faces: np.ndarray) -> list[np.ndarray]:
    """Closed chains of vertex ids along the borders of a mesh, longest first; empty for a closed
    mesh.

    Each loop follows its faces' own direction (the edge a -> b of a face has no partner b -> a). A
    vertex where borders touch splits the chain into simple loops.
    """
    faces = np.asarray(faces)
    directed = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    count = Counter(map(tuple, directed.tolist()))
    outgoing = defaultdict(list)
    for a, b in sorted(count):
        outgoing[a] += [b] * (count[a, b] - count[b, a])
    loops = []
    for start in sorted(outgoing):
        while outgoing[start]:
            path = [start]
            while outgoing[path[-1]]:
                vertex = outgoing[path[-1]].pop()
                if vertex in path:
                    first = path.index(vertex)
                    loops.append(np.array(path[first:], dtype=faces.dtype))
                    path = path[: first + 1]
                else:
                    path.append(vertex)
    return sorted(loops, key=len, reverse=True)


def cap_faces(faces: np.ndarray) -> np.ndarray:
    """The faces of a mesh and a fan over every hole: closed, oriented alike, without new vertices.

    Closed means that every edge is run through as often one way as the other, which is what a
    winding number needs. Over a ragged border a fan may fold or re-use an edge of the mesh.

    Returns:
        (F + n, 3): the given faces first, then the caps.
    """
    faces = np.asarray(faces)
    fans = [
        np.stack([np.full(len(loop) - 2, loop[0]), loop[2:], loop[1:-1]], axis=-1)
        for loop in boundary_loops(faces)
    ]
    return np.concatenate([faces, *fans]).astype(faces.dtype)


def edges(faces: np.ndarray) -> np.ndarray:
    """(E, 2) undirected edges, each once, smaller vertex id first, in lexicographic order."""
    faces = np.asarray(faces)
    pairs = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    return np.unique(np.sort(pairs, axis=1), axis=0)


def vertex_adjacency(faces: np.ndarray, num_vertices: int) -> np.ndarray:
    """(V, K) ids of the vertices that share an edge with each vertex, ascending, padded with -1 (K
    = largest degree).
    """
    pairs = edges(faces)
    pairs = np.concatenate([pairs, pairs[:, ::-1]])
    pairs = pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]
    degree = np.bincount(pairs[:, 0], minlength=num_vertices)
    slot = np.arange(len(pairs)) - np.repeat(np.cumsum(degree) - degree, degree)
    neighbors = np.full((num_vertices, degree.max(initial=0)), -1, dtype=np.int32)
    neighbors[pairs[:, 0], slot] = pairs[:, 1]
    return neighbors


def _area_vectors(vertices: Array, faces: Array) -> Array:
    a, b, c = jnp.moveaxis(gather_faces(vertices, faces), -2, 0)
    return jnp.cross(b - a, c - a)


def _normalize(vectors: Array) -> Array:
    squared = (vectors**2).sum(-1, keepdims=True)
    positive = squared > _EPSILON**2
    return jnp.where(positive, vectors / jnp.sqrt(jnp.where(positive, squared, 1.0)), 0.0)
