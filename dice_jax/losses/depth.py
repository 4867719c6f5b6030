"""L_depth: rendered depth agrees with a depth estimate of the image (paper eq. 4).

Depths are compared keypoint by keypoint: the rendered depth is sampled at the PROJECTED keypoints,
the pseudo depth at the DETECTED ones. So the loss is meaningful even while mesh and image are not
yet aligned.
"""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from dice_jax.array_types import Array
from dice_jax.constants import CROP_SIZE
from dice_jax.geometry.camera import orthographic_to_screen
from dice_jax.geometry.rasterize import rasterize, sample_depth
from dice_jax.structs import Camera

# Meters. A keypoint is a joint below the skin and so lies behind the visible surface, at a wrist by
# about 2 cm.
JOINT_TO_SKIN = 0.03
MIN_ALIGNED_DEPTH = 1e-3  # meters; the logarithm needs positive depths


def silog(
    pred: Float[Array, "*B K"],
    target: Float[Array, "*B K"],
    visible: Bool[Array, "*B K"],
    eps: float = 1e-7,
) -> Float[Array, "*B"]:
    """Scale-invariant log depth loss, paper eq. 4, per image.

    Args:
        pred: rendered depth at the projected keypoints, meters.
        target: pseudo depth at the detected keypoints, any positive scale.
        visible: keypoints that count; an image with fewer than two gives 0.
        eps: added inside the logarithms.

    Returns:
        Standard deviation (n - 1) of the log ratio over the visible keypoints.
    """
    log = lambda depth: jnp.log(jnp.where(visible, depth, 1.0) + eps)
    ratio = log(pred) - log(target)
    count = jnp.sum(visible, axis=-1)
    mean = jnp.sum(jnp.where(visible, ratio, 0.0), axis=-1) / jnp.maximum(count, 1)
    squares = jnp.where(visible, (ratio - mean[..., None]) ** 2, 0.0)
    variance = jnp.sum(squares, axis=-1) / jnp.maximum(count - 1, 1)
    # The gradient of sqrt is infinite at 0, the optimum.
    positive = variance > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, variance, 1.0)), 0.0)


def align_scale_and_shift(
    source: Float[Array, "*B K"], target: Float[Array, "*B K"], visible: Bool[Array, "*B K"]
) -> Float[Array, "*B K"]:
    """Scales and shifts `source` to fit `target` by least squares over the visible keypoints.

    Depth from a single image is often known only up to a scale AND a shift (Marigold), and `silog`
    ignores the scale alone. The scale is kept non-negative, because a depth map turned inside out
    does not agree with the image.

    Args:
        source: pseudo depth, any affine unit.
        target: metric depth to fit it to.
        visible: keypoints that count.

    Returns:
        scale * source + shift, meters, at least 1 mm.
    """
    count = jnp.maximum(jnp.sum(visible, axis=-1, keepdims=True), 1)
    mean = lambda x: jnp.sum(jnp.where(visible, x, 0.0), axis=-1, keepdims=True) / count
    source_mean, target_mean = mean(source), mean(target)
    covariance = mean((source - source_mean) * (target - target_mean))
    variance = mean((source - source_mean) ** 2)
    scale = jnp.maximum(covariance, 0.0) / jnp.where(variance > 0, variance, 1.0)
    return jnp.maximum(scale * (source - source_mean) + target_mean, MIN_ALIGNED_DEPTH)


def depth_loss(
    rendered: Float[Array, "*B K"],
    pseudo: Float[Array, "*B K"],
    visible: Bool[Array, "*B K"],
    *,
    align_shift: bool = False,
) -> Float[Array, "*B"]:
    """L_depth per image: `silog`, optionally after `align_scale_and_shift` of the pseudo depth.

    Args:
        rendered: depth at the projected keypoints, meters.
        pseudo: depth at the detected keypoints, any positive scale; any shift if `align_shift`.
        visible: keypoints that count.
        align_shift: whether to fit scale and shift of the pseudo depth first.
    """
    if align_shift:
        pseudo = align_scale_and_shift(pseudo, rendered, visible)
    return silog(rendered, pseudo, visible)


def render_keypoint_depth(
    hand_vertices: Float[Array, "*B H 3"],
    head_vertices: Float[Array, "*B F 3"],
    hand_faces: Int[Array, "_ 3"],
    head_faces: Int[Array, "_ 3"],
    camera: Camera,
    keypoints_3d: Float[Array, "*B K 3"],
    *,
    occlusion_aware: bool = False,
) -> tuple[Float[Array, "*B K"], Bool[Array, "*B K"]]:
    """Renders the depth of the visible surface at the projected keypoints.

    Differentiable in the vertices and the camera.

    Args:
        hand_vertices, head_vertices: head-centered, meters, the head undeformed.
        hand_faces, head_faces: their triangles.
        camera: scaled orthography; the scene is placed 1 m in front of it.
        keypoints_3d: where to sample, head-centered, meters.
        occlusion_aware: leave out a keypoint that lies more than 3 cm behind the rendered surface,
            since something else occludes it there. (In the paper such a keypoint has the depth of
            its occluder, in the rendering as in the image.)

    Returns:
        depth, meters, > 0.
        visible: the keypoint projects into the image and onto the meshes.
    """
    vertices = jnp.concatenate([hand_vertices, head_vertices], axis=-2)
    faces = jnp.concatenate([hand_faces, head_faces + hand_vertices.shape[-2]], axis=0)
    screen = orthographic_to_screen(vertices, camera.scale, camera.transl)
    keypoints = orthographic_to_screen(keypoints_3d, camera.scale, camera.transl)
    depth = sample_depth(rasterize(screen, faces, CROP_SIZE, CROP_SIZE).depth, keypoints[..., :2])
    visible = jnp.isfinite(depth)
    depth = jnp.where(visible, depth, 1.0)
    if occlusion_aware:
        visible &= keypoints[..., 2] < depth + JOINT_TO_SKIN
    return depth, visible
