"""The open right hand: 778 vertices, 16 joints, 10 shape components, 135 pose correctives.

Joints and frame are MANO's: meters, fingers along -x, palm towards -y, thumb towards +z, wrist near
(0.096, 0.006, 0.006).
"""

from __future__ import annotations

import dataclasses

import numpy as np
import scipy.sparse as sp

from dice_jax.constants import NUM_HAND_VERTICES
from tools.open_models import anthropometry as sizes
from tools.open_models import hand_joints, shape_space, skinning
from tools.open_models.appearance import hand_colors
from tools.open_models.editable_mesh import EditableMesh
from tools.open_models.hand_poses import pose_prior, sample_poses
from tools.open_models.remesh import boundary_loop, decimate, flip, triangulate
from tools.open_models.source import METERS_PER_UNIT, Source

NUM_WRIST, NUM_BETAS = 16, 10
PARENTS = np.array([-1, 0, 1, 2, 0, 4, 5, 0, 7, 8, 0, 10, 11, 0, 13, 14])
_WRIST = np.array([0.0957, 0.0064, 0.0062])
_FINGERS = (2, 3, 5, 4, 1)  # MANO's index, middle, little, ring and thumb in the source's rig
_TIP_ORDER = (4, 0, 1, 3, 2)  # thumb, index, middle, ring, little
_KNUCKLES = [1, 4, 7, 10, 13]
_WRIST_RINGS = 2  # rings of quads above the segmented hand
# Without the source's `fingers-length`, which stretches the index finger three times as much as the
# ring finger.
_LOCAL_STDS = {"fingers-diameter": 0.3, "fingers-distance": 0.4, "wrist-circ": 0.25}


@dataclasses.dataclass(frozen=True)
class _Samples:
    """Random hands in the canonical frame, meters.

    Attributes:
        points: (N, P, 3) source vertices, then 16 joints, then 5 finger tips in MANO's order.
        num_vertices: number of source vertices.
        weights: (V, 16) skinning weights of the source vertices.
    """

    points: np.ndarray
    num_vertices: int
    weights: np.ndarray

    @property
    def joints(self) -> np.ndarray:
        return self.points[:, self.num_vertices : self.num_vertices + 16]

    @property
    def tips(self) -> np.ndarray:
        return self.points[:, self.num_vertices + 16 :]

    def lengths(self) -> np.ndarray:
        return sizes.hand_length(self.joints[:, 0], self.joints[:, 4:7], self.tips[:, 1])


def build_hand(source: Source, seed: int = 0, num_samples: int = 1500) -> tuple[dict, dict]:
    """The arrays of `dice_jax.body_models.assets.build_model`, and measured statistics."""
    kept, quads = _cut(source)
    resampling = _point_rows(source, kept)
    source_weights = _skin_weights(source)[kept]
    sample = lambda mended: _sample_hands(
        source, resampling, source_weights, num_samples, np.random.default_rng(seed), mended
    )
    # With the joints of the source, so that vertices and faces are those of `open_hand_v1`.
    mean = sample(mended=False).points.mean(0)
    mesh = EditableMesh(mean[: len(kept)], triangulate(mean[: len(kept)], quads))
    decimate(
        mesh, NUM_HAND_VERTICES, importance=_importance(source_weights), boundary_count=NUM_WRIST
    )
    flip(mesh)
    selection, faces = mesh.result()
    samples = sample(mended=True)
    shapes = np.stack([selection @ points for points in samples.points[:, : len(kept)]])
    template, components, variances = shape_space.principal_components(
        shapes.reshape(num_samples, -1), NUM_BETAS
    )
    template = template.reshape(-1, 3)

    weights = selection @ samples.weights
    candidates = [
        _nearest(template, joint, 150 if j == 0 else 80)
        for j, joint in enumerate(samples.joints.mean(0))
    ]
    regressor = [
        skinning.fit_joint(shapes[::25], samples.joints[::25, j], ids)
        for j, ids in enumerate(candidates)
    ]
    regressor = np.stack(regressor)
    regressed = np.einsum("jv,nvd->njd", regressor, shapes)
    joint_errors = np.linalg.norm(regressed - samples.joints, axis=-1)
    rest_joints = regressor @ template
    tip_ids = [
        _tip_vertex(template, rest_joints[3 * finger + 3], samples.tips[:, finger].mean(0))
        for finger in _TIP_ORDER
    ]
    offsets = lambda poses: skinning.corrective_targets(
        template, rest_joints, weights, PARENTS, poses
    )
    rotations = skinning.rotation_matrices(sample_poses(400, np.random.default_rng(seed + 1)))
    posedirs = skinning.fit_correctives(rotations, offsets(rotations))
    held_out = skinning.rotation_matrices(sample_poses(64, np.random.default_rng(seed + 2)))
    wanted = offsets(held_out)
    residual = wanted - np.einsum("vcp,np->nvc", posedirs, skinning.pose_features(held_out))

    pose_mean, pose_components, pose_std = pose_prior(
        sample_poses(4000, np.random.default_rng(seed + 3))
    )
    model = dict(
        v_template=template,
        faces=faces,
        shapedirs=components.T.reshape(NUM_HAND_VERTICES, 3, NUM_BETAS),
        posedirs=posedirs,
        J_regressor=regressor,
        lbs_weights=weights,
        parents=PARENTS,
        tip_ids=np.array(tip_ids),
        colors=hand_colors(template, faces, selection @ source.texture_mask("fingernails")[kept]),
        pose_mean=pose_mean,
        pose_components=pose_components,
        pose_std=pose_std,
    )
    lengths = 1e3 * samples.lengths()
    rms = lambda x: float(1e3 * np.sqrt((x**2).sum(-1).mean()))
    longest = lambda x: float(1e3 * np.linalg.norm(x, axis=1).max())
    statistics = dict(
        hand_length_mm=[float(lengths.mean()), float(lengths.std())],
        explained_variance=float(variances[:NUM_BETAS].sum() / variances.sum()),
        beta_rms_mm=[rms(component.reshape(-1, 3)) for component in components],
        beta_max_mm=[longest(component.reshape(-1, 3)) for component in components],
        joint_error_mm=float(1e3 * joint_errors.mean()),
        pose_corrective_rms_mm={"without": rms(wanted), "with": rms(residual)},
    )
    return model, statistics


