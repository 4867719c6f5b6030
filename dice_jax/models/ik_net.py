"""IKNets: body-model parameters from rough meshes (paper sec. 3.1, app. A)."""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Float

from dice_jax.array_types import Array
from dice_jax.geometry.rotations import (
    axis_angle_to_matrix,
    compose_axis_angle,
    matrix_to_axis_angle,
)
from dice_jax.models.config import IKNetConfig
from dice_jax.models.layers.initializers import near_zero, torch_linear
from dice_jax.models.layers.rotation_6d import rotation_from_6d
from dice_jax.structs import HandParams, HeadParams


class IKNet(nn.Module):
    """The multi-layer perceptron of both IKNets.

    "paper": five blocks of a linear layer, batch norm and a ReLU. The output of block 1 is added to
    the input of block 3, and the output of block 3 to the input of the last layer. "release": a
    block, then two residual blocks of two layers each. The last layer starts near zero, so that
    training starts from the mean shape in the mean pose.
    """

    config: IKNetConfig
    features: int
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x: Float[Array, "B F"], *, train: bool) -> Float[Array, "B {self.features}"]:
        blocks = self._paper if self.config.variant == "paper" else self._release
        return nn.Dense(self.features, kernel_init=near_zero, name="output")(blocks(x, train))

    def _paper(self, x, train):
        block = lambda i, x: nn.relu(self._linear(f"block_{i}", x, train))
        first = block(1, x)
        third = block(3, block(2, first) + first)
        return block(5, block(4, third)) + third

    def _release(self, x, train):
        x = nn.relu(self._linear("block_1", x, train))
        for i in (2, 3):
            inner = nn.relu(self._linear(f"block_{i}_inner", x, train))
            x = nn.relu(x + self._linear(f"block_{i}_outer", inner, train))
        return x

    def _linear(self, name, x, train):
        x = nn.Dense(self.config.hidden, kernel_init=torch_linear, name=name)(x)
        axis_name = self.axis_name if train else None
        return nn.BatchNorm(
            use_running_average=not train, momentum=0.9, axis_name=axis_name, name=f"{name}_norm"
        )(x)


class HandIKNet(nn.Module):
    """From the rough hand, or from image features, to MANO's parameters."""

    config: IKNetConfig
    axis_name: str | None = None

    @nn.compact
    def __call__(
        self,
        inputs: Float[Array, "B V 3"] | Float[Array, "B F"],
        head_center: Float[Array, "B 3"],
        template_orient: Float[Array, "B 3 3"] | None = None,
        evidence: Float[Array, "B F"] | None = None,
        *,
        train: bool,
    ) -> HandParams:
        """Regresses the parameters.

        Args:
            inputs: vertices of level `config.level`, meters, or image features.
            head_center: centroid of the rough head; for `config.center_inputs`.
            template_orient: rotation that the placement gave the hand's template, or None.
            evidence: hidden features of the detections, or None.
            train: use the batch's own statistics in batch norm.

        Returns:
            The parameters. The origin of `transl` is that of `HeadIKNet`'s: their difference is the
            hand's translation relative to the head's centroid.
        """
        features, origin = _features(inputs, head_center, template_orient, evidence, self.config)
        sizes = (10, 3, _orientation_size(self.config), 45)
        outputs = IKNet(self.config, sum(sizes), self.axis_name, name="mlp")(features, train=train)
        betas, transl, orientation, hand_pose = _split(outputs, sizes)
        return HandParams(
            betas=betas,
            global_orient=to_axis_angle(orientation, template_orient, self.config),
            hand_pose=hand_pose,
            transl=origin + self.config.transl_scale * transl,
        )


class HeadIKNet(nn.Module):
    """From the rough head, or from image features, to FLAME's parameters."""

    config: IKNetConfig
    axis_name: str | None = None

    @nn.compact
    def __call__(
        self,
        inputs: Float[Array, "B V 3"] | Float[Array, "B F"],
        head_center: Float[Array, "B 3"],
        template_orient: Float[Array, "B 3 3"] | None = None,
        evidence: Float[Array, "B F"] | None = None,
        *,
        train: bool,
    ) -> tuple[HeadParams, Float[Array, "B 3"] | None]:
        """Regresses the parameters; for the arguments see `HandIKNet`.

        Returns:
            The parameters, whose `transl` is the position of the head's centroid; and with
            `config.turns_root` the rotation of FLAME's root (see `NetworkOutput.head_root`), else
            None.
        """
        features, _ = _features(inputs, head_center, template_orient, evidence, self.config)
        sizes = (100, 50, 3, 3, _orientation_size(self.config), 3)
        outputs = IKNet(self.config, sum(sizes), self.axis_name, name="mlp")(features, train=train)
        betas, expression, neck_or_root, jaw_pose, orientation, transl = _split(outputs, sizes)
        params = HeadParams(
            betas=betas,
            expression=expression,
            global_orient=to_axis_angle(orientation, template_orient, self.config),
            neck_pose=neck_or_root,
            jaw_pose=jaw_pose,
            transl=self.config.transl_scale * transl,
        )
        if not self.config.turns_root:
            return params, None
        # The root rotates the whole head, and then `orientation` rotates it about its centroid.
        global_orient = compose_axis_angle(orientation, neck_or_root)
        no_neck = jnp.zeros_like(neck_or_root)
        return params.replace(global_orient=global_orient, neck_pose=no_neck), neck_or_root


def to_axis_angle(
    orientation: Float[Array, "*B D"],
    template_orient: Float[Array, "*B 3 3"] | None,
    config: IKNetConfig,
) -> Float[Array, "*B 3"]:
    """The predicted orientation as axis-angle.

    Zeros stand for the identity or, with "6d", for `config.zero_orient` followed by
    `template_orient`.

    Args:
        orientation: output of the net, 3 numbers ("axis_angle") or 6 ("6d").
        template_orient: rotation that the placement gave the template, or None.
        config: of the net.
    """
    if config.orientation == "axis_angle":
        return orientation
    base = axis_angle_to_matrix(jnp.array(config.zero_orient))
    base = jnp.broadcast_to(base, (*orientation.shape[:-1], 3, 3))
    base = base if template_orient is None else template_orient @ base
    return matrix_to_axis_angle(base @ rotation_from_6d(orientation))


def _features(inputs, head_center, template_orient, evidence, config: IKNetConfig):
    """Input of the perceptron, and the origin of the translation that it predicts.

    Where the placement rotated the template, the mesh is rotated back.
    """
    origin = jnp.zeros_like(head_center)
    parts = [inputs.reshape(inputs.shape[0], -1)]
    if config.center_inputs:
        mean = inputs.mean(1)
        origin = mean - head_center
        centered = inputs - mean[:, None]
        centered = centered if template_orient is None else centered @ template_orient
        parts = [centered.reshape(inputs.shape[0], -1), origin]
    parts += [] if evidence is None else [evidence]
    return jnp.concatenate(parts, axis=-1), origin


def _orientation_size(config: IKNetConfig) -> int:
    return 6 if config.orientation == "6d" else 3


def _split(x: Array, sizes: Sequence[int]) -> Sequence[Array]:
    return jnp.split(x, np.cumsum(sizes)[:-1], axis=-1)
