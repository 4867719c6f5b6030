"""The result files of one person."""

import dataclasses

import numpy as np
import pytest
import trimesh
from support.detected_person import SHAPE, left_hand

from dice_jax.body_models import assets
from dice_jax.io import images, params
from dice_jax.visualization import demo_results


def draw(person, **options):
    photo = np.full((*SHAPE, 3), 90, np.uint8)
    faces = (np.asarray(model.faces) for model in (assets.load_hand(), assets.load_head()))
    return demo_results.draw(person, photo, *faces, title="a title", **options)


@pytest.fixture(scope="module")
def results(person):
    two_handed = dataclasses.replace(person, hands=(*person.hands, left_hand(person.hands[0])))
    return draw(two_handed, full_frame=True)


@pytest.mark.parametrize(
    ("mesh_format", "mesh_files"),
    [
        ("glb", {"a.glb"}),
        ("ply", {"a_head.ply", "a_right_hand.ply", "a_left_hand.ply"}),
        ("none", set()),
    ],
)
def test_files_are_named_after_their_content(results, tmp_path, mesh_format, mesh_files):
    written = demo_results.write(results, tmp_path / "a", mesh_format)
    pictures = {"a_overlay.png", "a_side.png", "a_photo.png"}
    names = pictures | {"a_params.npz", "a_params.json", "a_contact.csv"} | mesh_files
    assert {path.name for path in written} == {path.name for path in tmp_path.iterdir()} == names
    assert len(written) == len(names)


def test_the_report_has_the_meshes_pictures_and_contacts(results, tmp_path):
    touching = dataclasses.replace(results, contacts=[("right", "palm", "left cheek", 0.84, 12)])
    demo_results.write_report(tmp_path / "a.html", touching, "me & you", "right hand touches")
    page = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert "me &amp; you" in page and "right palm on left cheek: 84%" in page
    assert page.count("data:image/jpeg") == len(results.drawings)
    for name in ("right_hand", "left_hand", "head", "contact", "deformation", "plain"):
        assert f'"{name}"' in page


def test_files_hold_the_drawings_the_meshes_and_the_arrays(results, person, tmp_path):
    demo_results.write(results, tmp_path / "a")
    for name, drawing in results.drawings.items():
        np.testing.assert_array_equal(images.read_image(tmp_path / f"a_{name}.png"), drawing)
    assert results.drawings["photo"].shape == (*SHAPE, 3)
    scene = trimesh.load(tmp_path / "a.glb").geometry
    assert set(scene) == {"right_hand", "left_hand", "head"}
    to_gltf = [1, -1, -1]
    deformed = person.head.deformed_vertices * to_gltf
    np.testing.assert_allclose(scene["head"].vertices, deformed, atol=1e-6)
    arrays = params.read_params(tmp_path / "a_params.npz")
    np.testing.assert_array_equal(arrays["head_vertices"], person.head.vertices)


@pytest.mark.parametrize(
    ("pictures", "full_frame", "names"),
    [
        ("overlay", False, {"overlay"}),
        ("none", False, set()),
        ("none", True, {"photo"}),
        ("all", False, {"overlay", "side"}),
    ],
)
def test_only_the_pictures_that_are_asked_for_are_drawn(person, pictures, full_frame, names):
    results = draw(person, pictures=pictures, full_frame=full_frame)
    assert set(results.drawings) == names
    assert len(results.meshes) == 2 and "head_vertices" in results.arrays


def test_a_person_without_hands_or_without_a_head_is_drawn(person):
    for change, prefix in (({"hands": ()}, "head"), ({"head": None}, "right_hand")):
        results = draw(dataclasses.replace(person, **change))
        assert [mesh.name for mesh in results.meshes] == [prefix]
        assert set(results.drawings) == {"overlay", "side"}
        parts = {name.split("_vertices")[0] for name in results.arrays if "_vertices" in name}
        assert parts == {prefix}
        left, right = np.split(results.drawings["overlay"], 2, axis=1)
        assert (left != right).any()
