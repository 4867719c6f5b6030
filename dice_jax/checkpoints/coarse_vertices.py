"""The authors' coarse vertices: which vertices of the meshes become tokens of their network.

The authors' weights were trained with this selection, which differs from the one of this package.
Their files `hand_mesh_transforms.pt` and `head_mesh_transforms.pt` hold down-sampling matrices "D"
with a single one in each row. Converted weights keep the selected vertices as `downsampling.npz`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dice_jax.body_models.lbs import BodyModel
from dice_jax.constants import HAND_LEVELS, HEAD_LEVELS
from dice_jax.errors import UserError
from dice_jax.io import atomic
from dice_jax.untrusted_files import npz
from dice_jax.untrusted_files.torch_module import SparseTensor, Stub, read_object

FILE = "downsampling.npz"
SOURCES = {"hand": "hand_mesh_transforms.pt", "head": "head_mesh_transforms.pt"}
_LEVELS = {"hand": HAND_LEVELS, "head": HEAD_LEVELS}

# For each part and each coarse level, the selected vertices of the next finer level.
Selection = dict[str, tuple[np.ndarray, ...]]


def read_transforms(part: str, path: str | os.PathLike) -> tuple[np.ndarray, ...]:
    """Reads one of the authors' files without executing code in it.

    Args:
        part: "hand" or "head".
        path: the file.

    Returns:
        For each coarse level, the selected vertices of the next finer level.

    Raises:
        FileNotFoundError: no such file.
        UserError: another kind of file, or its matrices do not select vertices.
    """
    contents = read_object(path)
    levels = _LEVELS[part]
    matrices = contents.get("D") if isinstance(contents, Mapping) else None
    if not isinstance(matrices, list | tuple) or len(matrices) < len(levels) - 1:
        raise UserError(f"{path} holds no list D of {len(levels) - 1} down-sampling matrices")
    sizes = zip(levels[1:], levels[:-1])
    return tuple(_selected(matrix, size, path) for matrix, size in zip(matrices, sizes))


def save_selection(folder: str | os.PathLike, selection: Selection) -> None:
    """Writes `folder/downsampling.npz`."""
    arrays: dict[str, Any] = {
        f"{part}_{level}": ids
        for part, levels in selection.items()
        for level, ids in enumerate(levels, start=1)
    }
    with atomic.atomic_path(Path(folder) / FILE) as path:
        np.savez(path, **arrays)


def apply_selection(
    folder: str | os.PathLike, hand_model: BodyModel, head_model: BodyModel
) -> tuple[BodyModel, BodyModel]:
    """Replaces the coarse vertices of body models by those stored beside weights.

    Only down-sampling changes: such weights come with learned up-sampling.

    Args:
        folder: of the weights. Without `downsampling.npz` in it the body models do not change.
        hand_model, head_model: as loaded.

    Raises:
        ValueError: the file is damaged or belongs to other meshes.
    """
    path = Path(folder) / FILE
    if not path.exists():
        return hand_model, head_model
    expected = {
        f"{part}_{level}": npz.Array(npz.INTEGERS, (size,))
        for part, sizes in _LEVELS.items()
        for level, size in enumerate(sizes[1:], start=1)
    }
    what, remedy = "a selection of vertices", "convert the weights again"
    arrays = npz.read_npz(path, expected, what=what, remedy=remedy)
    return _apply(path, "hand", hand_model, arrays), _apply(path, "head", head_model, arrays)


def _apply(path: Path, part: str, model: BodyModel, arrays: Mapping[str, np.ndarray]) -> BodyModel:
    levels = _LEVELS[part]
    ids = tuple(arrays[f"{part}_{i}"] for i in range(1, len(levels)))
    for selected, finer_size in zip(ids, levels):
        if selected.min() < 0 or selected.max() >= finer_size:
            raise UserError(
                f"{path} does not select vertices of a {part}: convert the weights again"
            )
    ids = tuple(selected.astype(np.int32) for selected in ids)
    return model.replace(hierarchy=model.hierarchy.replace(down_ids=ids))


def _selected(matrix: Any, size: tuple[int, int], path: str | os.PathLike) -> np.ndarray:
    """The column of the single one in each row of `matrix`."""
    rows, columns, values, shape = _coordinates(matrix, path)
    stored = values != 0
    rows, columns, values = rows[stored], columns[stored], values[stored]
    order = np.argsort(rows, kind="stable")
    single = np.array_equal(rows[order], np.arange(size[0])) and np.allclose(values, 1)
    if tuple(shape) != size or not single:
        raise UserError(
            f"{path}: a down-sampling matrix of shape {tuple(shape)} does not select "
            f"{size[0]} of {size[1]} vertices"
        )
    return columns[order].astype(np.int32)


def _coordinates(
    matrix: Any, path: str | os.PathLike
) -> tuple[np.ndarray, np.ndarray, np.ndarray, tuple[int, ...]]:
    """Rows, columns, values and shape of a PyTorch or SciPy matrix, sparse or dense."""
    if isinstance(matrix, SparseTensor):
        rows, columns = np.asarray(matrix.indices)
        return rows, columns, np.asarray(matrix.values), tuple(matrix.size)
    if isinstance(matrix, np.ndarray) and matrix.ndim == 2:
        rows, columns = np.nonzero(matrix)
        return rows, columns, matrix[rows, columns], matrix.shape
    kind = matrix.class_name if isinstance(matrix, Stub) else type(matrix).__name__
    raise UserError(f"{path}: a down-sampling matrix is a {kind}")
