"""From photographs to meshes: `load` a trained model, `infer` with it.

Both are exported as `dice_jax.load` and `dice_jax.infer`.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax import struct
from jaxtyping import Bool, Float, UInt8

from dice_jax import models
from dice_jax.array_types import Array
from dice_jax.body_models import assets, lbs
from dice_jax.checkpoints import coarse_vertices, rigid_vertices
from dice_jax.structs import Prediction

IMAGE_SIZE = 224
WEIGHTS_DIR = Path(__file__).parent / "weights"
# Where each of the 68 iBUG landmarks goes when left and right trade places: jaw, brows, nose, eyes,
# lips.
_MIRRORED_LANDMARKS = np.array(
    [*range(16, -1, -1), *range(26, 16, -1), *range(27, 31), *range(35, 30, -1)]
    + [45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40]
    + [54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55, 64, 63, 62, 61, 60, 67, 66, 65]
)


class Model(struct.PyTreeNode):
    """Everything `infer` needs, as one pytree: weights, body models, template queries; the network
    is static.

    `still` are the head's vertices that give way to nothing, as the authors have it for the neck;
    None: there are none.
    """

    variables: Mapping[str, Any]
    hand_model: lbs.BodyModel
    head_model: lbs.BodyModel
    queries: Float[Array, "843 3"]
    module: nn.Module = struct.field(pytree_node=False)
    still: Bool[Array, "5023"] | None = None


def load(name_or_dir: str | Path = "default") -> Model:
    """Loads trained weights and the body models they were trained with.

    Args:
        name_or_dir: the name of weights shipped with the package ("default"), a folder holding
            `weights.npz` and `config.json`, or the workdir of a training run.

    Returns:
        The model, on the default device, its batch norm folded where that is faster.

    Raises:
        FileNotFoundError: no such weights, naming what there is; or they belong to licensed body
            models that are absent.
        ValueError: damaged or mis-shaped weights, naming the first parameter at fault.
    """
    from dice_jax.checkpoints import (
        npz_weights,
    )  # here: the optimizer libraries behind it are not needed to call `infer`

    folder = weights_folder(name_or_dir)
    variables, config = npz_weights.load_weights(folder)
    if "model" not in config:
        raise ValueError(
            f"{folder}: the configuration has no section 'model', from which the network is built"
        )
    bodies = config.get("body_models") or {}  # none named: the open ones
    hand_model, head_model = (
        assets.load_hand(bodies.get("hand")),
        assets.load_head(bodies.get("head")),
    )
    hand_model, head_model = coarse_vertices.apply_selection(folder, hand_model, head_model)
    module, queries = models.create_model(config.model, hand_model, head_model)
    images = jax.ShapeDtypeStruct((1, IMAGE_SIZE, IMAGE_SIZE, 3), jnp.float32)
    expected = jax.eval_shape(
        functools.partial(module.init, train=False), jax.random.key(0), images, queries
    )
    npz_weights.check_weights(variables, expected, folder)
    module, variables = models.fold(module, variables)
    still = jax.tree.map(jnp.asarray, rigid_vertices.load(folder))
    return Model(
        jax.device_put(variables), hand_model, head_model, jnp.asarray(queries), module, still
    )


@functools.partial(jax.jit, static_argnames=("hand", "gate_by_presence"))
def infer(
    model: Model,
    images: UInt8[Array, "*B 224 224 3"] | Float[Array, "*B 224 224 3"],
    *,
    hand: str = "right",
    gate_by_presence: bool = True,
) -> Prediction:
    """Recovers the hand, the head, the dent in the skin and the contact from crops around both.

    Pure, jitted and deterministic. An image that holds a NaN pixel gets a prediction of NaN
    throughout; the other images of its batch are not affected.

    Args:
        model: from `load`.
        images: RGB crops, uint8 or float in [0, 1], with any leading dimensions, none included.
        hand: "right", or "left" to look for a left hand: the network then sees the mirrored crop
            and the answer is mirrored back, see `mirror`.
        gate_by_presence: no vertex is in contact and no skin gives way where the network thinks
            that nothing touches.

    Returns:
        Meshes in meters, head-centerd, camera axes; keypoints and camera in pixels of the 224 crop.

    Raises:
        ValueError: images of another shape, or an unknown `hand`.
    """
    if images.shape[-3:] != (IMAGE_SIZE, IMAGE_SIZE, 3):
        raise ValueError(
            f"images must be (..., {IMAGE_SIZE}, {IMAGE_SIZE}, 3) RGB crops, got shape {images.shape}"
        )
    if hand not in ("right", "left"):
        raise ValueError(f'hand must be "right" or "left", got {hand!r}')
    leading = images.shape[:-3]
    images = images.reshape(-1, *images.shape[-3:])
    seen = images if hand == "right" else jnp.flip(images, axis=-2)

    output = model.module.apply(
        model.variables, models.preprocess(seen), model.queries, train=False
    )
    prediction = models.decode(
        output,
        model.hand_model,
        model.head_model,
        gate_by_presence=gate_by_presence,
        gate_contact=model.module.config.gate_contact,
    )
    if model.still is not None:
        deformations = jnp.where(model.still[:, None], 0.0, prediction.deformations)
        prediction = prediction.replace(
            deformations=deformations,
            deformed_head_vertices=prediction.head_vertices - deformations,
        )
    if hand == "left":
        prediction = mirror(prediction)

    # Comparisons inside the gate would turn NaN into a confident "no contact".
    valid = jnp.isfinite(images.astype(jnp.float32)).all(axis=(1, 2, 3))
    mask = lambda x: jnp.where(valid.reshape(-1, *(1,) * (x.ndim - 1)), x, jnp.nan).reshape(
        *leading, *x.shape[1:]
    )
    return jax.tree.map(mask, prediction)


def mirror(prediction: Prediction) -> Prediction:
    """Turns the answer for a mirrored crop into the answer for the crop itself: a right hand into a
    left one.

    Vertices keep their order, so a mirrored mesh needs its faces reversed; landmarks trade places,
    so that landmark 0 stays on the person's right. The body-model parameters stay those of the
    mirrored crop, because the shape space of a head has no exact mirror image: pose them, then
    negate x.

    Args:
        prediction: answer for `images[..., ::-1, :]`.

    Returns:
        Answer for `images`; mirroring twice gives the input back.
    """
    flip = lambda points: points * jnp.array([-1.0, 1.0, 1.0])
    flip_px = lambda points: points * jnp.array([-1.0, 1.0]) + jnp.array([float(IMAGE_SIZE), 0.0])
    return prediction.replace(
        hand_vertices=flip(prediction.hand_vertices),
        head_vertices=flip(prediction.head_vertices),
        deformations=flip(prediction.deformations),
        deformed_head_vertices=flip(prediction.deformed_head_vertices),
        hand_keypoints_3d=flip(prediction.hand_keypoints_3d),
        head_keypoints_3d=flip(prediction.head_keypoints_3d)[..., _MIRRORED_LANDMARKS, :],
        hand_keypoints_2d=flip_px(prediction.hand_keypoints_2d),
        head_keypoints_2d=flip_px(prediction.head_keypoints_2d)[..., _MIRRORED_LANDMARKS, :],
        camera=prediction.camera.replace(transl=flip_px(prediction.camera.transl)),
    )


def weights_folder(name_or_dir: str | Path) -> Path:
    """The folder that holds the weights: a given one, or one shipped under `name_or_dir`.

    Raises:
        FileNotFoundError: no such weights, naming what there is.
    """
    given = Path(name_or_dir)
    if given.is_dir():
        return given
    shipped = WEIGHTS_DIR / given
    if given.name == str(name_or_dir) and shipped.is_dir():
        return shipped
    names = (
        sorted(p.name for p in WEIGHTS_DIR.iterdir() if p.is_dir()) if WEIGHTS_DIR.is_dir() else []
    )
    raise FileNotFoundError(
        f"no weights called {str(name_or_dir)!r}: neither a folder nor shipped with dice_jax ({', '.join(names) or 'none'})"
    )
