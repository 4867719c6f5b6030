"""Converts ImageNet weights of a classification HRNet into initial weights for training.

  python -m dice_jax.tools.convert_hrnet hrnetv2_w64_imagenet_pretrained.pth \\
    --out ~/.cache/dice_jax/assets/hrnet_w64.npz

There, in the folder of assets, configs/full.py looks for it. Another network names the file with
--config.model.backbone.pretrained=FILE.

FILE is the HRNet authors' .pth or timm's (`hrnet_w64` as .safetensors, .bin or .pth), of any width.
Every tensor must fit, except the 1000-way classifier, which is dropped. Neither torch nor timm is
needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from flax import traverse_util

from dice_jax import errors
from dice_jax.checkpoints import official_weights, pretrained_backbones
from dice_jax.io import atomic
from dice_jax.models.config import BackboneConfig


def main(argv: Sequence[str] | None = None) -> None:
    parser = errors.argument_parser(__doc__, prog="python -m dice_jax.tools.convert_hrnet")
    parser.add_argument("file", metavar="FILE", type=Path, help=".pth, .bin or .safetensors")
    parser.add_argument("--out", type=Path, required=True, help=".npz to write")
    args = parser.parse_args(argv)
    convert(args.file, args.out)


def convert(file: Path, out: Path) -> None:
    """Writes `out`, an .npz of the backbone's variables.

    Raises:
        FileNotFoundError: `file` does not exist.
        UserError: `file` is not a classification HRNet, or `out` does not end in .npz; nothing is
            written.
    """
    if out.suffix != ".npz":
        raise errors.UserError(f"--out must end in .npz, got {out}")
    try:
        converted = official_weights.convert_hrnet(pretrained_backbones.read_tensors(file))
    except ValueError as error:
        message = str(error) if str(file) in str(error) else f"{file}: {error}"
        raise errors.UserError(message, getattr(error, "problems", ())) from error
    config = converted.config
    assert isinstance(config, BackboneConfig)
    arrays: dict[str, Any] = dict(traverse_util.flatten_dict(converted.variables, sep="/"))
    with atomic.atomic_path(out) as path:
        np.savez(path, **arrays)
    dropped = ", ".join(converted.left_out) or "nothing"
    print(f"{out}: HRNet-W{config.width}, {config.features} features; left out: {dropped}")


if __name__ == "__main__":
    errors.run(main)
