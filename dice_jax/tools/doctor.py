"""Checks the installation and lists what is missing.

  python -m dice_jax.tools.doctor
  python -m dice_jax.tools.doctor --weights weights/official

Prints versions and devices, the body models and weights that are there with their hashes, and
whether a forward pass with known weights gives its known result. Exits with 1 if something fails
that needs no file besides this package.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import platform
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

import dice_jax
from dice_jax import errors, inference, xla_flags
from dice_jax.body_models import asset_folder, assets
from dice_jax.checkpoints import config_file, npz_weights
from dice_jax.checkpoints.shipped import WEIGHTS_DIR
from dice_jax.constants import CROP_SIZE
from dice_jax.models import config

PACKAGES = (
    *("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy"),
    *("tensorflow-datasets", "grain"),
)
# Its own configuration, because the presets may change.
_KNOWN_NETWORK = config.ModelConfig(
    backbone=config.BackboneConfig(name="efficientnet_lite0", width=0.25, depth=1, features=64),
    mesh_net=config.MeshNetConfig(
        config.EncodersConfig(
            hidden=(16, 8), outputs=(8,), layers=(1, 1), feed_forward=16, heads=2
        ),
        template_residual=True,
    ),
    interaction_net=config.InteractionNetConfig(
        8, config.EncodersConfig(hidden=(8,), outputs=(), layers=(1,), feed_forward=16, heads=2)
    ),
    upsampling="barycentric",
    hand_ik=config.IKNetConfig(hidden=16, level=1),
    head_ik=config.IKNetConfig(hidden=16, level=2),
    presence_hidden=(16, 8),
)
# Result of `known_forward` where all tests passed: camera scale and translation, presence, and the
# mean absolute coordinate of hand, head and deformations. Measure it again when the open body
# models change.
_KNOWN = (539.577, -12.6523, 49.2748, 0.379652, 0.721988, 0.0381120, 0.555518)
_TOLERANCE = 2e-3


def main(
    argv: Sequence[str] | None = None,
    shipped: Path = WEIGHTS_DIR,
    forward: Callable[[], Sequence[float]] | None = None,
) -> int:
    """Prints the report.

    Args:
        argv: the command line.
        shipped: folder of the weights that ship with the package.
        forward: computes the numbers to compare with the known ones (default: `known_forward`).

    Returns:
        The exit code: 0, or 1 where something that is there does not work.
    """
    parser = errors.argument_parser(__doc__, prog="python -m dice_jax.tools.doctor")
    parser.add_argument(
        "--weights", help="also check these: a folder, or a name shipped with the package"
    )
    args = parser.parse_args(argv)
    xla_flags.set_cpu_preset()

    python = f"Python {platform.python_version()}, {platform.platform()}"
    print(f"dice_jax {dice_jax.__version__}, {python}")
    print(", ".join(f"{name} {version(name)}" for name in PACKAGES))
    for device in jax.devices():
        print(f"device {device.id}: {device.platform}, {device.device_kind}")

    works = [*check_body_models(), check_forward(forward or known_forward)]
    works += check_weights(args.weights, shipped)
    print("everything that is there works" if all(works) else "something above does not work")
    return 0 if all(works) else 1


def version(package: str) -> str:
    """The installed version of a package, or "absent"."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "absent"


