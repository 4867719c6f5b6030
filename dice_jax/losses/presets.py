"""Every weight and every choice of formula in the losses, and three presets of them.

paper: the equations as printed (sec. 3.3, app. C).

release: what the authors' training code computes. Its weights are divided by 20, the ratio to the
paper's scale; AdamW is invariant to that, but a gradient clip by value must be divided as well.
Bugs of that code are not reproduced: collision, depth, confidences and the order of keypoints are
correct in every preset.

fixed (default): the paper's ratios, and the additional supervision of the released code where it
helps training from scratch.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from dice_jax.losses.depth import FORMULAS


@dataclasses.dataclass(frozen=True)
class LossWeights:
    """Weights and switches of `total.generator_loss`: the section `losses` of a config.

    The structure is the paper's: L = 12.5 L_mesh + 5 L_interaction + L_adv + 2.5 L_depth, with
    inner weights in each sum. A term of weight 0 is not computed.

    Attributes:
        mesh, interaction, adversarial, depth: weights of the four sums.
        reprojection, vertices, keypoints, params: terms of L_mesh.
        heatmaps: term of L_mesh for networks with heatmaps (`ModelConfig.fine_features`).
        rough: weight of the rough meshes and keypoints relative to the parametric ones (4 in eq.
            7); 0 also removes them from L_reproj.
        touch, contact, collision, deformation, presence, deformation_prior: terms of
            L_interaction.
        hand_depth: term of L_mesh for the mean depth of the hand and how sure it is, for networks
            with `MeshNetConfig.depth_sigma`.
        hand_presence: term of L_interaction for networks with `ModelConfig.hand_presence`.
        deviation, large_deformation: the two equations of L_deform, both means over vertices.
        all_levels: supervise rough vertices and contacts at every resolution, not only the finest.
        rough_level_weight, rough_also_centered: see `vertices.rough_vertices_loss`.
        params_head_divisor, params_with_neck: see `parameters.params_loss`.
        contact_positive_weight: see `contact.binary_cross_entropy`.
        deformation_l1: see `deformation.large_deformation_loss`.
        touch_squared: average squared distances.
        touch_deformed: measure touch on the deformed head.
        collision_over_colliding, collision_squared: see `touch.collision_loss`.
        non_saturating: -log D for the network, otherwise log(1 - D).
        discriminator_hand, discriminator_head: weights of the two discriminators' own losses, which
            the training step adds.
        discriminator_with_neck: the pose that the head's discriminator sees is neck and jaw
            (paper); otherwise the jaw alone (released code).
        depth_formula: "affine_invariant" or "silog" (paper), see `depth`.
        depth_deformed: render the deformed head, which the camera sees; otherwise the undeformed
            one (released code).
        depth_occlusion_aware: see `depth.render_keypoint_depth`.
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
    hand_depth: float = 0.0
    rough: float = 4.0

    touch: float = 0.2
    contact: float = 0.6
    # 1 in the paper, a factor of the mean over the colliding vertices. As a factor of their sum
    # over 5023, this is as strong where 50 vertices collide: the hand is 1 to 2 cm too deep.
    collision: float = 100.0
    deformation: float = 6.0
    presence: float = 1.0
    hand_presence: float = 0.0
    deformation_prior: float = 2.0
    # 100 and 4 in the released code, whose L_interaction has 5 times this weight.
    deviation: float = 500.0
    large_deformation: float = 20.0

    all_levels: bool = True
    rough_level_weight: float = 0.2
    rough_also_centered: bool = True
    params_head_divisor: float = 3.0
    params_with_neck: bool = True
    contact_positive_weight: float = 1.0
    deformation_l1: bool = False
    touch_squared: bool = False
    touch_deformed: bool = True
    collision_over_colliding: bool = False
    collision_squared: bool = False
    non_saturating: bool = True
    discriminator_hand: float = 1.0
    discriminator_head: float = 1.0
    discriminator_with_neck: bool = True
    depth_formula: str = "affine_invariant"
    depth_deformed: bool = True
    depth_occlusion_aware: bool = True


FIXED = LossWeights()

PAPER = LossWeights(
    # The paper prints sums over the 5023 vertices; these are factors of means.
    deviation=5023.0,
    large_deformation=100.0 * 5023.0,
    presence=0.0,
    deformation_prior=0.0,
    all_levels=False,
    rough_level_weight=1.0,
    rough_also_centered=False,
    collision=1.0,
    collision_over_colliding=True,
    non_saturating=False,
    # As printed. With a pseudo depth of unknown shift its minimum is not the truth, see `depth`.
    depth_formula="silog",
    depth_occlusion_aware=False,
)

RELEASE = LossWeights(
    # The flags of its train.sh, divided by 20: vertices 50, keypoints 25 and 12.5, params 25,
    # contact 15, touch 5, collision 25, deformation 150, presence 25, adversarial 1, depth 2.5.
    interaction=25.0,
    contact=0.6 * 0.2,
    collision=1.0,
    collision_squared=True,
    deviation=100.0,
    large_deformation=4.0,
    deformation_prior=0.4,
    deformation_l1=True,
    params_head_divisor=2.0,
    params_with_neck=False,
    touch_squared=True,
    touch_deformed=False,
    discriminator_hand=3.0,
    discriminator_with_neck=False,
    depth_formula="silog",
    depth_deformed=False,
    depth_occlusion_aware=False,
)

PRESETS = {"paper": PAPER, "release": RELEASE, "fixed": FIXED}


def loss_weights(
    preset: str = "fixed", overrides: Mapping[str, Any] | ConfigDict | None = None
) -> LossWeights:
    """A preset with some fields replaced.

    Args:
        preset: "paper", "release" or "fixed".
        overrides: fields of `LossWeights` to replace.

    Raises:
        ValueError: unknown preset, field or formula.
    """
    if preset not in PRESETS:
        raise ValueError(f"unknown loss preset {preset!r}: choose one of {', '.join(PRESETS)}")
    overrides = dict(overrides or {})
    fields = {field.name for field in dataclasses.fields(LossWeights)}
    if unknown := sorted(set(overrides) - fields):
        raise ValueError(
            f"unknown loss weight {', '.join(unknown)}: the fields are {', '.join(sorted(fields))}"
        )
    weights = dataclasses.replace(PRESETS[preset], **overrides)
    if weights.depth_formula not in FORMULAS:
        choices = ", ".join(FORMULAS)
        raise ValueError(
            f"losses.depth_formula is {weights.depth_formula!r}: choose one of {choices}"
        )
    return weights
