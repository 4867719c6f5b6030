"""The meshes of a prediction or a person, with names and colors, for files and renderings."""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Float, Int

from dice_jax.person import Person
from dice_jax.structs import Prediction


@dataclasses.dataclass(frozen=True)
class NamedMesh:
    """A mesh with a name and colors.

    Attributes:
        name: "head", "hand", "right_hand" or "left_hand".
        vertices: meters, camera axes.
        faces: triangles, counter-clockwise seen from outside.
        colors: sRGB in [0, 1].
        attributes: values per vertex, by name.
        morphs: by name, displacements (meters) that turn `vertices` into another shape.
    """

    name: str
    vertices: Float[np.ndarray, "V 3"]
    faces: Int[np.ndarray, "F 3"]
    colors: Float[np.ndarray, "V 3"]
    attributes: dict[str, Float[np.ndarray, "V"]] = dataclasses.field(default_factory=dict)
    morphs: dict[str, Float[np.ndarray, "V 3"]] = dataclasses.field(default_factory=dict)

    def normals(self) -> Float[np.ndarray, "V 3"]:
        """Unit normals, averaged over the adjacent faces weighted by area.

        In NumPy, so that writing a file compiles nothing.
        """
        corners = self.vertices[self.faces].astype(np.float64)
        area_vectors = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        per_corner, indices = np.repeat(area_vectors, 3, axis=0), self.faces.ravel()
        sums = [np.bincount(indices, column, len(self.vertices)) for column in per_corner.T]
        normals = np.stack(sums, axis=-1)
        length = np.linalg.norm(normals, axis=-1, keepdims=True)
        return (normals / np.maximum(length, 1e-30)).astype(np.float32)


def prediction_meshes(
    prediction: Prediction,
    hand_faces: Int[np.ndarray, "F 3"],
    head_faces: Int[np.ndarray, "G 3"],
    hand_colors: Float[np.ndarray, "778 3"],
    head_colors: Float[np.ndarray, "5023 3"],
) -> list[NamedMesh]:
    """The meshes of hand and deformed head of one image.

    Args:
        prediction: of one image, without leading dimensions.
        hand_faces, head_faces: of the body models; pass them reversed for a mirrored prediction.
        hand_colors, head_colors: sRGB in [0, 1].

    Returns:
        Hand and head. Both have the attribute `contact` (probability); the head also has the
        attribute `deformation` (meters) and the morph `undeformed`.
    """
    return [
        _hand_mesh(
            "hand", prediction.hand_vertices, hand_faces, hand_colors, prediction.hand_contact_probs
        ),
        _head_mesh(
            prediction.deformed_head_vertices,
            prediction.deformations,
            head_faces,
            head_colors,
            prediction.head_contact_probs,
        ),
    ]


def person_meshes(
    person: Person,
    hand_faces: Int[np.ndarray, "F 3"],
    head_faces: Int[np.ndarray, "G 3"],
    hand_color: Float[np.ndarray, "3"],
    head_color: Float[np.ndarray, "3"],
) -> list[NamedMesh]:
    """The meshes of the hands and of the deformed head of a person, hands first.

    Args:
        person: with at least a head or a hand.
        hand_faces, head_faces: of the body models.
        hand_color, head_color: sRGB in [0, 1].

    Returns:
        What the person has of "right_hand", "left_hand" and "head", with the attributes and morphs
        of `prediction_meshes`.
    """
    meshes = []
    for hand in sorted(person.hands, key=lambda hand: hand.side, reverse=True):
        # The mirror image of a mesh needs faces of reversed orientation to face outwards.
        faces = hand_faces[:, ::-1] if hand.side == "left" else hand_faces
        colors = np.tile(hand_color, (len(hand.vertices), 1))
        name = f"{hand.side}_hand"
        meshes.append(_hand_mesh(name, hand.vertices, faces, colors, hand.contact_probs))
    if person.head is not None:
        head = person.head
        colors = np.tile(head_color, (len(head.vertices), 1))
        deformed = head.deformed_vertices
        meshes.append(
            _head_mesh(deformed, head.deformations, head_faces, colors, head.contact_probs)
        )
    return meshes


def _hand_mesh(name: str, vertices, faces, colors, contact_probs) -> NamedMesh:
    vertices, contact = (np.asarray(x, np.float32) for x in (vertices, contact_probs))
    return NamedMesh(name, vertices, faces, colors, {"contact": contact})


def _head_mesh(deformed_vertices, deformations, faces, colors, contact_probs) -> NamedMesh:
    vertices, deformations, contact = (
        np.asarray(x, np.float32) for x in (deformed_vertices, deformations, contact_probs)
    )
    attributes = {"contact": contact, "deformation": np.linalg.norm(deformations, axis=-1)}
    return NamedMesh("head", vertices, faces, colors, attributes, {"undeformed": deformations})
