"""Body model files: the open hand and head that ship with the package, and any other written in the
same format.

A model file is a compressed `.npz` without pickles:

  kind                      "hand" or "head"
  provenance, license       text
  v_template                (V, 3) meters
  shapedirs, posedirs       (S, 3, V) and (P, 3, V), component first: float32, or int16 steps of ...
  shapedirs_step, posedirs_step   ... this many meters (1 for float32)
  J_regressor, lbs_weights  (J, V), (V, J)
  faces, closed_faces       (F, 3), (G, 3)
  parents                   (J,), -1 for the root
  colors, cavity, stiffness (V, 3), (V,), (V,)
  regions, region_names     (R, V), (R,)
  tip_ids                   (5,) hand, (0,) head
  lmk_faces_idx, lmk_bary_coords         (68,), (68, 3) head; (0,), (0, 3) hand
  pose_mean, pose_components, pose_std   (45,), (45, 45), (45,) hand; (0,), (0, 0), (0,) head
  down_ids_1, up_ids_1, up_weights_1, faces_1, and _2 for the head    see `hierarchy.Hierarchy`

`BodyModel` says what each one means. `build_model` and `save_model` write such a file, for instance
from licensed MANO or FLAME arrays.
"""

from __future__ import annotations

import functools
import os
import pathlib
import zipfile
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from scipy.spatial.transform import Rotation

from dice_jax.body_models.asset_folder import model_path
from dice_jax.body_models.hierarchy import Hierarchy, build_hierarchy
from dice_jax.body_models.lbs import BodyModel
from dice_jax.body_models.validation import ARRAYS, SIZES, validate, validate_arrays
from dice_jax.geometry.mesh import cap_faces

_DATA = pathlib.Path(__file__).parent / "data"
_SKIN = (0.80, 0.62, 0.53)
_TEXTS = ("kind", "provenance", "license")
_BASES = ("shapedirs", "posedirs")
_STEP = 2e-6  # meters; 150 components of a head add up to a few micrometers of rounding
_MAPS = ("down_ids", "up_ids", "up_weights", "faces")


def load_hand(path: str | os.PathLike | None = None) -> BodyModel:
    """Loads a hand of MANO's size (cached).

    Args:
        path: a model file, or "mano_right" or "mano_left" for a converted one (see `asset_folder`).
            Without it, the open hand that ships with the package.

    Raises:
        FileNotFoundError: there is no such file; for a licensed one the message says where to get
            it and put it.
        ValueError: the file is not a hand model; the message says what is wrong with it.
    """
    return _load(model_path(path or _DATA / "open_hand.npz"), "hand")


