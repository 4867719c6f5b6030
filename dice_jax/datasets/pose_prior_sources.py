"""Readers of the data sets whose poses are the real samples of the discriminators."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from dice_jax import user_folders
from dice_jax.array_types import Array
from dice_jax.body_models.hand_pose import absolute_pose
from dice_jax.body_models.lbs import BodyModel
from dice_jax.body_models.mano import pose_hand
from dice_jax.constants import NUM_HAND_KEYPOINTS
from dice_jax.errors import UserError
from dice_jax.input_pipeline import pose_priors
from dice_jax.input_pipeline.loader import Source
from dice_jax.input_pipeline.mixture import evenly_spaced
from dice_jax.structs import HandParams
from dice_jax.untrusted_files import pickles

_TESTED_HANDS = 128
_MAX_ERROR = 20.0  # millimeters
# The keypoints that are joints and not finger tips.
_JOINTS = [i for i in range(NUM_HAND_KEYPOINTS) if i not in (4, 8, 12, 16, 20)]
# Our name -> RenderMe-360's name and size.
_RENDERME_FIELDS = {
    "head_betas": ("shape", 100),
    "head_expression": ("exp", 50),
    "head_jaw_pose": ("jaw_pose", 3),
}


class Hands(NamedTuple):
    """The hands of a FreiHAND release, with MANO's parameters.

    Attributes:
        global_orient: axis-angle.
        hand_pose: as in the file: absolute, or an offset from MANO's mean pose.
        betas: shape coefficients.
        joints: OpenPose order, meters; None where the release has none.
    """

    global_orient: Float[np.ndarray, "N 3"]
    hand_pose: Float[np.ndarray, "N 45"]
    betas: Float[np.ndarray, "N 10"]
    joints: Float[np.ndarray, "N 21 3"] | None


def read_freihand(folder: str | Path) -> Hands:
    """Reads `training_mano.json` and `training_xyz.json`.

    A row of `training_mano.json` has 48 numbers of the pose, 10 betas, 2 of the translation and 1
    of the scale.

    Raises:
        FileNotFoundError: a file is missing.
        UserError: a file has the wrong contents.
    """
    folder = user_folders.expand(folder)
    rows = _read_rows(folder / "training_mano.json", 61)
    joints = _read_rows(folder / "training_xyz.json", 63).reshape(-1, NUM_HAND_KEYPOINTS, 3)
    if len(joints) != len(rows):
        raise UserError(
            f"{folder}: {len(rows)} hands in training_mano.json, {len(joints)} in training_xyz.json"
        )
    return Hands(rows[:, :3], rows[:, 3:48], rows[:, 48:58], joints)


def read_metro(path: str | Path) -> Hands:
    """Reads a label file of METRO's FreiHAND (`*.label.tsv`).

    Each line has a key and a JSON list with pose (48), betas (10) and, optionally, 3d_joints.

    Raises:
        FileNotFoundError: the file is missing.
        UserError: a line has the wrong contents; the message names it.
    """
    path = user_folders.expand(path)
    if not path.is_file():
        raise FileNotFoundError(f"no label file at {path}")
    poses, betas, joints = [], [], []
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        try:
            label = json.loads(line.split("\t")[1])[0]
            poses.append(np.array(label["pose"], np.float64).reshape(48))
            betas.append(np.array(label["betas"], np.float64).reshape(10))
            if "3d_joints" in label:
                points = np.array(label["3d_joints"], np.float64)
                joints.append(points.reshape(NUM_HAND_KEYPOINTS, -1)[:, :3])
        except (ValueError, KeyError, IndexError, TypeError) as error:
            raise UserError(
                f"{path}, line {number}: no label with pose and betas ({error})"
            ) from None
    if not poses:
        raise UserError(f"{path} is empty")
    pose = np.stack(poses)
    all_joints = np.stack(joints) if len(joints) == len(poses) else None
    return Hands(pose[:, :3], pose[:, 3:], np.stack(betas), all_joints)


def convention_errors(hands: Hands, model: BodyModel) -> dict[str, float]:
    """Poses the hand model under both conventions and compares it with the joints.

    Returns:
        Mean distance of the joints relative to the wrist in millimeters, for "offset" (the pose is
        added to MANO's mean pose) and "absolute"; empty if there are no joints.
    """
    if hands.joints is None:
        return {}
    rows = evenly_spaced(len(hands.betas), _TESTED_HANDS)
    expected = hands.joints[rows][:, _JOINTS]
    array = lambda values: jnp.asarray(values[rows], jnp.float32)
    errors = {}
    for name, is_absolute in (("offset", False), ("absolute", True)):
        params = HandParams(
            betas=array(hands.betas),
            global_orient=array(hands.global_orient),
            hand_pose=absolute_pose(model, array(hands.hand_pose), flat_hand_mean=is_absolute),
            transl=jnp.zeros((len(rows), 3)),
        )
        posed = np.asarray(_keypoints(model, params), np.float64)[:, _JOINTS]
        difference = (posed - posed[:, :1]) - (expected - expected[:, :1])
        errors[name] = float(1000 * np.linalg.norm(difference, axis=-1).mean())
    return errors


def absolute_hands(hands: Hands, model: BodyModel) -> tuple[dict[str, np.ndarray], str]:
    """Converts hands to the convention of this project.

    Without joints to compare with, the poses count as offsets, as FreiHAND's are.

    Returns:
        Arrays under the names of `pose_priors.HAND`, and a line that explains which convention the
        file uses.

    Raises:
        UserError: both conventions differ from the joints by more than 2 cm: the file has other
            units or belongs to another model.
    """
    errors = convention_errors(hands, model)
    convention = min(errors, key=lambda name: errors[name]) if errors else "offset"
    if errors and errors[convention] > _MAX_ERROR:
        raise UserError(
            f"neither pose convention fits the joints ({errors}, mm): "
            "is the hand model MANO's right hand?"
        )
    listed = ", ".join(f"{name} {error:.2f}" for name, error in errors.items())
    flat = convention == "absolute"
    pose = np.asarray(absolute_pose(model, jnp.asarray(hands.hand_pose), flat_hand_mean=flat))
    explanation = f"distance to the joints, mm: {listed or 'no joints'}: poses are {convention}"
    return {"hand_pose": pose, "hand_betas": hands.betas}, explanation


def read_renderme(folder: str | Path) -> tuple[dict[str, np.ndarray], list[str]]:
    """Reads FLAME fits of RenderMe-360, `<person>/*.pkl`.

    A file maps frames to dicts with shape (100), exp (50), global_pose and jaw_pose.

    Returns:
        Arrays under the names of `pose_priors.HEAD`, and one line for each file left out.

    Raises:
        FileNotFoundError: there is no pickle in the folder.
        UserError: no file can be used.
    """
    folder = user_folders.expand(folder)
    paths = sorted(folder.rglob("*.pkl"))
    if not paths:
        raise FileNotFoundError(f"no .pkl in {folder} or its subfolders")
    rows: dict[str, list] = {name: [] for name in _RENDERME_FIELDS}
    left_out = []
    for path in paths:
        try:
            for entry in _renderme_frames(pickles.read_pickle(path), path):
                for name, values in entry.items():
                    rows[name].append(values)
        except UserError as error:
            left_out.append(str(error))
    if not rows["head_betas"]:
        raise UserError(f"none of the {len(paths)} files in {folder} can be used: {left_out[0]}")
    return {name: np.stack(values) for name, values in rows.items()}, left_out


def read_data_set(
    source: Source, limit: int
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Reads the hands and heads of at most `limit` evenly spaced samples of one of our data sets.

    Returns:
        Arrays under the names of `pose_priors.HAND`, and of `pose_priors.HEAD`.
    """
    samples = [source[int(index)] for index in evenly_spaced(len(source), limit)]
    stack = lambda names: {name: np.stack([sample[name] for sample in samples]) for name in names}
    return stack(pose_priors.HAND), stack(pose_priors.HEAD)


def _renderme_frames(contents: Any, path: Path) -> Sequence[Mapping[str, np.ndarray]]:
    """The frames of a file; one bad frame makes the whole file unusable."""
    entries = []
    for frame, entry in contents.items() if isinstance(contents, dict) else ((None, None),):
        entry = entry if isinstance(entry, dict) else {}
        values = {}
        for name, (theirs, size) in _RENDERME_FIELDS.items():
            array = np.ravel(np.asarray(entry.get(theirs, ()), np.float64))
            if array.size != size or not np.isfinite(array).all():
                raise UserError(f"{path}: frame {frame} has no {theirs} of {size} finite numbers")
            values[name] = array
        entries.append(values)
    return entries


def _read_rows(path: Path, size: int) -> Float[np.ndarray, "N {size}"]:
    """Reads a JSON list of rows with `size` finite numbers, nested in any way."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing")
    try:
        rows = np.array(json.loads(path.read_text()), np.float64)
        rows = rows.reshape(len(rows), size)
    except (ValueError, TypeError, RecursionError, OverflowError) as error:
        raise UserError(f"{path} is not a list of rows of {size} numbers ({error})") from None
    if not len(rows) or not np.isfinite(rows).all():
        raise UserError(f"{path} is empty or contains NaN")
    return rows


@jax.jit
def _keypoints(model: BodyModel, params: HandParams) -> Float[Array, "N 21 3"]:
    return pose_hand(model, params).keypoints
