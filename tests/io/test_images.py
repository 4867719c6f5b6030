"""Images of every format are read, and each unusable file is a clear error."""

import struct
import zlib

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageFile

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


def exif(orientation: int) -> bytes:
    """An EXIF block with the single tag 0x0112."""
    return b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0" + bytes(
        [orientation, 0, 0, 0, 0, 0, 0, 0]
    )


def stored_turned(upright: np.ndarray, orientation: int) -> np.ndarray:
    """The pixels that a file with this orientation holds, by the table of the EXIF standard."""
    turns = {
        1: lambda x: x,
        2: lambda x: x[:, ::-1],
        3: lambda x: x[::-1, ::-1],
        4: lambda x: x[::-1],
        5: lambda x: x.swapaxes(0, 1),
        6: lambda x: np.rot90(x, 1),
        7: lambda x: x[::-1, ::-1].swapaxes(0, 1),
        8: lambda x: np.rot90(x, -1),
    }
    return np.ascontiguousarray(turns[orientation](upright))


def dirty_the_heap():
    """Leaves memory with other contents behind, which a decoder may hand out as pixels."""
    blocks = [np.full(size, 173, np.uint8) for size in (10_000, 16_200, 32_400, 64_800) * 8]
    del blocks


# Depths and channels that a format can store without loss.
KINDS = {
    ".png": [(depth, n) for depth in ("u1", "u2") for n in (1, 2, 3, 4)],
    ".tiff": [(depth, n) for depth in ("u1", "u2", "f4", "f8") for n in (1, 3, 4)],
    ".webp": [("u1", 3), ("u1", 4)],
    ".bmp": [("u1", 1), ("u1", 3)],
    ".gif": [("u1", 1)],
    ".jp2": [("u1", 1), ("u1", 3), ("u2", 1)],
    ".pgm": [("u1", 1), ("u2", 1)],
    ".ppm": [("u1", 3)],
}
CASES = [(suffix, *kind) for suffix, kinds in KINDS.items() for kind in kinds]


def write_with_another_library(path, values, orientation=1):
    """Writes pixels of any depth by tifffile, or by OpenCV with an EXIF chunk put in by hand."""
    if path.suffix == ".tiff":
        extra = {"extrasamples": ["unassalpha"]} if values.shape[-1] in (2, 4) else {}
        photometric = "rgb" if values.ndim == 3 and values.shape[-1] > 2 else "minisblack"
        tags = [(274, "H", 1, orientation, True)] if orientation != 1 else ()
        tifffile.imwrite(path, values, photometric=photometric, extratags=tags, **extra)
        return
    if path.suffix in (".gif", ".jp2") or (path.suffix == ".webp" and orientation == 1):
        kwargs = {".webp": {"lossless": True, "exact": True}, ".jp2": {"irreversible": False}}
        Image.fromarray(values).save(path, **kwargs.get(path.suffix, {}))
        return
    if path.suffix == ".webp":
        Image.fromarray(values).save(path, lossless=True, exact=True, exif=exif(orientation)[6:])
        return
    if path.suffix == ".png":
        path.write_bytes(png(values, orientation))
        return
    save(path, values)


