"""Independent computation of all metrics: float64 NumPy, SciPy and trimesh, sample by sample."""

from __future__ import annotations

import numpy as np
import trimesh
from scipy.spatial.transform import Rotation


def metrics(prediction, targets, batch, head_model, leak_filter=False, finger_tips=False) -> dict:
    """Expected result of `summarize.summarize`.

    Args:
        prediction, targets, batch: as for `summarize.measure_samples`.
        head_model: has `faces`, `closed_faces` and `cavity`.
        leak_filter, finger_tips: see `summarize.ReferenceChoices`.
    """
    p, t, b = prediction, targets, batch
    depths = _hand_depth_errors(p, t)
    if finger_tips:
        p = p.replace(hand_keypoints_3d=shortened(p.hand_keypoints_3d))
        t = t.replace(hand_keypoints=shortened(t.hand_keypoints))
    with_3d, with_contact, with_deformations, with_2d = (
        np.flatnonzero(mask) for mask in (b.has_3d, b.has_contact, b.has_deformations, b.has_2d)
    )
    contacts = _contacts(p, b, with_contact)
    pair, keypoints = "hand_vertices+deformed_head_vertices", "hand_keypoints_3d+head_keypoints_3d"
    true_keypoints = "hand_keypoints+head_keypoints"

    def error(name, target_name=None, aligned=False):
        """Mean distance in mm of arrays whose names are joined by "+"."""
        rows = []
        for i in with_3d:
            points, target = (
                np.concatenate([np.asarray(getattr(x, n)[i], np.float64) for n in names.split("+")])
                for x, names in ((p, name), (t, target_name or name))
            )
            points = align(points, target) if aligned else points
            rows.append(length(points - target).mean())
        return mm(rows)

    return {
        "pve_mm": error(pair),
        "mpjpe_mm": error(keypoints, true_keypoints),
        "pa_mpjpe_mm": error(keypoints, true_keypoints, aligned=True),
        **_plausibility(p, t, with_3d, head_model, leak_filter),
        "contact": {part: contact(probs, target) for part, (probs, target) in contacts.items()},
        "pve_hand_mm": error("hand_vertices"),
        "pve_head_mm": error("deformed_head_vertices"),
        "pa_pve_mm": error(pair, aligned=True),
        "pa_pve_hand_mm": error("hand_vertices", aligned=True),
        "pa_pve_head_mm": error("deformed_head_vertices", aligned=True),
        **_deformations(p, b, with_deformations),
        **_image_errors(p, b, with_2d),
        **_presence(p, b, contacts["both"][1], with_contact),
        "hand_depth_error_mm": mm(depths[with_3d]),
    }


def shortened(hand_keypoints) -> np.ndarray:
    """Hand keypoints whose last bones end at 0.7 of their length."""
    points = np.array(hand_keypoints, np.float64)
    for finger in range(5):
        last, tip = 4 * finger + 3, 4 * finger + 4
        points[:, tip] = 0.3 * points[:, last] + 0.7 * points[:, tip]
    return points


def _hand_depth_errors(p, t) -> np.ndarray:
    """Of every sample, meters."""
    depth = lambda points: np.asarray(points, np.float64)[..., 2].mean(-1)
    return abs(depth(p.hand_keypoints_3d) - depth(t.hand_keypoints))


def length(x) -> np.ndarray:
    """Euclidean length along the last axis."""
    return np.sqrt((np.asarray(x, np.float64) ** 2).sum(-1))


def mm(values) -> float | None:
    """The mean of values in meters, in millimeters; None if there are none."""
    return 1000 * float(np.mean(values)) if len(values) else None


def _plausibility(p, t, ids, head_model, leak_filter) -> dict:
    def signed_distances(meshes):
        for i in ids:
            hand, head = meshes.hand_vertices[i], meshes.deformed_head_vertices[i]
            distances = signed_distance(hand, head, head_model)
            hidden = leak_filter & (distances >= 0.05)
            yield np.where(hidden, 0.0, distances)

    predicted, true = list(signed_distances(p)), list(signed_distances(t))
    touches = lambda x: bool((np.abs(x) <= 0.005).any())
    free = np.mean([x.max() < 0.005 for x in predicted]) if predicted else None
    found = [touches(x) for x, y in zip(predicted, true) if touches(y)]
    touch = np.mean(found) if found else None
    score = None
    if touch is not None:
        score = 2 * touch * free / (touch + free) if touch + free else 0.0
    return {
        "collision_distance_mm": mm([np.maximum(x, 0).sum() / len(x) for x in predicted]),
        "non_collision_ratio": free,
        "touchness_ratio": touch,
        "f_score": score,
    }


def _deformations(p, b, ids) -> dict:
    errors = [length(np.asarray(p.deformations[i], np.float64) - b.deformations[i]) for i in ids]
    moved = [x[length(b.deformations[i]) > 0.005] for x, i in zip(errors, ids)]
    return {
        "deformation_error_mm": mm([x.mean() for x in errors]),
        "deformation_error_moved_mm": mm(np.concatenate([[], *moved])),
    }


def _image_errors(p, b, ids) -> dict:
    def weighted(part):
        """Rows of (confidence, confidence times distance)."""
        rows = [
            (w, w * length(xy - [x, y]))
            for i in ids
            for xy, (x, y, w) in zip(
                np.asarray(getattr(p, f"{part}_keypoints_2d")[i], np.float64),
                getattr(b, f"{part}_keypoints_2d")[i],
            )
            if w > 0
        ]
        return np.array(rows).reshape(-1, 2)

    hand, head = weighted("hand"), weighted("head")
    pixels = lambda rows: rows[:, 1].sum() / rows[:, 0].sum() if len(rows) else None
    return {
        "keypoints_2d_error_px": pixels(np.concatenate([hand, head])),
        "keypoints_2d_error_hand_px": pixels(hand),
        "keypoints_2d_error_head_px": pixels(head),
    }


