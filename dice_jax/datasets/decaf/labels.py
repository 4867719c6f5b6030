"""From Decaf's files to this project's labels: camera axes, smplx's parameters, the 224 crop."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.spatial.transform import Rotation

from dice_jax.body_models.flame import pose_head
from dice_jax.body_models.lbs import BodyModel
from dice_jax.body_models.mano import OPENPOSE_FROM_MANO, pose_hand
from dice_jax.datasets.decaf.files import Take, View
from dice_jax.input_pipeline.schema import IMAGE_SIZE
from dice_jax.structs import HandParams, HeadParams

_BATCH = 64  # frames posed at a time


class Centers(NamedTuple):
    """What posing the body models says about each frame, world axes, meters.

    Attributes:
        hand_root, head_root: rest positions of the root joints.
        head_centroid: of the head before Decaf's own rigid transform.
        hand_keypoints: OpenPose order.
    """

    hand_root: Float[np.ndarray, "n 3"]
    head_root: Float[np.ndarray, "n 3"]
    head_centroid: Float[np.ndarray, "n 3"]
    hand_keypoints: Float[np.ndarray, "n 21 3"]


def centers(take: Take, hand: BodyModel, head: BodyModel) -> Centers:
    """Poses every frame of a take once; what is not finite gives NaN."""
    rows = [
        _centers(*(_rows(take, slice(start, start + _BATCH))), hand, head)
        for start in range(0, len(take.frames), _BATCH)
    ]
    stacked = (
        np.concatenate(values).astype(np.float64)[: len(take.frames)] for values in zip(*rows)
    )
    return Centers(*stacked)


def camera_params(
    take: Take, found: Centers, extrinsic: Float[np.ndarray, "4 4"]
) -> dict[str, np.ndarray]:
    """The parameters of hand and head in camera axes, under the schema's names, (n, size).

    Decaf poses FLAME with a root rotation R0 (the first half of `pose_params`, about the root joint
    r) and no neck, and turns the result by R1 (`global_orient`) about its centroid c: x = R1 R0 (v
    - r) + R1 (r - c) + c + transl. In smplx's form that is one rotation R1 R0 about r and another
    transl. MANO is used as it is.
    """
    turn, shift = extrinsic[:3, :3], extrinsic[:3, 3]
    rotation = lambda vectors: Rotation.from_rotvec(vectors).as_matrix()
    apply = lambda matrices, points: np.einsum("...ij,...j->...i", matrices, points)
    vector = lambda matrices: Rotation.from_matrix(matrices).as_rotvec()

    hand_root, head_root, centroid, _ = found
    own, outer = rotation(take.head["pose_params"][:, :3]), rotation(take.head["global_orient"])
    head_place = apply(outer, head_root - centroid) + centroid + take.head["transl"]
    return dict(
        hand_betas=take.hand["betas"],
        hand_pose=take.hand["hand_pose"],
        hand_global_orient=vector(turn @ rotation(take.hand["global_orient"])),
        hand_transl=apply(turn, hand_root + take.hand["transl"]) + shift - hand_root,
        head_betas=take.head["shape_params"],
        head_expression=take.head["expression_params"],
        head_global_orient=vector(turn @ outer @ own),
        head_neck_pose=np.zeros_like(take.head["transl"]),
        head_jaw_pose=take.head["pose_params"][:, 3:],
        head_transl=apply(turn, head_place) + shift - head_root,
    )


def deformation_rotation(take: Take) -> tuple[Float[np.ndarray, "n 3 3"], float | None]:
    """From canonical deformations to world axes, and how far (degrees, at most) the two sources of
    it are apart.

    Decaf's file of transforms where it is there, else the head's `global_orient`, which should be
    the same.
    """
    from_params = Rotation.from_rotvec(take.head["global_orient"])
    if take.canonical_rotation is None:
        return from_params.as_matrix(), None
    apart = (Rotation.from_matrix(take.canonical_rotation) * from_params.inv()).magnitude()
    return take.canonical_rotation, float(np.degrees(apart.max()))


def finite_frames(take: Take) -> Bool[np.ndarray, "n"]:
    """The frames all of whose parameters are numbers."""
    arrays = [*take.head.values(), *take.hand.values()]
    return np.isfinite(np.concatenate(arrays, axis=1)).all(1)


def keypoint_order(
    take: Take, found: Centers, view: View, camera: str, max_frames: int = 200
) -> tuple[Int[np.ndarray, "21"], dict[str, float]]:
    """Decides from the data in which order Decaf's hand keypoints are.

    Returns:
        `order` with `keypoints[order]` in OpenPose's order, and the median distance in pixels
        between the detections and the projected keypoints under either order. NaN where there was
        nothing to compare.
    """
    extrinsic, intrinsic = take.cameras[camera]
    usable = np.flatnonzero(finite_frames(take) & (take.frames < len(view.hand_keypoints)))
    usable = usable[:: max(1, len(usable) // max_frames)]
    points = found.hand_keypoints[usable] @ extrinsic[:3, :3].T + extrinsic[:3, 3]
    projected = points @ intrinsic.T
    projected = projected[..., :2] / projected[..., 2:]
    detected = np.asarray(view.hand_keypoints[take.frames[usable]], np.float64)
    native = np.array(OPENPOSE_FROM_MANO)
    orders, errors = {"openpose": np.arange(21), "native": native}, {}
    for name, order in orders.items():
        chosen = detected[:, order]
        sure = np.isfinite(chosen).all(-1) & (chosen[..., 2] > 0)
        distances = np.linalg.norm(chosen[..., :2] - projected, axis=-1)[sure]
        errors[name] = float(np.median(distances)) if len(distances) else float("nan")
    best = "native" if errors["native"] < errors["openpose"] else "openpose"
    return orders[best], errors


def crop_left(
    head_box: Float[np.ndarray, "4"], hand_box: Float[np.ndarray, "4"], width: int, height: int
) -> int:
    """Left edge of the reference's crop: a square of the frame's full height around the mean of
    both boxes.

    A box that was not found (negative or NaN) counts as the whole frame.
    """
    sides = [
        (box[0], box[2]) if is_box(box) else (0.0, float(width)) for box in (head_box, hand_box)
    ]
    center = min(max(float(np.mean(sides)), height / 2), width - height / 2)
    return int(center - height / 2)


def is_box(box: Float[np.ndarray, "4"]) -> bool:
    """Whether a detection box is one."""
    return bool(
        np.isfinite(box).all()
        and (np.asarray(box) >= 0).all()
        and box[2] > box[0]
        and box[3] > box[1]
    )


def to_crop(
    points: Float[np.ndarray, "K 2"], left: float, top: float, side: float
) -> Float[np.ndarray, "K 2"]:
    """From pixels of the frame to pixels of the 224 crop."""
    return (points - [left, top]) * (IMAGE_SIZE / side)


def keypoints_in_crop(
    keypoints: Float[np.ndarray, "K 3"], left: float, top: float, side: float
) -> Float[np.ndarray, "K 3"]:
    """Detected keypoints in the crop; what was not detected becomes zeros, of confidence 0."""
    keypoints = np.asarray(keypoints, np.float64)
    found = np.isfinite(keypoints).all(-1) & (keypoints[:, 2] > 0)
    moved = np.column_stack(
        [to_crop(keypoints[:, :2], left, top, side), np.minimum(keypoints[:, 2], 1.0)]
    )
    return np.where(found[:, None], moved, 0.0)


def _rows(take: Take, rows: slice):
    """Parameters of some frames, filled up to one batch size: the program is compiled once."""
    pad = lambda values: np.pad(values, ((0, _BATCH - len(values)), (0, 0)), mode="edge").astype(
        np.float32
    )
    head = {name: pad(values[rows]) for name, values in take.head.items()}
    hand = {name: pad(values[rows]) for name, values in take.hand.items()}
    zeros = np.zeros((_BATCH, 3), np.float32)
    head_params = HeadParams(
        betas=head["shape_params"],
        expression=head["expression_params"],
        global_orient=head["pose_params"][:, :3],
        neck_pose=zeros,
        jaw_pose=head["pose_params"][:, 3:],
        transl=zeros,
    )
    return HandParams(
        hand["betas"], hand["global_orient"], hand["hand_pose"], hand["transl"]
    ), head_params


@jax.jit
def _centers(hand_params, head_params, hand, head):
    posed_hand, posed_head = pose_hand(hand, hand_params), pose_head(head, head_params)
    # The root joint of a posed model is where it rests, plus transl.
    return (
        posed_hand.joints[:, 0] - hand_params.transl,
        posed_head.joints[:, 0],
        posed_head.vertices.mean(1),
        jnp.asarray(posed_hand.keypoints),
    )
