"""Single samples as pictures: what was predicted above what is true, in the same views."""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Mapping
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float, Int, UInt8

from dice_jax.data.labels import Labels
from dice_jax.io import figure, meshes, overlay, palette
from dice_jax.io.meshes import NamedMesh
from dice_jax.io.render import render
from dice_jax.metrics.accumulate import MetricSums
from dice_jax.structs import Camera, Prediction

PANEL = 288  # pixels
_QUALITY = 84
_MIN_SCALE = 10.0  # pixels a metre
_RIGHT_SIDE = np.radians(-65)


class Case(NamedTuple):
  """A picture in a page and what stands under it."""

  title: str
  caption: str
  picture: UInt8[np.ndarray, "H W 3"]


def worst_and_median(samples: MetricSums, count: int) -> dict[str, Int[np.ndarray, "K"]]:
  """The `count` samples of the largest PVE*, and those nearest to its median, among the samples that have one."""
  known = np.flatnonzero(np.asarray(samples.frames) > 0)
  pve = np.asarray(samples.pve)[known]
  nearest = np.argsort(np.abs(pve - np.median(pve)), kind="stable") if len(pve) else known
  return {"worst": known[np.argsort(-pve, kind="stable")[:count]], "median": known[nearest[:count]]}


def most_different(first: MetricSums, second: MetricSums, count: int) -> dict[str, Int[np.ndarray, "K"]]:
  """The samples on which `second` is better than `first` by the most PVE*, and those on which it is worse."""
  gain = np.where(np.asarray(first.frames) > 0, np.asarray(first.pve) - np.asarray(second.pve), 0.0)
  order = np.argsort(-gain, kind="stable")
  better, worse = order[gain[order] > 0], order[gain[order] < 0][::-1]
  return {"better": better[:count], "worse": worse[:count]}


def describe(samples: MetricSums, index: int) -> str:
  """The errors of one sample in words."""
  if not samples.frames[index]:
    return "has no 3D labels"
  errors = (("PVE*", samples.pve), ("hand", samples.pve_hand), ("head", samples.pve_head), ("MPJPE", samples.mpjpe))
  return ", ".join(f"{name} {1e3 * values[index]:.1f} mm" for name, values in errors)


def describe_labels(labels: Labels, index: int) -> str:
  """Who and what is in one sample."""
  words = [f"subject {labels.subject[index]}"]
  words += [f"gesture {labels.gesture[index]}"] if labels.gesture[index] else []
  words += [f"skin tone {labels.skin_tone[index]:.2f}"] if np.isfinite(labels.skin_tone[index]) else []
  return ", ".join(words)


def case_picture(
  image: UInt8[np.ndarray, "224 224 3"],
  predictions: Mapping[str, Prediction],
  truth: Prediction,
  detected: Float[np.ndarray, "89 3"],
  hand_faces: Int[np.ndarray, "F 3"],
  head_faces: Int[np.ndarray, "G 3"],
) -> UInt8[np.ndarray, "h w 3"]:
  """A row of views for each prediction, and one for the truth with the photo at its end.

  Args:
    image: what the network saw.
    predictions: of this image, without leading dimension, by name.
    truth: likewise; its camera is fitted to `detected`.
    detected: true keypoints in the image, hand first: pixels and confidence.
    hand_faces, head_faces: of the body models.
  """
  colors = [np.broadcast_to(color, (count, 3)) for color, count in ((palette.HAND, 778), (palette.HEAD, 5023))]
  as_meshes = lambda answer: meshes.prediction_meshes(answer, hand_faces, head_faces, *colors)
  keypoints = np.concatenate([truth.hand_keypoints_3d, truth.head_keypoints_3d])
  truth = truth.replace(camera=fit_camera(keypoints, detected))
  true_meshes = as_meshes(truth)
  # Both rows look from where the true contact is seen best.
  spots = [np.asarray(mesh.attributes["contact"]) for mesh in true_meshes]
  face_spot = overlay.facing(true_meshes[1], spots[1], np.array([0.0, 0.0, 1.0]))
  directions = face_spot, overlay.facing(true_meshes[0], spots[0], -face_spot)

  rows = []
  for name, answer in [*predictions.items(), ("ground truth", truth)]:
    pair = as_meshes(answer)
    end = _photo(image) if answer is truth else _error(pair, true_meshes)
    rows.append(np.concatenate([*_views(image, name, answer.camera, pair, directions), end], axis=1))
  return np.concatenate(rows)


