"""Photos with dots at known places become samples whose labels are at the dots."""

import sys
import types
from pathlib import Path

import cv2
import numpy as np
import pytest

import dice_jax
from dice_jax.constants import CROP_SIZE
from dice_jax.datasets.in_the_wild import dataset, label_sources, prepare
from dice_jax.errors import UserError
from dice_jax.input_pipeline import loader, schema
from dice_jax.io import images
from dice_jax.tools import prepare_in_the_wild

WIDTH, HEIGHT = 640, 480


def depth_at(x):
    """The depth of the test photos, a function of x in pixels."""
    return 0.2 + 0.5 * x / WIDTH


def write_photo(root, name, rng, hand=True, face=True, depth=True):
    """Writes a photo with a white dot at the first keypoints of hand and face, and its label files.

    Returns:
        Keypoints of hand and face in pixels.
    """
    size = np.array([WIDTH, HEIGHT])
    hand_points = rng.uniform([0.2, 0.5], [0.5, 0.8], (21, 2)) * size
    face_points = rng.uniform([0.4, 0.3], [0.7, 0.6], (68, 2)) * size
    rows, columns = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    brightness = np.zeros((HEIGHT, WIDTH))
    for x, y in (hand_points[0], face_points[0]):
        brightness += 255 * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * 5**2))
    for kind in ("images", "hand_keypoints", "face_keypoints", "depth_maps"):
        (root / kind / name).parent.mkdir(parents=True, exist_ok=True)
    image = np.repeat(np.clip(brightness, 0, 255)[..., None], 3, -1)
    cv2.imwrite(str(root / "images" / f"{name}.jpg"), image)
    if hand:
        np.save(root / "hand_keypoints" / f"{name}.npy", hand_points / size)
    if face:
        np.save(root / "face_keypoints" / f"{name}.npy", face_points / size)
    if depth:
        np.save(root / "depth_maps" / f"{name}_pred.npy", depth_at(columns)[::2, ::2])
    return hand_points, face_points


def samples(out):
    source = dataset.load_split(out, "train")
    return [schema.decode(source[i]) for i in range(len(source))]


def dots(image):
    """Centers of the bright dots."""
    image = image[..., 0].astype(float)
    _, _, _, centers = cv2.connectedComponentsWithStats((image > 120).astype(np.uint8))
    rows, columns = np.mgrid[: image.shape[0], : image.shape[1]] + 0.5
    found = []
    for x, y in centers[1:]:
        near = image * ((columns - x) ** 2 + (rows - y) ** 2 < 7**2)
        found.append([(columns * near).sum() / near.sum(), (rows * near).sum() / near.sum()])
    return np.array(found)


@pytest.fixture
def photos(tmp_path, rng):
    """The folder of three photos in the authors' layout, and the keypoints of each."""
    root = tmp_path / "photos"
    targets = {f"day/photo{i}": write_photo(root, f"day/photo{i}", rng) for i in range(3)}
    return root, targets


def flags(root, out):
    return [
        f"--images={root / 'images'}",
        f"--hand=files:{root / 'hand_keypoints'}",
        f"--face=files:{root / 'face_keypoints'}",
        f"--depth=files:{root / 'depth_maps'}",
        f"--out={out}",
    ]


