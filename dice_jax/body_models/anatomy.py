"""What a licensed head's file does not say and contact needs: its cavities, regions, stiffness and
colors.

Cavities are what no light reaches from outside. The rest is carried over from the open head, which
is brought onto the other one by the 68 landmarks that both have. NumPy, offline, seconds.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.interpolate import RBFInterpolator
from scipy.spatial import cKDTree

from dice_jax.body_models.lbs import BodyModel
from dice_jax.geometry.mesh import cap_faces, edges, vertex_normals
from dice_jax.geometry.rasterize import rasterize

_DIRECTIONS = 96
_PIXELS = 256
_DEPTH_TOLERANCE = 0.0025  # meters: two pixels of a surface seen at an angle
_MIN_EXPOSURE = (
    0.01  # share of the directions from which a vertex must be seen not to lie in a cavity
)
_NORMAL_WEIGHT = (
    0.01  # meters that a normal turned by 90 degrees counts, when the nearest vertex is sought
)


class Anatomy(NamedTuple):
    """Per vertex: see `BodyModel`; `regions` by name."""

    cavity: Bool[np.ndarray, "V"]
    regions: dict[str, Bool[np.ndarray, "V"]]
    stiffness: Float[np.ndarray, "V"]
    colors: Float[np.ndarray, "V 3"]


def head_anatomy(
    vertices: Float[np.ndarray, "V 3"],
    faces: Int[np.ndarray, "F 3"],
    landmarks: Float[np.ndarray, "68 3"],
    reference: BodyModel,
) -> Anatomy:
    """Finds cavities, and carries regions, stiffness and colors over from another head.

    Args:
        vertices: of the head at rest, meters, y up and z out of the face.
        faces: its triangles; eyeballs are components of their own.
        landmarks: its 68 iBUG landmarks.
        reference: a head that has them, such as the open one.
    """
    vertices = np.asarray(vertices, np.float64)
    skin = skin_vertices(vertices, faces)
    cavity = skin & (exposure(vertices, faces) < _MIN_EXPOSURE)

    warped = _warp_onto(reference, landmarks)
    reference_eyes = np.asarray(reference.region("eyes"))
    source, target = (
        _features(points, triangles)
        for points, triangles in (
            (warped, np.asarray(reference.faces)),
            (vertices, np.asarray(faces)),
        )
    )
    outer = np.flatnonzero(~np.asarray(reference.cavity) & ~reference_eyes)
    nearest = outer[cKDTree(source[outer]).query(target)[1]]
    eyes = np.flatnonzero(reference_eyes)
    nearest[~skin] = eyes[cKDTree(source[eyes]).query(target[~skin])[1]]
    regions = {
        name: np.asarray(reference.region(name))[nearest] & ~cavity
        for name in reference.region_names
    }
    return Anatomy(
        cavity,
        regions,
        np.asarray(reference.stiffness)[nearest],
        np.asarray(reference.colors)[nearest],
    )


def head_importance(
    cavity: Bool[np.ndarray, "V"], regions: dict[str, np.ndarray]
) -> Float[np.ndarray, "V"]:
    """How much a vertex matters in the coarse levels: more where hands touch, less where they
    cannot.
    """
    touchable = np.any(
        [mask for name, mask in regions.items() if name not in ("scalp", "neck", "eyes")], axis=0
    )
    return np.where(cavity, 0.05, np.where(touchable, 1.0, 0.5))


def skin_vertices(
    vertices: Float[np.ndarray, "V 3"], faces: Int[np.ndarray, "F 3"]
) -> Bool[np.ndarray, "V"]:
    """The vertices of the largest connected component: all but the eyeballs."""
    label = np.arange(len(vertices))
    pairs = edges(np.asarray(faces))
    while True:
        lowest = label.copy()
        np.minimum.at(lowest, pairs[:, 0], label[pairs[:, 1]])
        np.minimum.at(lowest, pairs[:, 1], label[pairs[:, 0]])
        lowest = lowest[lowest]
        if (lowest == label).all():
            return label == np.bincount(label).argmax()
        label = lowest


def exposure(
    vertices: Float[np.ndarray, "V 3"], faces: Int[np.ndarray, "F 3"]
) -> Float[np.ndarray, "V"]:
    """From which share of all directions each vertex is seen, the holes of the mesh being closed."""
    closed = cap_faces(np.asarray(faces))
    center = vertices.mean(0)
    radius = np.linalg.norm(vertices - center, axis=-1).max() * 1.02
    zoom = _PIXELS / (2 * radius)
    # One direction at a time, so that one small program serves all.
    draw = jax.jit(lambda screen: rasterize(screen, closed, _PIXELS, _PIXELS).depth)
    seen = np.zeros(len(vertices))
    for rotation in _rotations(_DIRECTIONS):
        x, y, z = ((vertices - center) @ rotation.T).T
        screen = np.column_stack(
            [zoom * x + _PIXELS / 2, zoom * y + _PIXELS / 2, z + 2 * radius]
        ).astype(np.float32)
        depth = np.asarray(draw(screen))
        column, row = np.clip(screen[:, :2].astype(int), 0, _PIXELS - 1).T
        seen += screen[:, 2] <= depth[row, column] + _DEPTH_TOLERANCE
    return seen / _DIRECTIONS


def _rotations(count):
    """Rotations whose z axes are spread evenly over the sphere (Fibonacci's spiral)."""
    index = np.arange(count) + 0.5
    z = 1 - 2 * index / count
    azimuth = np.pi * (1 + 5**0.5) * index
    forward = np.column_stack(
        [np.sqrt(1 - z**2) * np.cos(azimuth), np.sqrt(1 - z**2) * np.sin(azimuth), z]
    )
    aside = np.where(np.abs(forward[:, :1]) < 0.9, [[1.0, 0.0, 0.0]], [[0.0, 1.0, 0.0]])
    right = np.cross(aside, forward)
    right /= np.linalg.norm(right, axis=-1, keepdims=True)
    return np.stack([right, np.cross(forward, right), forward], 1)


def _warp_onto(reference, landmarks):
    """The reference's vertices, bent smoothly so that its landmarks come to lie on `landmarks`."""
    vertices = np.asarray(reference.v_template, np.float64)
    corners = vertices[np.asarray(reference.faces)[np.asarray(reference.lmk_faces_idx)]]
    own = (corners * np.asarray(reference.lmk_bary_coords)[:, :, None]).sum(1)
    # Thin plates in space with an affine part: exact on the landmarks but for a little smoothing,
    # tame away from them.
    warp = RBFInterpolator(
        own, np.asarray(landmarks, np.float64) - own, kernel="linear", degree=1, smoothing=1e-4
    )
    return vertices + warp(vertices)


def _features(vertices, faces):
    """Position and weighted normal: the two sides of an ear are close, yet not the same skin."""
    normals = np.asarray(vertex_normals(vertices.astype(np.float32), faces), np.float64)
    return np.concatenate([vertices, _NORMAL_WEIGHT * normals], -1)
