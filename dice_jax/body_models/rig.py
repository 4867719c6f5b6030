"""Hands and head of a person at rest, with their skeletons: what `io.gltf_skin` writes.

Posing a rig by its rotations and the weights of its correctives is the skinning of `lbs`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation

from dice_jax.body_models.lbs import BodyModel
from dice_jax.io.gltf_skin import RiggedMesh, Skeleton
from dice_jax.io.meshes import NamedMesh
from dice_jax.person import Hand, Head, Person

_FINGERS = ("index", "middle", "little", "ring", "thumb")  # MANO's order
HAND_JOINTS = ("wrist", *(f"{finger}{bone}" for finger in _FINGERS for bone in (1, 2, 3)))
HEAD_JOINTS = ("root", "neck", "jaw", "left_eye", "right_eye")
DEFORMATION = "deformation"


def person_rig(
    person: Person,
    hand_model: BodyModel,
    head_model: BodyModel,
    colors: Mapping[str, Float[np.ndarray, "V 3"]],
) -> list[RiggedMesh]:
    """The rigs of everything that the person has, hands first.

    Args:
        person: of `reconstruct`.
        hand_model, head_model: the body models that the parameters pose.
        colors: sRGB in [0, 1], by name: "right_hand", "left_hand" and "head".

    Returns:
        Meshes at rest, in the shape of the person. Their morphs are "deformation", the skin that
        gives way, turned to the rest pose, with weight 1, and the pose correctives "pose_000" and
        so on, whose weights are the entries of `R - I` of the joints but the root, row by row.
    """
    rigs = []
    for hand in sorted(person.hands, key=lambda hand: hand.side, reverse=True):
        name = f"{hand.side}_hand"
        rigs.append(_hand_rig(hand, name, hand_model, colors[name]))
    if person.head is not None:
        rigs.append(_head_rig(person.head, head_model, colors["head"]))
    return rigs


def _hand_rig(hand: Hand, name: str, model: BodyModel, colors) -> RiggedMesh:
    pose = [*_rows(hand.params.global_orient), *_rows(hand.params.hand_pose)]
    names = [f"{name}_{joint}" for joint in HAND_JOINTS]
    side = -1.0 if hand.side == "left" else 1.0
    attributes = {"contact": np.asarray(hand.contact_probs, np.float32)}
    coefficients = np.asarray(hand.params.betas)
    return rest_rig(
        name, model, coefficients, pose, hand.params.transl, names, colors, attributes, side
    )


def _head_rig(head: Head, model: BodyModel, colors) -> RiggedMesh:
    params = head.params
    pose = [params.global_orient, params.neck_pose, params.jaw_pose, np.zeros(3), np.zeros(3)]
    coefficients = np.concatenate([np.asarray(params.betas), np.asarray(params.expression)])
    attributes = {"contact": np.asarray(head.contact_probs, np.float32)}
    rig = rest_rig(
        "head", model, coefficients, pose, params.transl, HEAD_JOINTS, colors, attributes
    )
    turned = _at_rest(rig.skeleton, -np.asarray(head.deformations, np.float64))
    morphs = {DEFORMATION: turned.astype(np.float32)} | rig.mesh.morphs
    mesh = NamedMesh("head", rig.mesh.vertices, rig.mesh.faces, colors, attributes, morphs)
    return RiggedMesh(mesh, rig.skeleton, {DEFORMATION: 1.0} | dict(rig.morph_weights))


def rest_rig(
    name: str,
    model: BodyModel,
    coefficients,
    pose,
    transl,
    joint_names: Sequence[str],
    colors: Float[np.ndarray, "V 3"],
    attributes: dict[str, Float[np.ndarray, "V"]],
    side: float = 1.0,
) -> RiggedMesh:
    """A mesh at rest and its skeleton in a pose.

    Args:
        name: of the mesh.
        model: the body model.
        coefficients: of the first `shapedirs`.
        pose: axis-angle of every joint.
        transl: meters.
        joint_names: one for each joint.
        colors, attributes: of the vertices.
        side: -1 for the mirror image.
    """
    flip = np.array([side, 1.0, 1.0])
    shapedirs = np.asarray(model.shapedirs, np.float64)[..., : len(coefficients)]
    vertices = np.asarray(model.v_template, np.float64) + shapedirs @ coefficients
    joints = np.asarray(model.J_regressor, np.float64) @ vertices
    vectors = np.stack([np.asarray(vector, np.float64) for vector in pose])
    rotations = Rotation.from_rotvec(vectors).as_matrix()
    correctives = (rotations[1:] - np.eye(3)).reshape(-1)
    posedirs = np.asarray(model.posedirs, np.float32)
    names = [f"pose_{k:03d}" for k in range(posedirs.shape[-1])]
    faces = np.asarray(model.faces)
    mesh = NamedMesh(
        name,
        (vertices * flip).astype(np.float32),
        faces if side > 0 else faces[:, ::-1],
        colors,
        attributes,
        {key: posedirs[..., k] * flip.astype(np.float32) for k, key in enumerate(names)},
    )
    skeleton = Skeleton(
        joint_names,
        model.parents,
        joints * flip,
        rotations * flip[:, None] * flip,
        np.asarray(transl, np.float64) * flip,
        np.asarray(model.lbs_weights),
    )
    return RiggedMesh(mesh, skeleton, dict(zip(names, correctives.tolist())))


def _rows(rotations):
    return np.asarray(rotations).reshape(-1, 3)


def _at_rest(skeleton: Skeleton, offsets: Float[np.ndarray, "V 3"]) -> Float[np.ndarray, "V 3"]:
    """Offsets of posed vertices, turned back to the rest pose."""
    world = [np.asarray(skeleton.rotations[0], np.float64)]
    for joint, parent in enumerate(skeleton.parents[1:], start=1):
        world.append(world[parent] @ skeleton.rotations[joint])
    blended = np.einsum("vj,jab->vab", skeleton.weights, np.stack(world))
    return np.linalg.solve(blended, offsets[..., None])[..., 0]