@pytest.mark.parametrize("layout", ["photos", "authors"])
def test_keypoints_and_depth_belong_to_their_dots(photos, tmp_path, layout):
    root, targets = photos
    out = tmp_path / "data"
    authors = [f"--images={root}", "--layout=authors", f"--out={out}"]
    prepare_in_the_wild.main(authors if layout == "authors" else flags(root, out))
    made = samples(out)
    assert [sample["source"] for sample in made] == [f"photo{i}.jpg" for i in range(3)]
    for sample, (hand, face) in zip(made, targets.values()):
        marked = np.stack([sample["hand_keypoints_2d"][0, :2], sample["head_keypoints_2d"][0, :2]])
        distances = np.linalg.norm(dots(sample["image"])[:, None] - marked, axis=-1)
        assert len(distances) == 2 and distances.min(0).max() < 0.5
        for name, points in (("hand", hand), ("head", face)):
            depth = sample[f"{name}_keypoints_depth"]
            np.testing.assert_allclose(depth, depth_at(points[:, 0]), atol=2e-3)
            keypoints = sample[f"{name}_keypoints_2d"][:, :2]
            if layout == "authors":
                squashed = points * [CROP_SIZE / WIDTH, CROP_SIZE / HEIGHT]
                np.testing.assert_allclose(keypoints, squashed, atol=1e-3)
            else:  # the crop contains all of hand and face
                assert (keypoints > 0).all() and (keypoints < CROP_SIZE).all()
    batch = loader.Loader(dataset.load_split(out, "train"), 3, seed=0).batch(0)
    assert batch.has_2d.all() and batch.has_depth.all()
    assert not batch.has_3d.any() and not batch.has_contact.any()


def test_unusable_photos_are_listed_and_the_others_are_prepared(photos, tmp_path, rng, capsys):
    root, _ = photos
    write_photo(root, "day/no_hand", rng, hand=False)
    write_photo(root, "day/no_face", rng, face=False)
    write_photo(root, "day/no_depth", rng, depth=False)
    write_photo(root, "day/nan", rng)
    np.save(root / "depth_maps/day/nan_pred.npy", np.full((4, 4), np.nan))
    write_photo(root, "day/pixels", rng)
    np.save(root / "hand_keypoints/day/pixels.npy", np.full((21, 2), 100.0))
    write_photo(root, "day/shape", rng)
    np.save(root / "face_keypoints/day/shape.npy", np.zeros((51, 2)))
    write_photo(root, "day/undetected", rng)
    np.save(root / "hand_keypoints/day/undetected.npy", np.full((21, 3), np.nan))
    (root / "images/day/damaged.jpg").write_bytes(b"no photo")
    out = tmp_path / "data"
    prepare_in_the_wild.main(flags(root, out))
    report = (out / "in_the_wild_report.txt").read_text()
    for words in (
        "day/no_hand: no hand found",
        "day/no_face: no face found",
        "day/no_depth: no depth",
        "day/nan: files",
        "not finite and positive",
        "not pixels",
        "keypoints of shape (51, 2)",
        "day/undetected: no hand found",
        "not a readable image",
        "left out: 8 of 11",
    ):
        assert words in report
    assert len(samples(out)) == 3
    assert "8 of 11 photos left out" in capsys.readouterr().out
    sheet = cv2.imread(str(out / "in_the_wild_review/00000.jpg"))
    assert sheet.shape == (CROP_SIZE, 8 * CROP_SIZE, 3)
    used = sheet[:, : 3 * CROP_SIZE].astype(int)
    assert (used[..., 2] - used[..., 0] > 100).sum() > 100  # red face keypoints


