"""Every field of a training configuration and what it means.

Not a recipe: small.py, tiny.py and full.py start from here.
"""

import dataclasses

from ml_collections import ConfigDict

from dice_jax.losses import presets as losses
from dice_jax.models import presets as models


def get_config() -> ConfigDict:
    """The fields that all recipes share."""
    config = ConfigDict()
    config.seed = 0  # of the weights, the order of the data, augmentation, masks and dropout
    config.total_steps = 20_000
    config.batch_size = 16  # over all devices
    config.accumulate_steps = (
        1  # parts that a device takes its share in: less memory, the same update but for batch norm
    )
    config.burn_in_steps = 1000  # before touch, collision and depth count
    config.init_from = (
        ""  # trained weights to start from: "default", an exported folder or a workdir; "": none
    )
    config.ema_decay = (
        0.999  # moving average of the weights, which validation and export use; 0: none
    )

    config.log_every = 50  # steps between lines of metrics.jsonl
    config.validate_every = 1000  # steps between lines of validation.jsonl
    config.checkpoint_every = 500
    config.sheet_every = 1000  # steps between picture sheets of validation samples; 0: none
    config.sheet_samples = 4
    config.keep_checkpoints = 2  # the newest so many, and the best

    config.data = ConfigDict()
    config.data.name = "hand_face_synth"
    config.data.dir = ""  # "": $DICE_DATA, or ~/.cache/dice_jax
    config.data.sizes = ConfigDict(
        {"train": 12_000, "validation": 256}
    )  # pictures; built where they are absent
    config.data.threads = 4  # that decode images
    # what the discriminators call real: a file of dice_jax.tools.prepare_priors; "": the batch's
    # labels
    config.data.priors = ""
    config.data.prior_shares = ""  # of its sources, as in "decaf:6+freihand:4"; "": all alike
    config.data.augmentation = ConfigDict()  # see data.augment.Ranges
    config.data.augmentation.rotation = 0.35  # radians
    config.data.augmentation.scale = 0.12
    config.data.augmentation.shift = 12.0  # pixels
    config.data.augmentation.color = 0.25
    config.data.augmentation.blur = 0.2
    config.data.augmentation.noise = 8.0  # gray levels

    config.model = models.small()
    # Model files, or names of body_models.asset_folder such as "mano_right" and "flame"; "": the
    # open ones.
    config.body_models = ConfigDict({"hand": "", "head": ""})

    config.losses = ConfigDict(dataclasses.asdict(losses.FIXED))  # see losses.presets.LossWeights

    config.optimizer = ConfigDict()
    config.optimizer.learning_rate = 3e-4
    config.optimizer.discriminator_learning_rate = 1e-4
    config.optimizer.backbone_learning_rate_scale = (
        1.0  # the pretrained backbone learns at this share of the rate
    )
    config.optimizer.schedule = (
        "cosine"  # after the warm-up: "constant", "step" (a tenth from half-way on) or "cosine"
    )
    config.optimizer.warmup_steps = 500
    config.optimizer.b1 = 0.9
    config.optimizer.b2 = 0.999
    config.optimizer.weight_decay = 1e-4  # matrices only
    config.optimizer.clip_by_value = 0.0  # each gradient; 0: off
    config.optimizer.clip_by_global_norm = 10.0  # all gradients together; 0: off
    return config
