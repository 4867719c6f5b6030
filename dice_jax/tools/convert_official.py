"""Converts the authors' weights, once; `dice_jax.load` opens the result.

  python -m dice_jax.tools.convert_official model.bin --out weights/official

FILE is their `model.bin` (a whole pickled module) or a `state_dict.bin` of their training code.
Beside it belong their `hand_mesh_transforms.pt` and `head_mesh_transforms.pt`, and `neck_idx.npy`
of Decaf's assets, where they let no skin give way. Neither torch nor their code is needed, and
nothing in the files is executed. The result is an Orbax checkpoint and config.json, laid out as the
workdir of a training.
"""

from __future__ import annotations

import argparse
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
from dice_jax.models import presets
from dice_jax.untrusted_files import torch_module


def main(argv: Sequence[str] | None = None) -> int:
    """Converts as the command line says; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m dice_jax.tools.convert_official", description=__doc__.split("\n")[0]
    )
    parser.add_argument("file", type=Path, help="model.bin or state_dict.bin")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument(
        "--transforms", type=Path, help="folder of the *_mesh_transforms.pt (default: that of FILE)"
    )
    parser.add_argument(
        "--neck", type=Path, help="neck_idx.npy (default: that beside FILE, if there is one)"
    )
    parser.add_argument(
        "--heads", type=int, help="attention heads, which a state dict does not tell (default: 4)"
    )
    args = parser.parse_args(argv)
    try:
        neck = args.neck or args.file.parent / rigid_vertices.SOURCE
        if args.neck and not neck.is_file():
            raise errors.UserError(f"no file at {neck}")
        convert(args.file, args.out, args.transforms or args.file.parent, neck, args.heads)
    except official_weights.MismatchError as error:
        print(
            *(f"  {problem}" for problem in error.problems),
            f"error: {args.file}: {error}",
            sep="\n",
            file=sys.stderr,
        )
        return errors.EXIT_CODE
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return errors.EXIT_CODE
    return 0


def convert(file: Path, out: Path, transforms: Path, neck: Path, heads: int | None = None) -> None:
    """Writes `out` from the authors' files.

    Args:
        file: their weights.
        out: folder to write.
        transforms: folder of their down-sampling matrices; without these the queries are not quite
            theirs, which is said.
        neck: their `neck_idx.npy`; the same.
        heads: see `official.convert_network`.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a file is not what it should be; nothing is written.
    """
    saved = torch_module.read_module(file)
    try:
        converted = official_weights.convert_network(saved, heads)
    except official_weights.MismatchError:
        raise
    except ValueError as error:
        raise errors.UserError(f"{file}: {error}") from None
    selection, still = (
        _read_selection(transforms),
        rigid_vertices.read(neck) if neck.is_file() else None,
    )

    config = ConfigDict({"model": presets.as_config_dict(converted.config)})
    config.body_models = ConfigDict({"hand": "mano_right", "head": "flame"})
    config.source = f"{file.name}, sha256 {sha256(file)}"
    orbax_checkpoints.save_weights(out, converted.variables)
    config_file.save_config(out, config)
    if selection:
        coarse_vertices.save_selection(out, selection)
    if still is not None:
        np.save(out / rigid_vertices.FILE, still)
    used = len(saved.state) - len(converted.dead)
    print(
        f"{out}: {used} of {len(saved.state)} tensors; the other {len(converted.dead)} are never used by the network"
    )
    for note in converted.notes:
        print(f"assumed: {note}")
    if not selection:
        names = " and ".join(coarse_vertices.SOURCES.values())
        print(
            f"warning: no {names} in {transforms}: tokens stand on this package's own coarse vertices and not on those "
            "the weights were trained on, so answers will be off",
            file=sys.stderr,
        )
    if still is None:
        print(
            f"note: no {neck}: the skin of the neck may give way too, which the authors do not let it",
            file=sys.stderr,
        )


def _read_selection(folder: Path) -> coarse_vertices.Selection:
    present = [part for part, name in coarse_vertices.SOURCES.items() if (folder / name).exists()]
    if len(present) == 1:
        (absent,) = set(coarse_vertices.SOURCES) - set(present)
        raise FileNotFoundError(
            f"{folder / coarse_vertices.SOURCES[absent]} is missing, the other matrices are there"
        )
    return {
        part: coarse_vertices.read_transforms(part, folder / coarse_vertices.SOURCES[part])
        for part in present
    }


def sha256(path: Path) -> str:
    """The hash of a file, read piece by piece."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


if __name__ == "__main__":
    sys.exit(main())
