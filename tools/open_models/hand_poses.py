"""Plausible random hand poses, and the Gaussian prior that ships with the hand.

The poses are synthetic and not fitted to captured hands. The four fingers share most of their
flexion (about +z), they spread about y, and the thumb opposes. Ranges follow textbook ranges of
motion: about 90, 110 and 65 degrees of flexion at the three joints of a finger.
"""

from __future__ import annotations

import numpy as np

# Abduction at rest of index, middle, little and ring finger, radians.
_SPREAD = (0.06, 0.0, -0.12, -0.05)
_NOISE = 0.02  # radians about every axis, so that no direction has variance 0 in the prior


def sample_poses(count: int, rng: np.random.Generator) -> np.ndarray:
    """Axis-angle vectors (count, 16, 3), radians, of MANO's joints; the wrist does not rotate."""
    normal = lambda std: std * rng.standard_normal(count)
    pose = _NOISE * rng.standard_normal((count, 16, 3))
    pose[:, 0] = 0
    grip = rng.beta(1.2, 1.5, count)
    for finger, spread in enumerate(_SPREAD):
        base, middle, last = 3 * finger + 1, 3 * finger + 2, 3 * finger + 3
        flexion = np.clip(grip + normal(0.35), -0.15, 1.1)
        pose[:, base, 2] += 1.35 * flexion + normal(0.12)
        pose[:, middle, 2] += np.clip(1.55 * flexion + normal(0.2), 0, 1.9)
        # The last two joints share a tendon.
        pose[:, last, 2] += 0.6 * pose[:, middle, 2] + normal(0.08)
        # The fingers of a fist cannot spread.
        pose[:, base, 1] += (spread + normal(0.12)) * (1 - 0.6 * np.clip(flexion, 0, 1))
        pose[:, base, 0] += normal(0.05)
    opposition = rng.uniform(-0.2, 1, count)
    pose[:, 13] += np.stack([0.25 * opposition, -0.5 * opposition, 0.35 * opposition], 1)
    pose[:, 13] += rng.standard_normal((count, 3)) * [0.15, 0.2, 0.15]
    pose[:, 14, 1] += -0.5 * np.clip(opposition + normal(0.3), -0.2, 1.2)
    pose[:, 15, 1] += -0.7 * np.clip(opposition + normal(0.4), -0.3, 1.2)
    return pose


def pose_prior(poses: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gaussian of poses (N, 16, 3): mean (45,), components (45, 45) as rows, deviations (45,)."""
    flat = poses[:, 1:].reshape(len(poses), 45)
    mean = flat.mean(0)
    variances, vectors = np.linalg.eigh(np.cov(flat.T))
    components = vectors.T[::-1]
    largest = np.take_along_axis(components, np.abs(components).argmax(1)[:, None], 1)
    return mean, components * np.sign(largest), np.sqrt(np.maximum(variances[::-1], 0))
