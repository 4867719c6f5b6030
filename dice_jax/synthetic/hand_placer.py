"""Places one right hand: in contact with a head, near it, or away from it."""

from __future__ import annotations

import collections
import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from scipy.spatial import KDTree
from scipy.spatial.transform import Rotation

from dice_jax.body_models import BodyModel, pose_hand
from dice_jax.structs import HandParams
from dice_jax.synthetic import contact_problem, contact_solver, deform, free_hand
from dice_jax.synthetic.gestures import Gesture
from dice_jax.synthetic.kinds import Placement
from dice_jax.synthetic.near_gestures import NEAR_GESTURES
from dice_jax.synthetic.penetration import outward_normals
from dice_jax.synthetic.placed_hand import PlacedHand, absent_hand
from dice_jax.synthetic.pose import hand_patches, sample_pose
from dice_jax.synthetic.sample import Person
from dice_jax.synthetic.touch_gestures import TOUCH_GESTURES

_GAP_RANGE = (0.012, 0.15)  # meters between hand and skin of a hand that is near
_MIN_GAP = 0.008  # meters after solving
_MAX_ENERGY = 60.0
_CONTACT_GESTURE_SHARE = 0.4  # of the hands that are near: the hardest negatives


@dataclasses.dataclass(frozen=True)
class Request:
    """What hand is wanted.

    Attributes:
        placement: where.
        gesture: what it does.
        gap: between hand and skin where it is near, meters; 0 otherwise.
        person: whose shape it has.
        shoulder: where its arm begins, meters; None: at the right shoulder of the head's person.
    """

    placement: Placement
    gesture: Gesture
    gap: float
    person: Person
    shoulder: Float[np.ndarray, "3"] | None = None


