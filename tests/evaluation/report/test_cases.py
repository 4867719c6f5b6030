import base64

import cv2
import numpy as np

from dice_jax.evaluation.report import cases


class Rows:
    """The fields of measured samples that choosing looks at."""

    def __init__(self, pve, frames=None):
        self.pve = np.array(pve, float)
        self.frames = np.ones(len(pve)) if frames is None else np.array(frames)


def test_worst_and_median_of_the_samples_with_labels():
    chosen = cases.worst_and_median(Rows([5, 1, 0, 9, 7, 4], [1, 1, 0, 1, 1, 1]), 2)
    assert list(chosen["worst"]) == [3, 4]
    assert list(chosen["median"]) == [0, 5]
    assert all(len(ids) == 0 for ids in cases.worst_and_median(Rows([0, 0], [0, 0]), 2).values())


def test_most_different_are_the_largest_gains_and_losses():
    chosen = cases.most_different(Rows([5, 5, 5, 5]), Rows([4, 9, 5, 1]), 2)
    assert list(chosen["better"]) == [3, 0] and list(chosen["worse"]) == [1]


def test_data_uri_is_the_picture(rng):
    smooth = cv2.resize(
        rng.integers(0, 256, (6, 8, 3), dtype=np.uint8), (160, 120), interpolation=cv2.INTER_CUBIC
    )
    kind, data = cases.data_uri(smooth).split(";base64,")
    pixels = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR)[
        ..., ::-1
    ]
    assert kind == "data:image/jpeg" and np.abs(pixels.astype(float) - smooth).mean() < 4
