"""Every field of a training configuration, with its meaning.

Not to be trained with itself: small.py, tiny.py and full.py start from these values.
"""

import dataclasses

from ml_collections import ConfigDict

from dice_jax.losses import presets as losses
from dice_jax.models import presets as models


def get_config() -> ConfigDict:
    """The values that all configurations start from."""
    config = ConfigDict()
    # Seed of the initial weights, the order of the data, augmentation, masks and dropout.
    config.seed = 0
    # Length of the run in updates; 0: `epochs` epochs of the training split.
    config.total_steps = 20_000
    config.epochs = 0.0
    config.batch_size = 16
    # What `batch_size` is of: the "run", over all devices, or each "device". (The paper's 16 may be
    # either; the authors' code has 16 on each GPU.)
    config.batch_size_per = "run"
    # Number of micro-batches per update; gradients are accumulated over them. More of them take
    # less memory; the update is the same, except for batch norm that is not frozen.
    config.accumulate_steps = 1
    # Updates without the touch, collision and depth losses; -1: `burn_in_share` of the run.
    config.burn_in_steps = 1000
    config.burn_in_share = 0.05
    # These three are computed at every n-th update only, with n times their weight.
    config.slow_losses_every = 1
    # Weights to start from: "default", a folder of exported weights, or a workdir; "": random.
    config.init_from = ""
    # Decay of the moving average of the weights that validation and export use; 0: no average.
    config.ema_decay = 0.999

    # Intervals in steps.
    config.log_every = 50  # a line of metrics.jsonl
    # A line of validation.jsonl; 0: never; -1: at every `validate_share` of the run.
    config.validate_every = 1000
    config.validate_share = 0.025
    config.checkpoint_every = 500
    config.sheet_every = 1000  # a sheet of rendered validation samples; 0: never
    config.sheet_samples = 4
    config.keep_checkpoints = 2  # that many of the newest, and the best

    config.data = ConfigDict()
    config.data.name = "hand_face_synth"  # or data sets by share: "decaf:11+in_the_wild:1"
    config.data.dir = ""  # "": $DICE_DATA, or ~/.cache/dice_jax
    # Number of samples of each split; 0: all. hand_face_synth is built where it is missing.
    config.data.sizes = ConfigDict({"train": 12_000, "validation": 256})
    config.data.threads = 4  # that decode images
    # Real parameters for the discriminators: a file of dice_jax.tools.prepare_priors; "": the
    # labels of the batch.
    config.data.priors = ""
    config.data.prior_shares = ""  # of its sources, as in "decaf:6+freihand:4"; "": equal
    config.data.augmentation = ConfigDict()  # see input_pipeline.augment
    config.data.augmentation.rotation = 0.35  # radians
    config.data.augmentation.scale = 0.12
    config.data.augmentation.shift = 12.0  # pixels
    config.data.augmentation.color = 0.25
    config.data.augmentation.blur = 0.2
    config.data.augmentation.noise = 8.0  # gray levels

    config.model = models.small()  # see models.config.ModelConfig
    # Model files, or names of body_models.asset_folder such as "mano_right" and "flame", or an
    # older open hand (`assets.OPEN_HANDS`); "": the open body models.
    config.body_models = ConfigDict({"hand": "", "head": ""})

    # Landmarks that networks with `model.evidence_hidden` are told: see `training.evidence`.
    config.evidence = ConfigDict()
    config.evidence.detected = 0.5  # the detectors'; the others are the true ones with errors
    config.evidence.no_hand = 0.3  # withheld
    config.evidence.no_face = 0.1
    config.evidence.wrong_hand = 0.03  # hands that are elsewhere
    config.evidence.known_camera = 0.5
    config.evidence.unseen = 0.05  # points of a hand
    config.evidence.points = 0.03  # errors of a hand, relative to its size
    config.evidence.whole = 0.03
    config.evidence.scale = 0.05
    config.evidence.turn = 0.1  # radians
    config.evidence.tips = 0.4  # of the last bone
    config.evidence.face = 0.015  # relative to the size of the face

    # Views of the scenes for networks with `model.blind`: see `training.lifting`.
    config.views = ConfigDict()
    config.views.yaw = 0.6  # radians
    config.views.pitch = 0.35
    config.views.roll = 0.4
    config.views.distance = 0.6  # log of a factor
    config.views.scale = 0.25
    config.views.shift = 20.0  # pixels

    config.losses = ConfigDict(dataclasses.asdict(losses.FIXED))  # see losses.presets.LossWeights

    config.optimizer = ConfigDict()
    config.optimizer.learning_rate = 3e-4
    config.optimizer.discriminator_learning_rate = 1e-4
    config.optimizer.backbone_learning_rate_scale = 1.0  # factor for the pretrained backbone
    # After the warm-up: "constant", "cosine", or "step" (a tenth from half of the steps on).
    config.optimizer.schedule = "cosine"
    config.optimizer.warmup_steps = 500
    config.optimizer.b1 = 0.9
    config.optimizer.b2 = 0.999
    config.optimizer.weight_decay = 1e-4  # of matrices only
    config.optimizer.clip_by_value = 0.0  # of each gradient; 0: off
    config.optimizer.clip_by_global_norm = 10.0  # of all gradients together; 0: off
    return config
