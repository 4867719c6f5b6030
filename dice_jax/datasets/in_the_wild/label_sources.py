"""Where keypoints and depth of a photograph come from: plug-ins, named by a short text.

  hand, face   mediapipe:WHEEL      MediaPipe's networks out of its wheel, see `mediapipe`
               face_alignment       FAN, if that package and its weights are installed (face only)
               files:FOLDER         ready-made: NAME.npy of (21 | 68, 2 or 3), x and y as shares of
               width and height python:MODULE:NAME   a function from an RGB picture (H, W, 3) to (21
               | 68, 2 or 3) in pixels, or None
  depth        files:FOLDER         ready-made: NAME.npy or NAME_pred.npy of (h, w), whatever its
  size
               onnx:FILE            a depth network, run by OpenCV
               hf:FOLDER            a depth network of transformers in a local folder
               python:MODULE:NAME   a function from an RGB picture to (h, w)
               none

A third column is a confidence in [0, 1]. In files, NAME is the photograph's name without its
ending, in the same sub-folder. Depth grows away from the camera, as Marigold's does; `disparity`
tells that it is the other way round, as MiDaS and Depth Anything have it.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8

from dice_jax.detection import mediapipe_landmarks
from dice_jax.errors import UserError

# From a picture and its name (relative, without ending) to points or depth; None where nothing was
# found.
Plugin = Callable[[UInt8[np.ndarray, "H W 3"], str], np.ndarray | None]
_ONNX_SIDE = 384
_MIN_DISPARITY = 0.05  # of the largest: what is farther away counts as that far


def keypoints(spec: str, count: int) -> Plugin:
    """A source of keypoints in pixels with confidence, (count, 3).

    Args:
        spec: see above.
        count: 21 for the hand, 68 for the face.

    Raises:
        UserError: `spec` names none, or something that is not installed.
        FileNotFoundError: it names a file that is not there.
    """
    kind, _, rest = spec.partition(":")
    if kind == "mediapipe" and rest:
        networks = _landmarks(rest)
        found = networks.hand if count == 21 else networks.face
        plugin = lambda image, name: found(image)
    elif kind == "face_alignment" and count == 68:
        plugin = _face_alignment()
    elif kind == "files" and rest:
        plugin = _keypoint_files(Path(rest).expanduser())
    elif kind == "python" and rest:
        function = _function(rest)
        plugin = lambda image, name: function(image)
    else:
        names = "mediapipe:WHEEL, files:FOLDER, python:MODULE:NAME" + (
            ", face_alignment" if count == 68 else ""
        )
        raise UserError(f"'{spec}' is no source of {count} keypoints: there is {names}")
    return lambda image, name: _checked_keypoints(plugin(image, name), count, f"{spec}, {name}")


def depth(spec: str, disparity: bool = False) -> Plugin | None:
    """A source of depth that grows away from the camera, (h, w) positive; None for "none".

    Raises:
        UserError: `spec` names none, or something that is not installed.
        FileNotFoundError: it names a file that is not there.
    """
    kind, _, rest = spec.partition(":")
    if kind == "none":
        return None
    if kind == "files" and rest:
        plugin = _depth_files(Path(rest).expanduser())
    elif kind == "onnx" and rest:
        plugin = _onnx(Path(rest).expanduser())
    elif kind == "hf" and rest:
        plugin = _transformers(Path(rest).expanduser())
    elif kind == "python" and rest:
        function = _function(rest)
        plugin = lambda image, name: function(image)
    else:
        names = "files:FOLDER, onnx:FILE, hf:FOLDER, python:MODULE:NAME, none"
        raise UserError(f"'{spec}' is no source of depth: there is {names}")
    return lambda image, name: _checked_depth(plugin(image, name), disparity, f"{spec}, {name}")


def sees_right_hand(spec: str) -> bool | None:
    """Which hand the source saw last, where it tells."""
    kind, _, rest = spec.partition(":")
    return _landmarks(rest).is_right if kind == "mediapipe" else None


@functools.cache
def _landmarks(wheel: str) -> mediapipe_landmarks.Landmarks:
    return mediapipe_landmarks.Landmarks(wheel)


def _checked_keypoints(points, count, told):
    if points is None:
        return None
    points = np.asarray(points, np.float64)
    if points.shape not in ((count, 2), (count, 3)):
        raise UserError(
            f"{told}: keypoints of shape {points.shape}, not ({count}, 2) or ({count}, 3)"
        )
    if points.shape[1] == 2:
        points = np.column_stack([points, np.ones(count)])
    known = np.isfinite(points).all(-1) & (points[:, 2] > 0)
    return np.where(known[:, None], points, 0.0) if known.any() else None


def _checked_depth(values, disparity, told):
    if values is None:
        return None
    values = np.squeeze(np.asarray(values, np.float64))
    if values.ndim != 2 or min(values.shape) < 2:
        raise UserError(f"{told}: depth of shape {values.shape}, not (h, w)")
    if not np.isfinite(values).all() or values.max() <= 0:
        raise UserError(f"{told}: depth that is not finite and positive")
    return 1 / np.maximum(values / values.max(), _MIN_DISPARITY) if disparity else values


def _load(path: Path) -> np.ndarray:
    try:
        return np.load(path, allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise UserError(f"{path} is not a plain array: {error}") from None


def _keypoint_files(folder):
    def read(image, name):
        path = folder / f"{name}.npy"
        if not path.is_file():
            return None
        points = _load(path).astype(np.float64)
        if points.ndim != 2 or points.shape[1] < 2:
            return points
        if (np.abs(points[:, :2]) > 3).any():
            raise UserError(f"{path}: x and y are shares of width and height, 0 to 1, not pixels")
        points[:, :2] *= [image.shape[1], image.shape[0]]
        return points

    return read


def _depth_files(folder):
    def read(image, name):
        del image
        for path in (folder / f"{name}_pred.npy", folder / f"{name}.npy"):
            if path.is_file():
                return _load(path)
        return None

    return read


def _onnx(path):
    if not path.is_file():
        raise FileNotFoundError(f"no ONNX file at {path}")
    try:
        network = cv2.dnn.readNetFromONNX(str(path))
    except cv2.error as error:
        raise UserError(f"{path} cannot be run by OpenCV: {error}") from None

    def run(image, name):
        del name
        pixels = (
            cv2.resize(image, (_ONNX_SIDE, _ONNX_SIDE), interpolation=cv2.INTER_AREA).astype(
                np.float32
            )
            / 255
        )
        pixels = (pixels - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
        network.setInput(np.ascontiguousarray(pixels.transpose(2, 0, 1)[None], np.float32))
        return network.forward()

    return run


def _transformers(folder):
    if not folder.is_dir():
        raise FileNotFoundError(f"no network of transformers in {folder}")
    try:
        import torch
        from transformers import AutoImageProcessor, AutoModelForDepthEstimation

        processor = AutoImageProcessor.from_pretrained(folder, local_files_only=True)
        network = AutoModelForDepthEstimation.from_pretrained(folder, local_files_only=True).eval()
    except (ImportError, OSError, ValueError) as error:
        raise UserError(
            f"hf:{folder} cannot be used (transformers and torch: pip install '.[parity]'): {error}"
        ) from None

    def run(image, name):
        del name
        with torch.no_grad():
            return network(**processor(images=image, return_tensors="pt")).predicted_depth.numpy()

    return run


def _face_alignment():
    try:
        import face_alignment
    except ImportError:
        raise UserError(
            "face_alignment is not installed: pip install face-alignment, or name another source"
        ) from None
    network = face_alignment.FaceAlignment(
        face_alignment.LandmarksType.TWO_D, device="cpu", flip_input=False
    )

    def run(image, name):
        del name
        found = network.get_landmarks_from_image(image)
        return max(found, key=lambda points: np.ptp(points, axis=0).prod()) if found else None

    return run


def _function(spec):
    module, _, name = spec.rpartition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise UserError(
            f"python:{spec}: {error}; it must be MODULE:NAME of something importable"
        ) from None
