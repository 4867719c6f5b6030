"""Draws scenes of the synthetic data set: a grid of images, each beside its labels.

  python -m dice_jax.tools.contact_sheet --count 16 --seed 0 --out sheet.png

The labels are depth, hand mask, keypoints, gesture, the numbers of hand and head vertices in
contact, and the largest deformation.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import UInt8

from dice_jax import errors
from dice_jax.input_pipeline.schema import Example
from dice_jax.io import images
from dice_jax.synthetic.scene_sampler import Rendering, SceneSampler

_COLUMNS = 4
_COLORS = {"head": (255, 40, 40), "hand": (60, 110, 255)}


def main(argv: Sequence[str] | None = None) -> None:
    parser = errors.argument_parser(__doc__, prog="python -m dice_jax.tools.contact_sheet")
    add = parser.add_argument
    add("--count", type=int, default=16, metavar="N", help="scenes to draw (default: 16)")
    add("--views", type=int, default=1, metavar="N", help="views of each scene (default: 1)")
    add("--seed", type=int, default=0, help="seed of the sampler (default: 0)")
    add("--first", type=int, default=0, metavar="INDEX", help="first scene (default: 0)")
    add("--out", default="contact_sheet.png", help="image file (default: contact_sheet.png)")
    args = parser.parse_args(argv)
    if args.count < 1 or args.views < 1:
        parser.error("--count and --views must be at least 1")

    sampler = SceneSampler(args.seed, views_per_scene=args.views)
    tiles = []
    for index in range(args.first, args.first + args.count):
        for example, rendering in sampler.scene_with_renderings(index):
            labels = draw_labels(example, rendering)
            tiles.append(np.concatenate([example["image"], labels], axis=1))
    tiles += [np.full_like(tiles[0], 255)] * (-len(tiles) % _COLUMNS)
    rows = [np.concatenate(tiles[i : i + _COLUMNS], axis=1) for i in range(0, len(tiles), _COLUMNS)]
    images.write_image(args.out, np.concatenate(rows))


def draw_labels(example: Example, rendering: Rendering) -> UInt8[np.ndarray, "224 224 3"]:
    """Depth as brightness, a tinted hand, keypoints as dots, gesture, contacts and deformation."""
    seen = np.isfinite(rendering.depth)
    near, far = rendering.depth[seen].min(), rendering.depth[seen].max()
    brightness = np.where(seen, 220 - 150 * (rendering.depth - near) / (far - near), 255)[..., None]
    tint = np.where(rendering.hand_mask[..., None], (0.75, 0.85, 1.0), (1.0, 1.0, 1.0))
    panel = np.ascontiguousarray((brightness * tint).astype(np.uint8))
    for part, color in _COLORS.items():
        for x, y, confidence in example[f"{part}_keypoints_2d"]:
            if confidence:
                cv2.circle(panel, (int(x), int(y)), 1, color, -1)
    contacts = f"{example['hand_contact'].sum()}/{example['head_contact'].sum()}"
    deformation = 1000 * np.linalg.norm(example["deformations"], axis=-1).max()
    words = f"{example['gesture']} {contacts} {deformation:.1f} mm"
    cv2.putText(panel, words, (3, 12), 0, 0.38, (0, 0, 0), 1, cv2.LINE_AA)
    return panel


if __name__ == "__main__":
    errors.run(main)
