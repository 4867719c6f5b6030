"""Converts the weights of the DICE authors, once; `dice_jax.load` opens the result.

  python -m dice_jax.tools.convert_official model.bin --out weights/official

FILE is the authors' `model.bin` (a whole pickled module) or a `state_dict.bin` of their training
code. Put `hand_mesh_transforms.pt` and `head_mesh_transforms.pt` of the authors beside it, and
`neck_idx.npy` of Decaf's assets, which lists the vertices whose deformation is forced to zero.
Neither torch nor the authors' code is needed, and nothing in the files is executed. The result is
an Orbax checkpoint with config.json, in the layout of a training workdir.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from dice_jax import errors
from dice_jax.checkpoints import (
    coarse_vertices,
    config_file,
    official_weights,
    orbax_checkpoints,
    rigid_vertices,
)
from dice_jax.io import atomic
from dice_jax.models import presets
from dice_jax.models.config import ModelConfig
from dice_jax.untrusted_files import torch_module


def main(argv: Sequence[str] | None = None) -> None:
    parser = errors.argument_parser(__doc__, prog="python -m dice_jax.tools.convert_official")
    add = parser.add_argument
    add("file", metavar="FILE", type=Path, help="model.bin or state_dict.bin")
    add("--out", type=Path, required=True, help="folder to write")
    add(
        "--transforms",
        type=Path,
        metavar="DIR",
        help="folder of the two *_mesh_transforms.pt (default: the folder of FILE)",
    )
    add("--neck", type=Path, help="neck_idx.npy (default: the one beside FILE, if there is one)")
    add(
        "--heads",
        type=int,
        help="attention heads of a state dict, which does not contain their number (default: 4)",
    )
    args = parser.parse_args(argv)
    neck = args.neck or args.file.parent / rigid_vertices.SOURCE
    if args.neck and not neck.is_file():
        raise errors.UserError(f"no file at {neck}")
    convert(args.file, args.out, args.transforms or args.file.parent, neck, args.heads)


def convert(file: Path, out: Path, transforms: Path, neck: Path, heads: int | None = None) -> None:
    """Writes the folder `out` from the authors' files.

    Args:
        file: the authors' weights.
        out: folder to write.
        transforms: folder of their down-sampling matrices. Without these the query tokens stand at
            other vertices than in training, and a warning is printed.
        neck: their `neck_idx.npy`. Without it the neck may deform, and a note is printed.
        heads: see `official_weights.convert_network`.

    Raises:
        FileNotFoundError: `file` does not exist.
        ValueError: a file has another content than expected; nothing is written.
    """
    saved = torch_module.read_module(file)
    try:
        converted = official_weights.convert_network(saved, heads)
    except ValueError as error:
        raise errors.UserError(f"{file}: {error}", getattr(error, "problems", ())) from error
    selection = _read_selection(transforms)
    rigid = rigid_vertices.read(neck) if neck.is_file() else None

    assert isinstance(converted.config, ModelConfig)
    config = ConfigDict({"model": presets.as_config_dict(converted.config)})
    config.body_models = ConfigDict({"hand": "mano_right", "head": "flame"})
    config.source = f"{file.name}, sha256 {sha256(file)}"
    orbax_checkpoints.save_weights(out, converted.variables)
    config_file.save_config(out, config)
    if selection:
        coarse_vertices.save_selection(out, selection)
    if rigid is not None:
        with atomic.atomic_path(out / rigid_vertices.FILE) as temporary:
            np.save(temporary, rigid)

    print(f"{out}: converted; what the authors' network never uses is left out:")
    for line in converted.left_out:
        print(f"  {line}")
    for note in converted.notes:
        print(f"assumed: {note}")
    if not selection:
        names = " and ".join(coarse_vertices.SOURCES.values())
        print(
            f"warning: no {names} in {transforms}: the query tokens stand at this package's coarse "
            "vertices, not at those the weights were trained on; predictions will be inaccurate",
            file=sys.stderr,
        )
    if rigid is None:
        print(
            f"note: no {neck}: the neck may deform, which the authors' network forces to zero",
            file=sys.stderr,
        )


def _read_selection(folder: Path) -> coarse_vertices.Selection:
    sources = {part: folder / name for part, name in coarse_vertices.SOURCES.items()}
    missing = [path for path in sources.values() if not path.exists()]
    if len(missing) == len(sources):
        return {}
    if missing:
        raise FileNotFoundError(f"{missing[0]} is missing, while the other matrices are there")
    return {part: coarse_vertices.read_transforms(part, path) for part, path in sources.items()}


def sha256(path: Path) -> str:
    """The SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


if __name__ == "__main__":
    errors.run(main)
