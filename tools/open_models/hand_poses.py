"""Plausible random hand poses, and the Gaussian prior that ships with the hand.

Synthetic: a fist is made of flexions about +z that share most of their amount over the four
fingers, fingers spread about y, and the thumb opposes. Ranges follow textbook ranges of motion
(about 90, 110 and 65 degrees of flexion at the three joints of a finger); nothing is fitted to
captured hands.
"""

from __future__ import annotations

import numpy as np

_SPREAD = (0.06, 0.0, -0.12, -0.05)  # rest abduction of index, middle, little, ring, radians
_NOISE = 0.02  # radians on every axis, so that no direction of the prior is impossible


def sample_poses(count: int, rng: np.random.Generator) -> np.ndarray:
    """(count, 16, 3) axis-angle vectors of the 16 joints in MANO's order; the wrist does not turn."""
    normal = lambda std: std * rng.standard_normal(count)
    pose = _NOISE * rng.standard_normal((count, 16, 3))
    pose[:, 0] = 0
    grip = rng.beta(1.2, 1.5, count)
    for finger, spread in enumerate(_SPREAD):
        base, middle, last = 3 * finger + 1, 3 * finger + 2, 3 * finger + 3
        flexion = np.clip(grip + normal(0.35), -0.15, 1.1)
        pose[:, base, 2] += 1.35 * flexion + normal(0.12)
        pose[:, middle, 2] += np.clip(1.55 * flexion + normal(0.2), 0, 1.9)
        pose[:, last, 2] += 0.6 * pose[:, middle, 2] + normal(
            0.08
        )  # the two end joints share a tendon
        pose[:, base, 1] += (spread + normal(0.12)) * (
            1 - 0.6 * np.clip(flexion, 0, 1)
        )  # a fist cannot spread
        pose[:, base, 0] += normal(0.05)
    opposition = rng.uniform(-0.2, 1, count)
    pose[:, 13] += np.stack([0.25 * opposition, -0.5 * opposition, 0.35 * opposition], 1)
    pose[:, 13] += rng.standard_normal((count, 3)) * [0.15, 0.2, 0.15]
    pose[:, 14, 1] += -0.5 * np.clip(opposition + normal(0.3), -0.2, 1.2)
    pose[:, 15, 1] += -0.7 * np.clip(opposition + normal(0.4), -0.3, 1.2)
    return pose


def pose_prior(poses: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean (45,), orthonormal components (45, 45) as rows, and standard deviations (45,) of poses
    (N, 16, 3).
    """
    flat = poses[:, 1:].reshape(len(poses), 45)
    mean = flat.mean(0)
    variances, vectors = np.linalg.eigh(np.cov(flat.T))
    components = vectors.T[::-1]
    largest = np.take_along_axis(components, np.abs(components).argmax(1)[:, None], 1)
    return mean, components * np.sign(largest), np.sqrt(np.maximum(variances[::-1], 0))
