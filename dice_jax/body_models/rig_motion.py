"""The people of a film as skeletons that move: from arrays of parameters to `io.gltf_animation`.

At every frame, the skin of `gltf_animation.RigMotion` is the skinning of `lbs` with the person's
shape, which is one for the whole film.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation

from dice_jax.body_models.lbs import BodyModel
from dice_jax.body_models.rig import HAND_JOINTS, HEAD_JOINTS, rest_rig
from dice_jax.io.gltf_animation import PersonMotion, RigMotion
from dice_jax.io.gltf_skin import RiggedMesh
from dice_jax.io.meshes import NamedMesh

_Arrays = Mapping[str, np.ndarray]


def person_motion(
    name: str,
    arrays: _Arrays,
    hand_model: BodyModel,
    head_model: BodyModel,
    hand_color: Float[np.ndarray, "3"],
    head_color: Float[np.ndarray, "3"],
) -> PersonMotion:
    """The skeletons of a person through a film.

    Args:
        name: of the person; all names in the film begin with it.
        arrays: "full_transl" and, of every part that the person has in some frame,
            "right_hand_betas", "head_jaw_pose" and so on, with the frames as first axis; NaN where
            the part is not in the frame.
        hand_model, head_model: the body models that the parameters pose.
        hand_color, head_color: sRGB in [0, 1].

    Returns:
        The shape is the median of `betas`. The morphs are "expression_00" and so on of the head,
        and the pose correctives of `rig.person_rig`. A part that is not in a frame stays as it was.
    """
    motions = []
    for side in ("right", "left"):
        if f"{side}_hand_betas" in arrays:
            motions.append(_hand(f"{name}_{side}_hand", side, arrays, hand_model, hand_color))
    if "head_betas" in arrays:
        motions.append(_head(f"{name}_head", arrays, head_model, head_color))
    origin = _held(arrays["full_transl"], _is_there(arrays["full_transl"]))
    return PersonMotion(name, origin, motions)


def _hand(name: str, side: str, arrays: _Arrays, model: BodyModel, color) -> RigMotion:
    content = _part(arrays, f"{side}_hand")
    pose = np.concatenate([content["global_orient"], content["hand_pose"]], axis=1)
    joints = [f"{name}_{joint}" for joint in HAND_JOINTS]
    flip = -1.0 if side == "left" else 1.0
    no_expression = np.zeros((len(pose), 0))
    return _motion(name, joints, model, content, pose, no_expression, color, flip)


def _head(name: str, arrays: _Arrays, model: BodyModel, color) -> RigMotion:
    content = _part(arrays, "head")
    eyes = np.zeros((len(content["jaw_pose"]), 6))
    names = ("global_orient", "neck_pose", "jaw_pose")
    pose = np.concatenate([*(content[key] for key in names), eyes], axis=1)
    joints = [f"{name}_{joint}" for joint in HEAD_JOINTS]
    return _motion(name, joints, model, content, pose, content["expression"], color)


def _part(arrays: _Arrays, part: str) -> dict[str, Any]:
    """The parameters of a part in every frame, and where it is there."""
    own = {key: value for key, value in arrays.items() if key.startswith(f"{part}_")}
    content: dict[str, Any] = {key.removeprefix(f"{part}_"): x for key, x in own.items()}
    present = _is_there(content["global_orient"])
    for key in ("betas", "expression", "global_orient", "hand_pose", "neck_pose", "jaw_pose"):
        if key in content:
            content[key] = _held(content[key], present)
    return content | {"transl": _held(content["transl"], present), "present": present}


def _is_there(values):
    return np.isfinite(values).all(axis=tuple(range(1, np.ndim(values))))


def _held(values, present) -> np.ndarray:
    """The values, where they are not there those of the frame before, or else of the next one."""
    frames = np.flatnonzero(present)
    index = np.searchsorted(frames, np.arange(len(present)), side="right") - 1
    return np.asarray(values, np.float64)[frames[np.maximum(index, 0)]]


def _motion(
    name, joint_names, model: BodyModel, content, pose, expression, color, side: float = 1.0
) -> RigMotion:
    flip = np.array([side, 1.0, 1.0])
    vectors = pose.reshape(len(pose), -1, 3)
    betas = np.median(content["betas"][content["present"]], axis=0)
    colors = np.tile(np.asarray(color, np.float64), (len(model.v_template), 1))
    rest = rest_rig(
        name, model, betas, vectors[0], content["transl"][0], joint_names, colors, {}, side
    )
    matrices = Rotation.from_rotvec(vectors.reshape(-1, 3)).as_matrix()
    matrices = matrices.reshape(*vectors.shape[:2], 3, 3)
    correctives = (matrices[:, 1:] - np.eye(3)).reshape(len(pose), -1)
    rotations = matrices * flip[:, None] * flip
    directions = np.asarray(model.shapedirs, np.float64)[..., len(betas) :]
    directions = directions[..., : expression.shape[1]] * flip[:, None]
    shifts = np.einsum("jv,vce,te->tjc", model.J_regressor, directions, expression, optimize=True)
    morphs = {
        f"expression_{k:02d}": directions[..., k].astype(np.float32)
        for k in range(expression.shape[1])
    }
    mesh = NamedMesh(
        name, rest.mesh.vertices, rest.mesh.faces, colors, {}, morphs | rest.mesh.morphs
    )
    joints = np.asarray(rest.skeleton.rest_joints, np.float64)
    bones = joints - joints[list(model.parents)]
    bones[0] = joints[0]
    # The skin is bound to `joints`; where the expression moves a joint by a shift, the node stands
    # beside it, so that turning about the node is turning about the joint.
    translations = bones + shifts - np.einsum("tjab,tjb->tja", rotations, shifts)
    translations[:, 0] += content["transl"] * flip
    weights = np.concatenate([expression, correctives], axis=1)
    return RigMotion(
        RiggedMesh(mesh, rest.skeleton, dict.fromkeys(mesh.morphs, 0.0)),
        rotations,
        translations,
        weights,
        content["present"],
    )
