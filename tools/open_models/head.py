"""The open head: 5023 vertices, 100 shape components, 50 expressions, 36 pose correctives.

Joints are root, neck, jaw, left eye and right eye. The frame is FLAME's: meters, y up, z forward
out of the face, eyes at (+-0.03, 0.03, 0.035). Template, topology, weights and correctives are
mirror symmetric; each shape component is symmetric or antisymmetric.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import scipy.sparse as sp

from dice_jax.geometry.mesh import edges as mesh_edges
from tools.open_models import anthropometry as sizes
from tools.open_models import landmarks, regions, shape_space, skinning
from tools.open_models.appearance import head_colors
from tools.open_models.head_mesh import HeadMesh, build_head_mesh
from tools.open_models.source import METERS_PER_UNIT, Source

NUM_BETAS, NUM_EXPRESSIONS = 100, 50
PARENTS = np.array([-1, 0, 1, 1, 1])
_NECK, _JAW = 1, 2
_EYES_AT = np.array([0.0, 0.030, 0.035])
_SIDE = np.array([-1.0, 1.0, 1.0])
_JOINT_MIRROR = [0, 1, 2, 4, 3]
# Folders of local targets.
_FACE = ("chin", "cheek", "ears", "eyes", "eyebrows", "forehead", "mouth", "nose")
_LOCAL = ("head", "neck", "asym", *_FACE)
# Targets that only move the head or stretch the neck, and the asymmetries of the body.
_NOT_A_SHAPE = ("neck-trans", "head-trans", "neck-height", "neck-scale-vert", "asymm-")
# Jaw and eyes are joints, and the tongue is not part of the mesh.
_NOT_AN_EXPRESSION = ("jaw", "eyeLook", "tongue", "mouth-open")


@dataclasses.dataclass(frozen=True)
class _Average:
    """The average head, millimeters, origin between the eyes.

    Attributes:
        points: (19158, 3) base vertices.
        masks: regions of the base vertices.
        brows: (2, 5, 3) curves along the brows.
        landmarks: (68, 3).
    """

    points: np.ndarray
    masks: dict[str, np.ndarray]
    brows: np.ndarray
    landmarks: np.ndarray


def build_head(source: Source, seed: int = 0, num_samples: int = 3000) -> tuple[dict, dict]:
    """The arrays of `dice_jax.body_models.assets.build_model`, and measured statistics."""
    rng = np.random.default_rng(seed)
    macro = shape_space.macro_targets(source)
    is_shape = lambda name: not any(part in name for part in _NOT_A_SHAPE)
    local = [name for name in source.targets(*_LOCAL) if is_shape(name)]
    stds = np.array([_local_std(name) for name in local])
    macro_coefficients, _ = shape_space.sample_macro(
        macro, num_samples, rng, height_std=0.2, proportion_std=0.25
    )
    local_coefficients = shape_space.sample_local(local, stds, num_samples, rng)
    coefficients = np.concatenate([macro_coefficients, local_coefficients], 1)

    average = _average_head(source, macro + local, coefficients.mean(0))
    mesh = build_head_mesh(source, average.points, average.masks, average.brows)
    count = mesh.resampling.shape[0]
    rows = sp.vstack([mesh.resampling, _joint_rows(source)]).tocsr()
    targets = shape_space.resampled_targets(source, macro + local, rows)
    targets -= _anchor(targets, count)[:, None]
    base = rows @ source.vertices * METERS_PER_UNIT
    skull = _skull(mesh, source)
    posed = lambda mean: _with_eyes_in_place(base + np.tensordot(mean, targets, 1), count)
    mean, covariance = coefficients.mean(0), np.cov(coefficients.T)
    mean, covariance = _with_human_sizes(
        mean, covariance, targets[:, :count], posed(mean)[:count], skull
    )
    points = posed(mean)
    template = points[:count] = (points[:count] + points[mesh.mirror] * _SIDE) / 2

    components, variances = shape_space.principal_mixtures(
        covariance, targets[:, :count], NUM_BETAS, mesh.mirror
    )
    expressions, expression_names = _expressions(source, mesh, rng)
    shapedirs = np.concatenate([components, expressions]).reshape(-1, count, 3).transpose(1, 2, 0)
    weights = _skin_weights(source, mesh)
    sample_points = points + np.tensordot(coefficients[:60] - coefficients.mean(0), targets, 1)
    regressor = _joint_regressor(sample_points, count, mesh, template)
    posedirs, corrective_rms = _pose_correctives(template, regressor, weights, mesh.mirror, seed)

    millimeters = 1e3 * (template - _EYES_AT)
    masks = regions.head_regions(millimeters, *_painted(source, mesh.resampling), mesh.num_skin)
    allowed = ~(mesh.cavity[mesh.faces].any(1) | (mesh.faces >= mesh.num_skin).any(1))
    lmk_faces, lmk_bary, lmk_gap = landmarks.attach(
        average.landmarks, mesh.resampling @ average.points, mesh.faces, allowed
    )
    lmk_points = np.einsum("lk,lkc->lc", lmk_bary, millimeters[mesh.faces[lmk_faces]])
    model = dict(
        v_template=template,
        faces=mesh.faces,
        shapedirs=shapedirs,
        posedirs=posedirs,
        J_regressor=regressor,
        lbs_weights=weights,
        parents=PARENTS,
        cavity=mesh.cavity,
        lmk_faces_idx=lmk_faces,
        lmk_bary_coords=lmk_bary,
        stiffness=regions.stiffness(masks, millimeters, mesh.faces),
        regions={name: mask & ~mesh.cavity for name, mask in masks.items()},
        colors=head_colors(
            millimeters,
            masks,
            mesh.resampling @ source.texture_mask("lips"),
            mesh.resampling @ source.texture_mask("inside-mouth"),
            _brow_curves(lmk_points),
            mesh.eye_angles,
        ),
    )
    statistics = dict(
        head_breadth_mm=_measure(template, components, skull, 0),
        head_length_mm=_measure(template, components, skull, 2),
        explained_variance=float(variances[:NUM_BETAS].sum() / variances.sum()),
        expression_units=len(expression_names),
        edges_mm=edge_statistics(millimeters, mesh.faces, model["regions"]),
        landmark_gap_mm=float(lmk_gap.max()),
        landmark_asymmetry_mm=float(np.abs(landmark_asymmetry(lmk_points)).max()),
        pose_corrective_rms_mm=corrective_rms,
    )
    return model, statistics


def landmark_asymmetry(points: np.ndarray) -> np.ndarray:
    """Distance (68,) of each landmark to the mirror image of its counterpart."""
    return np.linalg.norm(points[landmarks.mirror_order()] * _SIDE - points, axis=-1)


def edge_statistics(
    vertices: np.ndarray, faces: np.ndarray, masks: dict[str, np.ndarray]
) -> dict[str, list[float]]:
    """Median and maximum length of the edges within each region, in the unit of the vertices."""
    edges = mesh_edges(faces)
    lengths = np.linalg.norm(vertices[edges[:, 0]] - vertices[edges[:, 1]], axis=1)
    inside = {name: lengths[mask[edges].all(1)] for name, mask in masks.items()}
    median_and_max = lambda x: [round(float(np.median(x)), 2), round(float(x.max()), 2)]
    return {name: median_and_max(x) for name, x in inside.items()}


def _local_std(name: str) -> float:
    """Standard deviation of a local coefficient, set by eye; 1 is the extreme shape of a target."""
    folder, file = name.split("/")[-2:]
    if "scale" in file and folder in ("head", "neck"):
        return 0.10
    return 0.14 if folder in ("head", "neck", "forehead") else 0.20


def _average_head(source: Source, names: list[str], coefficients: np.ndarray) -> _Average:
    """The mean of the samples on the base mesh, made exactly symmetric.

    Topology and regions are determined on it.
    """
    points = source.vertices.copy()
    for name, coefficient in zip(names, coefficients, strict=True):
        indices, displacements = source.target(name)
        points[indices] += coefficient * displacements
    points = (points + points[source.mirror] * _SIDE) / 2
    eyes = np.isin(source.vertex_groups(), ("helper-l-eye", "helper-r-eye"))
    points = 1e3 * METERS_PER_UNIT * (points - points[eyes].mean(0))
    masks = regions.head_regions(points, *_painted(source), eyes)
    lmk = landmarks.anchor_points(points, source.mirror)
    return _Average(points, masks, _brow_curves(lmk), lmk)


def _painted(
    source: Source, resampling: sp.csr_matrix | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Painted masks of lips and ears, on the base mesh or a resampling of it."""
    painted = source.texture_mask("lips"), source.texture_mask("ears")
    return painted if resampling is None else tuple(resampling @ mask for mask in painted)


