"""The two meshes of a prediction on their way to a file or a picture."""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Float, Int

from dice_jax.structs import Prediction


@dataclasses.dataclass(frozen=True)
class NamedMesh:
    """A mesh with a name and colors: camera axes, meters.

    Attributes:
        name: of the node, "hand" or "head".
        vertices, faces: the surface, counter-clockwise seen from outside.
        colors: sRGB in [0, 1].
        attributes: a value for each vertex, by name.
        morphs: displacements that turn `vertices` into another shape, by name.
    """

    name: str
    vertices: Float[np.ndarray, "V 3"]
    faces: Int[np.ndarray, "F 3"]
    colors: Float[np.ndarray, "V 3"]
    attributes: dict[str, Float[np.ndarray, "V"]] = dataclasses.field(default_factory=dict)
    morphs: dict[str, Float[np.ndarray, "V 3"]] = dataclasses.field(default_factory=dict)

    def normals(self) -> Float[np.ndarray, "V 3"]:
        """Unit normals, averaged over the faces by area; in NumPy, so that writing a file compiles
        nothing.
        """
        corners = self.vertices[self.faces].astype(np.float64)
        area_vectors = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        gather = lambda axis: np.bincount(
            self.faces.ravel(), np.repeat(area_vectors[:, axis], 3), len(self.vertices)
        )
        normals = np.stack([gather(axis) for axis in range(3)], axis=-1)
        return (
            normals / np.maximum(np.linalg.norm(normals, axis=-1, keepdims=True), 1e-30)
        ).astype(np.float32)


def prediction_meshes(
    prediction: Prediction,
    hand_faces: Int[np.ndarray, "F 3"],
    head_faces: Int[np.ndarray, "G 3"],
    hand_colors: Float[np.ndarray, "778 3"],
    head_colors: Float[np.ndarray, "5023 3"],
) -> list[NamedMesh]:
    """The two meshes of one image, hand first: the deformed head, its dent as the morph
    "undeformed".

    Args:
        prediction: of one image, without leading dimensions.
        hand_faces, head_faces: reversed by the caller where the prediction is mirrored.
        hand_colors, head_colors: sRGB in [0, 1].
    """
    take = lambda x: np.asarray(x, np.float32)
    deformations = take(prediction.deformations)
    return [
        NamedMesh(
            "hand",
            take(prediction.hand_vertices),
            hand_faces,
            hand_colors,
            {"contact": take(prediction.hand_contact_probs)},
        ),
        NamedMesh(
            "head",
            take(prediction.deformed_head_vertices),
            head_faces,
            head_colors,
            {
                "contact": take(prediction.head_contact_probs),
                "deformation": np.linalg.norm(deformations, axis=-1),
            },
            {"undeformed": deformations},
        ),
    ]
