"""Photographs with dots at known places come out with the dots at their labels, whatever the
layout.
"""

from pathlib import Path

import cv2
import numpy as np
import pytest

import dice_jax
from dice_jax.datasets.in_the_wild import dataset, label_sources
from dice_jax.errors import UserError
from dice_jax.input_pipeline import loader, schema
from dice_jax.tools import prepare_in_the_wild

SAMPLES = Path(dice_jax.__file__).parent / "samples"


def place(rng, width, height):
    """Hand and face keypoints in a photograph, pixels."""
    return (
        rng.uniform([0.2 * width, 0.5 * height], [0.5 * width, 0.8 * height], (21, 2)),
        rng.uniform([0.4 * width, 0.3 * height], [0.7 * width, 0.6 * height], (68, 2)),
    )


def write_photo(root, name, rng, width=640, height=480, hand=True, face=True, depth=True):
    """A photograph with a white dot at the first keypoints of hand and face, and its label files."""
    points = place(rng, width, height)
    rows, columns = np.mgrid[:height, :width] + 0.5
    picture = np.zeros((height, width))
    for x, y in (points[0][0], points[1][0]):
        picture += 255 * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * 5**2))
    for kind, there in (
        ("images", True),
        ("hand_keypoints", hand),
        ("face_keypoints", face),
        ("depth_maps", depth),
    ):
        (root / kind / name).parent.mkdir(parents=True, exist_ok=True)
        if kind == "images":
            cv2.imwrite(
                str(root / kind / f"{name}.jpg"),
                np.repeat(np.clip(picture, 0, 255)[..., None], 3, -1),
            )
        elif kind == "depth_maps" and there:
            np.save(root / kind / f"{name}_pred.npy", 0.2 + 0.5 * (columns / width)[::2, ::2])
        elif there:
            np.save(root / kind / f"{name}.npy", points[kind == "face_keypoints"] / [width, height])
    return points


def samples(out):
    source = dataset.load_split(out, "train")
    return [schema.decode(source[i]) for i in range(len(source))]


def spots(image):
    """Centers of the two brightest spots."""
    image = image[..., 0].astype(float)
    _, _, _, centers = cv2.connectedComponentsWithStats((image > 120).astype(np.uint8))
    rows, columns = np.mgrid[: image.shape[0], : image.shape[1]] + 0.5
    found = []
    for x, y in centers[1:]:
        near = image * ((columns - x) ** 2 + (rows - y) ** 2 < 7**2)
        found.append([(columns * near).sum() / near.sum(), (rows * near).sum() / near.sum()])
    return np.array(found)


@pytest.fixture
def tree(tmp_path, rng):
    root = tmp_path / "photos"
    truth = {f"day/photo{i}": write_photo(root, f"day/photo{i}", rng) for i in range(3)}
    return root, truth


def flags(root, out):
    return [
        "--images",
        str(root / "images"),
        "--hand",
        f"files:{root / 'hand_keypoints'}",
        "--face",
        f"files:{root / 'face_keypoints'}",
        "--depth",
        f"files:{root / 'depth_maps'}",
        "--out",
        str(out),
    ]


@pytest.mark.parametrize("layout", ["photos", "authors"])
def test_labels_lie_on_what_they_mark(tree, tmp_path, layout):
    root, truth = tree
    out = tmp_path / "data"
    authors = ["--images", str(root), "--layout", "authors", "--out", str(out)]
    prepare_in_the_wild.main(authors if layout == "authors" else flags(root, out))
    made = samples(out)
    assert [sample["source"] for sample in made] == [f"photo{i}.jpg" for i in range(3)]
    for sample, (hand, face) in zip(made, truth.values()):
        marked = np.stack([sample["hand_keypoints_2d"][0, :2], sample["head_keypoints_2d"][0, :2]])
        distances = np.linalg.norm(spots(sample["image"])[:, None] - marked, axis=-1)
        assert len(distances) == 2 and distances.min(0).max() < 0.5
        for name, points in (("hand", hand), ("head", face)):
            np.testing.assert_allclose(
                sample[f"{name}_keypoints_depth"], 0.2 + 0.5 * points[:, 0] / 640, atol=2e-3
            )
            if layout == "authors":
                np.testing.assert_allclose(
                    sample[f"{name}_keypoints_2d"][:, :2],
                    points * [224 / 640, 224 / 480],
                    atol=1e-3,
                )
            else:  # all of hand and face are in the picture
                assert (sample[f"{name}_keypoints_2d"][:, :2] > 0).all() and (
                    sample[f"{name}_keypoints_2d"][:, :2] < 224
                ).all()
    batch = loader.Loader(dataset.load_split(out, "train"), 3, seed=0).batch(0)
    assert (
        batch.has_2d.all()
        and batch.has_depth.all()
        and not batch.has_3d.any()
        and not batch.has_contact.any()
    )


