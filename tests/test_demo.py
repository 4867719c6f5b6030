"""The demo from photos to files; each unusable input is reported in one line."""

import contextlib
import io
import json
import shutil
from pathlib import Path
from typing import NamedTuple

import cv2
import jax
import numpy as np
import pytest
import trimesh
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from support.command_line import exit_code
from support.tiny_model import save_tiny_weights

import dice_jax
from dice_jax import demo
from dice_jax.errors import UserError
from dice_jax.geometry import crop
from dice_jax.io import images, params, video_writer
from dice_jax.io import videos as video_reader

SUFFIXES = (
    "_overlay.png",
    "_side.png",
    ".glb",
    "_params.npz",
    "_params.json",
    "_contact.csv",
)
CAMERA_TO_GLTF = [1, -1, -1]


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return save_tiny_weights(tmp_path_factory.mktemp("weights") / "tiny")


@pytest.fixture(scope="module")
def portrait():
    return images.read_image(demo.SAMPLES / "astronaut.jpg")


class Finished(NamedTuple):
    """A run of the demo: its exit code, the folder of the results, and what it printed."""

    code: int
    out: Path
    lines: list[str]
    errors: list[str]


@pytest.fixture(scope="module")
def run(tmp_path_factory, weights):
    """Runs the demo with the tiny weights in a new folder."""

    def run(*flags):
        out = tmp_path_factory.mktemp("out") / "new"
        printed, errors = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(errors):
            code = demo.main([*flags, "--out", str(out), "--weights", str(weights)])
        return Finished(code, out, *(x.getvalue().splitlines() for x in (printed, errors)))

    return run


@pytest.fixture(scope="module")
def finished(tmp_path_factory, run, portrait):
    """A folder with a hand at a face, a gray face alone, two faces, nobody, a text, a huge photo.

    The text file is called .png. A missing file is given as well.
    """
    folder = tmp_path_factory.mktemp("photos")
    shutil.copy(demo.SAMPLES / "scene_palm_cheek.jpg", folder / "touch.jpg")
    cv2.imwrite(str(folder / "alone.jpg"), cv2.cvtColor(portrait, cv2.COLOR_RGB2GRAY))
    images.write_image(folder / "pair.png", np.concatenate([portrait, portrait], axis=1))
    images.write_image(folder / "nobody.png", np.full((90, 120, 3), 200, np.uint8))
    (folder / "text.png").write_text("not an image")
    Image.new("1", (30_000, 30_000)).save(folder / "huge.png")
    return run("--image", str(folder), str(folder / "missing.jpg"), "--full_frame")


def test_good_photos_are_done_and_bad_ones_counted(finished):
    assert finished.code == 1
    suffixes = (*SUFFIXES, "_photo.png")
    names = ("touch", "alone", "pair", "pair_2")
    expected = {name + suffix for name in names for suffix in suffixes}
    assert {path.name for path in finished.out.iterdir()} == expected
    assert finished.errors[-1] == "3 of 7 failed, see the errors above"
    for name in ("text.png", "missing.jpg", "huge.png"):
        (line,) = (line for line in finished.errors if name in line)
        assert line.startswith("error: ")
    assert len(finished.errors) == 4
    for word in ("read", "reconstruct", "draw", "write"):
        assert word in finished.lines[-1]
    assert finished.lines[-1].startswith("4 of 7 done")


def test_the_printed_lines_say_who_was_found(finished):
    said = lambda name: [line for line in finished.lines if f"{name}: " in line]
    assert "nobody found" in said("nobody.png")[0]
    assert "right hand" in said("touch.jpg")[0] and "mm" in said("touch.jpg")[0]
    assert said("alone.jpg")[0].endswith("no hand found")
    assert len(said("pair.png")) == 2
    for name in ("touch_side.png", "pair_2.glb", "alone_photo.png"):
        assert any(name in line for line in finished.lines)


