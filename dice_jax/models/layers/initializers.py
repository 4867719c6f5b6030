"""Initial weights that the networks share."""

from __future__ import annotations

from flax import linen as nn

# PyTorch's default for linear layers, uniform within 1 / sqrt(fan in). The authors trained with it.
torch_linear = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")
# He et al. 2015, for convolutions followed by a ReLU.
he_normal = nn.initializers.variance_scaling(2.0, "fan_out", "normal")
# BERT's, for the layers of the transformers.
bert_normal = nn.initializers.normal(0.02)
# For output layers whose zeros stand for a sensible prediction.
near_zero = nn.initializers.normal(1e-3)
