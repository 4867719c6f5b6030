"""The meshes of a person: what is there, which way they face, and the undeformed head."""

import dataclasses

import numpy as np
import pytest
import trimesh
from support.detected_person import left_hand

from dice_jax.body_models import assets
from dice_jax.io import meshes
from dice_jax.visualization import palette


def named(person):
    hand_faces, head_faces = (
        np.asarray(model.faces) for model in (assets.load_hand(), assets.load_head())
    )
    found = meshes.person_meshes(person, hand_faces, head_faces, palette.HAND, palette.HEAD)
    return {mesh.name: mesh for mesh in found}


@pytest.fixture(scope="module")
def two_handed(person):
    return named(dataclasses.replace(person, hands=(left_hand(person.hands[0]), *person.hands)))


def test_hands_come_first_and_what_is_missing_has_no_mesh(person, two_handed):
    assert list(two_handed) == ["right_hand", "left_hand", "head"]
    assert list(named(person)) == ["right_hand", "head"]
    assert list(named(dataclasses.replace(person, hands=()))) == ["head"]
    assert list(named(dataclasses.replace(person, head=None))) == ["right_hand"]


def test_all_meshes_face_outwards(two_handed):
    for mesh in two_handed.values():
        closed = trimesh.Trimesh(mesh.vertices, mesh.faces, process=False)
        closed.fill_holes()
        assert closed.volume > 0, mesh.name
    volumes = [
        trimesh.Trimesh(mesh.vertices, mesh.faces, process=False).volume
        for mesh in (two_handed["right_hand"], two_handed["left_hand"])
    ]
    assert volumes[0] == pytest.approx(volumes[1], rel=1e-4)


def test_the_head_is_deformed_and_its_morph_undoes_it(person, two_handed):
    head = two_handed["head"]
    np.testing.assert_allclose(head.vertices, person.head.deformed_vertices, atol=1e-7)
    undeformed = head.vertices + head.morphs["undeformed"]
    np.testing.assert_allclose(undeformed, person.head.vertices, atol=1e-7)
    lengths = np.linalg.norm(person.head.deformations, axis=-1)
    np.testing.assert_allclose(head.attributes["deformation"], lengths, rtol=1e-5)
    assert lengths.max() > 1e-3


def test_contact_and_colors_belong_to_the_vertices(person, two_handed):
    for part in ("right_hand", "left_hand"):
        contact = two_handed[part].attributes["contact"]
        np.testing.assert_array_equal(contact, person.hands[0].contact_probs)
        np.testing.assert_allclose(two_handed[part].colors, [palette.HAND] * 778)
    np.testing.assert_array_equal(
        two_handed["head"].attributes["contact"], person.head.contact_probs
    )
    np.testing.assert_allclose(two_handed["head"].colors, [palette.HEAD] * 5023)
