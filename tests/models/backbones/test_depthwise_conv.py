"""The sum of shifted products is a depthwise convolution: PyTorch's, gradients included."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dice_jax.models.backbones.depthwise_conv import depthwise_conv, depthwise_shift

CASES = [(9, 8, 3, 1), (9, 8, 3, 2), (10, 7, 5, 2), (7, 7, 5, 1), (2, 3, 5, 2)]


@pytest.mark.parametrize("height, width, size, stride", CASES)
def test_agrees_with_pytorch(rng, height, width, size, stride):
    torch = pytest.importorskip("torch")
    x, kernel = rng.normal(size=(2, height, width, 6)), rng.normal(size=(size, size, 1, 6))
    tensors = [
        torch.tensor(a.transpose(b), requires_grad=True)
        for a, b in ((x, (0, 3, 1, 2)), (kernel, (3, 2, 0, 1)))
    ]
    # TensorFlow's SAME: the padding that ceil(length / stride) outputs need, the odd pixel at the
    # end.
    total = [max((-(-n // stride) - 1) * stride + size - n, 0) for n in (width, height)]
    padded = torch.nn.functional.pad(tensors[0], [p for n in total for p in (n // 2, n - n // 2)])
    expected = torch.nn.functional.conv2d(padded, tensors[1], stride=stride, groups=6)
    weights = rng.normal(size=expected.shape)
    (expected * torch.tensor(weights)).sum().backward()

    x, kernel, weights = (
        jnp.asarray(a, jnp.float32) for a in (x, kernel, weights.transpose(0, 2, 3, 1))
    )

    @jax.jit
    def value_and_gradient(x, kernel):
        result, vjp = jax.vjp(lambda *args: depthwise_shift(*args, stride), x, kernel)
        return result, *vjp(weights)

    to_nhwc, to_hwio = (0, 2, 3, 1), (2, 3, 1, 0)
    to_numpy = lambda tensor, axes: tensor.detach().numpy().transpose(axes)
    gradients = to_numpy(tensors[0].grad, to_nhwc), to_numpy(tensors[1].grad, to_hwio)
    references = (to_numpy(expected, to_nhwc), *gradients)
    for got, reference in zip(value_and_gradient(x, kernel), references, strict=True):
        np.testing.assert_allclose(got, reference, atol=2e-5)
    np.testing.assert_allclose(depthwise_conv(x, kernel, stride), references[0], atol=2e-5)
