"""Draws a person, a face and a gesture, and solves for the touch: one moment, before any camera."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from dice_jax.body_models import BodyModel, pose_hand, pose_head
from dice_jax.structs import HandParams, HeadParams
from dice_jax.synthetic import contact, deform, pose, start
from dice_jax.synthetic.sample import Face, Person, sample_face, sample_person

NEAR_SHARE = 0.2  # of scenes in which the hand does not touch
MAX_GAP = 0.15  # meters
_MIN_GAP = 0.008
_MAX_ENERGY = 60.0
_MAX_ATTEMPTS = 40


@dataclasses.dataclass(frozen=True)
class Scene:
    """A solved moment, in the head's own axes (x to the person's left, y up, z forward), meters.

    Attributes:
        index, gesture: which moment, which gesture.
        person, face: who, and what the head does.
        hand_params: `global_orient` and `transl` in the head's own axes.
        hand_vertices, hand_keypoints: of the posed hand.
        head_vertices, head_keypoints: UNDEFORMED.
        deformations: to be subtracted from `head_vertices`.
        hand_contact, head_contact: which vertices touch.
        elbow: of the right arm.
        attempts: how many draws it took.
    """

    index: int
    gesture: str
    person: Person
    face: Face
    hand_params: HandParams
    hand_vertices: Float[np.ndarray, "778 3"]
    hand_keypoints: Float[np.ndarray, "21 3"]
    head_vertices: Float[np.ndarray, "5023 3"]
    head_keypoints: Float[np.ndarray, "68 3"]
    deformations: Float[np.ndarray, "5023 3"]
    hand_contact: Bool[np.ndarray, "778"]
    head_contact: Bool[np.ndarray, "5023"]
    elbow: Float[np.ndarray, "3"]
    attempts: int

    @property
    def deformed_head_vertices(self) -> Float[np.ndarray, "5023 3"]:
        return self.head_vertices - self.deformations


class SceneSolver:
    """Solves scenes one by one; scene `index` of a seed is the same whatever was asked before."""

    def __init__(self, hand: BodyModel, head: BodyModel, seed: int):
        self.hand, self.head, self.seed = hand, head, seed
        self._patches, self._skin = pose.hand_patches(hand), start.head_skin(head)
        self._pose_head = jax.jit(lambda params: pose_head(head, params))
        self._pose_hand = jax.jit(lambda params: pose_hand(hand, params))

    def solve(self, index: int) -> Scene:
        """Scene number `index`; its person has the same number.

        Raises:
            RuntimeError: no plausible scene was found in many attempts (a body model with odd
                regions or scale).
        """
        person = sample_person(index, self.seed)
        for attempt in range(_MAX_ATTEMPTS):
            scene = self._attempt(index, person, attempt)
            if scene is not None:
                return scene
        raise RuntimeError(
            f"scene {index} of seed {self.seed}: no hand pose fits in {_MAX_ATTEMPTS} attempts"
        )

    def _attempt(self, index, person, attempt):
        rng = np.random.default_rng((self.seed, 2, index, attempt))
        face = sample_face(rng)
        # The gesture is drawn once a scene, so that difficult gestures are as frequent as they
        # should be.
        gesture, gap = draw_gesture(np.random.default_rng((self.seed, 3, index, attempt // 8)))
        head_mesh = self._pose_head(head_params(person, face))
        head_vertices = np.asarray(head_mesh.vertices, np.float64)
        problem = start.contact_problem(
            gesture,
            self._patches,
            self.hand,
            self.head,
            self._skin,
            person.hand_betas,
            head_vertices,
            gap,
            rng,
        )
        batch = jax.tree.map(lambda array: jnp.asarray(array)[None], problem)
        solution = jax.tree.map(
            lambda array: np.asarray(array[0]), contact.solve_contacts(self.hand, batch)
        )
        if not solution.energy < _MAX_ENERGY:
            return None
        seated = self._seat(solution, problem, person, head_vertices, gap)
        if seated is None:
            return None
        params, mesh = seated
        hand_vertices = np.asarray(mesh.vertices, np.float64)
        if gap > 0:
            if cKDTree(head_vertices).query(hand_vertices)[0].min() < _MIN_GAP:
                return None
            dent = deform.Dent(
                np.zeros_like(head_vertices), np.zeros(778, bool), np.zeros(5023, bool), 0.0
            )
        else:
            dent = deform.press_skin(hand_vertices, head_vertices, self.hand, self.head, self._skin)
            if not deform.is_plausible(dent, self._skin):
                return None
        return Scene(
            index=index,
            gesture=gesture.name,
            person=person,
            face=face,
            hand_params=params,
            hand_vertices=hand_vertices,
            hand_keypoints=np.asarray(mesh.keypoints, np.float64),
            head_vertices=head_vertices,
            head_keypoints=np.asarray(head_mesh.keypoints, np.float64),
            deformations=dent.deformations,
            hand_contact=dent.hand_contact,
            head_contact=dent.head_contact,
            elbow=np.asarray(solution.elbow, np.float64),
            attempts=attempt + 1,
        )

    def _seat(self, solution, problem, person, head_vertices, gap):
        """Hand parameters and mesh with the hand moved to its exact depth; None if that is not
        possible.
        """
        params = HandParams(
            betas=jnp.asarray(person.hand_betas, jnp.float32),
            global_orient=jnp.asarray(
                Rotation.from_matrix(solution.global_orient).as_rotvec(), jnp.float32
            ),
            hand_pose=jnp.asarray(solution.hand_pose),
            transl=jnp.asarray(solution.transl),
        )
        mesh = self._pose_hand(params)
        if gap > 0:
            return params, mesh
        shift = deform.seat(
            np.asarray(mesh.vertices, np.float64),
            head_vertices,
            float(problem.press),
            self.hand,
            self.head,
            self._skin,
        )
        if shift is None:
            return None
        params = params.replace(transl=params.transl + jnp.asarray(shift, jnp.float32))
        return params, self._pose_hand(params)


def head_params(person: Person, face: Face) -> HeadParams:
    """FLAME parameters of a head in its own axes."""
    zero = np.zeros(3)
    values = (person.head_betas, face.expression, zero, face.neck_pose, face.jaw_pose, zero)
    return HeadParams(*(jnp.asarray(value, jnp.float32) for value in values))


def draw_gesture(rng: np.random.Generator) -> tuple[pose.Gesture, float]:
    """A gesture, and the gap that it leaves in meters: 0 where the hand touches."""
    near = rng.uniform() < NEAR_SHARE
    # Touching gestures held off the face are the hardest negatives.
    gestures = pose.NEAR_GESTURES if near and rng.uniform() < 0.6 else pose.GESTURES
    weights = np.array([gesture.weight for gesture in gestures])
    gesture = gestures[rng.choice(len(gestures), p=weights / weights.sum())]
    return gesture, float(0.012 + (MAX_GAP - 0.012) * rng.uniform() ** 1.7) if near else 0.0
