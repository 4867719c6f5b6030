"""The baselines of the paper's Table 1: what each of them is, and that nothing in them is dead."""

import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import traverse_util
from support.random_variables import init

from dice_jax import models
from dice_jax.models import dice, presets
from dice_jax.models.baselines import encode_cross
from dice_jax.models.config import EncodersConfig, ModelConfig

NAMES = ("single_branch", "metro", "fastmetro", "pixie_r")


class Pool(nn.Module):
    """In place of a backbone, which takes long to compile: the mean colors of cells, and a linear
    map.
    """

    features: int

    @nn.compact
    def __call__(self, images, *, train, with_levels=False):
        levels = tuple(nn.avg_pool(images, (size, size), (size, size)) for size in (8, 16, 32))
        features = nn.Dense(self.features)(levels[-1])
        return (features, levels) if with_levels else features


@pytest.fixture(scope="module", autouse=True)
def small_backbone():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            dice, "make_backbone", lambda config, *_: Pool(config.features, name="backbone")
        )
        yield


def quickly(function, *args):
    """Calls a function that is compiled in a hurry."""
    return jax.jit(function).lower(*args).compile({"xla_backend_optimization_level": 0})(*args)


def build(name, bodies):
    module, queries = models.create_model(getattr(presets, name)(presets.tiny()), *bodies)
    variables = init(
        module, np.random.default_rng(3), jnp.zeros((1, 224, 224, 3)), queries, train=False
    )
    return module, queries, variables


@pytest.mark.parametrize("name", NAMES)
def test_configurations_are_variants_of_each_recipe(name):
    module = importlib.import_module(f"configs.{name}")
    for base in ("full", "small", "tiny"):
        config = module.get_config(base)
        assert ModelConfig.from_dict(config.model) != ModelConfig.from_dict(
            getattr(presets, base)()
        )
    with pytest.raises(
        ValueError,
        match="no base configuration called 'large': choose one of full, synthetic, small, tiny",
    ):
        module.get_config("large")


@pytest.mark.parametrize(
    "name, parts",
    [
        (
            "single_branch",
            {"token_upsampling", "mesh_net", "hand_ik", "head_ik", "fine_map", "heatmaps"},
        ),
        ("metro", {"token_upsampling", "mesh_net", "fine_map", "heatmaps"}),
        ("fastmetro", {"mesh_net"}),
        ("pixie_r", {"hand_ik", "head_ik"}),
    ],
)
def test_parts(bodies, name, parts):
    assert set(build(name, bodies)[2]["params"]) == parts | {"backbone", "camera", "presence"}


@pytest.mark.parametrize("name", NAMES)
def test_every_weight_matters(bodies, name):
    module, queries, variables = build(name, bodies)
    images = jnp.asarray(np.random.default_rng(0).normal(size=(2, 224, 224, 3)), jnp.float32)

    def loss(params):
        output = module.apply({**variables, "params": params}, images, queries, train=False)
        return sum((leaf**2).mean() for leaf in jax.tree.leaves(output))

    gradient = quickly(jax.grad(loss), variables["params"])
    for path, leaf in traverse_util.flatten_dict(gradient, sep="/").items():
        blind = path.endswith("key/bias")  # a softmax does not see a constant added to all keys
        assert np.isfinite(leaf).all() and (blind or np.abs(leaf).max() > 0), path


def test_the_answer_of_metro_is_its_rough_mesh(bodies):
    module, queries, variables = build("metro", bodies)

    def answer(variables):
        output = module.apply(variables, jnp.ones((1, 224, 224, 3)), queries, train=False)
        return output, models.decode(output, *bodies, gate_by_presence=False)

    output, prediction = quickly(answer, variables)
    rough = output.rough
    center = np.asarray(rough.head_vertices).mean(1, keepdims=True)
    for got, expected in (
        (prediction.hand_vertices, rough.hand_vertices - center),
        (prediction.head_vertices, rough.head_vertices - center),
        (prediction.deformed_head_vertices, rough.head_vertices - center - output.deformations),
    ):
        np.testing.assert_allclose(got, expected, atol=1e-5)
    np.testing.assert_allclose(
        prediction.hand_keypoints_3d[:, 4], prediction.hand_vertices[:, bodies[0].tip_ids[0]]
    )
    assert not any(
        np.any(leaf) for leaf in jax.tree.leaves((prediction.hand_params, prediction.head_params))
    )


def test_learned_tokens_see_the_image_wherever_it_is(rng):
    """Cross-attention: every token depends on every cell, and cells are told apart by their place."""

    class Net(nn.Module):
        @nn.compact
        def __call__(self, grid):
            config = EncodersConfig(
                hidden=(8, 4), outputs=(), layers=(1, 1), feed_forward=6, heads=2
            )
            return encode_cross(config, 5, grid, train=False)

    grid = jnp.asarray(rng.normal(size=(2, 6, 7)), jnp.float32)
    variables = init(Net(), rng, grid)
    run = (
        jax.jit(lambda grid: Net().apply(variables, grid))
        .lower(grid)
        .compile({"xla_backend_optimization_level": 0})
    )
    out, changed, turned = run(grid), run(grid.at[0, 5].add(1.0)), run(grid[:, ::-1])
    assert out.shape == (2, 843, 5)
    assert (np.abs(changed[0] - out[0]).max(-1) > 0).all()
    np.testing.assert_array_equal(changed[1], out[1])
    assert np.abs(turned - out).max() > 1e-3
