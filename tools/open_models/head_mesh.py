"""Topology of the open head: the head and its cavities cut from the body, evenly remeshed, and two
eyeballs.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import scipy.sparse as sp

from tools.open_models.appearance import brow_weights
from tools.open_models.editable_mesh import EditableMesh
from tools.open_models.regions import edge_lengths, smooth
from tools.open_models.remesh import boundary_loop, decimate, flip, refine, triangulate
from tools.open_models.source import Source

NUM_VERTICES, NUM_NECK = 5023, 60
_NECK_RINGS = 3  # rings of quads below the segmented head
_CAVITY_VERTICES, _EAR_VERTICES = (
    330,
    400,
)  # of 940 and 629: nobody touches the one, and the other is dense
# Eyeball rings by angle from the visual axis, degrees: close pairs make the rims of pupil and iris
# crisp.
_EYE_RINGS, _EYE_SEGMENTS = (8.0, 11.5, 14.0, 25.0, 29.0, 45.0, 70.0, 105.0, 140.0), 14


@dataclasses.dataclass(frozen=True)
class HeadMesh:
    """What the remeshing gives.

    Attributes:
        resampling: (5023, 19158) vertices as combinations of base vertices.
        faces: (9976, 3).
        mirror: (5023,) the vertex on the other side.
        num_skin: vertices of the skin, which come first; the left eyeball and the right one follow.
        cavity: (5023,) bool, strictly inside the mouth or an eye socket.
        eye_angles: (5023 - num_skin,) angle of the eyeballs' vertices from the visual axis,
            degrees.
    """

    resampling: sp.csr_matrix
    faces: np.ndarray
    mirror: np.ndarray
    num_skin: int
    cavity: np.ndarray
    eye_angles: np.ndarray


def build_head_mesh(
    source: Source, vertices: np.ndarray, masks: dict[str, np.ndarray], brows: np.ndarray
) -> HeadMesh:
    """Remeshes the head.

    Args:
        source: the base mesh.
        vertices: (19158, 3) the average head, millimeters, exactly symmetric.
        masks: `regions.head_regions`.
        brows: (2, N, 3) curves along the brows.
    """
    quads, cavity = cut_head(source)
    kept, quads = np.unique(quads, return_inverse=True)
    quads = quads.reshape(-1, 4)
    cavity, ears = cavity[kept], (masks["ear_left"] | masks["ear_right"])[kept]
    mirror = np.searchsorted(kept, source.mirror[kept])
    faces = triangulate(vertices[kept], quads)

    eyes = [_eyeball(source, vertices, side) for side in ("l", "r")]
    num_eye = eyes[0].shape[0]
    num_skin = NUM_VERTICES - 2 * num_eye
    editor = EditableMesh(vertices[kept], faces, mirror)
    decimate(editor, len(editor) - cavity.sum() + _CAVITY_VERTICES, removable=cavity)
    decimate(editor, len(editor) - ears.sum() + _EAR_VERTICES, removable=ears & ~cavity)
    flip(editor)
    wanted = smooth(
        np.where(cavity, 20.0, edge_lengths(masks, brow_weights(vertices, brows))[kept]),
        faces,
        rounds=3,
    )
    refine(editor, num_skin, np.where(cavity, np.inf, wanted), boundary_count=NUM_NECK)
    flip(editor)
    skin, faces = editor.result()

    base = sp.csr_matrix(
        (np.ones(len(kept)), (np.arange(len(kept)), kept)), shape=(len(kept), len(vertices))
    )
    left, mirror_eye = _eye_faces(), _eye_mirror()
    other_eye = num_skin + num_eye + mirror_eye
    return HeadMesh(
        resampling=sp.vstack([skin @ base, *eyes]).tocsr(),
        faces=np.concatenate(
            [faces, left + num_skin, mirror_eye[left[:, ::-1]] + num_skin + num_eye]
        ),
        mirror=np.concatenate([editor.mirror(), other_eye, other_eye - num_eye]),
        num_skin=num_skin,
        cavity=np.concatenate([skin @ cavity > 0.5, np.zeros(2 * num_eye, bool)]),
        eye_angles=np.tile(_eye_directions()[1], 2),
    )


def cut_head(source: Source) -> tuple[np.ndarray, np.ndarray]:
    """Quads (Q, 4) of head, cavities and a few rings of neck, and (19158,) bool: strictly inside a
    cavity.
    """
    inside = source.body_part("eye_cavity.R", "eye_cavity.L", "mouth_cavity")
    outside = source.body_part("head")
    chosen = inside | outside
    for _ in range(_NECK_RINGS):
        loop = boundary_loop(triangulate(source.vertices, source.quads[chosen]))
        chosen |= np.isin(source.quads, loop).any(1) & (source.groups == "body")
    cavity = np.zeros(len(source.vertices), bool)
    cavity[source.quads[inside]] = True
    cavity[source.quads[chosen & ~inside]] = False
    return source.quads[chosen], cavity


def _eye_directions() -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors (E, 3) of an eyeball's vertices: front pole, rings, back pole; and their angles
    from +z, degrees.
    """
    angles = np.concatenate([[0.0], np.repeat(_EYE_RINGS, _EYE_SEGMENTS), [180.0]])
    turn = (
        np.concatenate([[0.0], np.tile(np.arange(_EYE_SEGMENTS), len(_EYE_RINGS)), [0.0]])
        * 2
        * np.pi
        / _EYE_SEGMENTS
    )
    polar = np.radians(angles)
    return np.stack(
        [np.sin(polar) * np.cos(turn), np.sin(polar) * np.sin(turn), np.cos(polar)], 1
    ), angles


