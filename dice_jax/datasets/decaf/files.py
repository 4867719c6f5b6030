"""Reads the Decaf data set as its authors distribute it: `DecafDataset/{train,test}/...`.

One take per subject. Array sizes: n frames, m rows of the file.

  videos/{sub}/{cam}.mp4, segmentations/{sub}/{cam}.mp4
  params/{sub}/params_smoothed.pkl      frame -> {head: {...}, right_hand: {...}}
  deformations/{sub}/deforms.npy        (m, 5023, 3) canonical axes, meters
  contacts/{sub}/contacts_{head,rh}.npy (m, 5023), (m, 778)
  {head,right_hand}_keys/{sub}/{cam}.npy, {head,right_hand}_bbs/{sub}/{cam}.npy
  cameras/{sub}/cameras.pkl             cam -> {extrinsic 4x4 world to camera, intrinsic 3x3}
  cutIDs/{sub}.pkl                      pairs of frames with a cut between them (optional)
  assets/transformation/{mode}/{sub}_RT_FromCanToRef_wo_poseparams.npy (optional)
  assets/{FLAME_,}neck_idx.npy          (optional)
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int, Num

from dice_jax import user_folders
from dice_jax.constants import (
    NUM_HAND_KEYPOINTS,
    NUM_HAND_VERTICES,
    NUM_HEAD_KEYPOINTS,
    NUM_HEAD_VERTICES,
)
from dice_jax.errors import UserError
from dice_jax.untrusted_files import npy, pickles

CAMERAS = ("084", "100", "102", "108", "110", "111", "121", "122")
# The protocol of the paper: split -> subjects and views.
PROTOCOL = {
    "train": (("S2", "S4", "S5", "S7", "S8"), CAMERAS),
    "test": (("S1", "S3", "S6"), ("108",)),
}
_NEVER_RECORDED = {("S5", "111")}
_HEAD_SIZES = dict(transl=3, global_orient=3, shape_params=100, pose_params=6, expression_params=50)
_HAND_SIZES = dict(betas=10, global_orient=3, hand_pose=45, transl=3)

Parameters = Mapping[str, Float[np.ndarray, "n _"]]
CameraMatrices = tuple[Float[np.ndarray, "4 4"], Float[np.ndarray, "3 3"]]


@dataclasses.dataclass(frozen=True)
class Surface:
    """Deformations and contacts of one subject; the arrays are memory-mapped.

    Attributes:
        deformations: canonical axes, meters.
        head_contact, hand_contact: 0 or 1.
    """

    deformations: Float[np.ndarray, "m 5023 3"]
    head_contact: Num[np.ndarray, "m_head 5023"]
    hand_contact: Num[np.ndarray, "m_hand 778"]


@dataclasses.dataclass(frozen=True)
class Take:
    """The data of one subject that do not depend on the camera; n frames.

    Attributes:
        mode, subject: "train" or "test"; "S1" to "S8".
        frames: numbers of the frames that have parameters.
        head, hand: parameters under Decaf's names, (n, size).
        surface: deformations and contacts of all frames of the video.
        cameras: extrinsic and intrinsic matrix of each camera.
        cuts: first frame after each cut.
        canonical_rotation: from canonical to world axes; None where the file is missing.
    """

    mode: str
    subject: str
    frames: Int[np.ndarray, "n"]
    head: Parameters
    hand: Parameters
    surface: Surface
    cameras: Mapping[str, CameraMatrices]
    cuts: Int[np.ndarray, "_"]
    canonical_rotation: Float[np.ndarray, "n 3 3"] | None


@dataclasses.dataclass(frozen=True)
class View:
    """Detected keypoints and boxes of one camera, in pixels of the full frame.

    Attributes:
        head_keypoints, hand_keypoints: x, y and confidence.
        head_boxes, hand_boxes: left, top, right, bottom; negative or NaN: not detected.
    """

    head_keypoints: Num[np.ndarray, "m_head_keys 68 3"]
    hand_keypoints: Num[np.ndarray, "m_hand_keys 21 3"]
    head_boxes: Num[np.ndarray, "m_head_boxes 4"]
    hand_boxes: Num[np.ndarray, "m_hand_boxes 4"]


def find_root(folder: str | os.PathLike) -> Path:
    """Returns the folder that contains `train` and `test`: `folder` itself or its `DecafDataset`.

    Raises:
        FileNotFoundError: neither of them is an unpacked DecafDataset.
    """
    folder = user_folders.expand(folder)
    for root in (folder, folder / "DecafDataset"):
        if any((root / mode / "params").is_dir() for mode in PROTOCOL):
            return root
    raise FileNotFoundError(
        f"{folder} is not an unpacked DecafDataset: neither train/params nor test/params is in it"
    )


def cameras_of(root: Path, mode: str, subject: str) -> tuple[list[str], list[str]]:
    """The views of a subject in the protocol: those with a video, and those without one."""
    recorded = [camera for camera in PROTOCOL[mode][1] if (subject, camera) not in _NEVER_RECORDED]
    present = [camera for camera in recorded if video_path(root, mode, subject, camera).is_file()]
    return present, [camera for camera in recorded if camera not in present]


def video_path(root: Path, mode: str, subject: str, camera: str, kind: str = "videos") -> Path:
    """The path of a video; `kind` is "videos" or "segmentations"."""
    return root / mode / kind / subject / f"{camera}.mp4"


def read_take(root: Path, mode: str, subject: str) -> Take:
    """Reads and checks the files of a subject that do not depend on the camera.

    Raises:
        FileNotFoundError: a file is missing.
        UserError: a file has the wrong contents; the message names it.
    """
    base = root / mode
    path = base / "params" / subject / "params_smoothed.pkl"
    with _contents_of(path):
        frames, head, hand = _parameters(pickles.read_pickle(path), path)
    cameras_path = base / "cameras" / subject / "cameras.pkl"
    with _contents_of(cameras_path):
        cameras = _cameras(pickles.read_pickle(cameras_path), cameras_path)
    return Take(
        mode,
        subject,
        frames,
        head,
        hand,
        surface=read_surface(root, mode, subject),
        cameras=cameras,
        cuts=_cuts(base / "cutIDs" / f"{subject}.pkl"),
        canonical_rotation=_canonical_rotation(root, mode, subject, frames),
    )


def read_surface(root: Path, mode: str, subject: str) -> Surface:
    """Opens the deformations and contacts of a subject.

    Raises:
        FileNotFoundError: a file is missing.
        UserError: a file has the wrong contents; the message names it.
    """
    base = root / mode
    contacts = base / "contacts" / subject
    return Surface(
        read_array(base / "deformations" / subject / "deforms.npy", (NUM_HEAD_VERTICES, 3)),
        read_array(contacts / "contacts_head.npy", (NUM_HEAD_VERTICES,)),
        read_array(contacts / "contacts_rh.npy", (NUM_HAND_VERTICES,)),
    )


def read_view(root: Path, mode: str, subject: str, camera: str) -> View:
    """Opens the detections of one camera.

    Raises:
        FileNotFoundError: a file is missing.
        UserError: a file has the wrong contents; the message names it.
    """
    path = lambda kind: root / mode / kind / subject / f"{camera}.npy"
    return View(
        read_array(path("head_keys"), (NUM_HEAD_KEYPOINTS, 3)),
        read_array(path("right_hand_keys"), (NUM_HAND_KEYPOINTS, 3)),
        read_array(path("head_bbs"), (4,)),
        read_array(path("right_hand_bbs"), (4,)),
    )


def neck_ids(root: Path) -> tuple[Int[np.ndarray, "_"], Int[np.ndarray, "_"]]:
    """Vertices without deformation, and vertices without contact.

    Each file stands in for the other where one is missing; both arrays are empty without files.
    """
    paths = (root / "assets" / name for name in ("FLAME_neck_idx.npy", "neck_idx.npy"))
    deformation, contact = (
        _vertex_ids(path) if path.is_file() else np.zeros(0, int) for path in paths
    )
    return (
        deformation if len(deformation) else contact,
        contact if len(contact) else deformation,
    )


@contextlib.contextmanager
def _contents_of(path: Path) -> Iterator[None]:
    """Reports what is no number, no list or no entry in a file whose contents are looked at."""
    try:
        yield
    except UserError:
        raise
    except (TypeError, ValueError, OverflowError, LookupError, AttributeError) as error:
        reason = " ".join(str(error).split())[:100]
        raise UserError(f"{path} does not have the contents of Decaf's ({reason})") from None


def _vertex_ids(path: Path) -> Int[np.ndarray, "_"]:
    ids = npy.read_npy(path)
    if ids.dtype.kind not in "iuf" or not np.isin(ids, np.arange(NUM_HEAD_VERTICES)).all():
        raise UserError(f"{path} does not hold vertex numbers of a head: get it again")
    return ids.astype(int).ravel()


def read_array(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """Memory-maps an array whose rows have `shape`.

    Raises:
        FileNotFoundError: the file is missing.
        UserError: it is not a plain array, or its rows have another shape.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing")
    array = npy.map_npy(path)
    if array.shape[1:] != shape:
        raise UserError(f"{path} has shape {array.shape}, its rows should be {shape}")
    return array


