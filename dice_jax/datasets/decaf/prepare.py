"""Prepares the videos of Decaf: writes the labels of a video, then its samples in parts.

The parameters of a subject are converted to camera axes once. Each video is then decoded once, from
the first frame to the last, in a process of its own.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Bool, Int, Num, UInt8

from dice_jax.constants import CROP_SIZE
from dice_jax.datasets import prepared_records
from dice_jax.datasets.decaf import files, labels
from dice_jax.errors import UserError
from dice_jax.input_pipeline.schema import Example
from dice_jax.io import atomic, videos
from dice_jax.untrusted_files import npz

VALIDATION_SHARE = 0.02  # of the frames of each training take, from its end
BYTES_PER_SAMPLE = 40_000  # JPEG, mask and labels
FRAMES_PER_PART = 256


@dataclasses.dataclass(frozen=True)
class Job:
    """One video to prepare.

    Attributes:
        root: the DecafDataset.
        mode, subject, camera: as in the file names of Decaf, such as "train", "S2", "084".
        labels: the file that `write_labels` writes for this video.
        parts: the folder of parts.
        crops: the authors' own crops, `Decaf_imgs_single`; None: crop the video.
        frames_per_part: number of frames in a part.
    """

    root: Path
    mode: str
    subject: str
    camera: str
    labels: Path
    parts: Path
    crops: Path | None = None
    frames_per_part: int = FRAMES_PER_PART

    @property
    def name(self) -> str:
        return f"{self.mode}/{self.subject}/{self.camera}"


def write_labels(
    job: Job, take: files.Take, points: labels.Centers, order: Int[np.ndarray, "21"], every: int
) -> None:
    """Writes the labels of a video for `prepare_video`.

    Args:
        job: the video.
        take, points: the parameters of the subject and its posed models.
        order: of the detected hand keypoints, from `labels.keypoint_order`.
        every: use one frame in so many.
    """
    extrinsic, _ = take.cameras[job.camera]
    rotation, _ = labels.deformation_rotation(take)
    rows = np.flatnonzero(take.frames % every == 0)
    params = labels.camera_params(take, points, extrinsic) if len(rows) else {}
    arrays = {
        "frames": take.frames[rows],
        "order": order,
        "finite": labels.finite_frames(take)[rows],
        "deformation_rotation": (extrinsic[:3, :3] @ rotation)[rows],
        "sequence": np.searchsorted(take.cuts, take.frames[rows], side="right"),
    }
    for name, values in params.items():
        arrays[f"params/{name}"] = values[rows].astype(np.float32)
    job.labels.parent.mkdir(parents=True, exist_ok=True)
    with prepared_records.enough_space_for(job.labels), atomic.atomic_path(job.labels) as path:
        np.savez(path, allow_pickle=False, **arrays)


def parts_of(job: Job, num_frames: int) -> dict[Path, range]:
    """The parts of a video, in order: the path of each and its rows of the labels.

    The end of every training take is the validation split, so that neither training nor testing
    uses it. All cameras show the same moments and are cut at the same row.
    """
    held_out = 0
    if job.mode == "train" and num_frames > 1:
        held_out = max(1, round(VALIDATION_SHARE * num_frames))
    parts, first = {}, 0
    for split, count in ((job.mode, num_frames - held_out), ("validation", held_out)):
        for start in range(0, count, job.frames_per_part):
            number = start // job.frames_per_part
            path = job.parts / split / f"{job.subject}-{job.camera}-{number:05d}.msgpack"
            stop = min(start + job.frames_per_part, count)
            parts[path] = range(first + start, first + stop)
        first += count
    return parts


def prepare_video(job: Job) -> None:
    """Writes the missing parts of one video, with the frames that were left out, by reason.

    Raises:
        FileNotFoundError: a file is missing.
        UserError: a file has the wrong contents; the message names it.
    """
    cv2.setNumThreads(1)  # one process per core
    arrays = npz.read_npz(job.labels, others=npz.Array(npz.NUMBERS, finite=False))
    frames = arrays["frames"]
    parts = parts_of(job, len(frames))
    if all(path.exists() for path in parts):
        return
    inputs = _open_inputs(job)
    for path, rows in parts.items():
        if path.exists():
            continue
        left_out: dict[str, list[int]] = collections.defaultdict(list)
        examples = list(_examples(job, inputs, arrays, rows, left_out))
        prepared_records.write_part(path, examples, left_out)


class _Video:
    """Reads frames of a video in ascending order; skipped frames are not converted to images."""

    def __init__(self, path: Path):
        self._capture, self._at, self._time = videos.open_capture(path), -1, 0.0
        self.width = int(self._capture.get(cv2.CAP_PROP_FRAME_WIDTH))
        self.height = int(self._capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
        self._length = int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
        self._rate = self._capture.get(cv2.CAP_PROP_FPS)

    def read(self, frame: int) -> UInt8[np.ndarray, "H W 3"] | str:
        """Returns the frame, BGR, or the reason why it cannot be read."""
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
                # The decoder does not count damaged frames; the time stamps show how many were
                # skipped.
                apart = round((self._time - before) * self._rate / 1000)
                self._at += max(1, apart) if tried else 1
                return True
        return False


class _Inputs(NamedTuple):
    """The opened arrays and videos of one job; `length` frames have all of them."""

    view: files.View
    surface: files.Surface
    neck_deformation: Int[np.ndarray, "_"]
    neck_contact: Int[np.ndarray, "_"]
    video: _Video
    masks: _Video | None
    length: int


def _open_inputs(job: Job) -> _Inputs:
    view = files.read_view(job.root, job.mode, job.subject, job.camera)
    surface = files.read_surface(job.root, job.mode, job.subject)
    path_of = lambda kind: files.video_path(job.root, job.mode, job.subject, job.camera, kind)
    video = _Video(path_of("videos"))
    try:
        masks = _Video(path_of("segmentations"))
    except (FileNotFoundError, UserError) as error:
        print(f"{job.name}: background is not replaced: {error}")
        masks = None
    view, untrusted = labels.with_usable_confidences(view)
    if untrusted:
        print(f"{job.name}: {untrusted}; all detected keypoints get confidence 1")
    length = min(len(array) for array in (*vars(view).values(), *vars(surface).values()))
    return _Inputs(view, surface, *files.neck_ids(job.root), video, masks, length)


def _examples(
    job: Job,
    inputs: _Inputs,
    arrays: Mapping[str, np.ndarray],
    rows: range,
    left_out: dict[str, list[int]],
) -> Iterator[Example]:
    """Yields the samples of some rows of the labels and adds the other frames to `left_out`."""
    for row in rows:
        frame = int(arrays["frames"][row])
        if not arrays["finite"][row]:
            left_out["parameters are not finite"].append(frame)
            continue
        if frame >= inputs.length:
            left_out["deformations, contacts or detections end before"].append(frame)
            continue
        crop = _crop(job, inputs, frame)
        if isinstance(crop, str):
            left_out[crop].append(frame)
            continue
        example = _example(job, inputs, arrays, row, frame, crop)
        if example is None:
            left_out["deformations are not finite"].append(frame)
            continue
        yield example


class _Crop(NamedTuple):
    """The crop of a frame, RGB, and its place in the frame, in pixels of the frame."""

    image: UInt8[np.ndarray, "224 224 3"]
    foreground: Bool[np.ndarray, "224 224"]
    left: int
    top: int
    side: int


def _crop(job: Job, inputs: _Inputs, frame: int) -> _Crop | str:
    """Returns the crop of a frame, or the reason why there is none."""
    left = labels.crop_left(
        inputs.view.head_boxes[frame],
        inputs.view.hand_boxes[frame],
        inputs.video.width,
        inputs.video.height,
    )
    top, side = 0, inputs.video.height
    window = slice(top, top + side), slice(left, left + side)
    image = _authors_crop(job, frame, "cropped_images_with_bg", "jpg")
    mask = _authors_crop(job, frame, "cropped_masks", "png")
    if image is None:
        image = inputs.video.read(frame)
        if isinstance(image, str):
            return image
        image = image[window]
    if mask is None:
        mask = "no video" if inputs.masks is None else inputs.masks.read(frame)
        # Without a mask everything is foreground: no background is replaced, and the labels stay.
        mask = np.full_like(image, 255) if isinstance(mask, str) else mask[window]
    shrink = lambda pixels: cv2.resize(pixels, (CROP_SIZE, CROP_SIZE), interpolation=cv2.INTER_AREA)
    return _Crop(shrink(image)[..., ::-1], shrink(mask).max(-1) > 127, left, top, side)


def _authors_crop(
    job: Job, frame: int, kind: str, suffix: str
) -> UInt8[np.ndarray, "H W 3"] | None:
    """Reads a crop of `Decaf_imgs_single`, BGR; None where there is none."""
    if job.crops is None:
        return None
    path = job.crops / job.mode / kind / job.subject / job.camera / f"{frame:05d}.{suffix}"
    return cv2.imread(str(path), cv2.IMREAD_COLOR) if path.is_file() else None


def _example(
    job: Job,
    inputs: _Inputs,
    arrays: Mapping[str, np.ndarray],
    row: int,
    frame: int,
    crop: _Crop,
) -> Example | None:
    """The sample of a frame; None if its deformations are not finite."""
    surface, view = inputs.surface, inputs.view
    deformations = np.array(surface.deformations[frame], np.float64)
    deformations[inputs.neck_deformation] = 0.0
    if not np.isfinite(deformations).all():
        return None
    head_contact = np.array(surface.head_contact[frame]) > 0.5
    head_contact[inputs.neck_contact] = False
    place = crop.left, crop.top, crop.side

    def box_in_crop(box: Num[np.ndarray, "4"]) -> np.ndarray:
        if not labels.is_box(box):
            return np.zeros(4, np.float32)
        return labels.to_crop(np.reshape(box, (2, 2)), *place).ravel()

    subject = int(job.subject[1:])
    hand_keypoints = view.hand_keypoints[frame][arrays["order"]]
    params = {
        name.removeprefix("params/"): values[row]
        for name, values in arrays.items()
        if name.startswith("params/")
    }
    return params | dict(
        image=crop.image,
        foreground=crop.foreground,
        hand_keypoints_2d=labels.keypoints_in_crop(hand_keypoints, *place),
        head_keypoints_2d=labels.keypoints_in_crop(view.head_keypoints[frame], *place),
        deformations=deformations @ arrays["deformation_rotation"][row].T,
        hand_contact=np.array(surface.hand_contact[frame]) > 0.5,
        head_contact=head_contact,
        hand_box=box_in_crop(view.hand_boxes[frame]),
        head_box=box_in_crop(view.head_boxes[frame]),
        subject=subject,
        scene=subject * 1_000_000 + frame,
        view=int(job.camera),
        frame=frame,
        sequence=int(arrays["sequence"][row]),
    )