def _brow_curves(lmk: np.ndarray) -> np.ndarray:
    """Curves (2, 5, 3) along the brows, millimeters; landmarks 17 to 26 are their upper rims."""
    return np.stack([lmk[17:22], lmk[22:27]]) - [0, 3.5, 0]


def _joint_rows(source: Source) -> sp.csr_matrix:
    """Rows (5, 19158) of root, neck and jaw markers, and of the centers of both eyeballs."""
    markers = [source.joint_vertices(bone) for bone in ("neck01", "head", "jaw")]
    markers += [
        np.unique(source.quads[source.groups == f"helper-{side}-eye"]) for side in ("l", "r")
    ]
    rows = np.repeat(np.arange(5), [len(marker) for marker in markers])
    weights = np.concatenate([np.full(len(marker), 1 / len(marker)) for marker in markers])
    entries = weights, (rows, np.concatenate(markers))
    return sp.csr_matrix(entries, shape=(5, len(source.vertices)))


def _anchor(points: np.ndarray, count: int) -> np.ndarray:
    """The point that stays in place when the shape changes: mean of neck joint and both eyes.

    It is linear in the shape, as the model must be.
    """
    neck, left_eye, right_eye = (points[..., count + joint, :] for joint in (_NECK, 3, 4))
    return (neck + left_eye + right_eye) / 3


