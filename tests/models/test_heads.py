"""Camera, presence and discriminators."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.random_variables import init

from dice_jax.models.config import CameraConfig
from dice_jax.models.discriminators import HandDiscriminator, HeadDiscriminator
from dice_jax.models.heads import CameraHead, PresenceHead
from dice_jax.structs import HandParams, HeadParams


@pytest.fixture
def inputs(rng):
    return jnp.asarray(rng.normal(size=(5, 843, 3)), jnp.float32), jnp.asarray(
        rng.normal(size=(5, 49, 8)), jnp.float32
    )


@pytest.mark.parametrize("source", ["mesh", "image"])
def test_camera_starts_at_the_middle_of_the_crop_and_sees_its_source(inputs, rng, source):
    module = CameraHead(CameraConfig(source=source))
    camera, variables = module.init_with_output(jax.random.key(0), *inputs)
    np.testing.assert_allclose(camera.transl, 112.0, atol=12.0)
    np.testing.assert_allclose(camera.scale, 550.0, rtol=0.1)
    positions, grid = jax.grad(lambda x: module.apply(variables, *x).scale.sum())(inputs)
    assert (np.abs(positions).max() > 0) == (source == "mesh") and (np.abs(grid).max() > 0) == (
        source == "image"
    )


def test_released_camera_is_ten_times_the_magnitude_of_a_linear_map(inputs, rng):
    module = CameraHead(CameraConfig(variant="release"))
    variables = init(module, rng, *inputs)
    p = jax.tree.map(np.float64, variables["params"])
    x = np.float64(inputs[0])
    for name in ("per_token", "hidden", "output"):
        x = x @ p[name]["kernel"] + p[name]["bias"]
        x = x[..., 0] if name == "per_token" else x
    camera = module.apply(variables, *inputs)
    np.testing.assert_allclose(camera.scale, 10 * np.abs(x[:, 0]), rtol=1e-4)
    np.testing.assert_allclose(camera.transl, x[:, 1:], rtol=1e-4, atol=1e-4)


def test_presence_is_a_weighted_sum_over_cells(inputs, rng):
    module, grid = PresenceHead((6, 4)), inputs[1]
    variables = init(module, rng, grid)
    order = rng.permutation(49)
    moved = jax.tree.map(lambda x: x, variables)
    moved["params"]["output"]["kernel"] = variables["params"]["output"]["kernel"][order]
    logits = module.apply(variables, grid)
    assert logits.shape == (5,)
    np.testing.assert_allclose(module.apply(moved, grid[:, order]), logits, atol=1e-5)


def hand_and_head(rng, batch=4):
    normal = lambda size: jnp.asarray(rng.normal(size=(batch, size)), jnp.float32)
    return HandParams(*map(normal, (10, 3, 45, 3))), HeadParams(*map(normal, (100, 50, 3, 3, 3, 3)))


def test_discriminators_look_at_shape_and_pose_but_not_at_place(rng):
    hand, head = hand_and_head(rng)
    seen = {"betas", "hand_pose"}, {"betas", "expression", "jaw_pose"}
    for module, params, names in zip(
        (HandDiscriminator(), HeadDiscriminator()), (hand, head), seen, strict=True
    ):
        variables = init(module, rng, params)
        gradient = jax.grad(lambda x, m=module, v=variables: m.apply(v, x).sum())(params)
        for name in params.__dataclass_fields__:
            assert (np.abs(getattr(gradient, name)).max() > 0) == (name in names), name
        assert module.apply(variables, params).shape == (4,)


def test_discriminator_sizes(rng):
    shapes = [
        {tuple(x.shape) for x in jax.tree.leaves(init(module, rng, params)) if x.ndim == 2}
        for module, params in zip(
            (HandDiscriminator(), HeadDiscriminator()), hand_and_head(rng), strict=True
        )
    ]
    assert shapes == [{(55, 256), (256, 64), (64, 1)}, {(153, 256), (256, 64), (64, 1)}]
