"""Solves scenes: a person with an expression, and the hands that the kind of the scene asks for."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from dice_jax.body_models import BodyModel, pose_head
from dice_jax.body_models.mirror_vertices import mirror_vertices
from dice_jax.structs import HandParams, HeadParams
from dice_jax.synthetic.expressions import FaceSampler
from dice_jax.synthetic.hand_placer import HandPlacer, Request, sample_gesture
from dice_jax.synthetic.kinds import Frequencies, Kind, Placement, Plan, sample_plan
from dice_jax.synthetic.placed_hand import (
    SIDE,
    PlacedHand,
    absent_hand,
    collide,
    mirrored_hand,
)
from dice_jax.synthetic.sample import Face, Person, sample_person

_MAX_ATTEMPTS = 40
_ATTEMPTS_PER_GESTURE = 8
_LEFT_ATTEMPTS = 12
_FIRST_OTHER_PERSON = 1_000_000_000  # numbers of people who only lend a hand
# Where the shoulder of another person may be, meters in the head's axes: at either side.
_OTHER_SHOULDERS = ((0.34, -0.32, 0.05), (0.52, 0.0, 0.36))


@dataclasses.dataclass(frozen=True)
class Scene:
    """A solved scene in the head's own axes (x to the person's left, y up, z forward), meters.

    The properties `hand_*`, `gesture`, `deformations` and so on are those of the right hand, which
    the labels describe.

    Attributes:
        index: number of the scene.
        kind: what it shows.
        person: shape and colors.
        face: expression, jaw and neck.
        head_vertices, head_keypoints: UNDEFORMED.
        right, left: the hands; either may be absent.
        attempts: how many samples were drawn until one was plausible.
    """

    index: int
    kind: Kind
    person: Person
    face: Face
    head_vertices: Float[np.ndarray, "5023 3"]
    head_keypoints: Float[np.ndarray, "68 3"]
    right: PlacedHand
    left: PlacedHand
    attempts: int

    @property
    def gesture(self) -> str:
        return self.right.gesture

    @property
    def hand_params(self) -> HandParams:
        return self.right.params

    @property
    def hand_vertices(self) -> Float[np.ndarray, "778 3"]:
        return self.right.vertices

    @property
    def hand_keypoints(self) -> Float[np.ndarray, "21 3"]:
        return self.right.keypoints

    @property
    def hand_contact(self) -> Bool[np.ndarray, "778"]:
        return self.right.contact

    @property
    def head_contact(self) -> Bool[np.ndarray, "5023"]:
        return self.right.head_contact

    @property
    def deformations(self) -> Float[np.ndarray, "5023 3"]:
        return self.right.deformations

    @property
    def deformed_head_vertices(self) -> Float[np.ndarray, "5023 3"]:
        """The skin under the right hand."""
        return self.head_vertices - self.right.deformations

    @property
    def drawn_head_vertices(self) -> Float[np.ndarray, "5023 3"]:
        """The skin under both hands, as the picture shows it."""
        return self.deformed_head_vertices - self.left.deformations


class SceneSolver:
    """Solves scenes one by one. A scene depends on the seed and its index alone.

    Args:
        hand: the hand model.
        head: the head model.
        seed: of all randomness.
        face_sampler: draws the facial expression; None: `expressions.FaceSampler`.
        frequencies: of the kinds of scene; None: those of the data set.
    """

    def __init__(
        self,
        hand: BodyModel,
        head: BodyModel,
        seed: int,
        face_sampler: Callable[[np.random.Generator], Face] | None = None,
        frequencies: Frequencies | None = None,
    ):
        self.hand, self.head, self.seed = hand, head, seed
        self._faces, self._frequencies = FaceSampler(head), frequencies
        self._sample_face = face_sampler or self._faces
        self._placer, self._mirror = HandPlacer(hand, head), mirror_vertices(head)
        self._pose_head = jax.jit(lambda params: pose_head(head, params))

    @property
    def rejected(self) -> collections.Counter[str]:
        """Number of attempts that failed, by reason. They are drawn again, never labeled."""
        return self._placer.rejected

    def plan(self, index: int) -> Plan:
        """What scene `index` is to show."""
        return sample_plan(np.random.default_rng((self.seed, 6, index)), self._frequencies)

    def solve(self, index: int) -> Scene:
        """Scene number `index`; its person has the same number.

        Raises:
            RuntimeError: no plausible scene was found in many attempts, for instance because the
                regions or the scale of a body model are wrong.
        """
        person, plan = sample_person(index, self.seed), self.plan(index)
        for attempt in range(_MAX_ATTEMPTS):
            scene = self._attempt(index, person, plan, attempt)
            if scene is not None:
                return scene
        raise RuntimeError(
            f"scene {index} of seed {self.seed}: no plausible hand pose in {_MAX_ATTEMPTS} attempts"
        )

    def _attempt(self, index, person, plan, attempt):
        rng = np.random.default_rng((self.seed, 2, index, attempt))
        face, request = self._sample_face(rng), None
        if plan.right is not None:
            # Several attempts share a gesture, so that difficult ones are not drawn less often.
            shared = np.random.default_rng((self.seed, 3, index, attempt // _ATTEMPTS_PER_GESTURE))
            request = self._request(plan.right, person, shared)
            if plan.right is Placement.TOUCH and self._sample_face is self._faces:
                face = self._faces.with_expression(face, request.gesture.expression, rng)
        head_mesh = self._pose_head(head_params(person, face))
        head_vertices = np.asarray(head_mesh.vertices, np.float64)
        right, left = absent_hand(person), absent_hand(person)
        if request is not None:
            if plan.kind is Kind.OTHER_PERSON:
                request = self._of_another(request, index, rng)
            right = self._placer.place(request, head_vertices, rng)
            if right is None:
                return None
        if plan.left is not None:
            placed = self._place_left(plan.left, person, head_vertices, right, index)
            if placed is None and plan.right is None:
                return None
            left = placed or left
        return Scene(
            index=index,
            kind=plan.kind,
            person=person,
            face=face,
            head_vertices=head_vertices,
            head_keypoints=np.asarray(head_mesh.keypoints, np.float64),
            right=right,
            left=left,
            attempts=attempt + 1,
        )

    def _request(self, placement: Placement, person: Person, rng) -> Request:
        gesture, gap = sample_gesture(placement, rng)
        return Request(placement, gesture, gap, person)

    def _of_another(self, request: Request, index: int, rng) -> Request:
        """The same with the hand of another person, who is at either side."""
        other = sample_person(_FIRST_OTHER_PERSON + index, self.seed)
        shoulder = rng.uniform(*_OTHER_SHOULDERS)
        shoulder[0] *= rng.choice([-1.0, 1.0])
        return dataclasses.replace(request, person=other, shoulder=shoulder)

    def _place_left(self, placement, person, head_vertices, right, index):
        """A left hand: a right hand at the mirror image of the head, mirrored."""
        image = head_vertices[self._mirror] * SIDE
        for attempt in range(_LEFT_ATTEMPTS):
            rng = np.random.default_rng((self.seed, 7, index, attempt))
            hand = self._placer.place(self._request(placement, person, rng), image, rng)
            if hand is None:
                continue
            hand = mirrored_hand(hand, self._mirror)
            if not collide(right.vertices, hand.vertices):
                return hand
            self._placer.rejected["both hands at one place"] += 1
        return None


def head_params(person: Person, face: Face) -> HeadParams:
    """FLAME parameters of a head in its own axes."""
    zero = np.zeros(3)
    values = (person.head_betas, face.expression, zero, face.neck_pose, face.jaw_pose, zero)
    return HeadParams(*(jnp.asarray(value, jnp.float32) for value in values))
