"""Body model files: the open hand and head of the package, and converted licensed models.

A model file is a compressed `.npz` without pickles:

  kind                      "hand" or "head"
  provenance, license       text
  v_template                (V, 3) meters
  shapedirs, posedirs       (S, 3, V) and (P, 3, V): float32, or int16 multiples of a step
  shapedirs_step, posedirs_step   the step in meters, 1 for float32
  J_regressor, lbs_weights  (J, V), (V, J)
  faces, closed_faces       (F, 3), (G, 3)
  parents                   (J,), -1 for the root
  colors, cavity, stiffness (V, 3), (V,), (V,)
  regions, region_names     (R, V), (R,)
  tip_ids                   (5,) hand, (0,) head
  lmk_faces_idx, lmk_bary_coords         (68,), (68, 3) head; (0,), (0, 3) hand
  pose_mean, pose_components, pose_std   (45,), (45, 45), (45,) hand; (0,), (0, 0), (0,) head
  down_ids_1, up_ids_1, up_weights_1, faces_1, and _2 for the head    see `hierarchy.Hierarchy`

See `BodyModel` for their meaning. `build_model` and `save_model` write such a file, for instance
from licensed MANO or FLAME arrays.
"""

from __future__ import annotations

import functools
import itertools
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.spatial.transform import Rotation

from dice_jax.body_models.asset_folder import model_path
from dice_jax.body_models.hierarchy import Hierarchy, build_hierarchy
from dice_jax.body_models.lbs import BodyModel
from dice_jax.body_models.validation import (
    ARRAYS,
    SIZES,
    validate,
    validate_arrays,
    validate_hierarchy,
)
from dice_jax.geometry.mesh import cap_faces
from dice_jax.io import atomic
from dice_jax.untrusted_files import npz

_DATA = pathlib.Path(__file__).parent / "data"
# The open hands by name. Weights are used with the hand that they were trained on: version 1 has
# its knuckles 11 mm too near the finger tips. Vertices and faces are the same.
OPEN_HANDS = {"open_hand": _DATA / "open_hand.npz", "open_hand_v1": _DATA / "open_hand_v1.npz"}
_SKIN = (0.80, 0.62, 0.53)  # default albedo
_TEXTS = ("kind", "provenance", "license")
_BASES = ("shapedirs", "posedirs")
_STEP = 2e-6  # meters; the rounding errors of 150 components add up to a few micrometers
_MAPS = ("down_ids", "up_ids", "up_weights", "faces")


def load_hand(path: str | os.PathLike | None = None) -> BodyModel:
    """Loads a hand of MANO's size (cached).

    Args:
        path: a model file, or one of `OPEN_HANDS`, or "mano_right" or "mano_left" for a converted
            one (see `asset_folder`). None: the open hand.

    Raises:
        FileNotFoundError: no such file; for a licensed model the message explains how to get it.
        ValueError: the file is not a valid hand model; the message states the problem.
    """
    path = path or "open_hand"
    return _load(model_path(OPEN_HANDS.get(str(path), path)), "hand")


def load_head(path: str | os.PathLike | None = None) -> BodyModel:
    """Loads a head of FLAME's size (cached).

    Args:
        path: a model file, or "flame" for the converted one (see `asset_folder`). None: the open
            head.

    Raises:
        FileNotFoundError: no such file; for a licensed model the message explains how to get it.
        ValueError: the file is not a valid head model; the message states the problem.
    """
    return _load(model_path(path or _DATA / "open_head.npz"), "head")


