"""Anatomical regions of the head, and the edge lengths and stiffness derived from them.

Lips and ears have painted masks in the source. All other regions are bounded by curves in the frame
of the average head: millimeters, origin between the eyes, x to the person's left, y up, z forward.
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

# Desired edge lengths, millimeters: fine where hands touch, coarse on scalp and neck. Only their
# ratios matter.
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
    """Assigns every vertex to one region.

    Args:
        points: (N, 3) vertices of the average head, millimeters, origin between the eyes.
        lips, ears: (N,) painted masks in [0, 1].
        eyeballs: (N,) bool, or the index of the first eyeball vertex where these come last.

    Returns:
        One (N,) bool mask for each of `REGIONS`, of which every vertex is in exactly one. "left" is
        the person's left, +x.
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
        if name in REGIONS:
            masks[name] = chosen
        else:
            masks[f"{name}_left"] = chosen & (points[:, 0] >= 0)
            masks[f"{name}_right"] = chosen & (points[:, 0] < 0)
    return {name: masks[name] for name in REGIONS}


def region_values(
    masks: dict[str, np.ndarray], values: dict[str, float], default: float
) -> np.ndarray:
    """Values (N,) of the vertices from those of their regions; left and right have the same."""
    result = np.full(len(next(iter(masks.values()))), default)
    for name, mask in masks.items():
        result[mask] = values.get(name.split("_")[0], default)
    return result


def edge_lengths(masks: dict[str, np.ndarray], brows: np.ndarray) -> np.ndarray:
    """Desired edge length (N,) at every vertex, millimeters.

    Args:
        masks: of `head_regions`.
        brows: (N,) in [0, 1]; vertices are denser there, because brows are vertex colors.
    """
    lengths = region_values(masks, _EDGE_LENGTH, 10.0)
    return lengths + brows * (np.minimum(lengths, _BROW_EDGE_LENGTH) - lengths)


def stiffness(masks: dict[str, np.ndarray], points: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Stiffness (N,) of the skin: 0 for soft skin (cheeks, lips), 1 for skin on bone (scalp).

    Smooth over the mesh. The bridge of the nose and the cheek bones are stiffer than the rest of
    their regions.

    Args:
        masks: of `head_regions`.
        points: as in `head_regions`.
        faces: (F, 3).
    """
    x, y = np.abs(points[:, 0]), points[:, 1]
    values = region_values(masks, _STIFFNESS, 0.0)
    values = np.where(masks["nose"], np.interp(y, [-40, -15], [0.4, 0.95]), values)
    cheek = masks["cheek_left"] | masks["cheek_right"]
    cheek_bone = 0.5 * np.exp(-(((x - 55) / 14) ** 2) - ((y + 18) / 12) ** 2)
    values = np.where(cheek, np.maximum(values, cheek_bone), values)
    return np.clip(smooth(values, faces, rounds=6), 0, 1)


def smooth(values: np.ndarray, faces: np.ndarray, rounds: int) -> np.ndarray:
    """Averages values (N,) over adjacent vertices, `rounds` times."""
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    edges = np.unique(np.sort(edges, 1), axis=0)
    degree = np.bincount(edges.ravel(), minlength=len(values))
    for _ in range(rounds):
        total = np.zeros(len(values))
        np.add.at(total, edges[:, 0], values[edges[:, 1]])
        np.add.at(total, edges[:, 1], values[edges[:, 0]])
        values = np.where(degree > 0, (values + total / np.maximum(degree, 1)) / 2, values)
    return values
