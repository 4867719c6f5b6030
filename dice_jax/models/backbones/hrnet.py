"""HRNet-W classification features (Wang et al. 2020), 7 x 7 x 2048.

Parallel branches keep every resolution. Every 3 x 3 convolution pads one pixel on each side, also
at stride 2, where Flax's SAME would pad only the end. Modules have the names of the authors'
weights, see `checkpoints.torch_names.HRNET`.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Float

from dice_jax.array_types import Array
from dice_jax.models.backbones.backbone_output import BackboneOutput
from dice_jax.models.backbones.fold_batch_norm import EPSILON, IdentityNorm
from dice_jax.models.config import BackboneConfig
from dice_jax.models.layers.initializers import he_normal

# Modules of stages 2, 3 and 4. The number of branches of a stage is its own number.
MODULES = {2: 1, 3: 4, 4: 3}
INCREASED = (128, 256, 512, 1024)  # channels of each branch before the last layers

Norm = functools.partial  # of nn.BatchNorm with its mode filled in, or of IdentityNorm


class ConvNorm(nn.Module):
    """Convolution, batch norm and, with `relu`, a ReLU."""

    features: int
    size: int
    norm: Norm
    stride: int = 1
    relu: bool = True
    bias: bool = False

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"]) -> Float[Array, "B P Q {self.features}"]:
        x = _conv(self.features, self.size, self.norm, self.stride, self.bias, "conv")(x)
        x = self.norm(name="bn")(x)
        return nn.relu(x) if self.relu else x


class Residual(nn.Module):
    """ResNet's basic block, or its bottleneck block.

    The basic block has two 3 x 3 convolutions; the bottleneck block a 1 x 1, a 3 x 3 and a 1 x 1
    convolution with four times the channels.
    """

    channels: int
    norm: Norm
    bottleneck: bool = False

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"]) -> Float[Array, "B H W D"]:
        c = self.channels
        layers = ((c, 1), (c, 3), (4 * c, 1)) if self.bottleneck else ((c, 3), (c, 3))
        y = x
        for i, (features, size) in enumerate(layers, start=1):
            y = self.norm(name=f"bn{i}")(_conv(features, size, self.norm, name=f"conv{i}")(y))
            y = nn.relu(y) if i < len(layers) else y
        if x.shape[-1] != y.shape[-1]:
            x = ConvNorm(y.shape[-1], 1, self.norm, relu=False, name="downsample")(x)
        return nn.relu(x + y)


class Exchange(nn.Module):
    """One module of a stage: residual blocks on each branch, then each branch is the sum of all."""

    channels: tuple[int, ...]
    depth: int
    norm: Norm

    @nn.compact
    def __call__(self, branches: list[Float[Array, "B _ _ _"]]) -> list[Float[Array, "B _ _ _"]]:
        branches = list(branches)
        for b, channels in enumerate(self.channels):
            for k in range(self.depth):
                branches[b] = Residual(channels, self.norm, name=f"branch{b}_{k}")(branches[b])
        return [
            nn.relu(sum(self._resize(i, j, x) for j, x in enumerate(branches)))
            for i in range(len(branches))
        ]

    def _resize(self, i: int, j: int, x):
        """Branch j at the resolution and with the channels of branch i."""
        if j > i:
            x = ConvNorm(self.channels[i], 1, self.norm, relu=False, name=f"fuse{i}_{j}_0")(x)
            return x.repeat(2 ** (j - i), axis=1).repeat(2 ** (j - i), axis=2)
        for k in range(i - j):
            last = k == i - j - 1
            features, name = self.channels[i if last else j], f"fuse{i}_{j}_{k}"
            x = ConvNorm(features, 3, self.norm, stride=2, relu=not last, name=name)(x)
        return x


class HRNet(nn.Module):
    """The backbone of the paper.

    With `fold_batch_norm` it has no batch norm, for weights from `fold_norms`.
    """

    config: BackboneConfig
    dtype: DTypeLike = jnp.float32
    axis_name: str | None = None
    fold_batch_norm: bool = False

    @nn.compact
    def __call__(self, images: Float[Array, "B H W 3"], *, train: bool) -> BackboneOutput:
        """Features of images that are normalized with ImageNet's mean and deviation."""
        width, depth, norm = int(self.config.width), self.config.depth, self._norm(train, stage=1)
        x = images.astype(self.dtype)
        for i in (1, 2):
            x = nn.relu(norm(name=f"bn{i}")(_conv(64, 3, norm, stride=2, name=f"conv{i}")(x)))
        for k in range(depth):
            x = Residual(64, norm, bottleneck=True, name=f"layer1_{k}")(x)

        branches = self._freeze([x], stage=1)
        for stage, modules in MODULES.items():
            norm = self._norm(train, stage)
            channels = tuple(width * 2**b for b in range(stage))
            branches = self._add_branch(branches, channels, norm, f"transition{stage - 1}")
            for m in range(modules):
                branches = Exchange(channels, depth, norm, name=f"stage{stage}_{m}")(branches)
            branches = self._freeze(branches, stage)

        norm = self._norm(train, stage=5)
        increase = lambda i: Residual(INCREASED[i] // 4, norm, bottleneck=True, name=f"incre{i}")
        y = increase(0)(branches[0])
        for i, x in enumerate(branches[1:], start=1):
            down = ConvNorm(INCREASED[i], 3, norm, stride=2, bias=True, name=f"downsamp{i - 1}")
            y = increase(i)(x) + down(y)
        features = ConvNorm(self.config.features, 1, norm, bias=True, name="final")(y)
        _, *levels = branches
        return BackboneOutput(features, (levels[0], levels[1], levels[2]))

    def _add_branch(self, branches, channels, norm, name):
        """Adds a branch of half the resolution, computed from the coarsest branch."""
        result = list(branches)
        if len(branches) == 1:
            result = [ConvNorm(channels[0], 3, norm, name=f"{name}_0")(branches[0])]
        down = ConvNorm(channels[-1], 3, norm, stride=2, name=f"{name}_{len(branches)}")
        return [*result, down(branches[-1])]

    def _norm(self, train: bool, stage: int) -> Norm:
        if self.fold_batch_norm:
            return functools.partial(IdentityNorm, dtype=self.dtype)
        config = self.config
        trained = train and not config.frozen_batch_norm and stage > config.frozen_stages
        return functools.partial(
            nn.BatchNorm,
            use_running_average=not trained,
            momentum=0.9,
            epsilon=EPSILON,
            dtype=self.dtype,
            axis_name=self.axis_name if trained else None,
        )

    def _freeze(self, branches, stage: int):
        return jax.lax.stop_gradient(branches) if stage == self.config.frozen_stages else branches


def _conv(features, size, norm, stride=1, bias=False, name=None):
    return nn.Conv(
        features,
        (size, size),
        stride,
        padding=size // 2,
        use_bias=bias or norm.func is IdentityNorm,
        kernel_init=he_normal,
        dtype=norm.keywords["dtype"],
        name=name,
    )
