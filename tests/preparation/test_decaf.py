"""A miniature of Decaf, in the authors' files, comes out equal to the labels that it was made from."""

import shutil
from pathlib import Path

import decaf_miniature as miniature
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dice_jax.body_models
from dice_jax import body_models, pickles
from dice_jax.body_models import load_hand, load_head
from dice_jax.data import loader, schema
from dice_jax.errors import UserError
from dice_jax.preparation import decaf, decaf_labels, decaf_tree
from tools import prepare_decaf

DATA = Path(dice_jax.body_models.__file__).parent / "data"
BODIES = ["--hand", str(DATA / "open_hand.npz"), "--head", str(DATA / "open_head.npz"), "--workers", "1"]
TAKES = {("train", "S2"): ("084", "108"), ("train", "S5"): ("102",), ("test", "S1"): ("108",)}
pose_hand, pose_head = jax.jit(body_models.pose_hand), jax.jit(body_models.pose_head)


@pytest.fixture(scope="module", autouse=True)
def small_parts():
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(decaf, "FRAMES_PER_PART", 2)
    yield


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
  """The unpacked download, and the truth of every take."""
  root = tmp_path_factory.mktemp("download") / "DecafDataset"
  truth = {}
  for seed, ((mode, subject), cameras) in enumerate(TAKES.items()):
    truth[subject] = miniature.write_take(
      root, mode, subject, cameras, seed=seed, native_order=subject == "S5", with_transforms=subject != "S1")
  return root, truth


@pytest.fixture(scope="module")
def prepared(tree, tmp_path_factory):
  root, truth = tree
  out = tmp_path_factory.mktemp("data")
  prepare_decaf.main(["--decaf", str(root.parent), "--out", str(out), *BODIES])
  return out, truth


def samples(out, split):
  source = decaf.load_split(out, split)
  return [schema.decode(source[i]) for i in range(len(source))]


def in_camera(points, camera):
  return points @ camera[0][:3, :3].T + camera[0][:3, 3]


def posed(sample):
  batch = loader.collate([sample])
  hand, head = pose_hand(load_hand(), batch.hand_params), pose_head(load_head(), batch.head_params)
  return np.asarray(hand.vertices[0], np.float64), np.asarray(head.vertices[0], np.float64)


def test_every_frame_of_the_protocol_is_there(prepared):
  out, _ = prepared
  found = [(f"S{s['subject']}", f"{s['view']:03d}", int(s["frame"])) for s in samples(out, "train")]
  assert sorted(found) == sorted((s, c, f) for s, cameras in (("S2", ("084", "108")), ("S5", ("102",))) for c in cameras
                                 for f in range(5))  # fmt: skip
  assert [int(s["frame"]) for s in samples(out, "test")] == list(range(5))


@pytest.mark.parametrize("split", ["train", "test"])
def test_meshes_and_deformations_are_those_of_the_labels(prepared, split):
  out, truth = prepared
  for sample in samples(out, split):
    own, frame = truth[f"S{sample['subject']}"], int(sample["frame"])
    camera = own.cameras[f"{sample['view']:03d}"]
    hand, head = posed(sample)
    np.testing.assert_allclose(hand, in_camera(own.hand_vertices[frame], camera), atol=1e-5)
    np.testing.assert_allclose(head, in_camera(own.head_vertices[frame], camera), atol=1e-5)
    deformed = in_camera(own.deformed_head_vertices[frame], camera)
    np.testing.assert_allclose(head - sample["deformations"], deformed, atol=3e-5)  # less than 2e-5 is not stored
    large = np.linalg.norm(sample["deformations"], axis=-1) > 1e-3
    np.testing.assert_allclose((head - sample["deformations"])[large], deformed[large], atol=1e-5)
    assert large.sum() > 40 and not sample["head_neck_pose"].any()
    assert not sample["deformations"][miniature.NECK].any() and not sample["head_contact"][miniature.NECK].any()
    away = np.setdiff1d(np.arange(5023), miniature.NECK)
    np.testing.assert_array_equal(sample["head_contact"][away], own.head_contact[frame][away])
    np.testing.assert_array_equal(sample["hand_contact"], own.hand_contact[frame])


@pytest.mark.parametrize("split", ["train", "test"])
def test_keypoints_land_where_the_meshes_project(prepared, split):
  """Through the camera and the crop, in OpenPose's order although S5's files have MANO's."""
  out, truth = prepared
  for sample in samples(out, split):
    own, frame = truth[f"S{sample['subject']}"], int(sample["frame"])
    camera = own.cameras[f"{sample['view']:03d}"]
    boxes = []
    for name in ("hand", "head"):
      points = in_camera(getattr(own, f"{name}_keypoints")[frame], camera) @ camera[1].T
      boxes.append(points[:, :2] / points[:, 2:])
    center = np.mean([(box[:, 0].min(), box[:, 0].max()) for box in boxes])
    left = int(np.clip(center, 90, 230) - 90)  # the crop begins at a whole pixel
    for name, points in zip(("hand", "head"), boxes):
      expected = (points - [left, 0]) * 224 / 180
      keypoints = sample[f"{name}_keypoints_2d"]
      np.testing.assert_allclose(keypoints[:, :2], expected, atol=1e-3)
      np.testing.assert_allclose(keypoints[:, 2], 0.9, atol=1e-6)
      box = sample[f"{name}_box"]
      np.testing.assert_allclose(box, [*keypoints[:, :2].min(0), *keypoints[:, :2].max(0)], atol=1e-3)


