"""Prepares the data set `in_the_wild` from a folder of photos: pseudo keypoints and depth.

  python -m dice_jax.tools.prepare_in_the_wild --images ~/photos --depth files:~/photos_depth \\
      --hand mediapipe --face mediapipe --out ~/data

Networks for hand keypoints and face landmarks ship with this package. Depth, and other keypoints,
come from plug-ins or files:

{plugins}

Authors' layout (--layout authors): --images is a folder with images, depth_maps, face_keypoints and
hand_keypoints; whole photos are squashed into the crop, as the authors do. Without depth
(--depth none) the depth loss has no data.

in_the_wild_report.txt lists the photos that were left out because no hand, face or depth was found.
in_the_wild_review/ contains sheets of the other photos for you to check. An interrupted run
continues where it stopped.
"""

from __future__ import annotations

import functools
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from dice_jax import errors, user_folders
from dice_jax.constants import NUM_HAND_KEYPOINTS, NUM_HEAD_KEYPOINTS
from dice_jax.datasets import prepared_records, registry
from dice_jax.datasets.in_the_wild import label_sources, prepare
from dice_jax.datasets.in_the_wild.dataset import InTheWild
from dice_jax.errors import UserError
from dice_jax.io import atomic, images

_PHOTOS_PER_PART = 64
_COLUMNS = 8  # of a review sheet
_BYTES_PER_SAMPLE = 30_000


def main(argv: list[str] | None = None, photos_per_part: int = _PHOTOS_PER_PART) -> None:
    _, _, plugins = (label_sources.__doc__ or "").partition("\n\n")
    parser = errors.argument_parser(
        (__doc__ or "").replace("{plugins}", plugins.strip("\n")),
        prog="python -m dice_jax.tools.prepare_in_the_wild",
    )
    add = parser.add_argument
    add("--images", required=True, help="folder of photos, or of the authors' layout")
    add("--layout", choices=("photos", "authors"), default="photos")
    add("--hand", help="source of hand keypoints")
    add("--face", help="source of face landmarks")
    add("--depth", help="source of depth, or none")
    add("--disparity", action="store_true", help="the depth values increase towards the camera")
    add("--keep_left", action="store_true", help="do not mirror photos of left hands")
    add("--out", help="folder of data sets (default: $DICE_DATA, or ~/.cache/dice_jax)")
    args = parser.parse_args(argv)

    ################ Photos and sources ################
    out = atomic.writable_folder(registry.data_folder(args.out))
    root, is_authors_layout = user_folders.expand(args.images), args.layout == "authors"
    if is_authors_layout:
        args.hand = f"files:{root / 'hand_keypoints'}"
        args.face = f"files:{root / 'face_keypoints'}"
        args.depth = f"files:{root / 'depth_maps'}"
    for name in ("hand", "face", "depth"):
        if not getattr(args, name):
            raise UserError(
                f"--{name} is not given: it selects the source of the labels, "
                "such as files:FOLDER; see --help"
            )
    photos = prepare.find_photos(root / "images" if is_authors_layout else root)
    sources = prepare.Sources(
        label_sources.keypoints(args.hand, NUM_HAND_KEYPOINTS),
        label_sources.keypoints(args.face, NUM_HEAD_KEYPOINTS),
        label_sources.depth(args.depth, args.disparity),
        sees_right_hand=functools.partial(label_sources.sees_right_hand, args.hand),
        squash_photo=is_authors_layout,
        mirror_left=not args.keep_left,
    )
    need, free = 2 * _BYTES_PER_SAMPLE * len(photos) / 1e9, shutil.disk_usage(out).free / 1e9
    print(f"{len(photos)} photos; {out} needs {need:.2f} GB, {free:.1f} GB are free")
    if need > free:
        raise UserError(
            f"{out} has {free:.1f} GB free, {need:.2f} are needed: choose another --out"
        )

    ################ Labels ################
    parts = prepared_records.parts_folder(out, InTheWild.name)
    names = ("images", "layout", "hand", "face", "depth", "disparity")
    settings = {name: str(getattr(args, name)) for name in names}
    settings["photographs"] = prepare.describe_photos(photos)
    prepared_records.check_settings(parts, settings)
    groups = [
        range(start, min(start + photos_per_part, len(photos)))
        for start in range(0, len(photos), photos_per_part)
    ]
    paths = [parts / "train" / f"{number:05d}.msgpack" for number in range(len(groups))]
    review = out / "in_the_wild_review"
    with tqdm(total=len(photos), desc="in_the_wild", unit="photo") as bar:
        for path, group in zip(paths, groups):
            if not path.exists():
                _write_part(path, photos, group, sources, review / f"{path.stem}.jpg")
            bar.update(len(group))

    ################ Data set ################
    notes = [prepared_records.read_left_out(path).items() for path in paths]
    left_out = [f"{name}: {reason}" for note in notes for reason, names in note for name in names]
    report = [*left_out, f"left out: {len(left_out)} of {len(photos)}"]
    atomic.write_text(out / "in_the_wild_report.txt", "\n".join(report) + "\n")
    for line in left_out[:20]:
        print(f"left out: {line}")
    sizes = prepared_records.build(InTheWild, out, keep_parts=False)
    print(
        f"in_the_wild: {sizes['train']} samples, {len(left_out)} of {len(photos)} photos left out "
        f"(in_the_wild_report.txt); please check the sheets in {review}"
    )


def _write_part(
    path: Path,
    photos: Sequence[prepare.Photo],
    group: range,
    sources: prepare.Sources,
    sheet: Path,
) -> None:
    """Writes one part and its review sheet."""
    examples, left_out = [], {}
    for number in group:
        made = prepare.make_example(photos[number], number, sources)
        if isinstance(made, str):
            left_out.setdefault(made, []).append(photos[number].name)
        else:
            examples.append(made)
    if examples:
        sheet.parent.mkdir(parents=True, exist_ok=True)
        tiles = [prepare.review_image(example) for example in examples]
        tiles += [np.full_like(tiles[0], 255)] * (-len(tiles) % _COLUMNS)
        starts = range(0, len(tiles), _COLUMNS)
        rows = [np.concatenate(tiles[start : start + _COLUMNS], axis=1) for start in starts]
        images.write_image(sheet, np.concatenate(rows))
    prepared_records.write_part(path, examples, left_out)


if __name__ == "__main__":
    errors.run(main)