def test_what_cannot_be_used_is_listed_and_the_rest_is_there(tree, tmp_path, rng, capsys):
    root, _ = tree
    write_photo(root, "day/no_hand", rng, hand=False)
    write_photo(root, "day/no_face", rng, face=False)
    write_photo(root, "day/no_depth", rng, depth=False)
    write_photo(root, "day/nan", rng)
    np.save(root / "depth_maps/day/nan_pred.npy", np.full((4, 4), np.nan))
    write_photo(root, "day/pixels", rng)
    np.save(root / "hand_keypoints/day/pixels.npy", np.full((21, 2), 100.0))
    write_photo(root, "day/shape", rng)
    np.save(root / "face_keypoints/day/shape.npy", np.zeros((51, 2)))
    write_photo(root, "day/blind", rng)
    np.save(root / "hand_keypoints/day/blind.npy", np.full((21, 3), np.nan))
    (root / "images/day/damaged.jpg").write_bytes(b"no photo")
    prepare_in_the_wild.main(flags(root, tmp_path / "data"))
    report = (tmp_path / "data/in_the_wild_report.txt").read_text()
    for words in (
        "day/no_hand: no hand found",
        "day/no_face: no face found",
        "day/no_depth: no depth",
        "day/nan: files",
        "not finite and positive",
        "not pixels",
        "keypoints of shape (51, 2)",
        "day/blind: no hand found",
        "not a readable image",
        "left out: 8 of 11",
    ):
        assert words in report
    assert (
        len(samples(tmp_path / "data")) == 3
        and "8 of 11 photographs left out" in capsys.readouterr().out
    )
    sheet = cv2.imread(str(tmp_path / "data/in_the_wild_review/00000.jpg"))
    assert sheet.shape == (224, 8 * 224, 3)
    red = (sheet[:, : 3 * 224, 2].astype(int) - sheet[:, : 3 * 224, 0]) > 100
    assert red.sum() > 100


def test_a_broken_off_run_goes_on(tree, tmp_path, monkeypatch):
    root, _ = tree
    monkeypatch.setattr(prepare_in_the_wild, "_PER_PART", 1)
    make, asked = dataset.make_example, []

    def failing(photo, *others):
        if len(asked) == 2:
            raise KeyboardInterrupt
        asked.append(photo.name)
        return make(photo, *others)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(dataset, "make_example", failing)
        prepare_in_the_wild.main(flags(root, tmp_path / "data"))
    counted = lambda photo, *others: (asked.append(photo.name), make(photo, *others))[1]
    monkeypatch.setattr(dataset, "make_example", counted)
    with pytest.raises(UserError, match="depth was"):
        prepare_in_the_wild.main([*flags(root, tmp_path / "data"), "--depth", "none"])
    prepare_in_the_wild.main(flags(root, tmp_path / "data"))
    assert asked == [f"day/photo{i}" for i in range(3)] and len(samples(tmp_path / "data")) == 3


def test_without_depth_the_mask_says_so(tree, tmp_path):
    root, _ = tree
    prepare_in_the_wild.main([*flags(root, tmp_path), "--depth", "none"])
    batch = loader.Loader(dataset.load_split(tmp_path, "train"), 3, seed=0).batch(0)
    assert not batch.has_depth.any() and batch.has_2d.all()
    with pytest.raises(UserError, match="only train"):
        dataset.load_split(tmp_path, "test")


def plugged_depth(image):
    """Stands for a network: brightness."""
    return image[::4, ::4, 0] / 255.0 + 0.1


def plugged_hand(image):
    return None if image.mean() > 250 else np.full((21, 2), 50.0)


def test_functions_and_networks_plug_in(tmp_path, rng):
    image = rng.integers(0, 200, (40, 60, 3), dtype=np.uint8)
    depth = label_sources.depth(f"python:{__name__}:plugged_depth")
    np.testing.assert_allclose(depth(image, "x"), plugged_depth(image))
    near_is_large = label_sources.depth(f"python:{__name__}:plugged_depth", disparity=True)
    assert (
        np.corrcoef(np.ravel(near_is_large(image, "x")), np.ravel(plugged_depth(image)))[0, 1] < 0
    )
    hand = label_sources.keypoints(f"python:{__name__}:plugged_hand", 21)
    np.testing.assert_array_equal(
        hand(image, "x"), np.column_stack([np.full((21, 2), 50.0), np.ones(21)])
    )
    assert hand(np.full_like(image, 255), "x") is None


@pytest.mark.parametrize(
    "make, words",
    [
        (
            lambda folder: label_sources.keypoints("magic", 21),
            "no source of 21 keypoints: there is mediapipe",
        ),
        (lambda folder: label_sources.keypoints("face_alignment", 21), "no source of 21"),
        (lambda folder: label_sources.keypoints("python:nowhere:f", 21), "must be MODULE:NAME"),
        (
            lambda folder: label_sources.keypoints(f"mediapipe:{folder}/a.whl", 21),
            "pip download mediapipe",
        ),
        (lambda folder: label_sources.depth("midas"), "no source of depth"),
        (lambda folder: label_sources.depth(f"onnx:{folder}/a.onnx"), "no ONNX file"),
        (lambda folder: label_sources.depth(f"hf:{folder}/a"), "no network of transformers"),
        (lambda folder: prepare_in_the_wild.main(["--images", str(folder)]), "--hand is not given"),
        (lambda folder: dataset.find_photos(folder), "no photographs in"),
    ],
)
def test_mistakes_are_one_clear_line(tmp_path, monkeypatch, make, words):
    monkeypatch.setenv("DICE_DATA", str(tmp_path / "data"))
    with pytest.raises((UserError, FileNotFoundError), match=words) as caught:
        make(tmp_path)
    assert "\n" not in str(caught.value)


def test_photographs_of_left_hands_are_mirrored(tree, monkeypatch):
    root, _ = tree
    hand, face = (
        label_sources.keypoints(f"files:{root / kind}", count)
        for kind, count in (("hand_keypoints", 21), ("face_keypoints", 68))
    )
    photo = dataset.find_photos(root / "images")[0]
    make = lambda **fields: dataset.make_example(
        photo, 0, dataset.Sources(hand, face, None, "", **fields)
    )
    plain = make()
    monkeypatch.setattr(label_sources, "sees_right_hand", lambda spec: False)
    flipped = make()
    np.testing.assert_array_equal(flipped["image"], plain["image"][:, ::-1])
    np.testing.assert_allclose(
        flipped["hand_keypoints_2d"][:, 0], 224 - plain["hand_keypoints_2d"][:, 0], atol=1e-4
    )
    np.testing.assert_array_equal(make(mirror_left=False)["image"], plain["image"])
