"""Sizes that the whole project shares."""

from __future__ import annotations

CROP_SIZE = 224  # pixels a side of the crop that the network sees

NUM_HAND_KEYPOINTS = 21
NUM_HEAD_KEYPOINTS = 68
NUM_FACE_POINTS = 468  # of MediaPipe's face mesh

# Vertices of the meshes of each part, from the full mesh to the coarsest.
HAND_LEVELS = (778, 195)
HEAD_LEVELS = (5023, 1675, 559)
NUM_HAND_VERTICES = HAND_LEVELS[0]
NUM_HEAD_VERTICES = HEAD_LEVELS[0]
