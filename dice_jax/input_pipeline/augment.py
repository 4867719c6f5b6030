"""Random changes of a training sample that keep its labels exact.

Geometric: rotation, scale and shift of the crop. A rotation is one of the camera about the ray
through the center of the crop: the image moves by the homography of that rotation, and the 3D
labels rotate about the ray. The principal point does not move. For a picture without a known
pinhole camera the ray is the z axis. (A rotation of every picture about z would be exact only if
the principal point rotated about the crop as well, to where no lens has it.) Scale and shift change
the camera alone, since the network predicts a scaled orthographic camera.
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
        sample: see the module. With `focal_length` and `camera_center` it is rotated about the ray
            of the crop.
        angle: radians, from x towards y: clockwise on screen.
        scale: size after the change divided by size before.
        shift: pixels, applied last.
        hand_root: rest position of MANO's root joint.
        head_root: rest position of FLAME's root joint.
    """
    camera = _pinhole(sample)
    rotation = _rotation_about(_ray(camera), angle)
    center = np.full(2, CROP_SIZE / 2)
    resize = np.diag([scale, scale, 1.0])
    resize[:2, 2] = center + shift - scale * center
    turn = camera @ rotation @ np.linalg.inv(camera)
    homography = resize @ turn / turn[2, 2]

    moved = {name: value for name, value in sample.items() if name not in _DROPPED}
    moved["image"] = _warp(sample["image"], homography)
    for name in ("hand_keypoints_2d", "head_keypoints_2d", "other_hand_keypoints_2d"):
        if name in sample:
            keypoints, confidence = sample[name][:, :2], sample[name][:, 2:]
            keypoints = _map(homography, keypoints)
            moved[name] = np.concatenate([keypoints, confidence], axis=1).astype(np.float32)
    for part in ("hand", "head"):
        if f"{part}_keypoints_depth" in sample:
            # Depth is along z, from which a rotation about a slanted ray turns the points.
            stretch = sample[f"{part}_keypoints_2d"][:, :2] @ turn[2, :2] + turn[2, 2]
            depth = sample[f"{part}_keypoints_depth"] * stretch
            moved[f"{part}_keypoints_depth"] = depth.astype(np.float32)
    for name in ("detected_hand_points", "detected_face_points"):
        if name in sample:
            points = sample[name].copy()
            seen = points[:, 3] > 0
            points[seen, :2] = _map(homography, points[seen, :2])
            points[:, 2] *= scale
            moved[name] = points
    if "detected_hand_world" in sample:
        # A detector knows the crop alone, whose axis is its own.
        in_plane = _rotation_about(np.array([0.0, 0.0, 1.0]), angle)
        moved["detected_hand_world"] = (sample["detected_hand_world"] @ in_plane.T).astype(
            np.float32
        )
    if "focal_length" in sample:
        moved["focal_length"] = np.float32(scale * sample["focal_length"])
    if "camera_center" in sample:
        moved["camera_center"] = _map(resize, sample["camera_center"]).astype(np.float32)
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


def _pinhole(sample: Mapping[str, Any]) -> Float[np.ndarray, "3 3"]:
    """The camera of a sample, pixels of the crop; without one, a crop in the middle of a picture.

    There the ray is the z axis, and the focal length does not matter.
    """
    focal = float(sample.get("focal_length", np.inf))
    if "camera_center" not in sample or not np.isfinite(focal):
        return np.array([[1.0, 0.0, CROP_SIZE / 2], [0.0, 1.0, CROP_SIZE / 2], [0.0, 0.0, 1.0]])
    x, y = np.asarray(sample["camera_center"], np.float64)
    return np.array([[focal, 0.0, x], [0.0, focal, y], [0.0, 0.0, 1.0]])


def _ray(camera: Float[np.ndarray, "3 3"]) -> Float[np.ndarray, "3"]:
    """Direction of the center of the crop."""
    ray = np.linalg.solve(camera, [CROP_SIZE / 2, CROP_SIZE / 2, 1.0])
    return ray / np.linalg.norm(ray)


def _rotation_about(axis: Float[np.ndarray, "3"], angle: float) -> Float[np.ndarray, "3 3"]:
    return Rotation.from_rotvec(angle * axis).as_matrix()


def _map(
    homography: Float[np.ndarray, "3 3"], points: Float[np.ndarray, "*N 2"]
) -> Float[np.ndarray, "*N 2"]:
    mapped = points @ homography[:, :2].T + homography[:, 2]
    return mapped[..., :2] / mapped[..., 2:]


def _warp(
    image: UInt8[np.ndarray, "H W 3"], homography: Float[np.ndarray, "3 3"]
) -> UInt8[np.ndarray, "224 224 3"]:
    """Resamples `image` into the crop.

    The homography is between points of the crop, with pixel centers at +0.5.
    """
    to_crop = CROP_SIZE / image.shape[0]
    to_points = np.array([[to_crop, 0, to_crop / 2], [0, to_crop, to_crop / 2], [0, 0, 1]])
    to_pixels = np.array([[1, 0, -0.5], [0, 1, -0.5], [0, 0, 1]])
    matrix = to_pixels @ homography @ to_points
    if np.abs(matrix - np.eye(3)).max() < 1e-6:
        return image
    interpolation = cv2.INTER_AREA if to_crop < 1 else cv2.INTER_LINEAR
    size, border = (CROP_SIZE, CROP_SIZE), cv2.BORDER_REPLICATE
    if np.abs(matrix[2, :2]).max() < 1e-12:  # affine: faster
        return cv2.warpAffine(image, matrix[:2], size, flags=interpolation, borderMode=border)
    return cv2.warpPerspective(image, matrix, size, flags=interpolation, borderMode=border)
