"""The camera head, the presence head and the discriminators."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.random_variables import init

from dice_jax.constants import CROP_SIZE
from dice_jax.models.config import CameraConfig
from dice_jax.models.discriminators import HandDiscriminator, HeadDiscriminator
from dice_jax.models.heads import INITIAL_SCALE, CameraHead, PresenceHead
from dice_jax.structs import HandParams, HeadParams


@pytest.fixture
def inputs(rng):
    """Inputs of a camera head, by its source."""
    shapes = {"mesh": (5, 843, 3), "image": (5, 49, 8)}
    return {name: jnp.asarray(rng.normal(size=s), jnp.float32) for name, s in shapes.items()}


@pytest.mark.parametrize("source", ["mesh", "image"])
def test_the_camera_starts_at_the_center_of_the_crop_and_depends_on_its_source(inputs, source):
    module = CameraHead(CameraConfig(source=source))
    camera, variables = module.init_with_output(jax.random.key(0), inputs[source])
    np.testing.assert_allclose(camera.transl, CROP_SIZE / 2, atol=12.0)
    np.testing.assert_allclose(camera.scale, INITIAL_SCALE, rtol=0.1)
    gradient = jax.grad(lambda x: module.apply(variables, x).scale.sum())(inputs[source])
    assert np.abs(gradient).max() > 0


def test_the_scale_of_the_released_camera_is_ten_times_the_magnitude_of_a_linear_map(inputs, rng):
    module = CameraHead(CameraConfig(variant="release"))
    variables = init(module, rng, inputs["mesh"])
    p = jax.tree.map(np.float64, variables["params"])
    x = np.float64(inputs["mesh"])
    for name in ("per_token", "hidden", "output"):
        x = x @ p[name]["kernel"] + p[name]["bias"]
        x = x[..., 0] if name == "per_token" else x
    camera = module.apply(variables, inputs["mesh"])
    np.testing.assert_allclose(camera.scale, 10 * np.abs(x[:, 0]), rtol=1e-4)
    np.testing.assert_allclose(camera.transl, x[:, 1:], rtol=1e-4, atol=1e-4)


def test_the_presence_logit_is_a_weighted_sum_over_cells(inputs, rng):
    module, grid = PresenceHead((6, 4)), inputs["image"]
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


@pytest.mark.parametrize("with_neck", [True, False])
def test_discriminators_depend_on_shape_and_pose_but_not_on_orientation_or_translation(
    rng, with_neck
):
    hand, head = hand_and_head(rng)
    head_names = {"betas", "expression", "jaw_pose"} | ({"neck_pose"} if with_neck else set())
    for module, params, names in zip(
        (HandDiscriminator(), HeadDiscriminator(with_neck)),
        (hand, head),
        ({"betas", "hand_pose"}, head_names),
        strict=True,
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
            (HandDiscriminator(), HeadDiscriminator(with_neck=False)),
            hand_and_head(rng),
            strict=True,
        )
    ]
    assert shapes == [{(55, 256), (256, 64), (64, 1)}, {(153, 256), (256, 64), (64, 1)}]
