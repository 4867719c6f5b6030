"""DecafDataset in miniature: the documented files, real videos among them, from random labels that are known."""

import dataclasses
import pickle

import cv2
import jax
import jax.numpy as jnp
import numpy as np
from scipy.spatial.transform import Rotation

from dice_jax import body_models
from dice_jax.body_models import load_hand, load_head
from dice_jax.body_models.mano import OPENPOSE_FROM_MANO
from dice_jax.structs import HandParams, HeadParams

pose_hand, pose_head = jax.jit(body_models.pose_hand), jax.jit(body_models.pose_head)
WIDTH, HEIGHT, FOCAL = 320, 180, 230.0
NECK = np.arange(40, 80)  # vertices that the tree's neck_idx files name


@dataclasses.dataclass
class Truth:
  """World axes, one row for each frame; `cameras` as in the tree."""

  hand_vertices: np.ndarray
  head_vertices: np.ndarray
  deformed_head_vertices: np.ndarray
  hand_keypoints: np.ndarray
  head_keypoints: np.ndarray
  hand_contact: np.ndarray
  head_contact: np.ndarray
  cameras: dict


def grey(frame):
  """The brightness that tells a frame's number through the compression."""
  return 40 + 25 * frame


def write_take(root, mode, subject, cameras, *, frames=5, seed=0, native_order=False, with_transforms=True):
  """Writes one subject; returns what its labels mean."""
  rng = np.random.default_rng(seed)
  params = [_frame(rng) for _ in range(frames)]
  truth, deforms = _truth(params, rng, {name: _camera(i) for i, name in enumerate(cameras)})
  base = root / mode
  save = lambda path, array: (path.parent.mkdir(parents=True, exist_ok=True), np.save(path, array))
  dump = lambda path, content: (path.parent.mkdir(parents=True, exist_ok=True), path.write_bytes(pickle.dumps(content)))
  dump(base / f"params/{subject}/params_smoothed.pkl", dict(enumerate(params)))
  save(base / f"deformations/{subject}/deforms.npy", deforms)
  for name, labels in (("head", truth.head_contact), ("rh", truth.hand_contact)):
    save(base / f"contacts/{subject}/contacts_{name}.npy", labels.astype(float))
  cameras_file = {name: dict(zip(("extrinsic", "intrinsic"), matrices)) for name, matrices in truth.cameras.items()}
  dump(base / f"cameras/{subject}/cameras.pkl", cameras_file)
  dump(base / f"cutIDs/{subject}.pkl", [(1, 2)])
  if with_transforms:
    transforms = np.tile(np.eye(4), (frames, 1, 1))
    transforms[:, :3, :3] = Rotation.from_rotvec([p["head"]["global_orient"] for p in params]).as_matrix()
    save(root / f"assets/transformation/{mode}/{subject}_RT_FromCanToRef_wo_poseparams.npy", transforms)
  for name in ("FLAME_neck_idx", "neck_idx"):
    save(root / f"assets/{name}.npy", NECK)
  for name in cameras:
    hand, head = (_detections(points, truth.cameras[name]) for points in (truth.hand_keypoints, truth.head_keypoints))
    if native_order:
      hand = hand[:, np.argsort(OPENPOSE_FROM_MANO)]
    save(base / f"right_hand_keys/{subject}/{name}.npy", hand)
    save(base / f"head_keys/{subject}/{name}.npy", head)
    for part, keys in (("right_hand", hand), ("head", head)):
      save(base / f"{part}_bbs/{subject}/{name}.npy", np.concatenate([keys[..., :2].min(1), keys[..., :2].max(1)], -1))
    write_videos(base, subject, name, frames, head)
  return truth


