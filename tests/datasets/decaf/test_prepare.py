"""Preparing a miniature of Decaf's files reproduces the labels that they were made from."""

import pickle
import shutil
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pytest
import trimesh
from support import decaf_miniature as miniature

import dice_jax.body_models
from dice_jax import body_models
from dice_jax.body_models import load_hand, load_head
from dice_jax.constants import CROP_SIZE, NUM_HEAD_VERTICES
from dice_jax.datasets import prepared_records
from dice_jax.datasets.decaf import dataset, files
from dice_jax.datasets.decaf import prepare as decaf_prepare
from dice_jax.errors import UserError
from dice_jax.input_pipeline import loader, schema
from dice_jax.io import atomic
from dice_jax.tools import prepare_decaf
from dice_jax.untrusted_files import pickles

BODY_MODEL_FILES = Path(dice_jax.body_models.__file__).parent / "data"
FLAGS = [
    f"--hand={BODY_MODEL_FILES / 'open_hand.npz'}",
    f"--head={BODY_MODEL_FILES / 'open_head.npz'}",
    "--workers=1",
]
NUM_TRAIN = 15  # frames of the training takes: 5 in each of 3 videos
pose_hand, pose_head = jax.jit(body_models.pose_hand), jax.jit(body_models.pose_head)


def prepare(root, out, *flags):
    """Two frames per part, so that every video has three parts."""
    prepare_decaf.main([f"--decaf={root}", f"--out={out}", *FLAGS, *flags], frames_per_part=2)


@pytest.fixture(scope="module")
def prepared(download, tmp_path_factory):
    """The folder of the prepared data set, and the ground truth."""
    root, targets = download
    out = tmp_path_factory.mktemp("data")
    prepare(root.parent, out)
    return out, targets


def samples(out, split):
    source = dataset.load_split(out, split)
    return [schema.decode(source[i]) for i in range(len(source))]


def training_takes(out):
    """Samples of the training takes: the training split, and the validation split at their ends."""
    return [*samples(out, "train"), *samples(out, "validation")]


def targets_of(targets, sample):
    """Ground targets of the take, frame number, and name and matrices of the camera."""
    take, view = targets[f"S{sample['subject']}"], f"{sample['view']:03d}"
    return take, int(sample["frame"]), view, take.cameras[view]


def in_camera(points, camera):
    return points @ camera[0][:3, :3].T + camera[0][:3, 3]


def crop_left(take, camera, frame):
    """The reference's crop: a square of the frame's height around the center of both boxes."""
    columns = [
        miniature.project(points[frame], camera)[:, 0].clip(0)
        for points in (take.hand_keypoints, take.head_keypoints)
    ]
    center, half = np.mean([(x.min(), x.max()) for x in columns]), CROP_SIZE / 2
    return int(np.clip(center, half, miniature.WIDTH - half) - half)


def posed(sample):
    batch = loader.collate([sample])
    hand, head = (
        pose_hand(load_hand(), batch.hand_params),
        pose_head(load_head(), batch.head_params),
    )
    return np.asarray(hand.vertices[0], np.float64), np.asarray(head.vertices[0], np.float64)


def test_every_frame_of_the_protocol_is_prepared(prepared):
    out, _ = prepared
    found = [(f"S{s['subject']}", f"{s['view']:03d}", int(s["frame"])) for s in training_takes(out)]
    videos = [("S2", "084"), ("S2", "108"), ("S5", "102")]
    assert sorted(found) == [(*video, frame) for video in videos for frame in range(5)]
    assert [int(s["frame"]) for s in samples(out, "test")] == list(range(5))


