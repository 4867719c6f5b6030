"""The Decaf data set as its authors hand it out: `DecafDataset/{train,test}/...`, one take for each
subject.

videos/{sub}/{cam}.mp4, segmentations/{sub}/{cam}.mp4
params/{sub}/params_smoothed.pkl      frame -> {head: {...}, right_hand: {...}}
deformations/{sub}/deforms.npy        (n, 5023, 3) canonical, meters
contacts/{sub}/contacts_{head,rh}.npy (n, 5023), (n, 778)
{head,right_hand}_keys/{sub}/{cam}.npy, {head,right_hand}_bbs/{sub}/{cam}.npy
cameras/{sub}/cameras.pkl             cam -> {extrinsic 4x4 world to camera, intrinsic 3x3}
cutIDs/{sub}.pkl                      pairs of frames between which a cut lies
assets/transformation/{mode}/{sub}_RT_FromCanToRef_wo_poseparams.npy, assets/{FLAME_,}neck_idx.npy
(optional)
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from dice_jax.errors import UserError
from dice_jax.untrusted_files import pickles

CAMERAS = ("084", "100", "102", "108", "110", "111", "121", "122")
# The paper's protocol: split -> subjects and views.
PROTOCOL = {
    "train": (("S2", "S4", "S5", "S7", "S8"), CAMERAS),
    "test": (("S1", "S3", "S6"), ("108",)),
}
_ABSENT = {("S5", "111")}  # never recorded
_HEAD = dict(transl=3, global_orient=3, shape_params=100, pose_params=6, expression_params=50)
_HAND = dict(betas=10, global_orient=3, hand_pose=45, transl=3)


@dataclasses.dataclass(frozen=True)
class Take:
    """What one subject's files say, whatever the camera; arrays are per frame.

    Attributes:
        mode, subject: "train" or "test"; "S1" to "S8".
        frames: numbers of the frames that have parameters.
        head, hand: parameters by Decaf's names, (n, size).
        deformations: canonical, meters; read from disk as needed.
        head_contact, hand_contact: 0 or 1; the same.
        cameras: extrinsic and intrinsic matrices by name.
        cuts: first frame after each cut.
        canonical_rotation: (n, 3, 3) from canonical to world axes, or None where the file is not
            there.
    """

    mode: str
    subject: str
    frames: Int[np.ndarray, "n"]
    head: Mapping[str, Float[np.ndarray, "n _"]]
    hand: Mapping[str, Float[np.ndarray, "n _"]]
    deformations: Float[np.ndarray, "m 5023 3"]
    head_contact: np.ndarray
    hand_contact: np.ndarray
    cameras: Mapping[str, tuple[Float[np.ndarray, "4 4"], Float[np.ndarray, "3 3"]]]
    cuts: Int[np.ndarray, "_"]
    canonical_rotation: Float[np.ndarray, "n 3 3"] | None


@dataclasses.dataclass(frozen=True)
class View:
    """What one camera's files say: detected keypoints and boxes in pixels of the full frame."""

    head_keypoints: Float[np.ndarray, "m 68 3"]
    hand_keypoints: Float[np.ndarray, "m 21 3"]
    head_boxes: Float[np.ndarray, "m 4"]
    hand_boxes: Float[np.ndarray, "m 4"]


def find_root(folder: str | os.PathLike) -> Path:
    """The folder that holds `train` and `test`: the given one, or DecafDataset in it.

    Raises:
        FileNotFoundError: neither is.
    """
    folder = Path(folder).expanduser()
    for root in (folder, folder / "DecafDataset"):
        if any((root / mode / "params").is_dir() for mode in PROTOCOL):
            return root
    raise FileNotFoundError(
        f"{folder} is not an unpacked DecafDataset: neither train/params nor test/params is in it"
    )


def cameras_of(root: Path, mode: str, subject: str) -> tuple[list[str], list[str]]:
    """The protocol's views of a subject: those with a video, and those whose video is missing
    though it exists.
    """
    wanted = [camera for camera in PROTOCOL[mode][1] if (subject, camera) not in _ABSENT]
    there = [camera for camera in wanted if video_path(root, mode, subject, camera).is_file()]
    return there, [camera for camera in wanted if camera not in there]


def video_path(root: Path, mode: str, subject: str, camera: str, kind: str = "videos") -> Path:
    """`kind` is "videos" or "segmentations"."""
    return root / mode / kind / subject / f"{camera}.mp4"