def write_videos(base, subject, name, frames, head_keypoints):
  for kind in ("videos", "segmentations"):
    path = base / kind / subject / f"{name}.mp4"
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 30, (WIDTH, HEIGHT))
    for frame in range(frames):
      picture = np.full((HEIGHT, WIDTH, 3), grey(frame) if kind == "videos" else 0, np.uint8)
      center = head_keypoints[frame, :, :2].mean(0).astype(int)
      cv2.circle(picture, [int(x) for x in center], 30, (30, 30, 220) if kind == "videos" else (255, 255, 255), -1)
      writer.write(picture)
    writer.release()


def _frame(rng):
  normal = lambda size, scale: rng.normal(0, scale, size)
  return {
    "head": dict(
      transl=normal(3, 0.02), global_orient=np.array([np.pi, 0, 0]) + normal(3, 0.2), shape_params=normal(100, 0.8),
      pose_params=np.concatenate([[-0.129, 0.066, 0.008], np.abs(normal(3, 0.1))]), expression_params=normal(50, 0.5)),
    "right_hand": dict(
      transl=np.array([0.0, 0.02, -0.15]) + normal(3, 0.02), global_orient=normal(3, 0.8), betas=normal(10, 0.8),
      hand_pose=normal(45, 0.2)),
  }  # fmt: skip


def _camera(number):
  rotation = Rotation.from_rotvec([0.05, 0.3 * number, -0.1]).as_matrix()
  extrinsic = np.eye(4)
  extrinsic[:3, :3], extrinsic[:3, 3] = rotation, [0.01, -0.02, 0.94]
  return extrinsic, np.array([[FOCAL, 0, 161.1], [0, FOCAL, 90.1], [0, 0, 1]])


def _truth(params, rng, cameras):
  """Poses the open models the way Decaf's own script poses MANO and FLAME: a call, then a rigid transform."""
  hand, head = load_hand(), load_head()
  stack = lambda part, name: np.stack([p[part][name] for p in params])
  posed_hand = pose_hand(hand, HandParams(*(
    jnp.asarray(stack("right_hand", name), jnp.float32) for name in ("betas", "global_orient", "hand_pose", "transl"))))
  pose, zeros = stack("head", "pose_params"), np.zeros((len(params), 3))
  posed = pose_head(head, HeadParams(*(jnp.asarray(value, jnp.float32) for value in (
    stack("head", "shape_params"), stack("head", "expression_params"), pose[:, :3], zeros, pose[:, 3:], zeros))))
  turn = Rotation.from_rotvec(stack("head", "global_orient")).as_matrix()
  vertices, landmarks = np.asarray(posed.vertices, np.float64), np.asarray(posed.keypoints, np.float64)
  center, shift = vertices.mean(1, keepdims=True), stack("head", "transl")[:, None]
  move = lambda points: np.einsum("nij,nvj->nvi", turn, points - center) + center + shift
  deforms = np.zeros((len(params), 5023, 3))
  head_contact, hand_contact = np.zeros((len(params), 5023), bool), np.zeros((len(params), 778), bool)
  for row in range(len(params)):
    ids = rng.choice(5023, 60, replace=False)
    deforms[row, ids] = rng.normal(0, 0.004, (60, 3))
    deforms[row, NECK[:5]] = 0.01  # must be taken away
    head_contact[row, ids[:20]] = head_contact[row, NECK[:3]] = hand_contact[row, rng.choice(778, 15)] = True
  kept = deforms.copy()
  kept[:, NECK] = 0
  head_vertices = move(vertices)
  return Truth(
    np.asarray(posed_hand.vertices, np.float64), head_vertices,
    head_vertices - np.einsum("nij,nvj->nvi", turn, kept), np.asarray(posed_hand.keypoints, np.float64),
    move(landmarks), hand_contact, head_contact, cameras), deforms.astype(np.float32)  # fmt: skip


def _detections(points, camera):
  extrinsic, intrinsic = camera
  projected = (points @ extrinsic[:3, :3].T + extrinsic[:3, 3]) @ intrinsic.T
  return np.concatenate([projected[..., :2] / projected[..., 2:], np.full((*points.shape[:-1], 1), 0.9)], -1)
