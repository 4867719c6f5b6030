"""Says what works on this machine, and what to fetch for the rest.

  python -m dice_jax.tools.doctor
  python -m dice_jax.tools.doctor --weights weights/official

Prints versions and devices, which body models and weights are there and their hashes, and the
result of one forward pass whose answer is known. Exits with 1 if something that needs nothing but
this package does not work.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import platform
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

import dice_jax
from dice_jax import inference, models, xla_flags
from dice_jax.body_models import asset_folder, assets
from dice_jax.checkpoints import config_file, npz_weights, shipped
from dice_jax.constants import CROP_SIZE
from dice_jax.models import config

_PACKAGES = (
    "jax",
    "jaxlib",
    "flax",
    "optax",
    "orbax-checkpoint",
    "numpy",
    "tensorflow-datasets",
    "grain",
)
# Not one of the presets, which may change.
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
    upsampling=config.UpsamplingConfig(learned=False),
    hand_ik=config.IKNetConfig(hidden=16, level=1),
    head_ik=config.IKNetConfig(hidden=16, level=2),
    presence_hidden=(16, 8),
)
# What `known_forward` answered where all tests passed: camera scale and translation, presence, and
# the mean size of a coordinate of hand, head and deformation. To be written anew when the open body
# models change.
_KNOWN = (534.905, -11.1387, 52.5641, 0.379652, 0.727705, 0.0381120, 0.555518)
_TOLERANCE = 2e-3


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the report; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m dice_jax.tools.doctor", description=__doc__.split("\n")[0]
    )
    parser.add_argument(
        "--weights", help="also check these: a folder, or a name shipped with the package"
    )
    args = parser.parse_args(argv)
    xla_flags.set_cpu_preset()

    print(
        f"dice_jax {dice_jax.__version__}, Python {platform.python_version()}, {platform.platform()}"
    )
    print(", ".join(f"{name} {version(name)}" for name in _PACKAGES))
    for device in jax.devices():
        print(f"device {device.id}: {device.platform}, {device.device_kind}")

    healthy = all([*_body_models(), _known_forward_agrees(), *_weights(args.weights)])
    print(
        "everything that needs no further file works"
        if healthy
        else "something above does not work"
    )
    return 0 if healthy else 1


def version(package: str) -> str:
    """The installed version of a package, or "absent"."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "absent"


def sha256(path: Path) -> str:
    """The first 16 digits of a file's hash."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def known_forward() -> tuple[float, ...]:
    """A few numbers of what a network with given weights answers for a given picture, through
    `infer`.
    """
    hand_model, head_model = assets.load_hand(), assets.load_head()
    module, queries = models.create_model(_KNOWN_NETWORK, hand_model, head_model)
    picture = jax.ShapeDtypeStruct((1, CROP_SIZE, CROP_SIZE, 3), jnp.float32)
    shapes = jax.eval_shape(
        lambda key, x: module.init(key, x, queries, train=False), jax.random.key(0), picture
    )
    flat = traverse_util.flatten_dict(shapes, sep="/")
    values = {name: _weight(name, flat[name].shape, i) for i, name in enumerate(sorted(flat))}
    model = inference.Model(
        traverse_util.unflatten_dict(values, sep="/"), hand_model, head_model, queries, module
    )

    rows, columns = np.mgrid[:CROP_SIZE, :CROP_SIZE]
    image = np.stack([rows, columns, (rows * columns) // 200], -1).astype(np.uint8)
    p = inference.infer(model, image, gate_by_presence=False)
    size = lambda points: float(jnp.abs(points).mean())
    return (
        float(p.camera.scale),
        *map(float, p.camera.transl),
        float(p.contact_presence),
        size(p.hand_vertices),
        size(p.head_vertices),
        size(p.deformations),
    )


def _weight(name, shape, index):
    """Waves instead of random numbers: the same on every platform and for ever."""
    if name.endswith(("scale", "var")):
        return np.ones(shape, np.float32)
    waves = np.sin(0.7 * np.arange(np.prod(shape)) * (1 + index % 7) + index).reshape(shape)
    return np.float32(waves / np.sqrt(max(np.prod(shape[:-1]), 1)))


def _known_forward_agrees() -> bool:
    start = time.perf_counter()
    got = known_forward()
    seconds = time.perf_counter() - start
    agrees = np.allclose(got, _KNOWN, rtol=_TOLERANCE, atol=1e-5)
    verdict = "agrees" if agrees else "DOES NOT AGREE"
    print(f"forward pass of a known network: {verdict}, {seconds:.1f} s with compilation")
    if not agrees:
        print(
            f"  got      {', '.join(f'{x:.6g}' for x in got)}\n  expected {', '.join(f'{x:.6g}' for x in _KNOWN)}"
        )
    return agrees


def _body_models() -> list[bool]:
    healthy = []
    for kind, load in (("hand", assets.load_hand), ("head", assets.load_head)):
        healthy.append(_loads(f"open {kind}", load))
    folder = asset_folder.assets_folder()
    for name in asset_folder.LICENSED:
        complaint = asset_folder.missing(name)
        if complaint:
            print(
                f"{name}: not there, and only needed for the authors' weights and data. {complaint}"
            )
            continue
        load = assets.load_head if name == "flame" else assets.load_hand
        healthy.append(
            _loads(
                f"{name} ({sha256(folder / f'{name}.npz')})",
                lambda load=load, name=name: load(name),
            )
        )
    return healthy


def _weights(asked: str | None) -> list[bool]:
    folders = (
        {path.name: path for path in sorted(shipped.WEIGHTS_DIR.iterdir()) if path.is_dir()}
        if shipped.WEIGHTS_DIR.is_dir()
        else {}
    )
    if asked:
        folders[asked] = folders.get(asked, Path(asked))
    if not folders:
        print(
            "weights: none are shipped with this copy; train some (configs/small.py) or convert the authors' (README.md)"
        )
    return [_answers(name, folder) for name, folder in folders.items()]


def _answers(name, folder) -> bool:
    """Whether weights load and answer sensibly for a picture."""

    def forward():
        prediction = inference.infer(
            inference.load(folder), np.full((CROP_SIZE, CROP_SIZE, 3), 128, np.uint8)
        )
        if not all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(prediction)):
            raise ValueError("its answer for a gray picture is not finite")

    return _loads(f"weights {name} ({_source(folder)})", forward)


def _source(folder) -> str:
    """The hash of a file of weights, or where a checkpoint comes from."""
    path = folder / npz_weights.WEIGHTS_FILE
    if path.is_file():
        return sha256(path)
    try:
        return config_file.load_config(folder).get("source", "a training run")
    except (ValueError, OSError):
        return "of unknown origin"


def _loads(what, load) -> bool:
    try:
        load()
    except (ValueError, OSError) as error:
        print(f"{what}: DOES NOT WORK. {' '.join(str(error).split())}")
        return False
    print(f"{what}: works")
    return True


if __name__ == "__main__":
    sys.exit(main())
