"""Images of every format are read, and each unusable file is a clear error."""

import cv2
import numpy as np
import pytest

from dice_jax.io import images


@pytest.fixture
def image(rng):
    """A smooth image whose four corners differ, so that every orientation is distinct."""
    small = rng.integers(0, 255, (4, 6, 3), np.uint8)
    return cv2.resize(small, (90, 60), interpolation=cv2.INTER_CUBIC)


def save(path, rgb):
    """Writes RGB, RGBA or gray of any bit depth with OpenCV alone."""
    code = {3: cv2.COLOR_RGB2BGR, 4: cv2.COLOR_RGBA2BGRA}.get(rgb.shape[-1] if rgb.ndim == 3 else 1)
    assert cv2.imwrite(str(path), rgb if code is None else cv2.cvtColor(rgb, code))
    return path


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tiff"])
def test_lossless_formats_are_read_bit_exactly(tmp_path, image, suffix):
    path = save(tmp_path / f"a{suffix}", image)
    np.testing.assert_array_equal(images.read_image(path), image)


def test_a_written_image_is_read_back(tmp_path, image):
    images.write_image(tmp_path / "a.png", image)
    np.testing.assert_array_equal(images.read_image(tmp_path / "a.png"), image)


def test_gray_becomes_three_equal_channels(tmp_path, image):
    read = images.read_image(save(tmp_path / "a.png", image[..., 0]))
    np.testing.assert_array_equal(read, np.repeat(image[..., :1], 3, axis=-1))


def test_transparent_pixels_show_white(tmp_path, image, rng):
    alpha = rng.integers(0, 256, (*image.shape[:2], 1), np.uint8)
    read = images.read_image(save(tmp_path / "a.png", np.concatenate([image, alpha], axis=-1)))
    expected = image * (alpha / 255.0) + 255.0 * (1.0 - alpha / 255.0)
    assert np.abs(read - expected).max() <= 0.51


def test_16_bits_become_8(tmp_path, image):
    read = images.read_image(save(tmp_path / "a.png", image.astype(np.uint16) * 257))
    np.testing.assert_array_equal(read, image)


@pytest.mark.parametrize("top", [1.0, 255.0])
@pytest.mark.parametrize("gray", [False, True])
def test_float_images_may_be_in_0_1_or_0_255(tmp_path, image, top, gray):
    image = np.repeat(image[..., :1], 3, axis=-1) if gray else image
    image[0, 0] = 255
    stored = (image[..., 0] if gray else image).astype(np.float32) * np.float32(top / 255.0)
    np.testing.assert_array_equal(images.read_image(save(tmp_path / "a.tiff", stored)), image)


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
def test_exif_orientation_is_applied(tmp_path, image, orientation, undo):
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    _, encoded = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, 100])
    # One EXIF segment with the single tag 0x0112, after the start-of-image marker.
    header = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0"
    exif = header + bytes([orientation]) + b"\0\0\0\0\0\0\0"
    segment = b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif
    (tmp_path / "a.jpg").write_bytes(encoded[:2].tobytes() + segment + encoded[2:].tobytes())
    read = images.read_image(tmp_path / "a.jpg")
    assert read.shape == undo(image).shape
    assert np.abs(read.astype(int) - undo(image)).mean() < 3.0


def test_a_huge_image_is_read(tmp_path):
    path = tmp_path / "huge.jpg"
    cv2.imwrite(str(path), np.full((10_000, 10_000, 3), 128, np.uint8))
    assert images.read_image(path).shape == (10_000, 10_000, 3)


def save_with_nan(path, rgb):
    values = rgb.astype(np.float32) / 255.0
    values[3, 4, 1] = np.nan
    save(path, values)


@pytest.mark.parametrize(
    ("name", "make", "message"),
    [
        ("text.png", lambda path, _: path.write_text("not an image"), "not a readable image"),
        ("empty.jpg", lambda path, _: path.write_bytes(b""), "not a readable image"),
        ("tiny.png", lambda path, rgb: save(path, rgb[:1, :1]), "1 x 1 pixels is too small"),
        ("nan.tiff", save_with_nan, "1 pixel values are NaN"),
    ],
)
def test_an_unusable_file_is_an_error_of_one_line_with_its_name(
    tmp_path, image, name, make, message
):
    make(tmp_path / name, image)
    with pytest.raises(ValueError, match=message) as caught:
        images.read_image(tmp_path / name)
    assert name in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_a_truncated_file_is_an_error(tmp_path, rng, suffix):
    path = save(tmp_path / f"whole{suffix}", rng.integers(0, 255, (200, 300, 3), np.uint8))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ValueError, match="not a readable image"):
        images.read_image(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.png: no such file"):
        images.read_image(tmp_path / "nowhere.png")


def test_folders_expand_to_sorted_images_without_repeats(tmp_path, image):
    folder = tmp_path / "photos"
    (folder / "deeper").mkdir(parents=True)
    for name in ("b.PNG", "a.jpg", "deeper/c.png"):
        save(folder / name, image)
    (folder / "notes.txt").write_text("no image")
    found = images.find_images([folder, folder / "a.jpg", tmp_path / "missing.jpg"])
    assert [p.name for p in found] == ["a.jpg", "b.PNG", "missing.jpg"]


def test_a_folder_without_images_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="no images in the folder"):
        images.find_images([tmp_path])
