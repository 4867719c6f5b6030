"""Cavities, regions, stiffness and colors of a head model whose file lacks them.

Cavities are the parts that are visible from no direction. The rest is transferred from the open
head, which is warped onto the other head by their 68 landmarks. Offline, takes seconds.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.interpolate import RBFInterpolator
from scipy.spatial import KDTree

from dice_jax.body_models.lbs import BodyModel
from dice_jax.geometry.mesh import cap_faces, edges, vertex_normals
from dice_jax.geometry.rasterize import rasterize

_DIRECTIONS = 96
_PIXELS = 256
_DEPTH_TOLERANCE = 0.0025  # meters: two pixels of an oblique surface
_MIN_EXPOSURE = 0.01  # fraction of directions; a vertex visible from fewer is in a cavity
_NORMAL_WEIGHT = 0.01  # meters per unit of normal, in the search for corresponding vertices


class Anatomy(NamedTuple):
    """Attributes of each vertex, see `BodyModel`; `regions` by name."""

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
    """Finds cavities, and transfers regions, stiffness and colors from another head.

    Args:
        vertices: of the head at rest, meters, y up and z out of the face.
        faces: its triangles; eyeballs are separate components.
        landmarks: its 68 iBUG landmarks, meters.
        reference: a head with regions, stiffness and colors, such as the open one.
    """
    vertices = np.asarray(vertices, np.float64)
    skin = skin_vertices(vertices, faces)
    cavity = skin & (exposure(vertices, faces) < _MIN_EXPOSURE)

    warped = warp_onto(reference, landmarks)
    reference_eyes = np.asarray(reference.region("eyes"))
    source = _features(warped, np.asarray(reference.faces))
    target = _features(vertices, np.asarray(faces))
    outer = np.flatnonzero(~np.asarray(reference.cavity) & ~reference_eyes)
    nearest = outer[KDTree(source[outer]).query(target)[1]]
    eyes = np.flatnonzero(reference_eyes)
    nearest[~skin] = eyes[KDTree(source[eyes]).query(target[~skin])[1]]
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
    """Weight of each vertex in the simplification: larger where hands touch, small in cavities."""
    rarely_touched = ("scalp", "neck", "eyes")
    masks = [mask for name, mask in regions.items() if name not in rarely_touched]
    touchable = np.any(masks, axis=0)
    return np.where(cavity, 0.05, np.where(touchable, 1.0, 0.5))


def skin_vertices(
    vertices: Float[np.ndarray, "V 3"], faces: Int[np.ndarray, "F 3"]
) -> Bool[np.ndarray, "V"]:
    """Mask of the largest connected component: all vertices but the eyeballs."""
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
    """Fraction of all directions from which each vertex is visible, with closed mesh holes."""
    closed = cap_faces(np.asarray(faces))
    center = vertices.mean(0)
    radius = np.linalg.norm(vertices - center, axis=-1).max() * 1.02
    zoom = _PIXELS / (2 * radius)
    # One direction at a time, so that one small program is compiled.
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
    """Rotations whose z axes are spread evenly over the sphere (Fibonacci lattice)."""
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


def warp_onto(reference, landmarks):
    """The reference's vertices, warped smoothly so that its landmarks lie on `landmarks`."""
    vertices = np.asarray(reference.v_template, np.float64)
    corners = vertices[np.asarray(reference.faces)[np.asarray(reference.lmk_faces_idx)]]
    own = (corners * np.asarray(reference.lmk_bary_coords)[:, :, None]).sum(1)
    # A polyharmonic spline with an affine part: nearly exact on the landmarks, smooth elsewhere.
    warp = RBFInterpolator(
        own, np.asarray(landmarks, np.float64) - own, kernel="linear", degree=1, smoothing=1e-4
    )
    return vertices + warp(vertices)


def _features(vertices, faces):
    """Position and weighted normal, which tells the two sides of an ear apart."""
    normals = np.asarray(vertex_normals(vertices.astype(np.float32), faces), np.float64)
    return np.concatenate([vertices, _NORMAL_WEIGHT * normals], -1)
