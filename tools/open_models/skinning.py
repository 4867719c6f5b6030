"""Skinning in NumPy, and the fits of joint regressors and pose correctives.

Linear blend skinning loses volume where joints bend. Dual quaternion skinning (Kavan et al. 2008)
does not, and needs no learning. The pose correctives are the linear map from rotations to vertex
offsets with which linear blend skinning best approximates it over plausible poses.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import nnls
from scipy.spatial.transform import Rotation


def rotation_matrices(pose: np.ndarray) -> np.ndarray:
    """Rotation matrices (*B, J, 3, 3) of axis-angle vectors (*B, J, 3), radians."""
    return Rotation.from_rotvec(pose.reshape(-1, 3)).as_matrix().reshape(*pose.shape, 3)


def skinning_transforms(
    rotations: np.ndarray, joints: np.ndarray, parents: np.ndarray
) -> np.ndarray:
    """Transforms (J, 4, 4) of each joint's space from rest to pose; the root stays in place."""
    world = np.zeros((len(parents), 4, 4))
    for j, parent in enumerate(parents):
        local = np.eye(4)
        local[:3, :3] = rotations[j]
        local[:3, 3] = joints[j] if parent < 0 else joints[j] - joints[parent]
        world[j] = local if parent < 0 else world[parent] @ local
    world[:, :3, 3] -= np.einsum("jab,jb->ja", world[:, :3, :3], joints)
    return world


def linear_blend(vertices: np.ndarray, weights: np.ndarray, transforms: np.ndarray) -> np.ndarray:
    """Vertices (V, 3) moved by the mean of transforms (J, 4, 4), weighted by `weights` (V, J)."""
    blended = np.einsum("vj,jab->vab", weights, transforms)
    return np.einsum("vab,vb->va", blended[:, :3, :3], vertices) + blended[:, :3, 3]


def dual_quaternion_blend(
    vertices: np.ndarray, weights: np.ndarray, transforms: np.ndarray
) -> np.ndarray:
    """Vertices (V, 3) moved by blended dual quaternions of rigid transforms (J, 4, 4)."""
    real = Rotation.from_matrix(transforms[:, :3, :3]).as_quat()[:, [3, 0, 1, 2]]
    translation = np.concatenate([np.zeros((len(real), 1)), transforms[:, :3, 3]], 1)
    dual = 0.5 * _quaternion_product(translation, real)
    # q and -q are the same rotation: the sign is chosen to agree with the joint of largest weight.
    pivot = weights.argmax(1)
    signed = weights * np.where(np.einsum("jq,vq->vj", real, real[pivot]) < 0, -1.0, 1.0)
    real, dual = signed @ real, signed @ dual
    norm = np.linalg.norm(real, axis=1, keepdims=True)
    real, dual = real / norm, dual / norm
    shift = 2 * _quaternion_product(dual, real * [1, -1, -1, -1])[:, 1:]
    scalar, vector = real[:, :1], real[:, 1:]
    return vertices + 2 * np.cross(vector, np.cross(vector, vertices) + scalar * vertices) + shift


def _quaternion_product(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    dot = (first[..., 1:] * second[..., 1:]).sum(-1, keepdims=True)
    scalar = first[..., :1] * second[..., :1] - dot
    vector = first[..., :1] * second[..., 1:] + second[..., :1] * first[..., 1:]
    return np.concatenate([scalar, vector + np.cross(first[..., 1:], second[..., 1:])], -1)


def pose_features(rotations: np.ndarray) -> np.ndarray:
    """Entries of R - I (*B, 9 (J - 1)) of all joints but the root, as in MANO and FLAME."""
    return (rotations[..., 1:, :, :] - np.eye(3)).reshape(*rotations.shape[:-3], -1)


def corrective_targets(
    vertices: np.ndarray,
    joints: np.ndarray,
    weights: np.ndarray,
    parents: np.ndarray,
    rotations: np.ndarray,
) -> np.ndarray:
    """Offsets (N, V, 3) at rest with which linear blending equals dual quaternion blending.

    Args:
        vertices: (V, 3) at rest.
        joints: (J, 3) at rest.
        weights: (V, J) skinning weights.
        parents: (J,).
        rotations: (N, J, 3, 3) the poses.
    """
    offsets = []
    for pose in rotations:
        transforms = skinning_transforms(pose, joints, parents)
        wanted = dual_quaternion_blend(vertices, weights, transforms)
        blended = np.einsum("vj,jab->vab", weights, transforms)
        moved = (wanted - blended[:, :3, 3])[..., None]
        offsets.append(np.linalg.solve(blended[:, :3, :3], moved)[..., 0] - vertices)
    return np.stack(offsets)


def fit_correctives(rotations: np.ndarray, offsets: np.ndarray, ridge: float = 5e-4) -> np.ndarray:
    """Pose correctives (V, 3, 9 (J - 1)): ridge regression of offsets on `pose_features`."""
    features = pose_features(rotations)
    gram = features.T @ features + ridge * len(features) * np.eye(features.shape[1])
    solution = np.linalg.solve(gram, features.T @ offsets.reshape(len(offsets), -1))
    return solution.T.reshape(*offsets.shape[1:], -1)


def fit_joint(shapes: np.ndarray, joint: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    """Non-negative weights (V,) with sum 1 that give a joint from the vertices of many shapes.

    Args:
        shapes: (N, V, 3).
        joint: (N, 3).
        candidates: (K,) ids of the vertices that may have a weight.
    """
    count = len(candidates)
    # In centimeters. The heavy row makes the weights sum to 1; the light rows favor many small
    # weights over a few large ones.
    design = 100 * shapes[:, candidates].transpose(0, 2, 1).reshape(-1, count)
    wanted = 100 * joint.reshape(-1)
    heavy = 100 * np.sqrt(len(wanted))
    light = 1e-2 * np.sqrt(len(wanted)) * np.eye(count)
    system = np.concatenate([design, np.full((1, count), heavy), light])
    target = np.concatenate([wanted, [heavy], np.zeros(count)])
    solution, _ = nnls(system, target, maxiter=50 * count)
    weights = np.zeros(shapes.shape[1])
    weights[candidates] = solution / solution.sum()
    return weights