def _nearest(points: np.ndarray, target: np.ndarray, count: int) -> np.ndarray:
    return np.argsort(np.linalg.norm(points - target, axis=1), kind="stable")[:count]


def _tip_vertex(vertices: np.ndarray, last_joint: np.ndarray, tip: np.ndarray) -> int:
    """The vertex furthest along the last bone among those near its axis."""
    bone = tip - last_joint
    length = np.linalg.norm(bone)
    along = (vertices - last_joint) @ bone / length
    across = np.linalg.norm(vertices - last_joint - along[:, None] * bone / length, axis=1)
    return int((np.where(across < 0.6 * length, along, -1.0) - 0.5 * across).argmax())


def _importance(weights: np.ndarray) -> np.ndarray:
    """Factor (V,) of the cost of removing a vertex: highest at finger tips, lowest at the wrist."""
    tips = weights[:, 3::3].sum(1)
    return 0.8 + 1.7 * (1 - weights[:, 0] - tips) + 8 * tips


def _cut(source: Source) -> tuple[np.ndarray, np.ndarray]:
    """Ids (V,) of the hand's base vertices, and its quads (Q, 4) as indices into them."""
    chosen = source.body_part("hand.R")
    for _ in range(_WRIST_RINGS):
        loop = boundary_loop(triangulate(source.vertices, source.quads[chosen]))
        chosen |= np.isin(source.quads, loop).any(1) & (source.groups == "body")
    kept, quads = np.unique(source.quads[chosen], return_inverse=True)
    return kept, quads.reshape(-1, 4)


def _point_rows(source: Source, kept: np.ndarray) -> sp.csr_matrix:
    """Rows over the base vertices: those of the hand, 16 joints, 5 finger tips."""
    bones = ["wrist.R"] + [f"finger{finger}-{j}.R" for finger in _FINGERS for j in (1, 2, 3)]
    markers = [source.joint_vertices(bone) for bone in bones]
    markers += [source.cube(f"joint-r-finger-{finger}-4") for finger in _FINGERS]
    rows = [np.array([vertex]) for vertex in kept] + markers
    index = np.repeat(np.arange(len(rows)), [len(row) for row in rows])
    weights = np.concatenate([np.full(len(row), 1 / len(row)) for row in rows])
    return sp.csr_matrix(
        (weights, (index, np.concatenate(rows))), shape=(len(rows), len(source.vertices))
    )


def _skin_weights(source: Source) -> np.ndarray:
    """Skinning weights (base vertices, 16); those of palm and arm bones go to the wrist."""
    weights = np.zeros((len(source.vertices), 16))
    for i, finger in enumerate(_FINGERS):
        for j in (1, 2, 3):
            weights[:, 3 * i + j] = source.skin_weights([f"finger{finger}-{j}.R"])
    weights /= np.maximum(weights.sum(1, keepdims=True), 1)
    weights[:, 0] = 1 - weights.sum(1)
    return weights


def _sample_hands(
    source: Source,
    resampling: sp.csr_matrix,
    vertex_weights: np.ndarray,
    count: int,
    rng: np.random.Generator,
    mended: bool,
) -> _Samples:
    """Random hands of adults in the canonical frame, scaled to the measured hand lengths.

    With the joints of `hand_joints` if `mended`, else with those of the source.
    """
    macro = shape_space.macro_targets(source)
    right = [name for name in source.targets("hands") if "/l-" not in name]
    local = [name for name in right if any(key in name for key in _LOCAL_STDS)]
    stds = [next(std for key, std in _LOCAL_STDS.items() if key in name) for name in local]
    macro_coefficients, maleness = shape_space.sample_macro(
        macro, count, rng, height_std=0.12, proportion_std=0.15
    )
    local_coefficients = shape_space.sample_local(local, np.array(stds), count, rng)
    coefficients = np.concatenate([macro_coefficients, local_coefficients], 1)
    displacements = shape_space.resampled_targets(source, macro + local, resampling)
    points = resampling @ source.vertices * METERS_PER_UNIT
    points = points + np.tensordot(coefficients, displacements, 1)

    num_vertices = len(vertex_weights)
    points = _canonical(points, num_vertices)
    bone_scales = np.ones((5, 3))
    if mended:
        points, vertex_weights, bone_scales = _mend(points, vertex_weights)
    points = _individual_proportions(points, vertex_weights, bone_scales, rng)
    deviate = rng.standard_normal(count)
    target_lengths = sizes.HAND_LENGTH.sample(maleness, deviate)
    lengths = _Samples(points, num_vertices, vertex_weights).lengths()
    points *= (target_lengths / lengths)[:, None, None]
    return _Samples(points + _WRIST, num_vertices, vertex_weights)


