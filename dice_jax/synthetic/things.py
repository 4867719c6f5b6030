"""Things at a face: glasses and masks that are worn, and phones, cups and cigarettes in the hand.

They have no labels. All are in the head's own axes, meters, with one topology for all scenes; a
thing that is absent is a point inside of the head.
"""

from __future__ import annotations

import dataclasses
import enum

import numpy as np
import scipy.sparse as sp
from jaxtyping import Float, Int
from scipy.spatial import KDTree

from dice_jax.body_models import BodyModel
from dice_jax.synthetic.body_parts import Part
from dice_jax.synthetic.placed_hand import PlacedHand


class Held(enum.StrEnum):
    """What the right hand holds."""

    NOTHING = ""
    PHONE = "phone"
    CUP = "cup"
    CIGARETTE = "cigarette"


# The gestures that hold something.
HELD_BY_GESTURE = {"phone_ear": Held.PHONE, "drink": Held.CUP, "smoke": Held.CIGARETTE}


@dataclasses.dataclass(frozen=True)
class Wear:
    """What a person wears.

    Attributes:
        glasses: "", "worn" or "pushed_up" onto the hair.
        dark_glasses: whether the lenses are dark.
        mask: whether a surgical mask covers mouth and nose.
    """

    glasses: str
    dark_glasses: bool
    mask: bool


# How often.
_GLASSES, _PUSHED_UP, _DARK, _MASK = 0.22, 0.10, 0.15, 0.04
_TUBE_SIDES, _LENS_POINTS, _TEMPLE_POINTS = 6, 24, 6
_TUBE_RADIUS = 0.0014
_FRAME_CLEARANCE = 0.005  # meters between glasses and hands
_MASK_REGIONS = ("nose", "lips", "mouth", "chin", "cheek_left", "cheek_right")
_MASK_TOP, _MASK_HALF_WIDTH = 0.008, 0.056  # meters: below the eyes' height; from the middle
_MASK_LIFT = 0.004


def sample_wear(rng: np.random.Generator, age: str) -> Wear:
    """Draws what is worn; old people wear glasses twice as often."""
    share = _GLASSES * (2.0 if age == "elder" else 1.0)
    has_glasses, pushed_up, dark, mask = rng.uniform(size=4) < (share, _PUSHED_UP, _DARK, _MASK)
    name = ("pushed_up" if pushed_up else "worn") if has_glasses else ""
    return Wear(name, bool(dark), bool(mask))


def glasses(
    landmarks: Float[np.ndarray, "68 3"],
    head_vertices: Float[np.ndarray, "5023 3"],
    hand_vertices: Float[np.ndarray, "H 3"],
    wear: Wear,
    rng: np.random.Generator,
) -> tuple[Part, Part]:
    """The frame, as tubes around the lenses and to the ears, and the lenses.

    Args:
        landmarks: of the head, iBUG order, meters.
        head_vertices: meters.
        hand_vertices: of both hands; glasses that a hand would go through are taken off.
        wear: what is worn.
        rng: randomness of the shape.
    """
    width, height = rng.uniform(0.022, 0.028), rng.uniform(0.015, 0.024)
    squareness = rng.uniform(2.0, 4.5)
    bridge = 0.7 * landmarks[27] + 0.3 * landmarks[28] + (0.0, 0.0, 0.006)
    angle = np.linspace(0, 2 * np.pi, _LENS_POINTS, endpoint=False)
    power = lambda x: np.sign(x) * np.abs(x) ** (2 / squareness)
    rim = np.stack([width * power(np.cos(angle)), height * power(np.sin(angle)), 0 * angle], 1)
    tubes, lenses = [], []
    ears = head_vertices[:, 0].min(), head_vertices[:, 0].max()
    for side, ear in zip((-1, 1), ears):
        center = bridge + (side * (width + 0.008), 0.0, -0.006)
        # The rims follow the face: the outer side lies further back.
        loop = center + rim * (1, 1, 1)
        loop[:, 2] -= 0.3 * np.maximum(side * (loop[:, 0] - center[0]), 0) ** 2 / width
        tubes.append(np.concatenate([loop, loop[:1]]))
        lenses.append(np.concatenate([center[None], loop]))
        hinge = loop[np.argmax(side * loop[:, 0])] + (0, 0.4 * height, 0)
        back = np.array([0.93 * ear, hinge[1] - 0.004, bridge[2] - 0.105])
        tubes.append(np.linspace(hinge, back, _TEMPLE_POINTS))
    left, right = bridge + (0.008, 0, 0), bridge - (0.008, 0, 0)
    tubes.append(np.linspace(left, right, _TEMPLE_POINTS))
    if wear.glasses == "pushed_up":
        move = lambda points: _pushed_up(points, bridge)
        tubes, lenses = [move(tube) for tube in tubes], [move(lens) for lens in lenses]
    elif wear.glasses:
        forward = (0, 0, max(_gap_to_skin(tubes[k], head_vertices) for k in (0, 2)))
        tubes, lenses = [tube + forward for tube in tubes], [lens + forward for lens in lenses]
        for k in (1, 3):
            tubes[k][1:] = _beside_the_head(tubes[k][1:], head_vertices)
    radius = _TUBE_RADIUS * rng.uniform(0.6, 1.6)
    frame = _joined([_tube(tube, radius) for tube in tubes])
    fan = np.array([(0, 1 + k, 1 + (k + 1) % _LENS_POINTS) for k in range(_LENS_POINTS)])
    glass = _joined([(lens, fan) for lens in lenses])
    hidden = head_vertices[head_vertices[:, 1] > -0.05].mean(0)
    # Clear lenses are not drawn: the renderer has no transparency.
    worn = bool(wear.glasses)
    if worn:
        worn = KDTree(hand_vertices).query(frame[0])[0].min() > _FRAME_CLEARANCE
    return _part(*frame, hidden, worn), _part(*glass, hidden, worn and wear.dark_glasses)


