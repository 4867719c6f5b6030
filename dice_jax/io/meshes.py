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
    hand_vertices, head_vertices, hand_contact, head_contact, deformations = (
        np.asarray(array, np.float32)
        for array in (
            prediction.hand_vertices,
            prediction.deformed_head_vertices,
            prediction.hand_contact_probs,
            prediction.head_contact_probs,
            prediction.deformations,
        )
    )
    hand = NamedMesh("hand", hand_vertices, hand_faces, hand_colors, {"contact": hand_contact})
    distance = np.linalg.norm(deformations, axis=-1)
    head_attributes = {"contact": head_contact, "deformation": distance}
    morphs = {"undeformed": deformations}
    head = NamedMesh("head", head_vertices, head_faces, head_colors, head_attributes, morphs)
    return [hand, head]


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
        vertices = np.asarray(hand.vertices, np.float32)
        # The mirror image of a mesh needs faces of reversed orientation to face outwards.
        faces = hand_faces[:, ::-1] if hand.side == "left" else hand_faces
        colors = np.tile(hand_color, (len(vertices), 1))
        contact = np.asarray(hand.contact_probs, np.float32)
        meshes.append(NamedMesh(f"{hand.side}_hand", vertices, faces, colors, {"contact": contact}))
    if person.head is not None:
        head = person.head
        deformations = np.asarray(head.deformations, np.float32)
        vertices = np.asarray(head.vertices, np.float32) - deformations
        attributes = {
            "contact": np.asarray(head.contact_probs, np.float32),
            "deformation": np.linalg.norm(deformations, axis=-1),
        }
        colors = np.tile(head_color, (len(vertices), 1))
        morphs = {"undeformed": deformations}
        meshes.append(NamedMesh("head", vertices, head_faces, colors, attributes, morphs))
    return meshes
