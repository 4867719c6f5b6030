"""Reconstructs hands, head, deformations and contact from photos.

  python -m dice_jax.demo --image photo.jpg --out outputs

Without --image it runs on the photos that ship with the package. See `--help` for more.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import tqdm
from jaxtyping import UInt8

from dice_jax import (
    demo_options,
    errors,
    inference,
    live,
    reconstruction,
    reposing,
    video_results,
    xla_flags,
)
from dice_jax.body_models import contact_regions, rig
from dice_jax.io import atomic, images, inputs, shards, videos
from dice_jax.person import Hand, Person
from dice_jax.visualization import demo_results
from dice_jax.visualization.window import Window

SAMPLES = Path(__file__).parent / "samples"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the demo.

    Returns:
        The exit code: 0, or 1 where some photos failed and the others are done.

    Raises:
        ValueError, OSError: input, output or weights cannot be used; nothing is written.
    """
    args = demo_options.parse_args(argv)
    xla_flags.set_cpu_preset()
    xla_flags.keep_compiled()
    clock = Clock()

    if args.camera is not None:
        return run_camera(args)

    ################ Files ################
    shard = shards.parse(args.shard)
    jobs, skipped = find_jobs(args)
    print(*skipped, sep="\n", end="\n" * bool(skipped), file=sys.stderr)
    out = atomic.writable_folder(args.out)
    prefixes = person_prefixes([job.name for job in jobs])
    mine = shard.pick(jobs)
    if shard.count > 1:
        print(f"shard {shard.number} of {shard.count}: {len(mine)} of {len(jobs)} files")
    if args.skip_done:
        left = [job for job in mine if not is_done(job, out, args)]
        print(f"{len(mine) - len(left)} of {len(mine)} are done already")
        mine = left
    if not mine:
        return 0

    ################ Model ################
    with clock.stage("load"):
        model = inference.load(args.weights)
    device = jax.devices()[0].device_kind
    print(f"weights {args.weights} on {device}: {clock.report('load')}")

    ################ Photos ################
    photos = [job for job in mine if not job.is_video]
    done = sum(run_photo(job, prefixes[job.name], model, out, args, clock) for job in photos)
    if done:
        each = clock.report("read", "reconstruct", "draw", "write", count=done)
        print(f"{done} of {len(photos)} done, each took: {each}")

    ################ Videos ################
    for job in mine:
        if job.is_video:
            done += run_video(job.path, job.name, model, out, args)

    failed = len(mine) - done
    if failed:
        print(f"{failed} of {len(mine)} failed, see the errors above", file=sys.stderr)
    return 1 if failed else 0


@dataclasses.dataclass(frozen=True)
class Job:
    """A file to work on.

    Attributes:
        path: of a photo or a video.
        name: start of the names of its results, which no other file of the command has.
        is_video: whether it is a video.
    """

    path: Path
    name: str
    is_video: bool


def find_jobs(args: argparse.Namespace) -> tuple[list[Job], list[str]]:
    """All files of the command, in every shard, and lines about those that are skipped.

    Raises:
        FileNotFoundError: see `inputs.expand` and `images.find_images`.
    """
    paths, skipped, clips = [], [], []
    if args.image or not args.video:
        given = inputs.expand(args.image or [SAMPLES], leave_out=args.out)
        paths, skipped = images.find_images(given)
    if args.video:
        clips = inputs.expand(args.video, leave_out=args.out, suffixes=videos.SUFFIXES)
    names = unique_names([*paths, *clips])
    files = [*((path, False) for path in paths), *((path, True) for path in clips)]
    return [Job(path, name, video) for (path, video), name in zip(files, names)], skipped


def is_done(job: Job, out: Path, args: argparse.Namespace) -> bool:
    """Whether all results of a file are there, by their names. Those of `NAME` come last."""
    endings = ["_params.npz", "_contact.csv"]
    if job.is_video:
        # Without anybody there are no skeletons: such a video is looked at again.
        endings += ["_overlay.mp4"] + ["_rig.glb"] * (args.mesh == "rig")
    else:
        endings += ["_params.json"] + [".glb"] * (args.mesh in ("glb", "rig"))
        endings += ["_rig.glb"] * (args.mesh == "rig") + ["_report.html"] * args.report
        endings += ["_overlay.png"] * (args.pictures != "none") + ["_photo.png"] * args.full_frame
        endings += ["_side.png"] * (args.pictures == "all")
    return all((out / f"{job.name}{ending}").exists() for ending in endings)