def test_images_have_their_sizes(finished, portrait):
    size = lambda name: images.read_image(finished.out / name).shape
    assert size("touch_overlay.png") == (672, 1344, 3)
    assert size("alone_photo.png") == portrait.shape
    assert size("touch_side.png")[0] > size("alone_side.png")[0]  # no contact views


def test_a_face_without_a_hand_has_neither_mesh_nor_arrays_of_one(finished):
    arrays = params.read_params(finished.out / "alone_params.npz")
    assert "head_vertices" in arrays and not [name for name in arrays if "hand" in name]
    assert not arrays["deformations"].any() and not arrays["head_contact_probs"].any()
    assert set(trimesh.load(finished.out / "alone.glb").geometry) == {"head"}


def test_files_hold_what_reconstruct_gives(finished, weights):
    photo = images.read_image(demo.SAMPLES / "scene_palm_cheek.jpg")
    (person,) = dice_jax.reconstruct(dice_jax.load(weights), photo)
    (hand,) = person.hands
    arrays = params.read_params(finished.out / "touch_params.npz")
    np.testing.assert_allclose(arrays["right_hand_vertices"], hand.vertices, atol=1e-5)
    np.testing.assert_allclose(arrays["right_hand_hand_pose"], hand.params.hand_pose, atol=1e-4)
    np.testing.assert_allclose(arrays["crop_box"], person.crop_box, rtol=1e-6)
    np.testing.assert_array_equal(arrays["image_size"], photo.shape[:2])
    written = trimesh.load(finished.out / "touch.glb").geometry
    for name, vertices in (
        ("right_hand", hand.vertices),
        ("head", person.head.deformed_vertices),
    ):
        np.testing.assert_allclose(written[name].vertices, vertices * CAMERA_TO_GLTF, atol=1e-5)


def test_two_people_have_results_of_their_own(finished, portrait):
    boxes = [
        params.read_params(finished.out / f"{name}_params.npz")["crop_box"]
        for name in ("pair", "pair_2")
    ]
    left, right = sorted(boxes, key=lambda box: box[0])
    assert right[0] - left[0] == pytest.approx(portrait.shape[1], abs=20)


def test_videos_that_cannot_be_read_are_one_line_each(run, tmp_path):
    (tmp_path / "empty.mp4").write_bytes(b"")
    (tmp_path / "text.mov").write_text("no video")
    videos = run("--video", str(tmp_path), str(tmp_path / "absent.mp4"))
    assert videos.code == 1 and not list(videos.out.iterdir())
    for name in ("empty.mp4", "text.mov", "absent.mp4"):
        (line,) = (line for line in videos.errors if name in line)
        assert line.startswith("error: ")
    assert videos.errors[-1] == "3 of 3 failed, see the errors above"


def test_a_video_gives_a_film_of_the_same_length(run, tmp_path, portrait):
    try:
        size = portrait.shape[1] // 2, portrait.shape[0] // 2
        writer = video_writer.VideoWriter(tmp_path / "me.mp4", size, 10.0)
    except UserError as error:
        pytest.skip(str(error))
    for k in range(3):
        writer.write(np.ascontiguousarray(portrait[::2, ::2]), k / 10)
    writer.close()
    finished = run("--video", str(tmp_path / "me.mp4"), "--smooth", "strong")
    assert finished.code == 0
    assert {path.name for path in finished.out.iterdir()} == {
        "me_overlay.mp4",
        "me_params.npz",
        "me_contact.csv",
    }
    assert any("3 frames, 1 followed" in line for line in finished.lines)
    arrays = params.read_params(finished.out / "me_params.npz")
    assert arrays["person_1_head_jaw_pose"].shape == (3, 3)
    frames = list(video_reader.read_frames(finished.out / "me_overlay.mp4"))
    assert len(frames) == 3 and frames[0].pixels.shape == (size[1], size[0], 3)


