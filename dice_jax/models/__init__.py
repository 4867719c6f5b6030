"""The networks: DICE, the baselines, the discriminators, and the decoding of their output."""

from dice_jax.models.backbones.fold_batch_norm import fold
from dice_jax.models.config import ModelConfig, create_model
from dice_jax.models.decode import decode, pose_pair, pose_targets
from dice_jax.models.dice import DICE
from dice_jax.models.discriminators import HandDiscriminator, HeadDiscriminator
from dice_jax.models.network import Network
from dice_jax.models.preprocess import preprocess
from dice_jax.models.template import template_queries

__all__ = [
    "DICE",
    "HandDiscriminator",
    "HeadDiscriminator",
    "ModelConfig",
    "Network",
    "create_model",
    "decode",
    "fold",
    "pose_pair",
    "pose_targets",
    "preprocess",
    "template_queries",
]
