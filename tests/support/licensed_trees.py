"""Licensed files in their documented layouts, filled with the open models.

Pickled objects of chumpy, old SciPy and PyTorch are imitated, so none of them is needed.
"""

import contextlib
import pickle
import sys
import types

import numpy as np
from scipy import sparse

from dice_jax.body_models import assets
from dice_jax.constants import NUM_HEAD_VERTICES

MANO_KEYS = dict(
    v_template="v_template", shapedirs="shapedirs", posedirs="posedirs", weights="lbs_weights"
)


@contextlib.contextmanager
def pretended(**classes):
    """Makes classes importable under names such as `chumpy__ch__Ch`, while a pickle is written.

    Each "__" stands for a dot.
    """
    before = {}
    for name, cls in classes.items():
        module, _, cls.__qualname__ = name.replace("__", ".").rpartition(".")
        cls.__module__, cls.__name__ = module, cls.__qualname__
        for depth in range(1, module.count(".") + 2):
            key = ".".join(module.split(".")[:depth])
            if key not in before and (key == module or key not in sys.modules):
                before[key] = sys.modules.get(key)
                sys.modules[key] = types.ModuleType(key)
        setattr(sys.modules[module], cls.__name__, cls)
    try:
        yield
    finally:
        for key, module in before.items():
            if module is None:
                sys.modules.pop(key)
            else:
                sys.modules[key] = module


def write_pickle(path, contents, protocol=2):
    """Pickles `contents`, which may contain the imitated objects below."""
    classes = dict(
        chumpy__ch__Ch=Ch, chumpy__reordering__Select=Select, scipy__sparse__csc__csc_matrix=OldCsc
    )
    with pretended(**classes):
        path.write_bytes(pickle.dumps(contents, protocol=protocol))
    return path


class Ch:
    """An array of chumpy."""

    def __init__(self, x):
        self.x = np.asarray(x)
        self._dirty_vars = ["x"]


class Select:
    """Selected entries of a larger chumpy array: how MANO stores its blend shapes."""

    def __init__(self, x):
        x = np.asarray(x)
        self.a = Ch(np.concatenate([np.full(7, np.nan), x.ravel()[::-1]]))
        self.idxs = np.arange(7 + x.size)[:6:-1]
        self.preferred_shape = x.shape


class OldCsc:
    """A sparse matrix as SciPy for Python 2 pickled it."""

    def __init__(self, dense):
        real = sparse.csc_matrix(dense)
        self.data, self.indices, self.indptr = real.data, real.indices, real.indptr
        self._shape, self.maxprint = real.shape, 50


def mano_contents(side="right", coefficients=200):
    """The dictionary of a MANO file; the left hand is the mirror image of the right one."""
    hand, rng = assets.load_hand(), np.random.default_rng(5)
    array = lambda name: np.array(getattr(hand, name), np.float64)
    contents = {theirs: array(ours) for theirs, ours in MANO_KEYS.items()}
    faces, regressor = np.array(hand.faces), np.array(hand.J_regressor, np.float64)
    if side == "left":
        flip = np.array([-1.0, 1.0, 1.0])
        faces, contents["v_template"] = faces[:, ::-1].copy(), contents["v_template"] * flip
        # The pose correctives are driven by the entries of rotations; a mirrored one is M R M.
        contents["posedirs"] = (
            contents["posedirs"] * flip[:, None] * np.tile(np.outer(flip, flip).ravel(), 15)
        )
    components = np.linalg.qr(rng.normal(size=(45, 45)))[0]
    return contents | dict(
        f=faces.astype(np.uint32),
        J_regressor=regressor,
        hands_components=components,
        hands_mean=rng.normal(0, 0.2, 45),
        hands_coeffs=rng.normal(size=(coefficients, 45)) * np.linspace(1, 0.1, 45),
        kintree_table=np.array([[2**32 - 1, *hand.parents[1:]], range(16)], np.int64),
        bs_style="lbs",
        bs_type="lrotmin",
    )


def write_mano(folder, side="right", **changes):
    """Writes MANO_RIGHT.pkl or MANO_LEFT.pkl; a change to None removes an entry."""
    contents = mano_contents(side) | changes
    for name, wrap in dict(shapedirs=Select, v_template=Ch, J_regressor=OldCsc).items():
        if isinstance(contents.get(name), np.ndarray):
            contents[name] = wrap(contents[name])
    contents = {name: value for name, value in contents.items() if value is not None}
    return write_pickle(folder / f"MANO_{side.upper()}.pkl", contents)


def flame_contents(vertex_order, face_order):
    """The dictionary of a FLAME file, with vertices and faces of the open head reordered."""
    head = assets.load_head()
    new_index = np.argsort(vertex_order)
    shapedirs = np.random.default_rng(6).normal(0, 1e-3, (NUM_HEAD_VERTICES, 3, 400))
    shapedirs[..., :100], shapedirs[..., 300:350] = np.split(
        np.asarray(head.shapedirs)[vertex_order], [100], -1
    )
    return dict(
        v_template=np.array(head.v_template, np.float64)[vertex_order],
        shapedirs=shapedirs,
        posedirs=np.array(head.posedirs, np.float64)[vertex_order],
        weights=np.array(head.lbs_weights)[vertex_order],
        J_regressor=np.array(head.J_regressor, np.float64)[:, vertex_order],
        f=new_index[np.array(head.faces)][face_order].astype(np.uint32),
        bs_style="lbs",
        bs_type="lrotmin",
        kintree_table=np.array([[2**32 - 1, 0, 1, 1, 1], range(5)], np.int64),
        J=np.zeros((5, 3)),
    )


def write_flame(folder, seed=7, **changes):
    """Writes generic_model.pkl and landmark_embedding.npy, which contains PyTorch objects.

    Returns:
        The order of the vertices and of the faces in the files.
    """
    rng = np.random.default_rng(seed)
    head = assets.load_head()
    vertex_order = rng.permutation(NUM_HEAD_VERTICES)
    face_order = rng.permutation(len(head.faces))
    contents = flame_contents(vertex_order, face_order) | changes
    for name, wrap in dict(shapedirs=Ch, v_template=Ch, J_regressor=OldCsc).items():
        if isinstance(contents[name], np.ndarray):
            contents[name] = wrap(contents[name])
    write_pickle(folder / "generic_model.pkl", contents)
    embedding = dict(
        full_lmk_faces_idx=np.argsort(face_order)[np.array(head.lmk_faces_idx)][None],
        full_lmk_bary_coords=np.array(head.lmk_bary_coords)[None],
        dynamic_lmk_faces_idx=Tensor(),
    )
    classes = dict(
        torch___utils___rebuild_tensor_v2=type("Rebuild", (), {}),
        torch__storage___load_from_bytes=Storage,
    )
    with pretended(**classes):
        path = folder / "landmark_embedding.npy"
        np.save(path, np.array(embedding, dtype=object), allow_pickle=True)
    return vertex_order, face_order


class Storage:
    """Pickles as a call of PyTorch's `_load_from_bytes`."""

    def __init__(self, data=b""):
        self.data = data

    def __reduce__(self):
        return Storage, (b"bytes of a storage",)


class Tensor:
    """Pickles as a call of PyTorch's `_rebuild_tensor_v2`."""

    def __reduce__(self):
        arguments = Storage(), 0, (3,), (1,), False, None
        return sys.modules["torch._utils"]._rebuild_tensor_v2, arguments