def test_an_interrupted_run_continues_with_the_same_settings_only(photos, tmp_path, monkeypatch):
    root, _ = photos
    make_example, made = prepare.make_example, []
    run = lambda *more: prepare_in_the_wild.main(
        [*flags(root, tmp_path / "data"), *more], photos_per_part=1
    )

    def interrupted(photo, *others):
        if len(made) == 2:
            raise KeyboardInterrupt
        made.append(photo.name)
        return make_example(photo, *others)

    def recorded(photo, *others):
        made.append(photo.name)
        return make_example(photo, *others)

    monkeypatch.setattr(prepare, "make_example", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run()
    monkeypatch.setattr(prepare, "make_example", recorded)
    with pytest.raises(UserError, match="depth was"):
        run("--depth=none")
    run()
    assert made == [f"day/photo{i}" for i in range(3)] and len(samples(tmp_path / "data")) == 3


def test_data_prepared_without_depth_has_no_depth_label(photos, tmp_path):
    root, _ = photos
    prepare_in_the_wild.main([*flags(root, tmp_path), "--depth=none"])
    batch = loader.Loader(dataset.load_split(tmp_path, "train"), 3, seed=0).batch(0)
    assert not batch.has_depth.any() and batch.has_2d.all()
    with pytest.raises(UserError, match="only train"):
        dataset.load_split(tmp_path, "test")


def depth_plugin(image):
    """In place of a network: brightness."""
    return image[::4, ::4, 0] / 255.0 + 0.1


def hand_plugin(image):
    return None if image.mean() > 250 else np.full((21, 2), 50.0)


def test_python_functions_are_sources(rng):
    image = rng.integers(0, 200, (40, 60, 3), dtype=np.uint8)
    depth = label_sources.depth(f"python:{__name__}:depth_plugin")
    np.testing.assert_allclose(depth(image, "x"), depth_plugin(image))
    inverted = label_sources.depth(f"python:{__name__}:depth_plugin", disparity=True)
    values = np.ravel(inverted(image, "x")), np.ravel(depth_plugin(image))
    assert np.corrcoef(*values)[0, 1] < 0
    hand = label_sources.keypoints(f"python:{__name__}:hand_plugin", 21)
    expected = np.column_stack([np.full((21, 2), 50.0), np.ones(21)])
    np.testing.assert_array_equal(hand(image, "x"), expected)
    assert hand(np.full_like(image, 255), "x") is None


@pytest.mark.parametrize(
    "spec, words",
    [
        ("magic", "no source of 21 keypoints: choose from mediapipe"),
        ("face_alignment", "no source of 21"),
        ("python:nowhere:f", "must be MODULE:NAME"),
        ("mediapipe:{folder}/a.whl", "no source of 21"),
    ],
)
def test_a_wrong_source_of_hand_keypoints_is_one_clear_line(tmp_path, spec, words):
    with pytest.raises((UserError, FileNotFoundError), match=words) as caught:
        label_sources.keypoints(spec.format(folder=tmp_path), 21)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "spec, words",
    [
        ("midas", "no source of depth"),
        ("onnx:{folder}/a.onnx", "no ONNX file"),
        ("hf:{folder}/a", "no network of transformers"),
        ("marigold:{folder}/a", "no Marigold pipeline"),
    ],
)
def test_a_wrong_source_of_depth_is_one_clear_line(tmp_path, spec, words):
    with pytest.raises((UserError, FileNotFoundError), match=words) as caught:
        label_sources.depth(spec.format(folder=tmp_path))
    assert "\n" not in str(caught.value)


def test_a_missing_source_and_an_empty_folder_are_one_clear_line(tmp_path):
    with pytest.raises(UserError, match="--hand is not given") as caught:
        prepare_in_the_wild.main([f"--images={tmp_path}", f"--out={tmp_path / 'data'}"])
    assert "\n" not in str(caught.value)
    with pytest.raises(FileNotFoundError, match="no photos in"):
        prepare.find_photos(tmp_path)


def test_photos_of_left_hands_are_mirrored_unless_turned_off(photos):
    root, _ = photos
    hand = label_sources.keypoints(f"files:{root / 'hand_keypoints'}", 21)
    face = label_sources.keypoints(f"files:{root / 'face_keypoints'}", 68)
    photo = prepare.find_photos(root / "images")[0]
    make = lambda **fields: prepare.make_example(
        photo, 0, prepare.Sources(hand, face, None, **fields)
    )
    plain, flipped = make(), make(sees_right_hand=lambda image: False)
    np.testing.assert_array_equal(flipped["image"], plain["image"][:, ::-1])
    mirrored_x = CROP_SIZE - plain["hand_keypoints_2d"][:, 0]
    np.testing.assert_allclose(flipped["hand_keypoints_2d"][:, 0], mirrored_x, atol=1e-4)
    kept = make(sees_right_hand=lambda image: False, mirror_left=False)
    np.testing.assert_array_equal(kept["image"], plain["image"])