def test_nobody_is_no_error(run, tmp_path):
    images.write_image(tmp_path / "gray.png", np.full((50, 80, 3), 128, np.uint8))
    finished = run("--image", str(tmp_path / "gray.png"))
    assert finished.code == 0 and not finished.errors
    assert [line for line in finished.lines if "nobody found" in line]
    assert list(finished.out.iterdir()) == []


def test_without_a_fit_the_network_answers_for_the_side_that_is_asked_for(
    run, weights, portrait, tmp_path
):
    """The portrait has no hand: the network believes in one. Mirrored, it is a left one."""
    right = run("--image", str(demo.SAMPLES / "astronaut.jpg"), "--fit", "off", "--crop", "center")
    images.write_image(tmp_path / "astronaut.png", np.ascontiguousarray(portrait[:, ::-1]))
    options = ["--fit", "off", "--crop", "center", "--hand", "left", "--mesh", "ply"]
    left = run("--image", str(tmp_path / "astronaut.png"), *options)
    assert right.code == left.code == 0

    box = crop.center_box(*portrait.shape[:2])
    expected = jax.device_get(dice_jax.infer(dice_jax.load(weights), crop.cut(portrait, box)))
    a, b = (params.read_params(x.out / "astronaut_params.npz") for x in (right, left))
    np.testing.assert_allclose(a["right_hand_vertices"], expected.hand_vertices, atol=1e-4)
    np.testing.assert_allclose(a["head_vertices"], expected.head_vertices, atol=1e-4)
    mirrored = expected.hand_vertices * [-1, 1, 1]
    np.testing.assert_allclose(b["left_hand_vertices"], mirrored, atol=1e-4)
    x = portrait.shape[1] - a["right_hand_keypoints_2d"][:, 0]
    np.testing.assert_allclose(b["left_hand_keypoints_2d"][:, 0], x, atol=0.1)
    np.testing.assert_allclose(b["left_hand_betas"], a["right_hand_betas"], atol=1e-4)

    reference = trimesh.load(right.out / "astronaut.glb").geometry
    for name, original in (("head", "head"), ("left_hand", "right_hand")):
        mesh = trimesh.load(left.out / f"astronaut_{name}.ply")
        volume = reference[original].volume
        assert np.sign(mesh.volume) == np.sign(volume)
        assert mesh.volume == pytest.approx(volume, rel=1e-3)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--weights", "defualt"), "no weights called 'defualt'"),
        (("--image", "{tmp}/empty"), "no images in the folder"),
        (("--image", str(demo.SAMPLES), "--video", "{tmp}/*.mp4"), "no file matches the pattern"),
        (("--shard", "9/8"), "--shard is I/N with I from 1 to N"),
        (("--shard", "auto"), "--shard auto needs SLURM_ARRAY_TASK_ID"),
        (("--out", "{tmp}/file.txt"), "cannot write to the folder"),
        (("--out", "{tmp}/file.txt/deeper"), "cannot write to the folder"),
        (("--weights", "{tmp}/empty"), "config.json is missing"),
        (("--weights", "{tmp}/truncated"), "weights.npz is not exported weights"),
    ],
)
def test_a_wrong_setup_ends_in_one_line_before_any_work(tmp_path, weights, capsys, flags, message):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file.txt").write_text("")
    truncated = tmp_path / "truncated"
    truncated.mkdir()
    (truncated / "config.json").write_bytes((weights / "config.json").read_bytes())
    (truncated / "weights.npz").write_bytes((weights / "weights.npz").read_bytes()[:5000])
    defaults = ["--out", str(tmp_path / "out"), "--weights", str(weights)]
    given = [flag.format(tmp=tmp_path) for flag in flags]
    assert exit_code(demo.main, [*defaults, *given]) == 2
    printed = capsys.readouterr().err
    assert printed.startswith("error: ") and message in printed and printed.count("\n") == 1
    assert not list(tmp_path.glob("out/*"))


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--hand", "three"), "invalid choice: 'three'"),
        (("--hand", "both", "--fit", "off"), "--hand both needs --fit on"),
        (("--presence_gate", "off"), "--presence_gate off needs --fit off"),
        (("--fit", "maybe"), "invalid choice: 'maybe'"),
        (("--box", "1", "2", "0", "9"), "--box needs a width and a height"),
        (("--box", "1", "2", "nan", "9"), "--box needs a width and a height"),
        (("--box", "1", "2", "8", "9", "--crop", "full"), "does not go with --crop"),
        (("--crop", "face"), "invalid choice: 'face'"),
        (("--pictures", "some"), "invalid choice: 'some'"),
        (("--focal_length", "-3"), "--focal_length must be positive"),
        (("--imgae", "x"), "unrecognized arguments"),
    ],
)
def test_wrong_flags_are_named(capsys, flags, message):
    assert exit_code(demo.main, flags) == 2
    assert message in capsys.readouterr().err


