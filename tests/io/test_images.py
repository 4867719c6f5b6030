"""Reading photographs: every kind of file, and one clear line for each that cannot be used."""

import cv2
import numpy as np
import pytest

from dice_jax.io import images


@pytest.fixture
def picture(rng):
    """A smooth picture whose four corners differ, so that every orientation is distinct."""
    small = rng.integers(0, 255, (4, 6, 3), np.uint8)
    return cv2.resize(small, (90, 60), interpolation=cv2.INTER_CUBIC)


def save(path, rgb):
    """Writes with OpenCV itself, RGB or RGBA or gray in any depth."""
    code = {3: cv2.COLOR_RGB2BGR, 4: cv2.COLOR_RGBA2BGRA}.get(rgb.shape[-1] if rgb.ndim == 3 else 1)
    assert cv2.imwrite(str(path), rgb if code is None else cv2.cvtColor(rgb, code))
    return path


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tiff"])
def test_lossless_formats_come_back_bit_identical(tmp_path, picture, suffix):
    np.testing.assert_array_equal(
        images.read_image(save(tmp_path / f"a{suffix}", picture)), picture
    )


def test_written_pictures_read_back(tmp_path, picture):
    images.write_image(tmp_path / "a.png", picture)
    np.testing.assert_array_equal(images.read_image(tmp_path / "a.png"), picture)


def test_gray_becomes_equal_channels(tmp_path, picture):
    read = images.read_image(save(tmp_path / "a.png", picture[..., 0]))
    np.testing.assert_array_equal(read, np.repeat(picture[..., :1], 3, axis=-1))


def test_transparency_shows_white(tmp_path, picture, rng):
    alpha = rng.integers(0, 256, (*picture.shape[:2], 1), np.uint8)
    read = images.read_image(save(tmp_path / "a.png", np.concatenate([picture, alpha], axis=-1)))
    expected = picture * (alpha / 255.0) + 255.0 * (1.0 - alpha / 255.0)
    assert np.abs(read - expected).max() <= 0.51


def test_sixteen_bits_become_eight(tmp_path, picture):
    read = images.read_image(save(tmp_path / "a.png", picture.astype(np.uint16) * 257))
    np.testing.assert_array_equal(read, picture)


@pytest.mark.parametrize("top", [1.0, 255.0])
@pytest.mark.parametrize("gray", [False, True])
def test_float_images_in_either_range(tmp_path, picture, top, gray):
    picture = np.repeat(picture[..., :1], 3, axis=-1) if gray else picture
    picture[0, 0] = 255
    stored = (picture[..., 0] if gray else picture).astype(np.float32) * np.float32(top / 255.0)
    np.testing.assert_array_equal(images.read_image(save(tmp_path / "a.tiff", stored)), picture)


@pytest.mark.parametrize(
    ("orientation", "undo"),
    [
        (1, lambda x: x),
        (2, lambda x: x[:, ::-1]),
        (3, lambda x: x[::-1, ::-1]),
        (4, lambda x: x[::-1]),
        (5, lambda x: x.transpose(1, 0, 2)),
        (6, lambda x: np.rot90(x, -1)),
        (7, lambda x: x[::-1, ::-1].transpose(1, 0, 2)),
        (8, lambda x: np.rot90(x, 1)),
    ],
)
def test_exif_orientation_is_applied(tmp_path, picture, orientation, undo):
    ok, encoded = cv2.imencode(
        ".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 100]
    )
    assert ok
    # One EXIF segment with the single tag 0x0112, after the start-of-image marker.
    tiff = (
        b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0" + bytes([orientation]) + b"\0\0\0\0\0\0\0"
    )
    segment = b"Exif\0\0" + tiff
    segment = b"\xff\xe1" + (len(segment) + 2).to_bytes(2, "big") + segment
    (tmp_path / "a.jpg").write_bytes(encoded[:2].tobytes() + segment + encoded[2:].tobytes())
    read = images.read_image(tmp_path / "a.jpg")
    assert read.shape == undo(picture).shape
    assert np.abs(read.astype(int) - undo(picture)).mean() < 3.0


def test_a_huge_image_is_read(tmp_path):
    path = tmp_path / "huge.jpg"
    cv2.imwrite(str(path), np.full((10_000, 10_000, 3), 128, np.uint8))
    assert images.read_image(path).shape == (10_000, 10_000, 3)


def _nan(path, rgb):
    values = rgb.astype(np.float32) / 255.0
    values[3, 4, 1] = np.nan
    save(path, values)


@pytest.mark.parametrize(
    ("name", "make", "message"),
    [
        ("text.png", lambda path, _: path.write_text("I am not an image"), "not a readable image"),
        ("empty.jpg", lambda path, _: path.write_bytes(b""), "not a readable image"),
        (
            "tiny.png",
            lambda path, _: save(path, np.zeros((1, 1, 3), np.uint8)),
            "1 x 1 pixels is too small",
        ),
        ("nan.tiff", _nan, "1 pixel values are NaN"),
    ],
)
def test_unusable_files_cost_one_line_with_their_name(tmp_path, picture, name, make, message):
    make(tmp_path / name, picture)
    with pytest.raises(ValueError, match=message) as caught:
        images.read_image(tmp_path / name)
    assert name in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_a_truncated_file_is_refused(tmp_path, rng, suffix):
    path = save(tmp_path / f"whole{suffix}", rng.integers(0, 255, (200, 300, 3), np.uint8))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ValueError, match="not a readable image"):
        images.read_image(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.png: no such file"):
        images.read_image(tmp_path / "nowhere.png")


def test_folders_expand_in_order_and_without_repeats(tmp_path, picture):
    folder = tmp_path / "photos"
    (folder / "deeper").mkdir(parents=True)
    for name in ("b.PNG", "a.jpg", "deeper/c.png"):
        save(folder / name, picture)
    (folder / "notes.txt").write_text("no image")
    found = images.find_images([folder, folder / "a.jpg", tmp_path / "missing.jpg"])
    assert [p.name for p in found] == ["a.jpg", "b.PNG", "missing.jpg"]


def test_a_folder_without_images_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="no images in the folder"):
        images.find_images([tmp_path])
