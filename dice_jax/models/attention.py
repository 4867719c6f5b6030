"""Scaled dot-product attention that does not hold the attention weights of a whole batch.

843 x 843 weights a head are 11 MB an image at four heads: as one tensor for a batch they fall out of every cache, and
a CPU then spends its time on memory. The weights are therefore recomputed in the backward pass (Dao et al. 2022,
"FlashAttention", without the tiling), and on a CPU one image at a time.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def attention(
  query: Float[Array, "B N H D"], key: Float[Array, "B M H D"], value: Float[Array, "B M H D"]
) -> Float[Array, "B N H D"]:
  """softmax(query key^T / sqrt(D)) value, for each head; the softmax is taken in float32."""
  query = query / jnp.sqrt(jnp.array(query.shape[-1], query.dtype))
  if jax.default_backend() != "cpu":
    return _attention(query, key, value)
  one_image = lambda qkv: _attention(*(x[None] for x in qkv))[0]
  return jax.lax.map(one_image, (query, key, value))


@jax.custom_vjp
def _attention(query, key, value):
  return _forward(query, key, value)[0]


def _forward(query, key, value):
  logits = _logits(query, key)
  largest = logits.max(-1)
  weights = jnp.exp(logits - largest[..., None])
  total = weights.sum(-1)
  # Dividing the outputs, not the weights, saves a pass over the largest tensor.
  output = jnp.einsum("bhnm,bmhd->bnhd", weights.astype(value.dtype), value) / _per_token(total).astype(value.dtype)
  return output, (query, key, value, output, largest + jnp.log(total))


def _backward(residuals, grad):
  query, key, value, output, log_total = residuals
  weights = jnp.exp(_logits(query, key) - log_total[..., None])
  grad_value = jnp.einsum("bhnm,bnhd->bmhd", weights.astype(grad.dtype), grad)
  # sum_m weights * grad_weights, without the weights.
  mean = jnp.einsum("bnhd,bnhd->bhn", grad, output, preferred_element_type=jnp.float32)[..., None]
  grad_weights = jnp.einsum("bnhd,bmhd->bhnm", grad, value, preferred_element_type=jnp.float32)
  grad_logits = (weights * (grad_weights - mean)).astype(query.dtype)
  grad_query = jnp.einsum("bhnm,bmhd->bnhd", grad_logits, key)
  return grad_query, jnp.einsum("bhnm,bnhd->bmhd", grad_logits, query), grad_value


_attention.defvjp(_forward, _backward)


def _logits(query, key):
  return jnp.einsum("bnhd,bmhd->bhnm", query, key, preferred_element_type=jnp.float32)


def _per_token(x: Float[Array, "B H N"]) -> Float[Array, "B N H 1"]:
  return x.swapaxes(1, 2)[..., None]
