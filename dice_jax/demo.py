"""Reconstructs hand, head, deformations and contact from photos.

  python -m dice_jax.demo --image photo.jpg --out outputs

Without --image it runs on the photos that ship with the package. See `--help` for more.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import jax
import numpy as np
from jaxtyping import UInt8

from dice_jax import errors, inference, xla_flags
from dice_jax.constants import CROP_SIZE
from dice_jax.detection import framing, people
from dice_jax.geometry import crop
from dice_jax.io import atomic, images
from dice_jax.structs import Prediction
from dice_jax.visualization import demo_results

SAMPLES = Path(__file__).parent / "samples"

EXAMPLES = """examples:
  the photos that ship with the package
    python -m dice_jax.demo
  one photo, a folder of photos
    python -m dice_jax.demo --image me.jpg holiday/ --out outputs
  a LEFT hand (the network predicts right hands; photo and prediction are mirrored)
    python -m dice_jax.demo --image left.jpg --hand left
  photos already cropped around head and hand
    python -m dice_jax.demo --image crops/ --crop full
  your own weights, OBJ meshes, and the meshes over the whole photo
    python -m dice_jax.demo --image me.jpg --weights runs/small --mesh obj --full_frame

for each NAME in the input, in the folder --out:
  NAME_overlay.png   the crop, and the meshes over it
  NAME_side.png      other views, contact on hand and face, size of the deformation
  NAME.glb           both meshes with contact colors, for any 3D viewer (meters, y up)
                     NAME_hand.ply and NAME_head.ply with --mesh ply
  NAME_params.npz    parameters named as in smplx, cameras of crop and photo, contact, deformations

