"""The whole objective of the network (paper sec. 3.3): L = 12.5 L_mesh + 5 L_interaction + L_adv +
2.5 L_depth.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from dice_jax.array_types import Array
from dice_jax.body_models.flame import head_center, head_landmarks
from dice_jax.body_models.hierarchy import downsample, downsample_labels
from dice_jax.body_models.lbs import BodyModel
from dice_jax.body_models.mano import hand_keypoints
from dice_jax.geometry.camera import project_orthographic
from dice_jax.losses import (
    adversarial,
    contact,
    deformation,
    depth,
    keypoints,
    parameters,
    touch,
    vertices,
)
from dice_jax.losses.masking import blank_unlabeled, mask_sum, masked_mean
from dice_jax.losses.presets import LossWeights
from dice_jax.structs import Batch, NetworkOutput, Prediction, RoughMeshes, Targets

Logits = tuple[Float[Array, "B"], Float[Array, "B"]]


def generator_loss(
    output: NetworkOutput,
    prediction: Prediction,
    targets: Targets,
    batch: Batch,
    hand_model: BodyModel,
    head_model: BodyModel,
    weights: LossWeights,
    *,
    axis_name: str | None = None,
    fake_logits: Logits | None = None,
    burn_in: bool | Bool[Array, ""] = False,
    counts: Mapping[str, Float[Array, ""]] | None = None,
) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
    """The network's loss, and its un-weighted parts.

    Each part is a mean over the samples that carry the label it needs. Images without 3D labels are
    taught by reprojection, touch, collision, adversarial, depth and a prior on the deformations;
    the others by all but the prior.

    Args:
        output: of the network.
        prediction: `output` decoded: posed meshes, head-centerd. Its deformations must not be gated
            by presence.
        targets: ground truth posed from `batch`.
        batch: labels and `has_*` masks; what a mask declares absent may hold anything.
        hand_model, head_model: give faces, keypoints and the coarser meshes.
        weights: see `presets`; a part of weight 0 is neither computed nor reported.
        axis_name: mapped axis to average over, see `masking.masked_mean`.
        fake_logits: what the hand and the head discriminator say of the predicted parameters; None
            leaves L_adv out.
        burn_in: True while the meshes are too rough for touch, collision and depth to mean
            anything: these are then 0 and, decided at run time, cost nothing.
        counts: `label_counts` of the whole, where `batch` is one of several micro-batches: losses
            and gradients of all of them then add up to those of the whole.

    Returns:
        The loss, and a dict by the names of `PARTS`.
    """
    batch, targets = blank_unlabeled(batch, targets)
    rough = center_on_head(output.rough)
    scene = _Scene(
        output, rough, prediction, targets, batch, hand_model, head_model, weights, fake_logits
    )
    losses = {}
    for name in active_parts(weights, with_adversarial=fake_logits is not None):
        mask_of, compute = PARTS[name]
        mask = mask_of(batch)
        if name in AFTER_BURN_IN:
            # `0 * mask` and not zeros: under shard_map both branches must vary over the same
            # devices.
            active = jnp.any(mask > 0) & jnp.logical_not(burn_in)
            values = jax.lax.cond(
                active, lambda compute=compute: compute(scene), lambda mask=mask: 0.0 * mask
            )
        else:
            values = compute(scene)
        losses[name] = masked_mean(values, mask, axis_name, counts and counts[name])
    return total(losses, weights), losses


def label_counts(batch: Batch, axis_name: str | None = None) -> dict[str, Float[Array, ""]]:
    """How many samples each of `PARTS` is a mean over, see `masking.masked_mean`."""
    return {name: mask_sum(mask_of(batch), axis_name) for name, (mask_of, _) in PARTS.items()}


def total(
    losses: Mapping[str, Float[Array, ""] | float], weights: LossWeights
) -> Float[Array, ""] | float:
    """The weighted sum of the parts, as the paper writes it; a missing part counts 0."""
    w, part = weights, lambda name: losses.get(name, 0.0)
    mesh = (
        w.reprojection * part("reprojection")
        + w.vertices * (w.rough * part("rough_vertices") + part("vertices"))
        + w.keypoints * part("keypoints")
        + w.params * part("params")
        + w.heatmaps * part("heatmaps")  # ours, for networks that have them
    )
    interaction = (
        w.touch * part("touch")
        + w.contact * part("contact")
        + w.collision * part("collision")
        + w.deformation * part("deformation")
        + w.presence
        * part("presence")  # this and the next line are the released code's, not the paper's
        + w.deformation_prior * part("deformation_prior")
    )
    return (
        w.mesh * mesh
        + w.interaction * interaction
        + w.adversarial * part("adversarial")
        + w.depth * part("depth")
    )


def active_parts(weights: LossWeights, *, with_adversarial: bool = True) -> tuple[str, ...]:
    """Names of the parts whose weight in `total` is not 0."""
    matters = lambda name: total({name: 1.0}, weights) != 0
    return tuple(
        name for name in PARTS if matters(name) and (with_adversarial or name != "adversarial")
    )


def center_on_head(rough: RoughMeshes) -> RoughMeshes:
    """The rough meshes and keypoints in their own head-centerd frame, as the ground truth is in its
    own.
    """
    center = head_center(rough.head_vertices)[..., None, :]
    return jax.tree.map(lambda points: points - center, rough)


class _Scene(NamedTuple):
    """What the parts below look at; labels without a mask are blank, `rough` is head-centerd."""

    output: NetworkOutput
    rough: RoughMeshes
    prediction: Prediction
    targets: Targets
    batch: Batch
    hand_model: BodyModel
    head_model: BodyModel
    weights: LossWeights
    fake_logits: Logits | None


def _reprojection(s: _Scene):
    camera = s.output.camera
    project = lambda points: project_orthographic(points, camera.scale, camera.transl)
    hand_sets, head_sets = [s.prediction.hand_keypoints_2d], [s.prediction.head_keypoints_2d]
    if s.weights.rough:
        hand_sets += map(
            project, (s.rough.hand_keypoints, hand_keypoints(s.hand_model, s.rough.hand_vertices))
        )
        head_sets += map(
            project, (s.rough.head_keypoints, head_landmarks(s.head_model, s.rough.head_vertices))
        )
    hand = sum(
        keypoints.reprojection_loss(points, s.batch.hand_keypoints_2d) for points in hand_sets
    )
    head = sum(
        keypoints.reprojection_loss(points, s.batch.head_keypoints_2d) for points in head_sets
    )
    return s.weights.reprojection_hand * hand + head


def _heatmaps(s: _Scene):
    if s.output.heatmaps is None:
        raise ValueError(
            "losses.heatmaps wants a network with model.fine_features: set the one to 0 or the other above it"
        )
    detected = jnp.concatenate([s.batch.hand_keypoints_2d, s.batch.head_keypoints_2d], axis=1)
    return keypoints.heatmap_loss(s.output.heatmaps, detected)


def _vertices(s: _Scene):
    return vertices.vertices_loss(
        s.prediction.hand_vertices,
        s.prediction.head_vertices,
        s.targets.hand_vertices,
        s.targets.head_vertices,
        hand_weight=s.weights.hand,
        head_weight=s.weights.head,
    )


def _rough_vertices(s: _Scene):
    hand_levels = (s.rough.hand_vertices, s.rough.hand_vertices_coarse)
    head_levels = (s.rough.head_vertices, s.rough.head_vertices_mid, s.rough.head_vertices_coarse)
    target_hand = [
        downsample(s.hand_model.hierarchy, s.targets.hand_vertices, level) for level in range(2)
    ]
    target_head = [
        downsample(s.head_model.hierarchy, s.targets.head_vertices, level) for level in range(3)
    ]
    count = None if s.weights.all_levels else 1
    return vertices.rough_vertices_loss(
        hand_levels[:count],
        head_levels[:count],
        target_hand[:count],
        target_head[:count],
        hand_weight=s.weights.hand,
        head_weight=s.weights.head,
        level_weight=s.weights.rough_level_weight,
        also_centered=s.weights.rough_also_centered,
    )


def _keypoints(s: _Scene):
    hand_mesh, head_mesh = (
        (lambda v: hand_keypoints(s.hand_model, v)),
        (lambda v: head_landmarks(s.head_model, v)),
    )
    return keypoints.keypoints_loss(
        s.rough.hand_keypoints,
        hand_mesh(s.rough.hand_vertices),
        s.prediction.hand_keypoints_3d,
        s.targets.hand_keypoints,
        hand_mesh(s.targets.hand_vertices),
        rough_weight=s.weights.rough,
    ) + keypoints.keypoints_loss(
        s.rough.head_keypoints,
        head_mesh(s.rough.head_vertices),
        s.prediction.head_keypoints_3d,
        s.targets.head_keypoints,
        head_mesh(s.targets.head_vertices),
        rough_weight=s.weights.rough,
    )


def _params(s: _Scene):
    return parameters.params_loss(
        s.output.hand_params,
        s.output.head_params,
        s.batch.hand_params,
        s.batch.head_params,
        hand_divisor=s.weights.params_hand_divisor,
        head_divisor=s.weights.params_head_divisor,
        with_neck=s.weights.params_with_neck,
    )


def _touch(s: _Scene):
    p = s.prediction
    head_vertices = p.deformed_head_vertices if s.weights.touch_deformed else p.head_vertices
    return touch.touch_loss(
        p.hand_vertices,
        head_vertices,
        p.hand_contact_probs,
        jnp.where(s.head_model.cavity, 0.0, p.head_contact_probs),
        squared=s.weights.touch_squared,
    )


def _contact(s: _Scene):
    logits = s.output.contact_logits
    hand = lambda level: downsample_labels(s.hand_model.hierarchy, s.batch.hand_contact, level)
    head = lambda level: downsample_labels(s.head_model.hierarchy, s.batch.head_contact, level)
    levels = [(logits.hand, hand(0)), (logits.head, head(0))]
    if s.weights.all_levels:
        levels += [
            (logits.hand_coarse, hand(1)),
            (logits.head_mid, head(1)),
            (logits.head_coarse, head(2)),
        ]
    return contact.contact_loss(*zip(*levels), positive_weight=s.weights.contact_positive_weight)


def _collision(s: _Scene):
    return touch.collision_loss(
        s.prediction.hand_vertices,
        s.prediction.deformed_head_vertices,
        s.head_model.closed_faces,
        ~s.head_model.cavity,
    )


def _deformation(s: _Scene):
    predicted = s.output.deformations
    return s.weights.deviation * deformation.deviation_loss(
        predicted, s.batch.deformations
    ) + s.weights.large_deformation * deformation.large_deformation_loss(predicted)


def _presence(s: _Scene):
    return contact.presence_loss(
        s.output.presence_logit, s.batch.hand_contact, s.batch.head_contact
    )


def _deformation_prior(s: _Scene):
    return deformation.deformation_prior(s.output.deformations)


def _adversarial(s: _Scene):
    return sum(
        adversarial.adversarial_loss(x, non_saturating=s.weights.non_saturating)
        for x in s.fake_logits
    )


def _depth(s: _Scene):
    p, batch = s.prediction, s.batch
    pseudo = jnp.concatenate([batch.hand_keypoints_depth, batch.head_keypoints_depth], axis=-1)
    confidence = jnp.concatenate(
        [batch.hand_keypoints_2d[..., 2], batch.head_keypoints_2d[..., 2]], axis=-1
    )
    rendered, visible = depth.render_keypoint_depth(
        p.hand_vertices,
        p.head_vertices,
        s.hand_model.faces,
        s.head_model.faces,
        p.camera,
        jnp.concatenate([p.hand_keypoints_3d, p.head_keypoints_3d], axis=-2),
        occlusion_aware=s.weights.depth_occlusion_aware,
    )
    known = visible & (confidence > 0) & (pseudo > 0)
    return depth.depth_loss(rendered, pseudo, known, align_shift=s.weights.depth_align_shift)


def _everywhere(batch: Batch):
    return jnp.ones_like(batch.has_3d)


# Each part: which samples it is averaged over, and its value for every sample.
PARTS: dict[str, tuple[Callable[[Batch], Array], Callable[[_Scene], Array]]] = {
    "reprojection": (lambda batch: batch.has_2d, _reprojection),
    "vertices": (lambda batch: batch.has_3d, _vertices),
    "rough_vertices": (lambda batch: batch.has_3d, _rough_vertices),
    "keypoints": (lambda batch: batch.has_3d, _keypoints),
    "params": (lambda batch: batch.has_params, _params),
    "heatmaps": (lambda batch: batch.has_2d, _heatmaps),
    "touch": (_everywhere, _touch),
    "contact": (lambda batch: batch.has_contact, _contact),
    "collision": (_everywhere, _collision),
    "deformation": (lambda batch: batch.has_deformations, _deformation),
    "presence": (lambda batch: batch.has_contact, _presence),
    "deformation_prior": (lambda batch: 1.0 - batch.has_deformations, _deformation_prior),
    "adversarial": (_everywhere, _adversarial),
    "depth": (lambda batch: batch.has_depth, _depth),
}
AFTER_BURN_IN = ("touch", "collision", "depth")
