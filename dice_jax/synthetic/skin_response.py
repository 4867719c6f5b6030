"""Quasi-static answer of soft tissue to an indentation: it gives way, and bulges beside the dent.

The skin is a thin plate on an elastic foundation: bending resists kinks, and the foundation is the
tissue below, stiff over bone. Where the hand touches, the skin takes the place that the hand leaves
it; elsewhere it moves so that the energy is smallest while most of the volume that the dent takes
comes out beside it.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
import scipy.sparse.linalg as spl
from jaxtyping import Bool, Float, Int
from scipy.spatial import KDTree

# Decay lengths of the skin around a dent, meters: on bone, and added by the softest tissue.
_BONE_LENGTH, _SOFT_LENGTH = 0.0045, 0.0085
# Fraction of the dent's volume that comes out beside it in soft tissue. The rest is pressed away
# deeper inside, where a surface does not show it.
_RETURNED = 0.65
_BULGE_WIDTH = 0.012  # meters from the pressed skin
# Height of the bulge: relative to the depth of the dent, and meters.
_MAX_BULGE, _HIGHEST_BULGE = 0.35, 0.0025


class SkinPatch:
    """The part of a head's skin around a hand.

    Args:
        vertices: of the posed head, meters.
        faces: triangles of the head.
        ids: vertices of the patch; all others stay where they are.
        areas: around each vertex of the head, square meters.
        softness: 0 on bone, 1 for the softest tissue, of each vertex of the head.
    """

    def __init__(
        self,
        vertices: Float[np.ndarray, "V 3"],
        faces: Int[np.ndarray, "F 3"],
        ids: Int[np.ndarray, "N"],
        areas: Float[np.ndarray, "V"],
        softness: Float[np.ndarray, "V"],
    ):
        self.ids, self._areas = ids, np.maximum(areas[ids], 1e-8)
        self._softness, self._vertices = softness[ids], vertices[ids]
        position = np.full(len(vertices), -1)
        position[ids] = np.arange(len(ids))
        local = position[faces[(position[faces] >= 0).any(1)]]
        corners = vertices[faces[(position[faces] >= 0).any(1)]]
        laplacian = _laplacian(local, corners, len(ids))
        length = _BONE_LENGTH + _SOFT_LENGTH * self._softness
        bending = laplacian.T @ sp.diags(1 / self._areas) @ laplacian
        self._energy = (bending + sp.diags(self._areas / length**4)).tocsc()

    def response(
        self, pressed: Bool[np.ndarray, "N"], distance: Float[np.ndarray, "N"]
    ) -> Float[np.ndarray, "N"]:
        """How far every vertex moves inward, meters; negative where the skin bulges.

        Args:
            pressed: vertices that the hand holds at `distance`.
            distance: inward, meters; only that of pressed vertices counts.
        """
        result = np.where(pressed, distance, 0.0)
        free = np.flatnonzero(~pressed)
        if not pressed.any() or not len(free):
            return result
        solve = spl.factorized(self._energy[free][:, free])
        result[free] = solve(-self._energy[free] @ result)
        # A pressure on the skin beside the dent, as of tissue that flows there, brings the volume
        # back.
        returned = _RETURNED * (self._softness * self._areas * np.maximum(result, 0)).sum()
        away = KDTree(self._vertices[pressed]).query(self._vertices[free])[0]
        beside = self._softness[free] * self._areas[free] * np.exp(-((away / _BULGE_WIDTH) ** 2))
        lift = solve(beside)
        scale = -returned / max((self._areas[free] * lift).sum(), 1e-12)
        bulged = result[free] + scale * lift
        highest = min(_MAX_BULGE * distance[pressed].max(), _HIGHEST_BULGE)
        result[free] = np.maximum(bulged, -highest)
        return result


def _laplacian(faces, corners, count):
    """Cotangent Laplacian (count, count), integrated; vertices outside (-1) stay at zero."""
    rows, columns, values = [], [], []
    diagonal = np.zeros(count)
    for k in range(3):
        a, b, opposite = (corners[:, (k + step) % 3] for step in (0, 1, 2))
        i, j = faces[:, k], faces[:, (k + 1) % 3]
        first, second = a - opposite, b - opposite
        cross = np.linalg.norm(np.cross(first, second), axis=-1)
        cotangent = np.clip((first * second).sum(-1) / np.maximum(cross, 1e-12), 0.05, 5.0) / 2
        for start, end in ((i, j), (j, i)):
            inside = start >= 0
            np.add.at(diagonal, start[inside], cotangent[inside])
            both = inside & (end >= 0)
            rows.append(start[both])
            columns.append(end[both])
            values.append(-cotangent[both])
    off = sp.csr_array(
        (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))), (count, count)
    )
    return off + sp.diags(diagonal)
