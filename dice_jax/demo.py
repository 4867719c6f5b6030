"""Photographs in; pictures, meshes and parameters out.

  python -m dice_jax.demo --image photo.jpg --out outputs

Run it without --image to see the photographs that come with the package. `--help` shows more.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np
from jaxtyping import UInt8

from dice_jax import errors, inference, xla_flags
from dice_jax.detection import face_and_hand
from dice_jax.geometry import crop
from dice_jax.io import atomic, images
from dice_jax.structs import Prediction
from dice_jax.visualization import demo_results

SAMPLES = Path(__file__).parent / "samples"

EXAMPLES = """examples:
  the photographs that come with the package
    python -m dice_jax.demo
  one photo, a folder of photos
    python -m dice_jax.demo --image me.jpg holiday/ --out outputs
  a LEFT hand (the network knows right hands: the photo is mirrored, the answer mirrored back)
    python -m dice_jax.demo --image left.jpg --hand left
  photos already cropped around head and hand
    python -m dice_jax.demo --image crops/ --crop full
  weights of your own training, meshes for a tool that wants OBJ, the whole photo in the picture
    python -m dice_jax.demo --image me.jpg --weights runs/small --mesh obj --full_frame

for each NAME in the input, in the folder --out:
  NAME_overlay.png   the crop, and the meshes over it
  NAME_side.png      other views; where hand and face touch; how deep the skin gives way
  NAME.glb           both meshes with contact colors, for any 3D viewer (meters, y up)
                     NAME_hand.ply and NAME_head.ply with --mesh ply
  NAME_params.npz    parameters named as in smplx, cameras of crop and photo, contact, deformations

best photos: one person, one hand on the face, hand and whole head in view, face at least 100 pixels wide."""


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parses the command line; argparse prints one line and exits with 2 where it is wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m dice_jax.demo",
        description="Recovers the hand, the head, the dent in the skin and the contact from photographs.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add(
        "--image",
        nargs="+",
        metavar="PATH",
        help="photos or folders of photos (default: the package's samples)",
    )
    add("--out", default="outputs", metavar="DIR", help="where the results go (default: outputs)")
    add(
        "--weights",
        default="default",
        metavar="NAME|DIR",
        help="shipped weights, an export or a training workdir",
    )
    add(
        "--hand",
        choices=("right", "left"),
        default="right",
        help="which hand of the person (default: right)",
    )
    add(
        "--crop",
        choices=("auto", "center", "full"),
        default="auto",
        help="auto: around the detected face and hand; center: the central square; full: the whole photo, padded",
    )
    add(
        "--mesh",
        choices=("glb", "ply", "obj", "none"),
        default="glb",
        help="format of the meshes (default: glb)",
    )
    add(
        "--full_frame",
        action="store_true",
        help="also NAME_photo.png: the meshes over the whole photo",
    )
    add(
        "--focal_length",
        type=float,
        metavar="PX",
        help="of the photo, in pixels (default: the photo's diagonal)",
    )
    add(
        "--batch_size",
        type=int,
        default=1,
        metavar="N",
        help="photos at a time through the network (default: 1)",
    )
    args = parser.parse_args(argv)
    if args.batch_size < 1:
        parser.error(f"--batch_size must be at least 1, got {args.batch_size}")
    if args.focal_length is not None and not args.focal_length > 0:
        parser.error(f"--focal_length must be positive, got {args.focal_length}")
    return args


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the demo.

    Returns:
        The exit code: 0; 1 where some photos failed (the others are done); 2 where the set-up is at
        fault.
    """
    args = parse_args(argv)
    xla_flags.set_cpu_preset()
    xla_flags.keep_compiled()
    clock = Clock()
    try:
        paths = images.find_images(args.image or [SAMPLES])
        out = atomic.writable_folder(args.out)
        with clock.stage("load"):
            model = inference.load(args.weights)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return errors.EXIT_CODE

    with clock.stage("compile"):
        crops = jax.ShapeDtypeStruct((args.batch_size, crop.CROP_SIZE, crop.CROP_SIZE, 3), np.uint8)
        compiled = inference.infer.lower(model, crops, hand=args.hand).compile()
    print(
        f"weights {args.weights} on {jax.devices()[0].device_kind}: {clock.report('load', 'compile')}"
    )

    done = 0
    named = list(zip(paths, unique_names(paths)))
    for start in range(0, len(named), args.batch_size):
        photos = read_photos(named[start : start + args.batch_size], args.crop, clock)
        if not photos:
            continue
        with clock.stage("infer"):
            crops = np.stack([photo.crop for photo in photos])
            # The last batch is filled up: another shape would compile again.
            crops = np.concatenate(
                [crops, np.repeat(crops[-1:], args.batch_size - len(crops), axis=0)]
            )
            predictions = jax.device_get(compiled(model, crops))
        for i, photo in enumerate(photos):
            done += finish(
                photo, jax.tree.map(lambda x, i=i: x[i], predictions), model, out, args, clock
            )

    if done:
        print(
            f"{done} of {len(paths)} done, each took: {clock.report('read', 'infer', 'draw', 'write', count=done)}"
        )
    if done < len(paths):
        print(f"{len(paths) - done} of {len(paths)} failed, see the errors above", file=sys.stderr)
    return 0 if done == len(paths) else 1