def network_options(args: argparse.Namespace) -> dict[str, Any]:
    """Keyword arguments of `reconstruct`, for photos and for pictures of a video."""
    return {
        "hand": args.hand,
        "fit": args.fit == "on",
        "presence_gate": args.presence_gate == "on",
        "crop": args.crop,
        "focal_length": args.focal_length,
        "box": args.box,
    }


def run_photo(
    job: Job,
    prefix: str,
    model: inference.Model,
    out: Path,
    args: argparse.Namespace,
    clock: Clock,
) -> bool:
    """Writes the results of everybody in a photo and prints a summary of each.

    Args:
        job: the photo.
        prefix: start of the names of the second person and of further ones.
        model, out, args, clock: of the run.

    Returns:
        Whether that succeeded; if not, the error is reported on stderr.
    """
    path = job.path
    try:
        with clock.stage("read"):
            photo = images.read_image(path, args.max_megapixels)
        with clock.stage("reconstruct"):
            people = reconstruction.reconstruct(model, photo, **network_options(args))
    except MemoryError:
        errors.report(ValueError(f"{path}: there is not enough memory for this photo"))
        return False
    except (ValueError, OSError) as error:
        errors.report(type(error)(f"{path}: {error}") if str(path) not in str(error) else error)
        return False
    if not people:
        where = (
            "" if args.box is None else " in the box; --fit off takes the network's answer alone"
        )
        print(f"{path}: nobody found: no face and no hand, no meshes{where}")
    names = [job.name, *(f"{prefix}{number}" for number in range(2, len(people) + 1))]
    # The first person last: these files say that the photo is done.
    written = [
        draw_and_write(person, photo, path, name, model, out, args, clock)
        for person, name in reversed(list(zip(people, names)))
    ]
    for lines in reversed(written):
        print(*lines, sep="\n  ", end="\n" * bool(lines))
    return all(written)


def run_video(
    path: Path, name: str, model: inference.Model, out: Path, args: argparse.Namespace
) -> bool:
    """Writes the results of one video and prints a summary.

    Returns:
        Whether that succeeded; if not, the error is reported on stderr.
    """
    try:
        expected = videos.probe(path).frames
        with tqdm.tqdm(total=expected or None, unit=" frames", desc=path.name) as bar:
            files = video_results.process(
                model,
                path,
                out / name,
                smooth=args.smooth,
                rig=args.mesh == "rig",
                progress=bar.update,
                **network_options(args),
            )
    except (ValueError, OSError) as error:
        errors.report(type(error)(f"{path}: {error}") if str(path) not in str(error) else error)
        return False
    people = "nobody found" if not files.people else f"{files.people} followed"
    print(f"{path}: {files.frames} frames, {people}", *files.paths, sep="\n  ")
    if files.frames < files.expected:
        missing = f"only {files.frames} of {files.expected} frames could be read"
        print(f"{path}: {missing}; the file is damaged or was cut off", file=sys.stderr)
    return True


def run_camera(args: argparse.Namespace) -> int:
    """Shows and records what a webcam sees, with the meshes over it, and prints a summary.

    Returns:
        The exit code: 0, or 1 where the camera gave no more pictures.

    Raises:
        UserError, ValueError, OSError: there is no such camera or no window, or the film cannot be
            written.
    """
    record = None if args.record is None else Path(args.record)
    try:
        window = Window("dice_jax")
    except errors.UserError as error:
        if record is None:
            raise errors.UserError(f"{error}; --record FILE works without a window") from None
        print(f"{error}: recording without a window, Ctrl-C ends it", file=sys.stderr)
        window = None
    if record is not None:
        atomic.writable_folder(record.parent)
    model = inference.load(args.weights)
    how = "Ctrl-C" if window is None else "q"
    print(f"{how} ends it; the first picture takes longer, because programs are compiled")
    options = network_options(args)
    done = live.run(model, args.camera, window, record, smooth=args.smooth, **options)
    print(f"camera {args.camera}: {done.frames} pictures in {done.seconds:.1f} s")
    if record is not None and done.frames:
        print(f"  {record}")
    if done.gone:
        print(f"camera {args.camera} gives no more pictures", file=sys.stderr)
    return int(done.gone)


