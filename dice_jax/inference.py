"""From images to meshes: `load` a trained model, `infer` with it.

Both are exported as `dice_jax.load` and `dice_jax.infer`.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax import struct
from flax.errors import ScopeParamNotFoundError, ScopeParamShapeError
from jaxtyping import Bool, Float, UInt8

from dice_jax import models
from dice_jax.array_types import Array
from dice_jax.body_models import assets, lbs
from dice_jax.body_models.landmarks import MIRRORED_FACE_POINTS, MIRRORED_LANDMARKS
from dice_jax.checkpoints import coarse_vertices, npz_weights, rigid_vertices, weight_shapes
from dice_jax.checkpoints.shipped import weights_folder
from dice_jax.constants import CROP_SIZE
from dice_jax.errors import UserError
from dice_jax.input_pixels import checked_images
from dice_jax.kept_programs import KeptProgram
from dice_jax.structs import (
    Camera,
    Detections,
    HandParams,
    HeadParams,
    Intrinsics,
    NetworkOutput,
    Prediction,
)


class Model(struct.PyTreeNode):
    """Everything that `infer` needs, as one pytree.

    Attributes:
        variables: weights and batch statistics of the network.
        hand_model, head_model: body models.
        queries: template positions of the 843 tokens, meters.
        module: the network; static.
        rigid_vertices: head vertices whose deformation is forced to zero (the authors' neck mask);
            None: no vertex.
    """

    variables: Mapping[str, Any]
    hand_model: lbs.BodyModel
    head_model: lbs.BodyModel
    queries: Float[Array, "843 3"]
    module: nn.Module = struct.field(pytree_node=False)
    rigid_vertices: Bool[Array, "5023"] | None = None


def load(name_or_dir: str | Path = "default") -> Model:
    """Loads trained weights and the body models they were trained with.

    Args:
        name_or_dir: the name of weights shipped with the package ("default"), a folder that holds
            `weights.npz` and `config.json`, or the workdir of a training run.

    Returns:
        The model on the default device, with batch norm folded into convolutions where faster.

    Raises:
        FileNotFoundError: the weights do not exist; the message lists the shipped ones. Or the
            licensed body models that they need are missing.
        ValueError: a file is damaged, or a weight is missing, unknown or has another shape than the
            network expects; the message names the first such weight.
    """
    folder = weights_folder(name_or_dir)
    variables, config = npz_weights.load_weights(folder)
    if "model" not in config:
        raise ValueError(f"{folder}: the configuration has no section 'model' to build a network")
    names = config.get("body_models") or {}  # empty names: the open body models
    hand_model, head_model = coarse_vertices.apply_selection(
        folder, assets.load_hand(names.get("hand")), assets.load_head(names.get("head"))
    )
    network_config = models.ModelConfig.from_dict(config.model)
    module, queries = network_config.create(hand_model, head_model)
    expected = weight_shapes.load_shapes(folder, config.model)
    if expected is None:
        image = jax.ShapeDtypeStruct((1, CROP_SIZE, CROP_SIZE, 3), jnp.float32)
        init = functools.partial(module.init, train=False)
        expected = jax.eval_shape(init, jax.random.key(0), image, queries)
    npz_weights.check_weights(variables, expected, folder)
    module, variables = models.fold(module, variables)
    return Model(
        variables=jax.device_put(variables),
        hand_model=hand_model,
        head_model=head_model,
        queries=jnp.asarray(queries),
        module=module,
        rigid_vertices=jax.tree.map(jnp.asarray, rigid_vertices.load(folder)),
    )


def infer(
    model: Model,
    images: Any,
    detections: Detections | None = None,
    intrinsics: Intrinsics | None = None,
    *,
    hand: str = "right",
    gate_by_presence: bool = True,
) -> Prediction:
    """Recovers hand, head, deformations and contact from crops around a hand and a face.

    Pure and deterministic; `infer_checked` is the jitted program. An image with a NaN pixel gets
    NaN throughout its prediction; the other images of the batch are not affected.

    Args:
        model: from `load`.
        images: RGB crops (*B, 224, 224, 3), uint8 or float in [0, 1]; no leading dimension is fine.
            Other numbers are converted where their scale is certain, see `checked_images`.
        detections: landmarks found in the images, with the same leading dimensions. Where they hold
            no hand of confidence 0.5 or more, `hand_presence` says so, and with `gate_by_presence`
            nothing touches. Networks that were trained without detections do not see them.
        intrinsics: cameras of the crops, where they are known; for networks that see detections.
        hand: "right" or "left". For a left hand the network sees the mirrored crop, and its
            prediction is mirrored back, see `mirror`.
        gate_by_presence: set contacts and deformations to zero where the network predicts that
            hand and face do not touch; with the authors' weights the deformations only, and with a
            network that does not predict it nothing.

    Returns:
        Meshes in meters, head-centered, camera axes; keypoints and camera in pixels of the crop.

    Raises:
        ValueError: images of another shape, type or scale, an empty batch, or an unknown `hand`.
        UserError: the weights are those of another version of the network.
    """
    if hand not in ("right", "left"):
        raise ValueError(f'hand must be "right" or "left", got {hand!r}')
    return _kept_infer(
        model,
        checked_images(images),
        detections,
        intrinsics,
        hand=hand,
        gate_by_presence=gate_by_presence,
    )


@functools.partial(jax.jit, static_argnames=("hand", "gate_by_presence"))
def infer_checked(
    model: Model,
    images: UInt8[Array, "*B 224 224 3"] | Float[Array, "*B 224 224 3"],
    detections: Detections | None = None,
    intrinsics: Intrinsics | None = None,
    *,
    hand: str = "right",
    gate_by_presence: bool = True,
) -> Prediction:
    """The program behind `infer`, for images of a type and scale that are known to be right."""
    leading = images.shape[:-3]
    images = images.reshape(-1, *images.shape[-3:])

    flat = lambda tree: jax.tree.map(lambda x: x.reshape(-1, *x.shape[len(leading) :]), tree)
    detections, intrinsics = flat(detections), flat(intrinsics)
    inputs = images, detections, intrinsics
    seen = inputs if hand == "right" else mirror_inputs(*inputs)
    try:
        output = model.module.apply(
            model.variables, models.preprocess(seen[0]), model.queries, *seen[1:], train=False
        )
    except (ScopeParamShapeError, ScopeParamNotFoundError) as error:
        raise UserError(
            "the weights do not fit this version of the network; export or train them again: "
            + " ".join(str(error).split())[:200]
        ) from None
    prediction = models.decode(
        cast(NetworkOutput, output),
        model.hand_model,
        model.head_model,
        gate_by_presence=gate_by_presence,
        gate_contact=model.module.config.gate_contact,
    )
    if model.rigid_vertices is not None:
        prediction = _zero_deformations(prediction, model.rigid_vertices)
    if hand == "left":
        prediction = mirror(prediction)

    presence = prediction.hand_presence
    if detections is not None:
        presence = detections.hand_points[..., 3].max(-1)
    if presence is None:
        presence = jnp.ones(images.shape[0])
    elif gate_by_presence:
        prediction = _without_contact(prediction, presence < 0.5)
    prediction = prediction.replace(hand_presence=presence)

    # The gate compares with a threshold, and would turn NaN into a confident "no contact".
    finite = jnp.isfinite(images.astype(jnp.float32)).all(axis=(1, 2, 3))

    def restore(x):
        mask = finite.reshape(-1, *(1,) * (x.ndim - 1))
        return jnp.where(mask, x, jnp.nan).reshape(*leading, *x.shape[1:])

    return jax.tree.map(restore, prediction)


_kept_infer = KeptProgram(infer_checked, (Prediction, HandParams, HeadParams, Camera))


def mirror(prediction: Prediction) -> Prediction:
    """Mirrors a prediction at the vertical axis of its crop: the right hand becomes a left one.

    Vertices keep their order, so the mirrored mesh needs faces of reversed orientation. Landmarks
    swap sides, so that landmark 0 stays on the person's right. Body-model parameters are not
    changed, because the shape space of a head has no exact mirror image: they pose the mesh before
    mirroring, so negate x after posing.

    Args:
        prediction: for `images[..., ::-1, :]`.

    Returns:
        The prediction for `images`. Mirroring twice restores the input.
    """
    flip = lambda points: jnp.concatenate([-points[..., :1], points[..., 1:]], axis=-1)
    flip_pixels = lambda points: jnp.concatenate(
        [CROP_SIZE - points[..., :1], points[..., 1:]], axis=-1
    )
    return prediction.replace(
        hand_vertices=flip(prediction.hand_vertices),
        head_vertices=flip(prediction.head_vertices),
        deformations=flip(prediction.deformations),
        deformed_head_vertices=flip(prediction.deformed_head_vertices),
        hand_keypoints_3d=flip(prediction.hand_keypoints_3d),
        head_keypoints_3d=flip(prediction.head_keypoints_3d)[..., MIRRORED_LANDMARKS, :],
        hand_keypoints_2d=flip_pixels(prediction.hand_keypoints_2d),
        head_keypoints_2d=flip_pixels(prediction.head_keypoints_2d)[..., MIRRORED_LANDMARKS, :],
        camera=prediction.camera.replace(transl=flip_pixels(prediction.camera.transl)),
        head_keypoints_sigma=None
        if prediction.head_keypoints_sigma is None
        else prediction.head_keypoints_sigma[..., MIRRORED_LANDMARKS],
    )


def mirror_inputs(
    images: Array, detections: Detections | None, intrinsics: Intrinsics | None
) -> tuple[Array, Detections | None, Intrinsics | None]:
    """What the mirror image of the crops shows: the left hand is a right one there."""
    flip = lambda pixels: jnp.concatenate([CROP_SIZE - pixels[..., :1], pixels[..., 1:]], axis=-1)
    if detections is not None:
        world = detections.hand_world
        detections = Detections(
            hand_points=flip(detections.hand_points),
            hand_world=jnp.concatenate([-world[..., :1], world[..., 1:]], axis=-1),
            face_points=flip(detections.face_points)[..., MIRRORED_FACE_POINTS, :],
        )
    if intrinsics is not None:
        intrinsics = intrinsics.replace(camera_center=flip(intrinsics.camera_center))
    return jnp.flip(images, axis=-2), detections, intrinsics


def _without_contact(prediction: Prediction, absent: Bool[Array, "B"]) -> Prediction:
    """Clears contact and deformation where there is no hand."""
    clear = lambda x: jnp.where(absent.reshape(-1, *(1,) * (x.ndim - 1)), 0.0, x)
    return prediction.replace(
        deformations=clear(prediction.deformations),
        deformed_head_vertices=prediction.head_vertices - clear(prediction.deformations),
        hand_contact_probs=clear(prediction.hand_contact_probs),
        head_contact_probs=clear(prediction.head_contact_probs),
        contact_presence=clear(prediction.contact_presence),
    )


def _zero_deformations(prediction: Prediction, mask: Bool[Array, "5023"]) -> Prediction:
    deformations = jnp.where(mask[None, :, None], 0.0, prediction.deformations)
    return prediction.replace(
        deformations=deformations,
        deformed_head_vertices=prediction.head_vertices - deformations,
    )