class FaceMask:
    """A surgical mask: the skin of the lower face, raised and smoothed."""

    def __init__(self, head: BodyModel):
        vertices = np.asarray(head.v_template, np.float64)
        eyes = vertices[np.asarray(head.region("eyes"))].mean(0)
        covered = np.any([np.asarray(head.region(name)) for name in _MASK_REGIONS], axis=0)
        covered &= vertices[:, 1] < eyes[1] - _MASK_TOP
        covered &= (np.abs(vertices[:, 0]) < _MASK_HALF_WIDTH) & ~np.asarray(head.cavity)
        faces = np.asarray(head.faces)
        faces = faces[covered[faces].all(-1)]
        self._ids, self._faces = np.unique(faces, return_inverse=True)
        self._faces = self._faces.reshape(-1, 3)
        ends = np.concatenate(
            [self._faces[:, [0, 1]], self._faces[:, [1, 2]], self._faces[:, [2, 0]]]
        )
        start, end = np.concatenate([ends, ends[:, ::-1]]).T
        count = len(self._ids)
        neighbors = sp.csr_array((np.ones(len(start)), (start, end)), (count, count)) > 0
        neighbors = neighbors + sp.eye_array(count)
        self._smooth = sp.diags_array(1 / neighbors.sum(1)) @ neighbors

    def part(
        self,
        head_vertices: Float[np.ndarray, "5023 3"],
        normals: Float[np.ndarray, "5023 3"],
        hand_vertices: Float[np.ndarray, "H 3"],
        wear: Wear,
    ) -> Part:
        """The mask on a posed head; under a hand it lies on the skin."""
        skin = head_vertices[self._ids]
        hidden = head_vertices[head_vertices[:, 1] > -0.05].mean(0)
        if not wear.mask:
            return _part(skin, self._faces, hidden, False, cloth=True)
        raised = skin + _MASK_LIFT * normals[self._ids]
        for _ in range(10):
            raised = self._smooth @ raised
            above = ((raised - skin) * normals[self._ids]).sum(-1, keepdims=True)
            raised += np.maximum(0.0012 - above, 0) * normals[self._ids]
        free = np.clip(KDTree(hand_vertices).query(skin)[0] / 0.012 - 0.2, 0, 1)[:, None]
        raised = skin + 0.0004 * normals[self._ids] + free * (raised - skin)
        return _part(raised, self._faces, hidden, True, cloth=True)


def held_thing(hand: PlacedHand, hidden: Float[np.ndarray, "3"]) -> Part:
    """A phone, a cup or a cigarette in a right hand whose gesture holds one.

    Args:
        hand: that holds it.
        hidden: a point inside of the head, for the shapes that are not there.
    """
    keypoints = hand.keypoints if hand.is_there else np.sin(np.arange(63.0)).reshape(21, 3)
    held = HELD_BY_GESTURE.get(hand.gesture, Held.NOTHING)
    across = _unit(keypoints[5] - keypoints[17])  # from the little finger to the index finger
    along = _unit(keypoints[9] - keypoints[0])
    palm = _unit(np.cross(across, along))  # out of the palm of a right hand
    across = np.cross(along, palm)
    knuckles = keypoints[[5, 9, 13, 17]].mean(0)
    shapes = {
        Held.PHONE: _box(knuckles + 0.018 * palm, across, along, palm, (0.074, 0.150, 0.008)),
        Held.CUP: _cylinder(knuckles + 0.046 * palm + 0.012 * along, across, 0.034, 0.095),
        Held.CIGARETTE: _cylinder(
            (keypoints[7] + keypoints[11]) / 2 + 0.02 * palm, palm, 0.004, 0.080, sides=8
        ),
    }
    parts = [_part(points, faces, hidden, held is name) for name, (points, faces) in shapes.items()]
    vertices = np.concatenate([part.vertices for part in parts])
    starts = np.cumsum([0] + [len(part.vertices) for part in parts[:-1]])
    faces = np.concatenate([part.faces + start for part, start in zip(parts, starts)])
    return Part(vertices, faces, np.ones(len(vertices)), 0.7 * vertices)


