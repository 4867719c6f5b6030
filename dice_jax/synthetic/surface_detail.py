"""Fine detail of the skin: nails, creases, lashes, lips, nostrils and wrinkles.

The meshes are too coarse to carry it as vertex colors. Every triangle has a grid of samples
instead (mesh colors, Yuksel, Keyser and House 2010), about a millimeter apart, whose masks are
computed once from the shape at rest. A person only sets how strong each mask is.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial import KDTree

from dice_jax.array_types import Array
from dice_jax.body_models import BodyModel
from dice_jax.geometry.mesh import vertex_normals
from dice_jax.synthetic.pose import FIRST_JOINT
from dice_jax.synthetic.sample import Person

STEPS = 6  # into which each edge is divided
NUM_SAMPLES = (STEPS + 1) * (STEPS + 2) // 2
_FINGERS = ("thumb", "index", "middle", "ring", "little")  # in the order of the tips
_NAIL_START, _NAIL_END, _NAIL_WIDTH = -0.0135, -0.0015, 0.0052  # meters from the tip
# Lines of the palm, x and z of the hand at rest, meters: heart, head and life line.
_PALM_LINES = (
    ((0.026, -0.030), (0.018, -0.010), (0.013, 0.008), (0.004, 0.022)),
    ((0.030, 0.044), (0.034, 0.020), (0.046, 0.000), (0.054, -0.018)),
    ((0.030, 0.044), (0.040, 0.028), (0.058, 0.014), (0.084, 0.010)),
)


@dataclasses.dataclass(frozen=True)
class DetailMasks:
    """Masks of one model at the samples of its triangles, by name, each (F, NUM_SAMPLES)."""

    masks: dict[str, Float[np.ndarray, "F S"]]

    def color(self, strengths: dict[str, tuple[float, float, float]]) -> Float[np.ndarray, "F S 3"]:
        """Factors of the albedo: `exp(-strength)` where a mask is 1.

        Args:
            strengths: for each mask its three channels; negative: brighter.
        """
        total = np.float32(0.0)
        for name, strength in strengths.items():
            total = total - self.masks[name][..., None] * np.asarray(strength, np.float32)
        return np.exp(total)


def sample_barycentrics() -> Float[np.ndarray, "S 3"]:
    """Positions of the samples in a triangle, in the order in which the shader counts them."""
    steps = [(i, j) for i in range(STEPS + 1) for j in range(STEPS + 1 - i)]
    i, j = np.array(steps, np.float32).T / STEPS
    return np.stack([i, j, 1 - i - j], 1)


def hand_detail(hand: BodyModel) -> DetailMasks:
    """Nails with their edges, creases at the joints, and the lines of the palm."""
    points, normals = _samples(hand)
    vertices = np.asarray(hand.v_template, np.float64)
    joints = np.asarray(hand.J_regressor, np.float64) @ vertices
    nail, nail_edge, crease = np.zeros((3, len(points)))
    for finger, tip_id in zip(_FINGERS, np.asarray(hand.tip_ids)):
        first = FIRST_JOINT[finger]
        chain = np.concatenate([joints[first : first + 3], vertices[tip_id][None]])
        for k in range(1, 3):
            axis = _unit(chain[k + 1] - chain[k - 1])
            near = np.linalg.norm(points - chain[k], axis=-1) < 0.016
            along = (points - chain[k]) @ axis
            back = _back(chain, axis, finger)
            dorsal = normals @ back
            lines = sum(_line(along - shift, 0.0005) for shift in (-0.0028, 0.0, 0.0028))
            crease = np.maximum(crease, near * np.clip(2 * dorsal - 0.4, 0, 1) * lines)
            crease = np.maximum(crease, near * np.clip(-2 * dorsal, 0, 1) * _line(along, 0.0006))
        if finger != "thumb":
            base = chain[0] + 0.48 * (chain[1] - chain[0])
            axis = _unit(chain[1] - chain[0])
            near = np.linalg.norm(points - base, axis=-1) < 0.017
            palmar = np.clip(-2 * (normals @ _back(chain, axis, finger)), 0, 1)
            crease = np.maximum(crease, near * palmar * _line((points - base) @ axis, 0.0006))
        inside, edge = _nail(points, normals, chain, finger)
        nail, nail_edge = np.maximum(nail, inside), np.maximum(nail_edge, edge)
    palm = np.clip(-2 * normals[:, 1] - 0.4, 0, 1)
    for line in _PALM_LINES:
        distance = _distance_to_curve(points[:, [0, 2]], np.array(line))
        crease = np.maximum(crease, 0.9 * palm * _line(distance, 0.0008))
    return _grid(dict(nail=nail, nail_edge=nail_edge, crease=crease))


def head_detail(head: BodyModel) -> DetailMasks:
    """Lashes, the line between the lips, nostrils, and wrinkles of the old."""
    points, normals = _samples(head)
    vertices = np.asarray(head.v_template, np.float64)
    corners = vertices[np.asarray(head.faces)[np.asarray(head.lmk_faces_idx)]]
    marks = np.einsum("lk,lkc->lc", np.asarray(head.lmk_bary_coords, np.float64), corners)
    outer = np.repeat(
        ~np.asarray(head.cavity | head.region("eyes"))[np.asarray(head.faces)].any(-1), NUM_SAMPLES
    )
    lash, fold, wrinkle = np.zeros((3, len(points)))
    for start in (36, 42):
        upper, lower = marks[start : start + 4], marks[[start + 3, start + 4, start + 5, start]]
        lash = np.maximum(lash, _line(_distance_to_curve(points, upper), 0.0011))
        lash = np.maximum(lash, 0.5 * _line(_distance_to_curve(points, lower), 0.0008))
        crease = upper + (0, 0.006, 0.001)
        fold = np.maximum(fold, _line(_distance_to_curve(points, crease), 0.0016))
        outside = marks[start if start == 36 else start + 3]
        side = np.sign(outside[0])
        for slope in (-0.35, 0.05, 0.45):
            end = outside + (0.017 * side, 0.017 * slope, -0.010)
            foot = np.stack([outside + 0.25 * (end - outside), end])
            wrinkle = np.maximum(wrinkle, _line(_distance_to_curve(points, foot), 0.0006))
    lips = np.concatenate([marks[[48]], marks[60:65], marks[[54]]])
    lip_line = _line(_distance_to_curve(points, lips), 0.0011)
    nostril = np.zeros(len(points))
    for wing, center in ((31, 33), (35, 33)):
        middle = 0.5 * (marks[wing] + marks[center])
        spread = np.linalg.norm((points - middle) / (0.0042, 0.0030, 0.0052), axis=-1)
        nostril = np.maximum(nostril, np.exp(-(spread**4)) * np.clip(-2 * normals[:, 1], 0, 1))
        corner = marks[48 if wing == 31 else 54]
        side = np.sign(corner[0])
        cheek = np.stack(
            [marks[wing] + (0.004 * side, 0.004, 0), corner + (0.009 * side, 0.004, -0.002)]
        )
        wrinkle = np.maximum(wrinkle, 1.3 * _line(_distance_to_curve(points, cheek), 0.0012))
    top = marks[17:27, 1].max()
    forehead = np.repeat(
        np.asarray(head.region("forehead"))[np.asarray(head.faces)].all(-1), NUM_SAMPLES
    )
    for height in (0.016, 0.026, 0.036):
        waves = 0.0015 * np.sin(90 * points[:, 0] + 300 * height)
        across = np.clip(1 - np.abs(points[:, 0]) / 0.045, 0, 1)
        ridge = _line(points[:, 1] - top - height - waves, 0.0008) * across * forehead
        wrinkle = np.maximum(wrinkle, ridge)
    masks = dict(lash=lash, fold=fold, wrinkle=wrinkle, lip_line=lip_line, nostril=nostril)
    return _grid({name: mask * outer for name, mask in masks.items()})


def flipped(detail: Float[np.ndarray, "F S 3"]) -> Float[np.ndarray, "F S 3"]:
    """The detail of triangles whose corners are in the opposite order."""
    i, j = np.rint(STEPS * sample_barycentrics()[:, :2]).astype(int).T
    return detail[:, sample_index(STEPS - i - j, j)]


def hand_strengths(
    person: Person, rng: np.random.Generator
) -> dict[str, tuple[float, float, float]]:
    """How strong the masks of a hand are."""
    depth = rng.uniform(0.25, 0.7) + 0.3 * (person.age == "elder")
    polish = rng.uniform() < 0.12
    nail = tuple(rng.uniform(-0.4, 1.2, 3)) if polish else (-0.16, -0.03, -0.06)
    edge = rng.uniform(0.15, 0.45)
    return dict(
        nail=nail, nail_edge=(edge, 1.2 * edge, 1.2 * edge), crease=(0.8 * depth, depth, depth)
    )


def head_strengths(
    person: Person, rng: np.random.Generator
) -> dict[str, tuple[float, float, float]]:
    """How strong the masks of a head are."""
    lash, lines = rng.uniform(0.4, 2.2), rng.uniform(0.4, 1.2)
    age = {"child": 0.0, "adult": rng.uniform(0, 0.25), "elder": rng.uniform(0.3, 0.8)}[person.age]
    fold = rng.uniform(0.05, 0.35)
    return dict(
        lash=(lash, lash, lash),
        fold=(0.8 * fold, fold, fold),
        wrinkle=(0.8 * age, age, age),
        lip_line=(lines, 1.3 * lines, 1.3 * lines),
        nostril=(1.2, 1.6, 1.6),
    )


def _samples(model):
    """Positions and normals of all samples of a model at rest, each (F * S, 3)."""
    faces, weights = np.asarray(model.faces), sample_barycentrics().astype(np.float64)
    vertices = np.asarray(model.v_template, np.float64)
    normals = np.asarray(vertex_normals(model.v_template, model.closed_faces), np.float64)
    on_samples = lambda values: np.einsum("sk,fkc->fsc", weights, values[faces]).reshape(-1, 3)
    smooth = on_samples(normals)
    return on_samples(vertices), smooth / np.linalg.norm(smooth, axis=-1, keepdims=True)


def _grid(masks):
    return DetailMasks(
        {name: mask.reshape(-1, NUM_SAMPLES).astype(np.float32) for name, mask in masks.items()}
    )


def _nail(points, normals, chain, finger):
    """Masks of the nail and of the fold of skin around it."""
    tip, axis = chain[3], _unit(chain[3] - chain[2])
    back = _back(chain, axis, finger)
    local = points - tip
    along, across = local @ axis, local @ np.cross(axis, back)
    scale = 1.25 if finger == "thumb" else 0.85 if finger == "little" else 1.0
    middle, half = (_NAIL_START + _NAIL_END) / 2, (_NAIL_END - _NAIL_START) / 2
    radius = ((along / scale - middle) / half) ** 4 + (across / (scale * _NAIL_WIDTH)) ** 4
    visible = np.clip(3 * (normals @ back) - 0.6, 0, 1) * (np.linalg.norm(local, axis=-1) < 0.022)
    radius = radius**0.25
    inside = np.clip((1 - radius) / 0.08 + 0.5, 0, 1) * visible
    edge = np.exp(-(((radius - 1.0) / 0.09) ** 2)) * visible
    return inside, edge


def _back(chain, axis, finger):
    """Unit vector from the pad of a finger to its back, across the axis."""
    if finger == "thumb":
        back = np.cross(_unit(chain[3] - chain[0]), (0.0, -1.0, 0.0))
    else:
        back = np.array([0.0, 1.0, 0.0])
    return _unit(back - axis * (back @ axis))


def _line(distance, width):
    return np.exp(-((distance / width) ** 2))


def _distance_to_curve(
    points: Float[np.ndarray, "N D"], corners: Float[np.ndarray, "K D"]
) -> Float[np.ndarray, "N"]:
    """Distance to a curve through the corners."""
    steps = np.linspace(0, len(corners) - 1, 60)
    curve = np.stack([np.interp(steps, np.arange(len(corners)), c) for c in corners.T], 1)
    return KDTree(_rounded(curve)).query(points)[0]


def _rounded(curve):
    """A curve with rounder corners: the mean of neighbors, with fixed ends."""
    for _ in range(12):
        curve = np.concatenate(
            [curve[:1], (curve[:-2] + 2 * curve[1:-1] + curve[2:]) / 4, curve[-1:]]
        )
    return curve


def _unit(vector):
    return vector / np.linalg.norm(vector)


def sample_index(steps_i: Int[Array, "*N"], steps_j: Int[Array, "*N"]) -> Int[Array, "*N"]:
    """Number of the sample (i, j) in the order of `sample_barycentrics`."""
    return steps_i * (STEPS + 1) - steps_i * (steps_i - 1) // 2 + steps_j
