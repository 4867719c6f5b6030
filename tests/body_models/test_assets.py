"""Model files: the open models are valid, saving is lossless, and errors are one line."""

import os
import pathlib
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import trimesh

import dice_jax.body_models
from dice_jax.body_models import build_model, load_hand, load_head, save_model
from dice_jax.body_models.validation import ARRAYS
from dice_jax.constants import HAND_LEVELS
from dice_jax.geometry.mesh import boundary_loops

DATA = pathlib.Path(dice_jax.body_models.__file__).parent / "data"
LOADERS = {"hand": load_hand, "head": load_head}


@pytest.fixture
def hand_file(tmp_path):
    """Function that writes the open hand's file with some entries replaced (None: removed)."""

    def write(**changes):
        with np.load(DATA / "open_hand.npz") as archive:
            arrays = {name: archive[name] for name in archive.files} | changes
        path = tmp_path / f"hand_{len(os.listdir(tmp_path))}.npz"
        np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
        return path

    return write


def test_open_models_are_small_enough_to_ship():
    assert (DATA / "open_hand.npz").stat().st_size < 0.5e6
    assert (DATA / "open_head.npz").stat().st_size < 4e6


def test_open_models_have_the_sizes_of_mano_and_flame(hand, head):
    assert hand.v_template.shape == (778, 3) and hand.faces.shape == (1538, 3)
    assert hand.shapedirs.shape[-1] == hand.num_betas == 10
    assert head.v_template.shape == (5023, 3) and head.faces.shape == (9976, 3)
    assert head.shapedirs.shape[-1] == 150 and head.num_betas == 100
    assert hand.provenance and hand.license and head.provenance and head.license
    assert hand.parents == (-1, 0, 1, 2, 0, 4, 5, 0, 7, 8, 0, 10, 11, 0, 13, 14)
    assert head.parents == (-1, 0, 1, 1, 1)


def test_skinning_and_joint_weights_sum_to_one(model):
    weights = np.asarray(model.lbs_weights)
    assert weights.min() >= 0
    np.testing.assert_allclose(weights.sum(-1), 1, atol=1e-6)
    np.testing.assert_allclose(np.asarray(model.J_regressor).sum(-1), 1, atol=1e-5)


def test_surface_has_one_hole_which_the_closed_faces_fill(model):
    faces, closed = np.asarray(model.faces), np.asarray(model.closed_faces)
    assert len(boundary_loops(faces)) == 1
    np.testing.assert_array_equal(closed[: len(faces)], faces)
    mesh = trimesh.Trimesh(model.v_template, closed, process=False)
    assert mesh.is_watertight and mesh.is_winding_consistent
    assert mesh.volume > 1e-4  # positive: counter-clockwise from outside
    assert np.array_equal(np.unique(faces), np.arange(len(model.v_template)))


def test_vertex_attributes_are_in_range(model):
    for field in (model.colors, model.stiffness):
        assert np.asarray(field).min() >= 0 and np.asarray(field).max() <= 1
    assert model.cavity.dtype == bool and model.regions.dtype == bool
    assert not np.asarray(model.cavity).all()


def test_head_regions_lie_on_the_side_that_their_name_states(head):
    expected = {"cheek_left", "cheek_right", "chin", "forehead", "nose", "lips"}
    assert expected <= set(head.region_names)
    x = np.asarray(head.v_template)[:, 0]
    for name in head.region_names:
        assert np.asarray(head.region(name)).any()
        side = name.rpartition("_")[2]
        if side in ("left", "right"):  # the subject's left is +x
            assert (x[np.asarray(head.region(name))].mean() > 0) == (side == "left")
    with pytest.raises(KeyError, match=r"no region 'elbow'.*forehead"):
        head.region("elbow")


def test_cheeks_and_lips_are_softer_than_chin_and_forehead(head):
    mean = lambda name: np.asarray(head.stiffness)[np.asarray(head.region(name))].mean()
    soft = max(mean("cheek_left"), mean("cheek_right"), mean("lips"))
    assert soft < mean("chin") < mean("forehead")


def test_pose_prior_is_a_gaussian_with_an_orthogonal_basis(hand):
    spread = np.asarray(hand.pose_std)
    assert spread.min() >= 0 and spread.max() > 0.1
    # A component with zero standard deviation may itself be zero.
    components = np.asarray(hand.pose_components)[spread > 1e-3]
    np.testing.assert_allclose(components @ components.T, np.eye(len(components)), atol=1e-4)


@pytest.mark.parametrize("quantize, tolerance", [(False, 0.0), (True, 1.1e-6)])
def test_a_saved_model_is_loaded_unchanged(model, tmp_path, quantize, tolerance):
    path = tmp_path / "model.npz"
    save_model(path, model, quantize=quantize)
    loaded = LOADERS[model.kind](path)
    assert jax.tree.structure(loaded) == jax.tree.structure(model)
    for name in ARRAYS:
        found, expected = getattr(loaded, name), getattr(model, name)
        np.testing.assert_allclose(found, expected, atol=tolerance, rtol=0)
    jax.tree.map(np.testing.assert_array_equal, loaded.hierarchy, model.hierarchy)