def _mend(
    points: np.ndarray, vertex_weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Hands with the joints of `hand_joints`, their skin weights, and the scale of each bone."""
    num_vertices = len(vertex_weights)
    vertices, mean = points[:, :num_vertices], points.mean(0)
    rows = hand_joints.joint_rows(
        mean[:num_vertices], mean[num_vertices : num_vertices + 16], vertex_weights
    )
    joints = np.einsum("jv,nvc->njc", rows, vertices)
    points = np.concatenate([vertices, joints, points[:, num_vertices + 16 :]], 1)
    mean = points.mean(0)
    weights = hand_joints.skin_weights(mean[:num_vertices], joints.mean(0), vertex_weights)
    samples = _Samples(points, num_vertices, weights)
    scales = hand_joints.stretches(
        joints.mean(0), samples.tips.mean(0), float(samples.lengths().mean())
    )
    return points - joints[:, :1], weights, scales


def _canonical(points: np.ndarray, num_vertices: int) -> np.ndarray:
    """Hands with the wrist at the origin, rotated to fit wrist and knuckles of the mean hand.

    The rotations are those of Kabsch (1976).
    """
    points = points - points[:, [num_vertices]]
    joints = points[:, num_vertices : num_vertices + 16]
    mean = joints.mean(0)
    x = -mean[[1, 4, 7, 10]].mean(0)
    x /= np.linalg.norm(x)
    across = mean[1] - mean[7]
    z = across - x * (x @ across)
    z /= np.linalg.norm(z)
    reference = (mean @ np.stack([x, np.cross(z, x), z], 1))[_KNUCKLES]
    u, _, vt = np.linalg.svd(np.einsum("nki,kj->nij", joints[:, _KNUCKLES], reference))
    u[..., -1] *= np.sign(np.linalg.det(u @ vt))[:, None]
    return points @ (u @ vt)


def _individual_proportions(
    points: np.ndarray,
    vertex_weights: np.ndarray,
    bone_scales: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    """Scales lengths and thickness of fingers, and palms, by random factors.

    `bone_scales` (5, 3) are the means of the factors of the bones' lengths.

    Each bone scales its skin along and across the bone, and moves with the bones before it. Skin
    between two bones takes the weighted mean, as in skinning.
    """
    count, num_vertices = len(points), len(vertex_weights)
    stretch_stds = np.array([sizes.FINGER_RATIO_STD] * 4 + [sizes.THUMB_RATIO_STD])
    stretch = 1 + stretch_stds * rng.standard_normal((count, 5))
    stretch += sizes.FINGERS_TO_PALM_STD * rng.standard_normal((count, 1))
    thickness = 1 + sizes.FINGER_THICKNESS_STD * rng.standard_normal(count)
    palm = np.ones((count, 3))
    palm[:, 1:] += sizes.PALM_RATIO_STD * rng.standard_normal((count, 2))

    # A joint moves with the bone that ends at it, a tip with the last bone.
    marker_weights = np.eye(16)[np.concatenate([np.maximum(PARENTS, 0), np.arange(3, 16, 3)])]
    weights = np.concatenate([vertex_weights, marker_weights])
    joints, tips = points[:, num_vertices : num_vertices + 16], points[:, num_vertices + 16 :]
    result = weights[:, 0, None] * points * palm[:, None]
    for finger in range(5):
        new_start = joints[:, 3 * finger + 1] * palm
        for bone in range(3 * finger + 1, 3 * finger + 4):
            start = joints[:, bone]
            end = tips[:, finger] if bone % 3 == 0 else joints[:, bone + 1]
            axis = (end - start) / np.linalg.norm(end - start, axis=1, keepdims=True)
            moved_ids = np.flatnonzero(weights[:, bone])
            local = points[:, moved_ids] - start[:, None]
            along = np.einsum("npc,nc->np", local, axis)[..., None] * axis[:, None]
            factor = bone_scales[finger, (bone - 1) % 3] * stretch[:, finger, None]
            moved = new_start[:, None] + factor[..., None] * along
            moved = moved + thickness[:, None, None] * (local - along)
            result[:, moved_ids] += weights[moved_ids, bone, None] * moved
            new_start = new_start + factor * (end - start)
    return result
