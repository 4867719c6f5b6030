"""Which vertex of a head lies on the other side of which, and which coefficients make the mirrored
shape. NumPy.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial import cKDTree

from dice_jax.body_models.lbs import BodyModel

_AXIS = np.array([-1.0, 1.0, 1.0])


def mirror_vertices(model: BodyModel) -> Int[np.ndarray, "V"]:
    """For each vertex, the vertex of the template nearest to its mirror image in the plane x = 0."""
    vertices = np.asarray(model.v_template, np.float64)
    return cKDTree(vertices).query(vertices * _AXIS)[1]


def mirror_coefficients(model: BodyModel, first: int, last: int) -> Float[np.ndarray, "S S"]:
    """The map `coefficients @ map` to the mirrored shape, for the blend shapes from `first` to
    before `last`.

    Exact where mirrored shapes are made of the same blend shapes, else the closest in the
    least-squares sense.
    """
    basis = np.asarray(model.shapedirs, np.float64)[..., first:last]
    reflected = basis[mirror_vertices(model)] * _AXIS[:, None]
    solution, *_ = np.linalg.lstsq(
        basis.reshape(-1, last - first), reflected.reshape(-1, last - first), rcond=None
    )
    return solution.T