def test_pictures_are_of_the_right_frame_and_place(prepared):
  """The disc of the video lies on the landmarks in picture and mask alike."""
  out, _ = prepared
  for sample in samples(out, "train"):
    background = np.median(sample["image"][~sample["foreground"]])
    assert abs(background - miniature.grey(int(sample["frame"]))) < 8
    rows, columns = np.nonzero(sample["foreground"])
    radius = 30 * 224 / 180
    assert abs(len(rows) - np.pi * radius**2) < 0.1 * np.pi * radius**2
    center = sample["head_keypoints_2d"][:, :2].mean(0)
    assert np.abs(np.array([columns.mean(), rows.mean()]) + 0.5 - center).max() < 1.5
    red = (sample["image"][..., 0].astype(int) - sample["image"][..., 1]) > 60
    assert (red & sample["foreground"]).sum() > 0.9 * (red | sample["foreground"]).sum()


def test_sequences_end_at_cuts_and_scenes_join_views(prepared):
  out, _ = prepared
  for sample in samples(out, "train"):
    assert sample["sequence"] == (sample["frame"] >= 2)
  scenes = {(int(s["subject"]), int(s["frame"])): int(s["scene"]) for s in samples(out, "train")}
  assert len(set(scenes.values())) == len(scenes) == 10


def test_masks_say_what_decaf_has(prepared):
  out, _ = prepared
  batch = loader.Loader(decaf.load_split(out, "train"), 4, seed=0).batch(0)
  for name in ("has_2d", "has_3d", "has_params", "has_contact", "has_deformations"):
    assert getattr(batch, name).all()
  assert not batch.has_depth.any()


def test_validation_is_a_spread_part_of_the_test_split(prepared):
  out, _ = prepared
  source = decaf.load_split(out, "validation", 3)
  assert [int(source[i]["frame"]) for i in range(len(source))] == [0, 2, 4]


def test_what_is_missing_is_told_and_added_later(tree, tmp_path, capsys):
  """First without S2; then with it, nothing that was done is done again."""
  root, _ = tree
  part = tmp_path / "part"
  shutil.copytree(root, part)
  shutil.rmtree(part / "train/params/S2")
  prepare_decaf.main(["--decaf", str(part), "--out", str(tmp_path / "data"), *BODIES])
  told = capsys.readouterr().out
  assert "params_smoothed.pkl" in told and "S2" in told and "train/S4: 084.mp4, 100.mp4" in told
  assert len(samples(tmp_path / "data", "train")) == 5
  finished = {path: path.stat().st_mtime_ns for path in tmp_path.glob("data/decaf_parts/*/*.msgpack")}
  shutil.copytree(root / "train/params/S2", part / "train/params/S2")
  prepare_decaf.main(["--decaf", str(part), "--out", str(tmp_path / "data"), *BODIES])
  assert len(samples(tmp_path / "data", "train")) == 15
  assert all(path.stat().st_mtime_ns == before for path, before in finished.items())


def test_a_broken_off_run_goes_on(tree, tmp_path, monkeypatch):
  root, _ = tree
  arguments = ["--decaf", str(root), "--out", str(tmp_path), *BODIES]
  write, written = decaf.records.write_part, []

  def failing(path, *others):
    if len(written) == 3:
      raise KeyboardInterrupt
    written.append(path)
    write(path, *others)

  monkeypatch.setattr(decaf.records, "write_part", failing)
  with pytest.raises(KeyboardInterrupt):
    prepare_decaf.main(arguments)
  monkeypatch.setattr(decaf.records, "write_part", lambda path, *others: (written.append(path), write(path, *others)))
  prepare_decaf.main(arguments)
  assert len(written) == len(set(written)) == 3 * 3 + 3
  assert len(samples(tmp_path, "train")) == 15
  with pytest.raises(UserError, match="every was 1 and is 2"):
    prepare_decaf.main([*arguments, "--every", "2"])


