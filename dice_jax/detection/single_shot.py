"""MediaPipe's detectors of faces (Bazarevsky et al. 2019) and palms (Zhang et al. 2020).

Both predict, for every anchor of a grid, a box relative to the anchor, keypoints and a score.
"""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
from jaxtyping import Float

from dice_jax.detection import runtime
from dice_jax.detection.squares import Pyramid, Square

_MIN_OVERLAP = 0.3  # intersection over union above which two boxes show the same


@dataclasses.dataclass(frozen=True)
class Box:
    """A detection, in pixels of the photo.

    Attributes:
        center: of the box.
        side: of the box, which is a square.
        keypoints: of a face: the person's right eye, left eye, nose, mouth, right and left ear; of
            a palm: wrist, knuckles of index, middle, ring and little finger, and two of the thumb.
        score: probability, in [0, 1].
    """

    center: Float[np.ndarray, "2"]
    side: float
    keypoints: Float[np.ndarray, "K 2"]
    score: float


def faces(photo: Pyramid, square: Square, min_score: float = 0.5) -> list[Box]:
    """The faces in a square of the photo, the surest first."""
    return _detect(runtime.FACE_DETECTION, photo, square, min_score)


def palms(photo: Pyramid, square: Square, min_score: float = 0.5) -> list[Box]:
    """The palms in a square of the photo, the surest first."""
    return _detect(runtime.PALM_DETECTION, photo, square, min_score)


def without_duplicates(boxes: list[Box]) -> list[Box]:
    """The surest box of each group of boxes that overlap, the surest first."""
    kept: list[Box] = []
    for box in sorted(boxes, key=lambda box: -box.score):
        if all(_overlap(box, other) < _MIN_OVERLAP for other in kept):
            kept.append(box)
    return kept


def _overlap(a: Box, b: Box) -> float:
    """Intersection over union of the two squares, both taken as upright."""
    shared = np.minimum(a.center + a.side / 2, b.center + b.side / 2)
    shared = shared - np.maximum(a.center - a.side / 2, b.center - b.side / 2)
    intersection = float(np.prod(np.maximum(shared, 0.0)))
    return intersection / max(a.side**2 + b.side**2 - intersection, 1e-9)


def _detect(spec: runtime.Spec, photo: Pyramid, square: Square, min_score: float) -> list[Box]:
    size = spec.size
    outputs, logits = runtime.network(spec)(photo.cut(square, size))
    scores = runtime.probability(logits[:, 0].astype(np.float64))
    chosen = np.flatnonzero(scores > min_score)
    anchor = anchors(size)[chosen, None] * size
    pairs = outputs.reshape(len(outputs), -1, 2)[chosen].astype(np.float64)
    centers, sides = pairs[:, 0] + anchor[:, 0], pairs[:, 1].max(-1) * square.side / size
    centers, points = square.to_photo(centers, size), square.to_photo(pairs[:, 2:] + anchor, size)
    boxes = [
        Box(*values) for values in zip(centers, sides.tolist(), points, scores[chosen].tolist())
    ]
    return _merged([box for box in boxes if box.side > 0])


def _merged(boxes: list[Box]) -> list[Box]:
    """The mean of each group of boxes that overlap, weighted by score, as MediaPipe takes it."""
    merged = []
    left = sorted(boxes, key=lambda box: -box.score)
    while left:
        group = [box for box in left if _overlap(box, left[0]) >= _MIN_OVERLAP]
        weights = np.array([box.score for box in group]) / sum(box.score for box in group)
        center = weights @ np.stack([box.center for box in group])
        keypoints = np.tensordot(weights, np.stack([box.keypoints for box in group]), 1)
        side = float(weights @ np.array([box.side for box in group]))
        merged.append(Box(center, side, keypoints, left[0].score))
        left = [box for box in left if _overlap(box, left[0]) < _MIN_OVERLAP]
    return merged


@functools.cache
def anchors(size: int) -> Float[np.ndarray, "N 2"]:
    """Centers of the anchors of a detector whose input has `size` pixels a side, in [0, 1].

    MediaPipe has two per cell on the stride-8 grid, then six per cell on the stride-16 grid.
    """
    grids = []
    for stride, count in ((8, 2), (16, 6)):
        axis = (np.arange(size // stride) + 0.5) * stride / size
        cells = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
        grids.append(np.repeat(cells, count, axis=0))
    return np.concatenate(grids)
