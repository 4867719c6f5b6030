"""Sources of keypoints and depth of a photo: plug-ins that a short text selects.

  hand, face   mediapipe            MediaPipe's networks, which ship with this package
               face_alignment       FAN, if that package and its weights are installed (face only)
               files:FOLDER         NAME.npy of shape (21 | 68, 2 or 3); x and y are relative to
                                    width and height, from 0 to 1
               python:MODULE:NAME   a function from an RGB image (H, W, 3) to (21 | 68, 2 or 3) in
                                    pixels, or None
  depth        files:FOLDER         NAME.npy or NAME_pred.npy of shape (h, w), any resolution
               onnx:FILE            a depth network, run by OpenCV
               marigold:FOLDER      a Marigold pipeline of diffusers in a local folder, such as
                                    marigold-depth-lcm-v1-0, which the paper's authors used
               hf:FOLDER            a depth network of transformers in a local folder
               python:MODULE:NAME   a function from an RGB image to (h, w)
               none

A third column of keypoints is a confidence in [0, 1]. In files, NAME is the path of the photo below
the folder of photos, without its suffix. Depth increases away from the camera, as Marigold's does;
`disparity` is for sources whose values increase towards the camera, such as MiDaS and Depth
Anything.
"""

from __future__ import annotations

import functools
import importlib
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import PIL.Image
from jaxtyping import Float, UInt8

from dice_jax import user_folders
from dice_jax.body_models.landmarks import FACE_68
from dice_jax.constants import NUM_HAND_KEYPOINTS, NUM_HEAD_KEYPOINTS
from dice_jax.detection.people import find_people
from dice_jax.detection.results import DetectedPerson
from dice_jax.errors import UserError
from dice_jax.untrusted_files import npy

# From an image and its name (path below the folder, without suffix) to keypoints or depth; None
# where nothing was found.
Plugin = Callable[[UInt8[np.ndarray, "H W 3"], str], np.ndarray | None]

_ONNX_SIDE = 384  # pixels
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's colors
_NEAREST = 1e-3  # of a depth from 0 to 1
_MIN_DISPARITY = 0.05  # relative to the largest; limits the depth of distant pixels


def keypoints(spec: str, count: int) -> Plugin:
    """Returns a source of keypoints in pixels with confidence, (count, 3).

    Args:
        spec: see the module.
        count: 21 for the hand, 68 for the face.

    Raises:
        UserError: `spec` names no source, or one that is not installed.
        FileNotFoundError: `spec` names a file that does not exist.
    """
    kind, _, rest = spec.partition(":")
    is_hand, is_face = count == NUM_HAND_KEYPOINTS, count == NUM_HEAD_KEYPOINTS
    if kind == "mediapipe" and not rest and (is_hand or is_face):
        find = _mediapipe_hand if is_hand else _mediapipe_face
        plugin = lambda image, name: find(image)
    elif kind == "face_alignment" and is_face:
        plugin = _face_alignment()
    elif kind == "files" and rest:
        plugin = _keypoint_files(user_folders.expand(rest))
    elif kind == "python" and rest:
        function = _function(rest)
        plugin = lambda image, name: function(image)
    else:
        names = "mediapipe, files:FOLDER, python:MODULE:NAME"
        names += ", face_alignment" if is_face else ""
        raise UserError(f"'{spec}' is no source of {count} keypoints: choose from {names}")
    return lambda image, name: _checked_keypoints(plugin(image, name), count, f"{spec}, {name}")


def depth(spec: str, disparity: bool = False) -> Plugin | None:
    """Returns a source of positive depth that increases away from the camera, (h, w).

    Args:
        spec: see the module; "none" gives None.
        disparity: whether the values of the source increase towards the camera.

    Raises:
        UserError: `spec` names no source, or one that is not installed.
        FileNotFoundError: `spec` names a file that does not exist.
    """
    kind, _, rest = spec.partition(":")
    if kind == "none":
        return None
    if kind == "files" and rest:
        plugin = _depth_files(user_folders.expand(rest))
    elif kind == "onnx" and rest:
        plugin = _onnx(user_folders.expand(rest))
    elif kind == "marigold" and rest:
        plugin = _marigold(user_folders.expand(rest))
    elif kind == "hf" and rest:
        plugin = _transformers(user_folders.expand(rest))
    elif kind == "python" and rest:
        function = _function(rest)
        plugin = lambda image, name: function(image)
    else:
        names = "files:FOLDER, onnx:FILE, marigold:FOLDER, hf:FOLDER, python:MODULE:NAME, none"
        raise UserError(f"'{spec}' is no source of depth: choose from {names}")
    return lambda image, name: _checked_depth(plugin(image, name), disparity, f"{spec}, {name}")


def sees_right_hand(spec: str, image: UInt8[np.ndarray, "H W 3"]) -> bool | None:
    """Whether the hand that the source finds in a photo is a right one; None if it cannot tell."""
    person = _person(image) if spec == "mediapipe" else None
    return person.hands[0].right > 0.5 if person is not None and person.hands else None


def _mediapipe_hand(image: UInt8[np.ndarray, "H W 3"]) -> Float[np.ndarray, "21 3"] | None:
    """The surest hand of the person, with the probability that it is one as confidence."""
    person = _person(image)
    if person is None or not person.hands:
        return None
    hand = person.hands[0]
    return np.column_stack([hand.points[:, :2], np.full(NUM_HAND_KEYPOINTS, hand.score)])


def _mediapipe_face(image: UInt8[np.ndarray, "H W 3"]) -> Float[np.ndarray, "68 3"] | None:
    """The 68 iBUG landmarks of the person, with the probability of a face as confidence."""
    person = _person(image)
    if person is None or person.face is None:
        return None
    points = person.face.points[list(FACE_68), :2]
    return np.column_stack([points, np.full(NUM_HEAD_KEYPOINTS, person.face.score)])