def _eye_mirror() -> np.ndarray:
    """(E,) the vertex of the other eyeball that mirrors each one."""
    directions, _ = _eye_directions()
    distances = np.linalg.norm((directions * [-1, 1, 1])[:, None] - directions[None], axis=-1)
    return distances.argmin(1)


def _eye_faces() -> np.ndarray:
    """(2E - 4, 3) outward faces of an eyeball."""
    rings = 1 + np.arange(len(_EYE_RINGS) * _EYE_SEGMENTS).reshape(-1, _EYE_SEGMENTS)
    following = np.roll(rings, -1, axis=1)
    front = [(0, a, b) for a, b in zip(rings[0], following[0], strict=True)]
    back = [(rings.max() + 1, b, a) for a, b in zip(rings[-1], following[-1], strict=True)]
    sides = []
    for inner, outer in zip(range(len(rings) - 1), range(1, len(rings)), strict=True):
        for j in range(_EYE_SEGMENTS):
            a, b, c, d = rings[inner, j], rings[outer, j], following[outer, j], following[inner, j]
            sides += [(a, b, c), (a, c, d)]
    return np.array(front + sides + back)


def _eyeball(source: Source, vertices: np.ndarray, side: str) -> sp.csr_matrix:
    """A round eyeball as combinations (E, 19158) of the source's coarse one.

    A direction leaves the source's eyeball in a triangle; the point there is pushed from the center
    to the radius of the sphere. The push is a fixed factor, so the result is linear in the source.
    """
    quads = source.quads[source.groups == f"helper-{side}-eye"]
    used = np.unique(quads)
    triangles = triangulate(vertices, quads)
    center = vertices[used].mean(0)
    corners = vertices[triangles] - center
    radius = np.linalg.norm(vertices[used] - center, axis=1).mean()
    directions, _ = _eye_directions()
    # Solve corners^T w = direction: the triangle that is hit has three non-negative weights.
    weights = np.linalg.solve(corners.transpose(0, 2, 1)[None], directions[:, None, :, None])[
        ..., 0
    ]
    hit = weights.min(-1).argmax(1)
    weights = weights[np.arange(len(hit)), hit] * radius
    matrix = sp.lil_matrix((len(directions), len(vertices)))
    for i, triangle in enumerate(triangles[hit]):
        matrix[i, used] = (1 - weights[i].sum()) / len(used)
        for vertex, weight in zip(triangle, weights[i], strict=True):
            matrix[i, vertex] += weight
    return matrix.tocsr()
