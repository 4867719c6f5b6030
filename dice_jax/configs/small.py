"""DICE on the open scenes, small network: the recipe of the next weights; the shipped ones have
theirs beside them.

  python -m dice_jax.train --config=configs/small.py --workdir=runs/small

EfficientNet-Lite0 backbone from ImageNet, 6000 pictures of 2000 scenes, built first where they are
absent. Meant for a CPU: XLA_FLAGS=--xla_force_host_platform_device_count=2 makes two cores two
devices, 1.4 s a step before touch, collision and depth join at step 1000. With a GPU, raise
--config.total_steps and --config.data.sizes.train. To go on from the shipped weights:
--config.init_from=default. What 300 steps give: configs/README.md; what the shipped weights give:
their card.
"""

from ml_collections import ConfigDict

from dice_jax.configs import default


def get_config() -> ConfigDict:
    config = default.get_config()
    config.total_steps = 6000
    config.data.sizes.train = 6000
    config.data.augmentation.rotation = 0.2
    # One vertex in a hundred touches. Unweighted, a network that is not sure never says so above
    # one half.
    config.losses.contact = 6.0
    config.losses.contact_positive_weight = 6.0
    config.losses.presence = 0.2
    config.losses.heatmaps = 0.1
    config.losses.deviation = 5000.0  # the paper's, whose sum over 5023 vertices is a mean here
    config.optimizer.learning_rate = 8e-4
    config.optimizer.backbone_learning_rate_scale = 0.5
    config.optimizer.warmup_steps = 200
    return config
