"""Reading miniatures of FreiHAND, METRO's labels and RenderMe-360 gives their parameters."""

import json
import pickle

import jax
import numpy as np
import pytest
from support import licensed_trees

from dice_jax import body_models
from dice_jax.body_models import load_hand
from dice_jax.datasets import pose_prior_sources as sources
from dice_jax.errors import UserError
from dice_jax.input_pipeline import pose_priors
from dice_jax.structs import HandParams
from dice_jax.tools import convert_mano, prepare_priors

pose_hand = jax.jit(body_models.pose_hand)
COUNT = 40


@pytest.fixture(scope="module")
def hand(tmp_path_factory):
    """A converted hand with a mean pose far from flat, in the folder of assets."""
    folder = tmp_path_factory.mktemp("assets")
    licensed_trees.write_mano(folder)
    convert_mano.main(["--assets", str(folder)])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DICE_ASSETS", str(folder))
        yield load_hand("mano_right")


@pytest.fixture(scope="module")
def targets(hand):
    """Absolute poses, betas, orientations, and the joints of the posed hands."""
    rng = np.random.default_rng(3)
    pose = rng.normal(0, 0.3, (COUNT, 45))
    betas = rng.normal(0, 0.5, (COUNT, 10))
    orient = rng.normal(0, 1, (COUNT, 3))
    transl = rng.normal(0, 0.1, (COUNT, 3))
    params = HandParams(*(np.float32(values) for values in (betas, orient, pose, transl)))
    joints = np.asarray(pose_hand(hand, params).keypoints, np.float64)
    return dict(pose=pose, betas=betas, orient=orient, joints=joints)


def write_freihand(folder, targets, hand, offsets):
    pose = targets["pose"] - np.asarray(hand.pose_mean, np.float64) * offsets
    rows = np.concatenate(
        [
            targets["orient"],
            pose,
            targets["betas"],
            np.zeros((COUNT, 2)),
            np.full((COUNT, 1), 0.03),
        ],
        1,
    )
    (folder / "training_mano.json").write_text(json.dumps(rows[:, None].tolist()))
    (folder / "training_xyz.json").write_text(json.dumps(targets["joints"].tolist()))


def write_metro(path, targets, hand, offsets, joints=True):
    pose = targets["pose"] - np.asarray(hand.pose_mean, np.float64) * offsets
    labels = [
        dict(pose=[*targets["orient"][i], *pose[i]], betas=targets["betas"][i].tolist())
        for i in range(COUNT)
    ]
    for label, points in zip(labels, targets["joints"] if joints else ()):
        label["3d_joints"] = np.column_stack([points, np.ones(21)]).tolist()
    path.write_text(
        "".join(f"image_{i}.jpg\t{json.dumps([label])}\n" for i, label in enumerate(labels))
    )


@pytest.mark.parametrize("offsets", [True, False])
@pytest.mark.parametrize("release", ["freihand", "metro"])
def test_the_pose_convention_of_a_file_is_detected(
    hand, targets, tmp_path, capsys, release, offsets
):
    if release == "freihand":
        write_freihand(tmp_path, targets, hand, offsets)
    else:
        write_metro(tmp_path / "train.label.tsv", targets, hand, offsets)
    path = tmp_path if release == "freihand" else tmp_path / "train.label.tsv"
    prepare_priors.main([f"--{release}", str(path), "--out", str(tmp_path)])
    read = pose_priors.load(tmp_path / pose_priors.FILE)
    np.testing.assert_allclose(read.hand[release]["hand_pose"], targets["pose"], atol=1e-5)
    np.testing.assert_allclose(read.hand[release]["hand_betas"], targets["betas"], atol=1e-6)
    printed = capsys.readouterr().out
    assert f"poses are {'offset' if offsets else 'absolute'}" in printed
    assert "distance to the joints, mm: offset" in printed
    read_hands = sources.read_freihand if release == "freihand" else sources.read_metro
    errors = sources.convention_errors(read_hands(path), hand)
    right, wrong = ("offset", "absolute") if offsets else ("absolute", "offset")
    assert errors[right] < 0.01 and errors[wrong] > 3


def test_poses_without_joints_count_as_offsets(hand, targets, tmp_path):
    write_metro(tmp_path / "train.label.tsv", targets, hand, True, joints=False)
    made, explanation = sources.absolute_hands(
        sources.read_metro(tmp_path / "train.label.tsv"), hand
    )
    np.testing.assert_allclose(made["hand_pose"], targets["pose"], atol=1e-5)
    assert "no joints" in explanation


def test_joints_in_other_units_are_an_error(hand, targets, tmp_path):
    write_freihand(tmp_path, {**targets, "joints": 1000 * targets["joints"]}, hand, True)
    with pytest.raises(UserError, match="neither pose convention"):
        sources.absolute_hands(sources.read_freihand(tmp_path), hand)


