"""Background behind the person, and the camera pipeline: exposure, tone, blur, noise, compression.

NumPy and OpenCV.
"""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from dice_jax.constants import CROP_SIZE


def sample_background(size: int, rng: np.random.Generator) -> Float[np.ndarray, "S S 3"]:
    """A random background, linear RGB: gradients, multi-scale noise, boxes and ellipses, blur."""
    # Rooms and streets are mostly dull: low saturation with an occasional vivid color.
    tint = rng.uniform(0.1, 0.9) + rng.normal(0, 0.15, 3) * rng.uniform() ** 2
    spread, chroma = rng.uniform(0.02, 0.25), rng.uniform(0.0, 0.18) * rng.uniform() ** 2
    palette = np.clip(tint + rng.normal(0, spread, (6, 1)) + rng.normal(0, chroma, (6, 3)), 0, 1)
    rows, columns = np.mgrid[:size, :size] / size
    slope = rng.normal(0, 1, 2)
    ramp = np.clip(0.5 + (columns - 0.5) * slope[0] + (rows - 0.5) * slope[1], 0, 1)[..., None]
    image = (1 - ramp) * palette[0] + ramp * palette[1]
    kind = rng.uniform()
    if kind > 0.15:
        for cells in (4, 12, 40):
            gray = rng.normal(0, rng.uniform(0, 0.07), (cells, cells, 1))
            coarse = gray + rng.normal(0, 0.008, (cells, cells, 3))
            image = image + cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)
    if kind > 0.3:
        image = _draw_shapes(np.ascontiguousarray(image, np.float32), palette, rng)
    blur = rng.uniform(0, 0.06) * size * rng.uniform()
    if blur > 0.3:
        image = cv2.GaussianBlur(image, (0, 0), blur)
    return np.clip(image, 0, 1) ** 2.2 * rng.uniform(0.3, 1.1)


def postprocess(
    color: Float[np.ndarray, "S S 3"], coverage: Float[np.ndarray, "S S"], rng: np.random.Generator
) -> UInt8[np.ndarray, "S S 3"]:
    """Composites a rendering over a random background and applies the camera pipeline.

    Args:
        color: linear RGB times coverage.
        coverage: 0 background, 1 person.
        rng: source of randomness.

    Returns:
        sRGB image.
    """
    size = len(color)
    # Backgrounds are out of focus.
    background = cv2.resize(sample_background(size // 2, rng), (size, size))
    shown = (1 - np.asarray(coverage, np.float32))[..., None] * background.astype(np.float32)
    image = np.asarray(color, np.float32) + shown
    person = image[coverage > 0.5]
    brightness = np.percentile(person, 80) if len(person) else 0.5
    # Exposure compensates for most of the person's brightness, but dark skin remains darker.
    image *= (0.45 / max(brightness, 0.02)) ** rng.uniform(0.45, 0.85) * np.exp(rng.normal(0, 0.2))
    image *= np.exp(rng.normal(0, 0.06, 3))
    image = np.clip(image, 0, 1)
    image = np.where(image < 0.0031308, 12.92 * image, 1.055 * image ** (1 / 2.4) - 0.055)
    contrast, gamma = np.exp(rng.normal(0, 0.12)), np.exp(rng.normal(0, 0.12))
    image = np.clip(0.5 + (image - 0.5) * contrast, 0, 1) ** gamma
    gray = image.mean(-1, keepdims=True)
    image = gray + (image - gray) * (0.0 if rng.uniform() < 0.03 else np.exp(rng.normal(0, 0.2)))
    return _degrade(np.clip(image, 0, 1), rng)


def shrink(image: UInt8[np.ndarray, "L L 3"], size: int) -> UInt8[np.ndarray, "S S 3"]:
    """The image with `size` pixels a side."""
    return np.asarray(cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA))


def nearest_depth(depth: Float[np.ndarray, "L L"], size: int) -> Float[np.ndarray, "S S"]:
    """The smallest depth in each pixel of an image with `size` pixels a side."""
    zoom = len(depth) // size
    return depth.reshape(size, zoom, size, zoom).min((1, 3))


def _draw_shapes(image, palette, rng):
    size = len(image)
    for _ in range(rng.integers(2, 14)):
        color = np.clip(palette[rng.integers(len(palette))] + rng.normal(0, 0.06, 3), 0, 1).tolist()
        center = rng.uniform(-0.1, 1.1, 2) * size
        extent = size * rng.uniform(0.02, 0.5, 2) ** 1.3
        angle = float(rng.uniform(0, 180)) if rng.uniform() < 0.4 else 0.0
        box = (center.tolist(), (2 * extent).tolist(), angle)
        if rng.uniform() < 0.55:
            cv2.fillPoly(image, [cv2.boxPoints(box).astype(np.int32)], color, cv2.LINE_AA)
        else:
            cv2.ellipse(image, box, color, -1, cv2.LINE_AA)
    return image


def _degrade(image, rng):
    """Blur, motion blur, low resolution, sensor noise and compression, each at random."""
    size = len(image)
    zoom = size / CROP_SIZE  # lengths are in pixels of the crop
    if rng.uniform() < 0.35:
        image = cv2.GaussianBlur(image, (0, 0), zoom * rng.uniform(0.2, 1.3))
    if rng.uniform() < 0.1:
        length = int(zoom * rng.integers(3, 8))
        rotation = cv2.getRotationMatrix2D(((length - 1) / 2,) * 2, float(rng.uniform(0, 180)), 1)
        kernel = cv2.warpAffine(np.eye(length, dtype=np.float32), rotation, (length, length))
        image = cv2.filter2D(image, -1, kernel / max(kernel.sum(), 1e-6))
    if rng.uniform() < 0.3:
        small = int(size * rng.uniform(0.22, 0.8))
        image = cv2.resize(image, (small, small), interpolation=cv2.INTER_AREA)
        image = cv2.resize(image, (size, size))
    if rng.uniform() < 0.6:
        strength = rng.uniform(0.002, 0.035)
        noise = rng.standard_normal(image.shape, np.float32) * np.float32(strength)
        if rng.uniform() < 0.5:  # correlated between pixels, at about the same strength
            noise = cv2.GaussianBlur(noise, (0, 0), 0.7) * 1.8
        image = image + noise
    pixels = np.rint(255 * np.clip(image, 0, 1)).astype(np.uint8)
    if rng.uniform() < 0.5:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(25, 93))]
        encoded = cv2.imencode(".jpg", pixels, quality)[1]
        pixels = np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR))
    return pixels
