"""Joins results of the demo into the README's strip of images, docs/images/samples.jpg.

  python -m dice_jax.demo --out outputs
  python tools/draw_samples.py outputs --out docs/images/samples.jpg

Each column is one shipped sample: the crop, the meshes over it; below these contact on the head,
contact on the hand, and deformation.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

SAMPLES = ("scene_palm_cheek", "scene_mouth_cover", "scene_open_near")
COLUMN_WIDTH = 520  # pixels
GAP = 12
BACKGROUND = 255
LOWER_ROW = 0.525  # the second row of panels starts at this share of the side view's height


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("outputs", type=Path, help="the folder that the demo wrote")
    parser.add_argument("--out", type=Path, default=Path("docs/images/samples.jpg"))
    args = parser.parse_args(argv)
    cv2.imwrite(str(args.out), strip(args.outputs), [cv2.IMWRITE_JPEG_QUALITY, 85])


def strip(outputs: Path) -> np.ndarray:
    """The strip (BGR): a column for each of `SAMPLES`."""
    columns = []
    for name in SAMPLES:
        overlay = read(outputs / f"{name}_overlay.png")
        sides = read(outputs / f"{name}_side.png")
        panels = sides[round(LOWER_ROW * len(sides)) :]
        columns.append(np.concatenate([to_width(overlay), to_width(panels)]))
    gap = np.full((len(columns[0]), GAP, 3), BACKGROUND, np.uint8)
    return np.concatenate([columns[0], gap, columns[1], gap, columns[2]], axis=1)


def to_width(image: np.ndarray) -> np.ndarray:
    height = round(len(image) * COLUMN_WIDTH / image.shape[1])
    return cv2.resize(image, (COLUMN_WIDTH, height), interpolation=cv2.INTER_AREA)


def read(path: Path) -> np.ndarray:
    image = cv2.imread(str(path))
    if image is None:
        raise FileNotFoundError(f"{path}: run the demo first, see --help")
    return image


if __name__ == "__main__":
    main()
