"""Random changes of a training sample that keep its labels exact.

Geometric: rotation, scale and shift of the image plane. A rotation of the image about the optical
axis is a rotation of the scene about the z axis of the camera, so the 3D labels rotate with it.
Scale and shift change the camera alone, since the network predicts a scaled orthographic camera.
Photometric: colors, blur and noise. Further: another background where the sample has a foreground
mask, and the mirror image of a sample for left hands.

A sample is a dict as in `input_pipeline.schema`, with its image decoded to (H, W, 3) uint8 RGB.
Missing labels stay missing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float, UInt8
from scipy.spatial.transform import Rotation

from dice_jax.constants import CROP_SIZE
from dice_jax.input_pipeline import mirror_sample, photometric

_POSE = ("hand_global_orient", "hand_transl", "head_global_orient", "head_transl")
_DROPPED = ("foreground", "hand_box", "head_box")  # training does not use them


@dataclasses.dataclass(frozen=True)
class Ranges:
    """How much a sample may change. A range of r draws uniformly from [-r, r].

    Attributes:
        rotation: radians, in the image plane.
        scale: relative; 0.1: 0.9 to 1.1.
        shift: pixels of the crop, in x and y.
        color: gain of each channel, brightness and contrast, relative; 0.2: 0.8 to 1.2.
        blur: probability of a Gaussian blur.
        noise: maximal standard deviation of pixel noise, in gray levels.
        photometric: probability of one of the reference's changes, see `photometric.one_change`.
        background: probability of another background, where the sample has a foreground mask.
        flip: probability of the mirror image, which shows a left hand.
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
    """Rest position of the root joint of a body model, affine in its coefficients, meters.

    MANO and FLAME rotate about this joint. A rotation of the whole scene has to compensate for it.
    """

    template: Float[np.ndarray, "3"]
    shapedirs: Float[np.ndarray, "3 S"]

    def __call__(self, coefficients: Float[np.ndarray, "S"]) -> Float[np.ndarray, "3"]:
        """The rest position for shape (and expression) coefficients."""
        return self.template + self.shapedirs @ coefficients


def augment(
    sample: Mapping[str, Any],
    rng: np.random.Generator,
    ranges: Ranges,
    hand_root: RootJoint,
    head_root: RootJoint,
    head_mirror: mirror_sample.HeadMirror | None = None,
    backgrounds: photometric.Backgrounds | None = None,
) -> dict[str, Any]:
    """Returns a random variant of `sample`, determined by `rng` alone.

    Args:
        sample: see the module.
        rng: a change with probability 0 draws no random numbers.
        ranges: how much the sample may change.
        hand_root, head_root: see `move_in_plane`.
        head_mirror: needed for `ranges.flip`.
        backgrounds: needed for `ranges.background`.
    """
    can_replace = ranges.background > 0 and "foreground" in sample
    if backgrounds and can_replace and rng.uniform() < ranges.background:
        background = backgrounds.draw(len(sample["image"]), rng)
        image = photometric.replace_background(sample["image"], sample["foreground"], background)
        sample = {**sample, "image": image}
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
    sample: Mapping[str, Any],
    angle: float,
    scale: float,
    shift: Float[np.ndarray, "2"],
    hand_root: RootJoint,
    head_root: RootJoint,
) -> dict[str, Any]:
    """Rotates, scales and shifts the image about its center, and every label with it.

    Args:
        sample: see the module.
        angle: radians, from x towards y: clockwise on screen.
        scale: size after the change divided by size before.
        shift: pixels, applied last.
        hand_root: rest position of MANO's root joint.
        head_root: rest position of FLAME's root joint.
    """
    cosine, sine = np.cos(angle), np.sin(angle)
    rotation = np.array([[cosine, -sine, 0.0], [sine, cosine, 0.0], [0.0, 0.0, 1.0]])
    center = np.full(2, CROP_SIZE / 2)
    linear = scale * rotation[:2, :2]
    offset = center + shift - linear @ center

    moved = {name: value for name, value in sample.items() if name not in _DROPPED}
    moved["image"] = _warp(sample["image"], linear, offset)
    for name in ("hand_keypoints_2d", "head_keypoints_2d", "other_hand_keypoints_2d"):
        if name in sample:
            keypoints, confidence = sample[name][:, :2] @ linear.T + offset, sample[name][:, 2:]
            moved[name] = np.concatenate([keypoints, confidence], axis=1).astype(np.float32)
    for name in ("detected_hand_points", "detected_face_points"):
        if name in sample:
            points = sample[name].copy()
            seen = points[:, 3] > 0
            points[seen, :2] = points[seen, :2] @ linear.T + offset
            points[:, 2] *= scale
            moved[name] = points
    if "detected_hand_world" in sample:
        moved["detected_hand_world"] = (sample["detected_hand_world"] @ rotation.T).astype(
            np.float32
        )
    if "focal_length" in sample:
        moved["focal_length"] = np.float32(scale * sample["focal_length"])
    if "camera_center" in sample:
        moved["camera_center"] = (linear @ sample["camera_center"] + offset).astype(np.float32)
    if "deformations" in sample:
        rotation_32 = rotation.astype(np.float32)
        moved["deformations"] = sample["deformations"].astype(np.float32) @ rotation_32.T
    if not all(name in sample for name in _POSE):
        return moved

    hand_rest = hand_root(sample["hand_betas"])
    head_rest = head_root(np.concatenate([sample["head_betas"], sample["head_expression"]]))
    for part, rest in (("hand", hand_rest), ("head", head_rest)):
        before = Rotation.from_rotvec(sample[f"{part}_global_orient"])
        orient = Rotation.from_matrix(rotation) * before
        # T (R (v - rest) + rest + t) = (T R) (v - rest) + rest + t'
        transl = rotation @ (sample[f"{part}_transl"] + rest) - rest
        moved[f"{part}_global_orient"] = orient.as_rotvec().astype(np.float32)
        moved[f"{part}_transl"] = transl.astype(np.float32)
    return moved


def jitter(
    image: UInt8[np.ndarray, "H W 3"], rng: np.random.Generator, ranges: Ranges
) -> UInt8[np.ndarray, "H W 3"]:
    """Changes channel gains, brightness and contrast, and adds blur and noise."""
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
        # Fast: the sum of two uniform bytes, of standard deviation 104, is close to Gaussian noise.
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
    """Resamples `image` into the crop.

    The map x -> linear x + offset is between points of the crop, with pixel centers at +0.5.
    """
    to_crop = CROP_SIZE / image.shape[0]
    half_pixel = np.full(2, to_crop / 2)
    matrix = np.column_stack([linear * to_crop, linear @ half_pixel + offset - 0.5])
    if np.abs(matrix - np.eye(2, 3)).max() < 1e-6:
        return image
    interpolation = cv2.INTER_AREA if to_crop < 1 else cv2.INTER_LINEAR
    size = (CROP_SIZE, CROP_SIZE)
    return cv2.warpAffine(image, matrix, size, flags=interpolation, borderMode=cv2.BORDER_REPLICATE)
