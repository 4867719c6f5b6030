"""Random changes of a training sample that keep its labels exact.

Geometric: the image plane is turned, scaled and shifted. A turn of the image about the optical axis
is a turn of the whole scene about the z axis of the camera, so the 3D labels turn with it; scale
and shift are the camera's business alone, under the scaled orthography the network predicts.
Photometric: colors, blur and noise of the pixels. Where a sample says which pixels are the person,
another background; and, for left hands, its mirror image.

A sample is a dict as in `data.schema`, its image decoded to (H, W, 3) uint8 RGB; labels that it
lacks stay absent.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import cv2
import numpy as np
from jaxtyping import Float, UInt8
from scipy.spatial.transform import Rotation

from dice_jax.input_pipeline import mirror_sample, photometric
from dice_jax.input_pipeline.schema import IMAGE_SIZE

_POSE = ("hand_global_orient", "hand_transl", "head_global_orient", "head_transl")
_OF_THE_IMAGE = (
    "foreground",
    "hand_box",
    "head_box",
)  # not carried on: nothing reads them in training


@dataclasses.dataclass(frozen=True)
class Ranges:
    """How far a sample may change. A range of r draws uniformly from [-r, r].

    Attributes:
        rotation: radians, in the image plane.
        scale: share of the size, 0.1 for 0.9 to 1.1.
        shift: pixels of the 224 crop, in x and y.
        color: gain of each channel, brightness, contrast: share of the range, 0.2 for 0.8 to 1.2.
        blur: chance of a Gaussian blur.
        noise: standard deviation of pixel noise at most, in gray levels.
        photometric: chance of one of the reference's changes, see `photometric.one_change`.
        background: chance of another background, where there are some and the sample has a
            foreground mask.
        flip: chance of the mirror image, which shows a left hand.
    """

    rotation: float = 0.0
    scale: float = 0.0
    shift: float = 0.0
    color: float = 0.0
    blur: float = 0.0
    noise: float = 0.0
    photometric: float = 0.0
    background: float = 0.0
    flip: float = 0.0


@dataclasses.dataclass(frozen=True)
class RootJoint:
    """Where the root joint of a body model rests: affine in the shape (and expression)
    coefficients, meters.

    MANO and FLAME turn about this joint, which a turn of the whole scene has to make up for.
    """

    template: Float[np.ndarray, "3"]
    shapedirs: Float[np.ndarray, "3 S"]

    def __call__(self, coefficients: Float[np.ndarray, "S"]) -> Float[np.ndarray, "3"]:
        return self.template + self.shapedirs @ coefficients


def augment(
    sample: Mapping[str, np.ndarray],
    rng: np.random.Generator,
    ranges: Ranges,
    hand_root: RootJoint,
    head_root: RootJoint,
    head_mirror: mirror_sample.HeadMirror | None = None,
    backgrounds: photometric.Backgrounds | None = None,
) -> dict[str, np.ndarray]:
    """A random variant of `sample`, decided by `rng` alone.

    Args:
        sample: see above.
        rng: nothing is drawn for a change whose chance is 0.
        ranges: how far it may change.
        hand_root, head_root: see `move_in_plane`.
        head_mirror: needed for `ranges.flip`.
        backgrounds: needed for `ranges.background`.
    """
    if (
        ranges.background
        and backgrounds
        and "foreground" in sample
        and rng.uniform() < ranges.background
    ):
        behind = backgrounds.draw(len(sample["image"]), rng)
        sample = {
            **sample,
            "image": photometric.replace_background(sample["image"], sample["foreground"], behind),
        }
    if ranges.flip and head_mirror and rng.uniform() < ranges.flip:
        sample = mirror_sample.mirrored(sample, head_mirror)
    angle = rng.uniform(-ranges.rotation, ranges.rotation)
    scale = 1.0 + rng.uniform(-ranges.scale, ranges.scale)
    shift = rng.uniform(-ranges.shift, ranges.shift, size=2)
    sample = move_in_plane(sample, angle, scale, shift, hand_root, head_root)
    image = jitter(sample["image"], rng, ranges)
    if ranges.photometric and rng.uniform() < ranges.photometric:
        image = photometric.one_change(image, rng)
    return {**sample, "image": image}


def move_in_plane(
    sample: Mapping[str, np.ndarray],
    angle: float,
    scale: float,
    shift: Float[np.ndarray, "2"],
    hand_root: RootJoint,
    head_root: RootJoint,
) -> dict[str, np.ndarray]:
    """Turns, scales and shifts the image about its center, and every label with it.

    Args:
        sample: see above.
        angle: radians, from x towards y: clockwise on screen.
        scale: size of things after over before.
        shift: pixels, applied last.
        hand_root: rest position of MANO's root joint.
        head_root: rest position of FLAME's root joint.
    """
    turn = np.array(
        [[np.cos(angle), -np.sin(angle), 0.0], [np.sin(angle), np.cos(angle), 0.0], [0.0, 0.0, 1.0]]
    )
    center = IMAGE_SIZE / 2
    linear = scale * turn[:2, :2]
    offset = center + shift - linear @ [center, center]

    moved = {name: value for name, value in sample.items() if name not in _OF_THE_IMAGE}
    moved["image"] = _warp(sample["image"], linear, offset)
    for name in ("hand_keypoints_2d", "head_keypoints_2d"):
        if name in sample:
            xy, confidence = sample[name][:, :2], sample[name][:, 2:]
            moved[name] = np.concatenate([xy @ linear.T + offset, confidence], axis=1).astype(
                np.float32
            )
    if "deformations" in sample:
        moved["deformations"] = sample["deformations"].astype(np.float32) @ turn.T.astype(
            np.float32
        )
    if not all(name in sample for name in _POSE):
        return moved

    hand_rest = hand_root(sample["hand_betas"])
    head_rest = head_root(np.concatenate([sample["head_betas"], sample["head_expression"]]))
    for part, rest in (("hand", hand_rest), ("head", head_rest)):
        orient = Rotation.from_matrix(turn) * Rotation.from_rotvec(sample[f"{part}_global_orient"])
        moved[f"{part}_global_orient"] = orient.as_rotvec().astype(np.float32)
        # turn (R (v - rest) + rest + t) = (turn R) (v - rest) + rest + t'
        moved[f"{part}_transl"] = (turn @ (sample[f"{part}_transl"] + rest) - rest).astype(
            np.float32
        )
    return moved


def jitter(
    image: UInt8[np.ndarray, "H W 3"], rng: np.random.Generator, ranges: Ranges
) -> UInt8[np.ndarray, "H W 3"]:
    """Other light, other camera: gain by channel, brightness, contrast, blur, noise."""
    gain, brightness, contrast = np.ones(3), 1.0, 1.0
    if ranges.color:
        gain = 1.0 + rng.uniform(-ranges.color, ranges.color, size=3) / 2
        brightness, contrast = 1.0 + rng.uniform(-ranges.color, ranges.color, size=2)
    levels = np.arange(256.0)[:, None] * gain * brightness
    levels = (levels - 127.5) * contrast + 127.5
    image = cv2.LUT(image, np.clip(levels, 0, 255).astype(np.uint8)[None])
    if rng.uniform() < ranges.blur:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.3, 1.5))
    deviation = rng.uniform(0.0, ranges.noise)
    if deviation > 0.5:
        # One byte of randomness a pixel does: sums of two uniforms are close enough to a bell.
        first, second = rng.integers(0, 256, (2, *image.shape), dtype=np.uint8)
        share = deviation / 104.0
        noise = cv2.addWeighted(first, share, second, share, -255 * share, dtype=cv2.CV_16S)
        image = cv2.add(image, noise, dtype=cv2.CV_8U)
    return image


def _warp(
    image: UInt8[np.ndarray, "H W 3"],
    linear: Float[np.ndarray, "2 2"],
    offset: Float[np.ndarray, "2"],
) -> UInt8[np.ndarray, "224 224 3"]:
    """Resamples `image` into the 224 crop; the map is between points of that crop, pixel centers at
    +0.5.
    """
    to_crop = IMAGE_SIZE / image.shape[0]
    matrix = np.column_stack([linear * to_crop, linear @ [to_crop / 2, to_crop / 2] + offset - 0.5])
    if np.abs(matrix - np.eye(2, 3)).max() < 1e-6:
        return image
    smooth = cv2.INTER_AREA if to_crop < 1 else cv2.INTER_LINEAR
    return cv2.warpAffine(
        image, matrix, (IMAGE_SIZE, IMAGE_SIZE), flags=smooth, borderMode=cv2.BORDER_REPLICATE
    )
