"""Triangle meshes: normals, areas and points on faces (JAX), and connectivity (NumPy).

Faces are triangles, counter-clockwise when seen from outside. Connectivity is computed once for
each template.
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
    values: Float[Array, "*#B V C"], faces: Int[Array, "F 3"], face_ids: Int[Array, "*#B K"]
) -> Float[Array, "*B K 3 C"]:
    """The three corners of selected faces; leading dimensions broadcast."""
    corners = jnp.asarray(faces)[face_ids].reshape(*face_ids.shape[:-1], -1)
    rank = max(values.ndim - 2, corners.ndim - 1)
    values = jnp.expand_dims(values, range(rank + 2 - values.ndim))
    corners = jnp.expand_dims(corners, range(rank + 1 - corners.ndim))
    take = jnp.vectorize(lambda value, index: value[index], signature="(v,c),(k)->(k,c)")
    taken = take(values, corners)
    return taken.reshape(*taken.shape[:-2], face_ids.shape[-1], 3, values.shape[-1])


def barycentric_points(
    values: Float[Array, "*#B V C"],
    faces: Int[Array, "F 3"],
    face_ids: Int[Array, "*#B K"],
    barycentrics: Float[Array, "*#B K 3"],
) -> Float[Array, "*B K C"]:
    """Interpolates vertex attributes (positions, for example) at points on faces.

    Leading dimensions broadcast, so that a batch can share its landmarks.

    Args:
        values: attributes of the vertices.
        faces: vertex ids.
        face_ids: the face of each point.
        barycentrics: weights of its three corners.
    """
    corners = gather_corners(values, faces, face_ids)
    weights = jnp.broadcast_to(barycentrics, (*corners.shape[:-3], *barycentrics.shape[-2:]))
    return (corners * weights[..., None]).sum(-2)


def face_normals(
    vertices: Float[Array, "*B V 3"], faces: Int[Array, "F 3"]
) -> Float[Array, "*B F 3"]:
    """Unit outward normals; the zero vector, with zero gradient, for a face without area."""
    return _normalize(_area_vectors(vertices, faces))


def face_areas(vertices: Float[Array, "*B V 3"], faces: Int[Array, "F 3"]) -> Float[Array, "*B F"]:
    """Areas in the squared unit of `vertices`; the gradient is zero for a face without area."""
    squared = (_area_vectors(vertices, faces) ** 2).sum(-1)
    return 0.5 * jnp.where(squared > 0.0, jnp.sqrt(jnp.where(squared > 0.0, squared, 1.0)), 0.0)


def vertex_normals(
    vertices: Float[Array, "*B V 3"], faces: Int[Array, "F 3"]
) -> Float[Array, "*B V 3"]:
    """Unit outward normals: means of the adjacent faces, weighted by area; zero without a face."""
    normals = _area_vectors(vertices, faces)
    summed = jnp.zeros_like(vertices)
    for corner in range(3):
        summed = summed.at[..., faces[:, corner], :].add(normals)
    return _normalize(summed)


def boundary_loops(faces: Int[np.ndarray, "F 3"]) -> list[Int[np.ndarray, "_"]]:
    """Closed chains of vertex ids along the borders of a mesh, longest first.

    A loop has the direction of its faces: it contains the edges a -> b of faces for which no face
    has b -> a. A vertex where borders touch separates simple loops. A closed mesh has no loops.
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


def cap_faces(faces: Int[np.ndarray, "F 3"]) -> Int[np.ndarray, "G 3"]:
    """Closes a mesh with a fan of faces over every hole, without new vertices.

    Closed means that every edge occurs equally often in both directions, as a winding number
    requires. Over an irregular border a fan may fold, or use an edge of the mesh again.

    Returns:
        The given faces, then the caps, oriented like them.
    """
    faces = np.asarray(faces)
    fans = [
        np.stack([np.full(len(loop) - 2, loop[0]), loop[2:], loop[1:-1]], axis=-1)
        for loop in boundary_loops(faces)
    ]
    return np.concatenate([faces, *fans]).astype(faces.dtype)


def edges(faces: Int[np.ndarray, "F 3"]) -> Int[np.ndarray, "E 2"]:
    """Undirected edges, each once, smaller vertex id first, in lexicographic order."""
    faces = np.asarray(faces)
    pairs = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    return np.unique(np.sort(pairs, axis=1), axis=0)


def vertex_adjacency(
    faces: Int[np.ndarray, "F 3"], num_vertices: int
) -> Int[np.ndarray, "{num_vertices} K"]:
    """Ids of the neighbors of each vertex, ascending, padded with -1; K is the largest degree."""
    pairs = edges(faces)
    pairs = np.concatenate([pairs, pairs[:, ::-1]])
    pairs = pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]
    degree = np.bincount(pairs[:, 0], minlength=num_vertices)
    slot = np.arange(len(pairs)) - np.repeat(np.cumsum(degree) - degree, degree)
    neighbors = np.full((num_vertices, degree.max(initial=0)), -1, dtype=np.int32)
    neighbors[pairs[:, 0], slot] = pairs[:, 1]
    return neighbors


def _area_vectors(
    vertices: Float[Array, "*B V 3"], faces: Int[Array, "F 3"]
) -> Float[Array, "*B F 3"]:
    """Normals with the length of twice the area."""
    a, b, c = jnp.moveaxis(gather_faces(vertices, faces), -2, 0)
    return jnp.cross(b - a, c - a)


def _normalize(vectors: Float[Array, "*B 3"]) -> Float[Array, "*B 3"]:
    """Unit vectors; zero, with zero gradient, where the length is zero."""
    squared = (vectors**2).sum(-1, keepdims=True)
    positive = squared > _EPSILON**2
    return jnp.where(positive, vectors / jnp.sqrt(jnp.where(positive, squared, 1.0)), 0.0)