def read_take(root: Path, mode: str, subject: str) -> Take:
    """Reads and checks what does not depend on the camera.

    Raises:
        FileNotFoundError: a file is missing.
        UserError: a file does not hold what it should; it is named.
    """
    base = root / mode
    path = base / "params" / subject / "params_smoothed.pkl"
    frames, head, hand = _parameters(pickles.read_pickle(path), path)
    arrays = {
        "deformations": (base / "deformations" / subject / "deforms.npy", (5023, 3)),
        "head_contact": (base / "contacts" / subject / "contacts_head.npy", (5023,)),
        "hand_contact": (base / "contacts" / subject / "contacts_rh.npy", (778,)),
    }
    arrays = {name: read_array(path, shape) for name, (path, shape) in arrays.items()}
    rotation_path = (
        root / "assets" / "transformation" / mode / f"{subject}_RT_FromCanToRef_wo_poseparams.npy"
    )
    rotation = None
    if rotation_path.is_file():
        rotation = read_array(rotation_path, (4, 4))
        if len(rotation) <= frames.max():
            raise UserError(
                f"{rotation_path} has {len(rotation)} frames, the parameters go to {frames.max()}"
            )
        rotation = np.asarray(rotation[frames, :3, :3], np.float64)
    cameras_path = base / "cameras" / subject / "cameras.pkl"
    return Take(
        mode,
        subject,
        frames,
        head,
        hand,
        **arrays,
        canonical_rotation=rotation,
        cameras=_cameras(pickles.read_pickle(cameras_path), cameras_path),
        cuts=_cuts(base / "cutIDs" / f"{subject}.pkl"),
    )


def read_view(root: Path, take: Take, camera: str) -> View:
    """Reads one camera's detections.

    Raises:
        FileNotFoundError: a file is missing.
        UserError: a file does not hold what it should; it is named.
    """
    path = lambda kind: root / take.mode / kind / take.subject / f"{camera}.npy"
    return View(
        read_array(path("head_keys"), (68, 3)),
        read_array(path("right_hand_keys"), (21, 3)),
        read_array(path("head_bbs"), (4,)),
        read_array(path("right_hand_bbs"), (4,)),
    )


def neck_ids(root: Path) -> tuple[Int[np.ndarray, "_"], Int[np.ndarray, "_"]]:
    """Vertices without deformation, and without contact; empty where the files are not there."""
    paths = (root / "assets" / name for name in ("FLAME_neck_idx.npy", "neck_idx.npy"))
    deformation, contact = (
        np.load(p).astype(int).ravel() if p.is_file() else np.zeros(0, int) for p in paths
    )
    return (deformation if len(deformation) else contact), (
        contact if len(contact) else deformation
    )


def read_array(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """An array of n rows of `shape`, mapped from disk and not read as a whole."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing")
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise UserError(f"{path} is not a plain array: {error}") from None
    if array.shape[1:] != shape:
        raise UserError(f"{path} has shape {array.shape}, its rows should be {shape}")
    return array


def _parameters(contents: Any, path: Path):
    contents = dict(enumerate(contents)) if isinstance(contents, list) else contents
    if not isinstance(contents, dict) or not contents:
        raise UserError(f"{path} is not a dictionary of frames")
    frames = sorted(contents, key=int)
    stacked = []
    for part, sizes in (("head", _HEAD), ("right_hand", _HAND)):
        arrays = {name: np.full((len(frames), size), np.nan) for name, size in sizes.items()}
        for row, frame in enumerate(frames):
            entry = contents[frame].get(part) if isinstance(contents[frame], dict) else None
            for name, size in sizes.items():
                value = None if entry is None else entry.get(name)
                if value is None or np.size(value) != size:
                    raise UserError(f"{path}: frame {frame} has no {part} {name} of {size} numbers")
                arrays[name][row] = np.ravel(value)
        stacked.append(arrays)
    return np.array([int(frame) for frame in frames]), *stacked


def _cameras(contents: Any, path: Path):
    cameras = {}
    for name, entry in contents.items() if isinstance(contents, dict) else ():
        extrinsic = (
            np.asarray(entry.get("extrinsic"), np.float64)
            if isinstance(entry, dict)
            else np.zeros(0)
        )
        intrinsic = (
            np.asarray(entry.get("intrinsic"), np.float64)
            if isinstance(entry, dict)
            else np.zeros(0)
        )
        if (
            extrinsic.shape not in ((4, 4), (3, 4))
            or intrinsic.ndim != 2
            or min(intrinsic.shape) < 3
        ):
            raise UserError(f"{path}: camera {name} has no extrinsic 4 x 4 and intrinsic 3 x 3")
        if extrinsic.shape == (3, 4):
            extrinsic = np.concatenate([extrinsic, [[0, 0, 0, 1]]])
        if not np.allclose(extrinsic[:3, :3] @ extrinsic[:3, :3].T, np.eye(3), atol=1e-3):
            raise UserError(f"{path}: the extrinsic of camera {name} is no rotation")
        cameras[str(name).zfill(3)] = extrinsic, intrinsic[:3, :3]
    if not cameras:
        raise UserError(f"{path} is not a dictionary of cameras")
    return cameras


def _cuts(path: Path) -> Int[np.ndarray, "_"]:
    """The later frame of each pair; no file, no cuts."""
    if not path.is_file():
        return np.zeros(0, int)
    pairs = pickles.read_pickle(path)
    return np.array(sorted(int(pair[1]) for pair in pairs), int)
