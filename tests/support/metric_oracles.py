"""All figures of an evaluation once more: float64 NumPy, SciPy and trimesh, one sample after the
other, no JAX.
"""

from __future__ import annotations

import numpy as np
import trimesh
from scipy.spatial.transform import Rotation


def figures(prediction, targets, batch, head_model, reference_leak_filter=False) -> dict:
    """What `accumulate.summarize` should say; every sample has every label that the `has_*` masks
    say.

    Args:
        prediction, targets, batch: as for `accumulate.measure`.
        head_model: with `faces`, `closed_faces`, `cavity`.
        reference_leak_filter: see there.
    """
    p, t, b = prediction, targets, batch
    d3, dc, dd, d2 = (
        np.flatnonzero(x) for x in (b.has_3d, b.has_contact, b.has_deformations, b.has_2d)
    )
    length = lambda x: np.sqrt((np.asarray(x, np.float64) ** 2).sum(-1))
    mm = lambda values: 1000 * np.mean(values) if len(values) else None

    def errors(name, other=None, aligned=False):
        """(sample, point) distances of the given arrays, joined point by point."""
        names = name.split("+")
        others = (other or name).split("+")
        rows = []
        for i in d3:
            a = np.concatenate([np.asarray(getattr(p, n)[i], np.float64) for n in names])
            c = np.concatenate([np.asarray(getattr(t, n)[i], np.float64) for n in others])
            rows.append(length((align(a, c) if aligned else a) - c).mean())
        return mm(rows)

    def depths(answer):
        found = [
            signed_distance(answer.hand_vertices[i], answer.deformed_head_vertices[i], head_model)
            for i in d3
        ]
        return [np.where(x >= 0.05, 0.0, x) if reference_leak_filter else x for x in found]

    predicted, true = depths(p), depths(t)
    near = lambda x: bool((np.abs(x) <= 0.005).any())
    free = np.mean([x.max() < 0.005 for x in predicted]) if len(d3) else None
    touched = [near(x) for x, y in zip(predicted, true) if near(y)]
    touch = np.mean(touched) if touched else None

    moved = [np.flatnonzero(length(b.deformations[i]) > 0.005) for i in dd]
    offs = [length(np.asarray(p.deformations[i], np.float64) - b.deformations[i]) for i in dd]
    in_image = {
        part: np.array(
            [
                (w, w * length(xy - [x, y]))
                for i in d2
                for xy, (x, y, w) in zip(
                    np.asarray(getattr(p, f"{part}_keypoints_2d")[i], np.float64),
                    getattr(b, f"{part}_keypoints_2d")[i],
                )
                if w > 0
            ]
        ).reshape(-1, 2)
        for part in ("hand", "head")
    }
    pixels = lambda rows: rows[:, 1].sum() / rows[:, 0].sum() if len(rows) else None
    probs = {
        part: np.asarray(getattr(p, f"{part}_contact_probs"), np.float32)[dc]
        for part in ("hand", "head")
    }
    truth = {part: np.asarray(getattr(b, f"{part}_contact"))[dc] > 0.5 for part in ("hand", "head")}
    probs["both"], truth["both"] = (
        np.concatenate([x["hand"], x["head"]], 1) for x in (probs, truth)
    )
    says = [p.contact_presence[i] >= 0.5 for i in dc]
    pair, joints = "hand_vertices+deformed_head_vertices", "hand_keypoints_3d+head_keypoints_3d"
    true_joints = "hand_keypoints+head_keypoints"
    return {
        "pve_mm": errors(pair),
        "mpjpe_mm": errors(joints, true_joints),
        "pa_mpjpe_mm": errors(joints, true_joints, aligned=True),
        "collision_distance_mm": mm([np.maximum(x, 0).sum() / len(x) for x in predicted]),
        "non_collision_ratio": free,
        "touchness_ratio": touch,
        "f_score": None
        if touch is None
        else (2 * touch * free / (touch + free) if touch + free else 0.0),
        "contact": {
            part: contact(probs[part].ravel(), truth[part].ravel())
            for part in ("hand", "head", "both")
        },
        "pve_hand_mm": errors("hand_vertices"),
        "pve_head_mm": errors("deformed_head_vertices"),
        "pa_pve_mm": errors(pair, aligned=True),
        "pa_pve_hand_mm": errors("hand_vertices", aligned=True),
        "pa_pve_head_mm": errors("deformed_head_vertices", aligned=True),
        "deformation_error_mm": mm([x.mean() for x in offs]),
        "deformation_error_moved_mm": mm(
            np.concatenate([[], *(x[ids] for x, ids in zip(offs, moved))])
        ),
        "keypoints_2d_error_px": pixels(np.concatenate([in_image["hand"], in_image["head"]])),
        "keypoints_2d_error_hand_px": pixels(in_image["hand"]),
        "keypoints_2d_error_head_px": pixels(in_image["head"]),
        "presence_accuracy": np.mean(says == truth["both"].any(-1)) if len(dc) else None,
    }


