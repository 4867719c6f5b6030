"""Finds, reads and writes images: orientation, transparency, bit depth and damaged files."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
MIN_SIDE = 32  # pixels; smaller images show no usable face
_BACKGROUND = 255.0  # white, behind transparent pixels


def find_images(paths: Iterable[str | Path]) -> list[Path]:
    """Lists image files.

    Args:
        paths: files, and folders of which the images directly inside are taken, sorted by name.

    Returns:
        Files, without repeats. A file that does not exist is kept; `read_image` raises the error.

    Raises:
        FileNotFoundError: a folder without images.
    """
    found: dict[Path, None] = {}
    for path in map(Path, paths):
        if path.is_dir():
            inside = sorted(p for p in path.iterdir() if _is_image_file(p))
            if not inside:
                suffixes = ", ".join(SUFFIXES)
                raise FileNotFoundError(f"no images in the folder {path} (looked for {suffixes})")
            found.update(dict.fromkeys(inside))
        else:
            found[path] = None
    return list(found)


def _is_image_file(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and path.is_file()


def read_image(path: str | Path) -> UInt8[np.ndarray, "H W 3"]:
    """Reads an image as upright 8-bit RGB.

    Applies the EXIF orientation and converts gray to RGB, transparency to white and 16 bits to 8.
    Floating-point images are in [0, 1], or in [0, 255] where a pixel exceeds 1.

    Args:
        path: JPEG, PNG, WebP, BMP or TIFF.

    Returns:
        RGB pixels.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the file is not an image or is damaged, a pixel is not finite, or a side is
            shorter than 32 pixels.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        data = np.frombuffer(path.read_bytes(), np.uint8)
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror})") from None
    image = _decode(data)
    if image is None:
        formats = ", ".join(suffix[1:] for suffix in SUFFIXES)
        raise ValueError(f"{path}: not a readable image (damaged, or not a {formats} file)")
    height, width = image.shape[:2]
    if min(height, width) < MIN_SIDE:
        raise ValueError(
            f"{path}: {width} x {height} pixels is too small, both sides need at least {MIN_SIDE}"
        )
    bad = np.count_nonzero(~np.isfinite(image))
    if bad:
        raise ValueError(f"{path}: {bad} pixel values are NaN or infinite")
    rgb = _to_uint8(image)
    alpha = _alpha(data, (height, width))
    if alpha is not None:
        rgb = np.rint(rgb * alpha + _BACKGROUND * (1.0 - alpha)).astype(np.uint8)
    return rgb


def write_image(path: str | Path, image: UInt8[np.ndarray, "H W 3"]) -> None:
    """Writes RGB pixels in the format of the suffix."""
    cv2.imwrite(str(path), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))


def _decode(data: np.ndarray) -> np.ndarray | None:
    """Upright RGB at the bit depth of the file, or None where it cannot be decoded."""
    if not data.size:
        return None
    with _quiet():
        # OpenCV applies the EXIF orientation with the color flags only, but these fail on gray
        # floating-point TIFFs.
        image = cv2.imdecode(data, cv2.IMREAD_COLOR_RGB | cv2.IMREAD_ANYDEPTH)
        if image is not None:
            return image
        gray = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    return None if gray is None or gray.ndim > 2 else np.repeat(gray[..., None], 3, axis=-1)


def _alpha(data: np.ndarray, shape: tuple[int, int]) -> np.ndarray | None:
    """Opacity in [0, 1] with a channel axis, or None where the file has none."""
    if bytes(data[:2]) == b"\xff\xd8":  # a JPEG, which cannot be transparent
        return None
    with _quiet():
        raw = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    if raw is None or raw.ndim < 3 or raw.shape[-1] != 4 or raw.shape[:2] != shape:
        return None
    top = np.iinfo(str(raw.dtype)).max if raw.dtype.kind == "u" else 1.0
    return raw[..., 3:].astype(np.float32) / top


def _to_uint8(image: np.ndarray) -> UInt8[np.ndarray, "H W 3"]:
    if image.dtype == np.uint8:
        return image
    if image.dtype == np.uint16:
        return (image >> 8).astype(np.uint8)
    scale = 255.0 if image.max() <= 1.0 else 1.0
    return np.clip(np.rint(image * scale), 0, 255).astype(np.uint8)


@contextlib.contextmanager
def _quiet():
    """Turns off OpenCV's log of files that it cannot decode; they raise an error instead."""
    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        cv2.utils.logging.setLogLevel(level)
