"""Attention agrees with the formula of a textbook; so do its gradients."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dice_jax.models.layers.attention import attention


def textbook(query, key, value):
    logits = jnp.einsum("bnhd,bmhd->bhnm", query, key) / np.sqrt(query.shape[-1])
    return jnp.einsum("bhnm,bmhd->bnhd", jax.nn.softmax(logits, -1), value)


@pytest.fixture
def qkv(rng):
    return [jnp.asarray(rng.normal(size=(2, 17, 3, 4)), jnp.float32) for _ in range(3)]


@pytest.mark.parametrize("one_at_a_time", [True, False])
def test_values_and_gradients_agree_with_the_textbook(qkv, rng, one_at_a_time):
    ours = functools.partial(attention, one_at_a_time=one_at_a_time)
    weights = jnp.asarray(rng.normal(size=qkv[0].shape), jnp.float32)
    value = lambda f: jax.jit(lambda x: f(*x))(qkv)
    gradient = lambda f: jax.jit(jax.grad(lambda x: (f(*x) * weights).sum()))(qkv)
    np.testing.assert_allclose(value(ours), value(textbook), atol=3e-6)
    for got, expected in zip(gradient(ours), gradient(textbook), strict=True):
        np.testing.assert_allclose(got, expected, atol=3e-6)


def test_large_logits_do_not_overflow(qkv):
    query, key, value = qkv
    result, gradient = jax.value_and_grad(lambda q: attention(q, key, value).sum())(1e4 * query)
    assert np.isfinite(result) and np.isfinite(gradient).all()


def test_the_output_for_one_token_is_its_value(qkv):
    query, key, value = (x[:, :1] for x in qkv)
    np.testing.assert_allclose(attention(query, key, value), value, rtol=1e-6)
