"""A miniature DecafDataset: the documented files and real videos, made from solved scenes.

The images are not renderings. Each frame has its own random pattern, so that a test can find it
again, and a mask that covers the projected hand and head.
"""

import dataclasses
import pickle
from pathlib import Path

import cv2
import jax
import numpy as np
from scipy.spatial.transform import Rotation

from dice_jax.body_models import load_hand, load_head, pose_head
from dice_jax.body_models.mano import OPENPOSE_FROM_MANO
from dice_jax.constants import CROP_SIZE
from dice_jax.structs import HeadParams
from dice_jax.synthetic.scene_solver import Scene
from support import solved_scenes

# The crop-sized images are in the middle of wider frames.
WIDTH, HEIGHT, MARGIN = 400, CROP_SIZE, 88
FOCAL_LENGTH = 500.0
# The inner root rotation of FLAME, which Decaf's parameters have besides `global_orient`.
INNER_ROTATION = np.array([-0.129, 0.066, 0.008])
CUT = 2  # the first frame after a cut


@dataclasses.dataclass
class GroundTruth:
    """What the files of a take mean, in world axes; one row per frame.

    Attributes:
        cameras: extrinsic and intrinsic matrix of each camera.
        images, masks: of each camera, (frames, 224, 224, 3) and (frames, 224, 224).
    """

    hand_vertices: np.ndarray
    head_vertices: np.ndarray
    deformed_head_vertices: np.ndarray
    hand_keypoints: np.ndarray
    head_keypoints: np.ndarray
    hand_contact: np.ndarray
    head_contact: np.ndarray
    cameras: dict
    images: dict
    masks: dict


def neck() -> np.ndarray:
    """The vertices in the neck_idx files."""
    return np.flatnonzero(np.asarray(load_head().region("neck")))


def write_take(
    root: Path,
    mode: str,
    subject: str,
    cameras: tuple[str, ...],
    *,
    frames: int = solved_scenes.COUNT,
    native_order: bool = False,
    with_transforms: bool = True,
) -> GroundTruth:
    """Writes the files of one subject.

    Args:
        root: the DecafDataset.
        mode, subject, cameras: such as "train", "S2", ("084", "108").
        frames: their number; each shows another scene.
        native_order: write the hand keypoints in MANO's order.
        with_transforms: write the optional file of canonical rotations.
    """
    seed = int(subject[1:])
    written = [_frame(scene, (seed, i)) for i, scene in enumerate(solved_scenes.load()[:frames])]
    params, canonical_deformations, labels = zip(*written)
    stacked = {name: np.stack([frame[name] for frame in labels]) for name in labels[0]}
    matrices = {name: (_extrinsic(i), _intrinsic()) for i, name in enumerate(cameras)}
    targets = GroundTruth(**stacked, cameras=matrices, images={}, masks={})
    for number, name in enumerate(cameras):
        targets.masks[name] = np.stack([_mask(targets, i, matrices[name]) for i in range(frames)])
        targets.images[name] = np.stack(
            [image(mask, (seed, number, i)) for i, mask in enumerate(targets.masks[name])]
        )

    base = root / mode
    _pickle(base / f"params/{subject}/params_smoothed.pkl", dict(enumerate(params)))
    _save(base / f"deformations/{subject}/deforms.npy", np.float32(canonical_deformations))
    _save(base / f"contacts/{subject}/contacts_head.npy", targets.head_contact.astype(float))
    _save(base / f"contacts/{subject}/contacts_rh.npy", targets.hand_contact.astype(float))
    as_dict = lambda extrinsic, intrinsic: {"extrinsic": extrinsic, "intrinsic": intrinsic}
    cameras_file = {name: as_dict(*pair) for name, pair in matrices.items()}
    _pickle(base / f"cameras/{subject}/cameras.pkl", cameras_file)
    _pickle(base / f"cutIDs/{subject}.pkl", [(CUT - 1, CUT)])
    if with_transforms:
        transforms = np.tile(np.eye(4), (frames, 1, 1))
        vectors = [frame["head"]["global_orient"] for frame in params]
        transforms[:, :3, :3] = Rotation.from_rotvec(vectors).as_matrix()
        name = f"{subject}_RT_FromCanToRef_wo_poseparams.npy"
        _save(root / "assets/transformation" / mode / name, transforms)
    for name in ("FLAME_neck_idx", "neck_idx"):
        _save(root / f"assets/{name}.npy", neck())
    for name, camera in matrices.items():
        _write_detections(base, subject, name, targets, camera, native_order)
        write_video(base / "videos" / subject / f"{name}.mp4", targets.images[name])
        masks = np.uint8(255) * targets.masks[name]
        write_video(base / "segmentations" / subject / f"{name}.mp4", masks)
    return targets