def _with_eyes_in_place(points: np.ndarray, count: int) -> np.ndarray:
    """Moves points, then joints from `count` on, so that the eyes are at `_EYES_AT`."""
    return points + _EYES_AT - points[count + 3 :].mean(0)


def _skull(mesh: HeadMesh, source: Source) -> np.ndarray:
    """Mask (5023,) of the skin on which a head is measured: without ears and eyeballs."""
    skull = mesh.resampling @ source.texture_mask("ears") < 0.1
    skull[mesh.num_skin :] = False
    return skull


def _extreme_vertices(template: np.ndarray, skull: np.ndarray, axis: int) -> tuple[int, int]:
    """The two vertices between which breadth (axis 0) or length (axis 2) of the skull is measured.

    Only vertices at and above the brows count.
    """
    ids = np.flatnonzero(skull & (template[:, 1] > _EYES_AT[1] + 0.015))
    return ids[template[ids, axis].argmax()], ids[template[ids, axis].argmin()]


def _measure(
    template: np.ndarray, components: np.ndarray, skull: np.ndarray, axis: int
) -> list[float]:
    """Mean and standard deviation of breadth or length over normal betas, millimeters."""
    high, low = _extreme_vertices(template, skull, axis)
    moves = components.reshape(len(components), -1, 3)[:, [high, low], axis]
    mean = template[high, axis] - template[low, axis]
    std = np.linalg.norm(moves[:, 0] - moves[:, 1])
    return [float(1e3 * mean), float(1e3 * std)]


