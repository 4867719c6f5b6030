"""Remeshing to an exact number of vertices: decimation, refinement and edge flips.

Half-edge collapse with quadrics: Garland and Heckbert (1997). Longest-edge bisection: Rivara
(1984).
"""

from __future__ import annotations

import collections
import heapq

import numpy as np

from tools.open_models.editable_mesh import EditableMesh


def triangulate(vertices: np.ndarray, quads: np.ndarray) -> np.ndarray:
    """Triangles (2Q, 3) of quads (Q, 4), each cut along its shorter diagonal."""
    corner = vertices[quads]
    first = np.linalg.norm(corner[:, 0] - corner[:, 2], axis=1)
    second = np.linalg.norm(corner[:, 1] - corner[:, 3], axis=1)
    # With the tolerance, the cut of a square does not depend on rounding.
    along_02 = (first <= second * (1 + 1e-6))[:, None, None]
    cut_02, cut_13 = quads[:, [[0, 1, 2], [0, 2, 3]]], quads[:, [[0, 1, 3], [1, 2, 3]]]
    return np.where(along_02, cut_02, cut_13).reshape(-1, 3)


def boundary_loop(faces: np.ndarray) -> list[int]:
    """The vertices around the only hole of a mesh, in order.

    Raises:
        ValueError: the mesh has several holes.
    """
    half_edges = {
        (a, b) for face in faces.tolist() for a, b in zip(face, face[1:] + face[:1], strict=True)
    }
    following = {a: b for a, b in half_edges if (b, a) not in half_edges}
    loop = [min(following)]
    while (vertex := following[loop[-1]]) != loop[0]:
        loop.append(vertex)
    if len(loop) != len(following):
        others = len(following) - len(loop)
        raise ValueError(f"expected one hole, but {others} boundary vertices lie on another loop")
    return loop


def _hole_edges(mesh: EditableMesh) -> list[tuple[float, int, int]]:
    """Edges of the hole, in both directions: length and vertices."""
    pairs = ((u, v) for u in mesh.boundary for v in mesh.neighbors(u) & mesh.boundary)
    return [(mesh.length(u, v), u, v) for u, v in pairs if len(mesh.edge_faces(u, v)) == 1]


def decimate(
    mesh: EditableMesh,
    count: int,
    removable: np.ndarray | None = None,
    importance: np.ndarray | None = None,
    boundary_count: int | None = None,
) -> None:
    """Collapses half edges, cheapest first, until `count` vertices are left.

    Args:
        mesh: edited in place.
        count: vertices to keep; one more may remain if only mirrored pairs can be removed.
        removable: (V,) bool, the vertices that may be removed; by default all. Vertices of the hole
            are never removed by this.
        importance: (V,) factor of the cost of removing a vertex; the resulting edge lengths vary
            with its fourth root.
        boundary_count: if given, the shortest edges of the hole are collapsed first, until it has
            this many vertices.
    """
    while boundary_count is not None and len(mesh.boundary) > boundary_count:
        _, u, v = min(edge for edge in _hole_edges(mesh) if mesh.may_collapse(*edge[1:]))
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
    """Bisects edges, longest first relative to the desired length, up to `count` vertices.

    Args:
        mesh: edited in place.
        count: vertices wanted.
        size: (V,) desired edge length at each vertex of the source; infinite where no edge may be
            split.
        boundary_count: if given, the longest edges of the hole are split first, until it has this
            many vertices.

    Raises:
        ValueError: no edge is left to split.
    """
    sizes = dict(enumerate(np.asarray(size, np.float64).tolist()))

    def bisect(a: int, b: int) -> list[int]:
        created = mesh.bisect(a, b)
        sizes.update({vertex: (sizes[a] + sizes[b]) / 2 for vertex in created})
        return created

    while boundary_count is not None and len(mesh.boundary) < boundary_count:
        bisect(*max(_hole_edges(mesh))[1:])
    heap: list[tuple[float, int, int]] = []

    def push(a: int, b: int) -> None:
        desired = (sizes[a] + sizes[b]) / 2
        if np.isfinite(desired) and len(mesh.edge_faces(a, b)) == 2:
            heapq.heappush(heap, (-mesh.length(a, b) / desired, min(a, b), max(a, b)))

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
    """Delaunay flips where the surface is nearly flat; returns the number of flipped edges."""
    total = 0
    for _ in range(rounds):
        flipped = sum(mesh.flip_if_better(a, b) for a, b in sorted(mesh.edges()))
        total += flipped
        if not flipped:
            break
    return total
