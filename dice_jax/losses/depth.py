"""L_depth: rendered depth agrees with a depth estimate of the image (paper eq. 4).

Depths are compared keypoint by keypoint: the rendered depth is sampled at the PROJECTED keypoints,
the pseudo depth at the DETECTED ones. So the loss is meaningful even while mesh and image are not
yet aligned.

Two formulas. `silog` is the paper's. It ignores the scale of the pseudo depth but not its shift,
and the paper's depth (Marigold) has an unknown shift: there the true scene has a loss, and a scene
with another relief has a smaller one. `affine_invariant` ignores both, and is the default.
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
# Meters. With it `affine_invariant` is as large as `silog` of the same small error, so that one
# weight serves both: sqrt(2) times the usual deviation of the depth over the keypoints of a scene
# (median over 64 open scenes: 0.032).
RELIEF = 0.045
FLAT = 1e-3  # meters; a hand and a head are never as flat as this
ROUNDING = 1e-5  # relative to the depth; float32 resolves 1e-7


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


def affine_invariant(
    pred: Float[Array, "*B K"],
    target: Float[Array, "*B K"],
    visible: Bool[Array, "*B K"],
) -> Float[Array, "*B"]:
    """Disagreement of two depths whose scale and shift are unknown, per image.

    Both are standardized: mean 0 and standard deviation 1 over the visible keypoints, as in the
    scale- and shift-invariant loss of MiDaS (Ranftl et al. 2020). The loss is 0 where one is the
    other times a positive scale plus a shift, and positive elsewhere. It does not depend on the
    relief of `pred`, so that a flatter scene is no better; below `FLAT` it tends to that of two
    uncorrelated depths. (A fit of `target` to `pred` by least squares would make every loss a
    multiple of the relief of `pred`, smallest for a flat scene.)

    Args:
        pred: rendered depth at the projected keypoints, meters.
        target: pseudo depth at the detected keypoints, any positive scale and any shift.
        visible: keypoints that count; an image with fewer than three, between which any two depths
            agree or are inverted, gives 0.

    Returns:
        `RELIEF * sqrt(1 - r)`, meters, with the correlation r of both depths.
    """
    count = jnp.sum(visible, axis=-1, keepdims=True)
    mean = lambda x: jnp.sum(x, axis=-1, keepdims=True) / jnp.maximum(count, 1)

    def standardize(
        depth: Float[Array, "*B K"], limit: Float[Array, "*B 1"]
    ) -> tuple[Float[Array, "*B K"], Float[Array, "*B 1"]]:
        """The depth over its deviation, or over `limit` if that is larger; and what the mean of its
        squares then lacks to 1."""
        depth = jnp.where(visible, depth, 0.0)
        centered = jnp.where(visible, depth - mean(depth), 0.0)
        variance = mean(centered**2)
        divisor = jnp.maximum(variance, limit**2)
        return centered / jnp.sqrt(divisor), 1.0 - variance / divisor

    size = jnp.max(jnp.where(visible, jnp.abs(target), 0.0), axis=-1, keepdims=True)
    smallest = jnp.sqrt(jnp.finfo(target.dtype).tiny)
    pred, pred_rest = standardize(pred, jnp.full_like(size, FLAT))
    target, target_rest = standardize(target, jnp.maximum(ROUNDING * size, 2 * smallest))
    # 1 - r as a mean of squares, which is exactly 0 for equal depths.
    squares = (mean((pred - target) ** 2) + pred_rest + target_rest)[..., 0] / 2
    positive = (squares > 0) & (count[..., 0] > 2)
    # The gradient of sqrt is infinite at 0, the optimum.
    return jnp.where(positive, RELIEF * jnp.sqrt(jnp.where(positive, squares, 1.0)), 0.0)


FORMULAS = {"affine_invariant": affine_invariant, "silog": silog}


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
        hand_vertices, head_vertices: head-centered, meters.
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
