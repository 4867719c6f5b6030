"""Remeshing to an exact number of vertices: decimation, refinement, flips; and the few helpers of
quads and holes.

Half-edge collapse with quadrics: Garland and Heckbert (1997); longest-edge bisection: Rivara
(1984).
"""

from __future__ import annotations

import collections
import heapq

import numpy as np

from tools.open_models.editable_mesh import EditableMesh


def triangulate(vertices: np.ndarray, quads: np.ndarray) -> np.ndarray:
    """(2Q, 3) triangles: every quad is cut along its shorter diagonal."""
    corner = vertices[quads]
    first = np.linalg.norm(corner[:, 0] - corner[:, 2], axis=1)
    second = np.linalg.norm(corner[:, 1] - corner[:, 3], axis=1)
    # The tolerance keeps rounding from deciding about squares.
    cut_02 = (first <= second * (1 + 1e-6))[:, None, None]
    return np.where(
        cut_02, quads[:, [[0, 1, 2], [0, 2, 3]]], quads[:, [[0, 1, 3], [1, 2, 3]]]
    ).reshape(-1, 3)


def boundary_loop(faces: np.ndarray) -> list[int]:
    """The vertices of the only hole of an open mesh, in order."""
    half_edges = {
        (a, b) for face in faces.tolist() for a, b in zip(face, face[1:] + face[:1], strict=True)
    }
    following = {a: b for a, b in half_edges if (b, a) not in half_edges}
    loop = [min(following)]
    while (vertex := following[loop[-1]]) != loop[0]:
        loop.append(vertex)
    if len(loop) != len(following):
        raise ValueError(
            f"expected one hole, but {len(following) - len(loop)} boundary vertices are not on the first loop"
        )
    return loop


def decimate(
    mesh: EditableMesh,
    count: int,
    removable: np.ndarray | None = None,
    importance: np.ndarray | None = None,
    boundary_count: int | None = None,
) -> None:
    """Half-edge collapses, cheapest first, until `count` vertices are left.

    Args:
        count: vertices to keep; one more may stay where only mirrored pairs could go.
        removable: (V,) bool, the vertices that may go; all by default. Vertices of the hole never
            go here.
        importance: (V,) factor on the cost of removing a vertex; it acts on edge lengths by its
            fourth root.
        boundary_count: if given, the shortest edges of the hole collapse first, until it has this
            many vertices.
    """
    while boundary_count is not None and len(mesh.boundary) > boundary_count:
        edges = [
            (mesh.length(u, v), u, v)
            for u in mesh.boundary
            for v in mesh.neighbors(u) & mesh.boundary
        ]
        _, u, v = min(
            edge
            for edge in edges
            if len(mesh.edge_faces(*edge[1:])) == 1 and mesh.may_collapse(*edge[1:])
        )
        mesh.collapse(u, v)
    free = {v for v in mesh.alive() if (removable is None or removable[v])} - mesh.boundary
    heap: list[tuple[float, int, int, int]] = []
    version: collections.Counter[int] = collections.Counter()

    def push(u: int) -> None:
        if u in free:
            for v in mesh.neighbors(u):
                cost = mesh.collapse_cost(u, v) * (1.0 if importance is None else importance[u])
                heapq.heappush(heap, (cost, u, v, version[u] + version[v]))

    for u in sorted(free):
        push(u)
    while len(mesh) > count and heap:
        _, u, v, stamp = heapq.heappop(heap)
        if u not in mesh or v not in mesh or version[u] + version[v] != stamp:
            continue
        if v not in mesh.neighbors(u) or not mesh.may_collapse(u, v):
            continue
        for kept in mesh.collapse(u, v):
            touched = mesh.neighbors(kept) | {kept}
            version.update(touched)
            for x in sorted(touched.union(*map(mesh.neighbors, touched))):
                push(x)


def refine(
    mesh: EditableMesh, count: int, size: np.ndarray, boundary_count: int | None = None
) -> None:
    """Bisects the edge that is longest for its place, again and again, until there are `count`
    vertices.

    Args:
        count: vertices wanted.
        size: (V,) edge length wanted around each vertex of the source; infinite where nothing shall
            be split.
        boundary_count: if given, the longest edges of the hole are split first, until it has this
            many vertices.
    """
    sizes = dict(enumerate(np.asarray(size, np.float64).tolist()))

    def bisect(a: int, b: int) -> list[int]:
        created = mesh.bisect(a, b)
        sizes.update({vertex: (sizes[a] + sizes[b]) / 2 for vertex in created})
        return created

    while boundary_count is not None and len(mesh.boundary) < boundary_count:
        edges = [
            (mesh.length(u, v), u, v)
            for u in mesh.boundary
            for v in mesh.neighbors(u) & mesh.boundary
        ]
        bisect(*max(edge for edge in edges if len(mesh.edge_faces(*edge[1:])) == 1)[1:])
    heap: list[tuple[float, int, int]] = []

    def push(a: int, b: int) -> None:
        place = (sizes[a] + sizes[b]) / 2
        if np.isfinite(place) and len(mesh.edge_faces(a, b)) == 2:
            heapq.heappush(heap, (-mesh.length(a, b) / place, min(a, b), max(a, b)))

    for edge in sorted(mesh.edges()):
        push(*edge)
    while len(mesh) < count:
        if not heap:
            raise ValueError(f"no edge left to split at {len(mesh)} of {count} vertices")
        _, a, b = heapq.heappop(heap)
        added = 1 if mesh.mirrored_edge(a, b) in ((a, b), (b, a), None) else 2
        if len(mesh.edge_faces(a, b)) != 2 or len(mesh) + added > count:
            continue
        for vertex in bisect(a, b):
            for neighbor in sorted(mesh.neighbors(vertex)):
                push(vertex, neighbor)


def flip(mesh: EditableMesh, rounds: int = 4) -> int:
    """Delaunay flips where the surface is nearly flat; returns how many edges were flipped."""
    total = 0
    for _ in range(rounds):
        flipped = sum(mesh.flip_if_better(a, b) for a, b in sorted(mesh.edges()))
        total += flipped
        if not flipped:
            break
    return total
