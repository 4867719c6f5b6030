"""The terms of L_interaction: touch, contact, collision and deformation (paper sec. 3.3)."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
from jaxtyping import Float

from dice_jax.array_types import Array
from dice_jax.body_models.hierarchy import downsample_labels
from dice_jax.losses import contact, deformation, touch
from dice_jax.losses.term import Scene, Term
from dice_jax.structs import Batch


@dataclasses.dataclass(frozen=True)
class Touch(Term):
    """L_touch, on the deformed head or on the undeformed one."""

    name = "touch"
    after_burn_in = True
    deformed: bool
    squared: bool

    def values(self, scene: Scene) -> Float[Array, "B"]:
        prediction = scene.prediction
        return touch.touch_loss(
            prediction.hand_vertices,
            prediction.deformed_head_vertices if self.deformed else prediction.head_vertices,
            prediction.hand_contact_probs,
            # Vertices inside mouth and eye sockets cannot touch.
            jnp.where(scene.head_model.cavity[None], 0.0, prediction.head_contact_probs),
            squared=self.squared,
        )


@dataclasses.dataclass(frozen=True)
class Contact(Term):
    """L_contact, on the full meshes or on all levels."""

    name = "contact"
    label = "has_contact"
    all_levels: bool
    positive_weight: float

    def values(self, scene: Scene) -> Float[Array, "B"]:
        logits, batch = scene.output.contact_logits, scene.batch
        hand_hierarchy, head_hierarchy = scene.hand_model.hierarchy, scene.head_model.hierarchy
        levels = [(logits.hand, batch.hand_contact), (logits.head, batch.head_contact)]
        if self.all_levels:
            levels += [
                (logits.hand_coarse, downsample_labels(hand_hierarchy, batch.hand_contact, 1)),
                (logits.head_mid, downsample_labels(head_hierarchy, batch.head_contact, 1)),
                (logits.head_coarse, downsample_labels(head_hierarchy, batch.head_contact, 2)),
            ]
        return contact.contact_loss(*zip(*levels), positive_weight=self.positive_weight)


@dataclasses.dataclass(frozen=True)
class Collision(Term):
    """L_collision; mouth cavity and eye sockets do not count as the head's surface."""

    name = "collision"
    after_burn_in = True
    over_colliding: bool
    squared: bool

    def values(self, scene: Scene) -> Float[Array, "B"]:
        return touch.collision_loss(
            scene.prediction.hand_vertices,
            scene.prediction.deformed_head_vertices,
            scene.head_model.closed_faces,
            ~scene.head_model.cavity,
            over_colliding=self.over_colliding,
            squared=self.squared,
        )


@dataclasses.dataclass(frozen=True)
class Deformation(Term):
    """L_deform: the weighted sum of its two equations."""

    name = "deformation"
    label = "has_deformations"
    deviation: float
    large: float
    l1: bool

    def values(self, scene: Scene) -> Float[Array, "B"]:
        predicted = scene.output.deformations
        deviation = deformation.deviation_loss(predicted, scene.batch.deformations)
        large = deformation.large_deformation_loss(predicted, l1=self.l1)
        return self.deviation * deviation + self.large * large


@dataclasses.dataclass(frozen=True)
class Presence(Term):
    """L_presence (released code only)."""

    name = "presence"
    label = "has_contact"

    def values(self, scene: Scene) -> Float[Array, "B"]:
        logit = self.required(scene.output.presence_logit, "model.presence to True")
        return contact.presence_loss(logit, scene.batch.hand_contact, scene.batch.head_contact)


@dataclasses.dataclass(frozen=True)
class HandPresence(Term):
    """Cross-entropy of "there is a hand", for networks that predict it (not in the paper)."""

    name = "hand_presence"

    def values(self, scene: Scene) -> Float[Array, "B"]:
        logit = self.required(scene.output.hand_presence_logit, "model.hand_presence to True")
        return contact.binary_cross_entropy(logit[:, None], scene.batch.has_hand[:, None])


@dataclasses.dataclass(frozen=True)
class DeformationPrior(Term):
    """Keeps deformations small on samples WITHOUT labels of them (released code only)."""

    name = "deformation_prior"
    l1: bool

    def mask(self, batch: Batch) -> Float[Array, "B"]:
        return 1.0 - batch.has_deformations

    def values(self, scene: Scene) -> Float[Array, "B"]:
        return deformation.deformation_prior(scene.output.deformations, l1=self.l1)
