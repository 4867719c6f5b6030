"""The points of a body model that mean the same as those of the landmark networks.

The points of MediaPipe's face mesh are points on the triangles of the head. Its 21 points of a hand
are compared with the joints and finger tips of the hand model: on photographs, offsets between the
two did not bring the fitted hands nearer to points that people had marked. On our renderings the
networks mark other places (finger tips 10 mm nearer to the knuckles), so there are offsets for
these, found by `tools/calibrate_landmarks.py`.
"""

from __future__ import annotations

import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Float, Int

from dice_jax.array_types import Array
from dice_jax.body_models import anatomy, assets
from dice_jax.body_models.landmarks import FACE_68
from dice_jax.body_models.lbs import BodyModel
from dice_jax.body_models.mirror_vertices import mirror_coefficients, mirror_vertices
from dice_jax.body_models.simplify import closest_points
from dice_jax.fitting.hand_points import HandPoints, hand_points
from dice_jax.fitting.head_fit import FacePoints
from dice_jax.fitting.partial_skinning import PartialModel, centroid, on_surface
from dice_jax.untrusted_files import npz

_DATA = Path(__file__).parent / "data"
_NEAREST = 60  # triangles, by their centers, among which the closest point is searched


class FitModels(struct.PyTreeNode):
    """Body models prepared for the fit.

    Attributes:
        hand, face: the points that are compared with detections.
        hand_model, head_model: the body models.
        mirror_ids: for each head vertex, the one at its mirror image.
        mirror_betas, mirror_expression: `coefficients @ matrix` are those of the mirrored head.
    """

    hand: HandPoints
    face: FacePoints
    hand_model: BodyModel
    head_model: BodyModel
    mirror_ids: Int[Array, "5023"]
    mirror_betas: Float[Array, "100 100"]
    mirror_expression: Float[Array, "50 50"]


@functools.lru_cache(maxsize=4)
def _prepare(hand_id: int, head_id: int, rendered: bool, models: _Kept) -> FitModels:
    hand_model, head_model = models.pair
    hand_offsets, face_offsets = rendered_offsets(hand_model, head_model)
    if not rendered:
        hand_offsets, face_offsets = np.zeros_like(hand_offsets), np.zeros_like(face_offsets)
    faces_idx, bary_coords = map(jnp.asarray, face_mesh_points(head_model))
    some = jnp.array(sorted({*range(0, len(faces_idx), 3), *FACE_68}))
    center, weights = centroid(head_model)
    mirror = lambda *part: jnp.asarray(mirror_coefficients(head_model, *part), jnp.float32)
    return FitModels(
        hand=hand_points(hand_model, jnp.asarray(hand_offsets)),
        face=FacePoints(
            points=_moved(on_surface(head_model, faces_idx, bary_coords), face_offsets),
            some=_moved(
                on_surface(head_model, faces_idx[some], bary_coords[some]), face_offsets[some]
            ),
            some_ids=some,
            center=center,
            center_weights=weights,
        ),
        hand_model=hand_model,
        head_model=head_model,
        mirror_ids=jnp.asarray(mirror_vertices(head_model)),
        mirror_betas=mirror(0, 100),
        mirror_expression=mirror(100, 150),
    )


class _Kept:
    """Two body models, equal to any other pair: the cache compares their identities alone."""

    def __init__(self, *pair: BodyModel):
        self.pair = pair

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Kept)

    def __hash__(self) -> int:
        return 0


def prepare(hand_model: BodyModel, head_model: BodyModel, *, rendered: bool = False) -> FitModels:
    """Prepares two body models; cached for the same objects.

    Instead of an older version of the open hand the present one is fitted: their vertices and faces
    mean the same, and its bones have the lengths of people's.

    Args:
        hand_model, head_model: body models.
        rendered: whether the landmark networks look at our renderings, and not at photographs.
    """
    present = assets.load_hand()
    if np.array_equal(np.asarray(hand_model.faces), np.asarray(present.faces)):
        hand_model = present
    with jax.ensure_compile_time_eval():
        models = _Kept(hand_model, head_model)
        return _prepare(id(hand_model), id(head_model), rendered, models)


def face_mesh_points(
    head_model: BodyModel,
) -> tuple[Int[np.ndarray, "468"], Float[np.ndarray, "468 3"]]:
    """Faces and barycentric coordinates of the 468 points of MediaPipe's face mesh.

    They are stored for the open head. For another head, the open head is warped onto it by their 68
    common landmarks, and the points move to the closest points of its skin.
    """
    expected = {
        "faces_idx": npz.Array(npz.INTEGERS, (None,)),
        "bary_coords": npz.Array(npz.FLOATS, (None, 3)),
    }
    stored = npz.read_npz(_DATA / "open_head_face_mesh.npz", expected)
    faces_idx, bary_coords = stored["faces_idx"], stored["bary_coords"]
    reference = assets.load_head()
    faces = np.asarray(head_model.faces)
    if np.array_equal(faces, np.asarray(reference.faces)):
        return faces_idx, bary_coords
    vertices = np.asarray(head_model.v_template, np.float64)
    corners = vertices[faces[np.asarray(head_model.lmk_faces_idx)]]
    landmarks = (corners * np.asarray(head_model.lmk_bary_coords)[..., None]).sum(1)
    warped = anatomy.warp_onto(reference, landmarks)
    points = (warped[np.asarray(reference.faces)[faces_idx]] * bary_coords[..., None]).sum(1)
    return _closest_on_skin(points, vertices, faces, np.asarray(head_model.cavity))


def _closest_on_skin(points, vertices, faces, cavity):
    """Faces and barycentric coordinates of the nearest points of the skin."""
    skin = np.flatnonzero(~cavity[faces].any(-1))
    corners = vertices[faces[skin]]
    centers = corners.mean(1)
    ids, weights = [], []
    for point in points:
        near = np.argsort(((centers - point) ** 2).sum(-1))[:_NEAREST]
        coordinates, distances = closest_points(point, corners[near])
        best = distances.argmin()
        ids.append(skin[near[best]])
        weights.append(coordinates[best])
    return np.array(ids, np.int32), np.array(weights, np.float32)


def rendered_offsets(
    hand_model: BodyModel, head_model: BodyModel
) -> tuple[Float[np.ndarray, "21 3"], Float[np.ndarray, "468 3"]]:
    """Where the networks mark points of our renderings, relative to those of the body models.

    Returns:
        For the hand, in the rest axes of each keypoint's bone; for the face, in the axes of the
        head; meters. Zero for body models that were not calibrated.
    """
    offsets = []
    for model, present, name in (
        (hand_model, assets.load_hand(), "hand"),
        (head_model, assets.load_head(), "face"),
    ):
        expected = {"offsets": npz.Array(npz.FLOATS, (None, 3))}
        others = npz.Array(npz.TEXT)  # how they were measured
        path = _DATA / f"rendered_{name}_offsets.npz"
        found = npz.read_npz(path, expected, others=others)["offsets"]
        same = np.array_equal(np.asarray(model.v_template), np.asarray(present.v_template))
        offsets.append(found if same else np.zeros_like(found))
    return offsets[0], offsets[1]


def _moved(points: PartialModel, offsets: Float[np.ndarray, "N 3"]) -> PartialModel:
    return points.replace(v_template=points.v_template + jnp.asarray(offsets))