class TestBadInput:
  @pytest.fixture
  def root(self, tree, tmp_path):
    shutil.copytree(tree[0], tmp_path / "tree")
    return tmp_path / "tree"

  def prepare(self, root, capsys):
    prepare_decaf.main(["--decaf", str(root), "--out", str(root.parent / "data"), *BODIES])
    return capsys.readouterr().out, samples(root.parent / "data", "train")

  def test_frames_that_cannot_be_used_are_counted(self, root, capsys):
    path = root / "train/params/S2/params_smoothed.pkl"
    params = pickles.read_pickle(path)
    params[1]["head"]["transl"] = np.array([np.nan, 0, 0])
    miniature.pickle.dump(params, path.open("wb"))
    deforms = np.load(root / "train/deformations/S5/deforms.npy")
    deforms[3, 7] = np.inf
    np.save(root / "train/deformations/S5/deforms.npy", deforms)
    miniature.write_videos(root / "train", "S2", "108", 3, np.full((5, 68, 3), 90.0))  # two frames short
    told, made = self.prepare(root, capsys)
    assert "train/S2/084: 1 frames left out, parameters are not finite: 1" in told
    assert "train/S2/108: 2 frames left out, beyond the end of the video: 3, 4" in told
    assert "train/S5/102: 1 frames left out, deformations are not finite: 3" in told
    assert "left out: 5 frames" in told and len(made) == 15 - 5

  def test_no_detection_is_no_keypoint_and_the_whole_frame(self, root, capsys):
    for name in ("right_hand_keys", "right_hand_bbs"):
      path = root / f"train/{name}/S5/102.npy"
      values = np.load(path)
      values[2] = np.nan if name == "right_hand_keys" else -1
      np.save(path, values)
    _, made = self.prepare(root, capsys)
    (sample,) = [s for s in made if s["subject"] == 5 and s["frame"] == 2]
    assert not sample["hand_keypoints_2d"].any() and not sample["hand_box"].any()
    assert sample["head_keypoints_2d"][:, 2].all() and sample["hand_contact"].any()

  @pytest.mark.parametrize("name, content, words", [
    ("params/S2/params_smoothed.pkl", b"\x80\x04cos\nsystem\n.", "names os.system"),
    ("params/S2/params_smoothed.pkl", miniature.pickle.dumps({0: {"head": {}}}), "frame 0 has no head transl of 3"),
    ("cameras/S2/cameras.pkl", miniature.pickle.dumps([1]), "is not a dictionary of cameras"),
    ("deformations/S2/deforms.npy", b"no array", "is not a plain array"),
    ("videos/S2/084.mp4", b"no video", "is missing or cannot be decoded"),
    ("head_bbs/S2/084.npy", None, "is missing"),
  ])  # fmt: skip
  def test_a_bad_file_is_named_and_the_rest_goes_on(self, root, capsys, name, content, words):
    path = root / "train" / name
    path.unlink()
    if content is not None:
      path.write_bytes(content)
    told, made = self.prepare(root, capsys)
    assert words in told and path.name in told
    assert {int(s["subject"]) for s in made} >= {5}

  def test_a_full_disk_is_told_before_and_during(self, root, monkeypatch):
    arguments = ["--decaf", str(root), "--out", str(root.parent / "data"), *BODIES]
    with monkeypatch.context() as patch:
      patch.setattr(prepare_decaf.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 10, 0))
      with pytest.raises(UserError, match=r"0\.0 GB free"):
        prepare_decaf.main(arguments)

    def full(*_):
      raise OSError(28, "No space left on device")

    monkeypatch.setattr(decaf.records.serialization, "msgpack_serialize", lambda _: b"x")
    monkeypatch.setattr(decaf.records.atomic, "atomic_path", full)
    with pytest.raises(UserError, match=r"no space left for .*msgpack: make room"):
      prepare_decaf.main(arguments)


def test_not_the_data_set(tmp_path):
  with pytest.raises(FileNotFoundError, match="is not an unpacked DecafDataset"):
    decaf_tree.find_root(tmp_path)
  with pytest.raises(UserError, match=r"decaf is not in .*: prepare it with python -m tools\.prepare_decaf"):
    decaf.load_split(tmp_path, "train")


@pytest.mark.parametrize("head, hand, left", [
  ([600, 1, 800, 2], [700, 1, 900, 2], 750 - 540), ([0, 0, 10, 10], [0, 0, 10, 10], 0),
  ([1900, 0, 1910, 9], [1900, 0, 1910, 9], 840), ([-1, 0, 5, 5], [np.nan] * 4, 420),
  ([-1, -1, -1, -1], [800, 0, 1000, 5], (1920 + 1800) / 4 - 540),
])  # fmt: skip
def test_crop_is_the_references(head, hand, left):
  assert decaf_labels.crop_left(np.array(head), np.array(hand), 1920, 1080) == left


def test_order_needs_something_to_compare(tree):
  root, _ = tree
  take = decaf_tree.read_take(root, "train", "S2")
  found = decaf_labels.centers(take, load_hand(), load_head())
  view = decaf_tree.read_view(root, take, "084")
  blind = decaf_tree.View(view.head_keypoints, view.hand_keypoints * np.nan, view.head_boxes, view.hand_boxes)
  order, errors = decaf_labels.keypoint_order(take, found, blind, "084")
  assert np.isnan(errors["openpose"]) and list(order) == list(range(21))
  _, errors = decaf_labels.keypoint_order(take, found, view, "084")
  assert errors["openpose"] < 0.01 < 5 < errors["native"]


def test_deformations_turn_as_the_transforms_say(tree):
  take = decaf_tree.read_take(tree[0], "train", "S2")
  rotation, apart = decaf_labels.deformation_rotation(take)
  assert apart < 1e-4 and rotation.shape == (5, 3, 3)
  assert decaf_labels.deformation_rotation(decaf_tree.read_take(tree[0], "test", "S1"))[1] is None
  assert jnp.isfinite(rotation).all()
