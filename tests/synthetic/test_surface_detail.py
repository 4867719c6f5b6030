"""Mesh colors: the order of the samples, their interpolation, and where nails and lashes are."""

import jax.numpy as jnp
import numpy as np
import pytest

from dice_jax.body_models import load_hand, load_head
from dice_jax.geometry.rasterize import Fragments
from dice_jax.synthetic import shading, surface_detail
from dice_jax.synthetic.surface_detail import NUM_SAMPLES, STEPS


@pytest.fixture(scope="module")
def hand():
    return load_hand()


@pytest.fixture(scope="module")
def hand_masks(hand):
    return surface_detail.hand_detail(hand).masks


def test_the_index_of_a_sample_is_its_place_in_the_list():
    i, j = np.rint(STEPS * surface_detail.sample_barycentrics()[:, :2]).astype(int).T
    assert len(i) == NUM_SAMPLES
    np.testing.assert_array_equal(surface_detail.sample_index(i, j), np.arange(NUM_SAMPLES))


def test_detail_that_is_linear_in_a_triangle_is_interpolated_exactly(rng):
    coefficients = rng.uniform(0, 1, (4, 3, 3))  # of each corner of four triangles
    detail = np.einsum("sk,fkc->fsc", surface_detail.sample_barycentrics(), coefficients)
    weights = rng.dirichlet(np.ones(3), (9, 7))
    weights[0, :3] = np.eye(3)
    ids = rng.integers(-1, 6, (9, 7))
    fragments = Fragments(
        face_ids=jnp.asarray(ids, jnp.int32),
        barycentrics=jnp.asarray(weights, jnp.float32),
        depth=jnp.ones((9, 7)),
        overflow=jnp.zeros((), jnp.int32),
    )
    found = np.asarray(shading._detail(jnp.asarray(detail, jnp.float32), fragments))
    expected = np.einsum("ijk,ijkc->ijc", weights, coefficients[np.clip(ids, 0, 3)])
    expected[(ids < 0) | (ids > 3)] = 1
    np.testing.assert_allclose(found, expected, atol=2e-6)


def test_turned_triangles_keep_their_detail_where_it_is(rng):
    detail = rng.uniform(0, 1, (3, NUM_SAMPLES, 3)).astype(np.float32)
    np.testing.assert_array_equal(surface_detail.flipped(surface_detail.flipped(detail)), detail)
    corners = np.flatnonzero(surface_detail.sample_barycentrics().max(1) == 1)
    first_to_last = np.argmax(surface_detail.sample_barycentrics()[corners], 1)
    turned = surface_detail.flipped(detail)
    for sample, corner in zip(corners, first_to_last):
        other = corners[first_to_last == 2 - corner][0]
        np.testing.assert_array_equal(turned[:, sample], detail[:, other])


def test_nails_are_on_the_back_of_the_finger_tips(hand, hand_masks):
    faces, vertices = np.asarray(hand.faces), np.asarray(hand.v_template)
    centers = vertices[faces].mean(1)
    area = hand_masks["nail"].mean(1)
    for tip in np.asarray(hand.tip_ids):
        near = np.linalg.norm(centers - vertices[tip], axis=1) < 0.02
        assert area[near].max() > 0.9
    tips = vertices[np.asarray(hand.tip_ids)]
    distance = np.linalg.norm(centers[:, None] - tips, axis=-1).min(1)
    assert distance[area > 0.05].max() < 0.022
    fingers = centers[:, 2] < 0.06
    assert (centers[fingers & (area > 0.5), 1] > tips[1:, 1].min() - 0.003).all()


def test_masks_are_fractions_and_cover_little_of_the_skin(hand_masks):
    head_masks = surface_detail.head_detail(load_head()).masks
    for name, mask in {**hand_masks, **head_masks}.items():
        assert mask.shape[1] == NUM_SAMPLES and np.isfinite(mask).all(), name
        assert mask.min() >= 0 and 0.5 < mask.max() < 3.1, name
        assert 0 < (mask > 0.5).mean() < 0.12, name


def test_strength_zero_leaves_the_color_as_it_is(hand):
    detail = surface_detail.hand_detail(hand)
    none = detail.color(dict.fromkeys(detail.masks, (0.0, 0.0, 0.0)))
    np.testing.assert_array_equal(none, np.ones((len(hand.faces), NUM_SAMPLES, 3)))