def align(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """`a` after the similarity nearest to `b`: Kabsch's rotation by SciPy, then the scale that is
    best for it.
    """
    a0, b0 = a - a.mean(0), b - b.mean(0)
    turned = Rotation.align_vectors(b0, a0)[0].apply(a0)
    return (turned * b0).sum() / max((a0**2).sum(), 1e-30) * turned + b.mean(0)


def contact(probs: np.ndarray, truth: np.ndarray) -> dict:
    """Scores at one half, and the average precision of probabilities rounded down to 1/200."""
    if not len(truth):
        return dict.fromkeys(("f1", "precision", "recall", "accuracy", "average_precision"))
    said = probs >= 0.5
    hits = (said & truth).sum()
    precision = hits / said.sum() if said.any() else 0.0
    recall = hits / truth.sum() if truth.any() else 0.0
    binned = np.minimum(np.floor(probs * np.float32(200)), 199)
    area, last = 0.0, 0.0
    for threshold in np.unique(binned)[::-1] if truth.any() else []:
        chosen = binned >= threshold
        reached = (chosen & truth).sum() / truth.sum()
        area, last = area + (chosen & truth).sum() / chosen.sum() * (reached - last), reached
    return {
        "f1": 2 * precision * recall / (precision + recall) if hits else 0.0,
        "precision": precision,
        "recall": recall,
        "accuracy": (said == truth).mean(),
        "average_precision": area if truth.any() else None,
    }


def signed_distance(points: np.ndarray, vertices: np.ndarray, head_model) -> np.ndarray:
    """Positive inside: trimesh's distance to the skin, and the solid angle that the closed surface
    fills.
    """
    points, vertices = np.asarray(points, np.float64), np.asarray(vertices, np.float64)
    faces, closed, cavity = (
        np.asarray(x) for x in (head_model.faces, head_model.closed_faces, head_model.cavity)
    )
    skin = trimesh.Trimesh(vertices, faces[~cavity[faces].any(-1)], process=False)
    distance = trimesh.proximity.closest_point(skin, points)[1]
    return np.where(winding_number(points, vertices[closed]) > 0.5, distance, -distance)


def winding_number(points: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Solid angle of all triangles seen from each point, over 4 pi (van Oosterom and Strackee
    1983).
    """
    turns = []
    for point in points:
        a, b, c = np.moveaxis(triangles - point, 1, 0)
        la, lb, lc = (np.linalg.norm(x, axis=-1) for x in (a, b, c))
        dot = lambda x, y: (x * y).sum(-1)
        below = la * lb * lc + dot(a, b) * lc + dot(b, c) * la + dot(c, a) * lb
        turns.append(np.arctan2(dot(a, np.cross(b, c)), below).sum() / (2 * np.pi))
    return np.array(turns)


def flat(summary: dict) -> dict[str, float | None]:
    """The figures of a summary or of `figures`, contact among them, by one name each."""
    others = ("contact", "frames", "subjects", "intervals")
    single = {name: value for name, value in summary.items() if name not in others}
    return single | {
        f"{part} {name}": x
        for part, scores in summary["contact"].items()
        for name, x in scores.items()
    }
