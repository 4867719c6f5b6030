"""Makes samples of `in_the_wild` from photos: detects keypoints and depth, and cuts the crop."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from dice_jax import user_folders
from dice_jax.constants import CROP_SIZE
from dice_jax.datasets.in_the_wild import label_sources
from dice_jax.geometry import crop
from dice_jax.geometry.crop import CropBox
from dice_jax.input_pipeline import mirror_sample
from dice_jax.input_pipeline.schema import Example
from dice_jax.io import images

_HAND_COLOR, _FACE_COLOR = (60, 110, 255), (255, 40, 40)


@dataclasses.dataclass(frozen=True)
class Photo:
    """A photo and the name of its label files: its path below the folder, without suffix."""

    path: Path
    name: str


@dataclasses.dataclass(frozen=True)
class Sources:
    """The sources of the labels.

    Attributes:
        hand, face, depth: see `label_sources`; `depth` may be None.
        sees_right_hand: whether the hand that `hand` finds in an image is a right one; None:
            unknown.
        squash_photo: squash the whole photo into the crop, as the authors do, instead of cutting a
            square around hand and face.
        mirror_left: mirror photos of left hands, as far as `sees_right_hand` detects them.
    """

    hand: label_sources.Plugin
    face: label_sources.Plugin
    depth: label_sources.Plugin | None
    sees_right_hand: Callable[[UInt8[np.ndarray, "H W 3"]], bool | None] = lambda image: None
    squash_photo: bool = False
    mirror_left: bool = True


def find_photos(folder: str | Path) -> list[Photo]:
    """Lists the photos of a folder and its subfolders, by name.

    Raises:
        FileNotFoundError: there are none.
    """
    folder = user_folders.expand(folder)
    paths = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in images.SUFFIXES and path.is_file()
    )
    if not paths:
        raise FileNotFoundError(f"no photos in {folder} (looked for {', '.join(images.SUFFIXES)})")
    return [Photo(path, path.relative_to(folder).with_suffix("").as_posix()) for path in paths]


def describe_photos(photos: Sequence[Photo]) -> str:
    """Their number, and a digest of names and sizes: another photo makes another text."""
    listed = "\n".join(f"{photo.name} {photo.path.stat().st_size}" for photo in photos)
    return f"{len(photos)} ({hashlib.sha256(listed.encode()).hexdigest()[:12]})"


def make_example(photo: Photo, number: int, sources: Sources) -> Example | str:
    """Returns the sample of a photo, or the reason why there is none.

    Args:
        photo: to read.
        number: of the photo; serves as subject and scene, which are unknown.
        sources: of the labels.
    """
    try:
        image = images.read_image(photo.path)
        hand = sources.hand(image, photo.name)
        is_right = sources.sees_right_hand(image)
        face = sources.face(image, photo.name)
        if hand is None or face is None:
            return "no hand found" if hand is None else "no face found"
        depth = sources.depth(image, photo.name) if sources.depth else np.zeros((2, 2))
    except ValueError as error:
        return str(error)
    if depth is None:
        return "no depth"

    height, width = image.shape[:2]
    if sources.squash_photo:
        pixels = cv2.resize(image, (CROP_SIZE, CROP_SIZE), interpolation=cv2.INTER_AREA)
        to_crop = lambda points: points * np.array([CROP_SIZE / width, CROP_SIZE / height])
    else:
        box = around(hand, face, height, width)
        pixels, to_crop = crop.cut(image, box, CROP_SIZE), box.to_crop
    example = {"image": pixels, "subject": number, "scene": number, "source": photo.path.name}
    for name, points in (("hand", hand), ("head", face)):
        moved = np.column_stack([to_crop(points[:, :2]), points[:, 2]])
        keypoints = np.where(points[:, 2:] > 0, moved, 0.0)
        depths = sample_depth(depth, points / np.array([width, height, 1]))
        example[f"{name}_keypoints_2d"] = keypoints.astype(np.float32)
        example[f"{name}_keypoints_depth"] = depths.astype(np.float32)
    if is_right is False and sources.mirror_left:
        example = mirror_sample.mirrored(example, head=None)
    return example


def around(
    hand: Float[np.ndarray, "21 3"], face: Float[np.ndarray, "68 3"], height: int, width: int
) -> CropBox:
    """The square around the hand and the whole head, which is larger than its landmarks.

    Args:
        hand, face: keypoints with confidence, pixels; at least one detected in each.
        height, width: of the photo.
    """

    def corners(points: Float[np.ndarray, "K 3"]) -> Float[np.ndarray, "4"]:
        detected = points[points[:, 2] > 0, :2]
        return np.concatenate([detected.min(0), detected.max(0)])

    head = corners(face)
    head = head + (head[2] - head[0]) * np.array([-0.15, -0.65, 0.15, 0.1])
    return crop.move_inside(crop.box_around(np.stack([corners(hand), head]), 1.1), height, width)


def sample_depth(
    depth: Float[np.ndarray, "h w"], points: Float[np.ndarray, "K 3"]
) -> Float[np.ndarray, "K"]:
    """Depth of the visible surface at keypoints.

    Args:
        depth: of any resolution.
        points: x and y relative to width and height, from 0 to 1, and confidence.

    Returns:
        The depth in the pixel of each point; 0 if it is outside or was not detected.
    """
    inside = (points[:, 2] > 0) & ((points[:, :2] >= 0) & (points[:, :2] < 1)).all(-1)
    size = np.array(depth.shape[::-1])
    column, row = np.clip(np.floor(points[:, :2] * size).astype(int), 0, size - 1).T
    return np.where(inside, depth[row, column], 0.0)


def review_image(example: Example) -> UInt8[np.ndarray, "224 224 3"]:
    """Draws the keypoints into the crop: the hand blue, the face red, distant ones darker."""
    image = example["image"].copy()
    for name, color in (("head", _FACE_COLOR), ("hand", _HAND_COLOR)):
        depth = example[f"{name}_keypoints_depth"]
        near, far = (depth[depth > 0].min(), depth.max()) if (depth > 0).any() else (0.0, 0.0)
        for (x, y, confidence), z in zip(example[f"{name}_keypoints_2d"], depth):
            if confidence > 0:
                shade = 1 - 0.6 * (z - near) / (far - near) if far > near else 1.0
                cv2.circle(image, (int(x), int(y)), 2, [int(shade * c) for c in color], -1)
    return image