def _parameters(
    contents: Any, path: Path
) -> tuple[Int[np.ndarray, "n"], dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Frame numbers, head parameters and hand parameters of `params_smoothed.pkl`."""
    contents = dict(enumerate(contents)) if isinstance(contents, list) else contents
    if not isinstance(contents, dict) or not contents:
        raise UserError(f"{path} is not a dictionary of frames")
    frames = sorted(contents, key=int)

    def stacked(part: str, sizes: dict[str, int]) -> dict[str, np.ndarray]:
        arrays = {name: np.full((len(frames), size), np.nan) for name, size in sizes.items()}
        for row, frame in enumerate(frames):
            entry = contents[frame].get(part) if isinstance(contents[frame], dict) else None
            for name, size in sizes.items():
                value = None if entry is None else entry.get(name)
                if value is None or np.size(value) != size:
                    raise UserError(f"{path}: frame {frame} has no {part} {name} of {size} numbers")
                arrays[name][row] = np.ravel(value)
        return arrays

    numbers = np.array([int(frame) for frame in frames])
    return numbers, stacked("head", _HEAD_SIZES), stacked("right_hand", _HAND_SIZES)


def _canonical_rotation(
    root: Path, mode: str, subject: str, frames: Int[np.ndarray, "n"]
) -> Float[np.ndarray, "n 3 3"] | None:
    name = f"{subject}_RT_FromCanToRef_wo_poseparams.npy"
    path = root / "assets" / "transformation" / mode / name
    if not path.is_file():
        return None
    transforms = read_array(path, (4, 4))
    if len(transforms) <= frames.max():
        raise UserError(f"{path} has {len(transforms)} frames, the parameters go to {frames.max()}")
    return np.asarray(transforms[frames, :3, :3], np.float64)


def _cameras(contents: Any, path: Path) -> dict[str, CameraMatrices]:
    cameras = {}
    for name, entry in contents.items() if isinstance(contents, dict) else ():
        entry = entry if isinstance(entry, dict) else {}
        extrinsic, intrinsic = (
            np.asarray(entry.get(kind, ()), np.float64) for kind in ("extrinsic", "intrinsic")
        )
        is_camera = extrinsic.shape in ((4, 4), (3, 4)) and intrinsic.ndim == 2
        if not is_camera or min(intrinsic.shape) < 3:
            raise UserError(f"{path}: camera {name} has no extrinsic 4 x 4 and intrinsic 3 x 3")
        if extrinsic.shape == (3, 4):
            extrinsic = np.concatenate([extrinsic, [[0, 0, 0, 1]]])
        if not np.allclose(extrinsic[:3, :3] @ extrinsic[:3, :3].T, np.eye(3), atol=1e-3):
            raise UserError(f"{path}: the extrinsic of camera {name} is not a rotation")
        cameras[str(name).zfill(3)] = extrinsic, intrinsic[:3, :3]
    if not cameras:
        raise UserError(f"{path} is not a dictionary of cameras")
    return cameras


def _cuts(path: Path) -> Int[np.ndarray, "_"]:
    """The later frame of each pair; empty without a file."""
    if not path.is_file():
        return np.zeros(0, int)
    with _contents_of(path):
        pairs = pickles.read_pickle(path)
        return np.array(sorted(int(pair[1]) for pair in pairs), int)
