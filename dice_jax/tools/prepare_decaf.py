"""Prepares the data set `decaf` from the unpacked DecafDataset, once.

  python -m dice_jax.tools.prepare_decaf --decaf ~/DecafDataset --out ~/data

Download: https://github.com/soshishimada/DecafDatasetScript (non-commercial). Needs mano_right.npz
and flame.npz in the folder of assets (dice_jax.tools.convert_mano, dice_jax.tools.convert_flame).
Train: subjects S2 S4 S5 S7 S8, every view there is; test: S1 S3 S6, view 108. Each video is decoded
once, several at a time; a run that was broken off goes on where it stopped, and subjects that come
later are added by the same command. What had to be left out, and why, is in decaf_report.txt.
"""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from tqdm import tqdm

from dice_jax import errors
from dice_jax.body_models import load_hand, load_head
from dice_jax.datasets import prepared_records
from dice_jax.datasets.decaf import dataset, files
from dice_jax.datasets.decaf import labels as decaf_labels
from dice_jax.errors import UserError
from dice_jax.io import atomic

_MAX_WORKERS = 8


def main(argv: list[str] | None = None) -> None:
    parser = errors.argument_parser(__doc__, prog="python -m dice_jax.tools.prepare_decaf")
    parser.add_argument("--decaf", required=True, help="the unpacked DecafDataset")
    parser.add_argument(
        "--out",
        default=os.environ.get("DICE_DATA", "~/.cache/dice_jax"),
        help="folder of data sets",
    )
    parser.add_argument(
        "--crops", help="the authors' preprocessed Decaf_imgs_single, used where it has a frame"
    )
    parser.add_argument("--every", type=int, default=1, help="take one frame in so many")
    parser.add_argument(
        "--workers",
        type=int,
        default=min(os.cpu_count() or 1, _MAX_WORKERS),
        help="videos at a time",
    )
    parser.add_argument("--hand", default="mano_right", help="hand model: a name or a file")
    parser.add_argument("--head", default="flame", help="head model: a name or a file")
    args = parser.parse_args(argv)

    ################ What is there ################
    root = files.find_root(args.decaf)
    out = atomic.writable_folder(Path(args.out).expanduser())
    parts = prepared_records.parts_folder(out, dataset.Decaf.name)
    hand, head = load_hand(args.hand), load_head(args.head)
    if args.every < 1 or args.workers < 1:
        raise UserError("--every and --workers count from 1")
    crops = Path(args.crops).expanduser() if args.crops else None
    if crops is not None and not crops.is_dir():
        raise FileNotFoundError(f"no folder of crops at {crops}")

    ################ Labels ################
    prepared_records.same_settings(parts, {"every": args.every})
    problems, jobs = [], []
    for mode, (subjects, _) in files.PROTOCOL.items():
        for subject in subjects:
            try:
                jobs += list(
                    _jobs(root, mode, subject, parts, crops, hand, head, args.every, problems)
                )
            except (FileNotFoundError, UserError) as error:
                problems.append(f"{mode}/{subject}: {error}")
    for problem in problems:
        print(f"left out: {problem}")
    if not jobs:
        raise UserError(f"nothing of {root} can be prepared: {problems[0]}")

    ################ Videos ################
    frames = sum(count for _, count in jobs)
    missing = sum(not path.exists() for job, count in jobs for path in dataset.parts_of(job, count))
    # Parts and data set are both there for a moment.
    need = dataset.BYTES_PER_SAMPLE * (frames + missing * dataset.FRAMES_PER_PART) / 1e9
    free = shutil.disk_usage(out).free / 1e9
    print(
        f"{len(jobs)} videos, {frames} frames; {need:.1f} GB will be needed in {out}, {free:.1f} GB are free"
    )
    if need > free:
        raise UserError(
            f"{out} has {free:.1f} GB free, {need:.1f} are needed: take another --out, or --every 2"
        )
    _run(jobs, min(args.workers, len(jobs)), problems)

    ################ Data set ################
    complete = not problems
    left_out = {
        job.name: [prepared_records.left_out(path) for path in dataset.parts_of(job, count)]
        for job, count in jobs
    }
    sizes = prepared_records.build(dataset.Decaf, out, keep_parts=not complete)
    report = _report(left_out, problems, sizes)
    (out / "decaf_report.txt").write_text(report)
    print(report)
    if not complete:
        print(f"parts stay in {parts}: once the rest is in place, the same command adds it")


