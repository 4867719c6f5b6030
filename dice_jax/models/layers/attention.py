"""Scaled dot-product attention that does not store the attention weights of a whole batch.

The 843 x 843 weights of one head take 2.8 MB. As one tensor for all heads and images they exceed
every cache, and a CPU spends its time on memory transfers. The weights are therefore recomputed in
the backward pass (as in FlashAttention, Dao et al. 2022, but without tiles), and on a CPU one head
of one image is computed at a time.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Float

from dice_jax.array_types import Array


def attention(
    query: Float[Array, "B N H D"],
    key: Float[Array, "B M H D"],
    value: Float[Array, "B M H D"],
    *,
    one_at_a_time: bool | None = None,
) -> Float[Array, "B N H D"]:
    """softmax(query key^T / sqrt(D)) value for each head; the softmax is computed in float32.

    Args:
        query, key, value: tokens of H heads.
        one_at_a_time: compute the heads one after another, which is faster on a CPU, and not all at
            once, which is faster on a GPU; None: by JAX's default device.
    """
    query = query / jnp.sqrt(jnp.array(query.shape[-1], query.dtype))
    heads_first = [x.swapaxes(1, 2) for x in (query, key, value)]
    heads = [x.reshape(-1, *x.shape[2:]) for x in heads_first]
    if one_at_a_time is None:
        one_at_a_time = jax.default_backend() == "cpu"
    if one_at_a_time:
        mixed = jax.lax.map(lambda head: one_head(*head), heads)
    else:
        mixed = jax.vmap(one_head)(*heads)
    return mixed.reshape(heads_first[0].shape).swapaxes(1, 2)


@jax.custom_vjp
def one_head(
    query: Float[Array, "N D"], key: Float[Array, "M D"], value: Float[Array, "M D"]
) -> Float[Array, "N D"]:
    """softmax(query key^T) value; the backward pass stores no N x M matrix."""
    return _forward(query, key, value)[0]


def _forward(query, key, value):
    logits = _product(query, key.T)
    largest = logits.max(-1, keepdims=True)
    weights = jnp.exp(logits - largest)
    total = weights.sum(-1, keepdims=True)
    # Dividing the outputs and not the weights saves a pass over the largest tensor.
    output = (_product(weights.astype(value.dtype), value) / total).astype(value.dtype)
    return output, (query, key, value, output, largest + jnp.log(total))


def _backward(residuals, grad):
    query, key, value, output, log_total = residuals
    weights = jnp.exp(_product(query, key.T) - log_total)
    # sum_m weights * grad_weights equals sum_d grad * output, which needs no weights.
    mean = (grad * output).astype(jnp.float32).sum(-1, keepdims=True)
    grad_logits = (weights * (_product(grad, value.T) - mean)).astype(query.dtype)
    gradients = grad_logits @ key, grad_logits.T @ query, weights.astype(grad.dtype).T @ grad
    inputs = query, key, value
    return tuple(gradient.astype(x.dtype) for gradient, x in zip(gradients, inputs, strict=True))


one_head.defvjp(_forward, _backward)


def _product(a, b):
    return jnp.matmul(a, b, preferred_element_type=jnp.float32)
