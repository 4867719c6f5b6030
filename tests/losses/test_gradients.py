"""Every loss: its gradient against finite differences, and what a perfect prediction costs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

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

CUBE = np.array(
    [
        [0, 1, 3],
        [0, 3, 2],
        [4, 6, 7],
        [4, 7, 5],
        [0, 4, 5],
        [0, 5, 1],
        [2, 3, 7],
        [2, 7, 6],
        [0, 2, 6],
        [0, 6, 4],
        [1, 5, 7],
        [1, 7, 3],
    ]
)
CORNERS = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], np.float32)
ALL = jnp.ones((2, 6), bool)


def params(x):
    """Two samples' parameters from (2, 223) numbers."""
    hand_sizes, head_sizes = (10, 3, 45, 3), (100, 50, 3, 3, 3, 3)
    parts = jnp.split(x, np.cumsum([*hand_sizes, *head_sizes])[:-1], axis=-1)
    return HandParams(*parts[:4]), HeadParams(*parts[4:])


def seen(points):
    """Keypoints as a detector gives them, half as confident each time."""
    return jnp.concatenate(
        [points, 0.5 ** jnp.arange(points.shape[1])[None, :, None] * jnp.ones((2, 1, 1))], -1
    )


# Name: (shape of one sample's prediction, its loss against a target of that shape, what the target
# itself costs).
LOSSES = {
    "l1": ((6, 3), vertices.l1, 0),
    "centered_l1": ((6, 3), vertices.centered_l1, 0),
    "vertices": ((6, 3), lambda x, y: vertices.vertices_loss(x, 2 * x, y, 2 * y), 0),
    "rough_vertices": (
        (6, 3),
        lambda x, y: vertices.rough_vertices_loss(
            [x, x[:, :3]], [2 * x], [y, y[:, :3]], [2 * y], also_centered=True
        ),
        0,
    ),
    "keypoints": ((6, 3), lambda x, y: keypoints.keypoints_loss(x, 2 * x, x, y, 2 * y), 0),
    "reprojection": ((6, 2), lambda x, y: 224 * keypoints.reprojection_loss(x, seen(y)), 0),
    "params": ((223,), lambda x, y: parameters.params_loss(*params(x), *params(y)), 0),
    "contact": ((6,), lambda x, y: contact.contact_loss([x, 2 * x], [y > 0, y > 1]), None),
    "presence": ((6,), lambda x, y: contact.presence_loss(x[:, 0], y > 1, y > 2), None),
    "deviation": ((6, 3), lambda x, y: deformation.deviation_loss(x, y, emphasis=5.0), 0),
    "large_deformation": ((6, 3), lambda x, y: deformation.large_deformation_loss(x), None),
    "deformation_prior": ((6, 3), lambda x, y: deformation.deformation_prior(x), None),
    "adversarial": ((), lambda x, y: adversarial.adversarial_loss(x), None),
    "adversarial_paper": (
        (),
        lambda x, y: adversarial.adversarial_loss(x, non_saturating=False),
        None,
    ),
    "discriminator": (
        (),
        lambda x, y: adversarial.real_loss(x) + adversarial.fake_loss(3 * x),
        None,
    ),
    "depth": ((6,), lambda x, y: depth.depth_loss(jnp.exp(0.1 * x), jnp.exp(0.1 * y), ALL), 0),
    "depth_aligned": (
        (6,),
        lambda x, y: depth.depth_loss(
            jnp.exp(0.1 * x), 2 + 3 * jnp.exp(0.1 * y), ALL, align_shift=True
        ),
        0,
    ),
    "touch": ((6, 3), lambda x, y: touch.touch_loss(x, y, jnp.ones((2, 6)), jnp.ones((2, 6))), 0),
    "touch_squared": (
        (6, 3),
        lambda x, y: touch.touch_loss(x, y, jnp.ones((2, 6)), jnp.ones((2, 6)), squared=True),
        0,
    ),
    "collision": (
        (6, 3),
        lambda x, y: touch.collision_loss(0.5 * x, jnp.stack([CORNERS, CORNERS]), CUBE),
        None,
    ),
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


@pytest.mark.parametrize(
    "name", [name for name, (_, _, floor) in LOSSES.items() if floor is not None]
)
def test_a_perfect_prediction_costs_nothing_and_stays(name):
    shape, loss, floor = LOSSES[name]
    target = jnp.asarray(np.random.default_rng(4).normal(size=(2, *shape)), jnp.float32)
    value, gradient = jax.jit(jax.value_and_grad(lambda x: loss(x, target).sum()))(target)
    assert value == pytest.approx(floor, abs=1e-5)
    assert np.isfinite(gradient).all()
