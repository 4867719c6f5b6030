"""Parametric hand and head: skinning, keypoints, coarse meshes, and model files."""

from dice_jax.body_models.assets import build_model, load_hand, load_head, save_model
from dice_jax.body_models.flame import head_center, head_landmarks, pose_head
from dice_jax.body_models.hand_pose import absolute_pose, pca_pose
from dice_jax.body_models.hierarchy import (
    Hierarchy,
    build_hierarchy,
    downsample,
    downsample_labels,
    upsample,
    upsampling_matrix,
)
from dice_jax.body_models.lbs import BodyModel, lbs
from dice_jax.body_models.mano import hand_keypoints, pose_hand

__all__ = [
    "BodyModel",
    "Hierarchy",
    "absolute_pose",
    "build_hierarchy",
    "build_model",
    "downsample",
    "downsample_labels",
    "hand_keypoints",
    "head_center",
    "head_landmarks",
    "lbs",
    "load_hand",
    "load_head",
    "pca_pose",
    "pose_hand",
    "pose_head",
    "save_model",
    "upsample",
    "upsampling_matrix",
]
