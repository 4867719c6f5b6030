"""The whole network: shapes, sizes, determinism, gradients."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.fast_compile import compile_fast, run_fast
from support.random_detections import random_detections, random_intrinsics

from dice_jax import models
from dice_jax.models import presets


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(3).integers(0, 256, (2, 224, 224, 3), np.uint8)


@pytest.fixture(scope="module")
def outputs(network, images):
    """Outputs for two images, for the same two again, and for the second with another one."""
    module, queries, variables = network
    apply = lambda x: module.apply(variables, models.preprocess(x), queries, train=False)
    run = compile_fast(apply, images)
    return run(images), run(images), run(np.stack([images[1], np.zeros_like(images[0])]))


SHAPES = {
    "rough": {
        "hand_keypoints": (21, 3),
        "head_keypoints": (68, 3),
        "hand_vertices_coarse": (195, 3),
        "hand_vertices": (778, 3),
        "head_vertices_coarse": (559, 3),
        "head_vertices_mid": (1675, 3),
        "head_vertices": (5023, 3),
    },
    "contact_logits": {
        "hand_coarse": (195,),
        "hand": (778,),
        "head_coarse": (559,),
        "head_mid": (1675,),
        "head": (5023,),
    },
    "hand_params": {"betas": (10,), "global_orient": (3,), "hand_pose": (45,), "transl": (3,)},
    "head_params": {
        "betas": (100,),
        "expression": (50,),
        "global_orient": (3,),
        "neck_pose": (3,),
        "jaw_pose": (3,),
        "transl": (3,),
    },
}


def test_shapes(outputs):
    output, *_ = outputs
    for name, expected in SHAPES.items():
        struct = getattr(output, name)
        fields = struct.__dataclass_fields__
        assert {field: getattr(struct, field).shape[1:] for field in fields} == expected
    assert output.deformations.shape == (2, 5023, 3) and output.presence_logit.shape == (2,)
    for x in jax.tree.leaves(output):
        assert x.dtype == jnp.float32 and np.isfinite(x).all()


def test_inference_is_deterministic_and_images_are_independent(outputs):
    first, second, other = outputs
    jax.tree.map(np.testing.assert_array_equal, first, second)
    close = lambda a, b: np.testing.assert_allclose(a[1], b[0], rtol=1e-4, atol=1e-5)
    jax.tree.map(close, first, other)
    vertices = first.rough.hand_vertices
    assert np.abs(vertices[0] - vertices[1]).max() > 1e-5  # it depends on the image


def test_every_weight_has_a_gradient(rng, network, images):
    module, queries, variables = network
    # The backbone has a test of its own. With it this test would take three times as long.
    config = dataclasses.replace(module.config.backbone, frozen_stages=7)
    module = module.clone(config=dataclasses.replace(module.config, backbone=config))
    rngs = {"dropout": jax.random.key(0), "mask": jax.random.key(1)}
    evidence = random_detections(rng, 2), random_intrinsics(rng, 2)

    def loss(params):
        output, _ = module.apply(
            {**variables, "params": params},
            models.preprocess(images),
            queries,
            *evidence,
            train=True,
            rngs=rngs,
            mutable=["batch_stats"],
        )
        return sum((x**2).mean() for x in jax.tree.leaves(output))

    gradients = run_fast(jax.grad(loss), variables["params"])
    for path, x in jax.tree_util.tree_leaves_with_path(gradients):
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        assert np.isfinite(x).all(), name
        # No gradient: a softmax does not depend on a constant added to all keys, nor batch norm on
        # the biases before it.
        before_norm = "_ik/" in name and name.endswith("bias") and "norm" not in name
        if not (name.startswith("backbone") or name.endswith("key/bias") or before_norm):
            assert np.abs(x).max() > 0, name


def count(tree):
    return sum(int(np.prod(x.shape)) for x in jax.tree.leaves(tree))


def shapes_of(section, bodies):
    module, queries = models.create_model(section, *bodies)
    images = jnp.zeros((1, 224, 224, 3))
    return jax.eval_shape(lambda: module.init(jax.random.key(0), images, queries, train=False))


def test_the_full_network_has_the_size_of_the_released_one(bodies):
    section = presets.full()
    section.presence = True  # which the paper does not have
    params = shapes_of(section, bodies)["params"]
    # The released network uses 240.37 M parameters. They include 1024 learned positions for each
    # encoder, of which 843 are used.
    unused = (1024 - 843) * (1024 + 256 + 128 + 256 + 64)
    assert count(params) == pytest.approx(240.37e6, abs=unused + 5e3)
    assert count(params["backbone"]) == pytest.approx(126.0e6, abs=0.05e6)
    transformers = {"token_upsampling", "mesh_net", "interaction_net"}
    assert set(params) == {"backbone", *transformers, "hand_ik", "head_ik", "camera", "presence"}


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_weights_and_outputs_are_in_single_precision(bodies, dtype):
    section = presets.full()
    section.dtype = dtype
    module, queries = models.create_model(section, *bodies)
    images = jnp.zeros((2, 224, 224, 3))
    rngs = {name: jax.random.key(0) for name in ("params", "dropout", "mask")}
    run = lambda: module.init_with_output(rngs, images, queries, train=True)
    output, variables = jax.eval_shape(run)
    assert {x.dtype for x in jax.tree.leaves((output, variables))} == {jnp.dtype("float32")}
    assert output.deformations.shape == (2, 5023, 3) and output.head_params.betas.shape == (2, 100)


def test_the_small_network_has_less_than_25_megabytes_in_half_precision(bodies):
    assert 2 * count(shapes_of(presets.small(), bodies)) < 25e6


def test_weights_of_the_full_network_have_the_shapes_of_the_released_ones(bodies):
    params = shapes_of(presets.full(), bodies)["params"]
    mesh_net, interaction_net = params["mesh_net"], params["interaction_net"]
    layer = mesh_net["encoder_0"]["layer_0"]
    assert params["token_upsampling"]["kernel"].shape == (49, 843)
    assert mesh_net["encoder_0"]["embedding"]["kernel"].shape == (2051, 1024)
    assert layer["attention"]["query"]["kernel"].shape == (1024, 1024)
    assert layer["intermediate"]["kernel"].shape == (1024, 3072)
    assert mesh_net["encoder_2"]["head"]["kernel"].shape == (128, 3)
    assert mesh_net["head_upsampling"]["kernel_1"].shape == (1675, 5023)
    assert interaction_net["projection"]["kernel"].shape == (2051, 512)
    assert interaction_net["encoder_1"]["residual"]["kernel"].shape == (128, 4)


def test_networks_of_one_configuration_are_equal_static_arguments(bodies):
    a, b = (models.create_model(presets.tiny(), *bodies)[0] for _ in range(2))
    assert a == b and hash(a) == hash(b)


def test_preprocess_normalizes_bytes_and_floats_alike(images):
    from_bytes = models.preprocess(jnp.asarray(images))
    from_floats = models.preprocess(jnp.asarray(images / 255.0))
    np.testing.assert_allclose(from_bytes, from_floats, atol=1e-5)
    gray = models.preprocess(jnp.full((1, 2, 2, 3), 0.5))[0, 0, 0]
    expected = (0.5 - np.array([0.485, 0.456, 0.406])) / [0.229, 0.224, 0.225]
    np.testing.assert_allclose(gray, expected, rtol=1e-5)
