"""Results of other programs as predictions: one file, or one pair of files, for each sample.

A folder holds for the sample named NAME either NAME.npz with

  hand_vertices        (778, 3), in MANO's order
  head_vertices        (5023, 3), in FLAME's order, as the camera sees it: deformed
  undeformed_head_vertices   (5023, 3); optional
  hand_contact_probs   (778,); optional, together with head_contact_probs (5023,)

or the pair NAME_hand.obj and NAME_head.obj, of which only the vertices are read. Lengths are
meters, axes those of the camera (x right, y down, z away from it), the origin is any.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

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
    folder: Path, names: Sequence[str], hand_model: BodyModel, head_model: BodyModel
) -> Predictor:
    """Predictions from files, for `measure.measure_split`, which asks in the order of the samples.

    Args:
        folder: of the files.
        names: of all samples, in order.
        hand_model, head_model: they give the keypoints of the meshes.

    Raises:
        UserError: `folder` does not exist.
    """
    if not folder.is_dir():
        raise UserError(f"no folder of predictions at {folder}")
    remaining = iter(names)

    def predict(batch: Batch) -> Prediction:
        size = len(batch.images)
        answers = [read(folder, name) for name in _take(remaining, size)]
        answers += answers[-1:] * (size - len(answers))  # the last batch is filled up
        return _as_prediction(jax.tree.map(lambda *x: jnp.stack(x), *map(_full, answers)), models)

    models = hand_model, head_model
    return predict


def has_contacts(folder: Path, name: str) -> bool:
    """Whether the predictions of a folder tell contacts, by the sample `name`."""
    return read(folder, name).hand_contact_probs is not None


def _take(names: Iterator[str], count: int) -> list[str]:
    return [name for _, name in zip(range(count), names)]


def _full(answer: Answer) -> Answer:
    """The answer with everything that it does not say: no deformation, no contact."""
    head = answer.undeformed_head_vertices
    contacts = {
        key: np.zeros(count, np.float32) if getattr(answer, key) is None else getattr(answer, key)
        for key, count in _CONTACTS.items()
    }
    answer = answer._replace(
        undeformed_head_vertices=answer.head_vertices if head is None else head, **contacts
    )
    return Answer(*(np.asarray(x, np.float32) for x in answer))


@jax.jit
def _as_prediction(answers: Answer, models: tuple[BodyModel, BodyModel]) -> Prediction:
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


def sample_names(labels) -> list[str]:
    """The names under which predictions of samples are looked for: "000000", "000001", ..."""
    return [f"{number:06d}" for number in range(len(labels.subject))]