def build_model(
    kind: str,
    *,
    v_template: np.ndarray,
    faces: np.ndarray,
    shapedirs: np.ndarray,
    posedirs: np.ndarray,
    J_regressor: np.ndarray,
    lbs_weights: np.ndarray,
    parents: np.ndarray,
    provenance: str,
    license: str,
    colors: np.ndarray | None = None,
    cavity: np.ndarray | None = None,
    stiffness: np.ndarray | None = None,
    regions: Mapping[str, np.ndarray] | None = None,
    tip_ids: np.ndarray | None = None,
    lmk_faces_idx: np.ndarray | None = None,
    lmk_bary_coords: np.ndarray | None = None,
    pose_mean: np.ndarray | None = None,
    pose_components: np.ndarray | None = None,
    pose_std: np.ndarray | None = None,
    importance: np.ndarray | None = None,
) -> BodyModel:
    """Builds a body model from its arrays: closes its surface and computes its coarse levels.

    NumPy, takes seconds.

    Args:
        kind: "hand" or "head".
        v_template: (V, 3); this and the following as in `BodyModel`.
        faces: (F, 3).
        shapedirs: (V, 3, S); for a head, 100 betas and then 50 expression components.
        posedirs: (V, 3, P).
        J_regressor: (J, V).
        lbs_weights: (V, J).
        parents: (J,).
        provenance: source of the arrays.
        license: its terms.
        colors: (V, 3); None: one skin tone.
        cavity: (V,); None: no cavity.
        stiffness: (V,); None: 1 everywhere.
        regions: named vertex masks (V,).
        tip_ids: (5,), required for a hand.
        lmk_faces_idx: (68,), required for a head.
        lmk_bary_coords: (68, 3), required for a head.
        pose_mean: (45,) of the hand's pose prior; None: 0.
        pose_components: (45, 45); None: the identity.
        pose_std: (45,); None: 1.
        importance: (V,) of `build_hierarchy`; None: largest on the finger tips of a hand, smallest
            in the cavity of a head.

    Returns:
        The validated model, as NumPy arrays.

    Raises:
        ValueError: the arrays are not a valid model of that kind.
    """
    if kind not in SIZES:
        raise ValueError(f'kind must be "hand" or "head", not {kind!r}')
    sizes, regions = SIZES[kind], dict(regions or {})
    count, prior = len(v_template), sizes.pose_prior
    given = lambda value, default, dtype: np.asarray(default if value is None else value, dtype)
    fields: dict[str, Any] = dict(
        v_template=np.asarray(v_template, np.float32),
        shapedirs=np.asarray(shapedirs, np.float32),
        posedirs=np.asarray(posedirs, np.float32),
        J_regressor=np.asarray(J_regressor, np.float32),
        lbs_weights=np.asarray(lbs_weights, np.float32),
        faces=np.asarray(faces, np.int32),
        closed_faces=np.asarray(cap_faces(np.asarray(faces)), np.int32),
        colors=given(colors, np.tile(_SKIN, (count, 1)), np.float32),
        cavity=given(cavity, np.zeros(count), bool),
        stiffness=given(stiffness, np.ones(count), np.float32),
        regions=given(list(regions.values()) or None, np.zeros((0, count)), bool),
        tip_ids=given(tip_ids, [], np.int32),
        lmk_faces_idx=given(lmk_faces_idx, [], np.int32),
        lmk_bary_coords=given(lmk_bary_coords, np.zeros((0, 3)), np.float32),
        pose_mean=given(pose_mean, np.zeros(prior), np.float32),
        pose_components=given(pose_components, np.eye(prior), np.float32),
        pose_std=given(pose_std, np.ones(prior), np.float32),
        parents=tuple(int(parent) for parent in parents),
        region_names=tuple(regions),
    )
    validate_arrays(kind, fields, f"the {kind} model")
    if importance is None and kind == "hand":
        importance = _finger_importance(fields["lbs_weights"], fields["parents"])
    elif importance is None:
        importance = np.where(fields["cavity"], 0.3, 1.0)
    poses = [] if kind == "hand" else [_open_jaw(fields)]
    hierarchy = build_hierarchy(
        fields["v_template"], fields["faces"], sizes.levels[1:], importance, poses
    )
    return BodyModel(
        **fields,
        hierarchy=hierarchy,
        num_betas=sizes.betas,
        kind=kind,
        provenance=provenance,
        license=license,
    )


def _finger_importance(weights, parents):
    """Keeps vertices on the finger tips, where contacts are, against unweighted simplification."""
    tips = sorted(set(range(len(parents))) - set(parents))
    return 1 + 2 * weights[:, 1:].sum(-1) + 7 * weights[:, tips].sum(-1)


def _open_jaw(fields, jaw=2, angle=0.35):
    """The template with an open mouth, which keeps the lips apart in the coarse levels."""
    template = fields["v_template"]
    joint = fields["J_regressor"][jaw] @ template
    rotated = (template - joint) @ Rotation.from_euler("x", angle).as_matrix().T + joint
    return template + fields["lbs_weights"][:, [jaw]] * (rotated - template)


