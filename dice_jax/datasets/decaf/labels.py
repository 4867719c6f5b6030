"""Converts Decaf's labels to those of this project: camera axes, smplx parameters, crop pixels."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Bool, Float, Int, Num
from scipy.spatial.transform import Rotation

from dice_jax.body_models.flame import pose_head
from dice_jax.body_models.lbs import BodyModel
from dice_jax.body_models.mano import OPENPOSE_FROM_MANO, pose_hand
from dice_jax.constants import CROP_SIZE
from dice_jax.datasets.decaf.files import Take, View
from dice_jax.structs import HandParams, HeadParams

_BATCH = 64  # frames posed at a time
_KEPT = 0.8  # share of detected keypoints with a confidence of 0.5 or more, at least


class Centers(NamedTuple):
    """Points of the posed body models in each frame, world axes, meters.

    Attributes:
        hand_root, head_root: rest positions of the root joints.
        head_centroid: mean head vertex before Decaf's second rigid transform.
        hand_keypoints: OpenPose order.
    """

    hand_root: Float[np.ndarray, "n 3"]
    head_root: Float[np.ndarray, "n 3"]
    head_centroid: Float[np.ndarray, "n 3"]
    hand_keypoints: Float[np.ndarray, "n 21 3"]


def centers(take: Take, hand: BodyModel, head: BodyModel) -> Centers:
    """Poses the body models in every frame of a take; non-finite parameters give NaN."""
    count = len(take.frames)
    batches = [
        _centers(*_params(take, slice(start, start + _BATCH)), hand, head)
        for start in range(0, count, _BATCH)
    ]
    return Centers(*(np.concatenate(rows).astype(np.float64)[:count] for rows in zip(*batches)))


def camera_params(
    take: Take, points: Centers, extrinsic: Float[np.ndarray, "4 4"]
) -> dict[str, Float[np.ndarray, "n _"]]:
    """Converts the parameters of hand and head to camera axes.

    Decaf poses FLAME with a root rotation R0 (the first half of `pose_params`, about the root joint
    r) and without neck pose. It then rotates the result by R1 (`global_orient`) about its centroid
    c: x = R1 R0 (v - r) + R1 (r - c) + c + transl. In the form of smplx this is one rotation R1 R0
    about r and another transl. MANO's parameters already have that form.

    Args:
        take: parameters in world axes.
        points: of the same take, from `centers`.
        extrinsic: world to camera.

    Returns:
        Arrays under the names of `schema.FEATURES`.
    """
    to_camera, shift = extrinsic[:3, :3], extrinsic[:3, 3]
    rotation = lambda vectors: Rotation.from_rotvec(vectors).as_matrix()
    apply = lambda matrices, points: np.einsum("...ij,...j->...i", matrices, points)
    vector = lambda matrices: Rotation.from_matrix(matrices).as_rotvec()

    hand_root, head_root, centroid, _ = points
    inner, outer = rotation(take.head["pose_params"][:, :3]), rotation(take.head["global_orient"])
    posed_head_root = apply(outer, head_root - centroid) + centroid + take.head["transl"]
    return dict(
        hand_betas=take.hand["betas"],
        hand_pose=take.hand["hand_pose"],
        hand_global_orient=vector(to_camera @ rotation(take.hand["global_orient"])),
        hand_transl=apply(to_camera, hand_root + take.hand["transl"]) + shift - hand_root,
        head_betas=take.head["shape_params"],
        head_expression=take.head["expression_params"],
        head_global_orient=vector(to_camera @ outer @ inner),
        head_neck_pose=np.zeros_like(take.head["transl"]),
        head_jaw_pose=take.head["pose_params"][:, 3:],
        head_transl=apply(to_camera, posed_head_root) + shift - head_root,
    )


def deformation_rotation(take: Take) -> tuple[Float[np.ndarray, "n 3 3"], float | None]:
    """Rotations from the canonical axes of the deformations to world axes.

    Decaf's optional file of transforms contains them. The head's `global_orient` should be equal
    and is used where that file is missing.

    Returns:
        The rotations, and the largest angle between the two sources in degrees; None without file.
    """
    from_params = Rotation.from_rotvec(take.head["global_orient"])
    if take.canonical_rotation is None:
        return from_params.as_matrix(), None
    difference = Rotation.from_matrix(take.canonical_rotation) * from_params.inv()
    return take.canonical_rotation, float(np.degrees(np.max(difference.magnitude())))


def finite_frames(take: Take) -> Bool[np.ndarray, "n"]:
    """The frames whose parameters are all finite."""
    values = np.concatenate([*take.head.values(), *take.hand.values()], axis=1)
    return np.all(np.isfinite(values), axis=1)


def keypoint_order(
    take: Take, points: Centers, view: View, camera: str, max_frames: int = 200
) -> tuple[Int[np.ndarray, "21"], dict[str, float]]:
    """Finds the order of Decaf's hand keypoints: OpenPose's or MANO's.

    Args:
        take, points: the posed hands of a subject.
        view: the detections of `camera`.
        camera: the name of the camera.
        max_frames: number of frames to compare.

    Returns:
        `order`, with `keypoints[order]` in OpenPose order; and for each candidate the median
        distance in pixels between detected and projected keypoints, NaN without detections.
    """
    extrinsic, intrinsic = take.cameras[camera]
    usable = np.flatnonzero(finite_frames(take) & (take.frames < len(view.hand_keypoints)))
    usable = usable[:: max(1, len(usable) // max_frames)]
    in_camera = points.hand_keypoints[usable] @ extrinsic[:3, :3].T + extrinsic[:3, 3]
    projected = in_camera @ intrinsic.T
    projected = projected[..., :2] / projected[..., 2:]
    detected = np.asarray(view.hand_keypoints[take.frames[usable]], np.float64)
    orders = {"openpose": np.arange(21), "native": np.array(OPENPOSE_FROM_MANO)}
    errors = {}
    for name, order in orders.items():
        candidate = detected[:, order]
        found = np.isfinite(candidate).all(-1) & (candidate[..., 2] > 0)
        distances = np.linalg.norm(candidate[..., :2] - projected, axis=-1)[found]
        errors[name] = float(np.median(distances)) if len(distances) else float("nan")
    best = "native" if errors["native"] < errors["openpose"] else "openpose"
    return orders[best], errors


def crop_left(
    head_box: Num[np.ndarray, "4"], hand_box: Num[np.ndarray, "4"], width: int, height: int
) -> int:
    """Left edge of the reference's crop in pixels of a frame of `width` x `height`.

    The crop is a square of the full height of the frame, around the mean of both boxes. A box that
    was not detected (negative or NaN) counts as the full frame.
    """
    sides = [
        (box[0], box[2]) if is_box(box) else (0.0, float(width)) for box in (head_box, hand_box)
    ]
    center = min(max(float(np.mean(sides)), height / 2), width - height / 2)
    return int(center - height / 2)


def is_box(box: Num[np.ndarray, "4"]) -> bool:
    """Whether a box was detected: finite, not negative, and not empty."""
    is_valid = np.isfinite(box).all() and (np.asarray(box) >= 0).all()
    return bool(is_valid and box[2] > box[0] and box[3] > box[1])


def to_crop(
    points: Num[np.ndarray, "K 2"], left: float, top: float, side: float
) -> Float[np.ndarray, "K 2"]:
    """Converts pixels of the frame to pixels of the crop, a square that starts at (left, top)."""
    return (points - np.array([left, top])) * (CROP_SIZE / side)


def with_usable_confidences(view: View) -> tuple[View, str]:
    """The detections of a view, with all confidences 1 if their column holds something else.

    A detector keeps most of its keypoints. Where fewer than `_KEPT` of those that it found have a
    confidence of 0.5 or more, or one is outside [0, 1], the column is another number (visibility, a
    depth), which must not weight the losses.

    Args:
        view: of one camera.

    Returns:
        The view, and in words what is wrong with the confidences; "" if nothing is.
    """
    found = {}
    for name in ("head_keypoints", "hand_keypoints"):
        values = np.asarray(getattr(view, name)[..., 2], np.float64)
        found[name] = values[np.isfinite(values) & (values != 0)]
    values = np.concatenate(list(found.values()))
    if not len(values):
        return view, ""
    if values.min() < 0 or values.max() > 1:
        problem = f"the third column of the keypoints goes from {values.min():.3g} to "
        problem += f"{values.max():.3g}, which are no confidences"
    elif (kept := (values >= 0.5).mean()) < _KEPT:
        problem = f"only {kept:.0%} of the keypoints have a third column of 0.5 or more, which "
        problem += "are no confidences"
    else:
        return view, ""
    replaced = {}
    for name in found:
        points = np.array(getattr(view, name), np.float64)
        places = points[..., :2]
        points[..., 2] = (np.isfinite(places) & (places != 0)).any(-1)
        replaced[name] = points
    return dataclasses.replace(view, **replaced), problem


def keypoints_in_crop(
    keypoints: Num[np.ndarray, "K 3"], left: float, top: float, side: float
) -> Float[np.ndarray, "K 3"]:
    """Converts detected keypoints to pixels of the crop; undetected ones become zeros."""
    keypoints = np.asarray(keypoints, np.float64)
    found = np.isfinite(keypoints).all(-1) & (keypoints[:, 2] > 0)
    moved = to_crop(keypoints[:, :2], left, top, side)
    confidence = np.minimum(keypoints[:, 2], 1.0)
    return np.where(found[:, None], np.column_stack([moved, confidence]), 0.0)


def _params(take: Take, rows: slice) -> tuple[HandParams, HeadParams]:
    """Parameters of some frames, padded to one batch size, so that posing compiles only once."""

    def padded(values: np.ndarray) -> Float[np.ndarray, "B _"]:
        missing = _BATCH - len(values)
        return np.pad(values, ((0, missing), (0, 0)), mode="edge").astype(np.float32)

    head = {name: padded(values[rows]) for name, values in take.head.items()}
    hand = {name: padded(values[rows]) for name, values in take.hand.items()}
    zeros = np.zeros((_BATCH, 3), np.float32)
    head_params = HeadParams(
        betas=head["shape_params"],
        expression=head["expression_params"],
        global_orient=head["pose_params"][:, :3],
        neck_pose=zeros,
        jaw_pose=head["pose_params"][:, 3:],
        transl=zeros,
    )
    return HandParams(**hand), head_params


@jax.jit
def _centers(hand_params: HandParams, head_params: HeadParams, hand: BodyModel, head: BodyModel):
    """See `Centers`; the root joint of a posed model is at its rest position plus transl."""
    posed_hand, posed_head = pose_hand(hand, hand_params), pose_head(head, head_params)
    return (
        posed_hand.joints[:, 0] - hand_params.transl,
        posed_head.joints[:, 0],
        posed_head.vertices.mean(1),
        posed_hand.keypoints,
    )