@pytest.mark.parametrize("split", ["train", "test"])
def test_meshes_deformations_and_contacts_equal_the_ground_truth(prepared, split):
    out, targets = prepared
    norms = []
    for sample in samples(out, split):
        take, frame, _, camera = targets_of(targets, sample)
        hand, head = posed(sample)
        np.testing.assert_allclose(hand, in_camera(take.hand_vertices[frame], camera), atol=1e-5)
        np.testing.assert_allclose(head, in_camera(take.head_vertices[frame], camera), atol=1e-5)
        deformed, deformations = head - sample["deformations"], sample["deformations"]
        expected = in_camera(take.deformed_head_vertices[frame], camera)
        np.testing.assert_allclose(deformed, expected, atol=3e-5)  # 2e-5 is not stored
        norms.append(np.linalg.norm(deformations, axis=-1))
        large = norms[-1] > 1e-4
        np.testing.assert_allclose(deformed[large], expected[large], atol=1e-5)
        assert not sample["head_neck_pose"].any()
        neck = miniature.neck()
        assert not deformations[neck].any() and not sample["head_contact"][neck].any()
        skin = np.setdiff1d(np.arange(NUM_HEAD_VERTICES), neck)
        np.testing.assert_array_equal(sample["head_contact"][skin], take.head_contact[frame][skin])
        np.testing.assert_array_equal(sample["hand_contact"], take.hand_contact[frame])
    norms = np.stack(norms)
    assert (norms > 1e-4).sum(1).max() > 20 and norms.max() > 1e-3


def test_deformations_move_the_skin_out_of_the_hand(prepared):
    """With the sign `deformed = vertices - deformations`, in camera axes."""
    out, _ = prepared
    compared = 0
    for sample in samples(out, "train")[::2]:
        touching = sample["head_contact"] > 0
        if touching.sum() < 5:
            continue
        hand, head = posed(sample)
        mesh = trimesh.Trimesh(hand, np.asarray(load_hand().closed_faces), process=False)
        depth = lambda points, mesh=mesh: np.max(
            trimesh.proximity.signed_distance(mesh, points).clip(0)
        )
        before, after = depth(head[touching]), depth((head - sample["deformations"])[touching])
        assert after < 0.0015 or after < 0.5 * before
        compared += 1
    assert compared > 3


@pytest.mark.parametrize("split", ["train", "test"])
def test_keypoints_and_boxes_are_in_crop_pixels_and_openpose_order(prepared, split):
    """Although the files of S5 are in MANO's order."""
    out, targets = prepared
    for sample in samples(out, split):
        take, frame, _, camera = targets_of(targets, sample)
        left = crop_left(take, camera, frame)
        for name, points in (("hand", take.hand_keypoints), ("head", take.head_keypoints)):
            expected = miniature.project(points[frame], camera) - [left, 0]
            keypoints = sample[f"{name}_keypoints_2d"]
            np.testing.assert_allclose(keypoints[:, :2], expected, atol=1e-3)
            np.testing.assert_allclose(keypoints[:, 2], 0.9, atol=1e-6)
            # Boxes start at the edge of the frame.
            corners = expected.min(0).clip([-left, 0]), expected.max(0).clip([1 - left, 1])
            np.testing.assert_allclose(sample[f"{name}_box"], np.concatenate(corners), atol=1e-3)


def distances_to_frames(images, pixels, left):
    """Mean absolute difference of a crop to each frame of a video, where the two overlap."""
    left -= miniature.MARGIN
    columns = slice(max(left, 0), CROP_SIZE + min(left, 0))
    crop_columns = slice(columns.start - left, columns.stop - left)
    difference = np.abs(images[:, :, columns].astype(float) - pixels[:, crop_columns])
    return difference.reshape(len(images), -1).mean(1)


def test_image_and_mask_are_of_the_right_frame_camera_and_place(prepared):
    """They are nearest to their own frame; compression changes them by a few gray levels."""
    out, targets = prepared
    for sample in samples(out, "train"):
        take, frame, view, camera = targets_of(targets, sample)
        left = crop_left(take, camera, frame)
        for name, videos, tolerance in (
            ("image", take.images, 12),
            ("foreground", take.masks, 0.02),
        ):
            errors = {
                camera_name: distances_to_frames(video, sample[name], left)
                for camera_name, video in videos.items()
            }
            assert errors[view][frame] == min(error.min() for error in errors.values())
            assert errors[view][frame] < tolerance


def test_a_cut_starts_a_new_sequence_and_views_share_a_scene(prepared):
    out, _ = prepared
    made = training_takes(out)
    for sample in made:
        assert sample["sequence"] == (sample["frame"] >= miniature.CUT)
    scenes = {(int(s["subject"]), int(s["frame"])): int(s["scene"]) for s in made}
    assert len(set(scenes.values())) == len(scenes) == 10


def test_a_batch_has_every_label_but_depth(prepared):
    out, _ = prepared
    batch = loader.Loader(dataset.load_split(out, "train"), 4, seed=0).batch(0)
    for name in ("has_2d", "has_3d", "has_params", "has_contact", "has_deformations"):
        assert getattr(batch, name).all()
    assert not batch.has_depth.any()


