"""How long preparing a video of Decaf takes, against decoding it and nothing else.

  python -m tools.benchmarks.preparation --frames 100 200

Writes videos of 1920 x 1080 as the cameras have them, with random labels, and prepares each in one
process. Preparation is linear in the frames where frames/s stay the same from row to row. These
videos are easier to decode than real ones.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

from dice_jax.datasets.decaf import dataset, files, prepare
from dice_jax.input_pipeline import schema
from dice_jax.tools import command_line

_SIZE = 1920, 1080


def main(argv: list[str] | None = None) -> None:
    parser = command_line.parser(__doc__)
    parser.add_argument(
        "--frames", type=int, nargs="+", default=[100, 200], help="lengths of the videos"
    )
    args = parser.parse_args(argv)
    print("processor time, of all threads")
    print(f"{'frames':>8} {'decoding s':>11} {'preparation s':>14} {'frames/s':>9} {'ratio':>6}")
    for count in args.frames:
        with tempfile.TemporaryDirectory() as folder:
            job = _made(Path(folder), count)
            cv2.setNumThreads(1)
            begin = time.process_time()
            for kind in ("videos", "segmentations"):
                capture = cv2.VideoCapture(
                    str(files.video_path(job.root, job.mode, job.subject, job.camera, kind))
                )
                while capture.read()[0]:
                    pass
            decoding, begin = time.process_time() - begin, time.process_time()
            prepare.prepare_video(job)
            preparation = time.process_time() - begin
        print(
            f"{count:8} {decoding:11.2f} {preparation:14.2f} {count / preparation:9.1f} {preparation / decoding:6.2f}"
        )


def _made(root: Path, count: int) -> prepare.Job:
    """One subject seen by one camera: blurred noise that moves, and a disc for a mask."""
    rng = np.random.default_rng(0)
    job = prepare.Job(root, "train", "S2", "108", root / "labels.npz", root / "parts")
    width, height = _SIZE
    noise = cv2.GaussianBlur(
        rng.integers(0, 256, (height, 2 * width, 3), dtype=np.uint8), (0, 0), 4
    )
    disc = cv2.circle(
        np.zeros((height, width, 3), np.uint8), (width // 2, height // 2), 300, (255, 255, 255), -1
    )
    for kind in ("videos", "segmentations"):
        path = files.video_path(root, job.mode, job.subject, job.camera, kind)
        path.parent.mkdir(parents=True)
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 30, _SIZE)
        for frame in range(count):
            shift = 4 * frame % width
            writer.write(
                np.ascontiguousarray(noise[:, shift : shift + width]) if kind == "videos" else disc
            )
        writer.release()
    detections = {
        "head_keys": (68, 3),
        "right_hand_keys": (21, 3),
        "head_bbs": (4,),
        "right_hand_bbs": (4,),
    }
    arrays = {f"{kind}/S2/108.npy": shape for kind, shape in detections.items()} | {
        "deformations/S2/deforms.npy": (5023, 3),
        "contacts/S2/contacts_head.npy": (5023,),
        "contacts/S2/contacts_rh.npy": (778,),
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
    command_line.run(main)
