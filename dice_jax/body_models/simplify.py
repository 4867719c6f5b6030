"""Mesh simplification by half-edge collapse: the coarse vertices are a subset of the fine ones.

Quadric error metric of Garland and Heckbert (1997), with a term for edge length that keeps vertices
evenly spread: a coarse head needs vertices on a smooth cheek, not only around the eyelids. As in
their 1998 paper, a vertex may have any number of coordinates. Here these are its positions in
several poses, so that lips that touch at rest are far apart with an open jaw. NumPy, offline.
"""

from __future__ import annotations

import heapq

import numpy as np

EVENNESS = 0.02  # weight of the edge-length term against the quadric error
MIN_COMPONENT = 12  # vertices below which a closed component (an eyeball) would lose its shape
MIN_LOOP = 6  # vertices below which a boundary loop (wrist, neck) would lose its shape
MIN_NORMAL_COSINE = 0.2  # between a triangle before and after a collapse; less is a fold


def simplify(
    vertices: np.ndarray, faces: np.ndarray, count: int, importance: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Collapses edges, cheapest first, until `count` vertices are left.

    Args:
        vertices: positions (V, 3), or (V, 3 n) for the mesh in n poses, the rest pose first.
        faces: triangles (F, 3) of a manifold surface, with or without boundary.
        count: number of vertices to keep.
        importance: positive weights (V,) of the error near each vertex.

    Returns:
        Kept vertex ids (count,), ascending; coarse faces, indices into the kept ids; and for each
        fine vertex the coarse vertex that it was collapsed into, (V,). Components and boundary
        loops are those of the input.

    Raises:
        ValueError: `count` cannot be reached without breaking the surface.
    """
    mesh = _CollapsingMesh(
        np.asarray(vertices, np.float64), np.asarray(faces), np.asarray(importance, np.float64)
    )
    heap, stuck_at = [], None
    while mesh.num_vertices > count:
        if not heap:  # collapses that were rejected before may be possible now
            if mesh.num_vertices == stuck_at:
                raise ValueError(
                    f"the mesh cannot be simplified to {count} vertices: "
                    f"no edge can be collapsed at {stuck_at}"
                )
            stuck_at = mesh.num_vertices
            heap = [entry for vertex in mesh.alive() for entry in mesh.half_edges_from(vertex)]
            heapq.heapify(heap)
        _, removed, target, stamps = heapq.heappop(heap)
        if stamps == mesh.stamps_of(removed, target) and mesh.can_collapse(removed, target):
            for entry in mesh.collapse(removed, target):
                heapq.heappush(heap, entry)
    return mesh.result()


class _CollapsingMesh:
    """A triangle mesh under half-edge collapses, which move vertex `removed` onto `target`."""

    def __init__(self, vertices, faces, importance):
        self.vertices = vertices
        self.faces = {f: tuple(int(v) for v in face) for f, face in enumerate(faces)}
        self.faces_of = [set() for _ in vertices]
        for f, face in self.faces.items():
            for v in face:
                self.faces_of[v].add(f)
        self.num_vertices = sum(1 for ring in self.faces_of if ring)
        self.collapsed_into = np.arange(len(vertices))
        # Increased when the cost of a vertex's edges changes, which invalidates old heap entries.
        self.stamp = [0] * len(vertices)
        self._accumulate_quadrics(importance)
        self._count_components_and_loops()

    def _accumulate_quadrics(self, importance):
        size = self.vertices.shape[-1] + 1
        self.quadrics = np.zeros((len(self.vertices), size, size))
        self.areas = np.zeros(len(self.vertices))
        for face in self.faces.values():
            a, b, c = self.vertices[list(face)]
            along = _normalize(b - a)
            across = (c - a) - along * (along @ (c - a))
            weight = np.linalg.norm(b - a) * np.linalg.norm(across) * importance[list(face)].mean()
            self._add_flat(face, a, np.stack([along, _normalize(across)]), weight)
            self.areas[list(face)] += weight
        for a, b in self._boundary_edges():
            edge = self.vertices[b] - self.vertices[a]
            self._add_flat((a, b), self.vertices[a], _normalize(edge)[None], edge @ edge)

    def _add_flat(self, corners, point, directions, weight):
        """Adds the squared distance to a flat (a plane or a line) to the quadrics of `corners`.

        The flat goes through `point` along orthonormal `directions`.
        """
        projection = np.eye(len(point)) - directions.T @ directions
        to_flat = np.column_stack([projection, -projection @ point])
        self.quadrics[list(corners)] += weight * to_flat.T @ to_flat

    def _boundary_edges(self):
        for face in self.faces.values():
            for a, b in zip(face, face[1:] + face[:1]):
                if len(self.faces_of[a] & self.faces_of[b]) == 1:
                    yield a, b

    def _count_components_and_loops(self):
        """Labels and counts components and boundary loops; the loop of inner vertices is -1."""
        boundary = {}
        for a, b in self._boundary_edges():
            boundary.setdefault(a, set()).add(b)
            boundary.setdefault(b, set()).add(a)
        self.component = _flood(range(len(self.vertices)), self.neighbors, len(self.vertices))
        self.loop = _flood(boundary, boundary.__getitem__, len(self.vertices))
        self.component_size = np.bincount(self.component)
        self.loop_size = np.bincount(self.loop[self.loop >= 0], minlength=1)

    def alive(self):
        return (v for v, ring in enumerate(self.faces_of) if ring)

    def neighbors(self, vertex):
        return {v for f in self.faces_of[vertex] for v in self.faces[f]} - {vertex}

    def stamps_of(self, removed, target):
        return self.stamp[removed], self.stamp[target]

    def half_edges_from(self, vertex):
        return [self._entry(vertex, target) for target in self.neighbors(vertex)]

    def _entry(self, removed, target):
        point = np.append(self.vertices[target], 1.0)
        step = self.vertices[removed] - self.vertices[target]
        quadric = self.quadrics[removed] + self.quadrics[target]
        cost = point @ quadric @ point + EVENNESS * self.areas[removed] * (step @ step)
        return cost, removed, target, self.stamps_of(removed, target)

    def can_collapse(self, removed, target):
        shared = self.faces_of[removed] & self.faces_of[target]
        if not shared:
            return False
        loop = self.loop[removed]
        if loop >= 0 and (len(shared) != 1 or self.loop_size[loop] <= MIN_LOOP):
            return False  # a boundary vertex may only slide along its own loop
        if self.component_size[self.component[removed]] <= MIN_COMPONENT:
            return False
        # The link condition: without it the surface would no longer be a manifold.
        if len(self.neighbors(removed) & self.neighbors(target)) != len(shared):
            return False
        return not any(self._folds(f, removed, target) for f in self.faces_of[removed] - shared)

    def _folds(self, face_id, removed, target):
        rest = self.vertices[:, :3]
        before = rest[list(self.faces[face_id])]
        after = rest[[target if v == removed else v for v in self.faces[face_id]]]
        normals = [
            np.cross(corners[1] - corners[0], corners[2] - corners[0])
            for corners in (before, after)
        ]
        lengths = np.linalg.norm(normals[0]) * np.linalg.norm(normals[1])
        return normals[0] @ normals[1] <= MIN_NORMAL_COSINE * lengths

    def collapse(self, removed, target):
        """Moves `removed` onto `target`; returns the heap entries whose cost changed."""
        for f in list(self.faces_of[removed]):
            face = self.faces[f]
            if target in face:
                del self.faces[f]
                for v in face:
                    self.faces_of[v].discard(f)
            else:
                self.faces[f] = tuple(target if v == removed else v for v in face)
                self.faces_of[target].add(f)
        self.faces_of[removed] = set()
        self.quadrics[target] += self.quadrics[removed]
        self.areas[target] += self.areas[removed]
        self.collapsed_into[removed] = target
        self.num_vertices -= 1
        self.component_size[self.component[removed]] -= 1
        if self.loop[removed] >= 0:
            self.loop_size[self.loop[removed]] -= 1
        self.stamp[target] += 1
        around = self.neighbors(target)
        return [self._entry(target, v) for v in around] + [self._entry(v, target) for v in around]

    def result(self):
        kept = np.array(list(self.alive()))
        coarse_id = np.full(len(self.vertices), -1)
        coarse_id[kept] = np.arange(len(kept))
        survivors = self.collapsed_into
        while (survivors != survivors[survivors]).any():
            survivors = survivors[survivors]
        return kept, coarse_id[np.array(list(self.faces.values()))], coarse_id[survivors]


def _normalize(vector):
    return vector / max(np.linalg.norm(vector), 1e-12)


def _flood(seeds, neighbors, count):
    """Connected components of the seeds: (count,) labels 0, 1, ..., and -1 for other vertices."""
    label, number = np.full(count, -1), 0
    for seed in seeds:
        if label[seed] >= 0:
            continue
        stack = [seed]
        while stack:
            vertex = stack.pop()
            if label[vertex] < 0:
                label[vertex] = number
                stack.extend(neighbors(vertex))
        number += 1
    return label


def closest_points(point: np.ndarray, corners: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The point of each triangle that is closest to one point.

    Args:
        point: (D,).
        corners: (K, 3, D) triangles.

    Returns:
        Barycentric weights (K, 3), and distances (K,).
    """
    a, b, c = corners.transpose(1, 0, 2)
    # Candidates: the foot of the perpendicular if it is inside, and the closest point of each edge.
    edges = np.stack([b - a, c - a], -1)
    foot = np.einsum("kij,kj->ki", np.linalg.pinv(edges), point - a)
    foot = np.stack([1 - foot.sum(-1), foot[:, 0], foot[:, 1]], -1)
    candidates = [np.where((foot >= 0).all(-1, keepdims=True), foot, np.eye(3)[0])]
    for start, end in ((0, 1), (1, 2), (2, 0)):
        edge = corners[:, end] - corners[:, start]
        along = ((point - corners[:, start]) * edge).sum(-1)
        fraction = np.clip(along / np.maximum((edge**2).sum(-1), 1e-12), 0, 1)[:, None]
        candidates.append((1 - fraction) * np.eye(3)[start] + fraction * np.eye(3)[end])
    candidates = np.stack(candidates, 1)
    distances = np.linalg.norm(np.einsum("kmi,kij->kmj", candidates, corners) - point, axis=-1)
    best = distances.argmin(1)
    rows = np.arange(len(corners))
    return candidates[rows, best], distances[rows, best]
