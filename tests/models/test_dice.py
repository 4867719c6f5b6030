"""The whole network: shapes, sizes, determinism, gradients, configuration."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from dice_jax import models
from dice_jax.models import presets
from dice_jax.models.config import ModelConfig
from dice_jax.models.mesh_net import template_in_view


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(3).integers(0, 256, (2, 224, 224, 3), np.uint8)


@pytest.fixture(scope="module")
def outputs(network, images):
    """The same two images twice, and the second alone."""
    module, queries, variables = network
    apply = jax.jit(lambda x: module.apply(variables, models.preprocess(x), queries, train=False))
    return apply(images), apply(images), apply(np.stack([images[1], np.zeros_like(images[0])]))


def test_shapes(outputs):
    output, *_ = outputs
    shapes = lambda struct: {
        name: getattr(struct, name).shape[1:] for name in struct.__dataclass_fields__
    }
    assert shapes(output.rough) == {
        "hand_keypoints": (21, 3),
        "head_keypoints": (68, 3),
        "hand_vertices_coarse": (195, 3),
        "hand_vertices": (778, 3),
        "head_vertices_coarse": (559, 3),
        "head_vertices_mid": (1675, 3),
        "head_vertices": (5023, 3),
    }
    assert shapes(output.contact_logits) == {
        "hand_coarse": (195,),
        "hand": (778,),
        "head_coarse": (559,),
        "head_mid": (1675,),
        "head": (5023,),
    }
    assert shapes(output.hand_params) == {
        "betas": (10,),
        "global_orient": (3,),
        "hand_pose": (45,),
        "transl": (3,),
    }
    assert shapes(output.head_params) == {
        "betas": (100,),
        "expression": (50,),
        "global_orient": (3,),
        "neck_pose": (3,),
        "jaw_pose": (3,),
        "transl": (3,),
    }
    assert output.deformations.shape == (2, 5023, 3) and output.presence_logit.shape == (2,)
    assert all(
        leaf.dtype == jnp.float32 and np.isfinite(leaf).all() for leaf in jax.tree.leaves(output)
    )


def test_inference_is_deterministic_and_images_do_not_mix(outputs):
    first, second, other = outputs
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a, b), first, second)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a[1], b[0], rtol=1e-4, atol=1e-5), first, other
    )
    assert (
        np.abs(first.rough.hand_vertices[0] - first.rough.hand_vertices[1]).max() > 1e-5
    )  # it does look at the image


def test_every_weight_is_trained(network, images):
    module, queries, variables = network
    # The backbone's own gradient is another test's; without it this one compiles in a third of the
    # time.
    config = dataclasses.replace(module.config.backbone, frozen_stages=7)
    module = module.clone(config=dataclasses.replace(module.config, backbone=config))
    rngs = {"dropout": jax.random.key(0), "mask": jax.random.key(1)}

    @jax.jit
    def gradient(params):
        def loss(params):
            output, _ = module.apply(
                {**variables, "params": params},
                models.preprocess(images),
                queries,
                train=True,
                rngs=rngs,
                mutable=["batch_stats"],
            )
            return sum((leaf**2).mean() for leaf in jax.tree.leaves(output))

        return jax.grad(loss)(params)

    for path, leaf in jax.tree_util.tree_leaves_with_path(gradient(variables["params"])):
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        assert np.isfinite(leaf).all(), name
        # A softmax does not see a constant added to all keys; the linear layers of an IKNet go into
        # batch norm.
        blind = name.endswith("key/bias") or (
            "_ik/" in name and name.endswith("bias") and "norm" not in name
        )
        if not (name.startswith("backbone") or blind):
            assert np.abs(leaf).max() > 0, name


def count(tree):
    return sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(tree))


def shapes_of(config, bodies):
    module, queries = models.create_model(config, *bodies)
    images = jnp.zeros((1, 224, 224, 3))
    return jax.eval_shape(lambda: module.init(jax.random.key(0), images, queries, train=False))


def test_full_network_has_the_papers_size(bodies):
    params = shapes_of(presets.full(), bodies)["params"]
    # The released network's 240.37 M used parameters hold 1024 learned positions an encoder, of
    # which 843 are used.
    unused = (1024 - 843) * (1024 + 256 + 128 + 256 + 64)
    assert count(params) == pytest.approx(240.37e6, abs=unused + 5e3)
    assert count(params["backbone"]) == pytest.approx(126.0e6, abs=0.05e6)
    assert set(params) == {
        "backbone",
        "token_upsampling",
        "mesh_net",
        "interaction_net",
        "hand_ik",
        "head_ik",
        "camera",
        "presence",
    }


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_full_network_answers_in_single_precision(bodies, dtype):
    config = presets.full()
    config.dtype = dtype
    module, queries = models.create_model(config, *bodies)
    images, rngs = (
        jnp.zeros((2, 224, 224, 3)),
        {name: jax.random.key(0) for name in ("params", "dropout", "mask")},
    )
    output, variables = jax.eval_shape(
        lambda: module.init_with_output(rngs, images, queries, train=True)
    )
    assert {leaf.dtype for leaf in jax.tree.leaves((output, variables))} == {jnp.dtype("float32")}
    assert output.deformations.shape == (2, 5023, 3) and output.head_params.betas.shape == (2, 100)


def test_small_network_fits_in_25_megabytes(bodies):
    assert 2 * count(shapes_of(presets.small(), bodies)) < 25e6


def test_released_checkpoint_is_a_rename_away(bodies):
    params = shapes_of(presets.full(), bodies)["params"]
    layer = params["mesh_net"]["encoder_0"]["layer_0"]
    assert params["token_upsampling"]["kernel"].shape == (49, 843)
    assert params["mesh_net"]["encoder_0"]["embedding"]["kernel"].shape == (2051, 1024)
    assert layer["attention"]["query"]["kernel"].shape == (1024, 1024)
    assert layer["intermediate"]["kernel"].shape == (1024, 3072)
    assert params["mesh_net"]["encoder_2"]["head"]["kernel"].shape == (128, 3)
    assert params["mesh_net"]["head_upsampling"]["kernel_1"].shape == (1675, 5023)
    assert params["interaction_net"]["projection"]["kernel"].shape == (2051, 512)
    assert params["interaction_net"]["encoder_1"]["residual"]["kernel"].shape == (128, 4)


@pytest.mark.parametrize("preset", [presets.full, presets.small, presets.tiny])
def test_configurations_survive_json(preset):
    config = preset()
    assert ModelConfig.from_dict(
        ConfigDict(json.loads(json.dumps(config.to_dict())))
    ) == ModelConfig.from_dict(config)


def test_modules_of_the_same_configuration_are_one_static_argument(bodies):
    a, b = (models.create_model(presets.tiny(), *bodies)[0] for _ in range(2))
    assert a == b and hash(a) == hash(b)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"widht": 3}, "model has no field widht"),
        (
            {"backbone": {"name": "resnet"}},
            r"model\.backbone\.name is 'resnet', choose one of hrnet, efficientnet_lite0",
        ),
        ({"hand_ik": {"level": 2}}, r"model\.hand_ik\.level is 2, choose one of 0 to 1"),
        (
            {"mesh_net": {"encoders": {"hidden": (30, 16), "outputs": (4,), "layers": (1, 1)}}},
            "multiples of its 4 heads",
        ),
        (
            {"mesh_net": {"encoders": {"hidden": (32, 16), "outputs": (), "layers": (1, 1)}}},
            "2 hidden widths want 1 outputs",
        ),
        (
            {"fine_features": 8},
            r"model\.fine_features is for mesh_net\.refinements and interaction_net\.sees_image",
        ),
        (
            {"fine_features": 8, "mesh_net": {"refinements": 1}},
            r"refinements wants model\.mesh_net\.template_placed",
        ),
    ],
)
def test_mistakes_in_a_configuration_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        ModelConfig.from_dict(change)


def test_queries_are_centerd_templates(bodies):
    queries = np.asarray(models.template_queries(*bodies))
    hand, head = queries[89:284], queries[284:]
    np.testing.assert_allclose([hand.mean(0), head.mean(0)], 0.0, atol=1e-6)
    # Each coarse vertex is a vertex of the template, moved by the same offset.
    for part, model in ((hand, bodies[0]), (head, bodies[1])):
        offsets = np.asarray(model.v_template)[:, None] - part[:3]
        best = [{tuple(row) for row in np.round(offsets[:, k], 5)} for k in range(3)]
        assert set.intersection(*best)
    # The thumb's tip is 4 and the little finger's 20 in OpenPose's order: on opposite sides of the
    # wrist along z.
    assert queries[4, 2] > queries[0, 2] > queries[20, 2]
    # Landmark 8 is the chin, 27 the bridge of the nose.
    assert queries[21 + 8, 1] < queries[21 + 27, 1]


def test_template_in_view_is_a_frontal_head_and_a_palm_on_its_way_to_it(network):
    # Camera axes: x right, y down, z away from us.
    points = np.asarray(template_in_view(network[1]))
    hand, head = points[:21], points[21:89]
    chin, nose_tip, right_eye, left_eye = head[8], head[30], head[36], head[45]
    assert chin[1] > nose_tip[1] > right_eye[1]
    assert right_eye[0] < 0 < left_eye[0]  # the person's right is on our left
    assert nose_tip[2] < points[284:, 2].mean() - 0.03
    wrist, thumb, index, little = hand[0], hand[2], hand[5], hand[17]
    assert (hand[[8, 12, 16, 20], 1] < wrist[1] - 0.1).all()  # fingers up
    assert thumb[0] < index[0] < little[0]
    # A right hand seen from behind: wrist, index and little knuckle turn clockwise on the screen.
    assert np.cross(index - wrist, little - wrist)[2] > 0


def test_preprocess_is_the_same_for_bytes_and_floats(images):
    from_bytes, from_floats = (
        models.preprocess(jnp.asarray(images)),
        models.preprocess(jnp.asarray(images / 255.0)),
    )
    np.testing.assert_allclose(from_bytes, from_floats, atol=1e-5)
    np.testing.assert_allclose(
        models.preprocess(jnp.full((1, 2, 2, 3), 0.5))[0, 0, 0],
        (0.5 - np.array([0.485, 0.456, 0.406])) / [0.229, 0.224, 0.225],
        rtol=1e-5,
    )