def _contacts(p, b, ids) -> dict:
    """Predicted probabilities and labels of each part, one row for each sample."""
    hand = np.asarray(p.hand_contact_probs, np.float32)[ids], np.asarray(b.hand_contact)[ids] > 0.5
    head = np.asarray(p.head_contact_probs, np.float32)[ids], np.asarray(b.head_contact)[ids] > 0.5
    both = tuple(np.concatenate(pair, axis=1) for pair in zip(hand, head))
    return {"hand": hand, "head": head, "both": both}


def _presence(p, b, target, ids) -> dict:
    """Of the touch, over the samples with that label; of the hand, over all samples."""
    touch = np.asarray(p.contact_presence, np.float32)[ids], target.any(-1)
    there = np.asarray(b.has_hand) > 0.5
    sure = np.ones(len(there), np.float32) if p.hand_presence is None else p.hand_presence
    names = ("presence", touch), ("hand_presence", (np.asarray(sure), there))
    found = {}
    for name, (probs, truth) in names:
        found[f"{name}_accuracy"] = np.mean((probs >= 0.5) == truth) if len(probs) else None
        found[f"{name}_calibration_error"] = calibration_error(probs, truth)
    return found


def calibration_error(probs: np.ndarray, truth: np.ndarray) -> float | None:
    """Mean gap of prediction and observation in ten groups; probabilities are cut to 1/200."""
    if not len(probs):
        return None
    binned = np.minimum(np.floor(probs * np.float32(200)), 199)
    gaps = [
        abs(((binned[chosen] + 0.5) / 200).mean() - truth[chosen].mean()) * chosen.mean()
        for group in range(10)
        if (chosen := binned // 20 == group).any()
    ]
    return float(sum(gaps))


def align(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """`a` after the similarity nearest to `b`: SciPy's rotation, then the best scale for it."""
    a0, b0 = a - a.mean(0), b - b.mean(0)
    turned = Rotation.align_vectors(b0, a0)[0].apply(a0)
    return (turned * b0).sum() / max((a0**2).sum(), 1e-30) * turned + b.mean(0)


def contact(probs: np.ndarray, target: np.ndarray) -> dict:
    """Scores at threshold one half, and the average precision of probabilities cut to 1/200."""
    probs, target = probs.ravel(), target.ravel()
    if not len(target):
        names = ("f1", "precision", "recall", "accuracy", "average_precision")
        return dict.fromkeys((*names, "calibration_error"))
    predicted = probs >= 0.5
    hits = (predicted & target).sum()
    precision = hits / predicted.sum() if predicted.any() else 0.0
    recall = hits / target.sum() if target.any() else 0.0
    binned = np.minimum(np.floor(probs * np.float32(200)), 199)
    area, last = 0.0, 0.0
    for threshold in np.unique(binned)[::-1] if target.any() else []:
        chosen = binned >= threshold
        reached = (chosen & target).sum() / target.sum()
        area, last = area + (chosen & target).sum() / chosen.sum() * (reached - last), reached
    return {
        "f1": 2 * precision * recall / (precision + recall) if hits else 0.0,
        "precision": precision,
        "recall": recall,
        "accuracy": (predicted == target).mean(),
        "average_precision": area if target.any() else None,
        "calibration_error": calibration_error(probs, target),
    }


def signed_distance(points: np.ndarray, vertices: np.ndarray, head_model) -> np.ndarray:
    """Distance to the skin by trimesh; positive where the closed surface winds around the point."""
    points, vertices = np.asarray(points, np.float64), np.asarray(vertices, np.float64)
    faces, closed, cavity = (
        np.asarray(x) for x in (head_model.faces, head_model.closed_faces, head_model.cavity)
    )
    skin = trimesh.Trimesh(vertices, faces[~cavity[faces].any(-1)], process=False)
    distance = trimesh.proximity.closest_point(skin, points)[1]
    corners = vertices[closed].reshape(-1, 3)
    boxed = ((points >= corners.min(0)) & (points <= corners.max(0))).all(-1)
    inside = np.zeros(len(points), bool)
    inside[boxed] = winding_number(points[boxed], vertices, closed) > 0.5
    return np.where(inside, distance, -distance)


def winding_number(points: np.ndarray, vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Solid angle of all triangles from each point, over 4 pi (van Oosterom and Strackee 1983)."""
    turns = []
    for point in points:
        rays = vertices - point
        rays /= length(rays)[:, None]
        corners = [np.ascontiguousarray(rays[faces[:, k]].T) for k in range(3)]
        (ax, ay, az), (bx, by, bz), (cx, cy, cz) = corners
        volume = ax * (by * cz - bz * cy) + ay * (bz * cx - bx * cz) + az * (bx * cy - by * cx)
        cosines = ax * (bx + cx) + ay * (by + cy) + az * (bz + cz) + bx * cx + by * cy + bz * cz
        turns.append(np.arctan2(volume, 1 + cosines).sum() / (2 * np.pi))
    return np.array(turns)


def flat(summary: dict) -> dict[str, float | None]:
    """The metrics of a summary by one name each, without counts and intervals."""
    others = ("contact", "frames", "subjects", "intervals")
    single = {name: value for name, value in summary.items() if name not in others}
    return single | {
        f"{part} {name}": x
        for part, scores in summary["contact"].items()
        for name, x in scores.items()
    }