def test_help_has_examples(capsys):
    assert exit_code(demo.main, ["--help"]) == 0
    printed = capsys.readouterr().out
    assert "python -m dice_jax.demo --image" in printed and "NAME_params.npz" in printed
    assert max(map(len, printed.splitlines())) <= 100


def test_photos_with_equal_names_get_different_result_names(tmp_path):
    paths = [tmp_path / name for name in ("a/x.jpg", "b/x.jpg", "x_2.jpg", "b/x.png")]
    names = demo.unique_names(paths)
    assert names[0] == "x" and len(set(names)) == 4


def test_no_result_takes_the_place_of_another(tmp_path, run, portrait):
    """Of a second person, of a photo that is called so, and of a video beside its photo."""
    images.write_image(tmp_path / "me.png", np.concatenate([portrait, portrait], axis=1))
    images.write_image(tmp_path / "me_2.png", portrait)
    (tmp_path / "me.mp4").write_bytes(b"")
    options = ["--image", str(tmp_path), "--video", str(tmp_path), "--pictures", "none"]
    finished = run(*options, "--mesh", "none")
    stems = {path.name.removesuffix("_params.npz") for path in finished.out.glob("*_params.npz")}
    assert stems == {"me", "me_2", "me__2"}
    assert demo.unique_names([tmp_path / "me.png", tmp_path / "me.mp4"]) == ["me", "me_2"]


def test_both_hands_name_the_one_that_is_not_there(run):
    finished = run("--image", str(demo.SAMPLES / "scene_palm_cheek.jpg"), "--hand", "both")
    (line,) = (line for line in finished.lines if "scene_palm_cheek.jpg: " in line)
    assert "right hand" in line and "; no left hand found" in line
    arrays = params.read_params(finished.out / "scene_palm_cheek_params.npz")
    assert "right_hand_vertices" in arrays and "left_hand_vertices" not in arrays


def test_a_box_chooses_the_person_and_nobody_is_made_up_in_it(run, tmp_path, portrait):
    pair = np.concatenate([portrait, portrait], axis=1)
    images.write_image(tmp_path / "pair.png", pair)
    images.write_image(tmp_path / "gray.png", np.full_like(pair, 128))
    side = portrait.shape[1]
    box = [str(x) for x in (side + 10, 5, side - 30, side - 20)]
    options = ("--pictures", "none", "--mesh", "none", "--box", *box)
    finished = run("--image", str(tmp_path), *options)
    assert finished.code == 0 and not finished.errors
    assert len(list(finished.out.glob("pair*_params.npz"))) == 1
    arrays = params.read_params(finished.out / "pair_params.npz")
    assert arrays["head_keypoints_2d"][:, 0].min() > side
    assert arrays["crop_box"][2] == side - 20  # the square around it
    (line,) = (line for line in finished.lines if "gray.png: " in line)
    assert "nobody found" in line and "in the box; --fit off" in line
    assert not list(finished.out.glob("gray*"))
    alone = run("--image", str(tmp_path / "gray.png"), *options, "--fit", "off")
    arrays = params.read_params(alone.out / "gray_params.npz")
    assert arrays["crop_box"][2] == side - 20 and "head_vertices" in arrays
    outside = run("--image", str(tmp_path / "pair.png"), "--box", "5000", "0", "10", "10")
    assert outside.code == 1 and "is not in the photo" in outside.errors[0]


