"""Finds what the points of the landmark networks mean on the open body models.

  python -m tools.calibrate_landmarks --scenes 400 --out runs/calibration

The networks look at rendered scenes, whose keypoints are known. For each point the tool finds the
offset that explains the detections best: for a hand in the rest axes of the point's bone, for a
face in the axes of the head. Errors of single detections average out over many views; detections
that are far off are left out. The tool writes the offsets, and prints them beside the mean error
that is left in views that they were not found from: offsets of every other detection are measured
on the rest. Copy `rendered_hand_offsets.npz` and `rendered_face_offsets.npz` to
`dice_jax/fitting/data`.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from tqdm import tqdm

from dice_jax import errors, xla_flags
from dice_jax.body_models import load_hand, load_head, pose_hand, pose_head
from dice_jax.body_models.lbs import forward_kinematics
from dice_jax.detection.people import find_people
from dice_jax.fitting.detector_points import face_mesh_points
from dice_jax.fitting.hand_points import BONES
from dice_jax.geometry.rotations import axis_angle_to_matrix
from dice_jax.io import atomic
from dice_jax.structs import HandParams, HeadParams
from dice_jax.synthetic.scene_sampler import SceneSampler

_FAR_OFF = 0.35  # mean error, in sizes of the hand or face, of a detection of something else
_OUTLIER = 3.0  # robust standard deviations
_RIDGE = 2.0  # observations of a zero offset; they decide along directions that no view shows


def main(argv: Sequence[str] | None = None) -> None:
    parser = errors.argument_parser(__doc__, prog="python -m tools.calibrate_landmarks")
    add = parser.add_argument
    add("--scenes", type=int, default=400, help="number of scenes, two views each (default: 400)")
    add("--seed", type=int, default=77_000, help="of the scenes (default: 77000)")
    add("--out", default="runs/calibration", help="folder of the results")
    args = parser.parse_args(argv)
    xla_flags.set_cpu_preset()
    xla_flags.keep_compiled()
    out = atomic.writable_folder(args.out)
    sampler = SceneSampler(args.seed, views_per_scene=2)
    hands, faces = [], []
    for index in tqdm(range(args.scenes), "scenes", unit="scene"):
        for example, rendering in sampler.scene_with_renderings(index):
            hand, face = observe(example, rendering.large_image)
            hands += hand
            faces += face
    for name, found in (("hand", hands), ("face", faces)):
        offsets = solve(found)
        left = solve([_after(solve(found[::2]), one) for one in found[1::2]])
        how = f"tools.calibrate_landmarks --scenes {args.scenes} --seed {args.seed}"
        how = f"{how}: {len(found)} detections of dice_jax.detection on the open {name}"
        np.savez(out / f"rendered_{name}_offsets.npz", offsets=offsets.astype(np.float32), how=how)
        print(f"{how}; offset, then what is left in other views, mm")
        if name == "hand":
            for i, (offset, rest) in enumerate(zip(1e3 * offsets, 1e3 * left)):
                print(f"  {i:2d}  {np.round(offset, 1)}  {np.round(rest, 1)}")
        for title, vectors in (("offset", offsets), ("left", left)):
            lengths = 1e3 * np.linalg.norm(vectors, axis=-1)
            print(f"  {title}: median {np.median(lengths):.1f} mm, largest {lengths.max():.1f} mm")


Observation = tuple[Float[np.ndarray, "K 2"], Float[np.ndarray, "K 2 3"]]


def observe(example, image) -> tuple[list[Observation], list[Observation]]:
    """The detections of one picture: errors in pixels, and how an offset would move each point."""
    zoom = len(image) / len(example["image"])
    focal, center = float(example["focal_length"]), np.asarray(example["camera_center"])
    people = find_people(image)
    hands, faces = [], []
    face = next((person.face for person in people if person.face is not None), None)
    if face is not None:
        points, axes = _true_face(example)
        faces = _compare(points, axes, face.points[:, :2] / zoom, focal, center)
    if example["hand_present"][0] > 0 and example["hand_visibility"][0] > 0.5:
        points, axes = _true_hand(example)
        for person in people:
            for hand in person.hands:
                if hand.right > 0.5:
                    hands += _compare(points, axes, hand.points[:, :2] / zoom, focal, center)
    return hands[:1], faces


def _compare(points, axes, detected, focal, center) -> list[Observation]:
    pixels = focal * points[:, :2] / points[:, 2:] + center
    error = detected - pixels
    size = np.ptp(pixels, axis=0).max()
    if np.linalg.norm(error, axis=-1).mean() > _FAR_OFF * size:
        return []
    # The derivative of the projection, times the axes in which the offset is constant.
    z = points[:, 2]
    derivative = np.zeros((len(points), 2, 3))
    derivative[:, 0, 0] = derivative[:, 1, 1] = focal / z
    derivative[:, :, 2] = -focal * points[:, :2] / z[:, None] ** 2
    scale = focal / z.mean()  # so that every view counts alike, whatever its size
    return [(error / scale, derivative @ axes / scale)]


def _true_hand(example):
    """Keypoints in camera axes, and the rotation of the bone of each."""
    names = ("hand_betas", "hand_global_orient", "hand_pose", "hand_transl")
    params = HandParams(*(jnp.asarray(example[name]) for name in names))
    posed, rotations = _pose_hand(params)
    return np.asarray(posed, np.float64), np.asarray(rotations, np.float64)[list(BONES)]


@jax.jit
def _pose_hand(params):
    model = load_hand()
    pose = jnp.concatenate([params.global_orient, params.hand_pose]).reshape(-1, 3)
    rotations = axis_angle_to_matrix(pose)
    world, _ = forward_kinematics(model.parents, rotations, jnp.zeros((16, 3)))
    return pose_hand(model, params).keypoints, world


def _true_face(example):
    """Points of the face mesh in camera axes, and the rotation of the head for each."""
    names = ("betas", "expression", "global_orient", "neck_pose", "jaw_pose", "transl")
    params = HeadParams(*(jnp.asarray(example[f"head_{name}"]) for name in names))
    vertices, rotation = _pose_head(params)
    faces_idx, bary_coords = face_mesh_points(load_head())
    corners = np.asarray(vertices, np.float64)[np.asarray(load_head().faces)[faces_idx]]
    points = (corners * bary_coords[..., None]).sum(1)
    return points, np.broadcast_to(np.asarray(rotation, np.float64), (len(points), 3, 3))


@jax.jit
def _pose_head(params):
    orient, neck = axis_angle_to_matrix(jnp.stack([params.global_orient, params.neck_pose]))
    return pose_head(load_head(), params).vertices, orient @ neck


def _after(offsets: Float[np.ndarray, "K 3"], observation: Observation) -> Observation:
    """The detection with the effect of the offsets taken away."""
    error, axes = observation
    return error - (axes @ offsets[..., None])[..., 0], axes


def solve(found: Sequence[Observation]) -> Float[np.ndarray, "K 3"]:
    """The offsets by least squares with outliers left out; meters, in the axes of `observe`."""
    errors = np.stack([error for error, _ in found])
    axes = np.stack([axis for _, axis in found])
    # What all points of a detection have in common is an error of its place.
    errors = errors - np.median(errors, axis=1, keepdims=True)
    weights = np.ones(errors.shape[:2])
    for _ in range(5):
        offsets = _least_squares(errors, axes, weights)
        rest = errors - (axes @ offsets[None, :, :, None])[..., 0]
        length = np.linalg.norm(rest, axis=-1)
        weights = (length < _OUTLIER * np.median(length, axis=0) / 0.83).astype(float)
    return offsets


def _least_squares(errors, axes, weights):
    normal = np.einsum("nk,nkpi,nkpj->kij", weights, axes, axes) + _RIDGE * np.eye(3)
    return np.linalg.solve(normal, np.einsum("nk,nkpi,nkp->ki", weights, axes, errors)[..., None])[
        ..., 0
    ]


if __name__ == "__main__":
    errors.run(main)
