"""Measures how long it takes to prepare a Decaf video, compared with decoding alone.

  python -m tools.benchmarks.preparation --frames 100 200

Writes 1920 x 1080 videos with random labels and prepares each in one process. If preparation is
linear in the number of frames, all rows show the same frames/s. These videos are easier to decode
than real ones.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from dice_jax import errors
from dice_jax.constants import NUM_HAND_VERTICES, NUM_HEAD_VERTICES
from dice_jax.datasets.decaf import dataset, files, prepare
from dice_jax.input_pipeline import schema

_SIZE = 1920, 1080  # pixels
_KINDS = ("videos", "segmentations")


def main(argv: Sequence[str] | None = None) -> None:
    parser = errors.argument_parser(__doc__, prog="python -m tools.benchmarks.preparation")
    parser.add_argument(
        "--frames",
        type=int,
        nargs="+",
        default=[100, 200],
        help="lengths of the videos (default: 100 200)",
    )
    args = parser.parse_args(argv)
    print("processor time of all threads")
    print(f"{'frames':>8} {'decoding s':>11} {'preparation s':>14} {'frames/s':>9} {'ratio':>6}")
    for count in args.frames:
        with tempfile.TemporaryDirectory() as folder:
            job = write_video(Path(folder), count)
            cv2.setNumThreads(1)
            start = time.process_time()
            for kind in _KINDS:
                capture = cv2.VideoCapture(str(video_path(job, kind)))
                while capture.read()[0]:
                    pass
            decoding, start = time.process_time() - start, time.process_time()
            prepare.prepare_video(job)
            preparation = time.process_time() - start
        print(
            f"{count:8} {decoding:11.2f} {preparation:14.2f} {count / preparation:9.1f} "
            f"{preparation / decoding:6.2f}"
        )


def video_path(job: prepare.Job, kind: str) -> Path:
    """The video or the segmentation of a job."""
    return files.video_path(job.root, job.mode, job.subject, job.camera, kind)


def write_video(root: Path, count: int) -> prepare.Job:
    """Writes one subject seen by one camera: moving blurred noise, and a disc as mask."""
    rng = np.random.default_rng(0)
    job = prepare.Job(root, "train", "S2", "108", root / "labels.npz", root / "parts")
    width, height = _SIZE
    noise = rng.integers(0, 256, (height, 2 * width, 3), dtype=np.uint8)
    noise = cv2.GaussianBlur(noise, (0, 0), 4)
    black, center = np.zeros((height, width, 3), np.uint8), (width // 2, height // 2)
    disc = cv2.circle(black, center, 300, (255, 255, 255), -1)
    for kind in _KINDS:
        path = video_path(job, kind)
        path.parent.mkdir(parents=True)
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 30, _SIZE)
        for frame in range(count):
            shift = 4 * frame % width
            moved = np.ascontiguousarray(noise[:, shift : shift + width])
            writer.write(moved if kind == "videos" else disc)
        writer.release()
    detections = {
        "head_keys": (68, 3),
        "right_hand_keys": (21, 3),
        "head_bbs": (4,),
        "right_hand_bbs": (4,),
    }
    arrays = {f"{kind}/S2/108.npy": shape for kind, shape in detections.items()} | {
        "deformations/S2/deforms.npy": (NUM_HEAD_VERTICES, 3),
        "contacts/S2/contacts_head.npy": (NUM_HEAD_VERTICES,),
        "contacts/S2/contacts_rh.npy": (NUM_HAND_VERTICES,),
    }
    for name, shape in arrays.items():
        path = root / job.mode / name
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, rng.random((count, *shape), np.float32))
    kinds = ("betas", "expression", "orient", "pose", "transl")
    params = {
        name: schema.FEATURES[name].shape for name in dataset.Decaf.FIELDS if name.endswith(kinds)
    }
    np.savez(
        job.labels,
        frames=np.arange(count),
        order=np.arange(21),
        finite=np.ones(count, bool),
        deformation_rotation=np.tile(np.eye(3), (count, 1, 1)),
        sequence=np.zeros(count, int),
        **{
            f"params/{name}": np.zeros((count, *shape), np.float32)
            for name, shape in params.items()
        },
    )
    return job


if __name__ == "__main__":
    errors.run(main)
