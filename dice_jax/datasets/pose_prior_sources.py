"""Readers of the data sets whose poses teach the discriminators what is natural."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from dice_jax.body_models.hand_pose import absolute_pose
from dice_jax.body_models.lbs import BodyModel
from dice_jax.body_models.mano import pose_hand
from dice_jax.errors import UserError
from dice_jax.input_pipeline import pose_priors
from dice_jax.input_pipeline.loader import Source
from dice_jax.input_pipeline.mixture import evenly_spaced
from dice_jax.structs import HandParams
from dice_jax.untrusted_files import pickles

_TESTED = 128  # hands of the self-test
_JOINTS = [
    0,
    1,
    2,
    3,
    5,
    6,
    7,
    9,
    10,
    11,
    13,
    14,
    15,
    17,
    18,
    19,
]  # in OpenPose's order, without the tips
_RENDERME = {
    "head_betas": ("shape", 100),
    "head_expression": ("exp", 50),
    "head_jaw_pose": ("jaw_pose", 3),
}


class Hands(NamedTuple):
    """What a release of FreiHAND says of its hands.

    Attributes:
        global_orient, hand_pose, betas: MANO's; `hand_pose` as it is written, absolute or an offset
            from MANO's mean.
        joints: 21 in OpenPose's order, meters; None where the release has none.
    """

    global_orient: Float[np.ndarray, "N 3"]
    hand_pose: Float[np.ndarray, "N 45"]
    betas: Float[np.ndarray, "N 10"]
    joints: Float[np.ndarray, "N 21 3"] | None


def read_freihand(folder: str | Path) -> Hands:
    """`training_mano.json`, rows of 48 poses, 10 betas, 2 of place and 1 of scale, and
    `training_xyz.json`.

    Raises:
        FileNotFoundError: one of them is missing.
        UserError: one of them is not what it should be.
    """
    folder = Path(folder).expanduser()
    rows = _numbers(folder / "training_mano.json", 61)
    joints = _numbers(folder / "training_xyz.json", 63).reshape(-1, 21, 3)
    if len(joints) != len(rows):
        raise UserError(
            f"{folder}: {len(rows)} hands in training_mano.json, {len(joints)} in training_xyz.json"
        )
    return Hands(rows[:, :3], rows[:, 3:48], rows[:, 48:58], joints)


def read_metro(path: str | Path) -> Hands:
    """A label file of METRO's FreiHAND (`*.label.tsv`): on each line a key and a JSON list with
    pose (48) and betas (10).

    Raises:
        FileNotFoundError: no such file.
        UserError: not such a file; the line is named.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"no label file at {path}")
    poses, betas, joints = [], [], []
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        try:
            label = json.loads(line.split("\t")[1])[0]
            poses.append(np.array(label["pose"], np.float64).reshape(48))
            betas.append(np.array(label["betas"], np.float64).reshape(10))
            if "3d_joints" in label:
                joints.append(np.array(label["3d_joints"], np.float64).reshape(21, -1)[:, :3])
        except (ValueError, KeyError, IndexError, TypeError) as error:
            raise UserError(
                f"{path}, line {number}: no label with pose and betas ({error})"
            ) from None
    if not poses:
        raise UserError(f"{path} is empty")
    pose = np.stack(poses)
    return Hands(
        pose[:, :3],
        pose[:, 3:],
        np.stack(betas),
        np.stack(joints) if len(joints) == len(poses) else None,
    )


def self_test(hands: Hands, model: BodyModel) -> dict[str, float]:
    """Mean distance (mm) of the posed model's joints to the given ones, about the wrist, under
    either convention.

    Returns:
        By "offset" (the pose is added to MANO's mean hand) and "absolute"; empty where there are no
        joints.
    """
    if hands.joints is None:
        return {}
    rows = evenly_spaced(len(hands.betas), _TESTED)
    truth = hands.joints[rows][:, _JOINTS]
    errors = {}
    for name, flat in (("offset", False), ("absolute", True)):
        pose = absolute_pose(
            model, jnp.asarray(hands.hand_pose[rows], jnp.float32), flat_hand_mean=flat
        )
        array = lambda values: jnp.asarray(values[rows], jnp.float32)
        params = HandParams(
            array(hands.betas), array(hands.global_orient), pose, jnp.zeros((len(rows), 3))
        )
        posed = np.asarray(_keypoints(model, params), np.float64)[:, _JOINTS]
        apart = (posed - posed[:, :1]) - (truth - truth[:, :1])
        errors[name] = float(1000 * np.linalg.norm(apart, axis=-1).mean())
    return errors


