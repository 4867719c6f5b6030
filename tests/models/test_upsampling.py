"""Learned and fixed up-sampling start as the same map, and a mesh hierarchy can be a constant of a
network.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.random_variables import init

from dice_jax.body_models.hierarchy import build_hierarchy
from dice_jax.models.config import UpsamplingConfig
from dice_jax.models.upsampling import MeshLevels, Upsampling


@pytest.fixture(scope="module")
def hierarchy():
    """An open 10 x 10 sheet, bent, with 70 and then 50 vertices."""
    x, y = np.meshgrid(np.linspace(0, 1, 10), np.linspace(0, 1, 10))
    vertices = np.stack([x, y, 0.3 * np.sin(2 * x + y)], -1).reshape(-1, 3)
    corner = (np.arange(9)[:, None] * 10 + np.arange(9)).reshape(-1, 1)
    faces = np.concatenate([corner + [0, 1, 11], corner + [0, 11, 10]])
    return build_hierarchy(vertices, faces, (70, 50))


@pytest.fixture
def values(hierarchy, rng):
    return jnp.asarray(rng.normal(size=(2, 50, 3)), jnp.float32)


def upsampling(hierarchy, **config):
    return Upsampling(MeshLevels(hierarchy), UpsamplingConfig(**config))


def test_learned_starts_as_the_barycentric_map(hierarchy, values):
    learned, fixed = upsampling(hierarchy, learned=True), upsampling(hierarchy, learned=False)
    variables = learned.init({"params": jax.random.key(0)}, values)
    for a, b in zip(learned.apply(variables, values), fixed.apply({}, values), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
    assert not fixed.init({}, values)  # no weights


def test_learned_is_a_linear_layer_over_vertices_with_a_bias_each(hierarchy, values, rng):
    module = upsampling(hierarchy, learned=True, barycentric_init=False)
    params = init(module, rng, values)["params"]
    fine, middle, coarse = module.apply({"params": params}, values)
    assert fine.shape == (2, 100, 3) and middle.shape == (2, 70, 3) and coarse is values
    expected = (
        np.asarray(params["kernel_1"]).T @ np.asarray(middle)
        + np.asarray(params["bias_1"])[:, None]
    )
    np.testing.assert_allclose(fine, expected, atol=1e-5)


def test_kept_vertices_keep_their_values(hierarchy, values):
    fine, middle, coarse = upsampling(hierarchy, learned=False).apply({}, values)
    np.testing.assert_allclose(middle[:, hierarchy.down_ids[1]], coarse, atol=1e-6)
    np.testing.assert_allclose(fine[:, hierarchy.down_ids[0]], middle, atol=1e-6)


def test_levels_compare_by_content(hierarchy):
    other = hierarchy.replace(up_weights=tuple(w[::-1].copy() for w in hierarchy.up_weights))
    a, b, c = MeshLevels(hierarchy), MeshLevels(hierarchy), MeshLevels(other)
    assert a == b and hash(a) == hash(b) and a != c
