"""A z-buffer in JAX: the visible face of every pixel, its barycentrics, and differentiable depth.

A face covers at most the pixel centers in its bounding box. The boxes of all faces, one after the
other, form a list of candidate fragments. A loop draws that list in passes of equal size. So the
work is proportional to the covered pixels, faces may have any size, and faces that cover no pixel
center take no time.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Bool, Float, Int, UInt32

from dice_jax.array_types import Array
from dice_jax.geometry import mesh

FRAGMENTS_PER_PASS = 2**14


class Fragments(struct.PyTreeNode):
    """The visible surface at every pixel.

    Attributes:
        face_ids: id of the visible face; -1 in the background.
        barycentrics: of the pixel center in its face, perspective-correct if `perspective`; zeros
            in the background.
        depth: meters; infinite in the background.
        overflow: number of faces that could not be drawn; 0 unless the boxes of all faces together
            hold about 2^32 pixels.
    """

    face_ids: Int[Array, "*B H W"]
    barycentrics: Float[Array, "*B H W 3"]
    depth: Float[Array, "*B H W"]
    overflow: Int[Array, "*B"]


def rasterize(
    vertices_px: Float[Array, "*B V 3"],
    faces: Int[Array, "F 3"],
    height: int,
    width: int,
    perspective: bool = False,
    fragments_per_pass: int = FRAGMENTS_PER_PASS,
) -> Fragments:
    """Draws a mesh with a z-buffer; both sides of a face are drawn.

    Args:
        vertices_px: x and y in pixels, and depth z > 0 in meters, as from
            `camera.orthographic_to_screen` and `camera.perspective_to_screen`. The center of the
            pixel in row i and column j is x = j + 0.5, y = i + 0.5.
        faces: vertex ids.
        height, width: of the image, pixels.
        perspective: whether x and y were divided by z, so that 1/z and not z is linear in the
            image.
        fragments_per_pass: length of one pass over the list of fragments; changes speed and memory
            only.

    Returns:
        Fragments. Depth and barycentrics are differentiable in x, y and z of the three corners of
        the visible face. The choice of that face has no gradient, hence neither have silhouettes.
        Of faces at equal depth the one with the lowest id is visible. Faces without area, outside
        the image, not finite, or with a corner at z <= 0 are never drawn.
    """
    batch = vertices_px.shape[:-2]

    def draw(vertices):
        face_ids, overflow = _visible_faces(
            jax.lax.stop_gradient(vertices), faces, height, width, perspective, fragments_per_pass
        )
        barycentrics, depth = _interpolate_depth(vertices, faces, face_ids, perspective)
        return Fragments(
            face_ids=face_ids, barycentrics=barycentrics, depth=depth, overflow=overflow
        )

    # One image after the other: on a CPU, scattering into a batch of images takes 1.5 times as
    # long.
    fragments = jax.lax.map(draw, vertices_px.reshape(math.prod(batch), *vertices_px.shape[-2:]))
    return jax.tree.map(lambda array: array.reshape(*batch, *array.shape[1:]), fragments)


def interpolate(
    fragments: Fragments,
    faces: Int[Array, "F 3"],
    attributes: Float[Array, "*#B V C"],
    background: float = 0.0,
) -> Float[Array, "*B H W C"]:
    """Interpolates vertex attributes (colors, normals, positions) at every pixel.

    Differentiable in `attributes` and, through the barycentrics, in the vertices that were drawn.

    Args:
        fragments: of `rasterize`.
        faces: vertex ids.
        attributes: one row per vertex; without batch dimensions, all images share them.
        background: value of pixels without a face.
    """
    *batch, height, width = fragments.face_ids.shape
    ids = fragments.face_ids.reshape(*batch, height * width)
    weights = fragments.barycentrics.reshape(*batch, height * width, 3)
    values = mesh.barycentric_points(attributes, faces, jnp.maximum(ids, 0), weights)
    values = jnp.where((ids >= 0)[..., None], values, background)
    return values.reshape(*batch, height, width, attributes.shape[-1])


def sample_depth(
    depth: Float[Array, "*B H W"], keypoints_2d: Float[Array, "*B K 2"]
) -> Float[Array, "*B K"]:
    """Depth at the pixels that contain keypoints.

    Differentiable in `depth`, but not in `keypoints_2d`.

    Args:
        depth: of `rasterize`, meters.
        keypoints_2d: x and y, pixels.

    Returns:
        Depth, meters; infinite in the background and outside the image.
    """
    height, width = depth.shape[-2:]
    pixels = jnp.floor(jax.lax.stop_gradient(keypoints_2d)).astype(jnp.int32)
    column, row = pixels[..., 0], pixels[..., 1]
    on_image = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    index = jnp.where(on_image, row * width + column, 0)
    values = jnp.take_along_axis(depth.reshape(*depth.shape[:-2], height * width), index, axis=-1)
    return jnp.where(on_image, values, jnp.inf)


def _visible_faces(
    vertices: Float[Array, "V 3"],
    faces: Int[Array, "F 3"],
    height: int,
    width: int,
    perspective: bool,
    fragments_per_pass: int,
) -> tuple[Int[Array, "{height} {width}"], Int[Array, ""]]:
    """Id of the nearest face at each pixel (-1: none), and the number of faces not drawn."""
    num_faces, num_pixels = faces.shape[0], height * width
    triangles = mesh.gather_faces(vertices, faces)
    setup, left, top, columns, count = _face_setup(triangles, faces, height, width, perspective)
    starts, total, overflow = lay_out_fragments(count, fragments_per_pass)
    lanes = jnp.arange(fragments_per_pass, dtype=jnp.uint32)

    def draw_pass(state):
        first, depth, face_ids = state
        # The face of a fragment is the last one that starts at or before it. The running sum counts
        # these faces.
        begins = jnp.where(starts > first, starts - first, 0)
        marks = jnp.zeros(fragments_per_pass, jnp.int32).at[begins].add(1, mode="drop")
        face = jnp.cumsum(marks, dtype=jnp.int32) - 1
        local = (first + lanes - starts[face]).astype(jnp.int32)
        row = local // columns[face]
        x, y = left[face] + local - row * columns[face], top[face] + row
        covered, z = _evaluate(setup[face], x + 0.5, y + 0.5, perspective)
        covered &= first + lanes < total
        # The barrier keeps the two uses of z below bit-identical.
        covered, z = jax.lax.optimization_barrier((covered, z))
        pixel = jnp.where(covered, y * width + x, num_pixels)
        nearer = depth.at[pixel].min(z, mode="drop")
        face_ids = jnp.where(nearer < depth, num_faces, face_ids)
        nearest = nearer.at[pixel].get(mode="fill", fill_value=-jnp.inf)
        seen = jnp.where(z == nearest, pixel, num_pixels)
        return first + fragments_per_pass, nearer, face_ids.at[seen].min(face, mode="drop")

    empty = (
        jnp.uint32(0),
        jnp.full(num_pixels, jnp.inf),
        jnp.full(num_pixels, num_faces, jnp.int32),
    )
    _, _, face_ids = jax.lax.while_loop(lambda state: state[0] < total, draw_pass, empty)
    face_ids = jnp.where(face_ids == num_faces, -1, face_ids)
    return face_ids.reshape(height, width), overflow


def lay_out_fragments(
    count: Int[Array, "F"], fragments_per_pass: int = FRAGMENTS_PER_PASS
) -> tuple[UInt32[Array, "F"], UInt32[Array, ""], Int[Array, ""]]:
    """Arranges the fragments of all faces in one list.

    Args:
        count: number of candidate fragments of each face.
        fragments_per_pass: see `rasterize`.

    Returns:
        Where the fragments of each face start, the length of the list, and the number of faces for
        which a 32-bit index has no room.
    """
    count = count.astype(jnp.uint32)
    ends = jnp.cumsum(count, dtype=jnp.uint32)
    starts = ends - count
    # A sum beyond 2^32 wraps around to a smaller number. The counter of the loop, which runs up to
    # one pass further, must not wrap either.
    last = jnp.uint32(2**32 - 1 - fragments_per_pass)
    fits = jnp.cumsum((ends < starts) | (ends > last)) == 0
    total = jnp.max(jnp.where(fits, ends, 0), initial=0)
    return jnp.where(fits, starts, total), total, ((count > 0) & ~fits).sum(dtype=jnp.int32)


def _face_setup(
    triangles: Float[Array, "F 3 3"],
    faces: Int[Array, "F 3"],
    height: int,
    width: int,
    perspective: bool,
) -> tuple[
    Float[Array, "F 16"], Int[Array, "F"], Int[Array, "F"], Int[Array, "F"], Int[Array, "F"]
]:
    """Edge functions and depths of every face, and its box: left, top, columns, pixel count.

    An edge function is a signed area, non-negative on the face's side of the edge. It is computed
    from the corner with the smaller id, so that both faces at an edge compute the same float and no
    pixel center falls between them.
    """
    x, y, z = jnp.moveaxis(triangles, -1, 0)
    start, end = (1, 2, 0), (2, 0, 1)  # edge k lies opposite to corner k
    swap = faces[:, start] > faces[:, end]
    low_x, high_x = jnp.where(swap, x[:, end], x[:, start]), jnp.where(swap, x[:, start], x[:, end])
    low_y, high_y = jnp.where(swap, y[:, end], y[:, start]), jnp.where(swap, y[:, start], y[:, end])
    area = (x[:, 1] - x[:, 0]) * (y[:, 2] - y[:, 0]) - (x[:, 2] - x[:, 0]) * (y[:, 1] - y[:, 0])
    sign = jnp.where(swap, -1.0, 1.0) * jnp.sign(area)[:, None]
    depth = 1.0 / z if perspective else z
    setup = [(low_y - high_y) * sign, (high_x - low_x) * sign, low_x, low_y, depth]
    setup = jnp.concatenate([*setup, jnp.zeros_like(area)[:, None]], axis=-1)

    drawn = jnp.isfinite(triangles).all((-2, -1)) & (z > 0.0).all(-1) & (area != 0.0)
    left, right = jnp.ceil(x.min(-1) - 0.5), jnp.floor(x.max(-1) - 0.5)
    top, bottom = jnp.ceil(y.min(-1) - 0.5), jnp.floor(y.max(-1) - 0.5)
    left, right = jnp.maximum(left, 0.0), jnp.minimum(right, width - 1.0)
    top, bottom = jnp.maximum(top, 0.0), jnp.minimum(bottom, height - 1.0)
    drawn &= (right >= left) & (bottom >= top)
    box = jnp.stack([left, top, right - left + 1.0, bottom - top + 1.0], axis=-1)
    box = jnp.where(drawn[:, None], box, 1.0).astype(jnp.int32)
    left, top, columns, rows = jnp.moveaxis(box, -1, 0)
    return setup, left, top, columns, jnp.where(drawn, columns * rows, 0)


def _evaluate(
    setup: Float[Array, "N 16"], x: Float[Array, "N"], y: Float[Array, "N"], perspective: bool
) -> tuple[Bool[Array, "N"], Float[Array, "N"]]:
    """Whether each point (x, y) lies on its face, and the depth there."""
    slope_x, slope_y, low_x, low_y, depth = (setup[:, k : k + 3] for k in range(0, 15, 3))
    areas = slope_x * (x[:, None] - low_x) + slope_y * (y[:, None] - low_y)
    total, weighted = areas.sum(-1), (areas * depth).sum(-1)
    covered = (areas >= 0.0).all(-1) & (total > 0.0)
    z = total / weighted if perspective else weighted / total
    return covered, jnp.where(covered, z, jnp.inf)


def _interpolate_depth(
    vertices: Float[Array, "V 3"],
    faces: Int[Array, "F 3"],
    face_ids: Int[Array, "H W"],
    perspective: bool,
) -> tuple[Float[Array, "H W 3"], Float[Array, "H W"]]:
    """Barycentrics and depth at the pixel centers, differentiable in the corners of their faces."""
    seen = face_ids >= 0
    centers = (jnp.arange(size) + 0.5 for size in face_ids.shape)
    rows, columns = jnp.meshgrid(*centers, indexing="ij")
    # Background pixels get a regular triangle, so that their zero cotangents are not multiplied by
    # infinity.
    regular = jnp.array([[0.0, 0.0, 1.0], [1.0, 0.0, 1.0], [0.0, 1.0, 1.0]], dtype=vertices.dtype)
    corners = mesh.gather_corners(vertices, faces, jnp.maximum(face_ids.ravel(), 0))
    corners = corners.reshape(*face_ids.shape, 3, 3)
    corners = jnp.where(seen[..., None, None], corners, regular[None, None])
    centers = jnp.where(seen[..., None], jnp.stack([columns, rows], axis=-1), 0.25)
    dx, dy = jnp.moveaxis(corners[..., :2] - centers[..., None, :], -1, 0)
    z = corners[..., 2]
    start, end = jnp.array([1, 2, 0]), jnp.array([2, 0, 1])  # edge k lies opposite to corner k
    areas = dx[..., start] * dy[..., end] - dx[..., end] * dy[..., start]
    areas *= jnp.sign(jax.lax.stop_gradient(areas.sum(-1, keepdims=True)))
    # Below zero by rounding at an edge; the depth stays between those of the corners.
    areas = jnp.where(areas < 0.0, 0.0, areas)
    weights = areas / z if perspective else areas
    total = weights.sum(-1, keepdims=True)
    barycentrics = weights / jnp.where(total > 0.0, total, 1.0)
    depth = jnp.where(seen, (barycentrics * z).sum(-1), jnp.inf)
    return jnp.where(seen[..., None], barycentrics, 0.0), depth