def test_quantization_of_large_blend_shapes_uses_a_larger_step(hand, tmp_path):
    scaled = hand.replace(shapedirs=hand.shapedirs * 20)
    save_model(tmp_path / "model.npz", scaled, quantize=True)
    span = float(np.abs(scaled.shapedirs).max())
    loaded = load_hand(tmp_path / "model.npz")
    np.testing.assert_allclose(loaded.shapedirs, scaled.shapedirs, atol=span / 60000)


@pytest.fixture(scope="module")
def hand_arrays():
    """The arrays that `build_model` requires for a hand."""
    names = "v_template faces shapedirs posedirs J_regressor lbs_weights parents tip_ids"
    return {name: np.asarray(getattr(load_hand(), name)) for name in names.split()}


def test_a_hand_is_built_from_the_required_arrays(hand, hand_arrays):
    built = build_model("hand", **hand_arrays, provenance="a test", license="none")
    np.testing.assert_array_equal(built.closed_faces, hand.closed_faces)
    assert built.hierarchy.counts == HAND_LEVELS
    assert not built.cavity.any() and (built.stiffness == 1).all()


@pytest.mark.parametrize(
    "kind, changes, message",
    [
        (
            "hand",
            dict(v_template=np.zeros((6890, 3))),
            r"v_template has shape \(6890, 3\), a hand needs \(778, 3\)",
        ),
        ("foot", {}, '"hand" or "head"'),
        ("hand", dict(tip_ids=None), "tip_ids has shape"),
    ],
)
def test_build_rejects_invalid_arrays(hand_arrays, kind, changes, message):
    with pytest.raises(ValueError, match=message):
        build_model(kind, **{**hand_arrays, **changes}, provenance="", license="")


def test_loading_is_cached_and_works_first_inside_jit(hand_file):
    path = hand_file()
    total = jax.jit(lambda: load_hand(path).v_template.sum())()
    np.testing.assert_allclose(total, jnp.sum(load_hand(path).v_template), rtol=1e-4)
    assert load_hand(path) is load_hand(str(path))


@pytest.mark.parametrize("loader", [load_hand, load_head])
def test_a_missing_file_is_named(loader, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no (hand|head) model at .*nowhere.npz"):
        loader(tmp_path / "nowhere.npz")


def test_a_hand_file_is_not_a_head():
    with pytest.raises(ValueError, match=r"open_hand.npz holds a hand model, not a head"):
        load_head(DATA / "open_hand.npz")


def with_value(name, index, value):
    with np.load(DATA / "open_hand.npz") as archive:
        array = archive[name].copy()
    array[index] = value
    return {name: array}


@pytest.mark.parametrize(
    "changes, message",
    [
        (dict(lbs_weights=None, tip_ids=None), "lacks lbs_weights, tip_ids"),
        (dict(kind=None), "lacks kind"),
        (
            dict(v_template=np.zeros((779, 3), np.float32)),
            r"v_template has shape \(779, 3\), a hand needs \(778, 3\)",
        ),
        (dict(faces=np.zeros((1537, 3), np.int32)), "needs the topology of MANO"),
        (with_value("v_template", 3, np.nan), "v_template has 3 values that are NaN"),
        (with_value("faces", 3, 778), r"faces has indices outside the mesh \(0 to 777\)"),
        (with_value("tip_ids", 0, -1), "tip_ids has indices outside the mesh"),
        (with_value("parents", 0, 0), "the root .-1. first"),
        (with_value("parents", 1, 5), "parents must come before their children"),
        (with_value("lbs_weights", 7, 0.0), "the rows of lbs_weights must sum to 1"),
        (
            dict(down_ids_1=np.arange(194, dtype=np.int32)),
            r"down_ids_1 has shape \(194,\), not \(195\)",
        ),
        (
            with_value("up_weights_1", 5, np.nan),
            "up_weights_1 has 3 values that are NaN",
        ),
        (with_value("up_ids_1", 0, 195), "up_ids of level 1 does not fit 778 and 195 vertices"),
    ],
)
def test_invalid_content_gives_a_one_line_error(hand_file, changes, message):
    path = hand_file(**changes)
    with pytest.raises(ValueError, match=message) as caught:
        load_hand(path)
    assert "\n" not in str(caught.value) and path.name in str(caught.value)


class Bomb:
    """Creates a file when it is unpickled without protection."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_pickles_are_rejected_and_not_run(tmp_path):
    target = tmp_path / "target"
    bombs = np.array([Bomb(target)], dtype=object)
    np.savez(tmp_path / "object.npz", kind="hand", v_template=bombs)
    (tmp_path / "plain.npz").write_bytes(pickle.dumps(Bomb(target)))
    words = {"object.npz": "lacks shapedirs", "plain.npz": "is not a body model file"}
    for name, message in words.items():
        with pytest.raises(ValueError, match=message):
            load_hand(tmp_path / name)
    assert not target.exists()


@pytest.mark.parametrize(
    "content", [b"", b"not a zip", (DATA / "open_hand.npz").read_bytes()[:5000]]
)
def test_a_damaged_file_is_rejected(tmp_path, content):
    (tmp_path / "damaged.npz").write_bytes(content)
    with pytest.raises(ValueError, match="not a body model file"):
        load_hand(tmp_path / "damaged.npz")