@pytest.fixture
def renderme(tmp_path, rng):
    """The folder of two people with one file each, and their frames."""
    normal = lambda **shapes: {name: rng.normal(size=shape) for name, shape in shapes.items()}
    fit = lambda: normal(shape=100, exp=50, global_pose=3, jaw_pose=(1, 3))
    frames = {person: {frame: fit() for frame in range(4)} for person in "ab"}
    for person, contents in frames.items():
        (tmp_path / "renderme" / person).mkdir(parents=True)
        (tmp_path / "renderme" / person / "fit.pkl").write_bytes(pickle.dumps(contents))
    return tmp_path / "renderme", frames


def test_renderme_fits_are_read_and_bad_files_left_out(renderme, tmp_path, capsys):
    folder, frames = renderme
    (folder / "c.pkl").write_bytes(b"\x80\x04cos\nsystem\n.")
    (folder / "d.pkl").write_bytes(pickle.dumps({0: dict(shape=np.full(100, np.nan))}))
    prepare_priors.main(["--renderme", str(folder), "--out", str(tmp_path)])
    read = pose_priors.load(tmp_path / pose_priors.FILE).head["renderme"]
    for name, theirs in (
        ("head_betas", "shape"),
        ("head_expression", "exp"),
        ("head_jaw_pose", "jaw_pose"),
    ):
        expected = [np.ravel(frame[theirs]) for person in "ab" for frame in frames[person].values()]
        np.testing.assert_allclose(read[name], expected, rtol=1e-6)
    printed = capsys.readouterr().out
    for words in ("c.pkl names os.system", "d.pkl: frame 0 has no shape", "2 files left out"):
        assert words in printed


def test_our_data_sets_are_added_and_every_source_is_counted(tmp_path, capsys, renderme):
    sizes = {**pose_priors.HAND, **pose_priors.HEAD}
    samples = [
        {name: np.full(size, i, np.float32) for name, size in sizes.items()} | {"image": b""}
        for i in range(10)
    ]
    prepare_priors.main(
        [f"--renderme={renderme[0]}", "--data=ours", "--limit=4", f"--out={tmp_path}"],
        datasets={"ours": lambda folder, split, size: samples},
    )
    read = pose_priors.load(tmp_path / pose_priors.FILE)
    assert read.counts() == {"hand": {"ours": 4}, "head": {"renderme": 8, "ours": 4}}
    np.testing.assert_array_equal(read.hand["ours"]["hand_pose"][:, 0], [0, 3, 6, 9])
    table = capsys.readouterr().out
    assert "ours" in table and "       4        4" in table


def test_draws_are_a_pure_function_of_seed_and_step_with_the_given_shares():
    part = lambda sizes, value: {
        name: np.full((50, size), value, np.float32) for name, size in sizes.items()
    }
    made = pose_priors.Priors(
        {"a": part(pose_priors.HAND, 1), "b": part(pose_priors.HAND, 2)},
        {"a": part(pose_priors.HEAD, 1)},
    )
    hand, head = made.draw(0, 7, 4000, {"a": 6, "b": 4})
    assert hand.hand_pose.shape == (4000, 45)
    assert head.betas.shape == (4000, 100) and head.jaw_pose.shape == (4000, 3)
    assert abs((hand.betas[:, 0] == 1).mean() - 0.6) < 0.04
    # Betas and pose belong to the same hand.
    np.testing.assert_array_equal(hand.betas[:, 0], hand.hand_pose[:, 0])
    again = made.draw(0, 7, 4000, {"a": 6, "b": 4})
    jax.tree.map(np.testing.assert_array_equal, again, (hand, head))
    assert (made.draw(0, 8, 4000)[0].betas != hand.betas).any()
    with pytest.raises(UserError, match="no head of b"):
        made.draw(0, 0, 4, {"b": 1})


@pytest.mark.parametrize(
    "name, content, words",
    [
        ("training_mano.json", "[[1, 2]]", "rows of 61 numbers"),
        ("training_mano.json", "[1, ", "rows of 61"),
        ("training_xyz.json", None, "is missing"),
        ("training_xyz.json", json.dumps([[[0.0] * 3] * 21]), "40 hands in"),
    ],
)
def test_a_bad_file_of_freihand_is_one_clear_line(hand, targets, tmp_path, name, content, words):
    write_freihand(tmp_path, targets, hand, True)
    (tmp_path / name).unlink()
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises((UserError, FileNotFoundError), match=words):
        sources.read_freihand(tmp_path)


def test_a_file_without_valid_priors_is_one_clear_line(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"dice_jax.tools\.prepare_priors"):
        pose_priors.load(tmp_path / "nowhere.npz")
    for arrays in (
        dict(a=np.zeros(3)),
        {"hand/x/hand_pose": np.zeros((3, 44))},
        {"hand/x/hand_pose": np.zeros((0, 45))},
    ):
        np.savez(tmp_path / "other.npz", **arrays)
        with pytest.raises(UserError, match=r"other\.npz"):
            pose_priors.load(tmp_path / "other.npz")
    (tmp_path / "other.npz").write_bytes(b"none")
    with pytest.raises(UserError, match="is not a file of pose priors"):
        pose_priors.load(tmp_path / "other.npz")


def test_preparing_without_a_source_is_one_clear_line():
    with pytest.raises(UserError, match="no source named"):
        prepare_priors.main([])