def test_validation_is_the_end_of_the_training_takes(prepared):
    """No moment of it is trained on or tested with, in any view."""
    out, _ = prepared
    moments = {
        split: {(int(s["subject"]), int(s["frame"])) for s in samples(out, split)}
        for split in ("train", "validation", "test")
    }
    assert moments["validation"] == {(2, 4), (5, 4)}
    assert moments["train"] == {(subject, frame) for subject in (2, 5) for frame in range(4)}
    assert {subject for subject, _ in moments["test"]} == {1}
    assert len(dataset.load_split(out, "validation", 2)) == 2


@pytest.mark.parametrize("frames", [1, 2, 3, 49, 50, 1000, 12_345])
def test_every_row_is_in_one_part_of_one_split(frames, tmp_path):
    job = prepare_job(tmp_path, "train")
    parts = decaf_prepare.parts_of(job, frames)
    rows = [row for part in parts.values() for row in part]
    assert rows == list(range(frames))
    held_out = sum(len(rows) for path, rows in parts.items() if path.parent.name == "validation")
    share = decaf_prepare.VALIDATION_SHARE
    assert held_out == (0 if frames == 1 else max(1, round(share * frames)))
    assert all(
        path.parent.name == "test"
        for path in decaf_prepare.parts_of(prepare_job(tmp_path, "test"), frames)
    )


def prepare_job(folder, mode):
    return decaf_prepare.Job(folder, mode, "S2", "084", folder / "labels.npz", folder, None, 7)


def test_missing_files_are_listed_and_a_later_run_adds_them(download, tmp_path, capsys):
    """First without S2, then with it; finished parts are not made again."""
    root, _ = download
    partial, out = tmp_path / "partial", tmp_path / "data"
    shutil.copytree(root, partial)
    shutil.rmtree(partial / "train/params/S2")
    prepare(partial, out)
    printed = capsys.readouterr().out
    assert "params_smoothed.pkl" in printed and "train/S4: 084.mp4, 100.mp4" in printed
    assert len(training_takes(out)) == 5
    finished = {path: path.stat().st_mtime_ns for path in out.glob("decaf_parts/*/*.msgpack")}
    assert len(finished) == 2 * 3
    shutil.copytree(root / "train/params/S2", partial / "train/params/S2")
    prepare(partial, out)
    assert len(training_takes(out)) == NUM_TRAIN
    assert all(path.stat().st_mtime_ns == before for path, before in finished.items())


def test_an_interrupted_run_continues_with_the_same_settings_only(download, tmp_path, monkeypatch):
    root, _ = download
    write_part, written = prepared_records.write_part, []

    def interrupted(path, *others):
        if len(written) == 3:
            raise KeyboardInterrupt
        written.append(path)
        write_part(path, *others)

    def recorded(path, *others):
        written.append(path)
        write_part(path, *others)

    monkeypatch.setattr(prepared_records, "write_part", interrupted)
    with pytest.raises(KeyboardInterrupt):
        prepare(root, tmp_path)
    monkeypatch.setattr(prepared_records, "write_part", recorded)
    prepare(root, tmp_path)
    assert len(written) == len(set(written)) == 4 * 3
    assert len(training_takes(tmp_path)) == NUM_TRAIN
    settings = {"every": 1, "validation": decaf_prepare.VALIDATION_SHARE}
    prepared_records.check_settings(tmp_path / "decaf_parts", settings)
    with pytest.raises(UserError, match="every was 1 and is 2"):
        prepare(root, tmp_path, "--every=2")