@dataclasses.dataclass(frozen=True)
class Photo:
    """One input.

    Attributes:
        path, name: where it came from, what its results are called.
        pixels: RGB.
        box: the square around hand and face.
        crop: what the network sees.
        notes: what the detectors missed.
    """

    path: Path
    name: str
    pixels: UInt8[np.ndarray, "H W 3"]
    box: crop.CropBox
    crop: UInt8[np.ndarray, "224 224 3"]
    notes: tuple[str, ...]


def read_photos(named: Sequence[tuple[Path, str]], crop_mode: str, clock: Clock) -> list[Photo]:
    """Reads and crops photos; one that cannot be read costs a line on stderr."""
    photos = []
    for path, name in named:
        try:
            with clock.stage("read"):
                pixels = images.read_image(path)
                box, notes = choose_box(pixels, crop_mode)
                photos.append(Photo(path, name, pixels, box, crop.cut(pixels, box), notes))
        except (ValueError, OSError) as error:
            print(f"error: {error}", file=sys.stderr)
    return photos


def choose_box(
    pixels: UInt8[np.ndarray, "H W 3"], crop_mode: str
) -> tuple[crop.CropBox, tuple[str, ...]]:
    """The square to crop, and what is worth telling about it."""
    height, width = pixels.shape[:2]
    if crop_mode == "center":
        return crop.center_box(height, width), ()
    if crop_mode == "full":
        return crop.full_box(height, width), ()
    found = face_and_hand.find(pixels)
    missing = [what for what, box in (("face", found.face), ("hand", found.hand)) if box is None]
    if len(missing) == 2:
        return found.box, ("found no face and no hand, took the middle of the photo",)
    return found.box, tuple(f"found no {what}" for what in missing)


def finish(
    photo: Photo,
    prediction: Prediction,
    model: inference.Model,
    out: Path,
    args: argparse.Namespace,
    clock: Clock,
) -> bool:
    """Draws, writes and reports one photo; whether all of it could be written."""
    dent = 1e3 * float(np.linalg.norm(prediction.deformations, axis=-1).max())
    presence = float(prediction.contact_presence)
    verdict = "touches the face" if presence > 0.5 else "probably does not touch the face"
    summary = "; ".join(
        [f"{args.hand} hand {verdict} ({presence:.0%}), dent {dent:.1f} mm", *photo.notes]
    )
    faces = (np.asarray(body.faces) for body in (model.hand_model, model.head_model))
    with clock.stage("draw"):
        drawn = demo_results.draw(
            prediction,
            photo.pixels,
            photo.box,
            *faces,
            title=f"{photo.name}: {args.hand} hand {verdict} ({presence:.0%})",
            hand=args.hand,
            focal_length=args.focal_length,
            full_frame=args.full_frame,
        )
    try:
        with clock.stage("write"):
            files = demo_results.write(
                drawn, out / photo.name, args.mesh, {"source": photo.path.name, "hand": args.hand}
            )
    except OSError as error:
        print(f"error: {out / photo.name}*: cannot be written ({error.strerror})", file=sys.stderr)
        return False
    print(f"{photo.path}: {summary}", *files, sep="\n  ")
    return True


def unique_names(paths: Sequence[Path]) -> list[str]:
    """A name for the results of each photo: its own without suffix, numbered where two photos share
    it.
    """
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


class Clock:
    """Adds up the seconds spent in each stage."""

    def __init__(self):
        self.seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def stage(self, name: str):
        """Counts the time of the block towards `name`."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start

    def report(self, *names: str, count: int = 1) -> str:
        """Seconds of the stages over `count`: "load 0.31 s, compile 4.20 s"."""
        return ", ".join(f"{name} {self.seconds.get(name, 0.0) / count:.2f} s" for name in names)


if __name__ == "__main__":
    sys.exit(main())
