"""EfficientNet-Lite0 with its ImageNet weights: PyTorch's features, and photos to recognize."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.random_variables import init

from dice_jax.checkpoints.pretrained_backbones import lite0_path, lite0_variables, load_backbone
from dice_jax.models import preprocess
from dice_jax.models.backbones.efficientnet import STAGES, EfficientNetLite0
from dice_jax.models.config import BackboneConfig, ModelConfig
from dice_jax.untrusted_files.torch_file import read_state

LITE0 = BackboneConfig(name="efficientnet_lite0", width=1.0, features=1280)
CAT, ESPRESSO = range(281, 286), [967]  # ImageNet's tabby .. Egyptian cat; espresso


@pytest.fixture(scope="module")
def state():
    return read_state(lite0_path())


@pytest.fixture(scope="module")
def photos():
    """A cat and an espresso, (2, 224, 224, 3) uint8."""
    data = pytest.importorskip("skimage.data")
    transform = pytest.importorskip("skimage.transform")
    result = []
    for name in ("chelsea", "coffee"):
        image = getattr(data, name)()
        height, width = image.shape[:2]
        side, top, left = (
            min(height, width),
            max(height - width, 0) // 2,
            max(width - height, 0) // 2,
        )
        square = image[top : top + side, left : left + side]
        result.append(transform.resize(square, (224, 224), anti_aliasing=True) * 255)
    return np.stack(result).astype(np.uint8)


@pytest.fixture(scope="module")
def features(state, photos):
    module = EfficientNetLite0(LITE0)
    variables = lite0_variables(state)
    apply = jax.jit(lambda images: module.apply(variables, preprocess(images), train=False))
    return np.asarray(apply(photos).features)


def torch_features(state, images):
    """The network in PyTorch, with the input it was trained on: (pixel - 127) / 128."""
    torch = pytest.importorskip("torch")
    F = torch.nn.functional
    weight = lambda name: torch.tensor(state[name])

    def conv(x, name, stride=1, groups=1):
        kernel = weight(f"{name}.weight")
        size, length = kernel.shape[-1], x.shape[-1]
        pad = max((-(-length // stride) - 1) * stride + size - length, 0)
        x = F.pad(x, (pad // 2, pad - pad // 2, pad // 2, pad - pad // 2))
        return F.conv2d(x, kernel, stride=stride, groups=groups)

    def norm(x, name):
        statistics = (
            weight(f"{name}.{leaf}") for leaf in ("running_mean", "running_var", "weight", "bias")
        )
        return F.batch_norm(x, *statistics, eps=1e-3)

    x = (torch.tensor(images.transpose(0, 3, 1, 2), dtype=torch.float32) - 127) / 128
    x, index = F.relu6(norm(conv(x, "_conv_stem", 2), "_bn0")), 0
    for blocks, _, stride, expansion, _ in STAGES:
        for block in range(blocks):
            p, y = f"_blocks.{index}.", x
            y = F.relu6(norm(conv(y, p + "_expand_conv"), p + "_bn0")) if expansion > 1 else y
            y = conv(y, p + "_depthwise_conv", stride if block == 0 else 1, groups=y.shape[1])
            y = norm(conv(F.relu6(norm(y, p + "_bn1")), p + "_project_conv"), p + "_bn2")
            x, index = (x + y if block else y), index + 1
    return F.relu6(norm(conv(x, "_conv_head"), "_bn1")).numpy().transpose(0, 2, 3, 1)


def test_the_weights_are_those_that_pytorch_reads(state):
    torch = pytest.importorskip("torch")
    expected = torch.load(lite0_path(), weights_only=True)
    assert set(state) == set(expected)
    for name, tensor in expected.items():
        np.testing.assert_array_equal(state[name], tensor.numpy())


def test_agrees_with_pytorch(state, photos, features):
    assert features.shape == (2, 7, 7, 1280)
    expected = torch_features(state, photos)
    np.testing.assert_allclose(features, expected, atol=1e-4 * np.abs(expected).max())


def test_it_recognizes_a_cat_and_an_espresso(state, features):
    logits = features.mean((1, 2)) @ state["_fc.weight"].T + state["_fc.bias"]
    cat, espresso = logits.argmax(-1)
    assert cat in CAT and espresso in ESPRESSO


@pytest.mark.parametrize("frozen_stages", [0, 4])
def test_frozen_stages_get_no_gradient_and_no_new_statistics(rng, frozen_stages):
    sizes = dict(width=0.125, depth=1, features=16)
    config = dataclasses.replace(LITE0, **sizes, frozen_stages=frozen_stages)
    module = EfficientNetLite0(config, depthwise="conv")
    images = jnp.asarray(rng.normal(size=(2, 64, 64, 3)), jnp.float32)
    variables = init(module, rng, images, train=False)

    @jax.jit
    def gradient(params):
        def loss(params):
            output, updates = module.apply(
                {**variables, "params": params}, images, train=True, mutable=["batch_stats"]
            )
            return (output.features**2).sum(), updates["batch_stats"]

        return jax.grad(loss, has_aux=True)(params)

    gradients, statistics = gradient(variables["params"])

    def is_frozen(name):
        """Whether a layer is in a frozen stage; here each stage has one block, the stem is 0."""
        kind, *rest = name.split("_")
        stage = {"stem": 0, "head": 8}.get(kind) if kind != "block" else 1 + int(rest[0])
        return frozen_stages > 0 and stage <= frozen_stages

    for name, layer in gradients.items():
        for gradient in jax.tree.leaves(layer):
            assert (np.abs(gradient).max() == 0) == is_frozen(name), name
    for name, layer in statistics.items():
        unchanged = (layer["mean"] == variables["batch_stats"][name]["mean"]).all()
        assert unchanged == is_frozen(name), name


def test_load_backbone_replaces_only_the_backbone(rng):
    config = ModelConfig(backbone=dataclasses.replace(LITE0, pretrained="imagenet"))
    images = jnp.zeros((1, 224, 224, 3))
    module = EfficientNetLite0(LITE0)
    shapes = jax.eval_shape(lambda: module.init(jax.random.key(0), images, train=False))
    variables = {name: {"backbone": tree, "other": 1} for name, tree in shapes.items()}
    loaded = load_backbone(variables, config)
    assert loaded["params"]["other"] == 1
    np.testing.assert_array_equal(
        loaded["params"]["backbone"]["stem"]["kernel"],
        read_state(lite0_path())["_conv_stem.weight"].transpose(2, 3, 1, 0),
    )
    assert load_backbone(variables, ModelConfig(backbone=LITE0)) == variables
    stem = {"kernel": np.zeros((3, 3, 3, 8))}
    narrow = {"params": {"backbone": {"stem": stem}}, "batch_stats": {"backbone": {}}}
    with pytest.raises(ValueError, match=r"stem/kernel \(3, 3, 3, 8\)"):
        load_backbone(narrow, config)
