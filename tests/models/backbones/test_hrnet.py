"""HRNet against timm's, with random weights."""

import copy
import dataclasses
import importlib.abc
import importlib.machinery
import importlib.util
import os
import sys
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from support.command_line import exit_code
from support.random_variables import init

from dice_jax.checkpoints.pretrained_backbones import hrnet_variables, load_backbone
from dice_jax.models.backbones import hrnet
from dice_jax.models.backbones.fold_batch_norm import IdentityNorm, fold_norms
from dice_jax.models.backbones.hrnet import MODULES, Exchange, HRNet
from dice_jax.models.config import BackboneConfig, ModelConfig
from dice_jax.tools import convert_hrnet


def anything(name):
    """A class that has whatever attribute it is asked for."""
    if name.startswith("__"):
        raise AttributeError(name)
    return type("Meta", (type,), {"__getattr__": lambda cls, attribute: anything(attribute)})(
        name, (), {}
    )


class StubTorchvision(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """timm imports torchvision, of which there is no CPU wheel. Each of its modules is found, and
    holds anything.
    """

    def find_spec(self, name, path=None, target=None):
        return (
            importlib.machinery.ModuleSpec(name, self, is_package=True)
            if name.split(".")[0] == "torchvision"
            else None
        )

    def exec_module(self, module):
        module.__getattr__ = anything


@pytest.fixture(scope="module")
def timm_hrnet():
    """timm's module; the stub is gone again once it is imported."""
    pytest.importorskip("torch")
    finder = StubTorchvision()
    if importlib.util.find_spec("torchvision") is None:
        sys.meta_path.append(finder)
    try:
        return pytest.importorskip("timm.models.hrnet")
    finally:
        if finder in sys.meta_path:
            sys.meta_path.remove(finder)
            for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
                del sys.modules[name]


def build(timm_hrnet, width, depth, modules=MODULES):
    """timm's HRNet of any width and depth, its batch norm statistics and weights random."""
    torch = pytest.importorskip("torch")
    cfg = copy.deepcopy(timm_hrnet.cfg_cls["hrnet_w18"])
    cfg["stage1"]["num_blocks"] = (depth,)
    for stage in (2, 3, 4):
        cfg[f"stage{stage}"]["num_modules"] = modules[stage]
        cfg[f"stage{stage}"]["num_blocks"] = (depth,) * stage
        cfg[f"stage{stage}"]["num_channels"] = tuple(width * 2**b for b in range(stage))
    torch.manual_seed(0)
    model = timm_hrnet.HighResolutionNet(cfg).eval()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            for tensor in (module.weight, module.running_var):
                torch.nn.init.uniform_(tensor, 0.5, 1.5)
            for tensor in (module.bias, module.running_mean):
                torch.nn.init.uniform_(tensor, -0.5, 0.5)
    return model


def numpy_state(model, gradients=False):
    """Weights by name, or their gradients, which running statistics have none of."""
    if gradients:
        return {
            name: tensor.grad.numpy()
            for name, tensor in model.named_parameters()
            if tensor.grad is not None
        }
    return {name: tensor.detach().numpy() for name, tensor in model.state_dict().items()}


NARROW = 8, 1, {2: 1, 3: 1, 4: 1}
PAPERS = 64, 4, MODULES


def rows_last(tensor):
    """(B, C, H, W) of PyTorch as (B, H, W, C)."""
    return tensor.detach().numpy().transpose(0, 2, 3, 1)


def assert_same_shapes(variables, module, images):
    """Names and shapes of converted weights are those that our module asks for."""
    shapes = jax.eval_shape(
        lambda: module.init(jax.random.key(0), jnp.asarray(images), train=False)
    )
    assert jax.tree.map(np.shape, variables) == jax.tree.map(np.shape, dict(shapes))


@pytest.mark.parametrize("width, depth, modules, size", [(*NARROW, 64), (*PAPERS, 224)])
def test_features_agree_with_timm(timm_hrnet, rng, monkeypatch, width, depth, modules, size):
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(hrnet, "MODULES", modules)
    model = build(timm_hrnet, width, depth, modules)
    images = rng.normal(size=(3, size, size, 3)).astype(np.float32)
    with torch.no_grad():
        expected = rows_last(model.forward_features(torch.tensor(images.transpose(0, 3, 1, 2))))
    variables, module = (
        hrnet_variables(numpy_state(model)),
        HRNet(BackboneConfig(width=width, depth=depth)),
    )
    assert_same_shapes(variables, module, images)
    run = jax.jit(lambda variables, images: module.apply(variables, images, train=False))
    for count in (1, 3):
        compiled = run.lower(variables, images[:count]).compile(
            {"xla_backend_optimization_level": 0}
        )
        got = compiled(variables, images[:count])
        assert got.shape == (count, size // 32, size // 32, 2048)
        np.testing.assert_allclose(
            got, expected[:count], rtol=0, atol=1e-4 * np.abs(expected[:count]).max()
        )


@pytest.mark.parametrize(
    "width, depth, modules",
    [
        NARROW,
        pytest.param(
            *PAPERS,
            marks=[
                pytest.mark.slow,
                pytest.mark.skipif(
                    "HRNET_W64" not in os.environ, reason="minutes; HRNET_W64=1 runs it"
                ),
            ],
        ),
    ],
)
def test_gradients_agree_with_timm(timm_hrnet, rng, monkeypatch, width, depth, modules):
    """Of a random projection, for the image and every weight. In double precision: in single,
    PyTorch's own gradients are 2 % away from its double ones, since rounding takes some ReLUs over
    their corner.
    """
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(hrnet, "MODULES", modules)
    model = build(timm_hrnet, width, depth, modules).double()
    images, projection = rng.normal(size=(1, 64, 64, 3)), rng.normal(size=(1, 2, 2, 2048))
    pixels = torch.tensor(images.transpose(0, 3, 1, 2), requires_grad=True)
    (
        model.forward_features(pixels) * torch.tensor(projection.transpose(0, 3, 1, 2))
    ).sum().backward()

    with jax.enable_x64(True):
        module = HRNet(BackboneConfig(width=width, depth=depth), jnp.float64)
        variables = hrnet_variables(numpy_state(model))

        @jax.jit
        def gradients(params, statistics, images):
            features = lambda params, images: module.apply(
                {"params": params, **statistics}, images, train=False
            )
            return jax.grad(lambda *args: (features(*args) * projection).sum(), argnums=(0, 1))(
                params, images
            )

        params = variables.pop("params")
        of_params, of_images = jax.device_get(gradients(params, variables, images))
    close = lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=1e-3 * np.abs(b).max())
    close(of_images, rows_last(pixels.grad))
    jax.tree.map(close, of_params, hrnet_variables(numpy_state(model, gradients=True))["params"])


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_converted_weights_are_where_training_starts(timm_hrnet, tmp_path, capsys, suffix):
    torch, safetensors = pytest.importorskip("torch"), pytest.importorskip("safetensors.torch")
    model = build(timm_hrnet, width=4, depth=1)
    path, out = tmp_path / f"weights{suffix}", tmp_path / "hrnet.npz"
    (torch.save if suffix == ".pth" else safetensors.save_file)(model.state_dict(), path)
    convert_hrnet.main([str(path), "--out", str(out)])
    said, left_out = capsys.readouterr().out.strip().split("; left out: ")
    assert "HRNet-W4, 2048 features" in said and set(left_out.split(", ")) == {
        "classifier.weight",
        "classifier.bias",
    }

    expected = hrnet_variables(numpy_state(model))
    config = ModelConfig(backbone=BackboneConfig(width=4, depth=1, pretrained=str(out)))
    before = {
        kind: {"backbone": jax.tree.map(np.zeros_like, tree)} for kind, tree in expected.items()
    }
    after = load_backbone(before, config)
    jax.tree.map(
        np.testing.assert_array_equal,
        after,
        {kind: {"backbone": tree} for kind, tree in expected.items()},
    )

    path.write_bytes(path.read_bytes()[:-100])
    assert exit_code(convert_hrnet.main, [str(path), "--out", str(out)]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {path}") and error.count("\n") == 1


def test_norms_fold_into_the_convolutions(rng):
    norm, folded = (
        partial(nn.BatchNorm, use_running_average=True, dtype=jnp.float32),
        partial(IdentityNorm, dtype=jnp.float32),
    )
    branches = [
        jnp.asarray(rng.normal(size=(2, 8 // 2**b, 8 // 2**b, 4 * 2**b)), jnp.float32)
        for b in range(3)
    ]
    exchange = partial(Exchange, (4, 8, 16), 1)
    variables = init(exchange(norm), rng, branches)
    params = fold_norms(variables["params"], variables["batch_stats"])
    expected, got = (
        exchange(norm).apply(variables, branches),
        exchange(folded).apply({"params": params}, branches),
    )
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5 * np.abs(a).max()), expected, got
    )


def test_a_folded_network_wants_what_folding_gives(rng):
    config = BackboneConfig(width=4, depth=1, features=16)
    images = jnp.zeros((2, 64, 64, 3))
    variables = init(HRNet(config), rng, images, train=False)
    params = fold_norms(variables["params"], variables["batch_stats"])
    folded = HRNet(dataclasses.replace(config, folded=True))
    wanted = jax.eval_shape(lambda: folded.init(jax.random.key(0), images, train=False))
    assert jax.tree.map(jnp.shape, {"params": params}) == jax.tree.map(lambda x: x.shape, wanted)


@pytest.mark.parametrize("frozen_stages", [0, 4])
def test_frozen_stages_cost_no_backward_pass(frozen_stages):
    module = HRNet(
        BackboneConfig(
            width=8, depth=1, features=16, frozen_stages=frozen_stages, frozen_batch_norm=True
        )
    )
    images = jnp.zeros((1, 64, 64, 3))
    variables = jax.eval_shape(lambda: module.init(jax.random.key(0), images, train=False))
    loss = lambda params, statistics: module.apply(
        {"params": params, "batch_stats": statistics}, images, train=True
    ).sum()
    count = lambda f: str(jax.make_jaxpr(f)(variables["params"], variables["batch_stats"])).count(
        "conv_general_dilated["
    )
    forward, both = count(loss), count(jax.grad(loss))
    # A convolution that is trained costs two more going backward.
    assert both < 1.5 * forward if frozen_stages else both > 2.5 * forward
