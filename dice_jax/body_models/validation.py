"""What a body model of MANO's or FLAME's size must look like, and one clear line for what does not."""

from __future__ import annotations

import itertools

import numpy as np

from dice_jax.body_models.lbs import BodyModel

# Vertices, faces, joints, shape components, betas among them, tips, landmarks, pose prior, vertices
# of coarse levels.
SIZES = {
    "hand": dict(V=778, F=1538, J=16, S=10, betas=10, T=5, L=0, D=45, coarse=(195,)),
    "head": dict(V=5023, F=9976, J=5, S=150, betas=100, T=0, L=68, D=0, coarse=(1675, 559)),
}


def validate(model: BodyModel, source: str) -> None:
    """Checks sizes, finiteness and indices.

    Args:
        model: NumPy or JAX arrays.
        source: the file's name, for the message.

    Raises:
        ValueError: one line that says what is wrong.
    """
    validate_arrays(model, source)
    size = SIZES[model.kind]
    _validate_hierarchy(model.hierarchy, (size["V"], *size["coarse"]), source)


def validate_arrays(model: BodyModel, source: str) -> None:
    """As `validate`, for a model whose coarse levels are not built yet."""
    size = SIZES[model.kind]
    for name, shape in _shapes(size, len(model.region_names), len(model.closed_faces)).items():
        array = np.asarray(getattr(model, name))
        if array.shape != shape:
            raise ValueError(
                f"{source}: {name} has shape {array.shape}, a {model.kind} needs {shape}: another topology than "
                f"{'MANO' if model.kind == 'hand' else 'FLAME'}'s does not fit this network"
            )
        if not np.isfinite(array).all():
            raise ValueError(f"{source}: {name} holds NaN or infinity; convert the model again")
    limits = dict(
        faces=size["V"], closed_faces=size["V"], tip_ids=size["V"], lmk_faces_idx=size["F"]
    )
    for name, limit in limits.items():
        ids = np.asarray(getattr(model, name))
        if ids.size and (ids.min() < 0 or ids.max() >= limit):
            raise ValueError(f"{source}: {name} points outside the mesh (0 to {limit - 1})")
    if len(model.parents) != size["J"] or model.parents[0] != -1:
        raise ValueError(
            f"{source}: parents must hold {size['J']} joints, the root (-1) first; got {model.parents}"
        )
    if any(not 0 <= parent < joint for joint, parent in enumerate(model.parents) if joint):
        raise ValueError(f"{source}: parents must come before their children; got {model.parents}")
    for name in ("lbs_weights", "J_regressor", "lmk_bary_coords"):
        sums = np.asarray(getattr(model, name)).sum(-1)
        if np.abs(sums - 1).max(initial=0) > 1e-3:
            raise ValueError(
                f"{source}: the rows of {name} must sum to 1; they sum to {sums.min():.4f}..{sums.max():.4f}"
            )


def _validate_hierarchy(hierarchy, counts, source):
    if hierarchy.counts != counts:
        raise ValueError(f"{source}: mesh levels of {hierarchy.counts} vertices, not {counts}")
    for level, (fine, coarse) in enumerate(itertools.pairwise(counts)):
        limits = dict(
            down_ids=((coarse,), fine), up_ids=((fine, 3), coarse), faces=((None, 3), coarse)
        )
        for name, (shape, limit) in limits.items():
            ids = np.asarray(getattr(hierarchy, name)[level])
            if ids.shape[1:] != shape[1:] or ids.min() < 0 or ids.max() >= limit:
                raise ValueError(
                    f"{source}: {name} of level {level + 1} does not fit {fine} and {coarse} vertices"
                )
        weights = np.asarray(hierarchy.up_weights[level])
        if weights.shape != (fine, 3) or not np.allclose(weights.sum(-1), 1, atol=1e-3):
            raise ValueError(
                f"{source}: up_weights of level {level + 1} must be {fine} rows of 3 that sum to 1"
            )


def _shapes(size, num_regions, num_closed):
    """The shape of every array that does not depend on the mesh levels."""
    V, F, J, S, T, L, D = (size[key] for key in "VFJSTLD")
    return dict(
        v_template=(V, 3),
        shapedirs=(V, 3, S),
        posedirs=(V, 3, 9 * (J - 1)),
        J_regressor=(J, V),
        lbs_weights=(V, J),
        faces=(F, 3),
        closed_faces=(num_closed, 3),
        colors=(V, 3),
        cavity=(V,),
        stiffness=(V,),
        regions=(num_regions, V),
        tip_ids=(T,),
        lmk_faces_idx=(L,),
        lmk_bary_coords=(L, 3),
        pose_mean=(D,),
        pose_components=(D, D),
        pose_std=(D,),
    )


# The arrays of a model file, less those of the mesh levels.
ARRAYS = tuple(_shapes(SIZES["hand"], 0, 0))
