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
from dice_jax.models.layers.initializers import torch_linear
from dice_jax.structs import HandParams, HeadParams


class IKNet(nn.Module):
    """The multi-layer perceptron of both IKNets.

    "paper": five blocks of a linear layer, batch norm and a rectifier; the output of block 1 is
    added to the input of block 3, the output of block 3 to the input of the last layer. "release":
    a block, then two residual blocks of two layers each. The last layer starts near zero, so that
    training starts from the mean person in the mean pose.
    """

    config: IKNetConfig
    features: int
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x: Float[Array, "B F"], *, train: bool) -> Float[Array, "B {self.features}"]:
        hidden = (
            self._paper(x, train) if self.config.variant == "paper" else self._release(x, train)
        )
        return nn.Dense(self.features, kernel_init=nn.initializers.normal(1e-3), name="output")(
            hidden
        )

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
    """From the rough hand (level `config.level`), or from any features, to MANO's parameters."""

    config: IKNetConfig
    axis_name: str | None = None

    @nn.compact
    def __call__(
        self,
        vertices: Float[Array, "B V 3"] | Float[Array, "B F"],
        head_center: Float[Array, "B 3"],
        turn: Float[Array, "B 3 3"] | None = None,
        *,
        train: bool,
    ) -> HandParams:
        """Returns the parameters; `transl` still counts from the same origin as the head's, see
        `DICE`.
        """
        features, origin = _inputs(vertices, head_center, turn, self.config)
        sizes = (10, 3, _orientation_size(self.config), 45)
        outputs = IKNet(self.config, sum(sizes), self.axis_name, name="mlp")(features, train=train)
        betas, transl, orientation, hand_pose = _split(outputs, sizes)
        return HandParams(
            betas=betas,
            global_orient=to_axis_angle(orientation, turn, self.config),
            hand_pose=hand_pose,
            transl=origin + self.config.transl_scale * transl,
        )


class HeadIKNet(nn.Module):
    """From the rough head (level `config.level`), or from any features, to FLAME's parameters."""

    config: IKNetConfig
    axis_name: str | None = None

    @nn.compact
    def __call__(
        self,
        vertices: Float[Array, "B V 3"] | Float[Array, "B F"],
        head_center: Float[Array, "B 3"],
        turn: Float[Array, "B 3 3"] | None = None,
        *,
        train: bool,
    ) -> tuple[HeadParams, Float[Array, "B 3"] | None]:
        """Returns the parameters, and FLAME's root rotation where the net puts one out (see
        `NetworkOutput`).

        `transl` is where the head's centroid lies for the hand's `transl`, see `DICE`.
        """
        features, _ = _inputs(vertices, head_center, turn, self.config)
        sizes = (100, 50, 3, 3, _orientation_size(self.config), 3)
        outputs = IKNet(self.config, sum(sizes), self.axis_name, name="mlp")(features, train=train)
        betas, expression, first, jaw_pose, orientation, transl = _split(outputs, sizes)
        params = HeadParams(
            betas=betas,
            expression=expression,
            global_orient=to_axis_angle(orientation, turn, self.config),
            neck_pose=first,
            jaw_pose=jaw_pose,
            transl=self.config.transl_scale * transl,
        )
        if not self.config.turns_root:
            return params, None
        # The root turns the whole head, and then `orientation` turns it about its centroid: one
        # after the other.
        global_orient = compose_axis_angle(orientation, first)
        return params.replace(global_orient=global_orient, neck_pose=jnp.zeros_like(first)), first


def to_axis_angle(
    orientation: Float[Array, "*B D"], turn: Float[Array, "*B 3 3"] | None, config: IKNetConfig
) -> Float[Array, "*B 3"]:
    """The orientation that a net put out, as axis-angle; zeros give the identity or, "6d",
    `zero_orient` and then `turn`.

    Args:
        orientation: of `_orientation_size` numbers.
        turn: how the template was turned to begin with, or None.
        config: of the net.
    """
    if config.orientation == "axis_angle":
        return orientation
    base = axis_angle_to_matrix(jnp.array(config.zero_orient))
    base = base if turn is None else turn @ base
    return matrix_to_axis_angle(base @ rotation_from_6d(orientation))


def rotation_from_6d(x: Float[Array, "*B 6"]) -> Float[Array, "*B 3 3"]:
    """Zhou et al. 2019: Gram-Schmidt on the first two columns, here offsets from the identity's."""
    first = x[..., :3] + jnp.array([1.0, 0.0, 0.0])
    second = x[..., 3:] + jnp.array([0.0, 1.0, 0.0])
    first = _normalize(first)
    second = _normalize(second - (first * second).sum(-1, keepdims=True) * first)
    return jnp.stack([first, second, jnp.cross(first, second)], -1)


def _inputs(vertices, head_center, turn, config: IKNetConfig):
    """What the perceptron sees, the mesh turned back, and the origin of the translation it puts
    out.
    """
    if not config.center_inputs:
        return vertices.reshape(len(vertices), -1), jnp.zeros_like(head_center)
    mean = vertices.mean(1)
    position = mean - head_center
    centered = vertices - mean[:, None]
    centered = centered if turn is None else centered @ turn
    return jnp.concatenate([centered.reshape(len(vertices), -1), position], -1), position


def _orientation_size(config: IKNetConfig) -> int:
    return 6 if config.orientation == "6d" else 3


def _split(x: Array, sizes: Sequence[int]) -> list[Array]:
    return jnp.split(x, np.cumsum(sizes)[:-1], axis=-1)


def _normalize(x):
    return x / jnp.sqrt((x**2).sum(-1, keepdims=True) + 1e-12)