def _part(vertices, faces, hidden, shown, cloth=False) -> Part:
    shown_vertices = vertices if shown else np.tile(hidden, (len(vertices), 1))
    return Part(
        shown_vertices, np.asarray(faces), np.full(len(vertices), 1.0 * cloth), 0.7 * vertices
    )


def _gap_to_skin(path, head_vertices):
    """How far a path of the frame must move forwards to be 3 mm in front of the skin, meters."""
    front = head_vertices[head_vertices[:, 2] > 0.0]
    distance, nearest = KDTree(front[:, :2]).query(path[:, :2])
    missing = front[nearest, 2] + 0.003 - path[:, 2]
    return np.clip(missing[distance < 0.008].max(initial=0.0), 0.0, 0.014)


def _beside_the_head(path, head_vertices):
    """The path of a temple, moved outwards to where it is outside of the head."""
    sign = np.sign(path.mean(0)[0])
    side = head_vertices[head_vertices[:, 0] * sign > 0]
    near = KDTree(side[:, 1:]).query(path[:, 1:], k=6)[1]
    outward = np.abs(side[near, 0]).max(1) + 0.002
    return np.column_stack([sign * np.maximum(np.abs(path[:, 0]), outward), path[:, 1:]])


def _pushed_up(points, bridge):
    """Glasses on top of the forehead, tilted back."""
    local = points - bridge
    tilt = np.deg2rad(-38)
    y = np.cos(tilt) * local[:, 1] - np.sin(tilt) * local[:, 2]
    z = np.sin(tilt) * local[:, 1] + np.cos(tilt) * local[:, 2]
    return bridge + np.stack([local[:, 0], y + 0.082, z - 0.022], 1)


def _tube(path, radius) -> tuple[Float[np.ndarray, "N 3"], Int[np.ndarray, "F 3"]]:
    """A tube around a path."""
    tangent = np.gradient(path, axis=0)
    tangent /= np.maximum(np.linalg.norm(tangent, axis=1, keepdims=True), 1e-9)
    side = np.cross(tangent, (0.2, 0.4, 1.0))
    side /= np.maximum(np.linalg.norm(side, axis=1, keepdims=True), 1e-9)
    up = np.cross(tangent, side)
    angle = np.linspace(0, 2 * np.pi, _TUBE_SIDES, endpoint=False)
    ring = np.cos(angle)[None, :, None] * side[:, None] + np.sin(angle)[None, :, None] * up[:, None]
    vertices = (path[:, None] + radius * ring).reshape(-1, 3)
    return vertices, _grid(len(path), _TUBE_SIDES)


def _cylinder(center, axis, radius, length, sides=16):
    """A closed cylinder."""
    side = _unit(np.cross(axis, (0.3, 0.5, 0.8)))
    up = np.cross(axis, side)
    angle = np.linspace(0, 2 * np.pi, sides, endpoint=False)
    ring = radius * (np.cos(angle)[:, None] * side + np.sin(angle)[:, None] * up)
    # Rings at the edges are doubled, so that the edges are not shaded as if they were round.
    profile = ((-0.5, 0), (-0.5, 1), (-0.5, 1), (0.5, 1), (0.5, 1), (0.5, 0))
    rings = [center + height * length * axis + scale * ring for height, scale in profile]
    return np.concatenate(rings), _grid(len(profile), sides)


def _box(center, x, y, z, size):
    """A closed box with the given edges and lengths along them."""
    signs = np.array([(a, b, c) for a in (-1, 1) for b in (-1, 1) for c in (-1, 1)]) / 2
    vertices = center + (signs * size) @ np.stack([x, y, z])
    quads = ((0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3))
    return vertices, np.array([q for a, b, c, d in quads for q in ((a, b, c), (a, c, d))])


def _grid(rows, columns):
    first = np.arange(columns)
    second = (first + 1) % columns
    faces = []
    for row in range(rows - 1):
        a, b = first + row * columns, second + row * columns
        faces += [np.stack([a, b, b + columns], -1), np.stack([a, b + columns, a + columns], -1)]
    return np.concatenate(faces)


def _joined(meshes):
    vertices, faces, first = [], [], 0
    for points, triangles in meshes:
        vertices.append(points)
        faces.append(triangles + first)
        first += len(points)
    return np.concatenate(vertices), np.concatenate(faces)


def _unit(vector):
    return vector / np.linalg.norm(vector)
