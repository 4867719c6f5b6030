"""The encoders agree with PyTorch's post-norm transformer layer and with BERT's."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util
from support.fast_compile import compile_fast, run_fast
from support.random_variables import init

from dice_jax.models.config import EncodersConfig
from dice_jax.models.layers.dropout import Dropout
from dice_jax.models.layers.transformer import Encoder

CONFIG = EncodersConfig(hidden=(16,), outputs=(), layers=(2,), feed_forward=24, heads=4)


@pytest.fixture
def encoder(rng):
    """(module, variables, tokens): 2 layers of width 16, 5 channels in and 3 out."""
    module = Encoder(CONFIG, 16, 2, 3)
    tokens = jnp.asarray(rng.normal(size=(2, 11, 5)), jnp.float32)
    return module, init(module, rng, tokens, train=False), tokens


def torch_encoder(params, tokens):
    """The same encoder from torch.nn.TransformerEncoderLayer and matrix products."""
    torch = pytest.importorskip("torch")
    tensor = lambda x: torch.tensor(np.asarray(x))
    linear = lambda p, x: x @ tensor(p["kernel"]) + tensor(p["bias"])
    x = linear(params["embedding"], tensor(tokens)) + tensor(params["position_embedding"])
    for i in range(2):
        p = params[f"layer_{i}"]
        layer = torch.nn.TransformerEncoderLayer(
            16,
            4,
            24,
            dropout=0.0,
            activation=torch.nn.functional.gelu,
            layer_norm_eps=1e-12,
            batch_first=True,
        )
        qkv = [p["attention"][name] for name in ("query", "key", "value")]
        state = {
            "self_attn.in_proj_weight": torch.cat([tensor(q["kernel"]).T for q in qkv]),
            "self_attn.in_proj_bias": torch.cat([tensor(q["bias"]) for q in qkv]),
        }
        for theirs, ours in (
            ("self_attn.out_proj", p["attention"]["output"]),
            ("linear1", p["intermediate"]),
            ("linear2", p["output"]),
            ("norm1", p["attention_norm"]),
            ("norm2", p["output_norm"]),
        ):
            weight = ours["kernel"].T if "kernel" in ours else ours["scale"]
            state |= {f"{theirs}.weight": tensor(weight), f"{theirs}.bias": tensor(ours["bias"])}
        layer.load_state_dict(state)
        x = layer(x)
    return linear(params["head"], x) + linear(params["residual"], tensor(tokens))


def test_agrees_with_pytorch(encoder):
    module, variables, tokens = encoder
    expected = torch_encoder(variables["params"], tokens).detach().numpy()
    np.testing.assert_allclose(module.apply(variables, tokens, train=False), expected, atol=1e-5)


def test_agrees_with_the_bert_layers_of_transformers(encoder):
    torch, bert = pytest.importorskip("torch"), pytest.importorskip("transformers.models.bert")
    modeling = pytest.importorskip("transformers.models.bert.modeling_bert")
    module, variables, tokens = encoder
    tensor = lambda x: torch.tensor(np.asarray(x))
    config = bert.BertConfig(
        hidden_size=16,
        num_attention_heads=4,
        intermediate_size=24,
        layer_norm_eps=1e-12,
        hidden_act="gelu",
        attn_implementation="eager",
    )
    names = {
        "attention.self.query": "attention/query",
        "attention.self.key": "attention/key",
        "attention.self.value": "attention/value",
        "attention.output.dense": "attention/output",
        "attention.output.LayerNorm": "attention_norm",
        "intermediate.dense": "intermediate",
        "output.dense": "output",
        "output.LayerNorm": "output_norm",
    }
    flat = traverse_util.flatten_dict(variables["params"], sep="/")
    linear = lambda name, x: x @ tensor(flat[f"{name}/kernel"]) + tensor(flat[f"{name}/bias"])
    x = linear("embedding", tensor(tokens)) + tensor(flat["position_embedding"])
    for i in range(2):
        layer = modeling.BertLayer(config).eval()
        state = {}
        for theirs, ours in names.items():
            path = f"layer_{i}/{ours}"
            is_norm = f"{path}/scale" in flat
            weight = flat[f"{path}/scale"] if is_norm else flat[f"{path}/kernel"].T
            state[f"{theirs}.weight"] = tensor(weight)
            state[f"{theirs}.bias"] = tensor(flat[f"{path}/bias"])
        layer.load_state_dict(state)
        x = layer(x)
        x = x[0] if isinstance(x, tuple) else x
    expected = linear("head", x) + linear("residual", tensor(tokens))
    result = module.apply(variables, tokens, train=False)
    np.testing.assert_allclose(result, expected.detach().numpy(), atol=1e-5)


def test_attention_dropout_of_almost_zero_changes_nothing(encoder):
    # Attention with dropout is a different code path from attention without.
    _, variables, tokens = encoder
    rngs = {"dropout": jax.random.key(0)}

    def run(rate):
        module = Encoder(dataclasses.replace(CONFIG, dropout=0.0, attention_dropout=rate), 16, 2, 3)
        return run_fast(lambda v: module.apply(v, tokens, train=True, rngs=rngs), variables)

    np.testing.assert_allclose(run(0.0), run(1e-7), atol=1e-5)
    assert np.abs(run(0.0) - run(0.5)).max() > 1e-2


def test_dropout_is_applied_in_training_only(encoder):
    module, variables, tokens = encoder
    apply = lambda key: module.apply(variables, tokens, train=True, rngs={"dropout": key})
    run = compile_fast(apply, jax.random.key(0))
    train = lambda seed: run(jax.random.key(seed))
    assert np.abs(train(0) - train(1)).max() > 1e-3
    np.testing.assert_array_equal(*(module.apply(variables, tokens, train=False) for _ in range(2)))


def test_dropout_of_a_sample_does_not_depend_on_how_the_batch_is_split(encoder):
    module, variables, tokens = encoder
    config = dataclasses.replace(CONFIG, dropout=0.2, attention_dropout=0.2)
    module = Encoder(config, 16, 2, 3, axis_name="devices")
    tokens = jnp.concatenate([tokens, tokens + 0.1])

    def run(count):
        parts = tokens.reshape(count, -1, *tokens.shape[1:])
        rngs = {"dropout": jax.random.key(0)}
        apply = lambda part: module.apply(variables, part, train=True, rngs=rngs)
        over_devices = jax.vmap(apply, axis_name="devices")
        return run_fast(over_devices, parts).reshape(len(tokens), -1)

    whole = run(1)
    np.testing.assert_allclose(run(2), whole, atol=1e-5)
    np.testing.assert_allclose(run(len(tokens)), whole, atol=1e-5)


def test_dropout_has_the_given_rate_and_preserves_the_mean():
    ones = np.ones((4, 50, 200), np.float32)
    dropped = Dropout(0.25).apply({}, ones, train=True, rngs={"dropout": jax.random.key(0)})
    assert set(np.unique(dropped)) == {np.float32(0.0), np.float32(1 / 0.75)}
    np.testing.assert_allclose((dropped == 0).mean((1, 2)), 0.25, atol=0.02)  # 4 standard errors
    assert (dropped[0] != dropped[1]).any()


def test_rematerialization_changes_no_gradient(encoder):
    _, variables, tokens = encoder

    def gradient(remat):
        module = Encoder(dataclasses.replace(CONFIG, remat=remat), 16, 1, 3)
        apply = lambda v: module.apply(v, tokens, train=True, rngs={"dropout": jax.random.key(0)})
        return run_fast(jax.grad(lambda v: (apply(v) ** 2).sum()), variables)

    close = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)
    jax.tree.map(close, gradient(False), gradient(True))


def test_half_precision_is_close(encoder):
    _, variables, tokens = encoder
    run = lambda dtype: jax.jit(partial(Encoder(CONFIG, 16, 2, 3, dtype=dtype).apply, train=False))
    half, single = (run(dtype)(variables, tokens) for dtype in (jnp.bfloat16, jnp.float32))
    assert half.dtype == jnp.bfloat16
    np.testing.assert_allclose(half.astype(jnp.float32), single, atol=0.1)
