"""The data set `decaf`: the paper's training and test data, from the authors' files.

  from dice_jax.datasets.decaf.dataset import load_split
  source = load_split("~/data", "train")      # prepared before by tools/prepare_decaf.py

Each subject's parameters are turned into camera axes once; then every video is decoded once, from
beginning to end.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from dice_jax.datasets import prepared_records
from dice_jax.datasets.decaf import files as decaf_tree
from dice_jax.datasets.decaf import labels as decaf_labels
from dice_jax.errors import UserError
from dice_jax.input_pipeline.mixture import Subset, evenly_spaced
from dice_jax.input_pipeline.schema import IMAGE_SIZE, Example

COMMAND = "python -m dice_jax.tools.prepare_decaf --decaf FOLDER --out DATA_FOLDER (see README, licensed data)"
VALIDATION_SIZE = 256
BYTES_PER_SAMPLE = 40_000  # JPEG, mask, labels
FRAMES_PER_PART = 256


class Decaf(prepared_records.PreparedBuilder):
    """Frames of Decaf with meshes, contacts and deformations in camera axes; splits as in the
    paper.
    """

    FIELDS = (
        "image",
        "foreground",
        "hand_keypoints_2d",
        "head_keypoints_2d",
        "hand_betas",
        "hand_global_orient",
        "hand_pose",
        "hand_transl",
        "head_betas",
        "head_expression",
        "head_global_orient",
        "head_neck_pose",
        "head_jaw_pose",
        "head_transl",
        "deformation_ids",
        "deformation_values",
        "hand_contact",
        "head_contact",
        "hand_box",
        "head_box",
        "subject",
        "scene",
        "view",
        "frame",
        "sequence",
    )


@dataclasses.dataclass(frozen=True)
class Job:
    """One video to prepare; `labels` is the file that `write_labels` wrote for it."""

    root: Path
    mode: str
    subject: str
    camera: str
    labels: Path
    parts: Path
    crops: Path | None = None
    """The authors' own crops, `Decaf_imgs_single`, if there."""

    @property
    def name(self) -> str:
        return f"{self.mode}/{self.subject}/{self.camera}"


def load_split(data_dir: str | Path, split: str, size: int | None = None):
    """A split of `decaf` for random access: train, test, or validation, which is an evenly spaced
    part of the test split.

    Raises:
        UserError: the data set is not there.
    """
    if split != "validation":
        source = prepared_records.open_split(Decaf, data_dir, split, COMMAND)
        return Subset(source, np.arange(min(size, len(source)))) if size else source
    source = prepared_records.open_split(Decaf, data_dir, "test", COMMAND)
    return Subset(source, evenly_spaced(len(source), size or VALIDATION_SIZE))


def write_labels(
    job: Job, take: decaf_tree.Take, found: decaf_labels.Centers, order: np.ndarray, every: int
) -> None:
    """Writes what the worker of `job` needs of a subject's parameters."""
    extrinsic, _ = take.cameras[job.camera]
    rotation, _ = decaf_labels.deformation_rotation(take)
    rows = np.flatnonzero(take.frames % every == 0)
    params = decaf_labels.camera_params(take, found, extrinsic) if len(rows) else {}
    arrays = {name: values[rows].astype(np.float32) for name, values in params.items()}
    job.labels.parent.mkdir(parents=True, exist_ok=True)
    np.savez(
        job.labels,
        frames=take.frames[rows],
        order=order,
        finite=decaf_labels.finite_frames(take)[rows],
        deformation_rotation=(extrinsic[:3, :3] @ rotation)[rows],
        sequence=np.searchsorted(take.cuts, take.frames[rows], side="right"),
        **{f"params/{name}": values for name, values in arrays.items()},
    )


