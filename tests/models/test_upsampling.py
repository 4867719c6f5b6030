"""Learned and barycentric up-sampling, and mesh hierarchies as constants of a network."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.random_variables import init

from dice_jax.body_models.hierarchy import build_hierarchy
from dice_jax.models.upsampling import MeshLevels, Upsampling


@pytest.fixture(scope="module")
def hierarchy():
    """An open curved sheet of 10 x 10 vertices, and its levels of 70 and 50 vertices."""
    x, y = np.meshgrid(np.linspace(0, 1, 10), np.linspace(0, 1, 10))
    vertices = np.stack([x, y, 0.3 * np.sin(2 * x + y)], -1).reshape(-1, 3)
    corner = (np.arange(9)[:, None] * 10 + np.arange(9)).reshape(-1, 1)
    faces = np.concatenate([corner + [0, 1, 11], corner + [0, 11, 10]])
    return build_hierarchy(vertices, faces, (70, 50))


@pytest.fixture
def values(hierarchy, rng):
    return jnp.asarray(rng.normal(size=(2, 50, 3)), jnp.float32)


def upsampling(hierarchy, kind):
    return Upsampling(MeshLevels(hierarchy), kind)


def test_learned_up_sampling_starts_as_the_barycentric_map(hierarchy, values):
    learned, fixed = (upsampling(hierarchy, kind) for kind in ("learned", "barycentric"))
    variables = learned.init({"params": jax.random.key(0)}, values)
    for a, b in zip(learned.apply(variables, values), fixed.apply({}, values), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
    assert not fixed.init({}, values)  # no weights


def test_learned_up_sampling_is_a_linear_layer_over_vertices_with_one_bias_per_vertex(
    hierarchy, values, rng
):
    module = upsampling(hierarchy, "learned")
    params = init(module, rng, values)["params"]
    fine, middle, coarse = module.apply({"params": params}, values)
    assert fine.shape == (2, 100, 3) and middle.shape == (2, 70, 3) and coarse is values
    kernel, bias = (np.asarray(params[name]) for name in ("kernel_1", "bias_1"))
    expected = kernel.T @ np.asarray(middle) + bias[:, None]
    np.testing.assert_allclose(fine, expected, atol=1e-5)


def test_barycentric_up_sampling_preserves_the_values_of_coarse_vertices(hierarchy, values):
    fine, middle, coarse = upsampling(hierarchy, "barycentric").apply({}, values)
    np.testing.assert_allclose(middle[:, hierarchy.down_ids[1]], coarse, atol=1e-6)
    np.testing.assert_allclose(fine[:, hierarchy.down_ids[0]], middle, atol=1e-6)


def test_mesh_levels_compare_by_content(hierarchy):
    other = hierarchy.replace(up_weights=tuple(w[::-1].copy() for w in hierarchy.up_weights))
    a, b, c = MeshLevels(hierarchy), MeshLevels(hierarchy), MeshLevels(other)
    assert a == b and hash(a) == hash(b) and a != c
