"""A miniature of Decaf, in the authors' files, comes out equal to the labels that it was made from."""

import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import trimesh
from support import decaf_miniature as miniature

import dice_jax.body_models
from dice_jax import body_models
from dice_jax.body_models import load_hand, load_head
from dice_jax.datasets.decaf import dataset, files, labels
from dice_jax.errors import UserError
from dice_jax.input_pipeline import loader, schema
from dice_jax.tools import prepare_decaf
from dice_jax.untrusted_files import pickles

DATA = Path(dice_jax.body_models.__file__).parent / "data"
BODIES = [
    "--hand",
    str(DATA / "open_hand.npz"),
    "--head",
    str(DATA / "open_head.npz"),
    "--workers",
    "1",
]
TAKES = {("train", "S2"): ("084", "108"), ("train", "S5"): ("102",), ("test", "S1"): ("108",)}
pose_hand, pose_head = jax.jit(body_models.pose_hand), jax.jit(body_models.pose_head)


@pytest.fixture(scope="module", autouse=True)
def small_parts():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dataset, "FRAMES_PER_PART", 2)
        yield


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """The unpacked download, and the truth of every take."""
    root = tmp_path_factory.mktemp("download") / "DecafDataset"
    truth = {}
    for number, ((mode, subject), cameras) in enumerate(TAKES.items()):
        truth[subject] = miniature.write_take(
            root,
            mode,
            subject,
            cameras,
            first=10 * number,
            native_order=subject == "S5",
            with_transforms=subject != "S1",
        )
    return root, truth


@pytest.fixture(scope="module")
def prepared(tree, tmp_path_factory):
    root, truth = tree
    out = tmp_path_factory.mktemp("data")
    prepare_decaf.main(["--decaf", str(root.parent), "--out", str(out), *BODIES])
    return out, truth


def samples(out, split):
    source = dataset.load_split(out, split)
    return [schema.decode(source[i]) for i in range(len(source))]


def in_camera(points, camera):
    return points @ camera[0][:3, :3].T + camera[0][:3, 3]


def in_picture(points, camera):
    """Pixels of the whole frame."""
    projected = in_camera(points, camera) @ camera[1].T
    return projected[:, :2] / projected[:, 2:]


def crop_left(truth, camera, frame):
    """Where the reference cuts: a square of the frame's height around the middle of both boxes, at
    a whole pixel.
    """
    columns = [
        in_picture(points[frame], camera)[:, 0].clip(0)
        for points in (truth.hand_keypoints, truth.head_keypoints)
    ]
    center = np.mean([(x.min(), x.max()) for x in columns])
    return int(np.clip(center, 112, miniature.WIDTH - 112) - 112)


def posed(sample):
    batch = loader.collate([sample])
    hand, head = (
        pose_hand(load_hand(), batch.hand_params),
        pose_head(load_head(), batch.head_params),
    )
    return np.asarray(hand.vertices[0], np.float64), np.asarray(head.vertices[0], np.float64)


def test_every_frame_of_the_protocol_is_there(prepared):
    out, _ = prepared
    found = [
        (f"S{s['subject']}", f"{s['view']:03d}", int(s["frame"])) for s in samples(out, "train")
    ]
    assert sorted(found) == sorted(
        (s, c, f)
        for s, cameras in (("S2", ("084", "108")), ("S5", ("102",)))
        for c in cameras
        for f in range(5)
    )
    assert [int(s["frame"]) for s in samples(out, "test")] == list(range(5))


