"""The two meshes of a prediction, with names and colors, for files and renderings."""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Float, Int

from dice_jax.structs import Prediction


@dataclasses.dataclass(frozen=True)
class NamedMesh:
    """A mesh with a name and colors.

    Attributes:
        name: "hand" or "head".
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
