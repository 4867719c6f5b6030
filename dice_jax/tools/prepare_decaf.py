"""Prepares the data set `decaf` from the unpacked DecafDataset, once.

  python -m dice_jax.tools.prepare_decaf --decaf ~/DecafDataset --out ~/data

Download: https://github.com/soshishimada/DecafDatasetScript (non-commercial). Needs mano_right.npz
and flame.npz in the folder of assets (dice_jax.tools.convert_mano, dice_jax.tools.convert_flame).
Training split: subjects S2 S4 S5 S7 S8 in all views that exist; test split: S1 S3 S6 in view 108.
Each video is decoded once, several at a time. An interrupted run continues where it stopped, and
the same command adds subjects that you download later. decaf_report.txt lists the frames that were
left out, and the reasons.
"""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from tqdm import tqdm

from dice_jax import errors, user_folders
from dice_jax.body_models import load_hand, load_head
from dice_jax.body_models.lbs import BodyModel
from dice_jax.datasets import prepared_records, registry
from dice_jax.datasets.decaf import files, labels, prepare
from dice_jax.datasets.decaf.dataset import Decaf
from dice_jax.errors import UserError
from dice_jax.io import atomic

_MAX_WORKERS = 8

_Jobs = list[tuple[prepare.Job, int]]  # with the number of frames of each video


def main(argv: list[str] | None = None, frames_per_part: int = prepare.FRAMES_PER_PART) -> None:
    parser = errors.argument_parser(__doc__, prog="python -m dice_jax.tools.prepare_decaf")
    add = parser.add_argument
    add("--decaf", required=True, help="the unpacked DecafDataset")
    add("--out", help="folder of data sets (default: $DICE_DATA, or ~/.cache/dice_jax)")
    add("--crops", help="the authors' preprocessed Decaf_imgs_single, used for the frames it has")
    add("--every", type=int, default=1, help="use one frame in so many")
    workers = min(os.cpu_count() or 1, _MAX_WORKERS)
    add("--workers", type=int, default=workers, help="number of videos prepared at a time")
    add("--hand", default="mano_right", help="hand model: a name or a file")
    add("--head", default="flame", help="head model: a name or a file")
    args = parser.parse_args(argv)

    ################ Inputs ################
    root = files.find_root(args.decaf)
    out = atomic.writable_folder(registry.data_folder(args.out))
    parts = prepared_records.parts_folder(out, Decaf.name)
    hand, head = load_hand(args.hand), load_head(args.head)
    if args.every < 1 or args.workers < 1:
        raise UserError("--every and --workers must be at least 1")
    crops = user_folders.expand(args.crops) if args.crops else None
    if crops is not None and not crops.is_dir():
        raise FileNotFoundError(f"no folder of crops at {crops}")

    ################ Labels ################
    settings = {"every": args.every, "validation": prepare.VALIDATION_SHARE}
    prepared_records.check_settings(parts, settings)
    problems: list[str] = []
    jobs: _Jobs = []
    for mode, (subjects, _) in files.PROTOCOL.items():
        for subject in subjects:
            make_job = lambda camera, mode=mode, subject=subject: prepare.Job(
                root,
                mode,
                subject,
                camera,
                labels=parts / "labels" / f"{mode}-{subject}-{camera}.npz",
                parts=parts,
                crops=crops,
                frames_per_part=frames_per_part,
            )
            try:
                jobs += _subject_jobs(
                    root, mode, subject, make_job, hand, head, args.every, problems
                )
            except (FileNotFoundError, UserError) as error:
                problems.append(f"{mode}/{subject}: {error}")
    for problem in problems:
        print(f"left out: {problem}")
    if not jobs:
        raise UserError(f"nothing in {root} can be prepared: {problems[0]}")

    ################ Videos ################
    _check_disk(out, jobs, frames_per_part)
    _prepare_videos(jobs, min(args.workers, len(jobs)), problems)

    ################ Data set ################
    complete = not problems
    left_out = {
        job.name: [prepared_records.read_left_out(path) for path in prepare.parts_of(job, count)]
        for job, count in jobs
    }
    sizes = prepared_records.build(Decaf, out, keep_parts=not complete)
    report = _report(left_out, problems, sizes)
    atomic.write_text(out / "decaf_report.txt", report)
    print(report)
    if not complete:
        print(f"{parts} is kept: once the missing files exist, the same command adds them")


