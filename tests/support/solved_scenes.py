"""A few solved scenes for tests, stored in tests/support/data/solved_scenes.npz.

Solving a scene takes a second, posing a stored one a few milliseconds. In all scenes the hand
touches the head, and the neck pose is zero. Run this file as a script to solve the scenes again.
"""

import dataclasses
import functools
from pathlib import Path

import jax
import numpy as np

from dice_jax.body_models import load_hand, load_head, pose_hand, pose_head
from dice_jax.constants import NUM_HAND_VERTICES, NUM_HEAD_VERTICES
from dice_jax.structs import HandParams, HeadParams
from dice_jax.synthetic import contact_problem
from dice_jax.synthetic.kinds import Frequencies, Kind
from dice_jax.synthetic.placed_hand import absent_hand
from dice_jax.synthetic.sample import Face, sample_face, sample_person
from dice_jax.synthetic.scene_solver import Scene, SceneSolver

COUNT = 5
_SEED = 11
_PATH = Path(__file__).parent / "data" / "solved_scenes.npz"


@functools.cache
def load() -> tuple[Scene, ...]:
    """The `COUNT` scenes, posed with the open models."""
    with np.load(_PATH) as archive:
        stored = dict(archive)
    hand, head = jax.jit(pose_hand), jax.jit(pose_head)
    scenes = []
    for i, index in enumerate(stored["index"]):
        person = sample_person(int(index), _SEED)
        face = Face(stored["expression"][i], np.zeros(3), stored["jaw_pose"][i])
        hand_params = HandParams(
            np.float32(person.hand_betas),
            *(stored[name][i] for name in ("global_orient", "hand_pose", "transl")),
        )
        zeros = np.zeros(3, np.float32)
        head_params = HeadParams(
            np.float32(person.head_betas),
            np.float32(face.expression),
            zeros,
            zeros,
            np.float32(face.jaw_pose),
            zeros,
        )
        hand_mesh, head_mesh = hand(load_hand(), hand_params), head(load_head(), head_params)
        rows = stored["deformation_scene"] == i
        deformations = np.zeros((NUM_HEAD_VERTICES, 3))
        deformations[stored["deformation_ids"][rows]] = stored["deformations_mm"][rows] / 1000.0
        bits = lambda name, count, i=i: np.unpackbits(stored[name][i], count=count).astype(bool)
        double = lambda array: np.asarray(array, np.float64)
        right = dataclasses.replace(
            absent_hand(person),
            gesture="stored",
            params=hand_params,
            vertices=double(hand_mesh.vertices),
            keypoints=double(hand_mesh.keypoints),
            elbow=stored["elbow"][i],
            shoulder=contact_problem.SHOULDER,
            contact=bits("hand_contact", NUM_HAND_VERTICES),
            head_contact=bits("head_contact", NUM_HEAD_VERTICES),
            deformations=deformations,
        )
        scenes.append(
            Scene(
                index=int(index),
                kind=Kind.TOUCH,
                person=person,
                face=face,
                head_vertices=double(head_mesh.vertices),
                head_keypoints=double(head_mesh.keypoints),
                right=right,
                left=absent_hand(person),
                attempts=1,
            )
        )
    return tuple(scenes)


def solve() -> None:
    """Solves the scenes and writes the file."""
    face = lambda rng: dataclasses.replace(sample_face(rng), neck_pose=np.zeros(3))
    only_touches = Frequencies(kinds={Kind.TOUCH: 1.0}, second_hand=0.0)
    solver = SceneSolver(load_hand(), load_head(), _SEED, face, only_touches)
    scenes, index = [], 0
    while len(scenes) < COUNT:
        scene = solver.solve(index)
        if scene.head_contact.any():
            scenes.append(scene)
        index += 1
    ids = [np.flatnonzero(np.linalg.norm(s.deformations, axis=-1) > 2e-5) for s in scenes]
    moved = [s.deformations[rows] for s, rows in zip(scenes, ids)]
    stack = lambda read: np.stack([np.asarray(read(scene)) for scene in scenes])
    np.savez_compressed(
        _PATH,
        index=stack(lambda s: s.index),
        expression=stack(lambda s: s.face.expression),
        jaw_pose=stack(lambda s: s.face.jaw_pose),
        global_orient=stack(lambda s: s.hand_params.global_orient),
        hand_pose=stack(lambda s: s.hand_params.hand_pose),
        transl=stack(lambda s: s.hand_params.transl),
        elbow=stack(lambda s: s.right.elbow),
        hand_contact=stack(lambda s: np.packbits(s.hand_contact)),
        head_contact=stack(lambda s: np.packbits(s.head_contact)),
        deformation_scene=np.repeat(np.uint8(range(COUNT)), [len(rows) for rows in ids]),
        deformation_ids=np.concatenate(ids).astype(np.uint16),
        deformations_mm=(1000 * np.concatenate(moved)).astype(np.float16),
    )


if __name__ == "__main__":
    solve()
