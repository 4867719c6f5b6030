"""The networks: backbones, MeshNet, InteractionNet, IKNets, discriminators, and what joins them to the body models."""

from dice_jax.models.config import ModelConfig
from dice_jax.models.decode import decode, pose_pair, pose_targets
from dice_jax.models.dice import DICE, create_model, template_queries
from dice_jax.models.discriminators import HandDiscriminator, HeadDiscriminator
from dice_jax.models.downsampling import apply_selection
from dice_jax.models.folding import fold
from dice_jax.models.preprocess import preprocess
from dice_jax.models.pretrained import load_backbone
from dice_jax.models.still_vertices import load as load_still_vertices

__all__ = [
  "DICE",
  "HandDiscriminator",
  "HeadDiscriminator",
  "ModelConfig",
  "apply_selection",
  "create_model",
  "decode",
  "fold",
  "load_backbone",
  "load_still_vertices",
  "pose_pair",
  "pose_targets",
  "preprocess",
  "template_queries",
]
