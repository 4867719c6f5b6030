"""A triangle mesh under edit, whose vertices are linear combinations of those of a source mesh.

Edges can be collapsed, bisected and flipped. A new vertex is a fixed row of weights over the source
mesh, so one sparse product transfers every morph target, skinning weight and joint marker of the
source. With a mirror table all edits are made in pairs: a symmetric mesh stays exactly symmetric in
geometry and topology.
"""

from __future__ import annotations

import collections

import numpy as np
import scipy.sparse as sp

_MIN_NORMAL_DOT = 0.3  # a collapse may not rotate a face by more than about 70 degrees
_MIN_SHAPE = 0.12  # twice the area over the longest edge squared; a sliver has less
_FLAT = 0.95  # an edge is flipped only where the surface is this flat (cosine)


class EditableMesh:
    """A triangle mesh under edit.

    Args:
        vertices: (V, 3) positions on which all decisions are based.
        faces: (F, 3) triangles, a manifold with at most one hole.
        mirror: (V,) the mirrored vertex; None for a mesh without symmetry. No face may cross the
            mid plane.
    """

    def __init__(self, vertices: np.ndarray, faces: np.ndarray, mirror: np.ndarray | None = None):
        self._source_count = len(vertices)
        self._positions = [np.asarray(vertex, np.float64) for vertex in vertices]
        self._rows: list[dict[int, float]] = [{i: 1.0} for i in range(len(vertices))]
        self._faces = {i: tuple(face) for i, face in enumerate(faces.tolist())}
        self._next_face = len(faces)
        self._faces_of: dict[int, set[int]] = collections.defaultdict(set)
        for i, face in self._faces.items():
            for vertex in face:
                self._faces_of[vertex].add(i)
        self._mirror = None if mirror is None else mirror.tolist()
        self.boundary = {
            v for edge in self.edges() if len(self.edge_faces(*edge)) == 1 for v in edge
        }
        self._quadrics = self._initial_quadrics()

    def __len__(self) -> int:
        return len(self._faces_of)

    def __contains__(self, vertex: int) -> bool:
        return vertex in self._faces_of

    def alive(self) -> list[int]:
        """The remaining vertices, ascending; the id of a collapsed one is not used again."""
        return sorted(self._faces_of)

    def edges(self) -> set[tuple[int, int]]:
        """All edges, smaller vertex id first."""
        corners = ((face[j - 1], face[j]) for face in self._faces.values() for j in range(3))
        return {(min(a, b), max(a, b)) for a, b in corners}

    def result(self) -> tuple[sp.csr_matrix, np.ndarray]:
        """Resampling matrix (V', source vertices) and faces (F', 3).

        The remaining source vertices keep their order, and new vertices follow.
        """
        alive = self.alive()
        index = {vertex: i for i, vertex in enumerate(alive)}
        faces = np.array([[index[v] for v in face] for _, face in sorted(self._faces.items())])
        entries = [
            (i, k, w) for i, vertex in enumerate(alive) for k, w in self._rows[vertex].items()
        ]
        rows, columns, weights = zip(*entries, strict=True)
        shape = (len(alive), self._source_count)
        return sp.csr_matrix((weights, (rows, columns)), shape=shape), faces

    def mirror(self) -> np.ndarray:
        """Mirror table (V',) of `result()`."""
        index = {vertex: i for i, vertex in enumerate(self.alive())}
        return np.array([index[self._mirror[vertex]] for vertex in index])

    # ---- neighborhoods ----

    def neighbors(self, vertex: int) -> set[int]:
        """The vertices that share an edge with this one; none if it has collapsed."""
        if vertex not in self._faces_of:
            return set()
        return {v for i in self._faces_of[vertex] for v in self._faces[i]} - {vertex}

    def edge_faces(self, a: int, b: int) -> set[int]:
        """The one or two faces at an edge; none if there is no such edge."""
        if a not in self._faces_of or b not in self._faces_of:
            return set()
        return self._faces_of[a] & self._faces_of[b]

    def length(self, a: int, b: int) -> float:
        """Distance between two vertices."""
        return float(np.linalg.norm(self._positions[a] - self._positions[b]))

    def mirrored_edge(self, a: int, b: int) -> tuple[int, int] | None:
        """The mirrored edge; None for a mesh without a mirror table."""
        return None if self._mirror is None else (self._mirror[a], self._mirror[b])

    def _normal(self, face: tuple[int, ...]) -> np.ndarray:
        a, b, c = (self._positions[v] for v in face)
        return np.cross(b - a, c - a)

    def _vertex_normal(self, vertex: int) -> np.ndarray:
        normal = sum(self._normal(self._faces[i]) for i in sorted(self._faces_of[vertex]))
        return normal / max(np.linalg.norm(normal), 1e-12)

    # ---- collapses ----

    def _initial_quadrics(self) -> dict[int, np.ndarray]:
        quadrics = {vertex: np.zeros((4, 4)) for vertex in self._faces_of}
        for face in self._faces.values():
            normal = self._normal(face)
            area = np.linalg.norm(normal)
            if area > 1e-16:
                plane = np.append(normal, -normal @ self._positions[face[0]]) / area
                for vertex in face:
                    quadrics[vertex] += np.outer(plane, plane) * area / 2
        return quadrics

    def collapse_cost(self, u: int, v: int) -> float:
        """Squared distance to the old surface, plus a small penalty of the edge's length.

        The penalty keeps vertices of flat areas evenly spaced.
        """
        point = np.append(self._positions[v], 1)
        distance = max(point @ (self._quadrics[u] + self._quadrics[v]) @ point, 0.0)
        return distance + 2e-3 * self.length(u, v) ** 4

    def may_collapse(self, u: int, v: int) -> bool:
        """Whether u may move onto v.

        The topology must stay, no face may fold or become a sliver, and the mirrored collapse must
        not share a face with this one.
        """
        shared = self.edge_faces(u, v)
        if u in self.boundary and len(shared) != 1:
            return False
        around_u, around_v = self.neighbors(u), self.neighbors(v)
        if len(around_u & around_v) != len(shared) or len(around_v) <= 3:
            return False
        fewest = lambda vertex: 3 if vertex in self.boundary else 4
        if any(len(self.neighbors(c)) <= fewest(c) for c in around_u & around_v):
            return False
        image = self.mirrored_edge(u, v)
        # At the mid plane the two collapses would share faces, or change the mid line on one side
        # only.
        if image not in (None, (u, v)) and (
            u == image[0] or v == image[1] or {*image} & (around_u | around_v)
        ):
            return False
        for i in self._faces_of[u] - shared:
            moved = tuple(v if x == u else x for x in self._faces[i])
            before, after = self._normal(self._faces[i]), self._normal(moved)
            size_before, size_after = np.linalg.norm(before), np.linalg.norm(after)
            longest = max(self.length(moved[j], moved[j - 1]) for j in range(3))
            folds = before @ after < _MIN_NORMAL_DOT * size_before * size_after
            if folds or size_after < _MIN_SHAPE * longest**2:
                return False
        return True

    def collapse(self, u: int, v: int) -> list[int]:
        """Moves u onto v, also on the other side; returns v and its mirror image."""
        image = self.mirrored_edge(u, v)
        self._collapse_one(u, v)
        if image is None or image == (u, v):
            return [v]
        self._collapse_one(*image)
        return [v, image[1]]

    def _collapse_one(self, u: int, v: int) -> None:
        for i in self.edge_faces(u, v):
            for vertex in self._faces.pop(i):
                self._faces_of[vertex].discard(i)
        for i in self._faces_of[u]:
            self._faces[i] = tuple(v if x == u else x for x in self._faces[i])
            self._faces_of[v].add(i)
        self._quadrics[v] = self._quadrics[v] + self._quadrics[u]
        del self._faces_of[u]
        self.boundary.discard(u)

    # ---- bisections ----

    def bisect(self, a: int, b: int) -> list[int]:
        """Splits an edge and its mirror image at their midpoints; returns the new vertices."""
        image = self.mirrored_edge(a, b)
        if image is None or image in ((a, b), (b, a)):
            created = [self._bisect_one(a, b, self._midpoint_row(a, b))]
        else:
            rows = self._midpoint_row(a, b), self._midpoint_row(*image)
            created = [self._bisect_one(a, b, rows[0]), self._bisect_one(*image, rows[1])]
        if self._mirror is not None:
            self._mirror += created[::-1]
        return created

    def _midpoint_row(self, a: int, b: int) -> tuple[dict[int, float], np.ndarray]:
        """Weights and position of the midpoint, lifted towards the curved surface.

        The lift approximates Phong tessellation (Boubekeur and Alexa 2008) by a multiple of the
        Laplacians at the two ends. These are linear in the vertices, so the lift also applies to
        every morph target.
        """
        middle = (self._positions[a] + self._positions[b]) / 2
        terms = [(a, 0.5), (b, 0.5)]
        if a not in self.boundary and b not in self.boundary:
            lift = 0.0
            for end in (a, b):
                normal = self._vertex_normal(end)
                lift = lift - 0.25 * ((middle - self._positions[end]) @ normal) * normal
            rings = {end: sorted(self.neighbors(end)) for end in (a, b)}
            means = [np.mean([self._positions[v] for v in ring], axis=0) for ring in rings.values()]
            bend = middle - sum(means) / 2
            gain = float(np.clip(lift @ bend / max(bend @ bend, 1e-16), 0.0, 0.5))
            terms = [(end, 0.5 + gain / 2) for end in (a, b)]
            terms += [(v, -gain / 2 / len(ring)) for ring in rings.values() for v in ring]
            middle = middle + gain * bend
        row: collections.Counter[int] = collections.Counter()
        for vertex, weight in terms:
            for source, share in self._rows[vertex].items():
                row[source] += weight * share
        return {source: weight for source, weight in row.items() if abs(weight) > 1e-7}, middle

    def _bisect_one(self, a: int, b: int, midpoint: tuple[dict[int, float], np.ndarray]) -> int:
        vertex = len(self._positions)
        self._rows.append(midpoint[0])
        self._positions.append(midpoint[1])
        shared = self.edge_faces(a, b)
        if len(shared) == 1:
            self.boundary.add(vertex)
        for i in sorted(shared):
            face = self._remove_face(i)
            for end in (a, b):
                self._add_face(tuple(vertex if x == end else x for x in face))
        return vertex

    def _remove_face(self, i: int) -> tuple[int, ...]:
        face = self._faces.pop(i)
        for vertex in face:
            self._faces_of[vertex].discard(i)
        return face

    def _add_face(self, face: tuple[int, ...]) -> None:
        self._faces[self._next_face] = face
        for vertex in face:
            self._faces_of[vertex].add(self._next_face)
        self._next_face += 1

    # ---- flips ----

    def _opposite(self, a: int, b: int) -> tuple[int, int]:
        """The vertices c, d of the two faces (a, b, c) and (b, a, d)."""
        first, second = (self._faces[i] for i in sorted(self.edge_faces(a, b)))
        if (a, b) not in zip(first, first[1:] + first[:1], strict=True):
            first, second = second, first
        return next(x for x in first if x not in (a, b)), next(x for x in second if x not in (a, b))

    def flip_if_better(self, a: int, b: int) -> bool:
        """Flips an edge and its mirror image if that satisfies the Delaunay condition.

        Only where the surface is nearly flat. Returns whether the edge was flipped.
        """
        if len(self.edge_faces(a, b)) != 2 or not self._should_flip(a, b):
            return False
        image = self.mirrored_edge(a, b)
        if image in ((a, b), (b, a)):
            return False  # an edge of the mid line would cross it after the flip
        if image is not None and (
            self.edge_faces(a, b) & self.edge_faces(*image) or not self._should_flip(*image)
        ):
            return False
        self._flip_one(a, b)
        if image is not None:
            self._flip_one(*image)
        return True

    def _should_flip(self, a: int, b: int) -> bool:
        c, d = self._opposite(a, b)
        if d in self.neighbors(c) or min(len(self.neighbors(a)), len(self.neighbors(b))) <= 4:
            return False
        if self._angle(c, a, b) + self._angle(d, a, b) < np.pi + 0.05:
            return False
        normals = [self._normal(face) for face in ((a, b, c), (b, a, d), (c, d, b), (d, c, a))]
        normals = [normal / max(np.linalg.norm(normal), 1e-16) for normal in normals]
        return all(one @ other > _FLAT for one in normals for other in normals)

    def _angle(self, apex: int, a: int, b: int) -> float:
        first, second = (self._positions[end] - self._positions[apex] for end in (a, b))
        return float(np.arctan2(np.linalg.norm(np.cross(first, second)), first @ second))

    def _flip_one(self, a: int, b: int) -> None:
        c, d = self._opposite(a, b)
        for i in sorted(self.edge_faces(a, b)):
            self._remove_face(i)
        self._add_face((c, d, b))
        self._add_face((d, c, a))