def absolute_hands(hands: Hands, model: BodyModel) -> tuple[dict[str, np.ndarray], str]:
    """Hands in this project's convention, and a line on how that of the file was settled.

    Where there are no joints to test with, poses are taken for offsets, which FreiHAND's are.

    Raises:
        UserError: neither convention comes within 2 cm of the joints: other units, or another
            model.
    """
    errors = self_test(hands, model)
    convention = min(errors, key=errors.get) if errors else "offset"
    if errors and errors[convention] > 20:
        raise UserError(
            f"neither convention of poses fits the joints ({errors}, mm): is the hand model MANO's right hand?"
        )
    told = f"self-test, mm: {', '.join(f'{name} {error:.2f}' for name, error in errors.items()) or 'no joints'}"
    pose = np.asarray(
        absolute_pose(model, jnp.asarray(hands.hand_pose), flat_hand_mean=convention == "absolute")
    )
    return {"hand_pose": pose, "hand_betas": hands.betas}, f"{told}: poses are {convention}"


def read_renderme(folder: str | Path) -> tuple[dict[str, np.ndarray], list[str]]:
    """FLAME fits of RenderMe-360, `<person>/*.pkl`: frame -> shape (100), exp (50), global_pose,
    jaw_pose.

    Returns:
        Parameters, and one line for each file that was left out.

    Raises:
        FileNotFoundError: there is no pickle in the folder.
        UserError: none of them can be used.
    """
    folder = Path(folder).expanduser()
    paths = sorted(folder.rglob("*.pkl"))
    if not paths:
        raise FileNotFoundError(f"no .pkl in {folder} or below")
    rows: dict[str, list] = {name: [] for name in _RENDERME}
    left_out = []
    for path in paths:
        try:
            for entry in _frames(pickles.read_pickle(path), path):
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
    """Hands and heads of a data set of ours with parameters, at most `limit` samples, evenly
    spaced.
    """
    rows: dict[str, list] = {name: [] for name in (*pose_priors.HAND, *pose_priors.HEAD)}
    for index in evenly_spaced(len(source), limit):
        sample = source[int(index)]
        for name, values in rows.items():
            values.append(sample[name])
    stacked = {name: np.stack(values) for name, values in rows.items()}
    return {name: stacked[name] for name in pose_priors.HAND}, {
        name: stacked[name] for name in pose_priors.HEAD
    }


def _frames(contents: Any, path: Path) -> Sequence[Mapping[str, np.ndarray]]:
    """The usable frames of a file; all of it counts or nothing."""
    entries = []
    for frame, entry in contents.items() if isinstance(contents, dict) else ((None, None),):
        values = {}
        for name, (theirs, size) in _RENDERME.items():
            array = np.ravel(
                np.asarray(entry.get(theirs, ()) if isinstance(entry, dict) else (), np.float64)
            )
            if array.size != size or not np.isfinite(array).all():
                raise UserError(f"{path}: frame {frame} has no {theirs} of {size} finite numbers")
            values[name] = array
        entries.append(values)
    return entries


def _numbers(path: Path, size: int) -> np.ndarray:
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing")
    try:
        rows = np.array(json.loads(path.read_text()), np.float64)
        rows = rows.reshape(len(rows), size)
    except (ValueError, TypeError) as error:
        raise UserError(f"{path} is not a list of rows of {size} numbers ({error})") from None
    if not len(rows) or not np.isfinite(rows).all():
        raise UserError(f"{path} is empty or holds NaN")
    return rows


@jax.jit
def _keypoints(model: BodyModel, params: HandParams):
    return pose_hand(model, params).keypoints
