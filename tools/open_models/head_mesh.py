"""Topology of the open head: head and cavities cut from the body and remeshed, and two eyeballs."""

from __future__ import annotations

import dataclasses

import numpy as np
import scipy.sparse as sp

from dice_jax.constants import NUM_HEAD_VERTICES
from tools.open_models.appearance import brow_weights
from tools.open_models.editable_mesh import EditableMesh
from tools.open_models.regions import edge_lengths, smooth
from tools.open_models.remesh import boundary_loop, decimate, flip, refine, triangulate
from tools.open_models.source import Source

NUM_NECK = 60
_NECK_RINGS = 3  # rings of quads below the segmented head
_CAVITY_VERTICES = 330  # of 940 in the source: nothing touches them
_EAR_VERTICES = 400  # of 629 in the source, which is denser than needed
# Eyeball rings by angle from the visual axis, degrees: close pairs make the rims of pupil and iris
# sharp.
_EYE_RINGS = (8.0, 11.5, 14.0, 25.0, 29.0, 45.0, 70.0, 105.0, 140.0)
_EYE_SEGMENTS = 14


@dataclasses.dataclass(frozen=True)
class HeadMesh:
    """The remeshed head.

    Attributes:
        resampling: (5023, 19158) vertices as combinations of base vertices.
        faces: (9976, 3).
        mirror: (5023,) the mirrored vertex.
        num_skin: number of skin vertices, which come first; the left and right eyeball follow.
        cavity: (5023,) bool, strictly inside the mouth or an eye socket.
        eye_angles: (5023 - num_skin,) angles of the eyeball vertices from the visual axis, degrees.
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
    num_skin = NUM_HEAD_VERTICES - 2 * num_eye
    editor = EditableMesh(vertices[kept], faces, mirror)
    decimate(editor, len(editor) - cavity.sum() + _CAVITY_VERTICES, removable=cavity)
    decimate(editor, len(editor) - ears.sum() + _EAR_VERTICES, removable=ears & ~cavity)
    flip(editor)
    lengths = edge_lengths(masks, brow_weights(vertices, brows))[kept]
    lengths = smooth(np.where(cavity, 20.0, lengths), faces, rounds=3)
    refine(editor, num_skin, np.where(cavity, np.inf, lengths), boundary_count=NUM_NECK)
    flip(editor)
    skin, faces = editor.result()

    entries = np.ones(len(kept)), (np.arange(len(kept)), kept)
    base = sp.csr_matrix(entries, shape=(len(kept), len(vertices)))
    left, mirror_eye = _eye_faces(), _eye_mirror()
    right = mirror_eye[left[:, ::-1]]
    other_eye = num_skin + num_eye + mirror_eye
    return HeadMesh(
        resampling=sp.vstack([skin @ base, *eyes]).tocsr(),
        faces=np.concatenate([faces, left + num_skin, right + num_skin + num_eye]),
        mirror=np.concatenate([editor.mirror(), other_eye, other_eye - num_eye]),
        num_skin=num_skin,
        cavity=np.concatenate([skin @ cavity > 0.5, np.zeros(2 * num_eye, bool)]),
        eye_angles=np.tile(_eye_directions()[1], 2),
    )


def cut_head(source: Source) -> tuple[np.ndarray, np.ndarray]:
    """Quads (Q, 4) of head, cavities and a few rings of the neck, and which vertices are inside.

    The second array (19158,) holds for vertices strictly inside a cavity.
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
    """Unit vectors (E, 3) of the vertices of an eyeball, and their angles from +z, degrees.

    The order is front pole, rings, back pole.
    """
    angles = np.concatenate([[0.0], np.repeat(_EYE_RINGS, _EYE_SEGMENTS), [180.0]])
    segments = np.concatenate([[0.0], np.tile(np.arange(_EYE_SEGMENTS), len(_EYE_RINGS)), [0.0]])
    turn, polar = segments * 2 * np.pi / _EYE_SEGMENTS, np.radians(angles)
    x, y = np.sin(polar) * np.cos(turn), np.sin(polar) * np.sin(turn)
    return np.stack([x, y, np.cos(polar)], 1), angles


def _eye_mirror() -> np.ndarray:
    """Index (E,) of the mirrored vertex in the other eyeball."""
    directions, _ = _eye_directions()
    distances = np.linalg.norm((directions * [-1, 1, 1])[:, None] - directions[None], axis=-1)
    return distances.argmin(1)


def _eye_faces() -> np.ndarray:
    """Faces (2E - 4, 3) of an eyeball, oriented outwards."""
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
    """A round eyeball as combinations (E, 19158) of the vertices of the source's coarse one.

    The ray in a direction hits a triangle of the coarse eyeball. That point is moved away from the
    center to the radius of the sphere by a fixed factor, so the result is linear in the source.
    """
    quads = source.quads[source.groups == f"helper-{side}-eye"]
    used = np.unique(quads)
    triangles = triangulate(vertices, quads)
    center = vertices[used].mean(0)
    corners = vertices[triangles] - center
    radius = np.linalg.norm(vertices[used] - center, axis=1).mean()
    directions, _ = _eye_directions()
    # Solve corners^T w = direction: the triangle that is hit has three non-negative weights.
    systems = corners.transpose(0, 2, 1)[None]
    weights = np.linalg.solve(systems, directions[:, None, :, None])[..., 0]
    hit = weights.min(-1).argmax(1)
    weights = weights[np.arange(len(hit)), hit] * radius
    matrix = sp.lil_matrix((len(directions), len(vertices)))
    for i, triangle in enumerate(triangles[hit]):
        matrix[i, used] = (1 - weights[i].sum()) / len(used)
        for vertex, weight in zip(triangle, weights[i], strict=True):
            matrix[i, vertex] += weight
    return matrix.tocsr()
