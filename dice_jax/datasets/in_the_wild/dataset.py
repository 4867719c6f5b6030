"""The data set `in_the_wild`: photographs of people touching their faces, with pseudo labels and no
meshes.

from dice_jax.datasets.in_the_wild.dataset import load_split
source = load_split("~/data", "train")      # prepared before by tools/prepare_in_the_wild.py
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from dice_jax.datasets import prepared_records
from dice_jax.datasets.in_the_wild import label_sources
from dice_jax.errors import UserError
from dice_jax.geometry import crop
from dice_jax.geometry.crop import CropBox
from dice_jax.input_pipeline import mirror_sample
from dice_jax.input_pipeline.mixture import Subset
from dice_jax.input_pipeline.schema import IMAGE_SIZE, Example
from dice_jax.io import images

COMMAND = "python -m dice_jax.tools.prepare_in_the_wild --images FOLDER --out DATA_FOLDER (see README, licensed data)"


class InTheWild(prepared_records.PreparedBuilder):
    """Photographs with detected keypoints and the depth of what is seen at them."""

    FIELDS = (
        "image",
        "hand_keypoints_2d",
        "head_keypoints_2d",
        "hand_keypoints_depth",
        "head_keypoints_depth",
        "subject",
        "scene",
        "source",
    )


def load_split(data_dir: str | Path, split: str, size: int | None = None):
    """The only split of `in_the_wild`, train, for random access.

    Raises:
        UserError: another split, or the data set is not there.
    """
    if split != "train":
        raise UserError(
            f"in_the_wild has no split {split!r}, only train: it has no ground truth to compare with"
        )
    source = _DepthOnlyWhereKnown(prepared_records.open_split(InTheWild, data_dir, split, COMMAND))
    return Subset(source, np.arange(min(size, len(source)))) if size else source


class _DepthOnlyWhereKnown:
    """A data set prepared without depth has zeros in its place; as a label that is not there, they
    are masked.
    """

    def __init__(self, source):
        self._source = source

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> Example:
        sample = self._source[index]
        names = ("hand_keypoints_depth", "head_keypoints_depth")
        known = any(np.any(sample[name]) for name in names)
        return (
            sample
            if known
            else {name: value for name, value in sample.items() if name not in names}
        )


@dataclasses.dataclass(frozen=True)
class Photo:
    """A photograph and the name its files go by: its path below the folder of photographs, without
    ending.
    """

    path: Path
    name: str


@dataclasses.dataclass(frozen=True)
class Sources:
    """Where labels come from.

    Attributes:
        hand, face, depth: see `detectors`; `depth` may be None.
        hand_spec: the text that named `hand`.
        whole: squash the whole photograph into the crop, as the authors do, instead of cutting
            around hand and face.
        mirror_left: mirror photographs of left hands where `hand` tells them; else the sample is
            taken as it is.
    """

    hand: label_sources.Plugin
    face: label_sources.Plugin
    depth: label_sources.Plugin | None
    hand_spec: str
    whole: bool = False
    mirror_left: bool = True


def find_photos(folder: str | Path) -> list[Photo]:
    """The photographs of a folder and those below, by name.

    Raises:
        FileNotFoundError: there are none.
    """
    folder = Path(folder).expanduser()
    paths = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in images.SUFFIXES and path.is_file()
    )
    if not paths:
        raise FileNotFoundError(
            f"no photographs in {folder} (looked for {', '.join(images.SUFFIXES)})"
        )
    return [Photo(path, path.relative_to(folder).with_suffix("").as_posix()) for path in paths]


def make_example(photo: Photo, number: int, sources: Sources) -> Example | str:
    """The sample of a photograph, or why it has to be left out.

    Args:
        photo: what to read.
        number: of the photograph in its folder; stands for the subject and the scene, which nobody
            knows.
        sources: of the labels.
    """
    try:
        image = images.read_image(photo.path)
        hand = sources.hand(image, photo.name)
        is_right = label_sources.sees_right_hand(sources.hand_spec)
        face = sources.face(image, photo.name)
        if hand is None or face is None:
            return "no hand found" if hand is None else "no face found"
        depth = sources.depth(image, photo.name) if sources.depth else np.zeros((2, 2))
    except ValueError as error:
        return str(error)
    if depth is None:
        return "no depth"

    height, width = image.shape[:2]
    if sources.whole:
        picture = cv2.resize(image, (IMAGE_SIZE, IMAGE_SIZE), interpolation=cv2.INTER_AREA)
        to_crop = lambda points: points * [IMAGE_SIZE / width, IMAGE_SIZE / height]
    else:
        box = around(hand, face, height, width)
        picture, to_crop = crop.cut(image, box, IMAGE_SIZE), box.to_crop
    example = {"image": picture, "subject": number, "scene": number, "source": photo.path.name}
    for name, points in (("hand", hand), ("head", face)):
        known = points[:, 2:] > 0
        moved = np.column_stack([to_crop(points[:, :2]), points[:, 2]])
        example[f"{name}_keypoints_2d"] = np.where(known, moved, 0.0).astype(np.float32)
        example[f"{name}_keypoints_depth"] = sample_depth(
            depth, points / [width, height, 1]
        ).astype(np.float32)
    if is_right is False and sources.mirror_left:
        example = mirror_sample.mirrored(example, head=None)
    return example


def around(
    hand: Float[np.ndarray, "21 3"], face: Float[np.ndarray, "68 3"], height: int, width: int
) -> CropBox:
    """The square around the hand and the whole head, which reaches beyond its landmarks."""
    corners = lambda points: np.concatenate(
        [points[points[:, 2] > 0, :2].min(0), points[points[:, 2] > 0, :2].max(0)]
    )
    head = corners(face)
    head = head + (head[2] - head[0]) * np.array([-0.15, -0.65, 0.15, 0.1])
    return crop.inside(crop.box_around(np.stack([corners(hand), head]), 1.1), height, width)


def sample_depth(
    depth: Float[np.ndarray, "h w"], points: Float[np.ndarray, "K 3"]
) -> Float[np.ndarray, "K"]:
    """Depth of what is seen at keypoints whose x and y are shares of the picture; 0 where unknown
    or outside.
    """
    inside = (points[:, 2] > 0) & ((points[:, :2] >= 0) & (points[:, :2] < 1)).all(-1)
    size = np.array(depth.shape[::-1])
    column, row = np.clip(np.floor(points[:, :2] * size).astype(int), 0, size - 1).T
    return np.where(inside, depth[row, column], 0.0)


def review_picture(example: Example) -> UInt8[np.ndarray, "224 224 3"]:
    """The crop with its keypoints: the hand's blue, the face's red, darker the farther away."""
    picture = example["image"].copy()
    for name, color in (("head", (255, 40, 40)), ("hand", (60, 110, 255))):
        depth = example[f"{name}_keypoints_depth"]
        near, far = (depth[depth > 0].min(), depth.max()) if (depth > 0).any() else (0.0, 0.0)
        for (x, y, confidence), z in zip(example[f"{name}_keypoints_2d"], depth):
            if confidence > 0:
                shade = 1 - 0.6 * (z - near) / (far - near) if far > near else 1.0
                cv2.circle(picture, (int(x), int(y)), 2, [int(shade * c) for c in color], -1)
    return picture