def png(values, orientation=1) -> bytes:
    """A PNG file, written here from its definition."""
    channels = 1 if values.ndim == 2 else values.shape[-1]
    color = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    height, width = values.shape[:2]
    depth = 8 * values.dtype.itemsize
    rows = values.astype(values.dtype.newbyteorder(">")).reshape(height, -1)
    raw = b"".join(b"\0" + row.tobytes() for row in rows)
    chunk = lambda name, data: (
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
    )
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    parts = [chunk(b"IHDR", header)]
    parts += [chunk(b"eXIf", exif(orientation)[6:])] if orientation != 1 else []
    parts += [chunk(b"IDAT", zlib.compress(raw)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def expected_pixels(values):
    """8-bit RGB over white of what a file holds, independently of the reader."""
    if values.dtype.kind == "f":
        eight = np.rint(values.astype(np.float64) * 255)
    else:
        eight = (values >> (8 * (values.dtype.itemsize - 1))).astype(np.float64)
    eight = eight[..., None] if eight.ndim == 2 else eight
    alpha = eight[..., -1:] / 255 if eight.shape[-1] in (2, 4) else 1.0
    color = eight[..., : 3 if eight.shape[-1] > 2 else 1]
    return np.broadcast_to(color * alpha + 255 * (1 - alpha), (*eight.shape[:2], 3))


def random_values(rng, depth, channels):
    shape = (60, 90) if channels == 1 else (60, 90, channels)
    dtype = np.dtype(depth)
    if dtype.kind == "f":
        return rng.random(shape).astype(dtype)
    return rng.integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


@pytest.mark.parametrize("suffix, depth, channels", CASES)
def test_every_format_depth_and_number_of_channels(tmp_path, rng, suffix, depth, channels):
    values = random_values(rng, depth, channels)
    path = tmp_path / f"a{suffix}"
    write_with_another_library(path, values)
    dirty_the_heap()
    assert np.abs(images.read_image(path) - expected_pixels(values)).max() <= 0.51


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(
    "suffix, depth, channels", [case for case in CASES if case[0] in (".png", ".tiff", ".webp")]
)
def test_orientation_turns_all_channels(tmp_path, rng, suffix, depth, channels, orientation):
    upright = random_values(rng, depth, channels)
    path = tmp_path / f"a{suffix}"
    write_with_another_library(path, stored_turned(upright, orientation), orientation)
    read = images.read_image(path)
    assert read.shape[:2] == (60, 90)
    assert np.abs(read - expected_pixels(upright)).max() <= 0.51


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("depth, channels", [(d, n) for d in ("u1", "u2") for n in (1, 3, 4)])
def test_every_layout_of_a_tiff(tmp_path, rng, compression, byteorder, depth, channels):
    values = random_values(rng, depth, channels)
    kwargs = {"extrasamples": ["unassalpha"]} if channels == 4 else {}
    kwargs["photometric"] = "rgb" if channels > 1 else "minisblack"
    for tile in (None, (16, 16)):
        path = tmp_path / "a.tiff"
        tifffile.imwrite(
            path, values, compression=compression, byteorder=byteorder, tile=tile, **kwargs
        )
        dirty_the_heap()
        assert np.abs(images.read_image(path) - expected_pixels(values)).max() <= 0.51


@pytest.mark.parametrize("suffix", [".jpg", ".webp", ".avif"])
def test_lossy_formats_agree_with_another_decoder(tmp_path, image, suffix):
    path = tmp_path / f"a{suffix}"
    Image.fromarray(image).save(path, quality=95)
    other = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB) if suffix != ".avif" else image
    assert np.abs(images.read_image(path).astype(int) - other).mean() < (4 if other is image else 1)


def test_a_palette_with_transparency(tmp_path, rng):
    indices = rng.integers(0, 4, (60, 90), np.uint8)
    colors = rng.integers(0, 256, (4, 3), np.uint8)
    picture = Image.fromarray(indices, "P")
    picture.putpalette(colors.tobytes())
    picture.save(tmp_path / "a.png", transparency=bytes([0, 255, 128, 255]))
    rgba = np.concatenate([colors, [[0], [255], [128], [255]]], axis=1).astype(np.uint8)
    read = images.read_image(tmp_path / "a.png")
    assert np.abs(read - expected_pixels(rgba[indices])).max() <= 0.51


def large_png(width, height) -> bytes:
    """The header of a huge picture, and no pixels."""
    whole = png(np.zeros((32, 32), np.uint8))
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    checksum = struct.pack(">I", zlib.crc32(b"IHDR" + header))
    return whole[:16] + header + checksum + whole[33:]


@pytest.mark.parametrize("side", [10_001, 30_000, 60_000, 2**31 - 1])
@pytest.mark.parametrize("suffix", [".png", ".tiff", ".bmp", ".ppm"])
def test_a_large_image_is_refused_by_its_header(tmp_path, monkeypatch, side, suffix):
    path = tmp_path / f"a{suffix}"
    if suffix == ".png":
        path.write_bytes(large_png(side, side))
    elif suffix == ".ppm":
        path.write_bytes(b"P6 %d %d 255\n" % (side, side))
    elif suffix == ".bmp":
        save(path, np.zeros((40, 40, 3), np.uint8))
        content = path.read_bytes()
        path.write_bytes(content[:18] + struct.pack("<ii", side, side) + content[26:])
    else:
        tifffile.imwrite(path, np.zeros((40, 50), np.uint8))
        content = path.read_bytes()
        for tag in (256, 257):  # width and height
            begin = content.index(struct.pack("<H", tag))
            content = content[: begin + 8] + struct.pack("<I", side) + content[begin + 12 :]
        path.write_bytes(content)
    for owner, decode in ((cv2, "imdecode"), (ImageFile.ImageFile, "load")):
        monkeypatch.setattr(owner, decode, lambda *_: pytest.fail("decoded"))
    with pytest.raises(ValueError, match=r"megapixels|not a readable image") as caught:
        images.read_image(path)
    if side <= 60_000:
        assert f"{side} x {side} pixels are more than 100 megapixels" in str(caught.value)


def test_the_limit_can_be_set(tmp_path, image):
    path = save(tmp_path / "a.png", image)
    assert images.read_image(path, max_megapixels=0.0054).shape == image.shape
    with pytest.raises(ValueError, match=r"90 x 60 pixels are more than 0\.005 megapixels"):
        images.read_image(path, max_megapixels=0.005)


def test_pillows_own_limit_is_restored(tmp_path, image):
    before = Image.MAX_IMAGE_PIXELS
    images.read_image(save(tmp_path / "a.png", image))
    assert before == Image.MAX_IMAGE_PIXELS


def test_integers_that_have_no_scale_are_refused(tmp_path):
    for dtype in (np.int32, np.uint32, np.int16):
        tifffile.imwrite(tmp_path / "a.tiff", np.zeros((50, 60), dtype))
        with pytest.raises(ValueError, match=r"a\.tiff: "):
            images.read_image(tmp_path / "a.tiff")


@pytest.mark.parametrize("suffix", images.SUFFIXES)
def test_a_folder_takes_every_suffix_that_is_read(tmp_path, image, suffix):
    path = tmp_path / f"a{suffix}"
    if suffix == ".pbm":
        Image.fromarray(image[..., 0] > 127).save(path)
    else:
        name = {".jfif": "JPEG", ".jpe": "JPEG", ".pnm": "PPM"}.get(suffix)
        pixels = image[..., 0] if suffix == ".pgm" else image
        Image.fromarray(pixels).save(path, format=name)
    assert images.read_image(path).shape == image.shape
    assert images.find_images([tmp_path]) == ([path], [])


def test_pictures_that_are_not_read_are_counted_and_named(tmp_path, image, monkeypatch):
    monkeypatch.setattr(images, "_reads_heif", lambda: False)
    for name in ("1.heic", "2.HEIC", "3.heic", "4.dng", "5.txt", ".DS_Store"):
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(FileNotFoundError, match=r"no images in the folder.*3 \.heic skipped"):
        images.find_images([tmp_path])
    save(tmp_path / "a.png", image)
    found, (line,) = images.find_images([tmp_path])
    assert [path.name for path in found] == ["a.png"]
    assert "1 .dng, 3 .heic skipped: convert them or install dice_jax[heif]" in line
    with pytest.raises(ValueError, match=r"1\.heic: HEIF is not read: .*dice_jax\[heif\]"):
        images.read_image(tmp_path / "1.heic")


def test_heif_is_read_with_the_extra(tmp_path, image):
    pillow_heif = pytest.importorskip("pillow_heif")
    pillow_heif.from_pillow(Image.fromarray(image)).save(tmp_path / "a.heic", quality=100)
    assert images.find_images([tmp_path])[0] == [tmp_path / "a.heic"]
    assert np.abs(images.read_image(tmp_path / "a.heic").astype(int) - image).mean() < 4


def test_programs_are_never_run_for_a_picture(tmp_path):
    """Pillow calls Ghostscript for EPS; only a list of formats is tried."""
    (tmp_path / "a.jpg").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 90 60\n")
    with pytest.raises(ValueError, match="not a readable image"):
        images.read_image(tmp_path / "a.jpg")


def test_an_image_that_cannot_be_written_is_an_error(tmp_path, image):
    with pytest.raises(ValueError, match=r"a\.xyz: images cannot be written as \.xyz"):
        images.write_image(tmp_path / "a.xyz", image)
    with pytest.raises(OSError, match=r"nowhere/a\.png"):
        images.write_image(tmp_path / "nowhere" / "a.png", image)
    assert list(tmp_path.iterdir()) == []


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
    found, skipped = images.find_images([folder, folder / "a.jpg", tmp_path / "missing.jpg"])
    assert not skipped
    assert [p.name for p in found] == ["a.jpg", "b.PNG", "missing.jpg"]


def test_a_folder_without_images_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="no images in the folder"):
        images.find_images([tmp_path])