@pytest.mark.parametrize("split", ["train", "test"])
def test_meshes_and_deformations_are_those_of_the_labels(prepared, split):
    out, truth = prepared
    pressed = []
    for sample in samples(out, split):
        own, frame = truth[f"S{sample['subject']}"], int(sample["frame"])
        camera = own.cameras[f"{sample['view']:03d}"]
        hand, head = posed(sample)
        np.testing.assert_allclose(hand, in_camera(own.hand_vertices[frame], camera), atol=1e-5)
        np.testing.assert_allclose(head, in_camera(own.head_vertices[frame], camera), atol=1e-5)
        deformed = in_camera(own.deformed_head_vertices[frame], camera)
        np.testing.assert_allclose(
            head - sample["deformations"], deformed, atol=3e-5
        )  # less than 2e-5 is not stored
        large = np.linalg.norm(sample["deformations"], axis=-1) > 1e-4
        np.testing.assert_allclose(
            (head - sample["deformations"])[large], deformed[large], atol=1e-5
        )
        assert not sample["head_neck_pose"].any()
        assert (
            not sample["deformations"][miniature.neck()].any()
            and not sample["head_contact"][miniature.neck()].any()
        )
        away = np.setdiff1d(np.arange(5023), miniature.neck())
        np.testing.assert_array_equal(sample["head_contact"][away], own.head_contact[frame][away])
        np.testing.assert_array_equal(sample["hand_contact"], own.hand_contact[frame])
        pressed.append(large.sum())
    assert (
        max(pressed) > 20
        and max(np.linalg.norm(s["deformations"], axis=-1).max() for s in samples(out, split))
        > 1e-3
    )


def test_skin_gives_way_to_the_hand(prepared):
    """Deformed is vertices minus deformations, in camera axes: so the skin leaves the hand and
    comes to lie on it.
    """
    out, _ = prepared
    for sample in samples(out, "train"):
        touching = sample["head_contact"] > 0
        if touching.sum() < 5:
            continue
        hand, head = posed(sample)
        hand_mesh = trimesh.Trimesh(hand, np.asarray(load_hand().closed_faces), process=False)
        depth = lambda points, mesh=hand_mesh: np.clip(
            trimesh.proximity.signed_distance(mesh, points), 0, None
        ).max()
        before, after = depth(head[touching]), depth((head - sample["deformations"])[touching])
        assert after < 0.0015 or after < 0.5 * before


@pytest.mark.parametrize("split", ["train", "test"])
def test_keypoints_land_where_the_meshes_project(prepared, split):
    """Through the camera and the crop, in OpenPose's order although S5's files have MANO's."""
    out, truth = prepared
    for sample in samples(out, split):
        own, frame = truth[f"S{sample['subject']}"], int(sample["frame"])
        camera = own.cameras[f"{sample['view']:03d}"]
        left = crop_left(own, camera, frame)
        for name in ("hand", "head"):
            expected = in_picture(getattr(own, f"{name}_keypoints")[frame], camera) - [left, 0]
            keypoints = sample[f"{name}_keypoints_2d"]
            np.testing.assert_allclose(keypoints[:, :2], expected, atol=1e-3)
            np.testing.assert_allclose(keypoints[:, 2], 0.9, atol=1e-6)
            corners = (
                expected.min(0).clip([-left, 0]),
                expected.max(0).clip([1 - left, 1]),
            )  # boxes begin at the frame's edge
            np.testing.assert_allclose(sample[f"{name}_box"], np.concatenate(corners), atol=1e-3)


def test_pictures_are_of_the_right_frame_and_place(prepared):
    """Of all the pictures and masks of a take, each sample's own are the nearest; compression costs
    a few levels.
    """
    out, truth = prepared
    for sample in samples(out, "train"):
        own, frame, view = (
            truth[f"S{sample['subject']}"],
            int(sample["frame"]),
            f"{sample['view']:03d}",
        )
        left = crop_left(own, own.cameras[view], frame) - miniature.MARGIN
        inside = slice(max(left, 0), 224 + min(left, 0))
        part = lambda pictures, inside=inside: pictures[:, :, inside].astype(float)
        columns = slice(inside.start - left, inside.stop - left)
        for made, there in ((sample["image"], own.pictures), (sample["foreground"], own.masks)):
            errors = {
                name: np.abs(part(of) - made[:, columns]).reshape(len(of), -1).mean(1)
                for name, of in there.items()
            }
            assert errors[view][frame] == min(error.min() for error in errors.values())
            assert errors[view][frame] < (12 if made.dtype == np.uint8 else 0.02)


