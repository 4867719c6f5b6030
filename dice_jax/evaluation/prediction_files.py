"""Results of other programs as predictions: one file, or one pair of files, for each sample.

The name of a sample is S1_108_00042 in Decaf (subject, camera, frame), and elsewhere its number in
the split: 000000, 000001, ... A folder holds for the sample NAME either NAME.npz with

  hand_vertices        (778, 3), in MANO's order
  head_vertices        (5023, 3), in FLAME's order, as the camera sees it: deformed
  undeformed_head_vertices   (5023, 3); optional
  hand_contact_probs   (778,); optional, together with head_contact_probs (5023,)

or the pair NAME_hand.obj and NAME_head.obj, of which only the vertices are read. Lengths are
meters, axes those of the camera (x right, y down, z away from it), the origin is any.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from dice_jax.array_types import Array
from dice_jax.body_models.flame import head_landmarks
from dice_jax.body_models.lbs import BodyModel
from dice_jax.body_models.mano import hand_keypoints
from dice_jax.constants import NUM_HAND_VERTICES, NUM_HEAD_VERTICES
from dice_jax.errors import UserError
from dice_jax.evaluation.measure import Predictor
from dice_jax.structs import Batch, Camera, HandParams, HeadParams, Prediction
from dice_jax.untrusted_files import npz

_MESHES = {"hand_vertices": NUM_HAND_VERTICES, "head_vertices": NUM_HEAD_VERTICES}
_CONTACTS = {"hand_contact_probs": NUM_HAND_VERTICES, "head_contact_probs": NUM_HEAD_VERTICES}
_LARGEST = 2.0  # meters between the centers of hand and head; more is another unit


class Answer(NamedTuple):
    """What a file says about one sample, meters; None: it does not say."""

    hand_vertices: Float[np.ndarray, "778 3"]
    head_vertices: Float[np.ndarray, "5023 3"]
    undeformed_head_vertices: Float[np.ndarray, "5023 3"] | None = None
    hand_contact_probs: Float[np.ndarray, "778"] | None = None
    head_contact_probs: Float[np.ndarray, "5023"] | None = None


def read(folder: Path, name: str) -> Answer:
    """The answer for one sample.

    Raises:
        UserError: there is no file for the sample, or it does not hold what it should.
    """
    path = folder / f"{name}.npz"
    if path.is_file():
        arrays = npz.read_npz(
            path,
            {part: npz.Array(npz.FLOATS, (count, 3)) for part, count in _MESHES.items()},
            others=npz.Array(npz.NUMBERS),
            what="a prediction (.npz)",
        )
        optional = {
            key: _optional(arrays, key, shape, path)
            for key, shape in {
                "undeformed_head_vertices": (NUM_HEAD_VERTICES, 3),
                **{key: (count,) for key, count in _CONTACTS.items()},
            }.items()
        }
        answer = Answer(arrays["hand_vertices"], arrays["head_vertices"], **optional)
    else:
        pair = folder / f"{name}_hand.obj", folder / f"{name}_head.obj"
        if not all(one.is_file() for one in pair):
            raise UserError(
                f"{folder} has no prediction for sample {name}: it needs {name}.npz, or "
                f"{pair[0].name} and {pair[1].name}"
            )
        answer = Answer(*(_read_obj(one, count) for one, count in zip(pair, _MESHES.values())))
    distance = np.linalg.norm(answer.hand_vertices.mean(0) - answer.head_vertices.mean(0))
    size = np.ptp(answer.head_vertices, axis=0).max()
    if distance > _LARGEST or not 0.05 < size < _LARGEST:
        raise UserError(
            f"{folder}/{name}: hand and head are {distance:.3g} apart and the head is {size:.3g} "
            "large; lengths must be meters"
        )
    return answer


def _optional(arrays, key, shape, path) -> np.ndarray | None:
    if key not in arrays:
        return None
    if arrays[key].shape != shape:
        raise UserError(f"{path}: {key} has shape {arrays[key].shape}, not {shape}")
    return arrays[key]


def _read_obj(path: Path, count: int) -> Float[np.ndarray, "N 3"]:
    """The vertices of an OBJ file."""
    try:
        lines = (line.split() for line in path.read_text().splitlines())
        rows = [[float(x) for x in words[1:4]] for words in lines if words[:1] == ["v"]]
        vertices = np.asarray(rows, np.float32)
    except ValueError as error:
        raise UserError(f"{path} is not a mesh (.obj): {error}") from None
    if vertices.shape != (count, 3) or not np.isfinite(vertices).all():
        raise UserError(f"{path} has {len(rows)} vertices, not {count} finite ones")
    return vertices


def predictor(
    folder: Path,
    name_of: Callable[[int], str],
    count: int,
    hand_model: BodyModel,
    head_model: BodyModel,
) -> Predictor:
    """Predictions from files, for `measure.measure_split`, which asks in the order of the samples.

    Args:
        folder: of the files.
        name_of: the name of a sample, by its index.
        count: number of samples; repeats that fill up the last batch get the last answer.
        hand_model, head_model: they give the keypoints of the meshes.

    Raises:
        UserError: `folder` does not exist.
    """
    if not folder.is_dir():
        raise UserError(f"no folder of predictions at {folder}")
    models, numbers = (hand_model, head_model), itertools.count()

    def predict(batch: Batch) -> Prediction:
        indices = [min(next(numbers), count - 1) for _ in batch.images]
        answers = [read(folder, name_of(index)) for index in indices]
        stacked = jax.tree.map(lambda *x: jnp.stack(x), *map(_full, answers))
        return _as_prediction(stacked, models)

    return predict


def has_contacts(folder: Path, name: str) -> bool:
    """Whether the predictions of a folder tell contacts, by the sample `name`."""
    return read(folder, name).hand_contact_probs is not None


def told_only(summary: Mapping[str, Any], contacts: bool) -> dict[str, Any]:
    """A summary without the metrics that such files cannot tell: errors in the image, presence.

    Args:
        summary: of the metrics.
        contacts: whether the files tell contacts.
    """
    untold = ("keypoints_2d", "presence", "hand_presence") + (() if contacts else ("contact",))
    kept = {name: value for name, value in summary.items() if not name.startswith(untold)}
    if "intervals" in kept:
        kept["intervals"] = told_only(kept["intervals"], contacts)
    return kept


class _Full(NamedTuple):
    """An answer with everything that it does not say: no deformation, no contact."""

    hand_vertices: Float[Array, "*B 778 3"]
    head_vertices: Float[Array, "*B 5023 3"]
    undeformed_head_vertices: Float[Array, "*B 5023 3"]
    hand_contact_probs: Float[Array, "*B 778"]
    head_contact_probs: Float[Array, "*B 5023"]


def _full(answer: Answer) -> _Full:
    head, contacts = answer.undeformed_head_vertices, answer.hand_contact_probs
    if contacts is None or answer.head_contact_probs is None:
        probs = np.zeros(NUM_HAND_VERTICES), np.zeros(NUM_HEAD_VERTICES)
    else:
        probs = contacts, answer.head_contact_probs
    undeformed = answer.head_vertices if head is None else head
    values = answer.hand_vertices, answer.head_vertices, undeformed, *probs
    return _Full(*(np.asarray(x, np.float32) for x in values))


@jax.jit
def _as_prediction(answers: _Full, models: tuple[BodyModel, BodyModel]) -> Prediction:
    """Head-centered meshes with their keypoints; parameters, camera and 2D keypoints are zero."""
    undeformed = answers.undeformed_head_vertices
    center = undeformed.mean(1, keepdims=True)
    hand, head = answers.hand_vertices - center, undeformed - center
    size = len(hand)
    zeros = lambda *shape: jnp.zeros((size, *shape))
    hand_contact, head_contact = answers.hand_contact_probs, answers.head_contact_probs
    return Prediction(
        hand_vertices=hand,
        head_vertices=head,
        deformations=undeformed - answers.head_vertices,
        deformed_head_vertices=answers.head_vertices - center,
        hand_keypoints_3d=hand_keypoints(models[0], hand),
        head_keypoints_3d=head_landmarks(models[1], head),
        hand_keypoints_2d=zeros(21, 2),
        head_keypoints_2d=zeros(68, 2),
        hand_contact_probs=hand_contact,
        head_contact_probs=head_contact,
        contact_presence=jnp.maximum(hand_contact.max(1), head_contact.max(1)),
        hand_params=HandParams(zeros(10), zeros(3), zeros(45), zeros(3)),
        head_params=HeadParams(zeros(100), zeros(50), zeros(3), zeros(3), zeros(3), zeros(3)),
        camera=Camera(zeros(), zeros(2)),
    )