class HandPlacer:
    """Places hands at heads.

    Attributes:
        rejected: number of hands that were not placed, by reason; none of them gets a label.
    """

    def __init__(self, hand: BodyModel, head: BodyModel):
        self.hand, self.head = hand, head
        self.rejected: collections.Counter[str] = collections.Counter()
        self._patches, self._skin = hand_patches(hand), contact_problem.head_skin(head)
        self._pose_hand = jax.jit(lambda params: pose_hand(hand, params))

    def place(
        self, request: Request, head_vertices: Float[np.ndarray, "5023 3"], rng: np.random.Generator
    ) -> PlacedHand | None:
        """One attempt to place a hand.

        Args:
            request: what hand.
            head_vertices: undeformed, in the head's own axes, meters.
            rng: source of randomness.

        Returns:
            The hand, or None if it is not plausible; the reason is counted in `rejected`.
        """
        if request.placement in (Placement.TOUCH, Placement.NEAR):
            placed = self._at_the_face(request, head_vertices, rng)
        else:
            placed = self._away(request, head_vertices, rng)
        if isinstance(placed, str):
            self.rejected[placed] += 1
            return None
        return placed

    def _at_the_face(self, request, head_vertices, rng):
        gesture, shoulder = request.gesture, contact_problem.SHOULDER
        if request.shoulder is not None:
            shoulder = request.shoulder
            towards = shoulder / np.linalg.norm(shoulder)
            gesture = dataclasses.replace(gesture, wrist_direction=tuple(towards))
        problem = contact_problem.sample_contact_problem(
            gesture,
            self._patches,
            self.hand,
            self.head,
            self._skin,
            request.person.hand_betas,
            head_vertices,
            request.gap,
            rng,
        ).replace(
            shoulder=np.asarray(shoulder, np.float32),
            own_arm=np.asarray(request.shoulder is None, np.float32),
        )
        batch = jax.tree.map(lambda array: jnp.asarray(array)[None], problem)
        solutions = contact_solver.solve_contacts(self.hand, batch)
        solution = jax.tree.map(lambda array: np.asarray(array[0]), solutions)
        if not solution.energy < _MAX_ENERGY:
            return "no pose without a conflict"
        rotation = Rotation.from_matrix(solution.global_orient)
        params = HandParams(
            betas=jnp.asarray(request.person.hand_betas, jnp.float32),
            global_orient=jnp.asarray(rotation.as_rotvec(), jnp.float32),
            hand_pose=jnp.asarray(solution.hand_pose),
            transl=jnp.asarray(solution.transl),
        )
        elbow = np.asarray(solution.elbow, np.float64)
        if request.gap > 0:
            placed = self._placed(request, params, elbow, shoulder)
            too_near = KDTree(head_vertices).query(placed.vertices)[0].min() < _MIN_GAP
            return "a near hand touches" if too_near else placed
        return self._in_contact(request, params, elbow, shoulder, head_vertices, problem)

    def _in_contact(self, request, params, elbow, shoulder, head_vertices, problem):
        """The hand at its exact depth, with labels."""
        vertices = np.asarray(self._pose_hand(params).vertices, np.float64)
        models = self.hand, self.head, self._skin
        depth = float(problem.indentation)
        shift = deform.shift_to_depth(vertices, head_vertices, depth, *models)
        if shift is None:
            return "the depth cannot be reached"
        params = params.replace(transl=params.transl + jnp.asarray(shift, jnp.float32))
        placed = self._placed(request, params, elbow, shoulder)
        contact = deform.deform_skin(placed.vertices, head_vertices, *models)
        if not deform.is_plausible(contact, self._skin):
            return "the skin cannot follow"
        return dataclasses.replace(
            placed,
            contact=contact.hand_contact,
            head_contact=contact.head_contact,
            deformations=contact.deformations,
        )

    def _away(self, request, head_vertices, rng):
        shoulder = contact_problem.SHOULDER
        where = request.placement.value
        rotation, middle, to_elbow = free_hand.sample_wrist(where, shoulder, rng)
        params = HandParams(
            betas=jnp.asarray(request.person.hand_betas, jnp.float32),
            global_orient=jnp.asarray(Rotation.from_matrix(rotation).as_rotvec(), jnp.float32),
            hand_pose=jnp.asarray(sample_pose(request.gesture, rng), jnp.float32),
            transl=jnp.zeros(3),
        )
        posed = np.asarray(self._pose_hand(params).vertices, np.float64)
        params = params.replace(transl=jnp.asarray(middle - posed.mean(0), jnp.float32))
        placed = self._placed(request, params, middle, shoulder)
        elbow = free_hand.elbow_from(placed.keypoints[0], to_elbow)
        normals = outward_normals(head_vertices, self.head)
        if not free_hand.is_clear(where, placed.vertices, elbow, head_vertices, normals):
            return "a free hand or its arm is in the head"
        return dataclasses.replace(placed, elbow=elbow)

    def _placed(self, request, params, elbow, shoulder):
        mesh = self._pose_hand(params)
        return dataclasses.replace(
            absent_hand(request.person),
            gesture=request.gesture.name,
            params=params,
            vertices=np.asarray(mesh.vertices, np.float64),
            keypoints=np.asarray(mesh.keypoints, np.float64),
            elbow=elbow,
            shoulder=np.asarray(shoulder, np.float64),
        )


def sample_gesture(placement: Placement, rng: np.random.Generator) -> tuple[Gesture, float]:
    """Draws a gesture, and the gap between hand and skin in meters: 0 for a contact."""
    near = placement is Placement.NEAR
    contact_gesture = rng.uniform() < _CONTACT_GESTURE_SHARE
    if placement is Placement.TOUCH or (near and contact_gesture):
        gestures = TOUCH_GESTURES
    else:
        gestures = NEAR_GESTURES
    frequencies = np.array([gesture.frequency for gesture in gestures])
    gesture = gestures[int(rng.choice(len(gestures), p=frequencies / frequencies.sum()))]
    low, high = gesture.gap or _GAP_RANGE
    return gesture, float(low + (high - low) * rng.uniform() ** 1.7) if near else 0.0
