import base64

import cv2
import numpy as np
from support.random_rows import random_rows

from dice_jax.evaluation.report import cases


def rows(pve, frames=None):
    """Measured samples of this PVE*; `frames` is 0 where the sample has no 3D labels."""
    made = random_rows(len(pve), np.random.default_rng(0))
    frames = np.ones(len(pve)) if frames is None else np.array(frames, float)
    return made.replace(pve=np.array(pve, float), frames=frames)


def test_worst_and_median_samples_are_chosen_among_those_with_labels():
    chosen = cases.worst_and_median(rows([5, 1, 0, 9, 7, 4], [1, 1, 0, 1, 1, 1]), 2)
    assert list(chosen["worst"]) == [3, 4]
    assert list(chosen["median"]) == [0, 5]
    assert all(len(ids) == 0 for ids in cases.worst_and_median(rows([0, 0], [0, 0]), 2).values())


def test_most_different_samples_have_the_largest_gains_and_losses():
    chosen = cases.most_different(rows([5, 5, 5, 5]), rows([4, 9, 5, 1]), 2)
    assert list(chosen["better"]) == [3, 0] and list(chosen["worse"]) == [1]


def test_a_data_uri_decodes_to_the_image(rng):
    coarse = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    smooth = cv2.resize(coarse, (160, 120), interpolation=cv2.INTER_CUBIC)
    kind, data = cases.data_uri(smooth).split(";base64,")
    encoded = np.frombuffer(base64.b64decode(data), np.uint8)
    decoded = cv2.imdecode(encoded, cv2.IMREAD_COLOR)[..., ::-1]
    assert kind == "data:image/jpeg" and np.abs(decoded.astype(float) - smooth).mean() < 4
