"""Builds the augmentation of a training run from its configuration and its body models."""

from __future__ import annotations

from typing import Any

import numpy as np
from ml_collections import ConfigDict

from dice_jax.body_models.lbs import BodyModel
from dice_jax.body_models.mirror_vertices import mirror_coefficients, mirror_vertices
from dice_jax.input_pipeline import augment, mirror_sample, photometric
from dice_jax.input_pipeline.loader import Transform


def augmentation(config: ConfigDict, hand_model: BodyModel, head_model: BodyModel) -> Transform:
    """Returns the random change of a sample that `config` describes.

    Args:
        config: `config.data.augmentation`: the fields of `augment.Ranges` and, optionally,
            `background_folder`, a folder of images.
        hand_model, head_model: the body models that the labels belong to.

    Raises:
        UserError: the folder of backgrounds contains no images.
    """
    fields: dict[str, Any] = config.to_dict()
    folder = fields.pop("background_folder", "")
    ranges = augment.Ranges(**fields)
    hand_root, head_root = root_joint(hand_model), root_joint(head_model)
    head_mirror = mirror_of(head_model) if ranges.flip else None
    backgrounds = photometric.Backgrounds(folder) if folder and ranges.background else None
    return lambda sample, rng: augment.augment(
        sample, rng, ranges, hand_root, head_root, head_mirror, backgrounds
    )


def root_joint(model: BodyModel) -> augment.RootJoint:
    """Returns the rest position of the root joint of `model` as a function of its coefficients."""
    regressor = np.asarray(model.J_regressor, np.float64)[0]
    template = regressor @ np.asarray(model.v_template, np.float64)
    shapedirs = np.einsum("v,vcs->cs", regressor, np.asarray(model.shapedirs, np.float64))
    return augment.RootJoint(template, shapedirs)


def mirror_of(head_model: BodyModel) -> mirror_sample.HeadMirror:
    """Returns the map from heads of `head_model` to their mirror images."""
    count, betas = head_model.shapedirs.shape[-1], head_model.num_betas
    return mirror_sample.HeadMirror(
        mirror_vertices(head_model),
        mirror_coefficients(head_model, 0, betas),
        mirror_coefficients(head_model, betas, count),
        root_joint(head_model),
    )
