"""Initial weights shared by the networks."""

from __future__ import annotations

from flax import linen as nn

# PyTorch's default for linear layers, uniform within 1 / sqrt(fan in), with which the reference was
# trained.
torch_linear = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")
# He et al. 2015, for convolutions followed by a rectifier.
he_normal = nn.initializers.variance_scaling(2.0, "fan_out", "normal")
