"""HRNet agrees with timm's on random weights, and with itself after folding."""

import copy
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
from support.fast_compile import run_fast
from support.random_variables import init

from dice_jax.checkpoints.pretrained_backbones import hrnet_variables, load_backbone
from dice_jax.models.backbones import hrnet
from dice_jax.models.backbones.fold_batch_norm import IdentityNorm, fold_norms
from dice_jax.models.backbones.hrnet import MODULES, Exchange, HRNet
from dice_jax.models.config import BackboneConfig, ModelConfig
from dice_jax.tools import convert_hrnet


def anything(name):
    """A class with every attribute."""
    if name.startswith("__"):
        raise AttributeError(name)
    return type("Meta", (type,), {"__getattr__": lambda cls, attribute: anything(attribute)})(
        name, (), {}
    )


class StubTorchvision(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Stands in for torchvision, which timm imports and of which there is no CPU wheel.

    Every module of it exists and has every attribute.
    """

    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] != "torchvision":
            return None
        return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def exec_module(self, module):
        module.__getattr__ = anything


@pytest.fixture(scope="module")
def timm_hrnet():
    """timm's module; the stub is removed after its import."""
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
    """timm's HRNet of any width and depth, with random weights and batch-norm statistics."""
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
    """Weights by name, or their gradients (running statistics have none)."""
    if gradients:
        named = model.named_parameters()
        return {name: x.grad.numpy() for name, x in named if x.grad is not None}
    return {name: tensor.detach().numpy() for name, tensor in model.state_dict().items()}


NARROW = 8, 1, {2: 1, 3: 1, 4: 1}
PAPERS = 64, 4, MODULES
MINUTES = [
    pytest.mark.slow,
    pytest.mark.skipif("HRNET_W64" not in os.environ, reason="minutes; HRNET_W64=1 runs it"),
]


def channels_last(tensor):
    """(B, C, H, W) of PyTorch as (B, H, W, C)."""
    return tensor.detach().numpy().transpose(0, 2, 3, 1)


def assert_same_shapes(variables, module, images):
    """Converted weights have the names and shapes of our module's."""
    images = jnp.asarray(images)
    shapes = jax.eval_shape(lambda: module.init(jax.random.key(0), images, train=False))
    assert jax.tree.map(np.shape, variables) == jax.tree.map(np.shape, dict(shapes))


@pytest.mark.parametrize(
    "width, depth, modules, size",
    [(*NARROW, 64), pytest.param(*PAPERS, 224, marks=pytest.mark.slow)],
)
def test_features_agree_with_timm(timm_hrnet, rng, monkeypatch, width, depth, modules, size):
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(hrnet, "MODULES", modules)
    model = build(timm_hrnet, width, depth, modules)
    images = rng.normal(size=(3, size, size, 3)).astype(np.float32)
    with torch.no_grad():
        expected = channels_last(model.forward_features(torch.tensor(images.transpose(0, 3, 1, 2))))
    variables = hrnet_variables(numpy_state(model))
    module = HRNet(BackboneConfig(width=width, depth=depth))
    assert_same_shapes(variables, module, images)
    run = lambda variables, images: module.apply(variables, images, train=False).features
    for count in (1, 3):
        batch, reference = images[:count], expected[:count]
        got = run_fast(run, variables, batch)
        assert got.shape == (count, size // 32, size // 32, 2048)
        tolerance = 1e-4 * np.abs(reference).max()
        np.testing.assert_allclose(got, reference, rtol=0, atol=tolerance)


@pytest.mark.parametrize("width, depth, modules", [NARROW, pytest.param(*PAPERS, marks=MINUTES)])
def test_gradients_agree_with_timm(timm_hrnet, rng, monkeypatch, width, depth, modules):
    """Gradients of a random projection of the features, for the image and every weight.

    They are computed in double precision: PyTorch's own gradients in single precision differ from
    those by 2 %, since rounding changes the sign of the input of some ReLUs.
    """
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(hrnet, "MODULES", modules)
    model = build(timm_hrnet, width, depth, modules).double()
    images, projection = rng.normal(size=(1, 64, 64, 3)), rng.normal(size=(1, 2, 2, 2048))
    pixels = torch.tensor(images.transpose(0, 3, 1, 2), requires_grad=True)
    weights = torch.tensor(projection.transpose(0, 3, 1, 2))
    (model.forward_features(pixels) * weights).sum().backward()

    with jax.enable_x64(True):
        module = HRNet(BackboneConfig(width=width, depth=depth), jnp.float64)
        variables = hrnet_variables(numpy_state(model))

        @jax.jit
        def gradients(params, statistics, images):
            def projected(params, images):
                output = module.apply({"params": params, **statistics}, images, train=False)
                return (output.features * projection).sum()

            return jax.grad(projected, argnums=(0, 1))(params, images)

        params = variables.pop("params")
        of_params, of_images = jax.device_get(gradients(params, variables, images))
    close = lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=1e-3 * np.abs(b).max())
    close(of_images, channels_last(pixels.grad))
    jax.tree.map(close, of_params, hrnet_variables(numpy_state(model, gradients=True))["params"])


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_training_starts_from_converted_weights(timm_hrnet, tmp_path, capsys, suffix):
    torch, safetensors = pytest.importorskip("torch"), pytest.importorskip("safetensors.torch")
    model = build(timm_hrnet, width=4, depth=1)
    path, out = tmp_path / f"weights{suffix}", tmp_path / "hrnet.npz"
    (torch.save if suffix == ".pth" else safetensors.save_file)(model.state_dict(), path)
    convert_hrnet.main([str(path), "--out", str(out)])
    message, left_out = capsys.readouterr().out.strip().split("; left out: ")
    assert "HRNet-W4, 2048 features" in message
    *names, counters = left_out.split(", ")
    assert set(names) == {"classifier.weight", "classifier.bias"}
    count = sum(name.endswith(".num_batches_tracked") for name in model.state_dict())
    assert counters == f"{count} counters of batch norms (*.num_batches_tracked)"

    expected = hrnet_variables(numpy_state(model))
    config = ModelConfig(backbone=BackboneConfig(width=4, depth=1, pretrained=str(out)))
    expected = {kind: {"backbone": tree} for kind, tree in expected.items()}
    loaded = load_backbone(jax.tree.map(np.zeros_like, expected), config)
    jax.tree.map(np.testing.assert_array_equal, loaded, expected)

    path.write_bytes(path.read_bytes()[:-100])
    assert exit_code(convert_hrnet.main, [str(path), "--out", str(out)]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {path}") and error.count("\n") == 1


def test_folding_changes_no_output(rng):
    norm = partial(nn.BatchNorm, use_running_average=True, dtype=jnp.float32)
    identity = partial(IdentityNorm, dtype=jnp.float32)
    shapes = [(2, 8 // 2**b, 8 // 2**b, 4 * 2**b) for b in range(3)]
    branches = [jnp.asarray(rng.normal(size=shape), jnp.float32) for shape in shapes]
    exchange = partial(Exchange, (4, 8, 16), 1)
    variables = init(exchange(norm), rng, branches)
    params = fold_norms(variables["params"], variables["batch_stats"])
    expected = exchange(norm).apply(variables, branches)
    got = exchange(identity).apply({"params": params}, branches)
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5 * np.abs(b).max())


def test_folded_weights_have_the_shapes_of_the_folded_module(rng):
    config = BackboneConfig(width=4, depth=1, features=16)
    images = jnp.zeros((2, 64, 64, 3))
    variables = init(HRNet(config), rng, images, train=False)
    params = fold_norms(variables["params"], variables["batch_stats"])
    folded = HRNet(config, fold_batch_norm=True)
    expected = jax.eval_shape(lambda: folded.init(jax.random.key(0), images, train=False))
    assert jax.tree.map(jnp.shape, {"params": params}) == jax.tree.map(lambda x: x.shape, expected)


@pytest.mark.parametrize("frozen_stages", [0, 4])
def test_frozen_stages_have_no_backward_pass(frozen_stages):
    sizes = dict(width=8, depth=1, features=16)
    module = HRNet(BackboneConfig(**sizes, frozen_stages=frozen_stages, frozen_batch_norm=True))
    images = jnp.zeros((1, 64, 64, 3))
    variables = jax.eval_shape(lambda: module.init(jax.random.key(0), images, train=False))

    def loss(params, statistics):
        variables = {"params": params, "batch_stats": statistics}
        return module.apply(variables, images, train=True).features.sum()

    def count_convolutions(function):
        jaxpr = jax.make_jaxpr(function)(variables["params"], variables["batch_stats"])
        return str(jaxpr).count("conv_general_dilated[")

    forward, both = count_convolutions(loss), count_convolutions(jax.grad(loss))
    # The backward pass of a trained convolution has two more.
    assert both < 1.5 * forward if frozen_stages else both > 2.5 * forward
