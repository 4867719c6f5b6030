"""The picture sheet of a training: what the network says of a few samples, and below each answer the truth."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import cv2
import jax
import numpy as np
from jaxtyping import Float, Int, UInt8

from dice_jax.geometry.camera import orthographic_to_screen
from dice_jax.geometry.rasterize import rasterize
from dice_jax.io import figure, overlay, palette
from dice_jax.io.crop import CROP_SIZE
from dice_jax.io.meshes import NamedMesh, prediction_meshes
from dice_jax.io.render import render
from dice_jax.structs import Camera, Prediction

COLUMNS = 6
_AHEAD = np.array([0.0, 0.0, 1.0])


def sample_sheet(
  images: Sequence[UInt8[np.ndarray, "224 224 3"]],
  answers: Sequence[Prediction],
  truths: Sequence[Prediction],
  keypoints_2d: Sequence[Float[np.ndarray, "89 3"]],
  hand_faces: Int[np.ndarray, "F 3"],
  head_faces: Int[np.ndarray, "G 3"],
  title: str,
) -> UInt8[np.ndarray, "H W 3"]:
  """Two rows a sample: the answer and the truth, each with picture, overlay, side view, contacts and depth.

  Args:
    images: crops as the network sees them, RGB.
    answers: of the network, without leading dimensions.
    truths: the same of the labels; their cameras are not read.
    keypoints_2d: labelled hand and then head keypoints, pixels of the crop and confidence. Drawn beside the truth, and
      the truth's camera is fitted to them.
    hand_faces, head_faces: of the body models.
    title: written above.
  """
  panels = []
  for image, answer, truth, keypoints in zip(images, answers, truths, keypoints_2d, strict=True):
    points = np.concatenate([truth.hand_keypoints_3d, truth.head_keypoints_3d])
    truth = truth.replace(camera=fit_camera(points, keypoints))
    for whose, row in (("answer", answer), ("truth", truth)):
      picture = image if whose == "answer" else _with_keypoints(image, keypoints)
      panels += [picture, *_row(image, row, whose, hand_faces, head_faces)]
  return figure.sheet(panels, COLUMNS, title)


def fit_camera(points: Float[np.ndarray, "K 3"], keypoints: Float[np.ndarray, "K 3"]) -> Camera:
  """The scaled orthography that projects points to keypoints with the least squared error, weighted by confidence.

  Args:
    points: metres, camera axes.
    keypoints: pixels and confidence.

  Returns:
    The camera; one that shows the middle of the crop where fewer than two keypoints were detected.
  """
  weights = keypoints[:, 2:]
  if np.count_nonzero(weights) < 2:
    return Camera(scale=np.float32(550.0), transl=np.full(2, CROP_SIZE / 2, np.float32))
  pixels = np.where(weights > 0, keypoints[:, :2], 0.0)
  mean = lambda x: (weights * x).sum(0) / weights.sum()
  from_mean, to_mean = mean(points[:, :2]), mean(pixels)
  source, target = points[:, :2] - from_mean, pixels - to_mean
  scale = (weights * source * target).sum() / np.maximum((weights * source**2).sum(), 1e-12)
  return Camera(scale=np.float32(scale), transl=(to_mean - scale * from_mean).astype(np.float32))


def _row(image, row: Prediction, whose: str, hand_faces, head_faces) -> list[UInt8[np.ndarray, "224 224 3"]]:
  paint = lambda faces, color: np.broadcast_to(color, (int(faces.max()) + 1, 3))
  meshes = prediction_meshes(
    row, hand_faces, head_faces, paint(hand_faces, palette.HAND), paint(head_faces, palette.HEAD))
  hand, head = contact = [
    overlay.painted(mesh, mesh.attributes["contact"], palette.CONTACT) for mesh in meshes]  # fmt: skip
  touched = overlay.facing(head, head.attributes["contact"], _AHEAD)
  # A network that knows nothing yet may turn the picture inside out.
  drawn = render(meshes, max(float(row.camera.scale), 1.0), np.asarray(row.camera.transl), CROP_SIZE)
  view = functools.partial(overlay.view, size=CROP_SIZE)
  bar = (palette.CONTACT, "0", "1", "")
  return [
    overlay.blend(image, drawn),
    view(meshes, overlay.seen_from(np.radians(65), 0.0), f"{whose}, side"),
    view(contact, touched, "on the face", hidden=("hand",), bar=bar),
    view(contact, overlay.facing(hand, hand.attributes["contact"], -touched), "on the hand", hidden=("head",), bar=bar),
    _depth_panel(row, meshes),
  ]


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
  return figure.annotate(np.rint(panel * 255).astype(np.uint8), f"depth, {1e3 * (far - near):.0f} mm")


@jax.jit
def _render_depth(vertices, faces, camera: Camera):
  return rasterize(orthographic_to_screen(vertices, camera.scale, camera.transl), faces, CROP_SIZE, CROP_SIZE).depth


def _with_keypoints(image: UInt8[np.ndarray, "224 224 3"], keypoints: Float[np.ndarray, "89 3"]):
  panel = image.copy()
  for x, y, confidence in keypoints:
    if confidence > 0:
      cv2.circle(panel, (int(x), int(y)), 1, (60, 255, 90), -1)
  return panel
