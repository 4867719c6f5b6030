"""Samples a person, a facial expression and a gesture, and solves for the contact."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float
from scipy.spatial import KDTree
from scipy.spatial.transform import Rotation

from dice_jax.body_models import BodyModel, pose_hand, pose_head
from dice_jax.constants import NUM_HAND_VERTICES, NUM_HEAD_VERTICES
from dice_jax.structs import HandParams, HeadParams
from dice_jax.synthetic import contact_problem, contact_solver, deform
from dice_jax.synthetic.gestures import GESTURES, NEAR_GESTURES, Gesture
from dice_jax.synthetic.pose import hand_patches
from dice_jax.synthetic.sample import Face, Person, sample_face, sample_person

NO_CONTACT_FRACTION = 0.2  # of scenes in which the hand does not touch
_GAP_RANGE = (0.012, 0.15)  # meters between hand and skin in those scenes
_MIN_GAP = 0.008  # meters after solving
_MAX_ENERGY = 60.0
_MAX_ATTEMPTS = 40
_ATTEMPTS_PER_GESTURE = 8


@dataclasses.dataclass(frozen=True)
class Scene:
    """A solved scene in the head's own axes (x to the person's left, y up, z forward), meters.

    Attributes:
        index: number of the scene.
        gesture: name of the gesture.
        person: shape and colors.
        face: expression, jaw and neck.
        hand_params: `global_orient` and `transl` in the head's own axes.
        hand_vertices, hand_keypoints: of the posed hand.
        head_vertices, head_keypoints: UNDEFORMED.
        deformations: to be subtracted from `head_vertices`.
        hand_contact, head_contact: which vertices touch.
        elbow: of the right arm.
        attempts: how many samples were drawn until one was plausible.
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
    """Solves scenes one by one. A scene depends on the seed and its index alone.

    Args:
        hand: the hand model.
        head: the head model.
        seed: of all randomness.
        face_sampler: draws the facial expression.
    """

    def __init__(
        self,
        hand: BodyModel,
        head: BodyModel,
        seed: int,
        face_sampler: Callable[[np.random.Generator], Face] = sample_face,
    ):
        self.hand, self.head, self.seed = hand, head, seed
        self._sample_face = face_sampler
        self._patches, self._skin = hand_patches(hand), contact_problem.head_skin(head)
        self._pose_head = jax.jit(lambda params: pose_head(head, params))
        self._pose_hand = jax.jit(lambda params: pose_hand(hand, params))

    def solve(self, index: int) -> Scene:
        """Scene number `index`; its person has the same number.

        Raises:
            RuntimeError: no plausible scene was found in many attempts, for instance because the
                regions or the scale of a body model are wrong.
        """
        person = sample_person(index, self.seed)
        for attempt in range(_MAX_ATTEMPTS):
            scene = self._attempt(index, person, attempt)
            if scene is not None:
                return scene
        raise RuntimeError(
            f"scene {index} of seed {self.seed}: no plausible hand pose in {_MAX_ATTEMPTS} attempts"
        )

    def sample_gesture(self, index: int, attempt: int = 0) -> tuple[Gesture, float]:
        """The gesture of a scene, and the gap between hand and skin: 0 for a contact, meters.

        Several attempts share a gesture, so that difficult gestures are not drawn less often.
        """
        rng = np.random.default_rng((self.seed, 3, index, attempt // _ATTEMPTS_PER_GESTURE))
        return sample_gesture(rng)

    def _attempt(self, index, person, attempt):
        rng = np.random.default_rng((self.seed, 2, index, attempt))
        face = self._sample_face(rng)
        gesture, gap = self.sample_gesture(index, attempt)
        head_mesh = self._pose_head(head_params(person, face))
        head_vertices = np.asarray(head_mesh.vertices, np.float64)
        problem = contact_problem.sample_contact_problem(
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
        solution = self._solve_contact(problem)
        if not solution.energy < _MAX_ENERGY:
            return None
        placed = self._place_hand(solution, problem, person, head_vertices, gap)
        if placed is None:
            return None
        params, mesh = placed
        hand_vertices = np.asarray(mesh.vertices, np.float64)
        contact = self._deform_skin(hand_vertices, head_vertices, gap)
        if contact is None:
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
            deformations=contact.deformations,
            hand_contact=contact.hand_contact,
            head_contact=contact.head_contact,
            elbow=np.asarray(solution.elbow, np.float64),
            attempts=attempt + 1,
        )

    def _solve_contact(self, problem):
        batch = jax.tree.map(lambda array: jnp.asarray(array)[None], problem)
        solutions = contact_solver.solve_contacts(self.hand, batch)
        return jax.tree.map(lambda array: np.asarray(array[0]), solutions)

    def _place_hand(self, solution, problem, person, head_vertices, gap):
        """Parameters and mesh of the hand at its exact depth; None if that cannot be reached."""
        rotation = Rotation.from_matrix(solution.global_orient)
        params = HandParams(
            betas=jnp.asarray(person.hand_betas, jnp.float32),
            global_orient=jnp.asarray(rotation.as_rotvec(), jnp.float32),
            hand_pose=jnp.asarray(solution.hand_pose),
            transl=jnp.asarray(solution.transl),
        )
        mesh = self._pose_hand(params)
        if gap > 0:
            return params, mesh
        shift = deform.shift_to_depth(
            np.asarray(mesh.vertices, np.float64),
            head_vertices,
            float(problem.indentation),
            self.hand,
            self.head,
            self._skin,
        )
        if shift is None:
            return None
        params = params.replace(transl=params.transl + jnp.asarray(shift, jnp.float32))
        return params, self._pose_hand(params)

    def _deform_skin(self, hand_vertices, head_vertices, gap):
        """Deformations and contact labels; None if they are implausible."""
        if gap > 0:
            if KDTree(head_vertices).query(hand_vertices)[0].min() < _MIN_GAP:
                return None
            return deform.SkinContact(
                deformations=np.zeros_like(head_vertices),
                hand_contact=np.zeros(NUM_HAND_VERTICES, bool),
                head_contact=np.zeros(NUM_HEAD_VERTICES, bool),
                overlap=0.0,
            )
        contact = deform.deform_skin(hand_vertices, head_vertices, self.hand, self.head, self._skin)
        return contact if deform.is_plausible(contact, self._skin) else None


def head_params(person: Person, face: Face) -> HeadParams:
    """FLAME parameters of a head in its own axes."""
    zero = np.zeros(3)
    values = (person.head_betas, face.expression, zero, face.neck_pose, face.jaw_pose, zero)
    return HeadParams(*(jnp.asarray(value, jnp.float32) for value in values))


def sample_gesture(rng: np.random.Generator) -> tuple[Gesture, float]:
    """Draws a gesture, and the gap between hand and skin in meters: 0 for a contact."""
    no_contact = rng.uniform() < NO_CONTACT_FRACTION
    # Contact gestures held off the face are the hardest negatives.
    gestures = NEAR_GESTURES if no_contact and rng.uniform() < 0.6 else GESTURES
    frequencies = np.array([gesture.frequency for gesture in gestures])
    gesture = gestures[rng.choice(len(gestures), p=frequencies / frequencies.sum())]
    low, high = _GAP_RANGE
    return gesture, float(low + (high - low) * rng.uniform() ** 1.7) if no_contact else 0.0