class TestBadInput:
    @pytest.fixture
    def root(self, download, tmp_path):
        shutil.copytree(download[0], tmp_path / "tree")
        return tmp_path / "tree"

    def prepare(self, root, capsys):
        """What the command prints, and the samples of the training split."""
        out = root.parent / "data"
        prepare(root, out)
        return capsys.readouterr().out, training_takes(out)

    def test_unusable_frames_are_left_out_and_counted(self, root, capsys):
        path = root / "train/params/S2/params_smoothed.pkl"
        params = pickles.read_pickle(path)
        params[1]["head"]["transl"] = np.array([np.nan, 0, 0])
        path.write_bytes(pickle.dumps(params))
        deformations = np.load(root / "train/deformations/S5/deforms.npy")
        deformations[3, 7] = np.inf
        np.save(root / "train/deformations/S5/deforms.npy", deformations)
        three_frames = np.zeros((3, CROP_SIZE, CROP_SIZE))
        miniature.write_video(root / "train/videos/S2/108.mp4", three_frames)
        printed, made = self.prepare(root, capsys)
        assert "train/S2/084: 1 frames left out, parameters are not finite: 1" in printed
        assert "train/S2/108: 2 frames left out, beyond the end of the video: 3, 4" in printed
        assert "train/S5/102: 1 frames left out, deformations are not finite: 3" in printed
        assert "left out: 5 frames" in printed and len(made) == NUM_TRAIN - 5

    def test_a_missing_mask_video_costs_the_background_and_not_the_labels(self, root, capsys):
        (root / "train/segmentations/S5/102.mp4").unlink()
        printed, made = self.prepare(root, capsys)
        assert "train/S5/102: background is not replaced" in printed and "102.mp4" in printed
        assert len(made) == NUM_TRAIN
        for sample in made:
            assert sample["foreground"].all() == (sample["subject"] == 5)

    def test_frames_after_damaged_ones_keep_their_own_labels(self, download, root, capsys):
        path = root / "train/videos/S5/102.mp4"
        start = b"\0\0\1\xb6"  # of a frame, in MPEG-4
        header, *frames = path.read_bytes().split(start)
        damaged = (1, 2)
        for number in damaged:
            frames[number] = bytes(100) + frames[number][100:]
        starts = [bytes(4) if number in damaged else start for number in range(len(frames))]
        path.write_bytes(header + b"".join(a + b for a, b in zip(starts, frames)))
        printed, made = self.prepare(root, capsys)
        assert "train/S5/102: 2 frames left out, frame cannot be decoded: 1, 2" in printed
        assert len(made) == NUM_TRAIN - 2
        of_video = [sample for sample in made if sample["subject"] == 5]
        assert [int(sample["frame"]) for sample in of_video] == [0, 3, 4]
        for sample in of_video:
            take, frame, view, camera = targets_of(download[1], sample)
            left = crop_left(take, camera, frame)
            errors = distances_to_frames(take.images[view], sample["image"], left)
            assert errors.argmin() == frame

    def test_an_undetected_hand_has_no_keypoints_and_no_box(self, root, capsys):
        for name, missing in (("right_hand_keys", np.nan), ("right_hand_bbs", -1)):
            path = root / f"train/{name}/S5/102.npy"
            values = np.load(path)
            values[2] = missing
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
                pickle.dumps({0: {"head": {}}}),
                "frame 0 has no head transl of 3",
            ),
            ("cameras/S2/cameras.pkl", pickle.dumps([1]), "is not a dictionary of cameras"),
            ("deformations/S2/deforms.npy", b"no array", "is not a plain array"),
            ("videos/S2/084.mp4", b"no video", "is not a video"),
            ("head_bbs/S2/084.npy", None, "is missing"),
        ],
    )
    def test_a_bad_file_is_named_and_the_others_are_prepared(
        self, root, capsys, name, content, words
    ):
        path = root / "train" / name
        path.unlink()
        if content is not None:
            path.write_bytes(content)
        printed, made = self.prepare(root, capsys)
        assert words in printed and path.name in printed
        assert {int(sample["subject"]) for sample in made} >= {5}

    def test_too_little_disk_space_is_an_error_before_the_videos(self, root, monkeypatch):
        monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=0))
        with pytest.raises(UserError, match=r"0\.0 GB free"):
            prepare(root, root.parent / "data")

    def test_a_disk_that_fills_up_is_one_clear_line(self, root, monkeypatch):
        def full(path):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(atomic, "atomic_path", full)
        with pytest.raises(UserError, match=r"no space left for .*: free some"):
            prepare(root, root.parent / "data")


def test_another_folder_and_a_missing_data_set_are_one_clear_line(tmp_path):
    with pytest.raises(FileNotFoundError, match="is not an unpacked DecafDataset"):
        files.find_root(tmp_path)
    words = r"decaf is not in .*: prepare it with python -m dice_jax.tools\.prepare_decaf"
    with pytest.raises(UserError, match=words):
        dataset.load_split(tmp_path, "train")
