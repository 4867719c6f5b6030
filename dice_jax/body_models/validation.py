"""Checks of body models: sizes of MANO and FLAME, finite values, valid indices."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from dice_jax.body_models.hierarchy import Hierarchy
from dice_jax.body_models.lbs import BodyModel
from dice_jax.constants import HAND_LEVELS, HEAD_LEVELS, NUM_HEAD_KEYPOINTS


class Sizes(NamedTuple):
    """Sizes of the arrays of one kind of body model."""

    levels: tuple[int, ...]  # vertices, of the full mesh first
    faces: int
    joints: int
    components: int  # of shapedirs
    betas: int  # identity components among them
    tips: int
    landmarks: int
    pose_prior: int

    @property
    def vertices(self) -> int:
        return self.levels[0]


SIZES = {
    "hand": Sizes(HAND_LEVELS, 1538, 16, 10, betas=10, tips=5, landmarks=0, pose_prior=45),
    "head": Sizes(
        HEAD_LEVELS, 9976, 5, 150, betas=100, tips=0, landmarks=NUM_HEAD_KEYPOINTS, pose_prior=0
    ),
}


def validate(model: BodyModel, source: str) -> None:
    """Checks sizes, finiteness and indices.

    Args:
        model: NumPy or JAX arrays.
        source: name of the file, for the message.

    Raises:
        ValueError: one line on the first problem.
    """
    validate_arrays(model.kind, vars(model), source)
    validate_hierarchy(model.kind, model.hierarchy, source)


def validate_arrays(kind: str, arrays: Mapping[str, Any], source: str) -> None:
    """Checks everything but the coarse levels, before a `BodyModel` is made.

    Args:
        kind: "hand" or "head".
        arrays: the fields of a `BodyModel` by name, with `parents` and `region_names`.
        source: name of the file, for the message.

    Raises:
        ValueError: one line on the first problem.
    """
    sizes, parents = SIZES[kind], arrays["parents"]
    shapes = _shapes(sizes, len(arrays["region_names"]), len(arrays["closed_faces"]))
    for name, shape in shapes.items():
        array = np.asarray(arrays[name])
        if array.shape != shape:
            raise ValueError(
                f"{source}: {name} has shape {array.shape}, a {kind} needs {shape}: the "
                f"network needs the topology of {'MANO' if kind == 'hand' else 'FLAME'}"
            )
        if not np.isfinite(array).all():
            raise ValueError(f"{source}: {name} holds NaN or infinity; convert the model again")
    count = sizes.vertices
    limits = dict(faces=count, closed_faces=count, tip_ids=count, lmk_faces_idx=sizes.faces)
    for name, limit in limits.items():
        ids = np.asarray(arrays[name])
        if ids.size and (ids.min() < 0 or ids.max() >= limit):
            raise ValueError(f"{source}: {name} has indices outside the mesh (0 to {limit - 1})")
    if len(parents) != sizes.joints or parents[0] != -1:
        raise ValueError(
            f"{source}: parents must hold {sizes.joints} joints, the root (-1) first; got {parents}"
        )
    if any(not 0 <= parent < joint for joint, parent in enumerate(parents) if joint):
        raise ValueError(f"{source}: parents must come before their children; got {parents}")
    for name in ("lbs_weights", "J_regressor", "lmk_bary_coords"):
        sums = np.asarray(arrays[name]).sum(-1)
        if np.abs(sums - 1).max(initial=0) > 1e-3:
            raise ValueError(
                f"{source}: the rows of {name} must sum to 1; "
                f"they sum to {sums.min():.4f}..{sums.max():.4f}"
            )


def validate_hierarchy(kind: str, hierarchy: Hierarchy, source: str) -> None:
    """Checks the coarse levels.

    Args:
        kind: "hand" or "head".
        hierarchy: its levels.
        source: name of the file, for the message.

    Raises:
        ValueError: one line on the first problem.
    """
    counts = SIZES[kind].levels
    if hierarchy.counts != counts:
        raise ValueError(f"{source}: mesh levels of {hierarchy.counts} vertices, not {counts}")
    for level, (fine, coarse) in enumerate(itertools.pairwise(counts)):
        limits = dict(
            down_ids=((coarse,), fine), up_ids=((fine, 3), coarse), faces=((None, 3), coarse)
        )
        for name, (shape, limit) in limits.items():
            ids = np.asarray(getattr(hierarchy, name)[level])
            outside = not ids.size or ids.min() < 0 or ids.max() >= limit
            if ids.shape[1:] != shape[1:] or outside:
                raise ValueError(
                    f"{source}: {name} of level {level + 1} does not fit {fine} and {coarse} "
                    "vertices"
                )
        weights = np.asarray(hierarchy.up_weights[level])
        if weights.shape != (fine, 3) or not np.allclose(weights.sum(-1), 1, atol=1e-3):
            raise ValueError(
                f"{source}: up_weights of level {level + 1} must be {fine} rows of 3 that sum to 1"
            )


def _shapes(sizes, num_regions, num_closed):
    """The shape of every array that does not depend on the mesh levels."""
    V, J, D = sizes.vertices, sizes.joints, sizes.pose_prior
    return dict(
        v_template=(V, 3),
        shapedirs=(V, 3, sizes.components),
        posedirs=(V, 3, 9 * (J - 1)),
        J_regressor=(J, V),
        lbs_weights=(V, J),
        faces=(sizes.faces, 3),
        closed_faces=(num_closed, 3),
        colors=(V, 3),
        cavity=(V,),
        stiffness=(V,),
        regions=(num_regions, V),
        tip_ids=(sizes.tips,),
        lmk_faces_idx=(sizes.landmarks,),
        lmk_bary_coords=(sizes.landmarks, 3),
        pose_mean=(D,),
        pose_components=(D, D),
        pose_std=(D,),
    )


# The arrays of a model file, without those of the mesh levels.
ARRAYS = tuple(_shapes(SIZES["hand"], 0, 0))
