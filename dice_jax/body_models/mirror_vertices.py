"""Left-right mirroring of a head: corresponding vertices and blend coefficients (NumPy)."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial import KDTree

from dice_jax.body_models.lbs import BodyModel

_AXIS = np.array([-1.0, 1.0, 1.0])


def mirror_vertices(model: BodyModel) -> Int[np.ndarray, "V"]:
    """For each vertex, the id of the template vertex nearest to its mirror image in x = 0."""
    vertices = np.asarray(model.v_template, np.float64)
    return np.asarray(KDTree(vertices).query(vertices * _AXIS)[1])


def mirror_coefficients(model: BodyModel, first: int, last: int) -> Float[np.ndarray, "S S"]:
    """The matrix that maps coefficients to those of the mirrored shape, `coefficients @ matrix`.

    Exact if mirrored shapes are in the span of the blend shapes, else the least-squares solution.

    Args:
        model: a head model.
        first: index of the first blend shape.
        last: index after the last blend shape.
    """
    basis = np.asarray(model.shapedirs, np.float64)[..., first:last]
    reflected = basis[mirror_vertices(model)] * _AXIS[:, None]
    basis, reflected = (x.reshape(-1, last - first) for x in (basis, reflected))
    # The normal equations take a hundredth of the time of `lstsq`, and blend shapes are nearly
    # orthogonal.
    return (np.linalg.pinv(basis.T @ basis, hermitian=True) @ (basis.T @ reflected)).T
