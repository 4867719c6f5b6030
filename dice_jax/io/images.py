"""Finds, reads and writes images: orientation, transparency, bit depth, size and damaged files.

A picture is decoded once, with all its channels, by Pillow; by OpenCV where Pillow does not know
the format, which is floating-point RGB in a TIFF. Its size is known from the header before that.
The tests compare every format, depth and number of channels with the pixels of another library.
"""

from __future__ import annotations

import collections
import contextlib
import importlib.util
import io
import os
import struct
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps, TiffImagePlugin, UnidentifiedImageError

from dice_jax.io import atomic

# Suffixes that are read, and those that only the extra "heif" reads.
SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".avif"),
    *(".jp2", ".ppm", ".pgm", ".pbm", ".pnm"),
)
HEIF_SUFFIXES = (".heic", ".heif", ".hif")
# Suffixes of pictures that are not read, which a folder's list of what was left out names.
_OTHER_SUFFIXES = (
    *(".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".raf", ".raw", ".psd", ".svg"),
    *(".exr", ".hdr", ".jxl", ".tga", ".ico", ".eps", ".jxr", ".jpf", ".j2k", ".pfm", ".xcf"),
)
# The formats of Pillow that are used: no other one is tried, since some run programs (EPS).
_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "AVIF", "JPEG2000", "PPM")
MIN_SIDE = 32  # pixels; smaller images show no usable face
MAX_MEGAPIXELS = 100.0
_BACKGROUND = 255  # white, behind transparent pixels
_ROWS_AT_ONCE = 256  # blended together, so that they take little memory
_MAX_BYTES_PER_PIXEL = 64
# What Pillow raises on a damaged file.
_DAMAGE = (
    *(OSError, ValueError, SyntaxError, TypeError, KeyError, IndexError, EOFError, AssertionError),
    *(OverflowError, AttributeError, ZeroDivisionError, MemoryError, RuntimeError, struct.error),
)
_limit_of_pillow = threading.Lock()


def find_images(paths: Iterable[str | Path]) -> tuple[list[Path], list[str]]:
    """Lists image files.

    Args:
        paths: files, and folders of which the images directly inside are taken, sorted by name.

    Returns:
        Files, without repeats. A file that does not exist is kept; `read_image` raises the error.
        And for each folder with pictures that were not taken, a line that counts and names them.

    Raises:
        FileNotFoundError: a folder without images.
    """
    found: dict[Path, None] = {}
    skipped = []
    for path in map(Path, paths):
        if path.is_dir():
            files = sorted(entry for entry in path.iterdir() if entry.is_file())
            inside = [entry for entry in files if entry.suffix.lower() in readable_suffixes()]
            left_out = _left_out(set(files) - set(inside))
            if not inside:
                looked_for = ", ".join(readable_suffixes())
                message = f"no images in the folder {path} (looked for {looked_for})"
                raise FileNotFoundError(f"{message}; {left_out}" if left_out else message)
            found.update(dict.fromkeys(inside))
            skipped += [f"{path}: {left_out}"] if left_out else []
        else:
            found[path] = None
    return list(found), skipped


def readable_suffixes() -> tuple[str, ...]:
    """The suffixes of what `read_image` can read here."""
    return SUFFIXES + (HEIF_SUFFIXES if _reads_heif() else ())


def _left_out(files: Iterable[Path]) -> str:
    """Counts the pictures among files that are not read, such as "3 .heic skipped: ..."."""
    known = (*HEIF_SUFFIXES, *_OTHER_SUFFIXES)
    counts = collections.Counter(
        file.suffix.lower() for file in files if file.suffix.lower() in known
    )
    if not counts:
        return ""
    heif = any(suffix in HEIF_SUFFIXES for suffix in counts)
    remedy = "convert them or install dice_jax[heif]" if heif else "convert them"
    listed = ", ".join(f"{count} {suffix}" for suffix, count in sorted(counts.items()))
    return f"{listed} skipped: {remedy}"


