"""Hair, shoulders and arm: simple meshes that connect hand and head to a body.

They have no labels. Everything is in the head's own axes, meters. The topology of each part is the
same in all scenes, so that the renderer is compiled once.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import scipy.sparse as sp
from jaxtyping import Float, Int
from scipy.spatial import KDTree
from scipy.spatial.transform import Rotation

from dice_jax.body_models import BodyModel
from dice_jax.geometry.mesh import boundary_loops
from dice_jax.synthetic.sample import Person

_SHOULDER_RINGS = (  # scale of the neck's width and depth, and meters below the neck's edge
    (0.96, 0.96, -0.012),
    (1.0, 1.0, 0.0),
    (1.06, 1.03, 0.012),
    (1.25, 1.12, 0.03),
    (1.7, 1.3, 0.05),
    (2.3, 1.5, 0.075),
    (2.75, 1.65, 0.12),
    (2.85, 1.75, 0.20),
    (2.8, 1.8, 0.45),
)
# Rings of the forearm: position between wrist and elbow, and width relative to the wrist.
_FOREARM_POSITIONS = (0.0, 0.04, 0.12, 0.25, 0.4, 0.6, 0.8, 0.95)
_FOREARM_WIDTHS = (1.0, 1.0, 1.04, 1.14, 1.3, 1.5, 1.55, 1.45)
# Rings around the elbow: fraction of the bend, position along the upper arm, width.
_ELBOW_RINGS = (
    (0.25, 0.0, 1.45),
    (0.5, 0.0, 1.45),
    (0.75, 0.0, 1.45),
    (1.0, 0.1, 1.5),
    (1.0, 0.5, 1.7),
    (1.0, 1, 1.9),
)
_LONG_HAIR_COLUMNS, _LONG_HAIR_ROWS = 48, 14


@dataclasses.dataclass(frozen=True)
class Part:
    """A mesh with the attributes that the shader needs.

    Attributes:
        vertices: meters.
        faces: triangles.
        cloth: 1 on clothes, 0 on skin and hair.
        texture: texture coordinates, which move with the surface.
    """

    vertices: Float[np.ndarray, "N 3"]
    faces: Int[np.ndarray, "F 3"]
    cloth: Float[np.ndarray, "N"]
    texture: Float[np.ndarray, "N 3"]


class HairCap:
    """Short hair: the subdivided scalp of a head model, raised off the skin."""

    def __init__(self, head: BodyModel):
        scalp = np.asarray(head.region("scalp"))
        head_faces = np.asarray(head.faces)
        faces = head_faces[scalp[head_faces].all(-1)]
        ids, faces = np.unique(faces, return_inverse=True)
        weights = np.eye(len(ids))
        for _ in range(2):
            faces, weights = _subdivide(faces.reshape(-1, 3), weights)
        self._ids, self._faces, self._weights = ids, faces, sp.csr_array(weights)
        template = np.asarray(head.v_template)[ids]
        self._rest = weights @ template
        rim = np.unique(boundary_loops(faces)[0])
        from_rim = KDTree(self._rest[rim]).query(self._rest)[0]
        self._thickness = np.clip(from_rim / 0.03, 0, 1) ** 0.6  # 0 at the hairline

    def part(
        self,
        vertices: Float[np.ndarray, "5023 3"],
        normals: Float[np.ndarray, "5023 3"],
        hand_vertices: Float[np.ndarray, "H 3"],
        person: Person,
        rng: np.random.Generator,
    ) -> Part:
        """Hair on a posed head, compressed under the hand.

        Args:
            vertices: of the head.
            normals: of the head.
            hand_vertices: of both hands, meters.
            person: its `hair_length` counts; 0 hides the cap under the skin.
            rng: source of randomness.
        """
        base = self._weights @ vertices[self._ids]
        outward = self._weights @ normals[self._ids]
        outward /= np.linalg.norm(outward, axis=-1, keepdims=True)
        waves = np.sin(self._rest @ rng.normal(0, 60, (3, 6)) + rng.uniform(0, 6.28, 6)).mean(-1)
        height = person.hair_length * self._thickness * (1 + 0.45 * waves)
        clearance = KDTree(hand_vertices).query(base, distance_upper_bound=0.15)[0]
        height = np.minimum(height, 0.5 * np.maximum(clearance - 0.004, 0.0))
        lift = 0.0015 if person.hair_length else -0.004
        height = height + lift * np.clip(3 * self._thickness, 0.0, 1) - 0.0004
        azimuth = np.arctan2(self._rest[:, 0], -self._rest[:, 2] - 0.02)
        texture = np.stack([azimuth * 2.2, self._rest[:, 1] * 1.5, np.zeros(len(base))], -1)
        return Part(base + height[:, None] * outward, self._faces, np.zeros(len(base)), texture)


def long_hair(
    head_vertices: Float[np.ndarray, "5023 3"],
    hand_vertices: Float[np.ndarray, "H 3"],
    person: Person,
    rng: np.random.Generator,
) -> Part:
    """Long hair behind the ears: a curved sheet, hidden inside the head where there is none."""
    columns, rows = _LONG_HAIR_COLUMNS, _LONG_HAIR_ROWS
    across, down = np.meshgrid(np.linspace(-1, 1, columns), np.linspace(0, 1, rows))
    top, bottom = 0.05, -0.06 - person.long_hair
    angle = across * 1.75
    center = head_vertices[head_vertices[:, 1] > -0.05].mean(0) * (0, 1, 1)
    flare = 1 + 0.25 * down * rng.uniform(0.2, 1.2)
    flare = flare + 0.05 * np.sin(9 * angle + 4 * down + rng.uniform(0, 6))
    width = 0.082 * flare + 0.004 * rng.standard_normal(columns)
    height = top + (bottom - top) * down
    vertices = np.stack(
        [np.sin(angle) * width, height, -0.045 - np.cos(angle) * 1.05 * width], -1
    ).reshape(-1, 3)
    near = KDTree(vertices).query(hand_vertices, distance_upper_bound=0.012)[0]
    covers_hand = np.isfinite(near).any()
    if person.long_hair == 0 or covers_hand:
        vertices = np.tile(center - (0, 0.02, 0.04), (len(vertices), 1))
    texture = np.stack([3 * across.ravel(), 0.25 * down.ravel(), np.zeros(across.size)], -1)
    return Part(vertices, _grid_faces(rows, columns, closed=False), np.zeros(across.size), texture)


def shoulders(edge: Float[np.ndarray, "E 3"], person: Person) -> Part:
    """Rings from the boundary loop of the neck over the shoulders and down.

    Args:
        edge: boundary loop of the neck, meters.
        person: its `collar` counts.
    """
    center = edge.mean(0)
    rings, cloth = [], []
    for width, depth, drop in _SHOULDER_RINGS:
        slant = 1.0 if drop <= 0.04 else 0.0  # the neck's edge slants; shoulders do not
        rings.append(center + (edge - center) * (width, slant, depth) - (0, drop, 0))
        cloth.append(np.full(len(edge), float(drop >= person.collar)))
    vertices = np.concatenate(rings)
    faces = _grid_faces(len(rings), len(edge), closed=True)[:, ::-1]
    return Part(vertices, faces, np.concatenate(cloth), 0.7 * vertices)


def arm(
    edge: Float[np.ndarray, "E 3"],
    elbow: Float[np.ndarray, "3"],
    shoulder: Float[np.ndarray, "3"],
    person: Person,
) -> Part:
    """Rings from the boundary loop of the wrist to the elbow and on to the shoulder.

    Args:
        edge: boundary loop of the wrist, meters.
        elbow, shoulder: meters.
        person: its `sleeve` counts.
    """
    center = edge.mean(0)
    if np.ptp(edge, axis=0).max() < 1e-6:  # an absent hand: its arm is at the same place
        elbow, shoulder = center + (1e-3, 0.0, 0.0), center + (2e-3, 0.0, 0.0)
    lower, upper = _unit(elbow - center), _unit(shoulder - elbow)
    offset = edge - center
    across = offset - np.outer(offset @ lower, lower)
    rings, cloth = [], []

    def add(position, shape, clothed):
        rings.append(position + shape * (1.12 if clothed else 1.0))
        cloth.append(np.full(len(edge), float(clothed)))

    for position, width in zip(_FOREARM_POSITIONS, _FOREARM_WIDTHS):
        straight = min(position / 0.25, 1.0)
        shape = ((1 - straight) * offset + straight * across) * width
        add(center + position * (elbow - center), shape, position >= person.sleeve)
    # Around the elbow the rings rotate with the bone, without twist.
    bend = Rotation.align_vectors(upper[None], lower[None])[0].as_rotvec()
    for fraction, position, width in _ELBOW_RINGS:
        shape = Rotation.from_rotvec(fraction * bend).apply(across) * width
        add(elbow + position * (shoulder - elbow), shape, 1 + position >= person.sleeve)
    vertices = np.concatenate(rings)
    faces = _grid_faces(len(rings), len(edge), closed=True)
    return Part(vertices, faces, np.concatenate(cloth), 0.7 * (vertices - center))


def _grid_faces(rows, columns, closed):
    """Triangles of a grid of vertices; `closed` joins the last column to the first."""
    first = np.arange(columns if closed else columns - 1)
    second = (first + 1) % columns
    faces = []
    for row in range(rows - 1):
        a, b = first + row * columns, second + row * columns
        c, d = first + (row + 1) * columns, second + (row + 1) * columns
        faces += [np.stack([a, b, d], -1), np.stack([a, d, c], -1)]
    return np.concatenate(faces)


def _subdivide(faces, weights):
    """Splits every triangle into four; returns faces and the mixing weights of all vertices."""
    pairs = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), -1)
    edges, where = np.unique(pairs, axis=0, return_inverse=True)
    middle = len(weights) + where.reshape(3, -1)
    ab, bc, ca = middle
    a, b, c = faces.T
    parts = ((a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca))
    split = np.concatenate([np.stack(corners, -1) for corners in parts])
    return split, np.concatenate([weights, (weights[edges[:, 0]] + weights[edges[:, 1]]) / 2])


def _unit(vector):
    return vector / np.linalg.norm(vector)
