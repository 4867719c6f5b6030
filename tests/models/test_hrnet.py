"""HRNet against timm's, with random weights."""

import copy
import importlib.abc
import importlib.machinery
import importlib.util
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dice_jax.models.config import BackboneConfig
from dice_jax.models.hrnet import HRNet
from dice_jax.models.pretrained import hrnet_variables


def anything(name):
  """A class that has whatever attribute it is asked for."""
  if name.startswith("__"):
    raise AttributeError(name)
  return type("Meta", (type,), {"__getattr__": lambda cls, attribute: anything(attribute)})(name, (), {})


class StubTorchvision(importlib.abc.MetaPathFinder, importlib.abc.Loader):
  """timm imports torchvision, of which there is no CPU wheel. Each of its modules is found, and holds anything."""

  def find_spec(self, name, path=None, target=None):
    return importlib.machinery.ModuleSpec(name, self, is_package=True) if name.split(".")[0] == "torchvision" else None

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


def build(hrnet, width, depth):
  """timm's HRNet of any width and depth, its batch norm statistics and weights random."""
  torch = pytest.importorskip("torch")
  cfg = copy.deepcopy(hrnet.cfg_cls["hrnet_w18"])
  cfg["stage1"]["num_blocks"] = (depth,)
  for stage in (2, 3, 4):
    cfg[f"stage{stage}"]["num_blocks"] = (depth,) * stage
    cfg[f"stage{stage}"]["num_channels"] = tuple(width * 2**b for b in range(stage))
  torch.manual_seed(0)
  model = hrnet.HighResolutionNet(cfg).eval()
  for module in model.modules():
    if isinstance(module, torch.nn.BatchNorm2d):
      for tensor in (module.weight, module.running_var):
        torch.nn.init.uniform_(tensor, 0.5, 1.5)
      for tensor in (module.bias, module.running_mean):
        torch.nn.init.uniform_(tensor, -0.5, 0.5)
  return model


def test_agrees_with_timm(timm_hrnet, rng):
  torch = pytest.importorskip("torch")
  model = build(timm_hrnet, width=18, depth=1)
  images = rng.normal(size=(1, 224, 224, 3)).astype(np.float32)
  with torch.no_grad():
    expected = model.forward_features(torch.tensor(images.transpose(0, 3, 1, 2))).numpy().transpose(0, 2, 3, 1)
  variables = hrnet_variables({name: tensor.numpy() for name, tensor in model.state_dict().items()})

  module = HRNet(BackboneConfig(width=18, depth=1))
  shapes = jax.eval_shape(lambda: module.init(jax.random.key(0), jnp.asarray(images), train=False))
  same = jax.tree.map(lambda ours, theirs: ours.shape == theirs.shape, dict(shapes), variables)  # names too
  assert all(jax.tree.leaves(same))
  features = jax.jit(lambda v, x: module.apply(v, x, train=False))(variables, images)
  assert features.shape == (1, 7, 7, 2048)
  np.testing.assert_allclose(features, expected, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("frozen_stages", [0, 4])
def test_frozen_stages_cost_no_backward_pass(frozen_stages):
  module = HRNet(BackboneConfig(width=8, depth=1, features=16, frozen_stages=frozen_stages, frozen_batch_norm=True))
  images = jnp.zeros((1, 64, 64, 3))
  variables = jax.eval_shape(lambda: module.init(jax.random.key(0), images, train=False))
  loss = lambda params, statistics: module.apply(
    {"params": params, "batch_stats": statistics}, images, train=True).sum()  # fmt: skip
  count = lambda f: str(jax.make_jaxpr(f)(variables["params"], variables["batch_stats"])).count("conv_general_dilated[")
  forward, both = count(loss), count(jax.grad(loss))
  # A convolution that is trained costs two more going backward.
  assert both < 1.5 * forward if frozen_stages else both > 2.5 * forward