@given(st.lists(st.text("a_23", min_size=1, max_size=4), max_size=8))
def test_no_name_of_a_person_is_used_twice(stems):
    names = demo.unique_names([Path(f"folder/{stem}.jpg") for stem in stems])
    prefixes = demo.person_prefixes(names)
    results = [f"{prefix}{number}" for prefix in prefixes.values() for number in (2, 3, 22, 23)]
    assert len({*names, *results}) == len(names) + len(results)


def test_shards_do_every_file_once_and_finished_ones_are_skipped(
    tmp_path, weights, portrait, capsys
):
    (tmp_path / "in").mkdir()
    for name in ("a", "b", "c"):
        images.write_image(tmp_path / "in" / f"{name}.png", np.full((60, 80, 3), 128, np.uint8))
    images.write_image(tmp_path / "in" / "b.png", np.concatenate([portrait, portrait], axis=1))

    def run(*flags):
        options = ["--image", str(tmp_path / "in"), "--out", str(tmp_path / "out")]
        options += ["--weights", str(weights), "--pictures", "none", "--mesh", "none"]
        code = demo.main([*options, *flags])
        return code, capsys.readouterr().out

    code, printed = run("--shard", "1/2")
    assert code == 0 and "shard 1 of 2: 2 of 3 files" in printed
    assert "a.png: nobody" in printed and "c.png: nobody" in printed and "b.png" not in printed
    code, printed = run("--shard", "2/2")
    assert code == 0 and "b.png: " in printed
    results = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}
    assert {"b_params.npz", "b_2_params.npz"} <= set(results)
    written = sorted((time, name) for name, time in results.items())
    assert written[-1][1] == "b_contact.csv"  # which says that both people are there
    code, printed = run("--shard", "2/2", "--skip_done", "--weights", "not even loaded")
    assert code == 0 and "1 of 1 are done already" in printed and "b.png" not in printed
    (tmp_path / "out" / "b_contact.csv").unlink()  # killed before the first person
    code, printed = run("--shard", "2/2", "--skip_done")
    assert code == 0 and "b.png: " in printed
    code, printed = run("--shard", "4/4")
    assert code == 0 and "shard 4 of 4: 0 of 3 files" in printed


def test_what_is_done_depends_on_the_files_that_are_asked_for(tmp_path):
    job = demo.Job(tmp_path / "x.jpg", "x", False)
    for ending in ("_params.npz", "_params.json", "_contact.csv"):
        (tmp_path / f"x{ending}").write_bytes(b"x")
    parse = demo.demo_options.parse_args
    (tmp_path / "x_overlay.mp4").write_bytes(b"x")
    video = demo.Job(tmp_path / "x.mp4", "x", True)
    assert demo.is_done(video, tmp_path, parse([]))
    assert not demo.is_done(video, tmp_path, parse(["--mesh", "rig"]))
    assert demo.is_done(job, tmp_path, parse(["--pictures", "none", "--mesh", "none"]))
    assert not demo.is_done(job, tmp_path, parse(["--pictures", "none"]))
    assert not demo.is_done(job, tmp_path, parse(["--pictures", "overlay", "--mesh", "none"]))
    assert not demo.is_done(
        job, tmp_path, parse(["--pictures", "none", "--mesh", "none", "--report"])
    )


def test_the_glb_stores_the_name_of_the_photo(finished):
    data = (finished.out / "touch.glb").read_bytes()
    length = int.from_bytes(data[12:16], "little")
    extras = json.loads(data[20 : 20 + length])["scenes"][0]["extras"]
    assert extras["source"] == "touch.jpg" and "right hand" in extras["summary"]
