"""Factored tokens give the results of the multiplied-out tokens; masking is METRO's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.random_variables import init

from dice_jax.models.layers.tokens import (
    MASKED_VALUE,
    NUM_TOKENS,
    TokenDense,
    Tokens,
    TokenUpsampling,
    random_mask,
)


@pytest.fixture
def tokens(rng):
    normal = lambda *shape: jnp.asarray(rng.normal(size=shape), jnp.float32)
    return Tokens(normal(2, 49, 20), normal(49, 30) / 7.0, normal(30), normal(30, 3))


def multiplied_out(tokens):
    """The formula of the paper in float64: [template position, sum over cells + bias].

    All channels of masked tokens are 0.01.
    """
    grid, kernel, bias, queries = (np.asarray(x, np.float64) for x in jax.tree.leaves(tokens)[:4])
    image = np.einsum("bgc,gn->bnc", grid, kernel) + bias[:, None]
    result = np.concatenate([np.broadcast_to(queries, (*image.shape[:2], 3)), image], -1)
    if tokens.mask is not None:
        result[:, np.asarray(tokens.mask)] = MASKED_VALUE
    return result


@pytest.mark.parametrize("masked", [False, True])
def test_a_linear_layer_has_the_result_of_the_multiplied_out_tokens(tokens, rng, masked):
    if masked:
        tokens = tokens.replace(mask=jnp.asarray(rng.random(30) < 0.3))
    layer = TokenDense(8)
    variables = init(layer, rng, tokens)
    kernel, bias = (
        np.asarray(variables["params"][name], np.float64) for name in ("kernel", "bias")
    )
    expected = multiplied_out(tokens) @ kernel + bias
    np.testing.assert_allclose(layer.apply(variables, tokens), expected, atol=1e-5)
    plain = layer.apply(variables, jnp.asarray(multiplied_out(tokens), jnp.float32))
    np.testing.assert_allclose(plain, expected, atol=1e-5)


def test_the_masked_share_is_uniform_up_to_thirty_percent():
    keys = jax.random.split(jax.random.key(0), 2000)
    masks = np.asarray(jax.vmap(lambda key: random_mask(key, NUM_TOKENS, 0.3))(keys))
    counts = masks.sum(1)
    assert counts.min() == 0 and 240 <= counts.max() <= 252
    # Uniform on [0, 252]: mean 126 (standard error 1.6), deviation 73 (standard error 0.8).
    assert abs(counts.mean() - 126) < 6 and abs(counts.std() - 73) < 4
    # Every token is masked in 15 % of the draws, standard error 1.8 percentage points.
    assert np.abs(masks.mean(0) - 0.15).max() < 0.05


def test_there_is_one_mask_for_a_step_and_none_at_inference(tokens):
    layer = TokenUpsampling(0.3)
    variables = layer.init({"params": jax.random.key(0)}, tokens.grid, tokens.queries, train=False)
    inputs = (variables, tokens.grid, tokens.queries)
    run = lambda seed: layer.apply(*inputs, train=True, rngs={"mask": jax.random.key(seed)})
    assert run(0).mask.shape == (30,)  # no batch axis: one for all images
    assert any((run(0).mask != run(seed).mask).any() for seed in range(1, 4))
    assert layer.apply(*inputs, train=False).mask is None


def test_masked_tokens_do_not_depend_on_the_image(tokens):
    tokens = tokens.replace(mask=jnp.arange(30) < 10)
    layer = TokenDense(8)
    variables = layer.init(jax.random.key(0), tokens)
    gradient = jax.grad(lambda t, rows: layer.apply(variables, t)[:, rows].sum(), allow_int=True)
    assert (gradient(tokens, slice(0, 10)).grid == 0).all()
    assert (gradient(tokens, slice(10, 30)).grid != 0).any()
