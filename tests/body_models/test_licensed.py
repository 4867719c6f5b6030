"""MANO and FLAME files filled with the open models' arrays, against independent readers."""

import hashlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from support import licensed_trees

from dice_jax import body_models
from dice_jax.body_models import (
    absolute_pose,
    anatomy,
    assets,
    head_landmarks,
    licensed,
    load_hand,
    load_head,
    pca_pose,
)
from dice_jax.constants import HAND_LEVELS, HEAD_LEVELS
from dice_jax.errors import UserError
from dice_jax.tools import convert_flame, convert_mano

pose_hand, pose_head = jax.jit(body_models.pose_hand), jax.jit(body_models.pose_head)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("assets")


@pytest.fixture(scope="module")
def in_folder(folder):
    """Sets $DICE_ASSETS to the folder for all tests of the module."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DICE_ASSETS", str(folder))
        yield patch


@pytest.fixture(scope="module")
def hands(folder, in_folder):
    """Both converted hands, by side."""
    for side in ("right", "left"):
        licensed_trees.write_mano(folder, side)
    convert_mano.main([])
    return {side: load_hand(f"mano_{side}") for side in ("right", "left")}


@pytest.fixture(scope="module")
def flame(folder, in_folder):
    """The converted head, and for each of its vertices which one of the open head it is."""
    vertex_order, _ = licensed_trees.write_flame(folder)
    convert_flame.main(["--assets", str(folder)])
    return load_head("flame"), vertex_order


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("flat_hand_mean", [True, False])
@pytest.mark.parametrize("components", [None, 6, 45])
def test_mano_agrees_with_body_models(folder, hands, random_hand, side, flat_hand_mean, components):
    """The other implementation reads the same pickle, but has no PCA: NumPy expands it."""
    oracle = pytest.importorskip("body_models.mano.numpy")
    path, use_pca = folder / f"MANO_{side.upper()}.pkl", components is not None
    mano = oracle.MANO(model_path=path, flat_hand_mean=flat_hand_mean)
    params, basis = random_hand(), licensed_trees.mano_contents(side)["hands_components"]
    raw = params.hand_pose[:, : components or 45]
    pose = absolute_pose(hands[side], raw, flat_hand_mean=flat_hand_mean, use_pca=use_pca)
    offsets = np.asarray(raw, np.float64)
    offsets = offsets @ basis[:components] if use_pca else offsets
    inputs = dict(
        hand_pose=offsets.reshape(100, 15, 3).astype(np.float32),
        shape=np.asarray(params.betas),
        wrist_rotation=np.asarray(params.global_orient),
        global_translation=np.asarray(params.transl),
    )
    posed = pose_hand(hands[side], params.replace(hand_pose=pose))
    np.testing.assert_allclose(posed.vertices, mano.forward_vertices(**inputs), atol=1e-5)
    np.testing.assert_allclose(posed.joints, mano.forward_skeleton(**inputs)[..., :3, 3], atol=1e-5)


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("flat_hand_mean", [True, False])
@pytest.mark.parametrize("use_pca", [True, False])
def test_mano_agrees_with_smplx(hands, random_hand, side, flat_hand_mean, use_pca):
    torch, smplx = pytest.importorskip("torch"), pytest.importorskip("smplx")
    contents = licensed_trees.mano_contents(side)
    mano = smplx.MANO(
        "unused",
        data_struct=smplx.utils.Struct(**contents),
        is_rhand=side == "right",
        use_pca=use_pca,
        num_pca_comps=12,
        flat_hand_mean=flat_hand_mean,
        batch_size=100,
    )
    params = random_hand()
    raw = params.hand_pose[:, : 12 if use_pca else 45]
    tensor = lambda array: torch.tensor(np.asarray(array))
    expected = mano(
        betas=tensor(params.betas),
        global_orient=tensor(params.global_orient),
        hand_pose=tensor(raw),
        transl=tensor(params.transl),
    )
    pose = absolute_pose(hands[side], raw, flat_hand_mean=flat_hand_mean, use_pca=use_pca)
    posed = pose_hand(hands[side], params.replace(hand_pose=pose))
    np.testing.assert_allclose(posed.vertices, expected.vertices.detach().numpy(), atol=1e-5)


def test_pose_conventions_are_inverses(hands, random_hand):
    pose = random_hand().hand_pose
    for flat in (True, False):
        coefficients = pca_pose(hands["right"], pose, flat_hand_mean=flat)
        back = absolute_pose(hands["right"], coefficients, flat_hand_mean=flat, use_pca=True)
        np.testing.assert_allclose(back, pose, atol=1e-5)
    with pytest.raises(ValueError, match="44 numbers; it needs 45"):
        absolute_pose(hands["right"], pose[:, :44], flat_hand_mean=True)


def test_left_hand_with_mirrored_shapes_mirrors_the_right_hand(folder, hands, random_hand):
    left = licensed.convert_mano(folder / "MANO_LEFT.pkl", mirror_shapedirs=True)
    params = random_hand()
    axis_angle, point = np.float32([[1, -1, -1]]), np.float32([[-1, 1, 1]])  # factors of a mirror
    mirrored = params.replace(
        global_orient=params.global_orient * axis_angle,
        hand_pose=params.hand_pose * np.tile(axis_angle, 15),
        transl=params.transl * point,
    )
    posed = pose_hand(jax.tree.map(jnp.asarray, left), mirrored)
    expected = np.asarray(pose_hand(hands["right"], params).vertices) * point
    np.testing.assert_allclose(posed.vertices, expected, atol=1e-5)


def test_pose_prior_is_that_of_the_file(hands):
    contents = licensed_trees.mano_contents()
    np.testing.assert_allclose(hands["right"].pose_mean, contents["hands_mean"], rtol=1e-6)
    np.testing.assert_allclose(hands["right"].pose_std, contents["hands_coeffs"].std(0), rtol=1e-5)
    assert hands["right"].hierarchy.counts == HAND_LEVELS


def test_flame_agrees_with_body_models(folder, flame, random_head):
    oracle = pytest.importorskip("body_models.flame.numpy")
    head, _ = flame
    params = random_head()
    pad = lambda array, size: np.pad(np.asarray(array), ((0, 0), (0, size - array.shape[-1])))
    pose = [params.neck_pose, params.jaw_pose, jnp.zeros((100, 3)), jnp.zeros((100, 3))]
    inputs = dict(
        head_pose=np.stack([np.asarray(p) for p in pose], 1),
        head_rotation=np.asarray(params.global_orient),
        shape=pad(params.betas, 300),
        expression=pad(params.expression, 100),
        global_translation=np.asarray(params.transl),
    )
    expected = oracle.FLAME(model_path=folder / "generic_model.pkl").forward_vertices(**inputs)
    np.testing.assert_allclose(pose_head(head, params).vertices, expected, atol=1e-5)


def test_flame_landmarks_agree_with_smplx(flame, random_head):
    torch, smplx = pytest.importorskip("torch"), pytest.importorskip("smplx.lbs")
    head, _ = flame
    vertices = np.asarray(pose_head(head, random_head()).vertices[:3])
    index = lambda array: torch.tensor(np.asarray(array), dtype=torch.long)
    expected = smplx.vertices2landmarks(
        torch.tensor(vertices),
        index(head.faces),
        index(head.lmk_faces_idx).repeat(3, 1),
        torch.tensor(np.asarray(head.lmk_bary_coords)).repeat(3, 1, 1),
    )
    landmarks = head_landmarks(head, jnp.asarray(vertices))
    np.testing.assert_allclose(landmarks, expected.numpy(), atol=1e-6)


def test_landmarks_do_not_depend_on_the_order_of_vertices(flame):
    landmarks = [head_landmarks(head, head.v_template) for head in (flame[0], load_head())]
    np.testing.assert_allclose(*landmarks, atol=1e-6)


def test_anatomy_of_the_open_head_is_recovered_from_its_mesh(flame):
    """The file holds the open head with reordered vertices and without cavity and regions."""
    head, order = flame
    reference = load_head()
    cavity, expected = np.asarray(head.cavity), np.asarray(reference.cavity)[order]
    assert (cavity & expected).sum() > 0.98 * expected.sum()
    assert (cavity & ~expected).sum() < 0.015 * len(expected)
    for name in reference.region_names:
        found = np.asarray(head.region(name))
        expected = np.asarray(reference.region(name))[order] & ~cavity
        assert (found & expected).sum() > 0.9 * (found | expected).sum(), name
    for name in ("stiffness", "colors"):
        found, expected = np.asarray(getattr(head, name)), np.asarray(getattr(reference, name))
        assert np.abs(found - expected[order])[~cavity].mean() < 0.01, name
    assert head.hierarchy.counts == HEAD_LEVELS


def test_anatomy_is_transferred_to_a_head_of_another_shape_size_and_position():
    reference, rng = load_head(), np.random.default_rng(1)
    betas = np.append(rng.normal(size=20), np.zeros(130))
    vertices = np.asarray(reference.v_template) + np.asarray(reference.shapedirs) @ betas
    rotation = Rotation.from_rotvec([0.1, -0.05, 0.1]).as_matrix()
    vertices = (1.1 * vertices @ rotation.T + [0.02, -0.05, 0.04]).astype(np.float32)
    landmarks = np.asarray(head_landmarks(reference, vertices))
    found = anatomy.head_anatomy(vertices, np.asarray(reference.faces), landmarks, reference)
    names = (
        "cheek_left",
        "cheek_right",
        "forehead",
        "nose",
        "lips",
        "chin",
        "scalp",
        "neck",
        "eyes",
    )
    for name in names:
        region, expected = found.regions[name], np.asarray(reference.region(name)) & ~found.cavity
        assert (region & expected).sum() > 0.75 * (region | expected).sum(), name
    expected = np.asarray(reference.cavity)
    assert (found.cavity & expected).sum() > 0.95 * expected.sum()


def test_provenance_holds_the_hash_of_the_file_and_the_license(folder, hands, flame):
    for model, name in ((hands["left"], "MANO_LEFT.pkl"), (flame[0], "generic_model.pkl")):
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() in model.provenance
        assert "non-commercial" in model.license


@pytest.mark.parametrize("load, name", [(load_hand, "mano_left"), (load_head, "flame")])
def test_the_error_for_a_missing_model_explains_how_to_get_it(monkeypatch, tmp_path, load, name):
    monkeypatch.setenv("DICE_ASSETS", str(tmp_path))
    message = rf"{name}\.npz is not in {tmp_path}: register at https://.*is\.tue\.mpg"
    with pytest.raises(FileNotFoundError, match=message):
        load(name)


@pytest.mark.parametrize(
    "tool, words",
    [
        (convert_mano, r"MANO_RIGHT\.pkl or MANO_LEFT\.pkl"),
        (convert_flame, r"generic_model\.pkl .* and landmark_embedding\.npy"),
    ],
)
def test_the_error_for_an_empty_folder_names_the_files(tmp_path, tool, words):
    with pytest.raises(UserError, match=words):
        tool.main(["--assets", str(tmp_path)])


@pytest.mark.parametrize(
    "changes, words",
    [
        (dict(weights=None), "lacks weights"),
        (dict(v_template=np.zeros((779, 3))), "long, where 0.1 to 0.35 meters"),
        (
            dict(v_template=1000 * np.asarray(assets.load_hand().v_template, np.float64)),
            "other units",
        ),
        (
            dict(shapedirs=np.zeros((778, 3, 9))),
            r"shapedirs has shape \(778, 3, 9\), a hand needs \(778, 3, 10\)",
        ),
        (dict(posedirs=np.full((778, 3, 135), np.nan)), "posedirs holds NaN"),
        (dict(f=np.zeros((1538, 3), int)), "do not form a surface"),
        (dict(f=np.full((1538, 3), 778)), "not triangles of its vertices"),
        (dict(kintree_table=np.array([[-1, 0, 0], [0, 1, 2]])), "parents of the joints are"),
        (dict(weights=np.full((778, 16), -0.1)), "negative skinning weights"),
        (dict(J_regressor=np.ones((16, 778))), "rows of J_regressor must sum to 1"),
        (dict(hands_coeffs=np.zeros((5, 6))), "hands_coeffs has shape"),
        (dict(v_template="flat"), "does not hold numbers"),
    ],
)
def test_an_invalid_hand_file_gives_a_one_line_error(tmp_path, changes, words):
    path = licensed_trees.write_mano(tmp_path, **changes)
    with pytest.raises(UserError, match=words) as caught:
        licensed.convert_mano(path)
    assert "\n" not in str(caught.value) and "MANO_RIGHT.pkl" in str(caught.value)


def test_a_pickle_without_a_dictionary_is_rejected(tmp_path):
    licensed_trees.write_pickle(tmp_path / "generic_model.pkl", ["SMPL"])
    with pytest.raises(UserError, match="holds a list, not the dictionary"):
        licensed.convert_flame(tmp_path / "generic_model.pkl", tmp_path / "landmark_embedding.npy")


def test_invalid_landmarks_are_rejected_before_the_anatomy_is_computed(tmp_path, monkeypatch):
    licensed_trees.write_flame(tmp_path)
    monkeypatch.setattr(anatomy, "head_anatomy", lambda *_: pytest.fail("too late"))
    for changes, words in (
        (dict(full_lmk_faces_idx=np.full((1, 68), 9976)), "belongs to another mesh"),
        (dict(full_lmk_bary_coords=np.ones((1, 68, 3))), "are outside their triangles"),
        (dict(full_lmk_faces_idx=np.zeros((1, 51), int)), "51 landmarks"),
        (dict(full_lmk_faces_idx=None), "lacks the arrays"),
    ):
        good = dict(
            full_lmk_faces_idx=np.zeros((1, 68), int),
            full_lmk_bary_coords=np.full((1, 68, 3), 1 / 3),
        )
        np.save(
            tmp_path / "embedding.npy", np.array(good | changes, dtype=object), allow_pickle=True
        )
        with pytest.raises(UserError, match=words):
            licensed.convert_flame(tmp_path / "generic_model.pkl", tmp_path / "embedding.npy")