def fit_camera(points: Float[np.ndarray, "K 3"], detected: Float[np.ndarray, "K 3"]) -> Camera:
  """The scaled orthography under which `points` come nearest to where they were detected, weighted by confidence."""
  weight = np.asarray(detected[:, 2:], np.float64)
  points, pixels = np.asarray(points, np.float64)[:, :2], np.where(weight > 0, detected[:, :2], 0.0)
  mean = lambda x: (weight * x).sum(0) / max(weight.sum(), 1e-9)
  centred, target = points - mean(points), pixels - mean(pixels)
  scale = (weight * centred * target).sum() / max((weight * centred**2).sum(), 1e-12)
  scale = max(scale, _MIN_SCALE)  # what was detected may be far from the truth; a mirror image cannot be drawn
  return Camera(np.float32(scale), np.float32(mean(pixels) - scale * mean(points)))


def data_uri(picture: UInt8[np.ndarray, "H W 3"]) -> str:
  """The picture as JPEG, to stand in a page."""
  _, data = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
  return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode()


def _views(image, name: str, camera: Camera, pair: list[NamedMesh], directions) -> list[np.ndarray]:
  """Over the photo, from the side, and the contact of face and hand."""
  zoom = PANEL / image.shape[0]
  drawn = render(pair, float(camera.scale) * zoom, np.asarray(camera.transl) * zoom, PANEL)
  over = overlay.blend(_enlarged(image), drawn)
  contact = [overlay.painted(mesh, mesh.attributes["contact"], palette.CONTACT) for mesh in pair]
  view = lambda *args, **options: overlay.view(*args, **options, size=PANEL)
  bar = (palette.CONTACT, "0", "1", "")
  return [
    _captioned(over, name),
    view(pair, overlay.seen_from(_RIGHT_SIDE, 0.0), f"{name}, side"),
    view(contact, directions[0], "contact on the face", hidden=("hand",), bar=bar),
    view(contact, directions[1], "contact on the hand", hidden=("head",), bar=bar),
  ]


def _error(pair: list[NamedMesh], truth: list[NamedMesh]) -> np.ndarray:
  """The prediction from the front, in the colours of how far each vertex is off."""
  errors = [1e3 * np.linalg.norm(mesh.vertices - true.vertices, axis=-1) for mesh, true in zip(pair, truth)]
  full_scale = figure.round_up(max(1.0, *(float(error.max()) for error in errors)))
  colored = [
    dataclasses.replace(mesh, colors=palette.ramp(error / full_scale, palette.CONTACT))
    for mesh, error in zip(pair, errors)
  ]
  bar = (palette.CONTACT, "0", f"{full_scale:g}", "mm")
  return overlay.view(colored, overlay.seen_from(0.0, 0.0), "distance to the truth", bar=bar, size=PANEL)


def _photo(image: np.ndarray) -> np.ndarray:
  return _captioned(_enlarged(image), "input")


def _enlarged(image: np.ndarray) -> np.ndarray:
  return cv2.resize(image, (PANEL, PANEL), interpolation=cv2.INTER_CUBIC)


def _captioned(panel: np.ndarray, caption: str) -> np.ndarray:
  """A caption on a light strip: over a photo dark letters would not read."""
  panel = panel.copy()
  strip = panel[:34].astype(np.float32)
  panel[:34] = np.rint(0.35 * strip + 0.65 * 255.0 * palette.PAPER)
  return figure.annotate(panel, caption)
