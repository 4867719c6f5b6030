"""EfficientNet-Lite0 features (Tan & Le 2019).

The "lite" variant has no squeeze-and-excitation and clips its activations at 6.
"""

from __future__ import annotations

from typing import Literal

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Float

from dice_jax.array_types import Array
from dice_jax.models.backbones.backbone_output import BackboneOutput
from dice_jax.models.backbones.depthwise_conv import depthwise_conv, depthwise_shift
from dice_jax.models.config import BackboneConfig
from dice_jax.models.layers.initializers import he_normal
from dice_jax.models.preprocess import IMAGENET_MEAN, IMAGENET_STD

# Of each stage: number of blocks, kernel size, stride of the first block, expansion, channels.
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
STEM_CHANNELS = 32

# "shift" is faster on a CPU, "conv" on a GPU; "auto" chooses by JAX's default device.
Method = Literal["auto", "shift", "conv"]


class Depthwise(nn.Module):
    """A depthwise convolution, see `depthwise_conv`."""

    size: int
    stride: int
    method: Method = "auto"
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"]) -> Float[Array, "B P Q C"]:
        # He's fan out of a depthwise kernel is its area, as if it had one channel.
        init = nn.initializers.normal((2 / self.size**2) ** 0.5)
        kernel = self.param("kernel", init, (self.size, self.size, 1, x.shape[-1]))
        method = self.method
        if method == "auto":
            method = "shift" if jax.default_backend() == "cpu" else "conv"
        convolve = depthwise_shift if method == "shift" else depthwise_conv
        return convolve(x, kernel.astype(self.dtype), self.stride)


class EfficientNetLite0(nn.Module):
    """The backbone of the small network."""

    config: BackboneConfig
    dtype: DTypeLike = jnp.float32
    axis_name: str | None = None
    depthwise: Method = "auto"

    @nn.compact
    def __call__(self, images: Float[Array, "B H W 3"], *, train: bool) -> BackboneOutput:
        """Features of images that are normalized with ImageNet's mean and deviation."""
        config = self.config
        scaled = lambda channels: round(channels * config.width)
        x = to_lite_range(images).astype(self.dtype)
        trained = train and not config.frozen_stages
        x = self._conv_norm(x, scaled(STEM_CHANNELS), "stem", trained, size=3, stride=2)
        x = jax.nn.relu6(x)
        levels = {}  # by resolution, the last map of each
        index = 0
        for stage, (blocks, size, stride, expansion, channels) in enumerate(STAGES, start=1):
            trained = train and stage > config.frozen_stages
            for block in range(min(blocks, config.depth)):
                step = stride if block == 0 else 1
                block_config = (trained, size, step, expansion, scaled(channels))
                x = self._block(x, f"block_{index}", *block_config)
                index += 1
            if stage == config.frozen_stages:
                x = jax.lax.stop_gradient(x)
            levels[x.shape[1]] = x
        features = jax.nn.relu6(self._conv_norm(x, config.features, "head", train))
        return BackboneOutput(features, tuple(levels.values())[-3:])

    def _block(self, x, name, trained, size, stride, expansion, channels):
        """An inverted residual block: a 1 x 1, a depthwise and a 1 x 1 convolution.

        The last one has no activation. There is a skip connection where the shapes agree.
        """
        y = x
        if expansion > 1:
            y = self._conv_norm(y, x.shape[-1] * expansion, f"{name}_expand", trained)
            y = jax.nn.relu6(y)
        y = Depthwise(size, stride, self.depthwise, self.dtype, name=f"{name}_depthwise")(y)
        y = jax.nn.relu6(self._norm(y, f"{name}_depthwise_norm", trained))
        y = self._conv_norm(y, channels, f"{name}_project", trained)
        return x + y if x.shape == y.shape else y

    def _conv_norm(self, x, channels, name, trained, size=1, stride=1):
        conv = nn.Conv(
            channels,
            (size, size),
            stride,
            use_bias=False,
            kernel_init=he_normal,
            dtype=self.dtype,
            name=name,
        )
        return self._norm(conv(x), f"{name}_norm", trained)

    def _norm(self, x, name, trained):
        trained = trained and not self.config.frozen_batch_norm
        return nn.BatchNorm(
            use_running_average=not trained,
            momentum=0.99,
            epsilon=1e-3,
            dtype=self.dtype,
            axis_name=self.axis_name if trained else None,
            name=name,
        )(x)


def to_lite_range(images: Float[Array, "*B H W 3"]) -> Float[Array, "*B H W 3"]:
    """From ImageNet's mean and deviation to (pixel - 127) / 128, as the lite networks were trained.

    This is not folded into the first convolution, because its zero padding must stay zero.
    """
    scale, offset = 255 / 128 * IMAGENET_STD, (255 * IMAGENET_MEAN - 127) / 128
    return images * jnp.broadcast_to(scale, images.shape) + jnp.broadcast_to(offset, images.shape)
