"""What a term of the objective is: an equation, its weight, its samples and when it counts."""

from __future__ import annotations

import abc
import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from dice_jax.array_types import Array
from dice_jax.body_models.lbs import BodyModel
from dice_jax.losses.masking import masked_mean
from dice_jax.structs import Batch, NetworkOutput, Prediction, Targets

Logits = tuple[Float[Array, "B"], Float[Array, "B"]]


@dataclasses.dataclass(frozen=True)
class Scene:
    """What a term is computed from.

    Attributes:
        output: of the network; its `rough` meshes head-centered.
        prediction: `output` decoded to posed meshes.
        targets, batch: ground truth and labels; zero where a mask marks them as absent.
        hand_model, head_model: give faces, keypoints and the coarser meshes.
        fake_logits: of the hand and the head discriminator for the predicted parameters.
    """

    output: NetworkOutput
    prediction: Prediction
    targets: Targets
    batch: Batch
    hand_model: BodyModel
    head_model: BodyModel
    fake_logits: Logits | None = None


@dataclasses.dataclass(frozen=True)
class Term(abc.ABC):
    """One term of the objective, averaged over the samples that carry its label.

    Attributes:
        weight: factor in the objective; a term of weight 0 is neither computed nor reported.
        name: under which the un-weighted mean is reported.
        label: the mask in `Batch` of the samples to average over; None for all samples.
        after_burn_in: whether the term needs meshes that are roughly right already.
        needs_fake_logits: whether the term is left out of a training without discriminators.
    """

    weight: float
    name: ClassVar[str]
    label: ClassVar[str | None] = None
    after_burn_in: ClassVar[bool] = False
    needs_fake_logits: ClassVar[bool] = False

    @abc.abstractmethod
    def values(self, scene: Scene) -> Float[Array, "B"]:
        """The loss of each sample, without weight and mask."""

    def required(self, output: Array | None, remedy: str) -> Array:
        """An output that only some networks have.

        Args:
            output: None if the network lacks it.
            remedy: the field of the configuration with which the network has it, and its value.

        Raises:
            ValueError: it is None.
        """
        if output is None:
            raise ValueError(
                f"losses.{self.name} is not 0 but the network does not predict what it compares: "
                f"set losses.{self.name} to 0 or {remedy}"
            )
        return output

    def mask(self, batch: Batch) -> Float[Array, "B"]:
        """1 for the samples that the term is averaged over, else 0."""
        return jnp.ones_like(batch.has_3d) if self.label is None else getattr(batch, self.label)

    def mean(
        self,
        scene: Scene,
        *,
        axis_name: str | None = None,
        burn_in: bool | Bool[Array, ""] = False,
        count: Float[Array, ""] | None = None,
    ) -> Float[Array, ""]:
        """The un-weighted term, averaged over its samples.

        Args:
            scene: what the term is computed from.
            axis_name, count: see `masking.masked_mean`.
            burn_in: see `total.generator_loss`.
        """
        mask = self.mask(scene.batch)
        if self.after_burn_in:
            # Decided at run time, so that a term that does not count costs no time. `0 * mask`
            # and not zeros: under shard_map both branches must vary over the same devices.
            counts = jnp.any(mask > 0) & jnp.logical_not(burn_in)
            values = jax.lax.cond(counts, lambda: self.values(scene), lambda: 0.0 * mask)
        else:
            values = self.values(scene)
        return masked_mean(values, mask, axis_name, count)
