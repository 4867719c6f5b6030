"""The plate on an elastic foundation: equilibrium, volume, and stiffness over bone."""

import numpy as np
import pytest

from dice_jax.synthetic import skin_response

SIDE = 33
SPACING = 0.003  # meters


@pytest.fixture(scope="module")
def sheet():
    """A flat sheet of skin, its triangles and the area around each vertex."""
    x, y = np.meshgrid(np.arange(SIDE), np.arange(SIDE), indexing="ij")
    vertices = SPACING * np.stack([x, y, 0 * x], -1).reshape(-1, 3).astype(float)
    corner = (np.arange(SIDE - 1)[:, None] * SIDE + np.arange(SIDE - 1)).ravel()
    lower = np.stack([corner, corner + SIDE, corner + 1], 1)
    upper = np.stack([corner + SIDE, corner + SIDE + 1, corner + 1], 1)
    return vertices, np.concatenate([lower, upper]), np.full(len(vertices), SPACING**2)


def press(sheet, softness, depth=0.004, radius=0.007):
    vertices, faces, areas = sheet
    inner = np.flatnonzero((np.abs(vertices[:, :2] - vertices[:, :2].mean(0)) < 0.044).all(1))
    soft = np.full(len(vertices), softness)
    patch = skin_response.SkinPatch(vertices, faces, inner, areas, soft)
    from_middle = np.linalg.norm(vertices[inner] - vertices.mean(0), axis=1)
    pressed = from_middle < radius
    return patch.response(pressed, np.full(len(inner), depth)), from_middle, pressed


def test_pressed_skin_is_where_the_hand_leaves_it_and_far_skin_stays(sheet):
    moved, from_middle, pressed = press(sheet, softness=1.0)
    np.testing.assert_allclose(moved[pressed], 0.004)
    assert np.abs(moved[from_middle > 0.042]).max() < 0.0004


def test_soft_skin_bulges_beside_the_dent_and_bone_does_not(sheet):
    soft, _, _ = press(sheet, softness=1.0)
    bone, _, _ = press(sheet, softness=0.0)
    assert soft.min() < -0.00015 and soft.min() >= -0.4 * 0.004 - 1e-9
    assert np.abs(bone.min()) < 0.5 * np.abs(soft.min())


def test_most_of_the_volume_of_a_soft_dent_comes_out_beside_it(sheet, monkeypatch):
    volume = lambda softness: press(sheet, softness)[0].sum()
    soft, bone = volume(1.0), volume(0.0)
    monkeypatch.setattr(skin_response, "_RETURNED", 0.0)
    np.testing.assert_allclose(soft / volume(1.0), 1 - 0.65, atol=0.1)
    np.testing.assert_allclose(bone, volume(0.0))


def test_dents_are_wider_in_soft_tissue(sheet):
    widths = []
    for softness in (0.0, 0.5, 1.0):
        moved, from_middle, _ = press(sheet, softness)
        widths.append(from_middle[moved > 0.002].max())
    assert widths[0] <= widths[1] <= widths[2] and widths[0] < widths[2]


def test_without_pressure_nothing_moves_and_doubling_doubles(sheet):
    vertices, faces, areas = sheet
    ids = np.arange(200, 600)
    patch = skin_response.SkinPatch(vertices, faces, ids, areas, np.ones(len(vertices)))
    none = patch.response(np.zeros(400, bool), np.ones(400))
    assert not none.any()
    pressed = np.zeros(400, bool)
    pressed[190:195] = True
    once, twice = (patch.response(pressed, np.full(400, d)) for d in (0.001, 0.002))
    np.testing.assert_allclose(twice, 2 * once, atol=1e-12)