def draw_and_write(
    person: Person,
    photo: UInt8[np.ndarray, "H W 3"],
    path: Path,
    name: str,
    model: inference.Model,
    out: Path,
    args: argparse.Namespace,
    clock: Clock,
) -> list[str]:
    """Draws and writes the results of one person.

    Returns:
        A summary, and the files; nothing if they cannot be written: the error is reported on
        stderr.
    """
    summary = describe(person, args.hand)
    with clock.stage("draw"):
        results = demo_results.draw(
            person,
            photo,
            np.asarray(model.hand_model.faces),
            np.asarray(model.head_model.faces),
            title=f"{name}: {summary}",
            pictures=args.pictures,
            full_frame=args.full_frame,
        )
    bodies = reposing.body_models(model, person)
    contacts = contact_regions.region_contacts(person, *bodies)
    results = dataclasses.replace(results, contacts=[dataclasses.astuple(x) for x in contacts])
    if args.mesh == "rig":
        colors = {mesh.name: mesh.colors for mesh in results.meshes}
        results = dataclasses.replace(results, rigs=rig.person_rig(person, *bodies, colors))
    stem = out / name
    try:
        with clock.stage("write"):
            extras = {"source": path.name, "summary": summary}
            files = demo_results.write(results, stem, args.mesh, extras)
            if args.report:
                files.append(out / f"{name}_report.html")
                demo_results.write_report(files[-1], results, name, summary)
    except OSError as error:
        errors.report(OSError(f"{error.filename or stem}: cannot be written ({error.strerror})"))
        return []
    return [f"{path}: {summary}", *map(str, files)]


def describe(person: Person, asked: str = "auto") -> str:
    """One line on what was found, and who touches whom.

    Args:
        person: of `reconstruct`.
        asked: its `hand`; where both are asked for, the line names the one that was not found.
    """
    parts = [] if person.head is not None else ["no face found"]
    parts += [_describe_hand(hand, person) for hand in person.hands] or ["no hand found"]
    if asked == "both" and len(person.hands) == 1:
        parts.append(f"no {'left' if person.hands[0].side == 'right' else 'right'} hand found")
    if person.head is not None and person.hands:
        deepest = 1e3 * float(np.linalg.norm(person.head.deformations, axis=-1).max())
        parts.append(f"deformation up to {deepest:.1f} mm")
    return "; ".join(parts)


def _describe_hand(hand: Hand, person: Person) -> str:
    if person.head is None:
        return f"{hand.side} hand ({hand.score:.0%})"
    presence = hand.contact_presence
    touches = "touches the face" if presence > 0.5 else "probably does not touch the face"
    return f"{hand.side} hand {touches} ({presence:.0%})"


def unique_names(paths: Sequence[Path]) -> list[str]:
    """A name for the results of each file: its stem, numbered where two files share it."""
    taken: set[str] = set()
    names = []
    for path in paths:
        name, count = path.stem, 1
        while name in taken:
            count += 1
            name = f"{path.stem}_{count}"
        taken.add(name)
        names.append(name)
    return names


def person_prefixes(names: Sequence[str]) -> dict[str, str]:
    """What the names of further people begin with, by the name of the file: `NAME_`.

    They depend on the names of all files alone, so that every shard has the same. No `PREFIX2` is
    the name of a file, or that of a person in another one.
    """
    numbered = {name.rstrip("0123456789") for name in names if name[-1:].isdecimal()}
    taken: set[str] = set()
    prefixes = {}
    for name in names:
        prefix = f"{name}_"
        while prefix in numbered or prefix in taken:
            prefix += "_"
        taken.add(prefix)
        prefixes[name] = prefix
    return prefixes


class Clock:
    """Adds up the seconds spent in each stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Adds the duration of the block to the stage `name`."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start

    def report(self, *names: str, count: int = 1) -> str:
        """Seconds of the stages, divided by `count`: "load 0.31 s, compile 4.20 s"."""
        return ", ".join(f"{name} {self.seconds.get(name, 0.0) / count:.2f} s" for name in names)


def cli() -> None:
    """The console script `dice-demo`."""
    errors.run(main)


if __name__ == "__main__":
    cli()
