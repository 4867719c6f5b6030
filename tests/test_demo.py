"""The demo from photos to files; each unusable input is reported in one line."""

import json

import cv2
import jax
import numpy as np
import pytest
import trimesh
from support.command_line import exit_code
from support.tiny_model import save_tiny_weights

import dice_jax
from dice_jax import demo
from dice_jax.geometry import crop
from dice_jax.io import images, params

SUFFIXES = ("_overlay.png", "_side.png", ".glb", "_params.npz")
CAMERA_TO_GLTF = [1, -1, -1]


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return save_tiny_weights(tmp_path_factory.mktemp("weights") / "tiny")


@pytest.fixture(scope="module")
def portrait():
    return images.read_image(demo.SAMPLES / "astronaut.jpg")


@pytest.fixture(scope="module")
def finished(tmp_path_factory, weights, portrait):
    """Exit code and results for a folder of three files and a missing file.

    The folder holds two good photos, one of them gray, and a text file called .png.
    """
    folder = tmp_path_factory.mktemp("photos")
    images.write_image(folder / "first.png", portrait)
    cv2.imwrite(str(folder / "second.jpg"), cv2.cvtColor(portrait[:360, 40:], cv2.COLOR_RGB2GRAY))
    (folder / "text.png").write_text("not an image")
    out = tmp_path_factory.mktemp("out") / "new"
    inputs = [str(folder), str(folder / "missing.jpg")]
    options = ["--batch_size", "2", "--full_frame", "--crop", "center"]
    code = demo.main(["--image", *inputs, "--out", str(out), "--weights", str(weights), *options])
    return code, out


def test_good_photos_are_done_and_bad_ones_counted(finished):
    code, out = finished
    assert code == 1
    suffixes = (*SUFFIXES, "_photo.png")
    expected = {name + suffix for name in ("first", "second") for suffix in suffixes}
    assert {p.name for p in out.iterdir()} == expected


def test_images_have_their_sizes(finished, portrait):
    _, out = finished
    assert images.read_image(out / "first_overlay.png").shape == (672, 1344, 3)
    assert images.read_image(out / "first_photo.png").shape == portrait.shape
    assert images.read_image(out / "first_side.png").shape[1] > 1000


def test_meshes_and_parameters_equal_those_of_infer(finished, weights, portrait):
    _, out = finished
    arrays = params.read_params(out / "first_params.npz")
    box = crop.center_box(*portrait.shape[:2])
    expected = jax.device_get(dice_jax.infer(dice_jax.load(weights), crop.cut(portrait, box)))
    np.testing.assert_allclose(arrays["hand_vertices"], expected.hand_vertices, atol=1e-4)
    np.testing.assert_allclose(arrays["hand_hand_pose"], expected.hand_params.hand_pose, atol=1e-4)
    np.testing.assert_array_equal(arrays["crop_box"], [box.left, box.top, box.size])
    np.testing.assert_array_equal(arrays["image_size"], portrait.shape[:2])
    written = trimesh.load(out / "first.glb").geometry
    for name, vertices in (
        ("hand", expected.hand_vertices),
        ("head", expected.deformed_head_vertices),
    ):
        np.testing.assert_allclose(written[name].vertices, vertices * CAMERA_TO_GLTF, atol=1e-4)


def test_a_left_hand_gives_the_mirror_image(finished, weights, portrait, tmp_path, capsys):
    """--hand left on the mirrored photo gives mirrored meshes that face outwards."""
    _, out = finished
    images.write_image(tmp_path / "first.png", portrait[:, ::-1])
    files = ["--image", str(tmp_path / "first.png"), "--out", str(tmp_path / "out")]
    options = ["--hand", "left", "--mesh", "ply", "--crop", "center"]
    assert demo.main([*files, "--weights", str(weights), *options]) == 0

    right = params.read_params(out / "first_params.npz")
    left = params.read_params(tmp_path / "out" / "first_params.npz")
    mirrored = right["hand_vertices"] * [-1, 1, 1]
    np.testing.assert_allclose(left["hand_vertices"], mirrored, atol=1e-4)
    x = portrait.shape[1] - right["hand_keypoints_2d"][:, 0]
    np.testing.assert_allclose(left["hand_keypoints_2d"][:, 0], x, atol=0.1)
    np.testing.assert_allclose(left["hand_betas"], right["hand_betas"], atol=1e-4)
    assert str(left["hand_side"]) == "left"

    head = trimesh.load(tmp_path / "out" / "first_head.ply")
    deformed = right["head_vertices"] - right["deformations"]
    np.testing.assert_allclose(head.vertices, deformed * [-1, -1, -1], atol=1e-4)
    reference = trimesh.load(out / "first.glb").geometry["head"]
    assert np.sign(head.volume) == np.sign(reference.volume)
    assert head.volume == pytest.approx(reference.volume, rel=1e-3)

    printed = capsys.readouterr().out
    for word in ("load", "compile", "infer", "draw", "write", "first_side.png", "left hand"):
        assert word in printed


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--weights", "defualt"), "no weights called 'defualt'"),
        (("--image", "{tmp}/empty"), "no images in the folder"),
        (("--out", "{tmp}/file.txt"), "cannot write to the folder"),
        (("--out", "{tmp}/file.txt/deeper"), "cannot write to the folder"),
        (("--weights", "{tmp}/empty"), "config.json is missing"),
        (("--weights", "{tmp}/truncated"), "weights.npz is damaged"),
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
        (("--hand", "both"), "invalid choice: 'both'"),
        (("--batch_size", "0"), "--batch_size must be at least 1"),
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


def test_notes_name_what_the_detectors_did_not_find(portrait):
    assert demo.choose_box(portrait, "auto")[1] == ("found no hand",)
    box, notes = demo.choose_box(np.full((100, 200, 3), 90, np.uint8), "auto")
    assert box == crop.center_box(100, 200)
    assert notes == ("found no face and no hand, cropped the center of the photo",)
    assert demo.choose_box(portrait, "full") == (crop.full_box(*portrait.shape[:2]), ())


def test_the_glb_stores_the_name_of_the_photo(finished):
    data = (finished[1] / "second.glb").read_bytes()
    length = int.from_bytes(data[12:16], "little")
    extras = json.loads(data[20 : 20 + length])["scenes"][0]["extras"]
    assert extras == {"source": "second.jpg", "hand": "right"}
