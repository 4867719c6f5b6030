"""Shading: z-buffer, shadow map, wrapped diffuse and specular reflection, in one JAX program."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Float, Int

from dice_jax.array_types import Array
from dice_jax.geometry.camera import perspective_to_screen
from dice_jax.geometry.mesh import vertex_normals
from dice_jax.geometry.rasterize import Fragments, interpolate, rasterize
from dice_jax.synthetic import surface_detail

_SHADOW_SIZE = 224
_SHADOW_SPAN = 0.55  # meters that the shadow map covers, around the head
_NOISE_SIZE = 64
_SHADED_SHARES = (0.25, 0.4, 0.55, 0.75, 1.0)  # of the image


class Surface(struct.PyTreeNode):
    """Vertices of everything that is drawn, camera axes.

    Attributes:
        vertices: meters.
        albedo: linear RGB.
        gloss: strength of highlights.
        softness: how far light wraps around the shape: 1 for skin, 0 for cloth.
        occlusion: fraction of the ambient light that arrives.
        texture: texture coordinates, and the strength of the texture in the last column.
        detail: factors of the albedo at the samples of the first triangles, see `surface_detail`.
    """

    vertices: Float[Array, "N 3"]
    albedo: Float[Array, "N 3"]
    gloss: Float[Array, "N"]
    softness: Float[Array, "N"]
    occlusion: Float[Array, "N"]
    texture: Float[Array, "N 4"]
    detail: Float[Array, "D S 3"]


class Lights(struct.PyTreeNode):
    """See `sample.Lighting`."""

    directions: Float[Array, "3 3"]
    colors: Float[Array, "3 3"]
    sky: Float[Array, "3"]
    ground: Float[Array, "3"]
    shadow_softness: Float[Array, ""]


def shade(
    surface: Surface,
    faces: Int[Array, "F 3"],
    lights: Lights,
    focal_length: Float[Array, ""],
    camera_center: Float[Array, "2"],
    zoom: int,
    size: int,
) -> tuple[Float[Array, "L L 3"], Float[Array, "L L"], Float[Array, "L L"]]:
    """Renders the surface, with smoothed edges. Only covered pixels are shaded.

    Args:
        surface: attributes of the vertices.
        faces: triangles.
        lights: directional and ambient light.
        focal_length: pixels of the crop.
        camera_center: principal point, pixels of the crop.
        zoom: side of the rendering relative to the crop.
        size: side of the crop, pixels.

    Returns:
        Linear RGB times coverage, coverage in [0, 1], and depth in meters (infinite in the
        background), each with `zoom * size` pixels a side.
    """
    fragments = _draw(surface.vertices, faces, focal_length, camera_center, zoom, size)
    covered = np.flatnonzero(np.asarray(fragments.face_ids).ravel() >= 0)
    count = (zoom * size) ** 2
    # Few lengths, so that few programs are compiled.
    room = next(int(share * count) for share in _SHADED_SHARES if share * count >= len(covered))
    pixels = np.full(room, count, np.int32)
    pixels[: len(covered)] = covered
    image = _shade_pixels(surface, faces, lights, fragments, pixels)
    return image[..., :3], image[..., 3], fragments.depth


@functools.partial(jax.jit, static_argnames=("size", "zoom"))
def _draw(vertices, faces, focal_length, camera_center, zoom, size):
    screen = perspective_to_screen(vertices, zoom * focal_length, zoom * camera_center)
    return rasterize(screen, faces, zoom * size, zoom * size, perspective=True)


@jax.jit
def _shade_pixels(surface, faces, lights, fragments, chosen):
    """Linear RGB and coverage (L, L, 4) of the chosen pixels; ids beyond the image are padding."""
    shape = fragments.face_ids.shape
    flat = lambda array: array.reshape(-1, *array.shape[2:])[None].at[:, chosen].get(mode="clip")
    drawn, fragments = (
        fragments,
        Fragments(
            face_ids=flat(fragments.face_ids),
            barycentrics=flat(fragments.barycentrics),
            depth=flat(fragments.depth),
            overflow=fragments.overflow,
        ),
    )
    normals = vertex_normals(surface.vertices, faces)
    attributes = jnp.concatenate(
        [
            surface.vertices,
            normals,
            surface.albedo,
            surface.texture,
            surface.gloss[:, None],
            surface.softness[:, None],
            surface.occlusion[:, None],
        ],
        -1,
    )
    pixels = interpolate(fragments, faces, attributes)
    position, normal, albedo, texture, gloss, softness, occlusion = jnp.split(
        pixels, (3, 6, 9, 13, 14, 15), axis=-1
    )
    normal = normal / jnp.maximum(jnp.linalg.norm(normal, axis=-1, keepdims=True), 1e-6)
    view = -position / jnp.maximum(jnp.linalg.norm(position, axis=-1, keepdims=True), 1e-6)
    # Thin shapes show their back sides, which are lit like the front.
    normal = jnp.where((normal * view).sum(-1, keepdims=True) < 0, -normal, normal)
    over_pixels = lambda color: color[None, None]
    grain = _noise(texture[..., :3])
    albedo = albedo * _detail(surface.detail, fragments)
    albedo = jnp.clip(albedo * (1 + texture[..., 3:] * grain[..., None]), 0.0, 1.0)

    up = 0.5 - 0.5 * normal[..., 1:2]
    light = occlusion * (up * over_pixels(lights.sky) + (1 - up) * over_pixels(lights.ground))
    highlights = jnp.zeros_like(light)
    lit = _shadow(surface.vertices, faces, position, normal, lights)[..., None]
    for index in range(lights.directions.shape[0]):
        direction, color = lights.directions[index], over_pixels(lights.colors[index])
        cosine = (normal @ direction)[..., None]
        visibility = lit if index == 0 else 0.3 + 0.7 * occlusion
        # Subsurface scattering, strongest in red: the terminator on skin is soft and warm.
        wrap = softness * over_pixels(jnp.array([0.28, 0.14, 0.10]))
        light += visibility * color * jnp.maximum((cosine + wrap) / (1 + wrap), 0.0)
        halfway = view + over_pixels(direction)
        halfway = halfway / jnp.maximum(jnp.linalg.norm(halfway, axis=-1, keepdims=True), 1e-6)
        alignment = jnp.maximum((normal * halfway).sum(-1, keepdims=True), 0.0)
        exponent = 10 + 60 * gloss
        highlights += visibility * color * gloss * 0.25 * alignment**exponent * (cosine > 0)
    color = jnp.concatenate([albedo * light + highlights, jnp.ones_like(gloss)], -1)[0]
    image = jnp.zeros((shape[0] * shape[1], 4)).at[chosen].set(color, mode="drop")
    return _smooth_edges(image.reshape(*shape, 4), drawn.depth)


@functools.partial(jax.jit, static_argnames="size")
def draw_depth(
    vertices: Float[Array, "N 3"],
    faces: Int[Array, "F 3"],
    focal_length: Float[Array, ""],
    camera_center: Float[Array, "2"],
    size: int,
) -> tuple[Float[Array, "S S"], Int[Array, "S S"]]:
    """Rasterizes a mesh in camera axes.

    Args:
        vertices: meters.
        faces: triangles.
        focal_length: pixels.
        camera_center: principal point, pixels.
        size: side of the image, pixels.

    Returns:
        Depth in meters (infinite in the background) and face ids (-1 in the background).
    """
    screen = perspective_to_screen(vertices, focal_length, camera_center)
    fragments = rasterize(screen, faces, size, size, perspective=True)
    return fragments.depth, fragments.face_ids


def _detail(detail, fragments):
    """The detail (D, S, 3) at every pixel, 1 on triangles without; interpolated between samples."""
    steps = surface_detail.STEPS
    scaled = steps * fragments.barycentrics[..., :2]
    low = jnp.clip(jnp.floor(scaled), 0, steps - 1).astype(jnp.int32)
    part, (i, j) = scaled - low, jnp.moveaxis(low, -1, 0)
    # The point is in the small triangle (i, j), (i + 1, j), (i, j + 1), or in the one across the
    # long side of that.
    upper = part.sum(-1) > 1
    first = jnp.clip(fragments.face_ids, 0, len(detail) - 1) * surface_detail.NUM_SAMPLES
    rows = detail.reshape(-1, detail.shape[-1])

    def at(step_i, step_j):
        over = jnp.maximum(step_i + step_j - steps, 0)  # rounding, beyond the last sample
        return rows[first + surface_detail.sample_index(step_i, step_j - over)]

    corner = at(i + upper, j + upper)
    to_i, to_j = at(i + ~upper, j + upper), at(i + upper, j + ~upper)
    weight = jnp.where(upper[..., None], 1 - part, part)
    value = corner + weight[..., :1] * (to_i - corner) + weight[..., 1:] * (to_j - corner)
    has = (fragments.face_ids >= 0) & (fragments.face_ids < len(detail))
    return jnp.where(has[..., None], value, 1.0)


def _smooth_edges(image, depth):
    """Blurs an image (L, L, C) by half a pixel where the depth (L, L) jumps: at outlines."""
    finite = jnp.minimum(depth, 20.0)
    edge = jnp.zeros_like(finite)
    blurred = 2 * image
    for axis in (0, 1):
        for step in (1, -1):
            blurred += 0.5 * jnp.roll(image, step, axis)
            edge = jnp.maximum(edge, jnp.abs(jnp.roll(finite, step, axis) - finite))
    weight = jnp.clip(edge / 0.006 - 0.5, 0.0, 1.0)[..., None]
    return image + weight * (blurred / 4 - image)


def _shadow(vertices, faces, position, normal, lights):
    """Fraction of the main light that arrives: nine samples around each pixel in a shadow map."""
    forward = -lights.directions[0]
    side = jnp.cross(forward, jnp.array([0.31, 0.87, 0.38]))
    side = side / jnp.linalg.norm(side)
    axes = jnp.stack([side, jnp.cross(forward, side), forward])
    center = jnp.median(vertices, axis=0)
    pixels_per_meter = _SHADOW_SIZE / _SHADOW_SPAN

    def to_map(points):
        local = (points - center.reshape((1,) * (points.ndim - 1) + (3,))) @ axes.T
        pixels = local[..., :2] * pixels_per_meter + _SHADOW_SIZE / 2
        return jnp.concatenate([pixels, local[..., 2:] + 5.0], -1)

    depth = rasterize(to_map(vertices), faces, _SHADOW_SIZE, _SHADOW_SIZE).depth
    surface = to_map(position + 0.003 * normal)  # off the surface, against self-shadowing
    spread = lights.shadow_softness * _SHADOW_SIZE / _SHADOW_SPAN
    lit = jnp.zeros(surface.shape[:-1])
    for dx in (-1, 0, 1):
        for dy in (-1, 0, 1):
            offset = (spread * jnp.array([dx, dy]))[None, None]
            pixel = jnp.floor(surface[..., :2] + offset).astype(jnp.int32)
            pixel = jnp.clip(pixel, 0, _SHADOW_SIZE - 1)
            lit += depth[pixel[..., 1], pixel[..., 0]] > surface[..., 2] - 0.004
    return lit / 9


def _noise(coordinates):
    """Smooth noise of standard deviation about 1 in three octaves, with a period of one meter."""
    volume = jnp.asarray(_noise_volume())
    total = jnp.zeros(coordinates.shape[:-1])
    for octave, weight in ((1, 0.5), (3, 0.6), (9, 0.6)):
        grid = jnp.moveaxis(coordinates * (_NOISE_SIZE * octave), -1, 0)
        noise = jax.scipy.ndimage.map_coordinates(volume, list(grid), order=1, mode="wrap")
        total += weight * noise
    return total


@functools.cache
def _noise_volume():
    return np.random.default_rng(7).normal(0, 1.4, (_NOISE_SIZE,) * 3).astype(np.float32)
