"""EfficientNet-Lite0 features (Tan & Le 2019; the "lite" variant has no squeeze-and-excitation and
clips at 6).
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Float

from dice_jax.array_types import Array
from dice_jax.models.backbones.depthwise_conv import depthwise_conv, depthwise_shift
from dice_jax.models.config import BackboneConfig
from dice_jax.models.layers.initializers import he_normal
from dice_jax.models.preprocess import IMAGENET_MEAN, IMAGENET_STD

# Blocks, kernel size, stride of the first block, expansion, channels: of each stage.
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


class Depthwise(nn.Module):
    """A depthwise convolution by the method that suits the device, see `depthwise`."""

    size: int
    stride: int
    method: str = "auto"
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"]) -> Float[Array, "B P Q C"]:
        # He's fan out of a depthwise kernel is its area, as if it had one channel.
        init = nn.initializers.normal((2 / self.size**2) ** 0.5)
        kernel = self.param("kernel", init, (self.size, self.size, 1, x.shape[-1])).astype(
            self.dtype
        )
        shift = self.method == "shift" or (self.method == "auto" and jax.default_backend() == "cpu")
        return (depthwise_shift if shift else depthwise_conv)(x, kernel, self.stride)


class EfficientNetLite0(nn.Module):
    """Takes images as every backbone here does, normalized with ImageNet's mean and deviation."""

    config: BackboneConfig
    dtype: jnp.dtype = jnp.float32
    axis_name: str | None = None

    @nn.compact
    def __call__(
        self, images: Float[Array, "B 224 224 3"], *, train: bool, with_levels: bool = False
    ) -> Float[Array, "B 7 7 {self.config.features}"] | tuple[Array, tuple[Array, ...]]:
        """The features; `with_levels` also the maps of 28, 14 and 7 cells a side before the head."""
        config, levels = self.config, {}
        scaled = lambda channels: round(channels * config.width)
        x = to_lite_range(images).astype(self.dtype)
        live = train and not config.frozen_stages
        x = jax.nn.relu6(self._conv_norm(x, scaled(STEM_CHANNELS), "stem", live, size=3, stride=2))
        index = 0
        for stage, (blocks, size, stride, expansion, channels) in enumerate(STAGES, start=1):
            live = train and stage > config.frozen_stages
            for block in range(min(blocks, config.depth)):
                step = stride if block == 0 else 1
                x = self._block(x, f"block_{index}", live, size, step, expansion, scaled(channels))
                index += 1
            if stage == config.frozen_stages:
                x = jax.lax.stop_gradient(x)
            levels[x.shape[1]] = x
        features = jax.nn.relu6(self._conv_norm(x, config.features, "head", train))
        return (
            (features, tuple(levels[cells] for cells in (28, 14, 7))) if with_levels else features
        )

    def _block(self, x, name, live, size, stride, expansion, channels):
        """An inverted residual: widen, filter each channel, narrow without a rectifier; skip where
        the shape stays.
        """
        y = x
        if expansion > 1:
            y = jax.nn.relu6(self._conv_norm(y, x.shape[-1] * expansion, f"{name}_expand", live))
        y = Depthwise(size, stride, self.config.depthwise, self.dtype, name=f"{name}_depthwise")(y)
        y = jax.nn.relu6(self._norm(y, f"{name}_depthwise_norm", live))
        y = self._conv_norm(y, channels, f"{name}_project", live)
        return x + y if x.shape == y.shape else y

    def _conv_norm(self, x, channels, name, live, size=1, stride=1):
        conv = nn.Conv(
            channels,
            (size, size),
            stride,
            use_bias=False,
            kernel_init=he_normal,
            dtype=self.dtype,
            name=name,
        )
        return self._norm(conv(x), f"{name}_norm", live)

    def _norm(self, x, name, live):
        live = live and not self.config.frozen_batch_norm
        return nn.BatchNorm(
            use_running_average=not live,
            momentum=0.99,
            epsilon=1e-3,
            dtype=self.dtype,
            axis_name=self.axis_name if live else None,
            name=name,
        )(x)


def to_lite_range(images: Float[Array, "*B 3"]) -> Float[Array, "*B 3"]:
    """From ImageNet's mean and deviation to the (pixel - 127) / 128 with which the lite networks
    were trained.

    Not folded into the first convolution, whose zero padding must stay zero.
    """
    return images * (255 / 128 * IMAGENET_STD) + (255 * IMAGENET_MEAN - 127) / 128
