"""Anatomical regions of the head on the source mesh, and what follows from them: edge lengths and
stiffness.

Lips, ears and eyelids have painted masks in the source; the rest is cut by curves in the frame of
the average head: millimeters, origin between the eyes, x to the person's left, y up, z forward.
"""

from __future__ import annotations

import numpy as np

REGIONS = (
    "forehead",
    "temple_left",
    "temple_right",
    "cheek_left",
    "cheek_right",
    "chin",
    "jaw_left",
    "jaw_right",
    "nose",
    "mouth",
    "lips",
    "eyelids",
    "ear_left",
    "ear_right",
    "scalp",
    "neck",
    "eyes",
)

# Edge length wanted, millimeters: fine where hands touch, coarse on scalp and neck. Only ratios
# count.
_EDGE_LENGTH = {
    "forehead": 7.0,
    "temple": 7.0,
    "cheek": 6.0,
    "chin": 5.5,
    "jaw": 6.0,
    "nose": 5.0,
    "mouth": 5.0,
    "lips": 4.5,
    "eyelids": 4.0,
    "ear": 8.0,
    "scalp": 13.0,
    "neck": 10.0,
    "eyes": 10.0,
}
_BROW_EDGE_LENGTH = 3.0
_STIFFNESS = {
    "forehead": 0.95,
    "temple": 0.7,
    "cheek": 0.1,
    "chin": 0.55,
    "jaw": 0.5,
    "nose": 0.45,
    "mouth": 0.1,
    "lips": 0.0,
    "eyelids": 0.15,
    "ear": 0.35,
    "scalp": 1.0,
    "neck": 0.25,
    "eyes": 1.0,
}


def head_regions(
    points: np.ndarray, lips: np.ndarray, ears: np.ndarray, eyeballs: np.ndarray | int
) -> dict[str, np.ndarray]:
    """Which region each vertex belongs to.

    Args:
        points: (N, 3) vertices of the average head, millimeters from between the eyes.
        lips: (N,) painted mask in [0, 1].
        ears: the same.
        eyeballs: (N,) bool, or the index of the first vertex of an eyeball, when they come last.

    Returns:
        One (N,) bool mask for each of `REGIONS`; a vertex is in exactly one. `left` is the person's
        left, +x.
    """
    if np.ndim(eyeballs) == 0:
        eyeballs = np.arange(len(points)) >= eyeballs
    x, y, z = np.abs(points[:, 0]), points[:, 1], points[:, 2]
    hairline = np.interp(z, [-100, -85, -65, -50, -25, 0], [-50, -10, 6, 35, 58, 66])
    neckline = np.interp(z, [-95, -60, 5], [-52, -88, -116])
    jawline = np.interp(z, [-95, -70, -20, 20], [-28, -36, -64, -82])
    nose_width = np.interp(y, [-52, -42, -25, 0, 8], [18, 19, 14, 8, 9])
    rules = (
        ("eyes", eyeballs),
        ("ear", ears > 0.5),
        ("lips", lips > 0.5),
        ("neck", y < neckline),
        ("scalp", y > hairline),
        ("eyelids", ((x - 29) / 18) ** 2 + ((y + 1) / 10.5) ** 2 < 1),
        ("nose", (x < nose_width) & (y > -52) & (y < 8)),
        ("temple", (x > 50) & (y > -8)),
        ("forehead", y > -2),
        ("chin", (x < 24) & (y < -82)),
        ("jaw", y < jawline),
        ("mouth", (x < 30) & (y < -44)),
        ("cheek", np.ones(len(points), bool)),
    )
    free = np.ones(len(points), bool)
    masks = {}
    for name, inside in rules:
        chosen, free = free & inside, free & ~inside
        sides = {f"{name}_left": points[:, 0] >= 0, f"{name}_right": points[:, 0] < 0}
        masks |= (
            {name: chosen}
            if name in REGIONS
            else {side: chosen & half for side, half in sides.items()}
        )
    return {name: masks[name] for name in REGIONS}


def region_values(
    masks: dict[str, np.ndarray], values: dict[str, float], default: float
) -> np.ndarray:
    """(N,) one number a vertex, from one number a region (left and right share theirs)."""
    result = np.full(len(next(iter(masks.values()))), default)
    for name, mask in masks.items():
        result[mask] = values.get(name.split("_")[0], default)
    return result


def edge_lengths(masks: dict[str, np.ndarray], brows: np.ndarray) -> np.ndarray:
    """(N,) edge length wanted around every vertex, millimeters; `brows` (N,) in [0, 1] are painted,
    so need more.
    """
    lengths = region_values(masks, _EDGE_LENGTH, 10.0)
    return lengths + brows * (np.minimum(lengths, _BROW_EDGE_LENGTH) - lengths)


def stiffness(masks: dict[str, np.ndarray], points: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """(N,) in [0, 1], smooth: 0 where skin is soft (cheeks, lips), 1 where bone is just below
    (forehead, skull).

    The bridge of the nose and the cheek bones are stiffer than the rest of their regions. `points`
    as in `head_regions`.
    """
    x, y = np.abs(points[:, 0]), points[:, 1]
    values = region_values(masks, _STIFFNESS, 0.0)
    values = np.where(masks["nose"], np.interp(y, [-40, -15], [0.4, 0.95]), values)
    cheek = masks["cheek_left"] | masks["cheek_right"]
    values = np.where(
        cheek,
        np.maximum(values, 0.5 * np.exp(-(((x - 55) / 14) ** 2) - ((y + 18) / 12) ** 2)),
        values,
    )
    return np.clip(smooth(values, faces, rounds=6), 0, 1)


def smooth(values: np.ndarray, faces: np.ndarray, rounds: int) -> np.ndarray:
    """Averages values over the mesh neighborhood, `rounds` times."""
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    edges = np.unique(np.sort(edges, 1), axis=0)
    degree = np.bincount(edges.ravel(), minlength=len(values))
    for _ in range(rounds):
        total = np.zeros(len(values))
        np.add.at(total, edges[:, 0], values[edges[:, 1]])
        np.add.at(total, edges[:, 1], values[edges[:, 0]])
        values = np.where(degree > 0, (values + total / np.maximum(degree, 1)) / 2, values)
    return values