def _person(image: UInt8[np.ndarray, "H W 3"]) -> DetectedPerson | None:
    """The person with the largest face among those with a hand, or without one if there is none."""
    shape = image.shape
    people = _people(np.ascontiguousarray(image).tobytes(), shape)
    with_both = [person for person in people if person.face is not None and person.hands]
    return next(iter(with_both or people), None)


@functools.lru_cache(maxsize=1)  # hand, side and face of a photo are asked one after another
def _people(pixels: bytes, shape: tuple[int, ...]) -> list[DetectedPerson]:
    return find_people(np.frombuffer(pixels, np.uint8).reshape(shape))


def _checked_keypoints(
    points: Any, count: int, origin: str
) -> Float[np.ndarray, "{count} 3"] | None:
    """Adds a confidence of 1 where there is none; undetected keypoints become zeros."""
    if points is None:
        return None
    points = np.asarray(points, np.float64)
    if points.shape not in ((count, 2), (count, 3)):
        raise UserError(
            f"{origin}: keypoints of shape {points.shape}, not ({count}, 2) or ({count}, 3)"
        )
    if points.shape[1] == 2:
        points = np.column_stack([points, np.ones(count)])
    found = np.isfinite(points).all(-1) & (points[:, 2] > 0)
    return np.where(found[:, None], points, 0.0) if found.any() else None


def _checked_depth(values: Any, disparity: bool, origin: str) -> Float[np.ndarray, "h w"] | None:
    if values is None:
        return None
    values = np.squeeze(np.asarray(values, np.float64))
    if values.ndim != 2 or min(values.shape) < 2:
        raise UserError(f"{origin}: depth of shape {values.shape}, not (h, w)")
    if not np.isfinite(values).all() or values.max() <= 0:
        raise UserError(f"{origin}: depth that is not finite and positive")
    return 1 / np.maximum(values / values.max(), _MIN_DISPARITY) if disparity else values


def _load(path: Path) -> np.ndarray:
    return npy.read_npy(path)


def _keypoint_files(folder: Path) -> Plugin:
    def read(image, name):
        path = folder / f"{name}.npy"
        if not path.is_file():
            return None
        points = _load(path).astype(np.float64)
        if points.ndim != 2 or points.shape[1] < 2:
            return points
        if (np.abs(points[:, :2]) > 3).any():
            raise UserError(
                f"{path}: x and y must be relative to width and height, 0 to 1, not pixels"
            )
        points[:, :2] *= [image.shape[1], image.shape[0]]
        return points

    return read


def _depth_files(folder: Path) -> Plugin:
    def read(image, name):
        del image
        for path in (folder / f"{name}_pred.npy", folder / f"{name}.npy"):
            if path.is_file():
                return _load(path)
        return None

    return read


def _onnx(path: Path) -> Plugin:
    if not path.is_file():
        raise FileNotFoundError(f"no ONNX file at {path}")
    try:
        network = cv2.dnn.readNetFromONNX(str(path))
    except cv2.error as error:
        raise UserError(f"{path} cannot be run by OpenCV: {error}") from None

    def run(image, name):
        del name
        size = (_ONNX_SIDE, _ONNX_SIDE)
        pixels = cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.float32) / 255
        pixels = (pixels - np.array(_MEAN)) / np.array(_DEVIATION)
        network.setInput(np.ascontiguousarray(pixels.transpose(2, 0, 1)[None], np.float32))
        return network.forward()

    return run


def _transformers(folder: Path) -> Plugin:
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


def _marigold(folder: Path) -> Plugin:
    if not folder.is_dir():
        raise FileNotFoundError(f"no Marigold pipeline in {folder}")
    try:
        import diffusers  # pyright: ignore[reportMissingImports] (optional)

        pipeline = diffusers.MarigoldDepthPipeline.from_pretrained(folder, local_files_only=True)
    except (ImportError, OSError, ValueError, AttributeError) as error:
        raise UserError(
            f"marigold:{folder} cannot be used (diffusers and torch: pip install "
            f"'dice-jax[marigold]'): {error}"
        ) from None
    pipeline.set_progress_bar_config(disable=True)

    def run(image, name):
        # The number of steps and the resolution are those that the pipeline was made for. The noise
        # it starts from depends on the photo alone, so that an interrupted run continues exactly.
        result = pipeline(
            PIL.Image.fromarray(image),
            ensemble_size=1,
            output_type="np",
            generator=_noise(pipeline, name),
        )
        # Affine-invariant, 0 the nearest; 0 stands for a missing depth here.
        return np.maximum(np.squeeze(result.prediction), _NEAREST)

    return run


def _noise(pipeline: Any, name: str) -> Any:
    import torch  # pyright: ignore[reportMissingImports] (optional)

    return torch.Generator(device=pipeline.device).manual_seed(zlib.crc32(name.encode()))


def _face_alignment() -> Plugin:
    try:
        import face_alignment  # pyright: ignore[reportMissingImports] (optional)
    except ImportError:
        raise UserError(
            "face_alignment is not installed: pip install face-alignment, or name another source"
        ) from None
    network = face_alignment.FaceAlignment(
        face_alignment.LandmarksType.TWO_D, device="cpu", flip_input=False
    )

    def run(image, name):
        del name
        faces = network.get_landmarks_from_image(image)
        return max(faces, key=lambda points: np.ptp(points, axis=0).prod()) if faces else None

    return run


def _function(spec: str) -> Callable[[UInt8[np.ndarray, "H W 3"]], Any]:
    module, _, name = spec.rpartition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise UserError(
            f"python:{spec}: {error}; it must be MODULE:NAME of an importable function"
        ) from None
