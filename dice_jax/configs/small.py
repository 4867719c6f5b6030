"""The small network on the open scenes, for a CPU.

Command; the second line goes on from the shipped weights:

  python -m dice_jax.train --config=small --workdir=runs/small
  python -m dice_jax.train --config=small --workdir=runs/small --config.init_from=default

EfficientNet-Lite0 starts from ImageNet weights. 6000 images of 2000 scenes are built first where
they are missing.

Hardware and time: two CPU cores, with XLA_FLAGS=--xla_force_host_platform_device_count=2 as two
devices; 1.4 s a step until the touch, collision and depth losses are added at step 1000. With a
GPU, raise --config.total_steps and --config.data.sizes.train.

Numbers: of 300 steps in configs/README.md, of the shipped weights in their README. The shipped
weights have the configuration that is beside them, which is not exactly this one.
"""

from ml_collections import ConfigDict

from dice_jax.configs import default


def get_config() -> ConfigDict:
    """The configuration of the small network."""
    config = default.get_config()
    config.total_steps = 6000
    config.slow_losses_every = 5
    config.data.sizes.train = 6000
    config.data.augmentation.rotation = 0.2
    # One vertex in a hundred is in contact. Without re-weighting, uncertain vertices are always
    # predicted below 0.5.
    config.losses.contact = 6.0
    config.losses.contact_positive_weight = 6.0
    config.losses.presence = 0.2
    config.losses.heatmaps = 0.1
    config.losses.hand_depth = 0.04
    config.losses.hand_presence = 0.2
    config.losses.deviation = 5000.0  # the paper's sum over 5023 vertices is a mean here
    config.optimizer.learning_rate = 8e-4
    config.optimizer.backbone_learning_rate_scale = 0.5
    config.optimizer.warmup_steps = 200
    return config
