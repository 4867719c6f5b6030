"""The authors' choice of coarse vertices, on which their weights were trained: which vertex each
token stands on.

Their files `hand_mesh_transforms.pt` and `head_mesh_transforms.pt` hold matrices "D" with a single
one in each row. Beside converted weights they lie as `downsampling.npz`, with the vertices that
they select.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from dice_jax.body_models.lbs import BodyModel
from dice_jax.errors import UserError
from dice_jax.untrusted_files.torch_module import SparseTensor, Stub, read_object

FILE = "downsampling.npz"
SOURCES = {"hand": "hand_mesh_transforms.pt", "head": "head_mesh_transforms.pt"}
_COUNTS = {"hand": (778, 195), "head": (5023, 1675, 559)}

# For each part and coarse level, which vertex of the next finer level each vertex is.
Selection = dict[str, tuple[np.ndarray, ...]]


def read_transforms(part: str, path: str | os.PathLike) -> tuple[np.ndarray, ...]:
    """Reads one of the authors' files without executing anything in it.

    Args:
        part: "hand" or "head".
        path: the file.

    Returns:
        For each coarse level, the selected vertices of the next finer one.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not such a file, or its matrices do not select vertices.
    """
    contents = read_object(path)
    counts = _COUNTS[part]
    matrices = contents.get("D") if isinstance(contents, Mapping) else None
    if not isinstance(matrices, list | tuple) or len(matrices) < len(counts) - 1:
        raise UserError(f"{path} holds no list D of {len(counts) - 1} down-sampling matrices")
    sizes = zip(counts[1:], counts[:-1])
    return tuple(_selected(matrix, size, path) for matrix, size in zip(matrices, sizes))


def save_selection(folder: str | os.PathLike, selection: Selection) -> None:
    """Writes `folder/downsampling.npz`."""
    np.savez(
        Path(folder) / FILE,
        **{
            f"{part}_{i}": ids
            for part, all_ids in selection.items()
            for i, ids in enumerate(all_ids, start=1)
        },
    )


def apply_selection(
    folder: str | os.PathLike, hand_model: BodyModel, head_model: BodyModel
) -> tuple[BodyModel, BodyModel]:
    """Gives the body models the coarse vertices that belong to the weights in `folder`, if a file
    there says so.

    Only the way down changes: weights with such a file have learned their own way up.

    Raises:
        ValueError: the file is damaged or belongs to other meshes.
    """
    path = Path(folder) / FILE
    if not path.exists():
        return hand_model, head_model
    models = []
    for part, model in (("hand", hand_model), ("head", head_model)):
        counts = _COUNTS[part]
        try:
            with np.load(path, allow_pickle=False) as archive:
                ids = tuple(archive[f"{part}_{i}"].astype(np.int32) for i in range(1, len(counts)))
        except (KeyError, ValueError, EOFError, OSError, zipfile.BadZipFile) as error:
            raise ValueError(f"{path} is damaged ({error}): convert the weights again") from error
        if any(
            x.shape != (n,) or x.min() < 0 or x.max() >= finer
            for x, n, finer in zip(ids, counts[1:], counts)
        ):
            raise ValueError(
                f"{path} does not select vertices of a {part}: convert the weights again"
            )
        models.append(model.replace(hierarchy=model.hierarchy.replace(down_ids=ids)))
    return tuple(models)


def _selected(matrix, size, path) -> np.ndarray:
    rows, columns, values, shape = _coordinates(matrix, path)
    stored = values != 0
    rows, columns, values = rows[stored], columns[stored], values[stored]
    order = np.argsort(rows, kind="stable")
    if (
        tuple(shape) != size
        or not np.array_equal(rows[order], np.arange(size[0]))
        or not np.allclose(values, 1)
    ):
        what = f"a down-sampling matrix of shape {tuple(shape)}"
        raise UserError(f"{path}: {what} does not select {size[0]} of {size[1]} vertices")
    return columns[order].astype(np.int32)


def _coordinates(matrix, path):
    """Rows, columns, values and shape of a PyTorch or SciPy matrix, sparse or dense."""
    if isinstance(matrix, SparseTensor):
        return (*np.asarray(matrix.indices), np.asarray(matrix.values), matrix.size)
    if isinstance(matrix, np.ndarray) and matrix.ndim == 2:
        rows, columns = np.nonzero(matrix)
        return rows, columns, matrix[rows, columns], matrix.shape
    fields = (
        {name.lstrip("_"): value for name, value in vars(matrix).items()}
        if isinstance(matrix, Stub)
        else {}
    )
    kind = type(matrix).__name__.split("_")[0]
    if kind == "coo":
        rows, columns = fields["coords"] if "coords" in fields else (fields["row"], fields["col"])
    elif kind in ("csr", "csc"):
        outer = np.repeat(np.arange(len(fields["indptr"]) - 1), np.diff(fields["indptr"]))
        rows, columns = (outer, fields["indices"]) if kind == "csr" else (fields["indices"], outer)
    else:
        raise UserError(f"{path}: a down-sampling matrix is a {type(matrix).__name__}")
    return np.asarray(rows), np.asarray(columns), np.asarray(fields["data"]), fields["shape"]
