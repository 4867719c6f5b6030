"""Converts ImageNet weights of a classification HRNet, to start a training from.

  python -m dice_jax.tools.convert_hrnet hrnetv2_w64_imagenet_pretrained.pth --out hrnet_w64.npz
  python -m dice_jax.train --config=configs/full.py --config.model.backbone.pretrained=hrnet_w64.npz ...

FILE is the HRNet authors' .pth or timm's (`hrnet_w64` as .safetensors, .bin or .pth), of any width.
Every tensor must fit, but for the 1000-way classifier, which is left out. Neither torch nor timm is
needed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from flax import traverse_util

from dice_jax import errors
from dice_jax.checkpoints import official_weights, pretrained_backbones
from dice_jax.io import atomic


def main(argv: Sequence[str] | None = None) -> int:
    """Converts as the command line says; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m dice_jax.tools.convert_hrnet", description=__doc__.split("\n")[0]
    )
    parser.add_argument("file", type=Path, help=".pth, .bin or .safetensors")
    parser.add_argument("--out", type=Path, required=True, help=".npz to write")
    args = parser.parse_args(argv)
    try:
        if args.out.suffix != ".npz":
            raise errors.UserError(f"--out must end in .npz, got {args.out}")
        state = pretrained_backbones.read_tensors(args.file)
        converted = official_weights.convert_hrnet(state)
        with atomic.atomic_path(args.out) as path:
            np.savez(path, **traverse_util.flatten_dict(converted.variables, sep="/"))
    except official_weights.MismatchError as error:
        print(
            *(f"  {problem}" for problem in error.problems),
            f"error: {args.file}: {error}",
            sep="\n",
            file=sys.stderr,
        )
        return errors.EXIT_CODE
    except (ValueError, OSError) as error:
        line = str(error) if str(args.file) in str(error) else f"{args.file}: {error}"
        print(f"error: {line}", file=sys.stderr)
        return errors.EXIT_CODE
    config, dead = converted.config, ", ".join(converted.dead) or "nothing"
    print(f"{args.out}: HRNet-W{config.width}, {config.features} features; left out: {dead}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