def write_video(path: Path, images: np.ndarray) -> None:
    """Writes crop-sized images, gray or RGB, into the middle of wide frames."""
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 30, (WIDTH, HEIGHT))
    shape = (CROP_SIZE, CROP_SIZE, 3)
    padding = ((0, 0), (MARGIN, WIDTH - CROP_SIZE - MARGIN), (0, 0))
    for pixels in images:
        pixels = np.broadcast_to(np.uint8(pixels).reshape(CROP_SIZE, CROP_SIZE, -1), shape)
        frame = np.pad(pixels, padding, mode="edge")
        writer.write(np.ascontiguousarray(frame[..., ::-1]))
    writer.release()


def image(mask: np.ndarray, seed) -> np.ndarray:
    """A random smooth pattern, brighter inside the mask."""
    noise = np.random.default_rng(seed).integers(0, 180, (8, 8, 3), dtype=np.uint8)
    pattern = cv2.resize(noise, mask.shape[::-1], interpolation=cv2.INTER_CUBIC)
    return np.where(mask[..., None], pattern // 2 + 120, pattern // 2).astype(np.uint8)


def project(points: np.ndarray, camera: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Pixels of the whole frame."""
    extrinsic, intrinsic = camera
    projected = (points @ extrinsic[:3, :3].T + extrinsic[:3, 3]) @ intrinsic.T
    return projected[..., :2] / projected[..., 2:]


def fill_hull(canvas: np.ndarray, pixels: np.ndarray, value: float) -> None:
    """Fills the convex hull of `pixels`, in place."""
    hull = cv2.convexHull(np.round(pixels).astype(np.int32))
    cv2.fillConvexPoly(canvas, hull, value)


def _extrinsic(number: int) -> np.ndarray:
    """From world to camera: 0.94 m in front of a head that faces z, with y up."""
    extrinsic = np.eye(4)
    rotation = Rotation.from_rotvec([0.05, 0.3 * number, -0.1]).as_matrix()
    extrinsic[:3, :3] = np.diag([1.0, -1.0, -1.0]) @ rotation
    extrinsic[:3, 3] = [0.01, -0.02, 0.94]
    return extrinsic


def _intrinsic() -> np.ndarray:
    center = CROP_SIZE / 2
    return np.array([[FOCAL_LENGTH, 0, center + MARGIN], [0, FOCAL_LENGTH, center], [0, 0, 1]])


def _frame(scene: Scene, seed):
    """One frame of a scene that is randomly rotated and shifted in the world.

    Returns:
        Its parameters and canonical deformations as Decaf writes them, and their meaning in world
        axes.
    """
    rng = np.random.default_rng(seed)
    rotation = Rotation.from_rotvec(rng.normal(0, 0.15, 3)).as_matrix()
    shift = rng.normal(0, 0.02, 3)
    world = lambda points: points @ rotation.T + shift

    hand, hand_root = scene.hand_params, _rest_root(load_hand(), scene.person.hand_betas)
    hand_transl = np.asarray(hand.transl, np.float64)
    scene_orient = Rotation.from_rotvec(np.asarray(hand.global_orient, np.float64)).as_matrix()
    root, centroid = _inner_root_and_centroid(scene)
    outer = rotation @ Rotation.from_rotvec(INNER_ROTATION).as_matrix().T
    params = {
        "head": dict(
            transl=world(root) - outer @ (root - centroid) - centroid,
            expression_params=scene.face.expression,
            global_orient=Rotation.from_matrix(outer).as_rotvec(),
            shape_params=scene.person.head_betas,
            pose_params=np.concatenate([INNER_ROTATION, scene.face.jaw_pose]),
        ),
        "right_hand": dict(
            transl=world(hand_root + hand_transl) - hand_root,
            global_orient=Rotation.from_matrix(rotation @ scene_orient).as_rotvec(),
            betas=scene.person.hand_betas,
            hand_pose=np.asarray(hand.hand_pose, np.float64),
        ),
    }
    deformations, head_contact = scene.deformations @ rotation.T, scene.head_contact.copy()
    canonical_deformations = deformations @ outer
    # The neck mask has to remove these.
    canonical_deformations[neck()[:5]], head_contact[neck()[:3]] = 0.01, True
    deformations[neck()] = 0
    labels = dict(
        hand_vertices=world(scene.hand_vertices),
        head_vertices=world(scene.head_vertices),
        deformed_head_vertices=world(scene.head_vertices) - deformations,
        hand_keypoints=world(scene.hand_keypoints),
        head_keypoints=world(scene.head_keypoints),
        hand_contact=scene.hand_contact,
        head_contact=head_contact,
    )
    return params, canonical_deformations, labels


_pose_head = jax.jit(pose_head)


def _inner_root_and_centroid(scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    """Root joint and centroid of the head before Decaf's second rigid transform."""
    zeros = np.zeros(3)
    values = (
        scene.person.head_betas,
        scene.face.expression,
        INNER_ROTATION,
        zeros,
        scene.face.jaw_pose,
        zeros,
    )
    head = _pose_head(load_head(), HeadParams(*(np.float32(value) for value in values)))
    return np.asarray(head.joints[0], np.float64), np.asarray(head.vertices, np.float64).mean(0)


def _rest_root(model, betas: np.ndarray) -> np.ndarray:
    """The rest position of the root joint."""
    shapedirs = np.asarray(model.shapedirs, np.float64)
    template = np.asarray(model.v_template, np.float64) + shapedirs @ betas
    return np.asarray(model.J_regressor, np.float64)[0] @ template


def _mask(targets: GroundTruth, frame: int, camera) -> np.ndarray:
    """The convex hulls of hand and head in the crop-sized image."""
    mask = np.zeros((CROP_SIZE, CROP_SIZE), np.uint8)
    for vertices in (targets.deformed_head_vertices[frame], targets.hand_vertices[frame]):
        fill_hull(mask, project(vertices, camera) - [MARGIN, 0], 1)
    return mask.astype(bool)


def _write_detections(
    base: Path, subject: str, name: str, targets: GroundTruth, camera, native_order: bool
) -> None:
    for part, points in (("right_hand", targets.hand_keypoints), ("head", targets.head_keypoints)):
        confidence = np.full((*points.shape[:-1], 1), 0.9)
        keypoints = np.concatenate([project(points, camera), confidence], -1)
        low, high = keypoints[..., :2].min(1).clip(0), keypoints[..., :2].max(1).clip(1)
        if part == "right_hand" and native_order:
            keypoints = keypoints[:, np.argsort(OPENPOSE_FROM_MANO)]
        _save(base / f"{part}_keys/{subject}/{name}.npy", keypoints)
        _save(base / f"{part}_bbs/{subject}/{name}.npy", np.concatenate([low, high], -1))


def _save(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, array)


def _pickle(path: Path, contents) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(contents))
