"""The sheet of validation samples of a training: predictions above their ground truth."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import jax
import numpy as np
from jaxtyping import Float, Int, UInt8

from dice_jax.array_types import Array
from dice_jax.constants import CROP_SIZE
from dice_jax.geometry.camera import orthographic_to_screen
from dice_jax.geometry.rasterize import rasterize
from dice_jax.io.meshes import NamedMesh
from dice_jax.structs import Camera, Prediction
from dice_jax.visualization import captions, palette, panels

COLUMNS = 6
_KEYPOINT_COLOR = (60, 255, 90)


def sample_sheet(
    images: UInt8[np.ndarray, "N 224 224 3"],
    predictions: Sequence[Prediction],
    targets: Sequence[Prediction],
    keypoints_2d: Float[np.ndarray, "N 89 3"],
    hand_faces: Int[np.ndarray, "F 3"],
    head_faces: Int[np.ndarray, "G 3"],
    title: str,
) -> UInt8[np.ndarray, "H W 3"]:
    """Two rows per sample, prediction and ground truth: image, overlay, side, contacts and depth.

    Args:
        images: crops, RGB.
        predictions: of the network, one for each image, without leading dimensions.
        targets: ground truth in the same form. Their cameras are not read but fitted to
            `keypoints_2d`.
        keypoints_2d: labeled keypoints, hand first: pixels of the crop and confidence.
        hand_faces, head_faces: of the body models.
        title: written above.
    """
    cells = []
    samples = zip(images, predictions, targets, keypoints_2d, strict=True)
    for image, prediction, target, keypoints in samples:
        points = np.concatenate([target.hand_keypoints_3d, target.head_keypoints_3d])
        target = target.replace(camera=panels.fit_camera(points, keypoints))
        target_meshes = panels.hand_and_head(target, hand_faces, head_faces)
        directions = panels.contact_directions(target_meshes)
        for name, background, shown in (
            ("prediction", image, prediction),
            ("ground truth", _with_keypoints(image, keypoints), target),
        ):
            meshes = panels.hand_and_head(shown, hand_faces, head_faces)
            cells += [
                background,
                panels.over_crop(image, shown.camera, meshes),
                *panels.side_and_contacts(meshes, name, directions),
                _depth_panel(shown, meshes),
            ]
    return captions.sheet(cells, COLUMNS, title)


def _depth_panel(
    prediction: Prediction, meshes: Sequence[NamedMesh]
) -> UInt8[np.ndarray, "224 224 3"]:
    """Depth of hand and undeformed head as the depth loss renders it: near is dark."""
    vertices = np.concatenate([prediction.hand_vertices, prediction.head_vertices])
    hand, head = meshes
    faces = np.concatenate([hand.faces, head.faces + len(prediction.hand_vertices)])
    depth = np.asarray(_render_depth(vertices, faces, prediction.camera))
    seen = np.isfinite(depth)
    panel = np.full((CROP_SIZE, CROP_SIZE, 3), palette.PAPER)
    near, far = (depth[seen].min(), depth[seen].max()) if seen.any() else (0.0, 1.0)
    darkness = 1.0 - (depth[seen] - near) / max(far - near, 1e-6)
    panel[seen] = palette.ramp(darkness, palette.DEFORMATION)
    rgb = np.rint(panel * 255).astype(np.uint8)
    return captions.annotate(rgb, f"depth, {1e3 * (far - near):.0f} mm")


@jax.jit
def _render_depth(
    vertices: Float[Array, "V 3"], faces: Int[Array, "F 3"], camera: Camera
) -> Float[Array, "224 224"]:
    screen = orthographic_to_screen(vertices, camera.scale, camera.transl)
    return rasterize(screen, faces, CROP_SIZE, CROP_SIZE).depth


def _with_keypoints(
    image: UInt8[np.ndarray, "224 224 3"], keypoints: Float[np.ndarray, "89 3"]
) -> UInt8[np.ndarray, "224 224 3"]:
    """A copy of the image with a dot at each keypoint of positive confidence."""
    panel = image.copy()
    for x, y, confidence in keypoints:
        if confidence > 0:
            cv2.circle(panel, (int(x), int(y)), 1, _KEYPOINT_COLOR, -1)
    return panel
