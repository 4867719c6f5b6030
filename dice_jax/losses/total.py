"""The whole objective of the network: the weighted sum of its terms (paper sec. 3.3)."""

from __future__ import annotations

from collections.abc import Mapping

import chex
import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from dice_jax.array_types import Array
from dice_jax.body_models.flame import head_center
from dice_jax.body_models.lbs import BodyModel
from dice_jax.losses.masking import blank_unlabeled, mask_sum
from dice_jax.losses.presets import LossWeights
from dice_jax.losses.term import Logits, Scene
from dice_jax.losses.terms import active_terms
from dice_jax.structs import Batch, NetworkOutput, Prediction, RoughMeshes, Targets


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
    after_burn_in_factor: float = 1.0,
    counts: Mapping[str, Float[Array, ""]] | None = None,
) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
    """The network's loss, and its un-weighted terms.

    Each term is a mean over the samples that carry the label it needs. Images without 3D labels are
    supervised by reprojection, touch, collision, depth, the discriminators and a prior on the
    deformations; all others by every term except the prior.

    Args:
        output: of the network.
        prediction: `output` decoded: posed meshes, head-centered. Its deformations must not be
            gated by presence.
        targets: ground truth posed from `batch`.
        batch: labels and `has_*` masks; a label that a mask marks as absent may hold anything.
        hand_model, head_model: give faces, keypoints and the coarser meshes.
        weights: see `presets`; a term of weight 0 is neither computed nor reported.
        axis_name: mapped axis to average over, see `masking.masked_mean`.
        fake_logits: of the hand and the head discriminator for the predicted parameters; None
            leaves L_adv out.
        burn_in: True while the meshes are too rough for touch, collision and depth to be
            meaningful: these are then 0. Decided at run time, so that they cost no time.
        after_burn_in_factor: of the weights of these three.
        counts: `label_counts` of the whole batch, where `batch` is one of several micro-batches:
            losses and gradients of all micro-batches then add up to those of the whole.

    Returns:
        The loss, and a dict of the terms by name.

    Raises:
        AssertionError: an array has another batch size than `batch`.
    """
    size = batch.has_3d.shape[0]
    # Another batch size, or logits of shape (B, 1), would broadcast to a wrong loss without error.
    chex.assert_tree_shape_prefix((output, prediction, targets, batch), (size,))
    if fake_logits is not None:
        chex.assert_shape(fake_logits, (size,))

    batch, targets = blank_unlabeled(batch, targets)
    output = output.replace(rough=center_on_head(output.rough))
    scene = Scene(output, prediction, targets, batch, hand_model, head_model, fake_logits)
    terms = active_terms(weights, with_adversarial=fake_logits is not None)
    losses = {
        term.name: term.mean(
            scene,
            axis_name=axis_name,
            burn_in=burn_in,
            count=None if counts is None else counts[term.name],
        )
        for term in terms
    }
    weight = lambda term: term.weight * (after_burn_in_factor if term.after_burn_in else 1.0)
    total = sum((weight(term) * losses[term.name] for term in terms), start=jnp.zeros(()))
    return total, losses


def label_counts(
    batch: Batch, weights: LossWeights, axis_name: str | None = None
) -> dict[str, Float[Array, ""]]:
    """Number of samples that each active term is a mean over, see `masking.masked_mean`."""
    return {term.name: mask_sum(term.mask(batch), axis_name) for term in active_terms(weights)}


def center_on_head(rough: RoughMeshes) -> RoughMeshes:
    """Moves the rough meshes and keypoints to the center of their own head, meters.

    The ground truth is centered on its own (undeformed) head likewise.
    """
    center = head_center(rough.head_vertices)[..., None, :]
    return jax.tree.map(lambda points: points - center, rough)
