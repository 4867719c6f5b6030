"""The networks: backbones, MeshNet, InteractionNet, IKNets, discriminators, and what joins them to
the body models.
"""

from dice_jax.models.backbones.fold_batch_norm import fold
from dice_jax.models.config import ModelConfig
from dice_jax.models.decode import decode, pose_pair, pose_targets
from dice_jax.models.dice import DICE, create_model, template_queries
from dice_jax.models.discriminators import HandDiscriminator, HeadDiscriminator
from dice_jax.models.preprocess import preprocess

__all__ = [
    "DICE",
    "HandDiscriminator",
    "HeadDiscriminator",
    "ModelConfig",
    "create_model",
    "decode",
    "fold",
    "pose_pair",
    "pose_targets",
    "preprocess",
    "template_queries",
]
