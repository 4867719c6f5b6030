"""Every weight and every choice of formula in the losses, in one place, with three ready sets of
them.

  paper    the equations of the paper as printed (sec. 3.3, app. C)
  release  what the authors' training code computes, its weights divided by 20 to be on the paper's
  scale
           (AdamW does not care; a gradient clip by value would have to be divided as well). Its
           slips are not repeated: collision, depth, confidences and the order of keypoints are the
           corrected ones in every preset
  fixed    the default: the paper's ratios, the release's extra supervision where it helps training
  from scratch,
           and none of the release's mistakes

The structure is the paper's: L = 12.5 L_mesh + 5 L_interaction + L_adv + 2.5 L_depth, and the inner
weights below it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any


@dataclasses.dataclass(frozen=True)
class LossWeights:
    """Weights and switches of `total.generator_loss`. A weight of 0 turns its term off, and its
    computation.

    Attributes:
        mesh, interaction, adversarial, depth: weights of the four sums.
        reprojection, vertices, keypoints, params: inside L_mesh.
        heatmaps: inside L_mesh, for networks that find keypoints in the image
            (`ModelConfig.fine_features`).
        rough: weight of the rough meshes and keypoints against the parametric ones (eq. 7: 4); 0
            takes them out of L_reproj as well.
        hand, head: l_h and l_f of eq. 7.
        reprojection_hand: the hand's weight in L_reproj; the face's is 1.
        touch, contact, collision, deformation, presence, deformation_prior: inside L_interaction.
        deviation, large_deformation: the two terms of L_deform, both means over vertices.
        all_levels: supervise rough vertices and contacts at every resolution, not the finest alone.
        rough_level_weight, rough_also_centered: see `vertices.rough_vertices_loss`.
        params_hand_divisor, params_head_divisor, params_with_neck: see `parameters.params_loss`.
        contact_positive_weight: see `contact.binary_cross_entropy`.
        touch_squared, touch_deformed: mean of squared distances; on the deformed head.
        non_saturating: -log D for the generator, else log(1 - D).
        discriminator_hand, discriminator_head: weights of the two discriminators' own losses (used
            by the training step).
        depth_occlusion_aware, depth_align_shift: see `depth`.
    """

    mesh: float = 12.5
    interaction: float = 5.0
    adversarial: float = 1.0
    depth: float = 2.5

    reprojection: float = 1.0
    vertices: float = 4.0
    keypoints: float = 2.0
    params: float = 2.0
    heatmaps: float = 0.0
    rough: float = 4.0
    hand: float = 3.0
    head: float = 1.0
    reprojection_hand: float = 4.0

    touch: float = 0.2
    contact: float = 0.6
    collision: float = 1.0
    deformation: float = 6.0
    presence: float = 1.0
    deformation_prior: float = 2.0
    # The release's 100 and 4, times 5 since its L_interaction weighs 5 times ours.
    deviation: float = 500.0
    large_deformation: float = 20.0

    all_levels: bool = True
    rough_level_weight: float = 0.2
    rough_also_centered: bool = True
    params_hand_divisor: float = 2.0
    params_head_divisor: float = 3.0
    params_with_neck: bool = True
    contact_positive_weight: float = 1.0
    touch_squared: bool = False
    touch_deformed: bool = True
    non_saturating: bool = True
    discriminator_hand: float = 1.0
    discriminator_head: float = 1.0
    depth_occlusion_aware: bool = True
    depth_align_shift: bool = True


FIXED = LossWeights()

PAPER = LossWeights(
    # The paper prints sums over the 5023 vertices; ours are means.
    deviation=5023.0,
    large_deformation=100.0 * 5023.0,
    presence=0.0,
    deformation_prior=0.0,
    all_levels=False,
    rough_level_weight=1.0,
    rough_also_centered=False,
    non_saturating=False,
    depth_occlusion_aware=False,
    depth_align_shift=False,
)

RELEASE = LossWeights(
    # Flags of its train.sh divided by 20: vertices 50, keypoints 25 and 12.5, params 25, contact
    # 15, touch 5, collision 25, deformation 150, presence 25, adversarial 1, depth 2.5.
    interaction=25.0,
    contact=0.6 * 0.2,
    deviation=100.0,
    large_deformation=4.0,
    deformation_prior=0.4,
    params_head_divisor=2.0,
    params_with_neck=False,
    touch_squared=True,
    touch_deformed=False,
    discriminator_hand=3.0,
    depth_occlusion_aware=False,
    depth_align_shift=False,
)

PRESETS = {"paper": PAPER, "release": RELEASE, "fixed": FIXED}


def loss_weights(preset: str = "fixed", overrides: Mapping[str, Any] | None = None) -> LossWeights:
    """A preset with some fields replaced, as a configuration gives them.

    Args:
        preset: "paper", "release" or "fixed".
        overrides: fields of `LossWeights` to replace.

    Raises:
        ValueError: unknown preset or field.
    """
    if preset not in PRESETS:
        raise ValueError(f"unknown loss preset {preset!r}: choose one of {', '.join(PRESETS)}")
    overrides = dict(overrides or {})
    fields = {field.name for field in dataclasses.fields(LossWeights)}
    if unknown := sorted(set(overrides) - fields):
        raise ValueError(
            f"unknown loss weight {', '.join(unknown)}: the fields are {', '.join(sorted(fields))}"
        )
    return dataclasses.replace(PRESETS[preset], **overrides)
