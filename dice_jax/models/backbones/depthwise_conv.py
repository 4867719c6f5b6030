"""Depthwise convolution as a sum of shifted products.

XLA's grouped convolution on a CPU takes 30 times longer than its arithmetic, and its gradient is
even slower. Here a k x k depthwise convolution is k^2 strided slices, each multiplied by one weight
for each channel, which the compiler fuses into one loop.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Iterator

import jax
import jax.numpy as jnp
from jaxtyping import Float

from dice_jax.array_types import Array


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def depthwise_shift(
    x: Float[Array, "B H W C"], kernel: Float[Array, "k k 1 C"], stride: int
) -> Float[Array, "B P Q C"]:
    """Depthwise convolution with TensorFlow's SAME padding; equals `depthwise_conv`."""
    size = kernel.shape[0]
    windows = _windows(_pad(x, size, stride), size, stride)
    products = (window * _tap(kernel, i, j) for (i, j), window in windows)
    return functools.reduce(operator.add, products)


def depthwise_conv(
    x: Float[Array, "B H W C"], kernel: Float[Array, "k k 1 C"], stride: int
) -> Float[Array, "B P Q C"]:
    """Depthwise convolution with TensorFlow's SAME padding, by XLA."""
    return jax.lax.conv_general_dilated(
        jnp.asarray(x),
        jnp.asarray(kernel),
        (stride, stride),
        "SAME",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=x.shape[-1],
    )


def _forward(x, kernel, stride):
    return depthwise_shift(x, kernel, stride), (x, kernel)


def _backward(stride, residuals, grad):
    x, kernel = residuals
    return _input_gradient(x, kernel, grad, stride), _kernel_gradient(x, kernel, grad, stride)


depthwise_shift.defvjp(_forward, _backward)


def _input_gradient(x, kernel, grad, stride):
    """The transposed convolution: `grad`, dilated by the stride, with the kernel flipped."""
    size = kernel.shape[0]
    spread = []
    for length, out in zip(x.shape[1:3], grad.shape[1:3], strict=True):
        before = size - 1 - _padding(length, size, stride)[0]
        spread.append((before, length + size - 1 - before - ((out - 1) * stride + 1), stride - 1))
    grad = jax.lax.pad(grad, jnp.zeros((), grad.dtype), ((0, 0, 0), *spread, (0, 0, 0)))
    flipped = kernel[::-1, ::-1]
    return sum(window * _tap(flipped, i, j) for (i, j), window in _windows(grad, size, 1))


def _kernel_gradient(x, kernel, grad, stride):
    """The kernel's gradient, one image at a time.

    The sums over one image stay in cache; sums over the batch are 5 times slower.
    """
    size = kernel.shape[0]

    def add_image(total, image):
        padded, grad_image = image
        sums = [(window * grad_image).sum((0, 1)) for _, window in _windows(padded, size, stride)]
        return total + jnp.stack(sums), None

    # Under a mapped axis the carry of a scan must vary over that axis as `grad` does.
    zero = 0 * grad[0, 0, :1]
    start = jnp.zeros((size * size, kernel.shape[-1]), kernel.dtype) + zero
    total, _ = jax.lax.scan(add_image, start, (_pad(x, size, stride), grad))
    return total.reshape(kernel.shape)


def _tap(kernel: Array, i: int, j: int) -> Array:
    """The weights at row i and column j, (1, 1, 1, C)."""
    return kernel[i : i + 1, j : j + 1]


def _windows(x: Array, size: int, stride: int) -> Iterator[tuple[tuple[int, int], Array]]:
    """Yields for each position (i, j) in the kernel the entries of the padded `x` under it.

    `x` is (..., H, W, C).
    """
    rows, columns = ((length - size) // stride * stride + 1 for length in x.shape[-3:-1])
    for i in range(size):
        for j in range(size):
            yield (i, j), x[..., i : i + rows : stride, j : j + columns : stride, :]


def _pad(x, size, stride):
    rows, columns = (_padding(length, size, stride) for length in x.shape[1:3])
    return jnp.pad(x, ((0, 0), rows, columns, (0, 0)))


def _padding(length: int, size: int, stride: int) -> tuple[int, int]:
    """TensorFlow's SAME: the odd pixel of padding is at the end."""
    total = max((-(-length // stride) - 1) * stride + size - length, 0)
    return total // 2, total - total // 2