def sha256(path: Path) -> str:
    """The first 16 digits of a file's SHA-256."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def known_forward() -> tuple[float, ...]:
    """Seven numbers that summarize the prediction of a known network for a known image.

    Returns:
        Camera scale (pixels per meter) and translation (pixels), contact presence, and the mean
        absolute coordinate (meters) of hand vertices, head vertices and deformations.
    """
    hand_model, head_model = assets.load_hand(), assets.load_head()
    module, queries = _KNOWN_NETWORK.create(hand_model, head_model)
    images = jax.ShapeDtypeStruct((1, CROP_SIZE, CROP_SIZE, 3), jnp.float32)
    shapes = jax.eval_shape(
        lambda key, x: module.init(key, x, queries, train=False), jax.random.key(0), images
    )
    flat: dict[str, Any] = dict(traverse_util.flatten_dict(shapes, sep="/"))
    values = {name: _weight(name, flat[name].shape, i) for i, name in enumerate(sorted(flat))}
    variables = traverse_util.unflatten_dict(values, sep="/")
    model = inference.Model(variables, hand_model, head_model, queries, module)

    rows, columns = np.mgrid[:CROP_SIZE, :CROP_SIZE]
    image = np.stack([rows, columns, (rows * columns) // 200], -1).astype(np.uint8)
    prediction = inference.infer(model, image, gate_by_presence=False)
    mean_size = lambda points: float(jnp.abs(points).mean())
    return (
        float(prediction.camera.scale),
        *map(float, prediction.camera.transl),
        float(prediction.contact_presence),
        mean_size(prediction.hand_vertices),
        mean_size(prediction.head_vertices),
        mean_size(prediction.deformations),
    )


def _weight(name: str, shape: tuple[int, ...], index: int) -> np.ndarray:
    """Sines instead of random numbers, which could change with the platform or the version."""
    if name.endswith(("scale", "var")):
        return np.ones(shape, np.float32)
    waves = np.sin(0.7 * np.arange(np.prod(shape)) * (1 + index % 7) + index).reshape(shape)
    return np.asarray(waves / np.sqrt(max(np.prod(shape[:-1]), 1)), np.float32)


def check_forward(forward: Callable[[], Sequence[float]]) -> bool:
    """Whether `forward` gives the known numbers."""
    start = time.perf_counter()
    got = forward()
    seconds = time.perf_counter() - start
    agrees = np.allclose(got, _KNOWN, rtol=_TOLERANCE, atol=1e-5)
    verdict = "agrees" if agrees else "DOES NOT AGREE"
    print(f"forward pass of a known network: {verdict}, {seconds:.1f} s with compilation")
    if not agrees:
        print(f"  got      {', '.join(f'{x:.6g}' for x in got)}")
        print(f"  expected {', '.join(f'{x:.6g}' for x in _KNOWN)}")
    return agrees


def check_body_models() -> list[bool]:
    """Whether each body model that is there loads; prints how to get the others."""
    works = [_loads("open hand", assets.load_hand), _loads("open head", assets.load_head)]
    folder = asset_folder.assets_folder()
    for name in asset_folder.LICENSED:
        missing = asset_folder.missing(name)
        if missing:
            print(f"{name}: not there, only needed for the authors' weights and data. {missing}")
            continue
        load = assets.load_head if name == "flame" else assets.load_hand
        what = f"{name} ({sha256(folder / f'{name}.npz')})"
        works.append(_loads(what, lambda load=load, name=name: load(name)))
    return works


def check_weights(weights: str | None, shipped: Path) -> list[bool]:
    """Whether the shipped weights and `weights` give a finite prediction."""
    folders = {}
    if shipped.is_dir():
        folders = {path.name: path for path in sorted(shipped.iterdir()) if path.is_dir()}
    if weights:
        folders[weights] = folders.get(weights, Path(weights))
    if not folders:
        print(
            "weights: none are shipped with this copy; "
            "train some (--config=small) or convert the authors' (README.md)"
        )
    return [
        _loads(f"weights {name} ({_source(folder)})", lambda folder=folder: _predict_gray(folder))
        for name, folder in folders.items()
    ]


def _predict_gray(folder: Path) -> None:
    """Predicts from a gray image; raises a ValueError where the result is not finite."""
    image = np.full((CROP_SIZE, CROP_SIZE, 3), 128, np.uint8)
    prediction = inference.infer(inference.load(folder), image)
    if not all(bool(jnp.isfinite(array).all()) for array in jax.tree.leaves(prediction)):
        raise ValueError("the prediction for a gray image is not finite")


def _source(folder: Path) -> str:
    """The hash of a weights file, or where a checkpoint comes from."""
    path = folder / npz_weights.WEIGHTS_FILE
    if path.is_file():
        return sha256(path)
    try:
        return str(config_file.load_config(folder).get("source", "a training run"))
    except (ValueError, OSError):
        return "of unknown origin"


def _loads(what: str, load: Callable[[], object]) -> bool:
    """Whether `load` raises no error; prints the result as one line."""
    try:
        load()
    except (ValueError, OSError) as error:
        print(f"{what}: DOES NOT WORK. {' '.join(str(error).split())}")
        return False
    print(f"{what}: works")
    return True


def cli() -> None:
    """The console script `dice-doctor`."""
    errors.run(main)


if __name__ == "__main__":
    cli()
