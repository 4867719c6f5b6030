"""Where licensed files may lie in the assets folder, and how their conversions are written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dice_jax.body_models import assets
from dice_jax.body_models.lbs import BodyModel
from dice_jax.geometry.mesh import boundary_loops
from dice_jax.io import atomic

MANO_FOLDERS = ("mano_v1_2/models", "models", "mano")
MANO = {
    side: tuple(f"{folder}/MANO_{side.upper()}.pkl" for folder in (".", *MANO_FOLDERS))
    for side in ("right", "left")
}
FLAME = (
    "generic_model.pkl",
    "FLAME2020/generic_model.pkl",
    "FLAME2023/generic_model.pkl",
    "FLAME2023/flame2023.pkl",
    "flame2023.pkl",
    "flame/generic_model.pkl",
)
LANDMARKS = (
    "landmark_embedding.npy",
    "data/landmark_embedding.npy",
    "DECA/data/landmark_embedding.npy",
)


def find(folder: Path, candidates: Sequence[str]) -> Path | None:
    """The first of the candidates that is a file in `folder`."""
    return next((folder / name for name in candidates if (folder / name).is_file()), None)


def save(path: Path, model: BodyModel) -> None:
    """Writes a converted model, whole or not at all, and prints a summary of it."""
    atomic.writable_folder(path.parent)
    with atomic.atomic_path(path) as temporary:
        assets.save_model(temporary, model)
    loops = " and ".join(str(len(loop)) for loop in boundary_loops(np.asarray(model.faces)))
    print(
        f"{path}: {model.kind} of {len(model.v_template)} vertices, {len(model.faces)} faces, "
        f"holes of {loops} edges, coarse levels {model.hierarchy.counts[1:]}, "
        f"{int(model.cavity.sum())} vertices in cavities\n  {model.provenance}"
    )
