"""Finding and reading photographs: orientation, alpha, bit depth, and one clear line for what
cannot be read.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
MIN_SIDE = 32  # pixels; a face that small has nothing left to measure
_BACKDROP = 255.0  # what shows through transparent pixels


def find_images(paths: Iterable[str | Path]) -> list[Path]:
    """Lists image files: a file as given, a folder as the images directly in it, in the order of
    their names.

    Args:
        paths: files and folders.

    Returns:
        Files, without repeats. A file that does not exist is kept: reading it says so.

    Raises:
        FileNotFoundError: a folder without images.
    """
    found: dict[Path, None] = {}
    for path in map(Path, paths):
        if path.is_dir():
            inside = sorted(
                p for p in path.iterdir() if p.suffix.lower() in SUFFIXES and p.is_file()
            )
            if not inside:
                raise FileNotFoundError(
                    f"no images in the folder {path} (looked for {', '.join(SUFFIXES)})"
                )
            found.update(dict.fromkeys(inside))
        else:
            found[path] = None
    return list(found)


def read_image(path: str | Path) -> UInt8[np.ndarray, "H W 3"]:
    """Reads any photograph as upright 8-bit RGB.

    The EXIF orientation is applied, gray becomes RGB, transparency shows white, 16 bits become 8,
    and a float image is taken to lie in [0, 1], or in [0, 255] when it holds anything above 1.

    Args:
        path: JPEG, PNG, WebP, BMP or TIFF.

    Returns:
        RGB pixels.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not an image, a damaged one, one with NaN pixels, or one smaller than 32 pixels.
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
        raise ValueError(
            f"{path}: not a readable image (damaged, or not a {', '.join(s[1:] for s in SUFFIXES)} file)"
        )
    height, width = image.shape[:2]
    if min(height, width) < MIN_SIDE:
        raise ValueError(
            f"{path}: {width} x {height} pixels is too small, at least {MIN_SIDE} a side are needed"
        )
    if not np.isfinite(image).all():
        raise ValueError(
            f"{path}: {int((~np.isfinite(image)).sum())} pixel values are NaN or infinite"
        )
    rgb = _to_uint8(image)
    alpha = _alpha(data, (height, width))
    if alpha is not None:
        rgb = np.rint(rgb * alpha + _BACKDROP * (1.0 - alpha)).astype(np.uint8)
    return rgb


def write_image(path: str | Path, image: UInt8[np.ndarray, "H W 3"]) -> None:
    """Writes RGB pixels in the format the suffix names."""
    cv2.imwrite(str(path), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))


def _decode(data: np.ndarray) -> np.ndarray | None:
    """Upright RGB at the depth of the file, or None."""
    with _quiet():
        # The color flags are the ones that make OpenCV apply the EXIF orientation; they refuse
        # gray float TIFFs.
        image = (
            cv2.imdecode(data, cv2.IMREAD_COLOR_RGB | cv2.IMREAD_ANYDEPTH) if data.size else None
        )
        if image is None and data.size:
            image = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
            image = (
                None if image is None or image.ndim > 2 else np.repeat(image[..., None], 3, axis=-1)
            )
    return image


def _alpha(data: np.ndarray, shape: tuple[int, int]) -> np.ndarray | None:
    """Opacity in [0, 1] with a channel axis, or None where the file has none."""
    if bytes(data[:2]) == b"\xff\xd8":  # JPEG knows no alpha: spare a second decoding
        return None
    with _quiet():
        raw = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    if raw is None or raw.ndim < 3 or raw.shape[-1] != 4 or raw.shape[:2] != shape:
        return None
    top = np.iinfo(raw.dtype).max if raw.dtype.kind == "u" else 1.0
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
    """OpenCV logs what it cannot decode; the error raised here says it once, and better."""
    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        cv2.utils.logging.setLogLevel(level)