def _subject_jobs(
    root: Path,
    mode: str,
    subject: str,
    make_job: Callable[[str], prepare.Job],
    hand: BodyModel,
    head: BodyModel,
    every: int,
    problems: list[str],
) -> _Jobs:
    """Writes the labels of the videos of one subject; returns a job for each of its videos."""
    cameras, absent = files.cameras_of(root, mode, subject)
    if absent:
        videos = files.video_path(root, mode, subject, "").parent
        names = ", ".join(f"{camera}.mp4" for camera in absent)
        problems.append(f"{mode}/{subject}: {names} missing in {videos}")
    if not cameras:
        return []
    take = files.read_take(root, mode, subject)
    points = labels.centers(take, hand, head)
    _, angle = labels.deformation_rotation(take)
    view = files.read_view(root, mode, subject, cameras[0])
    order, distances = labels.keypoint_order(take, points, view, cameras[0])
    openpose, native = distances["openpose"], distances["native"]
    rotations = (
        "no file of transforms"
        if angle is None
        else f"transforms and global_orient differ by {angle:.3g} degrees"
    )
    print(
        f"{mode}/{subject}: {len(take.frames)} frames, {len(cameras)} views; "
        "median distance of the detected hand keypoints to the projected hand: "
        f"{openpose:.1f} px in OpenPose order, {native:.1f} px in MANO order; {rotations}"
    )
    count = int((take.frames % every == 0).sum())
    jobs = []
    for camera in cameras:
        if camera not in take.cameras:
            problems.append(f"{mode}/{subject}: cameras.pkl has no camera {camera}")
            continue
        job = make_job(camera)
        prepare.write_labels(job, take, points, order, every)
        jobs.append((job, count))
    return jobs


def _check_disk(out: Path, jobs: _Jobs, frames_per_part: int) -> None:
    """Prints how much space the data set needs; raises a `UserError` if the disk has less."""
    frames = sum(count for _, count in jobs)
    missing = sum(not path.exists() for job, count in jobs for path in prepare.parts_of(job, count))
    # For a moment, the parts and the data set both exist.
    need = prepare.BYTES_PER_SAMPLE * (frames + missing * frames_per_part) / 1e9
    free = shutil.disk_usage(out).free / 1e9
    print(f"{len(jobs)} videos, {frames} frames; {out} needs {need:.1f} GB, {free:.1f} GB are free")
    if need > free:
        raise UserError(
            f"{out} has {free:.1f} GB free, {need:.1f} are needed: "
            "choose another --out, or use --every 2"
        )


def _prepare_videos(jobs: _Jobs, workers: int, problems: list[str]) -> None:
    """Prepares the videos with a progress bar; failures are added to `problems`."""
    paths = [path for job, count in jobs for path in prepare.parts_of(job, count)]
    done = lambda: sum(path.exists() for path in paths)
    with tqdm(total=len(paths), initial=done(), desc="decaf", unit="part") as bar:
        update = lambda: bar.update(done() - bar.n)
        for job, result in _results([job for job, _ in jobs], workers, update):
            try:
                result()
            except (FileNotFoundError, UserError) as error:
                if "no space left" in str(error):
                    raise
                problems.append(f"{job.name}: {error}")


def _results(
    jobs: Sequence[prepare.Job], workers: int, update: Callable[[], object]
) -> Iterator[tuple[prepare.Job, Callable[[], None]]]:
    """Yields each finished job and a function that raises the error of the job, if it had one."""
    if workers == 1:
        for job in jobs:
            yield job, lambda job=job: prepare.prepare_video(job)
            update()
        return
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(workers, mp_context=context) as pool:
        running = {pool.submit(prepare.prepare_video, job): job for job in jobs}
        try:
            while running:
                finished, _ = concurrent.futures.wait(
                    running, 1.0, concurrent.futures.FIRST_COMPLETED
                )
                update()
                for future in finished:
                    yield running.pop(future), future.result
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _report(
    left_out: Mapping[str, Sequence[Mapping[str, Sequence[int]]]],
    problems: Sequence[str],
    sizes: Mapping[str, int],
) -> str:
    """The text of decaf_report.txt."""
    counts = Counter()
    sizes_text = ", ".join(f"{count} {name}" for name, count in sizes.items())
    lines = [f"decaf, {time.strftime('%Y-%m-%d %H:%M')}: {sizes_text}"]
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