def _with_human_sizes(
    mean: np.ndarray,
    covariance: np.ndarray,
    targets: np.ndarray,
    points: np.ndarray,
    skull: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Conditions the Gaussian of the coefficients on human breadths and lengths of the head.

    Random mixtures of the morph targets vary more in size than people do. Both measures are linear
    in the coefficients, `h^T c`, with covariance `S = h^T C h`. Replacing S by the human covariance
    T, and keeping the conditional distribution of everything else (as in a Kalman update with a
    soft observation), turns `C` into `C + G (T - S) G^T` with `G = C h S^-1`.

    Args:
        mean: (K,) of the coefficients.
        covariance: (K, K) of the coefficients.
        targets: (K, V, 3) meters.
        points: (V, 3) the mean head, meters.
        skull: (V,) of `_skull`.

    Returns:
        The new mean and covariance.
    """
    ends = [(*_extreme_vertices(points, skull, axis), axis) for axis in (0, 2)]
    measures = [targets[:, high, axis] - targets[:, low, axis] for high, low, axis in ends]
    measures = np.stack(measures, 1)
    found = np.array([points[high, axis] - points[low, axis] for high, low, axis in ends])
    wanted, stds = np.array([sizes.HEAD_BREADTH.mixture, sizes.HEAD_LENGTH.mixture]).T
    correlation = np.array([[1, sizes.HEAD_CORRELATION], [sizes.HEAD_CORRELATION, 1]])
    spread = measures.T @ covariance @ measures
    gain = covariance @ measures @ np.linalg.inv(spread)
    new_spread = correlation * stds[:, None] * stds
    return mean + gain @ (wanted - found), covariance + gain @ (new_spread - spread) @ gain.T


def _expressions(
    source: Source, mesh: HeadMesh, rng: np.random.Generator
) -> tuple[np.ndarray, list[str]]:
    """Expression components (50, 3 * 5023) about the neutral face, and the names of their units.

    Each sample activates a few random units.
    """
    arkit = source.face_units()
    units = source.targets("expression/units")
    is_expression = lambda name: (
        not any(part in name.rsplit("/", 1)[-1] for part in _NOT_AN_EXPRESSION)
    )
    names = [name for name in arkit + units if is_expression(name)]
    num_arkit = sum(name in arkit for name in names)
    num_samples, num_units = 6000, (len(names) - num_arkit) // 3

    def sparse(count, share, beta):
        active = rng.uniform(size=(num_samples, count)) < share
        return active * rng.beta(*beta, (num_samples, count))

    active = sparse(num_arkit, 0.18, (1.2, 1.5))
    shared = sparse(num_units, 0.12, (1.2, 1.8))
    race = rng.dirichlet([0.6] * 3, num_samples)
    coefficients = np.concatenate([active, *(shared * race[:, [i]] for i in range(3))], 1)
    targets = shape_space.resampled_targets(source, names, mesh.resampling)
    targets[:, mesh.num_skin :] = 0
    second_moment = coefficients.T @ coefficients / num_samples
    components, _ = shape_space.principal_mixtures(
        second_moment, targets, NUM_EXPRESSIONS, mesh.mirror
    )
    return components, names


def _skin_weights(source: Source, mesh: HeadMesh) -> np.ndarray:
    """Skinning weights (5023, 5): the rig's head, jaw and eyes, and parts of the upper neck bones.

    The weight of the neck joint falls along these bones, and the root gets the rest.
    """
    head, jaw = (source.skin_weights(source.subtree(bone)) for bone in ("head", "jaw"))
    eyes = [source.skin_weights([f"eye.{side}"]) for side in "LR"]
    upper = source.skin_weights(["neck03"]) + 0.5 * source.skin_weights(["neck02"])
    base = np.stack([np.zeros(len(head)), head - jaw - eyes[0] - eyes[1] + upper, jaw, *eyes], 1)
    weights = np.maximum(mesh.resampling @ base, 0)
    weights[:, 0] = np.maximum(1 - weights.sum(1), 0)
    weights = (weights + weights[mesh.mirror][:, _JOINT_MIRROR]) / 2
    return weights / weights.sum(1, keepdims=True)


def _joint_regressor(
    samples: np.ndarray, count: int, mesh: HeadMesh, template: np.ndarray
) -> np.ndarray:
    """Joints from the skin around them, eyes from their eyeballs: (5, 5023), mirror symmetric."""
    vertices, joints = samples[:, :count], samples[:, count:]
    both = np.concatenate([vertices, vertices[:, mesh.mirror] * _SIDE])
    regressor = np.zeros((5, count))
    outer = np.flatnonzero(~mesh.cavity[: mesh.num_skin])
    for j in range(3):
        distance = np.linalg.norm(template[outer] - joints[:, j].mean(0), axis=1)
        candidates = outer[np.argsort(distance, kind="stable")[:1400:6]]
        joint = np.concatenate([joints[:, j], joints[:, j] * _SIDE])
        row = skinning.fit_joint(both[::4], joint[::4], candidates)
        regressor[j] = (row + row[mesh.mirror]) / 2
    # The smallest weights that sum to 1 and give the center of the ball.
    ball = np.arange(mesh.num_skin, mesh.num_skin + (count - mesh.num_skin) // 2)
    offsets = template[ball].T - joints[:, 3].mean(0)[:, None]
    system = np.concatenate([offsets, np.ones((1, len(ball)))])
    regressor[3, ball] = np.linalg.lstsq(system, np.array([0, 0, 0, 1.0]), rcond=None)[0]
    regressor[4] = regressor[3][mesh.mirror]
    return regressor


def _pose_correctives(
    template: np.ndarray, regressor: np.ndarray, weights: np.ndarray, mirror: np.ndarray, seed: int
) -> tuple[np.ndarray, dict[str, float]]:
    """Pose correctives (V, 3, 36), and their errors on held-out poses, millimeters rms."""
    joints = regressor @ template
    offsets = lambda rotations: skinning.corrective_targets(
        template, joints, weights, PARENTS, rotations
    )
    poses = _sample_poses(150, np.random.default_rng(seed + 1))
    wanted = offsets(skinning.rotation_matrices(poses))
    mirrored = poses[:, _JOINT_MIRROR] * [1, -1, -1]  # a rotation vector is an axial vector
    rotations = skinning.rotation_matrices(np.concatenate([poses, mirrored]))
    posedirs = skinning.fit_correctives(
        rotations, np.concatenate([wanted, wanted[:, mirror] * _SIDE])
    )

    held_out = skinning.rotation_matrices(_sample_poses(48, np.random.default_rng(seed + 2)))
    without = offsets(held_out)
    residual = without - np.einsum("vcp,np->nvc", posedirs, skinning.pose_features(held_out))
    rms = lambda x: float(1e3 * np.sqrt((x**2).sum(-1).mean()))
    return posedirs, {"without": rms(without), "with": rms(residual)}


def _sample_poses(count: int, rng: np.random.Generator) -> np.ndarray:
    """Axis-angle vectors (count, 5, 3), radians: neck, jaw (opening up to 26 degrees) and eyes."""
    pose = np.zeros((count, 5, 3))
    pose[:, _NECK] = 0.35 * rng.standard_normal((count, 3))
    pose[:, _JAW, 0] = rng.uniform(-0.02, 0.45, count)
    pose[:, _JAW, 1] = 0.06 * rng.standard_normal(count)
    pose[:, 3:] = 0.2 * rng.standard_normal((count, 2, 3))
    return pose