def test_sequences_end_at_cuts_and_scenes_join_views(prepared):
    out, _ = prepared
    for sample in samples(out, "train"):
        assert sample["sequence"] == (sample["frame"] >= miniature.CUT)
    scenes = {(int(s["subject"]), int(s["frame"])): int(s["scene"]) for s in samples(out, "train")}
    assert len(set(scenes.values())) == len(scenes) == 10


def test_masks_say_what_decaf_has(prepared):
    out, _ = prepared
    batch = loader.Loader(dataset.load_split(out, "train"), 4, seed=0).batch(0)
    for name in ("has_2d", "has_3d", "has_params", "has_contact", "has_deformations"):
        assert getattr(batch, name).all()
    assert not batch.has_depth.any()


def test_validation_is_a_spread_part_of_the_test_split(prepared):
    out, _ = prepared
    source = dataset.load_split(out, "validation", 3)
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
    finished = {
        path: path.stat().st_mtime_ns for path in tmp_path.glob("data/decaf_parts/*/*.msgpack")
    }
    shutil.copytree(root / "train/params/S2", part / "train/params/S2")
    prepare_decaf.main(["--decaf", str(part), "--out", str(tmp_path / "data"), *BODIES])
    assert len(samples(tmp_path / "data", "train")) == 15
    assert all(path.stat().st_mtime_ns == before for path, before in finished.items())


def test_a_broken_off_run_goes_on(tree, tmp_path, monkeypatch):
    root, _ = tree
    arguments = ["--decaf", str(root), "--out", str(tmp_path), *BODIES]
    write, written = dataset.records.write_part, []

    def failing(path, *others):
        if len(written) == 3:
            raise KeyboardInterrupt
        written.append(path)
        write(path, *others)

    monkeypatch.setattr(dataset.records, "write_part", failing)
    with pytest.raises(KeyboardInterrupt):
        prepare_decaf.main(arguments)
    monkeypatch.setattr(
        dataset.records,
        "write_part",
        lambda path, *others: (written.append(path), write(path, *others)),
    )
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
        miniature.write_video(
            root / "train/videos/S2/108.mp4", np.zeros((3, 224, 224))
        )  # two frames short
        told, made = self.prepare(root, capsys)
        assert "train/S2/084: 1 frames left out, parameters are not finite: 1" in told
        assert "train/S2/108: 2 frames left out, beyond the end of the video: 3, 4" in told
        assert "train/S5/102: 1 frames left out, deformations are not finite: 3" in told
        assert "left out: 5 frames" in told and len(made) == 15 - 5

    def test_damaged_frames_are_counted_and_those_after_them_keep_their_labels(
        self, tree, root, capsys
    ):
        path = root / "train/videos/S5/102.mp4"
        start = b"\0\0\1\xb6"  # of a frame, in MPEG-4
        head, *frames = path.read_bytes().split(start)
        for number in (1, 2):
            frames[number] = bytes(100) + frames[number][100:]
        path.write_bytes(
            head
            + b"".join(
                (bytes(4) if i in (1, 2) else start) + frame for i, frame in enumerate(frames)
            )
        )
        told, made = self.prepare(root, capsys)
        assert (
            "train/S5/102: 2 frames left out, frame cannot be decoded: 1, 2" in told
            and len(made) == 15 - 2
        )
        pictures, own = (
            tree[1]["S5"].pictures["102"],
            [sample for sample in made if sample["subject"] == 5],
        )
        for sample in own:
            camera = tree[1]["S5"].cameras["102"]
            left = crop_left(tree[1]["S5"], camera, int(sample["frame"])) - miniature.MARGIN
            seen = np.roll(sample["image"].astype(float), left, axis=1)[:, 40:-40]
            errors = np.abs(pictures[:, :, 40:-40] - seen).reshape(5, -1).mean(1)
            assert errors.argmin() == sample["frame"]
        assert [int(sample["frame"]) for sample in own] == [0, 3, 4]

    def test_no_detection_is_no_keypoint_and_the_whole_frame(self, root, capsys):
        for name in ("right_hand_keys", "right_hand_bbs"):
            path = root / f"train/{name}/S5/102.npy"
            values = np.load(path)
            values[2] = np.nan if name == "right_hand_keys" else -1
            np.save(path, values)
        _, made = self.prepare(root, capsys)
        (sample,) = [s for s in made if s["subject"] == 5 and s["frame"] == 2]
        assert not sample["hand_keypoints_2d"].any() and not sample["hand_box"].any()
        assert sample["head_keypoints_2d"][:, 2].all() and sample["hand_betas"].any()

    @pytest.mark.parametrize(
        "name, content, words",
        [
            ("params/S2/params_smoothed.pkl", b"\x80\x04cos\nsystem\n.", "names os.system"),
            (
                "params/S2/params_smoothed.pkl",
                miniature.pickle.dumps({0: {"head": {}}}),
                "frame 0 has no head transl of 3",
            ),
            (
                "cameras/S2/cameras.pkl",
                miniature.pickle.dumps([1]),
                "is not a dictionary of cameras",
            ),
            ("deformations/S2/deforms.npy", b"no array", "is not a plain array"),
            ("videos/S2/084.mp4", b"no video", "is missing or cannot be decoded"),
            ("head_bbs/S2/084.npy", None, "is missing"),
        ],
    )
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
            patch.setattr(
                prepare_decaf.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 10, 0)
            )
            with pytest.raises(UserError, match=r"0\.0 GB free"):
                prepare_decaf.main(arguments)

        def full(*_):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(dataset.records.serialization, "msgpack_serialize", lambda _: b"x")
        monkeypatch.setattr(dataset.records.atomic, "atomic_path", full)
        with pytest.raises(UserError, match=r"no space left for .*msgpack: make room"):
            prepare_decaf.main(arguments)


