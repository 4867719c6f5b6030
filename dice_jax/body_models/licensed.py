"""MANO and FLAME from their authors' files, which registered users can download.

`tools.convert_mano` and `tools.convert_flame` call these functions once. The result is a model file
in the folder of assets, which `assets.load_hand("mano_right")` finds by name.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dice_jax.body_models import anatomy, asset_folder, assets
from dice_jax.body_models.lbs import BodyModel
from dice_jax.constants import NUM_HEAD_KEYPOINTS
from dice_jax.errors import UserError
from dice_jax.geometry.mesh import edges
from dice_jax.untrusted_files import pickles

MANO_PARENTS = (-1, 0, 1, 2, 0, 4, 5, 0, 7, 8, 0, 10, 11, 0, 13, 14)
FLAME_PARENTS = (-1, 0, 1, 1, 1)
# Vertices at the tips of thumb, index, middle, ring and little finger of either hand, as in smplx.
MANO_TIPS = (744, 320, 443, 554, 671)
_FLAME_EXPRESSION = 300  # FLAME's file has 300 components of shape, then 100 of expression
_NUM_BETAS, _NUM_EXPRESSION = 100, 50  # the components that the paper uses
# The longest side of the box around a rest mesh, meters.
_EXTENT = {"hand": (0.1, 0.35), "head": (0.2, 0.6)}
# Our names of the arrays that MANO and FLAME share, and the names in their files.
_SHARED = dict(
    v_template="v_template",
    shapedirs="shapedirs",
    posedirs="posedirs",
    J_regressor="J_regressor",
    lbs_weights="weights",
    faces="f",
)
_LICENSE = "non-commercial, no redistribution: see {site}"


def convert_mano(path: str | os.PathLike, *, mirror_shapedirs: bool = False) -> BodyModel:
    """A hand model from `MANO_RIGHT.pkl` or `MANO_LEFT.pkl` (v1.2).

    Args:
        path: the file.
        mirror_shapedirs: negate the x of the shape blend shapes. The left hand of v1.2 has those of
            the right hand, so without it the same betas give a left and a right hand that are not
            mirror images.

    Returns:
        The model. Its pose prior is MANO's: `hands_mean`, `hands_components` and the standard
        deviation of `hands_coeffs`.

    Raises:
        FileNotFoundError: no such file.
        UserError: the file is not a pickle of a MANO hand, or has other sizes, topology or units.
    """
    contents = _read(path, (*_SHARED.values(), "kintree_table", "hands_mean", "hands_components"))
    arrays = _shared_arrays(contents, path, "hand", MANO_PARENTS)
    coefficients = np.asarray(contents.get("hands_coeffs", np.zeros((0, 45))), np.float64)
    if coefficients.ndim != 2 or coefficients.shape[1] != 45:
        raise UserError(
            f"{path}: hands_coeffs has shape {coefficients.shape}, MANO's has 45 columns"
        )
    if mirror_shapedirs:
        arrays["shapedirs"] = arrays["shapedirs"] * np.array([-1.0, 1.0, 1.0])[:, None]
    return _built(
        "hand",
        path,
        arrays,
        tip_ids=np.array(MANO_TIPS),
        pose_mean=np.ravel(contents["hands_mean"]),
        pose_components=np.asarray(contents["hands_components"]),
        pose_std=coefficients.std(0) if len(coefficients) > 1 else np.ones(45),
        provenance=_provenance("MANO", path),
        license=_LICENSE.format(site=asset_folder.LICENSED["mano_right"].site),
    )


def convert_flame(path: str | os.PathLike, landmarks: str | os.PathLike) -> BodyModel:
    """A head model from FLAME's `generic_model.pkl` and DECA's `landmark_embedding.npy`.

    The first 100 betas and 50 expression components are kept, as in the paper. Cavities, regions,
    stiffness and colors are computed by `anatomy.head_anatomy`.

    Args:
        path: FLAME's file, 2020 or 2023.
        landmarks: file with `full_lmk_faces_idx` and `full_lmk_bary_coords`, the static embedding
            of the 68 landmarks.

    Raises:
        FileNotFoundError: no such file.
        UserError: the file is not a pickle of a FLAME head, or has other sizes, topology or units.
    """
    contents = _read(path, (*_SHARED.values(), "kintree_table"))
    arrays = _shared_arrays(contents, path, "head", FLAME_PARENTS)
    count = arrays["shapedirs"].shape[-1]
    if count < _FLAME_EXPRESSION + _NUM_EXPRESSION:
        raise UserError(
            f"{path}: shapedirs has {count} components, FLAME's has 300 of shape and 100 of "
            "expression"
        )
    expression = range(_FLAME_EXPRESSION, _FLAME_EXPRESSION + _NUM_EXPRESSION)
    arrays["shapedirs"] = arrays["shapedirs"][..., [*range(_NUM_BETAS), *expression]]
    faces_idx, bary_coords = _read_landmarks(landmarks, len(arrays["faces"]))

    vertices, faces = arrays["v_template"], arrays["faces"]
    points = (vertices[faces[faces_idx]] * bary_coords[:, :, None]).sum(1)
    found = anatomy.head_anatomy(vertices, faces, points, assets.load_head())
    return _built(
        "head",
        path,
        arrays,
        lmk_faces_idx=faces_idx,
        lmk_bary_coords=bary_coords,
        importance=anatomy.head_importance(found.cavity, found.regions),
        provenance=f"{_provenance('FLAME', path)}; landmarks from {_provenance('DECA', landmarks)}",
        license=_LICENSE.format(site=asset_folder.LICENSED["flame"].site),
        **found._asdict(),
    )


def _read(path: str | os.PathLike, needed: tuple[str, ...]) -> Mapping[str, Any]:
    contents = pickles.read_pickle(path)
    if not isinstance(contents, dict):
        raise UserError(
            f"{path} holds a {type(contents).__name__}, not the dictionary of a body model"
        )
    missing = [name for name in needed if name not in contents]
    if missing:
        raise UserError(f"{path} lacks {', '.join(missing)}: is it the file of another model?")
    return contents


def _shared_arrays(
    contents: Mapping[str, Any], path: str | os.PathLike, kind: str, parents: tuple[int, ...]
) -> dict[str, np.ndarray]:
    """The arrays that MANO and FLAME share, under our names, with checked values and topology."""
    arrays: dict[str, np.ndarray] = {}
    try:
        for name, theirs in _SHARED.items():
            arrays[name] = np.asarray(contents[theirs], np.float64)
        table = np.asarray(contents["kintree_table"], np.int64)
        found = (-1, *(int(parent) for parent in table[0, 1:]))
    except (TypeError, ValueError, IndexError) as error:
        raise UserError(
            f"{path}: an array of the {kind} model does not hold numbers ({error})"
        ) from None
    arrays["faces"] = arrays["faces"].astype(np.int32)
    size = 3 * len(arrays["v_template"])
    for name in ("shapedirs", "posedirs"):
        if arrays[name].ndim < 2 and arrays[name].size % size == 0:  # some copies are flattened
            arrays[name] = arrays[name].reshape(size // 3, 3, -1)
    dimensions = dict(v_template=2, shapedirs=3, posedirs=3)
    if any(arrays[name].ndim != ndim for name, ndim in dimensions.items()):
        shapes = ", ".join(f"{name} {arrays[name].shape}" for name in dimensions)
        raise UserError(f"{path}: the arrays of the {kind} model have unknown layouts ({shapes})")
    if found != parents:
        raise UserError(f"{path}: the parents of the joints are {found}, not {parents}")
    _check_values(arrays, path, kind)
    return arrays | {"parents": np.array(parents)}


def _check_values(arrays: Mapping[str, np.ndarray], path: str | os.PathLike, kind: str) -> None:
    vertices, faces = arrays["v_template"], arrays["faces"]
    low, high = _EXTENT[kind]
    extent = float(np.ptp(vertices, axis=0).max()) if vertices.size else 0.0
    if not low < extent < high:
        raise UserError(
            f"{path}: the {kind} is {extent:.3g} long, where {low} to {high} meters are possible: "
            "other units?"
        )
    if arrays["lbs_weights"].min() < -1e-6:
        raise UserError(f"{path}: there are negative skinning weights")
    triangles = faces.ndim == 2 and faces.shape[1] == 3
    if not triangles or faces.min() < 0 or faces.max() >= len(vertices):
        raise UserError(f"{path}: its faces are not triangles of its vertices")
    # An edge joins two triangles or borders a hole, and no two triangles use it in one direction.
    directed = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    if len(np.unique(directed, axis=0)) != len(directed) or len(edges(faces)) > len(directed):
        raise UserError(
            f"{path}: its triangles do not form a surface "
            "(an edge is used twice in the same direction)"
        )


def _read_landmarks(path: str | os.PathLike, num_faces: int) -> tuple[np.ndarray, np.ndarray]:
    """Triangle ids (68,) and barycentric coordinates (68, 3) of the static landmarks."""
    contents = pickles.read_object_array(path)
    names = ("full_lmk_faces_idx", "full_lmk_bary_coords")
    entries = [contents.get(name) for name in names] if isinstance(contents, dict) else []
    found = [entry for entry in entries if isinstance(entry, np.ndarray)]
    if len(found) != len(names):
        raise UserError(
            f"{path} lacks the arrays {' and '.join(names)}: take landmark_embedding.npy of DECA"
        )
    faces_idx, bary_coords = found[0].reshape(-1), found[1].reshape(-1, 3).astype(np.float64)
    count = NUM_HEAD_KEYPOINTS
    if len(faces_idx) != count or len(bary_coords) != count:
        raise UserError(f"{path} holds {len(faces_idx)} landmarks, not {count}")
    if faces_idx.min() < 0 or faces_idx.max() >= num_faces:
        raise UserError(
            f"{path} refers to faces that the head does not have: it belongs to another mesh"
        )
    if np.abs(bary_coords.sum(-1) - 1).max() > 1e-3 or bary_coords.min() < -0.01:
        raise UserError(f"{path}: its barycentric coordinates are outside their triangles")
    return faces_idx.astype(np.int64), bary_coords


def _built(
    kind: str, path: str | os.PathLike, arrays: Mapping[str, np.ndarray], **others
) -> BodyModel:
    try:
        return assets.build_model(kind, **arrays, **others)
    except ValueError as error:
        raise UserError(f"{path}: {error}") from None


def _provenance(name: str, path: str | os.PathLike) -> str:
    digest = hashlib.sha256(Path(path).read_bytes()).hexdigest()
    return f"{name}, {Path(path).name}, sha256 {digest}"