def load_head(path: str | os.PathLike | None = None) -> BodyModel:
    """Loads a head of FLAME's size (cached).

    Args:
        path: a model file, or "flame" for the converted one (see `asset_folder`). Without it, the
            open head that ships with the package.

    Raises:
        FileNotFoundError: there is no such file; for a licensed one the message says where to get
            it and put it.
        ValueError: the file is not a head model; the message says what is wrong with it.
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
    """Completes a body model from its arrays: closes its surface and builds its coarse levels
    (NumPy; seconds).

    Args:
        kind: "hand" or "head".
        v_template: (V, 3); this and the following as in `BodyModel`.
        faces: (F, 3).
        shapedirs: (V, 3, S); the head's 100 betas and then its 50 expressions.
        posedirs: (V, 3, P).
        J_regressor: (J, V).
        lbs_weights: (V, J).
        parents: (J,).
        provenance: where the arrays come from.
        license: on what terms.
        colors: (V, 3); None: one skin tone.
        cavity: (V,); None: no cavity.
        stiffness: (V,); None: 1 everywhere.
        regions: named vertex masks (V,).
        tip_ids: (5,), needed for a hand.
        lmk_faces_idx: (68,), needed for a head.
        lmk_bary_coords: (68, 3), needed for a head.
        pose_mean: (45,) of the hand's pose prior; without the three, a standard normal.
        pose_components: (45, 45).
        pose_std: (45,).
        importance: (V,) of `build_hierarchy`; None: finger tips most on the hand, the cavity least
            on the head.

    Returns:
        The model, as NumPy arrays, validated.

    Raises:
        ValueError: arrays that do not make a model of that kind.
    """
    if kind not in SIZES:
        raise ValueError(f'kind must be "hand" or "head", not {kind!r}')
    size, regions = SIZES[kind], dict(regions or {})
    count, prior = len(v_template), size["D"]
    given = lambda value, default, dtype: np.asarray(default if value is None else value, dtype)
    model = BodyModel(
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
        regions=np.asarray(list(regions.values()), bool).reshape(
            len(regions), -1 if regions else count
        ),
        tip_ids=given(tip_ids, [], np.int32),
        lmk_faces_idx=given(lmk_faces_idx, [], np.int32),
        lmk_bary_coords=given(lmk_bary_coords, np.zeros((0, 3)), np.float32),
        pose_mean=given(pose_mean, np.zeros(prior), np.float32),
        pose_components=given(pose_components, np.eye(prior), np.float32),
        pose_std=given(pose_std, np.ones(prior), np.float32),
        hierarchy=Hierarchy((), (), (), ()),  # built below, once the arrays are known to be sound
        parents=tuple(int(parent) for parent in parents),
        region_names=tuple(regions),
        num_betas=size["betas"],
        kind=kind,
        provenance=provenance,
        license=license,
    )
    validate_arrays(model, f"the {kind} model")
    if importance is None:
        importance = (
            _finger_importance(model) if kind == "hand" else np.where(model.cavity, 0.3, 1.0)
        )
    poses = [] if kind == "hand" else [_open_jaw(model)]
    return model.replace(
        hierarchy=build_hierarchy(model.v_template, model.faces, size["coarse"], importance, poses)
    )


def _finger_importance(model):
    """Contact happens at the finger tips, which plain simplification would whittle to points."""
    tips = sorted(set(range(len(model.parents))) - set(model.parents))
    return 1 + 2 * model.lbs_weights[:, 1:].sum(-1) + 7 * model.lbs_weights[:, tips].sum(-1)


def _open_jaw(model, jaw=2, angle=0.35):
    """The template with its mouth open: the pose in which coarse levels must not glue lip to lip."""
    joint = model.J_regressor[jaw] @ model.v_template
    turned = (model.v_template - joint) @ Rotation.from_euler("x", angle).as_matrix().T + joint
    return model.v_template + model.lbs_weights[:, [jaw]] * (turned - model.v_template)


def save_model(path: str | os.PathLike, model: BodyModel, quantize: bool = False) -> None:
    """Writes a model file.

    Args:
        path: where to, ending in `.npz`.
        model: what to write.
        quantize: store the blend shapes as 16-bit steps of 2 micrometers: the open head takes 2.3
            MB.
    """
    validate(model, f"the {model.kind} model")
    arrays = {name: np.asarray(getattr(model, name)) for name in ARRAYS}
    for name in _BASES:
        basis = arrays[name].transpose(2, 1, 0)
        # A basis whose largest entry does not fit 16 bits takes a longer step.
        step = max(_STEP, float(np.abs(basis).max()) / 32767) if quantize else 1.0
        arrays[name] = np.rint(basis / step).astype(np.int16) if quantize else basis
        arrays[f"{name}_step"] = np.float32(step)
    for level in range(1, len(model.hierarchy.counts)):
        for name in _MAPS:
            arrays[f"{name}_{level}"] = np.asarray(getattr(model.hierarchy, name)[level - 1])
    arrays |= {
        name: np.array(getattr(model, name)) for name in (*_TEXTS, "parents", "region_names")
    }
    np.savez_compressed(path, **arrays)


@functools.lru_cache(maxsize=8)
def _load(path, kind):
    arrays = _read(path, kind)
    for name in _BASES:
        basis = arrays[name].astype(np.float32) * arrays[f"{name}_step"]
        arrays[name] = np.ascontiguousarray(basis.transpose(2, 1, 0))
    levels = range(1, len(SIZES[kind]["coarse"]) + 1)
    maps = {name: tuple(arrays[f"{name}_{level}"] for level in levels) for name in _MAPS}
    model = BodyModel(
        **{name: arrays[name] for name in ARRAYS},
        **{name: str(arrays[name]) for name in _TEXTS},
        hierarchy=Hierarchy(**maps),
        parents=tuple(arrays["parents"].tolist()),
        region_names=tuple(arrays["region_names"].tolist()),
        num_betas=SIZES[kind]["betas"],
    )
    validate(model, path)
    with (
        jax.ensure_compile_time_eval()
    ):  # the cache must not keep a tracer if the first call is inside jit
        return jax.tree.map(jnp.asarray, model)


def _read(path, kind):
    """The arrays of a model file, with one clear line for whatever else is at that path."""
    if not os.path.isfile(path):
        raise FileNotFoundError(
            f"no {kind} model at {path}; without a path the open {kind} is used"
        )
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (ValueError, EOFError, OSError, AttributeError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"{path} is not a body model file (.npz without pickles): {error}"
        ) from error
    found = str(arrays.get("kind", ""))
    if found != kind:
        raise ValueError(
            f"{path} holds {f'a {found}' if found in SIZES else 'no'} model, not a {kind}"
        )
    levels = range(1, len(SIZES[kind]["coarse"]) + 1)
    needed = {*ARRAYS, *_TEXTS, "parents", "region_names", *(f"{name}_step" for name in _BASES)}
    needed |= {f"{name}_{level}" for name in _MAPS for level in levels}
    missing = sorted(needed - set(arrays))
    if missing:
        raise ValueError(
            f"{path} lacks {', '.join(missing)}; write it again with body_models.save_model"
        )
    return arrays