def parts_of(job: Job, num_frames: int) -> list[Path]:
    """The files of a video's parts, in order."""
    count = -(-num_frames // FRAMES_PER_PART)
    return [
        job.parts / job.mode / f"{job.subject}-{job.camera}-{number:05d}.msgpack"
        for number in range(count)
    ]


def prepare_video(job: Job) -> None:
    """Writes the parts of one video that are not there yet, each with the frames left out by
    reason.

    Raises:
        FileNotFoundError, UserError: a file is missing or not what it should be; it is named.
    """
    cv2.setNumThreads(1)  # the processes share the cores
    with np.load(job.labels) as archive:
        labels = {name: archive[name] for name in archive.files}
    frames = labels["frames"]
    paths = parts_of(job, len(frames))
    if all(path.exists() for path in paths):
        return
    files = _Files(job)
    for number, path in enumerate(paths):
        rows = range(number * FRAMES_PER_PART, min((number + 1) * FRAMES_PER_PART, len(frames)))
        if path.exists():
            continue
        left_out = collections.defaultdict(list)
        examples = list(_examples(job, files, labels, rows, left_out))
        prepared_records.write_part(path, examples, left_out)


class _Video:
    """Frames of a video in ascending order; what lies between is skipped without being converted."""

    def __init__(self, path: Path):
        self._capture, self._at, self._time = cv2.VideoCapture(str(path)), -1, 0.0
        if not self._capture.isOpened():
            raise UserError(f"{path} is missing or cannot be decoded")
        get = lambda name: self._capture.get(getattr(cv2, f"CAP_PROP_{name}"))
        self.width, self.height = int(get("FRAME_WIDTH")), int(get("FRAME_HEIGHT"))
        self._length, self._rate = int(get("FRAME_COUNT")), get("FPS")

    def read(self, frame: int) -> np.ndarray | str:
        """The frame, BGR, or why it cannot be had."""
        while self._at < frame and self._advance():
            pass
        if self._at < frame >= self._length:
            return "beyond the end of the video"
        done, image = self._capture.retrieve() if self._at == frame else (False, None)
        return image if done and image is not None else "frame cannot be decoded"

    def _advance(self) -> bool:
        """Goes to the next frame that can be decoded; False at the end."""
        for tried in range(max(1, self._length - 1 - self._at)):
            if self._capture.grab():
                before, self._time = self._time, self._capture.get(cv2.CAP_PROP_POS_MSEC)
                # After damaged frames the decoder's own count is too low: the clock tells how many
                # there were.
                apart = round((self._time - before) * self._rate / 1000)
                self._at += max(1, apart) if tried else 1
                return True
        return False


class _Files:
    """The arrays and videos of one job, opened and checked."""

    def __init__(self, job: Job):
        base = job.root / job.mode
        self.view = decaf_tree.View(
            *(
                decaf_tree.read_array(base / kind / job.subject / f"{job.camera}.npy", shape)
                for kind, shape in (
                    ("head_keys", (68, 3)),
                    ("right_hand_keys", (21, 3)),
                    ("head_bbs", (4,)),
                    ("right_hand_bbs", (4,)),
                )
            )
        )
        self.deformations = decaf_tree.read_array(
            base / "deformations" / job.subject / "deforms.npy", (5023, 3)
        )
        contacts = base / "contacts" / job.subject
        self.head_contact = decaf_tree.read_array(contacts / "contacts_head.npy", (5023,))
        self.hand_contact = decaf_tree.read_array(contacts / "contacts_rh.npy", (778,))
        self.neck_deformation, self.neck_contact = decaf_tree.neck_ids(job.root)
        video = lambda kind: decaf_tree.video_path(
            job.root, job.mode, job.subject, job.camera, kind
        )
        self.video, self.masks = _Video(video("videos")), _Video(video("segmentations"))
        arrays = (
            *dataclasses.astuple(self.view),
            self.deformations,
            self.head_contact,
            self.hand_contact,
        )
        self.length = min(len(array) for array in arrays)
        self.crops = job.crops


def _examples(job: Job, files: _Files, labels, rows: range, left_out) -> Iterator[Example]:
    for row in rows:
        frame = int(labels["frames"][row])
        if not labels["finite"][row]:
            left_out["parameters are not finite"].append(frame)
        elif frame >= files.length:
            left_out["deformations, contacts or detections end before"].append(frame)
        else:
            pictures = _pictures(job, files, frame)
            if isinstance(pictures, str):
                left_out[pictures].append(frame)
                continue
            example = _example(job, files, labels, row, frame, *pictures)
            if example is None:
                left_out["deformations are not finite"].append(frame)
                continue
            yield example


def _pictures(job: Job, files: _Files, frame: int):
    """The crop, its foreground, and (left, top, side) of the crop in the frame; or why there is
    none.
    """
    left = decaf_labels.crop_left(
        files.view.head_boxes[frame],
        files.view.hand_boxes[frame],
        files.video.width,
        files.video.height,
    )
    top, side = 0, files.video.height
    image = _ready_crop(job, frame, "cropped_images_with_bg", "jpg")
    mask = _ready_crop(job, frame, "cropped_masks", "png")
    if image is None:
        image = files.video.read(frame)
        if isinstance(image, str):
            return image
        image = image[top : top + side, left : left + side]
    if mask is None:
        mask = files.masks.read(frame)
        if isinstance(mask, str):
            return f"segmentation: {mask}"
        mask = mask[top : top + side, left : left + side]
    size = (IMAGE_SIZE, IMAGE_SIZE)
    shrink = lambda picture: cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    return shrink(image)[..., ::-1], shrink(mask).max(-1) > 127, (left, top, side)


def _ready_crop(job: Job, frame: int, kind: str, suffix: str):
    if job.crops is None:
        return None
    path = job.crops / job.mode / kind / job.subject / job.camera / f"{frame:05d}.{suffix}"
    return cv2.imread(str(path), cv2.IMREAD_COLOR) if path.is_file() else None


def _example(job, files, labels, row, frame, image, foreground, crop) -> Example | None:
    left, top, side = crop
    deformations = np.array(files.deformations[frame], np.float64)
    deformations[files.neck_deformation] = 0.0
    if not np.isfinite(deformations).all():
        return None
    head_contact = np.array(files.head_contact[frame]) > 0.5
    head_contact[files.neck_contact] = False

    def box(values):
        if not decaf_labels.is_box(values):
            return np.zeros(4, np.float32)
        return decaf_labels.to_crop(np.reshape(values, (2, 2)), left, top, side).ravel()

    subject = int(job.subject[1:])
    hand_keypoints = files.view.hand_keypoints[frame][labels["order"]]
    return dict(
        image=image,
        foreground=foreground,
        hand_keypoints_2d=decaf_labels.keypoints_in_crop(hand_keypoints, left, top, side),
        head_keypoints_2d=decaf_labels.keypoints_in_crop(
            files.view.head_keypoints[frame], left, top, side
        ),
        **{
            name.removeprefix("params/"): values[row]
            for name, values in labels.items()
            if name.startswith("params/")
        },
        deformations=deformations @ labels["deformation_rotation"][row].T,
        hand_contact=np.array(files.hand_contact[frame]) > 0.5,
        head_contact=head_contact,
        hand_box=box(files.view.hand_boxes[frame]),
        head_box=box(files.view.head_boxes[frame]),
        subject=subject,
        scene=subject * 1_000_000 + frame,
        view=int(job.camera),
        frame=frame,
        sequence=int(labels["sequence"][row]),
    )
