"""The ablation with a single branch and the baselines of Table 1: their parts and predictions."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import traverse_util
from support.fast_compile import compile_fast, run_fast
from support.random_detections import random_detections, random_intrinsics
from support.random_variables import init

from dice_jax import models
from dice_jax.models import presets
from dice_jax.models.backbones.backbone_output import BackboneOutput
from dice_jax.models.baselines.fastmetro import encode_cross
from dice_jax.models.config import BackboneConfig, EncodersConfig, ModelConfig

NAMES = ("single_branch", "metro", "fastmetro", "pixie_r")


class PoolConfig(BackboneConfig):
    """A backbone that compiles fast: the mean colors of the cells, and a linear layer."""

    def create(self, *args, **kwargs):
        return Pool(self.features, name=kwargs.get("name", "backbone"))


class Pool(nn.Module):
    features: int

    @nn.compact
    def __call__(self, images, *, train):
        levels = tuple(nn.avg_pool(images, (size, size), (size, size)) for size in (8, 16, 32))
        return BackboneOutput(nn.Dense(self.features)(levels[-1]), levels)


IMAGES = jnp.asarray(np.random.default_rng(1).normal(size=(1, 224, 224, 3)), jnp.float32)


def build(name, bodies, **fields):
    config = ModelConfig.from_dict(getattr(presets, name)(presets.tiny()))
    backbone = PoolConfig(features=config.backbone.features)
    config = dataclasses.replace(config, backbone=backbone, **fields)
    module, queries = config.create(*bodies)
    images = jnp.zeros((1, 224, 224, 3))
    return module, queries, init(module, np.random.default_rng(3), images, queries, train=False)


@pytest.mark.parametrize(
    "name, parts",
    [
        ("single_branch", {"token_upsampling", "mesh_net", "hand_ik", "head_ik"}),
        ("metro", {"token_upsampling", "mesh_net", "hand_ik", "head_ik"}),
        ("fastmetro", {"hand_backbone", "hand_net", "head_net", "hand_ik", "head_ik"}),
        ("pixie_r", {"interaction_head", "hand_ik", "head_ik"}),
    ],
)
def test_parts_with_weights(bodies, name, parts):
    if name in ("single_branch", "metro"):
        parts = parts | {"fine_map", "heatmaps"}
    if name == "single_branch":
        parts = parts | {"evidence", "hand_presence"}
    assert set(build(name, bodies)[2]["params"]) == parts | {"backbone", "camera", "presence"}


@pytest.mark.parametrize("name", NAMES)
def test_every_weight_has_a_gradient(rng, bodies, name):
    module, queries, variables = build(name, bodies)
    images = jnp.asarray(np.random.default_rng(0).normal(size=(2, 224, 224, 3)), jnp.float32)
    evidence = random_detections(rng, 2), random_intrinsics(rng, 2)

    def loss(params):
        output = module.apply(
            {**variables, "params": params}, images, queries, *evidence, train=False
        )
        return sum((x**2).mean() for x in jax.tree.leaves(output))

    gradients = run_fast(jax.grad(loss), variables["params"])
    for path, gradient in traverse_util.flatten_dict(gradients, sep="/").items():
        assert np.isfinite(gradient).all(), path
        # A softmax does not depend on a constant added to all keys.
        assert path.endswith("key/bias") or np.abs(gradient).max() > 0, path


@pytest.mark.parametrize("parametric", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_the_size_of_the_batch_may_be_a_symbol(bodies, name, parametric):
    """As in an exported program."""
    module, queries, variables = build(name, bodies, parametric=parametric)
    images = jax.ShapeDtypeStruct((*jax.export.symbolic_shape("b"), 224, 224, 3), jnp.float32)
    run = jax.jit(lambda images: module.apply(variables, images, queries, train=False))
    output = jax.eval_shape(run, images)
    assert output.deformations.shape[0] == images.shape[0]


def test_the_two_fastmetros_know_nothing_of_each_other(bodies):
    """Weights of the hand's network change the hand alone, and those of the head's the head."""
    module, queries, variables = build("fastmetro", bodies)
    predict = compile_fast(
        lambda variables: module.apply(variables, IMAGES, queries, train=False), variables
    )
    before = predict(variables)
    for part, other in (("hand", "head"), ("head", "hand")):
        params = dict(variables["params"])
        for name in (f"{part}_net", f"{part}_ik", *(["hand_backbone"] if part == "hand" else [])):
            params[name] = jax.tree.map(lambda x: x + 0.1, params[name])
        if part == "head":
            params["backbone"] = jax.tree.map(lambda x: x + 0.1, params["backbone"])
        after = predict({**variables, "params": params})
        same = lambda tree, other: all(
            np.array_equal(a, b) for a, b in zip(jax.tree.leaves(tree), jax.tree.leaves(other))
        )
        rough = lambda output, name: {
            key: value for key, value in vars(output.rough).items() if key.startswith(name)
        }
        assert same(rough(after, other), rough(before, other))
        assert not same(rough(after, part), rough(before, part))
        logits = f"{other}_coarse"
        assert same(getattr(after.contact_logits, logits), getattr(before.contact_logits, logits))
        assert same(after.deformations, before.deformations) == (part == "hand")
        assert same(after.camera, before.camera) == (part == "hand")


def test_metro_predicts_its_rough_meshes(bodies):
    module, queries, variables = build("metro", bodies, parametric=False)

    def predict(variables):
        output = module.apply(variables, jnp.ones((1, 224, 224, 3)), queries, train=False)
        return output, models.decode(output, *bodies, gate_by_presence=False)

    output, prediction = run_fast(predict, variables)
    rough = output.rough
    center = np.asarray(rough.head_vertices).mean(1, keepdims=True)
    for got, expected in (
        (prediction.hand_vertices, rough.hand_vertices - center),
        (prediction.head_vertices, rough.head_vertices - center),
        (prediction.deformed_head_vertices, rough.head_vertices - center - output.deformations),
    ):
        np.testing.assert_allclose(got, expected, atol=1e-5)
    thumb_tip = prediction.hand_vertices[:, bodies[0].tip_ids[0]]
    np.testing.assert_allclose(prediction.hand_keypoints_3d[:, 4], thumb_tip)
    for params in jax.tree.leaves((prediction.hand_params, prediction.head_params)):
        np.testing.assert_array_equal(params, 0.0)


def test_learned_tokens_depend_on_every_cell_and_on_its_place(rng):
    class Net(nn.Module):
        @nn.compact
        def __call__(self, grid):
            config = EncodersConfig(
                hidden=(8, 4), outputs=(), layers=(1, 1), feed_forward=6, heads=2
            )
            return encode_cross(config, 5, grid, train=False)

    grid = jnp.asarray(rng.normal(size=(2, 6, 7)), jnp.float32)
    variables = init(Net(), rng, grid)
    run = compile_fast(lambda grid: Net().apply(variables, grid), grid)
    output, changed, reversed_ = run(grid), run(grid.at[0, 5].add(1.0)), run(grid[:, ::-1])
    assert output.shape == (2, 843, 5)
    assert (np.abs(changed[0] - output[0]).max(-1) > 0).all()
    np.testing.assert_array_equal(changed[1], output[1])
    assert np.abs(reversed_ - output).max() > 1e-3
