"""The picture sheet of a training: what the network says of a few samples, and below each answer
the truth.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import jax
import numpy as np
from jaxtyping import Float, Int, UInt8

from dice_jax.geometry.camera import orthographic_to_screen
from dice_jax.geometry.crop import CROP_SIZE
from dice_jax.geometry.rasterize import rasterize
from dice_jax.io.meshes import NamedMesh
from dice_jax.structs import Camera, Prediction
from dice_jax.visualization import captions, palette, panels

COLUMNS = 6


def sample_sheet(
    images: Sequence[UInt8[np.ndarray, "224 224 3"]],
    answers: Sequence[Prediction],
    truths: Sequence[Prediction],
    keypoints_2d: Sequence[Float[np.ndarray, "89 3"]],
    hand_faces: Int[np.ndarray, "F 3"],
    head_faces: Int[np.ndarray, "G 3"],
    title: str,
) -> UInt8[np.ndarray, "H W 3"]:
    """Two rows a sample: the answer and the truth, each with picture, overlay, side view, contacts
    and depth.

    Args:
        images: crops as the network sees them, RGB.
        answers: of the network, without leading dimensions.
        truths: the same of the labels; their cameras are not read.
        keypoints_2d: labeled hand and then head keypoints, pixels of the crop and confidence.
            Drawn beside the truth, and the truth's camera is fitted to them.
        hand_faces, head_faces: of the body models.
        title: written above.
    """
    cells = []
    for image, answer, truth, keypoints in zip(images, answers, truths, keypoints_2d, strict=True):
        points = np.concatenate([truth.hand_keypoints_3d, truth.head_keypoints_3d])
        truth = truth.replace(camera=panels.fit_camera(points, keypoints))
        directions = panels.contact_directions(panels.hand_and_head(truth, hand_faces, head_faces))
        for name, row in (("answer", answer), ("truth", truth)):
            pair = panels.hand_and_head(row, hand_faces, head_faces)
            cells += [
                image if name == "answer" else _with_keypoints(image, keypoints),
                panels.over_photo(image, row.camera, pair),
                *panels.side_and_contacts(pair, name, directions),
                _depth_panel(row, pair),
            ]
    return captions.sheet(cells, COLUMNS, title)


def _depth_panel(row: Prediction, meshes: Sequence[NamedMesh]) -> UInt8[np.ndarray, "224 224 3"]:
    """Depth of hand and undeformed head as the depth loss renders it: near is dark."""
    vertices = np.concatenate([row.hand_vertices, row.head_vertices])
    hand, head = meshes
    faces = np.concatenate([hand.faces, head.faces + len(row.hand_vertices)])
    depth = np.asarray(_render_depth(vertices, faces, row.camera))
    seen = np.isfinite(depth)
    panel = np.full((CROP_SIZE, CROP_SIZE, 3), palette.PAPER)
    near, far = (depth[seen].min(), depth[seen].max()) if seen.any() else (0.0, 1.0)
    panel[seen] = palette.ramp(1.0 - (depth[seen] - near) / max(far - near, 1e-6), palette.DENT)
    return captions.annotate(
        np.rint(panel * 255).astype(np.uint8), f"depth, {1e3 * (far - near):.0f} mm"
    )


@jax.jit
def _render_depth(vertices, faces, camera: Camera):
    return rasterize(
        orthographic_to_screen(vertices, camera.scale, camera.transl), faces, CROP_SIZE, CROP_SIZE
    ).depth


def _with_keypoints(image: UInt8[np.ndarray, "224 224 3"], keypoints: Float[np.ndarray, "89 3"]):
    panel = image.copy()
    for x, y, confidence in keypoints:
        if confidence > 0:
            cv2.circle(panel, (int(x), int(y)), 1, (60, 255, 90), -1)
    return panel
