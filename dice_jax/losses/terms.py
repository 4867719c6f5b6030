"""The list of all terms of the objective, and the two that stand outside the paper's inner sums.

To add a loss, write its equation as a function, wrap it in a `Term`, and list it in `build_terms`.
"""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
from jaxtyping import Float

from dice_jax.array_types import Array
from dice_jax.losses import adversarial, depth
from dice_jax.losses.interaction_terms import (
    Collision,
    Contact,
    Deformation,
    DeformationPrior,
    HandPresence,
    Presence,
    Touch,
)
from dice_jax.losses.mesh_terms import (
    HandDepth,
    Heatmaps,
    Keypoints,
    Params,
    Reprojection,
    RoughVertices,
    Vertices,
)
from dice_jax.losses.presets import LossWeights
from dice_jax.losses.term import Scene, Term


@dataclasses.dataclass(frozen=True)
class Adversarial(Term):
    """L_adv: both discriminators."""

    name = "adversarial"
    needs_fake_logits = True
    non_saturating: bool

    def values(self, scene: Scene) -> Float[Array, "B"]:
        assert scene.fake_logits is not None, "the adversarial term needs fake_logits"
        hand, head = (
            adversarial.adversarial_loss(logits, non_saturating=self.non_saturating)
            for logits in scene.fake_logits
        )
        return hand + head


@dataclasses.dataclass(frozen=True)
class Depth(Term):
    """L_depth at the keypoints of both parts."""

    name = "depth"
    label = "has_depth"
    after_burn_in = True
    formula: str
    deformed: bool
    occlusion_aware: bool

    def values(self, scene: Scene) -> Float[Array, "B"]:
        prediction, batch = scene.prediction, scene.batch
        rendered, visible = depth.render_keypoint_depth(
            prediction.hand_vertices,
            prediction.deformed_head_vertices if self.deformed else prediction.head_vertices,
            scene.hand_model.faces,
            scene.head_model.faces,
            prediction.camera,
            jnp.concatenate([prediction.hand_keypoints_3d, prediction.head_keypoints_3d], axis=-2),
            occlusion_aware=self.occlusion_aware,
        )
        both = lambda hand, head: jnp.concatenate([hand, head], axis=-1)
        pseudo = both(batch.hand_keypoints_depth, batch.head_keypoints_depth)
        confidence = both(batch.hand_keypoints_2d[..., 2], batch.head_keypoints_2d[..., 2])
        known = visible & (confidence > 0) & (pseudo > 0)
        return depth.FORMULAS[self.formula](rendered, pseudo, known)


def build_terms(weights: LossWeights) -> tuple[Term, ...]:
    """All terms of the objective, L = 12.5 L_mesh + 5 L_interaction + L_adv + 2.5 L_depth.

    The weight of a term is the product of the paper's nested weights.
    """
    w = weights
    return (
        # L_mesh
        Reprojection(w.mesh * w.reprojection, with_rough=w.rough != 0),
        Vertices(w.mesh * w.vertices),
        RoughVertices(
            w.mesh * w.vertices * w.rough,
            all_levels=w.all_levels,
            level_weight=w.rough_level_weight,
            also_centered=w.rough_also_centered,
        ),
        Keypoints(w.mesh * w.keypoints, rough_weight=w.rough),
        Params(w.mesh * w.params, head_divisor=w.params_head_divisor, with_neck=w.params_with_neck),
        Heatmaps(w.mesh * w.heatmaps),
        HandDepth(w.mesh * w.hand_depth),
        # L_interaction
        Touch(w.interaction * w.touch, deformed=w.touch_deformed, squared=w.touch_squared),
        Contact(
            w.interaction * w.contact,
            all_levels=w.all_levels,
            positive_weight=w.contact_positive_weight,
        ),
        Collision(
            w.interaction * w.collision,
            over_colliding=w.collision_over_colliding,
            squared=w.collision_squared,
        ),
        Deformation(
            w.interaction * w.deformation,
            deviation=w.deviation,
            large=w.large_deformation,
            l1=w.deformation_l1,
        ),
        Presence(w.interaction * w.presence),
        HandPresence(w.interaction * w.hand_presence),
        DeformationPrior(w.interaction * w.deformation_prior, l1=w.deformation_l1),
        Adversarial(w.adversarial, non_saturating=w.non_saturating),
        Depth(
            w.depth,
            formula=w.depth_formula,
            deformed=w.depth_deformed,
            occlusion_aware=w.depth_occlusion_aware,
        ),
    )


def active_terms(weights: LossWeights, *, with_adversarial: bool = True) -> tuple[Term, ...]:
    """The terms whose weight is not 0; without L_adv if there are no discriminators."""
    return tuple(
        term
        for term in build_terms(weights)
        if term.weight != 0 and (with_adversarial or not term.needs_fake_logits)
    )
