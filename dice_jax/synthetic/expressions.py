"""Strong facial expressions: eyes shut, mouth wide open, cheeks puffed.

The expression components of a head have no names. The coefficients that shut the eyes or puff the
cheeks are those that move the landmarks, or the cheeks, like that and little else (ridge
regression). They are found once for each head model.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Float

from dice_jax.body_models import BodyModel
from dice_jax.synthetic.sample import Face, sample_face

# Of iBUG's landmarks: upper and lower lid, for both points of each eye.
_LIDS = ((37, 41), (38, 40), (43, 47), (44, 46))
_NUM_BETAS, _MAX_COEFFICIENT = 100, 3.5
_PUFF = 0.006  # meters
# How often a face is strong for no reason that the hand gives.
_SHUT, _WIDE_OPEN, _PUFFED, _GRIMACE = 0.10, 0.07, 0.04, 0.12


class FaceSampler:
    """Draws faces of one head model: `sample_face`, and strong expressions now and then."""

    def __init__(self, head: BodyModel):
        basis = np.asarray(head.shapedirs, np.float64)[..., _NUM_BETAS:]
        vertices = np.asarray(head.v_template, np.float64)
        corners = np.asarray(head.faces)[np.asarray(head.lmk_faces_idx)]
        weights = np.asarray(head.lmk_bary_coords, np.float64)
        on_landmarks = lambda values: np.einsum("lk,lk...->l...", weights, values[corners])
        landmarks, moves = on_landmarks(vertices), on_landmarks(basis)
        wanted, importance = np.zeros_like(landmarks), np.ones(len(landmarks))
        importance[17:27] = 0.3  # brows may move
        for upper, lower in _LIDS:
            wanted[upper] = 0.95 * (landmarks[lower] - landmarks[upper])
            importance[upper] = 3.0
        self.shut = _fit(moves, wanted, importance, ridge=1e-3)
        cheeks = np.asarray(head.region("cheek_left") | head.region("cheek_right"))
        outward = np.stack(
            [np.sign(vertices[:, 0]), 0 * vertices[:, 0], 0.5 + 0 * vertices[:, 0]], 1
        )
        self.puff = _fit(basis, _PUFF * outward * cheeks[:, None], np.ones(len(cheeks)), ridge=5e-3)

    def __call__(self, rng: np.random.Generator) -> Face:
        """A face: mostly calm, sometimes with one of the strong expressions."""
        face = sample_face(rng)
        chance = rng.uniform(size=4) < (_SHUT, _WIDE_OPEN, _PUFFED, _GRIMACE)
        if chance[3]:
            wild = np.clip(rng.normal(0, 1.1, 50), -2.5, 2.5)
            face = dataclasses.replace(face, expression=wild)
        for happens, name in zip(chance[:3], ("eyes_shut", "mouth_open", "puffed")):
            if happens:
                face = self.with_expression(face, name, rng)
        return face

    def with_expression(self, face: Face, name: str, rng: np.random.Generator) -> Face:
        """The face with shut eyes, a wide open mouth or puffed cheeks; "" leaves it as it is."""
        if name == "eyes_shut":
            added = self.shut * rng.uniform(0.75, 1.05)
        elif name == "puffed":
            added = self.puff * rng.uniform(0.5, 1.1)
        elif name == "mouth_open":
            jaw = np.array([rng.uniform(0.22, 0.5), *(face.jaw_pose[1:])])
            return dataclasses.replace(face, jaw_pose=jaw)
        else:
            return face
        limit = _MAX_COEFFICIENT
        return dataclasses.replace(face, expression=np.clip(face.expression + added, -limit, limit))


def _fit(
    basis: Float[np.ndarray, "N 3 50"],
    wanted: Float[np.ndarray, "N 3"],
    importance: Float[np.ndarray, "N"],
    ridge: float,
) -> Float[np.ndarray, "50"]:
    """Coefficients whose displacements come closest to the wanted ones."""
    design = (basis * importance[:, None, None]).reshape(-1, basis.shape[-1])
    target = (wanted * importance[:, None]).ravel()
    gram = design.T @ design + ridge**2 * np.eye(basis.shape[-1])
    return np.linalg.solve(gram, design.T @ target)