best photos: one person, one hand on the face, hand and whole head in view, face at least
100 pixels wide."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the demo.

    Returns:
        The exit code: 0, or 1 where some photos failed and the others are done.

    Raises:
        ValueError, OSError: input, output or weights cannot be used; nothing is written.
    """
    args = parse_args(argv)
    xla_flags.set_cpu_preset()
    xla_flags.keep_compiled()
    clock = Clock()

    ################ Model ################
    paths = images.find_images(args.image or [SAMPLES])
    out = atomic.writable_folder(args.out)
    with clock.stage("load"):
        model = inference.load(args.weights)
    with clock.stage("compile"):
        infer = compile_infer(model, args.batch_size, args.hand)
    device = jax.devices()[0].device_kind
    print(f"weights {args.weights} on {device}: {clock.report('load', 'compile')}")

    ################ Photos ################
    done = 0
    named = list(zip(paths, unique_names(paths)))
    for start in range(0, len(named), args.batch_size):
        photos = read_photos(named[start : start + args.batch_size], args.crop, clock)
        if photos:
            with clock.stage("infer"):
                predictions = infer([photo.crop for photo in photos])
            for photo, prediction in zip(photos, predictions):
                done += draw_and_write(photo, prediction, model, out, args, clock)

    ################ Summary ################
    if done:
        each = clock.report("read", "infer", "draw", "write", count=done)
        print(f"{done} of {len(paths)} done, each took: {each}")
    failed = len(paths) - done
    if failed:
        print(f"{failed} of {len(paths)} failed, see the errors above", file=sys.stderr)
    return 1 if failed else 0


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parses the command line; argparse prints an error and exits with 2 where it is wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m dice_jax.demo",
        description="Reconstructs hand, head, deformations and contact from photos.",
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
    add("--out", default="outputs", metavar="DIR", help="folder of the results (default: outputs)")
    add(
        "--weights",
        default="default",
        metavar="NAME|DIR",
        help="shipped weights, an exported folder or a training workdir (default: default)",
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
        help="auto: around the detected face and hand; center: the central square; "
        "full: the whole photo, padded (default: auto)",
    )
    add(
        "--mesh",
        choices=("glb", "ply", "obj", "none"),
        default="glb",
        help="file format of the meshes (default: glb)",
    )
    add(
        "--full_frame",
        action="store_true",
        help="also write NAME_photo.png, the meshes over the whole photo",
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
        help="photos that the network processes together (default: 1)",
    )
    args = parser.parse_args(argv)
    if args.batch_size < 1:
        parser.error(f"--batch_size must be at least 1, got {args.batch_size}")
    if args.focal_length is not None and not args.focal_length > 0:
        parser.error(f"--focal_length must be positive, got {args.focal_length}")
    return args


def compile_infer(
    model: inference.Model, batch_size: int, hand: str
) -> Callable[[Sequence[UInt8[np.ndarray, "224 224 3"]]], list[Prediction]]:
    """Compiles inference; the result takes up to `batch_size` crops and returns their predictions.

    Predictions are NumPy, without leading dimensions.
    """
    shape = jax.ShapeDtypeStruct((batch_size, CROP_SIZE, CROP_SIZE, 3), np.uint8)
    compiled = inference.infer.lower(model, shape, hand=hand).compile()

    def infer(crops: Sequence[UInt8[np.ndarray, "224 224 3"]]) -> list[Prediction]:
        # A smaller batch is filled up, because another shape would need another compilation.
        filled = [*crops, *[crops[-1]] * (batch_size - len(crops))]
        batch = jax.device_get(compiled(model, np.stack(filled)))
        return [jax.tree.map(lambda x, i=i: x[i], batch) for i in range(len(crops))]

    return infer


@dataclasses.dataclass(frozen=True)
class Photo:
    """One input.

    Attributes:
        path: the file.
        name: what the names of its results start with.
        pixels: RGB.
        box: the square around hand and face.
        crop: the content of that square, the network's input.
        notes: what the detectors did not find.
    """

    path: Path
    name: str
    pixels: UInt8[np.ndarray, "H W 3"]
    box: crop.CropBox
    crop: UInt8[np.ndarray, "224 224 3"]
    notes: tuple[str, ...]


def read_photos(named: Sequence[tuple[Path, str]], crop_mode: str, clock: Clock) -> list[Photo]:
    """Reads and crops photos; those that cannot be read are reported on stderr and left out.

    Args:
        named: files, and names for their results.
        crop_mode: "auto", "center" or "full".
        clock: gets the time of the stage "read".
    """
    photos = []
    for path, name in named:
        try:
            with clock.stage("read"):
                pixels = images.read_image(path)
                box, notes = choose_box(pixels, crop_mode)
                photos.append(Photo(path, name, pixels, box, crop.cut(pixels, box), notes))
        except (ValueError, OSError) as error:
            errors.report(error)
    return photos


def choose_box(
    pixels: UInt8[np.ndarray, "H W 3"], crop_mode: str
) -> tuple[crop.CropBox, tuple[str, ...]]:
    """The square to crop, and notes on what the detectors did not find.

    Args:
        pixels: RGB photo.
        crop_mode: "auto", "center" or "full".
    """
    height, width = pixels.shape[:2]
    if crop_mode == "center":
        return crop.center_box(height, width), ()
    if crop_mode == "full":
        return crop.full_box(height, width), ()
    found = people.find_people(pixels)
    if not found:
        notes = ("found no face and no hand, cropped the center of the photo",)
        return crop.center_box(height, width), notes
    missing = {"face": found[0].face is None, "hand": not found[0].hands}
    notes = tuple(f"found no {name}" for name, is_missing in missing.items() if is_missing)
    return framing.person_box(found[0], height, width), notes


def draw_and_write(
    photo: Photo,
    prediction: Prediction,
    model: inference.Model,
    out: Path,
    args: argparse.Namespace,
    clock: Clock,
) -> bool:
    """Draws and writes the results of one photo and prints a summary.

    Returns:
        Whether all files could be written; if not, the error is reported on stderr.
    """
    presence = float(prediction.contact_presence)
    touches = "touches the face" if presence > 0.5 else "probably does not touch the face"
    verdict = f"{args.hand} hand {touches} ({presence:.0%})"
    with clock.stage("draw"):
        results = demo_results.draw(
            prediction,
            photo.pixels,
            photo.box,
            np.asarray(model.hand_model.faces),
            np.asarray(model.head_model.faces),
            title=f"{photo.name}: {verdict}",
            hand=args.hand,
            focal_length=args.focal_length,
            full_frame=args.full_frame,
        )
    stem = out / photo.name
    try:
        with clock.stage("write"):
            extras = {"source": photo.path.name, "hand": args.hand}
            files = demo_results.write(results, stem, args.mesh, extras)
    except OSError as error:
        errors.report(OSError(f"{stem}*: cannot be written ({error.strerror})"))
        return False
    deepest = 1e3 * float(np.linalg.norm(prediction.deformations, axis=-1).max())
    summary = "; ".join([verdict, f"deformation up to {deepest:.1f} mm", *photo.notes])
    print(f"{photo.path}: {summary}", *files, sep="\n  ")
    return True


def unique_names(paths: Sequence[Path]) -> list[str]:
    """A name for the results of each photo: the file's stem, numbered where two files share it."""
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