def test_not_the_data_set(tmp_path):
    with pytest.raises(FileNotFoundError, match="is not an unpacked DecafDataset"):
        files.find_root(tmp_path)
    with pytest.raises(
        UserError,
        match=r"decaf is not in .*: prepare it with python -m dice_jax.tools\.prepare_decaf",
    ):
        dataset.load_split(tmp_path, "train")


@pytest.mark.parametrize(
    "head, hand, left",
    [
        ([600, 1, 800, 2], [700, 1, 900, 2], 750 - 540),
        ([0, 0, 10, 10], [0, 0, 10, 10], 0),
        ([1900, 0, 1910, 9], [1900, 0, 1910, 9], 840),
        ([-1, 0, 5, 5], [np.nan] * 4, 420),
        ([-1, -1, -1, -1], [800, 0, 1000, 5], (1920 + 1800) / 4 - 540),
    ],
)
def test_crop_is_the_references(head, hand, left):
    assert labels.crop_left(np.array(head), np.array(hand), 1920, 1080) == left


def test_order_needs_something_to_compare(tree):
    root, _ = tree
    take = files.read_take(root, "train", "S2")
    found = labels.centers(take, load_hand(), load_head())
    view = files.read_view(root, take, "084")
    blind = files.View(
        view.head_keypoints, view.hand_keypoints * np.nan, view.head_boxes, view.hand_boxes
    )
    order, errors = labels.keypoint_order(take, found, blind, "084")
    assert np.isnan(errors["openpose"]) and list(order) == list(range(21))
    _, errors = labels.keypoint_order(take, found, view, "084")
    assert errors["openpose"] < 0.01 < 5 < errors["native"]


def test_deformations_turn_as_the_transforms_say(tree):
    take = files.read_take(tree[0], "train", "S2")
    rotation, apart = labels.deformation_rotation(take)
    assert apart < 1e-4 and rotation.shape == (5, 3, 3)
    assert labels.deformation_rotation(files.read_take(tree[0], "test", "S1"))[1] is None
    assert jnp.isfinite(rotation).all()
