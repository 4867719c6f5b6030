"""Shows what the scene sampler makes: a grid of pictures, each beside its contacts and dents.

python -m dice_jax.tools.contact_sheet --count 16 --seed 0 --out sheet.png
"""

from __future__ import annotations

import cv2
import numpy as np
from absl import flags

from dice_jax import errors
from dice_jax.synthetic.scenes import SceneSampler

_COUNT = flags.DEFINE_integer("count", 16, "Scenes to show.", lower_bound=1)
_SEED = flags.DEFINE_integer("seed", 0, "Seed of the sampler.")
_FIRST = flags.DEFINE_integer("first", 0, "Index of the first scene.")
_VIEWS = flags.DEFINE_integer("views", 1, "Views of each scene.", lower_bound=1)
_OUT = flags.DEFINE_string("out", "contact_sheet.png", "Picture to write.")

_COLUMNS = 4
_HAND, _HEAD = (60, 110, 255), (255, 40, 40)


def main(argv) -> None:
    del argv
    sampler = SceneSampler(_SEED.value, views_per_scene=_VIEWS.value)
    tiles = []
    for index in range(_FIRST.value, _FIRST.value + _COUNT.value):
        for example, rendering in sampler.scene_with_renderings(index):
            tiles.append(np.concatenate([example["image"], _overlay(example, rendering)], axis=1))
    tiles += [np.full_like(tiles[0], 255)] * (-len(tiles) % _COLUMNS)
    rows = [np.concatenate(tiles[i : i + _COLUMNS], axis=1) for i in range(0, len(tiles), _COLUMNS)]
    if not cv2.imwrite(_OUT.value, np.concatenate(rows)[..., ::-1]):
        raise errors.UserError(
            f"cannot write {_OUT.value}: is the folder there, and the ending that of a picture?"
        )


def _overlay(example, rendering):
    """Masks in gray, depth as brightness, keypoints as dots, gesture and number of contacts as
    text.
    """
    seen = np.isfinite(rendering.depth)
    near, far = rendering.depth[seen].min(), rendering.depth[seen].max()
    brightness = np.where(seen, 220 - 150 * (rendering.depth - near) / (far - near), 255)[..., None]
    tint = np.where(rendering.hand_mask[..., None], (0.75, 0.85, 1.0), (1.0, 1.0, 1.0))
    overlay = np.ascontiguousarray((brightness * tint).astype(np.uint8))
    for name, color in (("head", _HEAD), ("hand", _HAND)):
        for x, y, confidence in example[f"{name}_keypoints_2d"]:
            if confidence:
                cv2.circle(overlay, (int(x), int(y)), 1, color, -1)
    contacts = f"{example['hand_contact'].sum()}/{example['head_contact'].sum()}"
    dent = 1000 * np.linalg.norm(example["deformations"], axis=-1).max()
    cv2.putText(
        overlay,
        f"{example['gesture']} {contacts} {dent:.1f} mm",
        (3, 12),
        0,
        0.38,
        (0, 0, 0),
        1,
        cv2.LINE_AA,
    )
    return overlay


if __name__ == "__main__":
    errors.run(main)
