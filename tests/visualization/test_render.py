"""Renderings: silhouettes equal OpenCV's filled polygons; light and shadow behave physically."""

import cv2
import numpy as np
import pytest
import trimesh
from hypothesis import given
from hypothesis import strategies as st

from dice_jax.io.meshes import NamedMesh
from dice_jax.visualization import captions, palette, render, shading

SIZE = 96


def ball(name="ball", radius=0.1, center=(0.0, 0.0, 0.0), color=(0.8, 0.8, 0.8)):
    mesh = trimesh.creation.icosphere(subdivisions=3, radius=radius)
    vertices = (mesh.vertices + center).astype(np.float32)
    colors = np.tile(color, (len(vertices), 1))
    return NamedMesh(name, vertices, mesh.faces.astype(np.int32), colors)


def draw(*meshes, transl=(48.0, 48.0), **options):
    return render.render(list(meshes), 350.0, np.array(transl), SIZE, **options)


def test_the_silhouette_is_the_union_of_the_projected_faces(meshes):
    hand = meshes[0]
    scale, transl = 420.0, np.array([60.3, 50.7])
    drawn = render.render([hand], scale, transl, SIZE)
    fine = 16  # OpenCV fills at 16 times the size; the mean of a block is the coverage of a pixel
    mask = np.zeros((SIZE * fine, SIZE * fine), np.uint8)
    for triangle in (hand.vertices[:, :2] * scale + transl)[hand.faces] * fine - 0.5:
        cv2.fillConvexPoly(mask, np.rint(triangle).astype(np.int32), 1)
    coverage = mask.reshape(SIZE, fine, SIZE, fine).mean(axis=(1, 3))
    alpha = drawn[..., 3]
    assert np.abs(alpha - coverage).mean() < 0.01
    assert np.minimum(alpha, coverage).sum() > 0.93 * np.maximum(alpha, coverage).sum()


def test_moving_the_camera_by_whole_pixels_shifts_the_rendering():
    pair = ball("near", radius=0.04, center=(-0.05, -0.06, -0.2)), ball("far")
    moved = draw(
        *pair, transl=(56.0, 44.0)
    )  # multiples of 4, because wide blurs run at quarter size
    np.testing.assert_allclose(np.roll(draw(*pair), (-4, 8), axis=(0, 1)), moved, atol=2e-3)


def test_the_nearer_mesh_hides_the_other():
    red = ball("red", center=(0, 0, -0.3), color=(0.9, 0.1, 0.1))
    blue = ball("blue", color=(0.1, 0.1, 0.9))
    center = draw(red, blue, shadow=False)[48, 48, :3]
    assert center[0] > 2 * center[2]
    twice = draw(blue, blue, shadow=False)
    np.testing.assert_allclose(draw(blue, shadow=False), twice, atol=1e-5)


def test_light_comes_from_the_upper_left_and_shadows_only_darken():
    near = ball("near", radius=0.04, center=(-0.05, -0.06, -0.2))
    far = ball("far")
    plain, shadowed = draw(near, far, shadow=False), draw(near, far)
    assert (shadowed[..., :3] <= plain[..., :3] + 1e-4).all()
    assert (plain - shadowed)[..., :3].max() > 0.1
    alone = draw(far, shadow=False)[..., :3].mean(axis=-1)
    assert alone[36, 36] > alone[60, 60] + 0.05


def test_a_convex_mesh_casts_no_shadow_on_its_lit_side():
    towards_light = (slice(30, 50), slice(30, 50))
    one = ball()
    difference = draw(one, one, shadow=False)[towards_light] - draw(one, one)[towards_light]
    assert np.abs(difference).max() < 1e-3


@given(
    st.lists(st.floats(-1, 1), min_size=3, max_size=3).filter(lambda v: np.linalg.norm(v) > 1e-2)
)
def test_look_at_is_an_upright_rotation_that_looks_along_the_direction(direction):
    rotation = shading.look_at(np.array(direction))
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-9)
    assert np.linalg.det(rotation) == pytest.approx(1.0)
    forward = rotation @ (direction / np.linalg.norm(direction))
    np.testing.assert_allclose(forward, [0, 0, 1], atol=1e-9)
    down = rotation @ [0.0, 1.0, 0.0]
    assert down[1] >= -1e-9 and abs(down[0]) < 1e-6


@pytest.mark.parametrize("stops", [palette.CONTACT, palette.DEFORMATION])
def test_ramps_darken_monotonically(stops):
    luminance = palette.ramp(np.linspace(0, 1, 50), stops) @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(luminance) < 0).all()


def test_heat_is_the_base_color_at_zero_and_the_ramp_from_0_2():
    colors = palette.heat(np.array([0.0, np.nan, 0.2, 1.0]), palette.NEUTRAL, palette.CONTACT)
    np.testing.assert_allclose(colors[:2], [palette.NEUTRAL] * 2)
    np.testing.assert_allclose(colors[2:], palette.ramp(np.array([0.2, 1.0]), palette.CONTACT))


@given(st.floats(1e-3, 1e6))
def test_rounded_scales_have_one_digit_and_are_at_most_twice_the_value(value):
    scale = captions.round_up(value)
    assert value * (1 - 1e-6) <= scale <= 2.0 * value * (1 + 1e-6)
    assert float(f"{scale:.0e}") == pytest.approx(scale)  # one significant digit