def test_the_shipped_networks_are_a_source(tmp_path):
    folder = Path(dice_jax.__file__).parent / "samples"
    scene = images.read_image(folder / "scene_palm_cheek.jpg")
    hand, face = (label_sources.keypoints("mediapipe", count)(scene, "x") for count in (21, 68))
    assert hand.shape == (21, 3) and face.shape == (68, 3)
    assert label_sources.sees_right_hand("mediapipe", scene) is True
    assert label_sources.sees_right_hand("mediapipe", scene[:, ::-1]) is False
    portrait = images.read_image(folder / "astronaut.jpg")
    assert label_sources.keypoints("mediapipe", 21)(portrait, "x") is None
    assert label_sources.sees_right_hand("mediapipe", portrait) is None
    assert label_sources.sees_right_hand("files:anywhere", scene) is None


class FakePipeline:
    """The calls of diffusers that are used, with a depth that grows to the right."""

    device = "cpu"

    def __init__(self, folder, local_files_only):
        assert Path(folder).is_dir() and local_files_only

    def set_progress_bar_config(self, disable):
        assert disable

    def __call__(self, image, *, ensemble_size, output_type, generator):
        assert (ensemble_size, output_type) == (1, "np") and generator is not None
        depth = np.tile(np.linspace(0, 1, image.width), (image.height, 1))
        return types.SimpleNamespace(prediction=depth[None, :, :, None].astype(np.float32))


def test_marigold_is_a_source_where_diffusers_is_installed(tmp_path, monkeypatch):
    """Its network is imported only when it is asked for, and runs without a network connection."""
    image = np.zeros((6, 9, 3), np.uint8)
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(UserError, match=r"dice-jax\[marigold\]") as error:
        label_sources.depth(f"marigold:{tmp_path}")
    assert "\n" not in str(error.value)
    fake = types.ModuleType("diffusers")
    fake.MarigoldDepthPipeline = types.SimpleNamespace(from_pretrained=FakePipeline)
    monkeypatch.setitem(sys.modules, "diffusers", fake)
    monkeypatch.setattr(label_sources, "_noise", lambda pipeline, name: name)
    values = label_sources.depth(f"marigold:{tmp_path}")(image, "a")
    assert values.shape == (6, 9) and (np.diff(values, axis=1) > 0).all()
    assert values.min() > 0  # 0 would be a missing depth


def test_a_tiny_marigold_runs(tmp_path):
    """A pipeline of random weights, made on the spot."""
    torch = pytest.importorskip("torch")
    diffusers = pytest.importorskip("diffusers")
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    small = dict(block_out_channels=(32, 64), norm_num_groups=32)
    unet = diffusers.UNet2DConditionModel(
        layers_per_block=1,
        sample_size=32,
        in_channels=8,
        out_channels=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=32,
        **small,
    )
    vae = diffusers.AutoencoderKL(
        down_block_types=["DownEncoderBlock2D"] * 2,
        up_block_types=["UpDecoderBlock2D"] * 2,
        latent_channels=4,
        **small,
    )
    text = transformers.CLIPTextModel(
        transformers.CLIPTextConfig(
            hidden_size=32,
            intermediate_size=37,
            num_attention_heads=4,
            num_hidden_layers=1,
            vocab_size=1000,
        )
    )
    vocabulary = tmp_path / "vocab.json"
    vocabulary.write_text('{"<|startoftext|>": 0, "<|endoftext|>": 1}')
    (tmp_path / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = transformers.CLIPTokenizer(
        str(vocabulary), str(tmp_path / "merges.txt"), model_max_length=77
    )
    pipeline = diffusers.MarigoldDepthPipeline(
        unet=unet,
        vae=vae,
        scheduler=diffusers.LCMScheduler(prediction_type="v_prediction", clip_sample=False),
        text_encoder=text,
        tokenizer=tokenizer,
        prediction_type="depth",
        scale_invariant=True,
        shift_invariant=True,
        default_denoising_steps=1,
        default_processing_resolution=32,
    )
    pipeline.save_pretrained(tmp_path / "pipeline")
    run = label_sources.depth(f"marigold:{tmp_path / 'pipeline'}")
    image = np.random.default_rng(0).integers(0, 255, (40, 48, 3), dtype=np.uint8)
    values = run(image, "a")
    assert values.shape == (40, 48) and values.min() > 0
    np.testing.assert_array_equal(run(image, "a"), values)
