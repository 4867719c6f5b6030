"""Every loss: gradients equal finite differences, and a perfect prediction has loss 0."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import trimesh
from jax.test_util import check_grads

from dice_jax.constants import CROP_SIZE
from dice_jax.losses import (
    adversarial,
    contact,
    deformation,
    depth,
    keypoints,
    parameters,
    touch,
    vertices,
)
from dice_jax.structs import HandParams, HeadParams

CUBE = trimesh.creation.box((2.0, 2.0, 2.0))
FACES = jnp.asarray(CUBE.faces)
CORNERS = jnp.asarray(np.stack([CUBE.vertices] * 2), jnp.float32)
ALL = jnp.ones((2, 6), bool)


def params(x):
    """Parameters of two samples from an array (2, 223)."""
    hand_sizes, head_sizes = (10, 3, 45, 3), (100, 50, 3, 3, 3, 3)
    parts = jnp.split(x, np.cumsum([*hand_sizes, *head_sizes])[:-1], axis=-1)
    return HandParams(*parts[:4]), HeadParams(*parts[4:])


def with_confidence(points):
    """Keypoints with confidences, each half of the one before."""
    confidence = 0.5 ** np.arange(points.shape[1], dtype=np.float32)
    confidence = np.broadcast_to(confidence[None, :, None], (*points.shape[:2], 1))
    return jnp.concatenate([points, confidence], -1)


def over(values, threshold):
    """Labels, 0 or 1."""
    return jnp.asarray(values > threshold, jnp.float32)


def rough_vertices_loss(x, y):
    return vertices.rough_vertices_loss(
        [x, x[:, :3]], [2 * x], [y, y[:, :3]], [2 * y], also_centered=True
    )


def reprojection_loss(x, y):
    return CROP_SIZE * keypoints.reprojection_loss(x, with_confidence(y))


def contact_loss(x, y):
    return contact.contact_loss([x, 2 * x], [over(y, 0), over(y, 1)])


def saturating_loss(x, y):
    return adversarial.adversarial_loss(x, non_saturating=False)


def discriminator_loss(x, y):
    return adversarial.real_loss(x) + adversarial.fake_loss(3 * x)


def silog_loss(x, y):
    return depth.silog(jnp.exp(0.1 * x), jnp.exp(0.1 * y), ALL)


def affine_depth_loss(x, y):
    return depth.affine_invariant(jnp.exp(0.1 * x), 2 + 3 * jnp.exp(0.1 * y), ALL)


def touch_loss(x, y, squared=False):
    certain = jnp.ones((2, 6))
    return touch.touch_loss(x, y, certain, certain, squared=squared)


def collision_loss(x, y, **options):
    return touch.collision_loss(0.5 * x, CORNERS, FACES, **options)


# Name: (shape of a prediction, loss of (prediction, target), whether a perfect one has loss 0).
LOSSES = {
    "l1": ((6, 3), vertices.l1, True),
    "centered_l1": ((6, 3), vertices.centered_l1, True),
    "vertices": ((6, 3), lambda x, y: vertices.vertices_loss(x, 2 * x, y, 2 * y), True),
    "rough_vertices": ((6, 3), rough_vertices_loss, True),
    "keypoints": ((6, 3), lambda x, y: keypoints.keypoints_loss(x, 2 * x, x, y, 2 * y), True),
    "reprojection": ((6, 2), reprojection_loss, True),
    "params": ((223,), lambda x, y: parameters.params_loss(*params(x), *params(y)), True),
    "contact": (
        (6,),
        lambda x, y: contact.contact_loss([x, 2 * x], [over(y, 0), over(y, 1)]),
        False,
    ),
    "presence": ((6,), lambda x, y: contact.presence_loss(x[:, 0], over(y, 1), over(y, 2)), False),
    "deviation": ((6, 3), lambda x, y: deformation.deviation_loss(x, y, emphasis=5.0), True),
    "large_deformation": ((6, 3), lambda x, y: deformation.large_deformation_loss(x), False),
    "large_deformation_l1": (
        (6, 3),
        lambda x, y: deformation.large_deformation_loss(x, l1=True),
        False,
    ),
    "deformation_prior": ((6, 3), lambda x, y: deformation.deformation_prior(x), False),
    "deformation_prior_l1": (
        (6, 3),
        lambda x, y: deformation.deformation_prior(x, l1=True),
        False,
    ),
    "adversarial": ((), lambda x, y: adversarial.adversarial_loss(x), False),
    "adversarial_paper": ((), saturating_loss, False),
    "discriminator": ((), discriminator_loss, False),
    "depth_silog": ((6,), silog_loss, True),
    "depth_affine": ((6,), affine_depth_loss, True),
    "touch": ((6, 3), touch_loss, True),
    "touch_squared": ((6, 3), functools.partial(touch_loss, squared=True), True),
    "collision": ((6, 3), collision_loss, False),
    "collision_paper": ((6, 3), functools.partial(collision_loss, over_colliding=True), False),
    "collision_release": ((6, 3), functools.partial(collision_loss, squared=True), False),
}


@pytest.mark.parametrize("name", LOSSES)
def test_gradient_equals_finite_differences(name):
    shape, loss, _ = LOSSES[name]
    rng = np.random.default_rng(3)
    prediction, target = rng.normal(size=(2, 2, *shape)).astype(np.float32)
    total = jax.jit(lambda x: loss(x, target).sum())
    gradient = jax.grad(total)(prediction)
    assert np.isfinite(gradient).all() and np.abs(gradient).max() > 0
    check_grads(total, (jnp.asarray(prediction),), 1, modes=["rev"], atol=3e-2, rtol=3e-2, eps=5e-4)


@pytest.mark.parametrize("name", [name for name, (_, _, zero) in LOSSES.items() if zero])
def test_a_perfect_prediction_has_loss_zero_and_a_finite_gradient(name):
    shape, loss, _ = LOSSES[name]
    target = jnp.asarray(np.random.default_rng(4).normal(size=(2, *shape)), jnp.float32)
    value, gradient = jax.jit(jax.value_and_grad(lambda x: loss(x, target).sum()))(target)
    assert value == pytest.approx(0.0, abs=1e-5)
    assert np.isfinite(gradient).all()
