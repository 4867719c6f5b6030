"""Exports a trained network as one StableHLO program that runs with JAX alone.

  python -m dice_jax.tools.export_model --weights default --out exported
  python exported/load_dice.py exported/model.stablehlo photo_224.npy

The program holds the weights and the body models. It takes any number of crops (N, 224, 224, 3),
uint8, and runs on CPU and on NVIDIA GPUs. `load_dice.py`, written beside it, needs numpy and jax.
Before the files get their names, the program is read back and compared with `dice_jax.infer`.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax import export
from jaxtyping import Float, UInt8

from dice_jax import errors, inference, xla_flags
from dice_jax.array_types import Array
from dice_jax.constants import CROP_SIZE
from dice_jax.io import atomic
from dice_jax.structs import Prediction

PROGRAM, LOADER, ABOUT = "model.stablehlo", "load_dice.py", "about.json"
PLATFORMS = ("cpu", "cuda")
_BATCHES = (1, 3)  # of the comparison
_TOLERANCE = 1e-4  # meters, radians, probabilities; of pixels, 224 times as much

LOADER_TEXT = '''"""Runs an exported DICE network on crops. Needs numpy and jax, not dice_jax.

  python load_dice.py model.stablehlo crops.npy    # (N, 224, 224, 3) uint8 RGB
"""

import sys

import jax
import numpy


def load(path):
    """A function from crops (N, 224, 224, 3), uint8, to a dictionary of arrays."""
    with open(path, "rb") as file:
        return jax.jit(jax.export.deserialize(bytearray(file.read())).call)


if __name__ == "__main__":
    crops = numpy.load(sys.argv[2])
    for name, value in load(sys.argv[1])(crops).items():
        print(name, value.shape)
'''


def main(argv: Sequence[str] | None = None) -> None:
    parser = errors.argument_parser(__doc__, prog="python -m dice_jax.tools.export_model")
    add = parser.add_argument
    add("--weights", default="default", help="as for the demo (default: default)")
    add("--out", required=True, help="folder to write")
    add("--hand", choices=("right", "left"), default="right", help="default: right")
    args = parser.parse_args(argv)
    xla_flags.set_cpu_preset()
    out = atomic.writable_folder(args.out)
    model = inference.load(args.weights)
    exported = export_infer(model, args.hand)
    data = bytes(exported.serialize())
    differences = compare(data, lambda crops: infer_arrays(model, crops, args.hand))
    about = {
        "weights": str(args.weights),
        "hand": args.hand,
        "input": ["N", CROP_SIZE, CROP_SIZE, 3],
        "outputs": {name: _shape(value) for name, value in _outputs(exported).items()},
        "units": "meters, radians, pixels of the crop; camera axes x right, y down, z away",
        "platforms": list(exported.platforms),
        "jax": jax.__version__,
        "largest_difference": differences,
    }
    with atomic.together():
        atomic.write_bytes(out / PROGRAM, data)
        atomic.write_text(out / LOADER, LOADER_TEXT)
        atomic.write_text(out / ABOUT, json.dumps(about, indent=1) + "\n")
    worst = max(differences, key=lambda name: differences[name])
    print(f"{out / PROGRAM}: {len(data) / 1e6:.1f} MB, {', '.join(exported.platforms)}")
    print(f"largest difference from infer: {differences[worst]:.1e} ({worst})")


def infer_arrays(
    model: inference.Model, crops: UInt8[Array, "N 224 224 3"], hand: str = "right"
) -> dict[str, Float[Array, "N ..."]]:
    """The prediction of `infer` as a flat dictionary; names as in `structs.Prediction`."""
    return flat(inference.infer_checked(model, crops, hand=hand))


def flat(prediction: Prediction) -> dict[str, Any]:
    """Arrays by name; those of parameters and camera have the name of their group before."""
    arrays = {}
    for field in dataclasses.fields(prediction):
        value = getattr(prediction, field.name)
        if dataclasses.is_dataclass(value):
            for inner in dataclasses.fields(value):
                arrays[f"{field.name}.{inner.name}"] = getattr(value, inner.name)
        elif value is not None:
            arrays[field.name] = value
    return arrays


def export_infer(model: inference.Model, hand: str = "right") -> export.Exported:
    """The program of `infer` for any number of crops, with the model inside."""
    (count,) = export.symbolic_shape("N")
    crops = jax.ShapeDtypeStruct((count, CROP_SIZE, CROP_SIZE, 3), np.uint8)
    program = jax.jit(lambda crops: infer_arrays(model, crops, hand))
    return export.export(program, platforms=PLATFORMS)(crops)


def compare(
    data: bytes, reference: Callable[[np.ndarray], Mapping[str, Array]]
) -> dict[str, float]:
    """The largest difference of every output on random crops.

    Args:
        data: the serialized program.
        reference: what it should compute.

    Raises:
        UserError: a difference is too large.
    """
    loaded = jax.jit(export.deserialize(bytearray(data)).call)
    rng = np.random.default_rng(0)
    differences: dict[str, float] = {}
    for batch in _BATCHES:
        patches = rng.integers(0, 256, (batch, 14, 14, 3), np.uint8)
        crops = patches.repeat(16, axis=1).repeat(16, axis=2)
        expected, found = reference(crops), loaded(crops)
        if set(expected) != set(found):
            raise errors.UserError("the exported program has other outputs than the network")
        for name, value in expected.items():
            gap = float(np.abs(np.asarray(value) - np.asarray(found[name])).max())
            differences[name] = max(gap, differences.get(name, 0.0))
    for name, gap in differences.items():
        pixels = "2d" in name or "camera" in name or "sigma" in name
        if not gap <= _TOLERANCE * (CROP_SIZE if pixels else 1):
            raise errors.UserError(
                f"the exported program differs from the network by {gap:.1e} in {name}"
            )
    return differences


def _outputs(exported: export.Exported) -> dict[str, Any]:
    return jax.tree.unflatten(exported.out_tree, exported.out_avals)


def _shape(value: Any) -> list[int | str]:
    return [size if isinstance(size, int) else str(size) for size in value.shape]


def cli() -> None:
    """The console script `dice-export`."""
    errors.run(main)


if __name__ == "__main__":
    cli()