def _jobs(
    root, mode, subject, parts, crops, hand, head, every, problems
) -> Iterator[tuple[dataset.Job, int]]:
    """The videos of one subject, their labels written, and how many frames each has."""
    cameras, absent = files.cameras_of(root, mode, subject)
    if absent:
        videos = files.video_path(root, mode, subject, "").parent
        problems.append(
            f"{mode}/{subject}: {', '.join(f'{camera}.mp4' for camera in absent)} missing in {videos}"
        )
    if not cameras:
        return
    take = files.read_take(root, mode, subject)
    found = decaf_labels.centers(take, hand, head)
    _, apart = decaf_labels.deformation_rotation(take)
    order, distances = decaf_labels.keypoint_order(
        take, found, files.read_view(root, take, cameras[0]), cameras[0]
    )
    print(
        f"{mode}/{subject}: {len(take.frames)} frames, {len(cameras)} views; hand keypoints, median distance to the "
        f"projected hand: {distances['openpose']:.1f} px in OpenPose's order, {distances['native']:.1f} px in MANO's; "
        + (
            "no file of transforms"
            if apart is None
            else f"transforms and global_orient differ by {apart:.3g} degrees"
        )
    )
    for camera in cameras:
        if camera not in take.cameras:
            problems.append(f"{mode}/{subject}: cameras.pkl has no camera {camera}")
            continue
        labels = parts / "labels" / f"{mode}-{subject}-{camera}.npz"
        job = dataset.Job(root, mode, subject, camera, labels, parts, crops)
        dataset.write_labels(job, take, found, order, every)
        count = int((take.frames % every == 0).sum())
        yield job, count


def _run(jobs, workers, problems) -> None:
    """Prepares the videos, here or in processes, with a bar of frames; what fails is told and the
    others go on.
    """
    paths = [(path, job) for job, count in jobs for path in dataset.parts_of(job, count)]
    done = lambda: sum(path.exists() for path, _ in paths)
    with tqdm(total=len(paths), initial=done(), desc="decaf", unit="part") as bar:
        for job, task in _tasks(
            [job for job, _ in jobs], workers, lambda: bar.update(done() - bar.n)
        ):
            try:
                task()
            except (FileNotFoundError, UserError) as error:
                if "no space left" in str(error):
                    raise
                problems.append(f"{job.name}: {error}")


def _tasks(jobs, workers, tick) -> Iterator[tuple[dataset.Job, Callable]]:
    """Each job, and a function that raises its error if it had one, as they are done."""
    if workers == 1:
        for job in jobs:
            yield job, lambda job=job: dataset.prepare_video(job)
            tick()
        return
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(workers, mp_context=context) as pool:
        running = {pool.submit(dataset.prepare_video, job): job for job in jobs}
        try:
            while running:
                finished, _ = concurrent.futures.wait(
                    running, 1.0, concurrent.futures.FIRST_COMPLETED
                )
                tick()
                for future in finished:
                    yield running.pop(future), future.result
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _report(left_out, problems, sizes) -> str:
    counts = Counter()
    counted = ", ".join(f"{count} {name}" for name, count in sizes.items())
    lines = [f"decaf, {time.strftime('%Y-%m-%d %H:%M')}: {counted}"]
    for name, notes in left_out.items():
        for reason in sorted({reason for note in notes for reason in note}):
            frames = [frame for note in notes for frame in note.get(reason, [])]
            counts[reason] += len(frames)
            shown = ", ".join(map(str, frames[:10])) + (" ..." if len(frames) > 10 else "")
            lines.append(f"{name}: {len(frames)} frames left out, {reason}: {shown}")
    lines += [f"not prepared: {problem}" for problem in problems]
    lines.append(f"left out: {sum(counts.values())} frames; problems: {len(problems)}")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    errors.run(main)
