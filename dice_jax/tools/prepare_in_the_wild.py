"""Prepares the data set `in_the_wild` from a folder of photographs: pseudo labels of keypoints and
depth.

  pip download mediapipe==0.10.21 --no-deps
  python -m dice_jax.tools.prepare_in_the_wild --images ~/photos --hand mediapipe:mediapipe-0.10.21-*.whl \\
      --face mediapipe:mediapipe-0.10.21-*.whl --depth files:~/photos_depth --out ~/data

Only detectors of palms and faces ship with this package. The networks that mark hand keypoints and
face landmarks, and those that estimate depth, are plug-ins or ready-made files:

{plugins}

Authors' layout (--layout authors): images, depth_maps, face_keypoints and hand_keypoints below one
folder, which --images names; pictures are squashed into the crop whole, as there. Without depth
(--depth none) the depth loss has no data.

Photographs without a hand, a face or depth are left out and listed in in_the_wild_report.txt;
sheets of the others, to look through, are in in_the_wild_review/. A run that was broken off goes on
where it stopped.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from dice_jax import errors
from dice_jax.datasets import prepared_records
from dice_jax.datasets.in_the_wild import dataset, label_sources
from dice_jax.errors import UserError
from dice_jax.io import atomic, images

_PER_PART = 64
_COLUMNS = 8
_BYTES_PER_SAMPLE = 30_000


def main(argv: list[str] | None = None) -> None:
    plugins = label_sources.__doc__.split("\n", 2)[2].strip("\n")
    parser = errors.argument_parser(
        __doc__.replace("{plugins}", plugins), prog="python -m dice_jax.tools.prepare_in_the_wild"
    )
    parser.add_argument(
        "--images", required=True, help="folder of photographs, or of the authors' layout"
    )
    parser.add_argument("--layout", choices=("photos", "authors"), default="photos")
    parser.add_argument("--hand", help="source of hand keypoints")
    parser.add_argument("--face", help="source of face landmarks")
    parser.add_argument("--depth", help="source of depth, or none")
    parser.add_argument(
        "--disparity", action="store_true", help="that source's values grow towards the camera"
    )
    parser.add_argument(
        "--keep-left", action="store_true", help="do not mirror photographs of left hands"
    )
    parser.add_argument(
        "--out",
        default=os.environ.get("DICE_DATA", "~/.cache/dice_jax"),
        help="folder of data sets",
    )
    args = parser.parse_args(argv)

    ################ Photographs and sources ################
    out = atomic.writable_folder(Path(args.out).expanduser())
    root, authors = Path(args.images).expanduser(), args.layout == "authors"
    if authors:
        args.hand, args.face = (
            f"files:{root / 'hand_keypoints'}",
            f"files:{root / 'face_keypoints'}",
        )
        args.depth = f"files:{root / 'depth_maps'}"
    for name in ("hand", "face", "depth"):
        if not getattr(args, name):
            raise UserError(
                f"--{name} is not given: it names where the labels come from, such as files:FOLDER; see --help"
            )
    photos = dataset.find_photos(root / "images" if authors else root)
    sources = dataset.Sources(
        label_sources.keypoints(args.hand, 21),
        label_sources.keypoints(args.face, 68),
        label_sources.depth(args.depth, args.disparity),
        args.hand,
        whole=authors,
        mirror_left=not args.keep_left,
    )
    need, free = 2 * _BYTES_PER_SAMPLE * len(photos) / 1e9, shutil.disk_usage(out).free / 1e9
    print(
        f"{len(photos)} photographs; {need:.2f} GB will be needed in {out}, {free:.1f} GB are free"
    )
    if need > free:
        raise UserError(f"{out} has {free:.1f} GB free, {need:.2f} are needed: take another --out")

    ################ Labels ################
    parts = prepared_records.parts_folder(out, dataset.InTheWild.name)
    settings = {
        name: str(getattr(args, name))
        for name in ("images", "layout", "hand", "face", "depth", "disparity")
    }
    prepared_records.same_settings(parts, settings | {"photographs": len(photos)})
    groups = [
        range(start, min(start + _PER_PART, len(photos)))
        for start in range(0, len(photos), _PER_PART)
    ]
    paths = [parts / "train" / f"{number:05d}.msgpack" for number in range(len(groups))]
    with tqdm(total=len(photos), desc="in_the_wild", unit="photo") as bar:
        for path, group in zip(paths, groups):
            if not path.exists():
                _write(
                    path, photos, group, sources, out / "in_the_wild_review" / f"{path.stem}.jpg"
                )
            bar.update(len(group))

    ################ Data set ################
    notes = [prepared_records.left_out(path).items() for path in paths]
    left_out = [f"{name}: {reason}" for note in notes for reason, names in note for name in names]
    report = [*left_out, f"left out: {len(left_out)} of {len(photos)}"]
    (out / "in_the_wild_report.txt").write_text("\n".join(report) + "\n")
    for line in left_out[:20]:
        print(f"left out: {line}")
    sizes = prepared_records.build(dataset.InTheWild, out, keep_parts=False)
    print(
        f"in_the_wild: {sizes['train']} samples, {len(left_out)} of {len(photos)} photographs left out "
        f"(in_the_wild_report.txt); look through {out / 'in_the_wild_review'}"
    )


def _write(
    path: Path, photos: Sequence[dataset.Photo], group: range, sources: dataset.Sources, sheet: Path
) -> None:
    """One part and its sheet of pictures."""
    examples, left_out = [], {}
    for number in group:
        made = dataset.make_example(photos[number], number, sources)
        if isinstance(made, str):
            left_out.setdefault(made, []).append(photos[number].name)
        else:
            examples.append(made)
    if examples:
        sheet.parent.mkdir(parents=True, exist_ok=True)
        tiles = [dataset.review_picture(example) for example in examples]
        tiles += [np.full_like(tiles[0], 255)] * (-len(tiles) % _COLUMNS)
        rows = [
            np.concatenate(tiles[i : i + _COLUMNS], axis=1) for i in range(0, len(tiles), _COLUMNS)
        ]
        images.write_image(sheet, np.concatenate(rows))
    prepared_records.write_part(path, examples, left_out)


if __name__ == "__main__":
    errors.run(main)