def save_model(path: str | os.PathLike, model: BodyModel, quantize: bool = False) -> None:
    """Writes a model file.

    Args:
        path: of the file, ending in `.npz`.
        model: the model to write.
        quantize: store blend shapes as 16-bit multiples of 2 micrometers; the open head then takes
            2.3 MB.

    Raises:
        ValueError: the model is not valid.
    """
    validate(model, f"the {model.kind} model")
    arrays = {name: np.asarray(getattr(model, name)) for name in ARRAYS}
    for name in _BASES:
        basis = arrays[name].transpose(2, 1, 0)
        # If the largest entry does not fit 16 bits, the step is larger.
        step = max(_STEP, float(np.abs(basis).max()) / 32767) if quantize else 1.0
        arrays[name] = np.rint(basis / step).astype(np.int16) if quantize else basis
        arrays[f"{name}_step"] = np.asarray(step, np.float32)
    for level in range(1, len(model.hierarchy.counts)):
        for name in _MAPS:
            arrays[f"{name}_{level}"] = np.asarray(getattr(model.hierarchy, name)[level - 1])
    arrays |= {
        name: np.array(getattr(model, name)) for name in (*_TEXTS, "parents", "region_names")
    }
    with atomic.atomic_path(pathlib.Path(path)) as partial, partial.open("wb") as file:
        np.savez_compressed(file, **arrays)  # pyright: ignore[reportArgumentType]


@functools.lru_cache(maxsize=8)
def _load(path, kind):
    arrays = _read(path, kind)
    for name in _BASES:
        basis = arrays[name].astype(np.float32) * arrays[f"{name}_step"]
        arrays[name] = np.ascontiguousarray(basis.transpose(2, 1, 0))
    maps = {name: tuple(arrays[f"{name}_{level}"] for level in _levels(kind)) for name in _MAPS}
    fields: dict[str, Any] = {name: arrays[name] for name in ARRAYS}
    fields |= {name: str(arrays[name]) for name in _TEXTS}
    fields |= {name: tuple(arrays[name].tolist()) for name in ("parents", "region_names")}
    hierarchy = Hierarchy(**maps)
    validate_arrays(kind, fields, path)
    validate_hierarchy(kind, hierarchy, path)
    model = BodyModel(**fields, hierarchy=hierarchy, num_betas=SIZES[kind].betas)
    # Without this, the cache would keep tracers if the first call is inside jit.
    with jax.ensure_compile_time_eval():
        return jax.tree.map(jnp.asarray, model)


def _read(path, kind):
    """The arrays of a model file; one clear line if it is anything else."""
    if not os.path.isfile(path):
        raise FileNotFoundError(
            f"no {kind} model at {path}; without a path the open {kind} is used"
        )
    read = functools.partial(
        npz.read_npz,
        path,
        what="a body model file (.npz without pickles)",
        remedy="write it again with body_models.save_model",
    )
    found = str(read({"kind": npz.Array(npz.TEXT, ())}, only_expected=True)["kind"])
    if found != kind:
        raise ValueError(
            f"{path} holds {f'a {found}' if found in SIZES else 'no'} model, not a {kind}"
        )
    return read(_expected(kind))


def _expected(kind: str) -> dict[str, npz.Array]:
    """What the arrays of a model file have to be. `validate_arrays` knows most of their shapes."""
    kinds = dict.fromkeys(ARRAYS, npz.FLOATS)
    kinds |= dict.fromkeys(
        ("faces", "closed_faces", "tip_ids", "lmk_faces_idx", "parents"), npz.INTEGERS
    )
    kinds |= dict.fromkeys(("cavity", "regions"), npz.BOOLS)
    kinds |= dict.fromkeys(_BASES, npz.INTEGERS + npz.FLOATS)
    expected = {name: npz.Array(letters) for name, letters in kinds.items()}
    expected |= {name: npz.Array(npz.TEXT, ()) for name in _TEXTS}
    expected |= {name: npz.Array(kinds[name], (None, None, None)) for name in _BASES}
    expected |= {f"{name}_step": npz.Array(npz.FLOATS, ()) for name in _BASES}
    expected["closed_faces"] = npz.Array(npz.INTEGERS, (None, 3))
    expected["parents"] = npz.Array(npz.INTEGERS, (None,))
    # NumPy writes an empty list of names as numbers.
    expected["region_names"] = npz.Array(npz.TEXT + npz.FLOATS, (None,))
    for level, (fine, coarse) in enumerate(itertools.pairwise(SIZES[kind].levels), start=1):
        expected |= {
            f"down_ids_{level}": npz.Array(npz.INTEGERS, (coarse,)),
            f"up_ids_{level}": npz.Array(npz.INTEGERS, (fine, 3)),
            f"up_weights_{level}": npz.Array(npz.FLOATS, (fine, 3)),
            f"faces_{level}": npz.Array(npz.INTEGERS, (None, 3)),
        }
    return expected


def _levels(kind):
    """Numbers of the coarse levels in the names of a file's arrays."""
    return range(1, len(SIZES[kind].levels))