def read_image(
    path: str | Path, max_megapixels: float = MAX_MEGAPIXELS
) -> UInt8[np.ndarray, "H W 3"]:
    """Reads an image as upright 8-bit RGB.

    Applies the EXIF orientation and converts gray to RGB, transparency to white and 16 bits to 8.
    Floating-point images are in [0, 1], or in [0, 255] where a pixel exceeds 1. Of an animation the
    first picture is taken.

    Args:
        path: a file with one of `readable_suffixes`; what counts are its contents.
        max_megapixels: most pixels, in millions. The size is read from the header.

    Returns:
        RGB pixels.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the file is not an image or is damaged, too large, a pixel is not finite, or a
            side is shorter than 32 pixels.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        file = path.open("rb")
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror})") from None
    with file:
        try:
            pixels = _read(file, max_megapixels)
        except _RefusedError as error:
            raise ValueError(f"{path}: {error}") from None
        except _DAMAGE as error:
            raise ValueError(f"{path}: {_unreadable(path, error)}") from None
    return pixels


def write_image(
    path: str | Path, image: UInt8[np.ndarray, "H W 3"], parameters: Iterable[int] = ()
) -> None:
    """Writes RGB pixels in the format of the suffix; the file is complete or absent.

    Args:
        path: of the file.
        image: the pixels.
        parameters: of OpenCV's `imencode`.

    Raises:
        OSError: the file cannot be written; it names the file and the reason.
        ValueError: there is no format of that suffix.
    """
    path = Path(path)
    try:
        made, data = cv2.imencode(
            path.suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR), list(parameters)
        )
    except cv2.error:
        made, data = False, np.zeros(0, np.uint8)
    if not made:
        raise ValueError(
            f"{path}: images cannot be written as {path.suffix or 'a file of no suffix'}"
        )
    atomic.write_bytes(path, data.tobytes())


class _RefusedError(Exception):
    """The picture is readable, and not accepted."""


def _read(file: io.BufferedReader, max_megapixels: float) -> UInt8[np.ndarray, "H W 3"]:
    """The pixels of an open file."""
    formats: list[str] = [*_FORMATS, *(["HEIF"] if _reads_heif() else [])]
    try:
        with _without_limit():
            image = Image.open(file, formats=formats)
    except UnidentifiedImageError:
        return _read_float_tiff(file, max_megapixels)
    with image:
        _check_size(image.width, image.height, max_megapixels)
        with _without_limit():
            image.load()
        upright = ImageOps.exif_transpose(image)
    return _rgb(upright, image)


def _rgb(image: Image.Image, source: Image.Image) -> UInt8[np.ndarray, "H W 3"]:
    """8-bit RGB of a picture of any mode, over white."""
    if image.mode.startswith("I;16"):
        values = np.asarray(image).astype(np.uint16)
        bits = int(getattr(source, "tag_v2", {}).get(258, (16,))[0])  # as many as a TIFF says
        return _gray_rgb((values >> max(bits - 8, 0)).astype(np.uint8))
    if image.mode == "I" and source.format == "PPM":  # of 16 bits there
        return _gray_rgb((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode == "I":
        raise _RefusedError("pixels of 32-bit or signed integers: convert it to 8 or 16 bits")
    if image.mode == "F":
        return _gray_rgb(_to_uint8(np.asarray(image)))
    if not image.has_transparency_data:
        return np.array(image.convert("RGB"))
    return _over_white(np.asarray(image.convert("RGBA")))


def _gray_rgb(gray: UInt8[np.ndarray, "H W"]) -> UInt8[np.ndarray, "H W 3"]:
    return np.repeat(gray[..., None], 3, axis=-1)


def _over_white(rgba: UInt8[np.ndarray, "H W 4"]) -> UInt8[np.ndarray, "H W 3"]:
    rgb = np.empty((*rgba.shape[:2], 3), np.uint8)
    for start in range(0, len(rgba), _ROWS_AT_ONCE):
        rows = rgba[start : start + _ROWS_AT_ONCE].astype(np.float32)
        alpha = rows[..., 3:] / 255.0
        blended = rows[..., :3] * alpha + _BACKGROUND * (1.0 - alpha)
        rgb[start : start + _ROWS_AT_ONCE] = np.rint(blended)
    return rgb


def _read_float_tiff(file: io.BufferedReader, max_megapixels: float) -> UInt8[np.ndarray, "H W 3"]:
    """A TIFF with pixels that Pillow does not know; any other file is an error."""
    file.seek(0)
    start = file.read(8)
    tags = TiffImagePlugin.ImageFileDirectory_v2(start)  # raises where it is no TIFF
    file.seek(tags.next)
    tags.load(file)
    width, height, orientation = int(tags[256]), int(tags[257]), int(tags.get(274, 1))
    _check_size(width, height, max_megapixels)
    size = os.fstat(file.fileno()).st_size
    if size > _MAX_BYTES_PER_PIXEL * width * height:
        raise _RefusedError(f"the file has {size} bytes for {width} x {height} pixels")
    if int(np.max(tags.get(339, 1))) != 3:
        raise _RefusedError("its pixels are neither 8 or 16 bits nor floating-point numbers")
    file.seek(0)
    with quiet_opencv():
        # Unchanged: whatever else is asked of OpenCV 5.0 makes 16 bits of a TIFF wrong.
        pixels = cv2.imdecode(np.frombuffer(file.read(), np.uint8), cv2.IMREAD_UNCHANGED)
    # OpenCV has turned it: it does so with every TIFF, whatever the flags.
    turned = (height, width) if orientation < 5 else (width, height)
    if pixels is None or pixels.shape[:2] != turned or pixels.dtype.kind != "f":
        raise ValueError("OpenCV cannot decode it")
    if pixels.ndim == 2:
        return _gray_rgb(_to_uint8(pixels))
    if pixels.shape[-1] not in (3, 4):
        raise _RefusedError(f"its pixels have {pixels.shape[-1]} channels")
    rgb = _to_uint8(pixels[..., 2::-1])
    if pixels.shape[-1] == 3:
        return rgb
    return _over_white(np.concatenate([rgb, _to_uint8(pixels[..., 3:])], axis=-1))


def _check_size(width: int, height: int, max_megapixels: float) -> None:
    if min(width, height) < MIN_SIDE:
        raise _RefusedError(
            f"{width} x {height} pixels is too small, both sides need at least {MIN_SIDE}"
        )
    if width * height > 1e6 * max_megapixels:
        raise _RefusedError(
            f"{width} x {height} pixels are more than {max_megapixels:g} megapixels: make it "
            "smaller, or raise --max_megapixels"
        )


def _to_uint8(image: np.ndarray) -> UInt8[np.ndarray, "..."]:
    """8 bits of floating-point values in [0, 1], or in [0, 255] where one exceeds 1."""
    bad = np.count_nonzero(~np.isfinite(image))
    if bad:
        raise _RefusedError(f"{bad} pixel values are NaN or infinite")
    scale = 255.0 if image.max() <= 1.0 else 1.0
    return np.clip(np.rint(image * scale), 0, 255).astype(np.uint8)


def _unreadable(path: Path, error: Exception) -> str:
    if isinstance(error, MemoryError):
        return "there is not enough memory for this image"
    if path.suffix.lower() in HEIF_SUFFIXES and not _reads_heif():
        return "HEIF is not read: convert it to JPEG, or pip install dice_jax[heif]"
    formats = ", ".join(suffix[1:] for suffix in readable_suffixes())
    return f"not a readable image (damaged, or not a {formats} file)"


def _reads_heif() -> bool:
    """Whether the extra "heif" is installed; Pillow is told of it."""
    if importlib.util.find_spec("pillow_heif") is None:
        return False
    if "HEIF" not in Image.OPEN:
        from pillow_heif import register_heif_opener  # pyright: ignore[reportMissingImports]

        register_heif_opener()
    return True


@contextlib.contextmanager
def _without_limit() -> Iterator[None]:
    """Turns off Pillow's own limit, which warns; `_check_size` comes before any decoding."""
    with _limit_of_pillow:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = limit


@contextlib.contextmanager
def quiet_opencv() -> Iterator[None]:
    """Turns off OpenCV's log of files that it cannot decode; they raise an error instead."""
    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        cv2.utils.logging.setLogLevel(level)
