"""Scaled dot-product attention that does not hold the attention weights of a whole batch.

843 x 843 weights are 2.8 MB a head: as one tensor for all heads and images they fall out of every
cache, and a CPU then spends its time on memory. They are therefore computed again in the backward
pass (Dao et al. 2022, "FlashAttention", without the tiling), and on a CPU for one head of one image
at a time.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Float

from dice_jax.array_types import Array


def attention(
    query: Float[Array, "B N H D"], key: Float[Array, "B M H D"], value: Float[Array, "B M H D"]
) -> Float[Array, "B N H D"]:
    """softmax(query key^T / sqrt(D)) value, for each head; the softmax is taken in float32."""
    query = query / jnp.sqrt(jnp.array(query.shape[-1], query.dtype))
    heads_first = [x.swapaxes(1, 2) for x in (query, key, value)]
    each = [x.reshape(-1, *x.shape[2:]) for x in heads_first]
    # A GPU wants all heads at once, a CPU one after another.
    mixed = (
        jax.lax.map(lambda qkv: one_head(*qkv), each) if _on_cpu() else jax.vmap(one_head)(*each)
    )
    return mixed.reshape(heads_first[0].shape).swapaxes(1, 2)


@jax.custom_vjp
def one_head(
    query: Float[Array, "N D"], key: Float[Array, "M D"], value: Float[Array, "M D"]
) -> Float[Array, "N D"]:
    """softmax(query key^T) value; only vectors are kept for the backward pass."""
    return _forward(query, key, value)[0]


def _forward(query, key, value):
    logits = _product(query, key.T)
    largest = logits.max(-1, keepdims=True)
    weights = jnp.exp(logits - largest)
    total = weights.sum(-1, keepdims=True)
    # Dividing the outputs, not the weights, saves a pass over the largest tensor.
    output = (_product(weights.astype(value.dtype), value) / total).astype(value.dtype)
    return output, (query, key, value, output, largest + jnp.log(total))


def _backward(residuals, grad):
    query, key, value, output, log_total = residuals
    weights = jnp.exp(_product(query, key.T) - log_total)
    # sum_m weights * grad_weights is sum_d grad * output: no need of the weights.
    mean = (grad * output).astype(jnp.float32).sum(-1, keepdims=True)
    grad_logits = (weights * (_product(grad, value.T) - mean)).astype(query.dtype)
    gradients = grad_logits @ key, grad_logits.T @ query, weights.astype(grad.dtype).T @ grad
    return tuple(
        gradient.astype(x.dtype) for gradient, x in zip(gradients, (query, key, value), strict=True)
    )


one_head.defvjp(_forward, _backward)


def _product(a, b):
    return jnp.matmul(a, b, preferred_element_type=jnp.float32)


def _on_cpu() -> bool:
    return jax.default_backend() == "cpu"
