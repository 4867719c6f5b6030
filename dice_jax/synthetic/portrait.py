"""A photo of a face with the head that was fitted to it: what a hand can be rendered upon.

Its light is estimated from the skin of the face, whose shape is known: brightness over the surface
tells from where light of which color comes. Albedo and the strength of the light are known up to a
common factor only, which the rendered hand does not need either: it has the skin of the face.
"""

from __future__ import annotations

import dataclasses
import itertools

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8
from scipy.optimize import nnls
from scipy.spatial.transform import Rotation

from dice_jax.body_models import BodyModel
from dice_jax.synthetic.penetration import outward_normals
from dice_jax.synthetic.sample import (
    Face,
    Lighting,
    Person,
    PinholeCamera,
    sample_person,
    to_linear,
)

_SKIN = ("forehead", "cheek_left", "cheek_right", "nose", "chin")
_SKIN_LUMINANCE = (0.32, 0.05)  # linear albedo of the lightest and the darkest skin
_LUMINANCE = np.array([0.2126, 0.7152, 0.0722])
_FACING = 0.25  # cosine above which skin faces the camera
_AZIMUTHS, _ELEVATIONS = (-1.5, -0.9, -0.4, 0.0, 0.4, 0.9, 1.5), (-0.1, 0.4, 0.9)
_WRAP = 0.17  # how far light reaches around skin, see `shading`
_SOFTNESS = 0.012  # meters, of the shadow's edge


@dataclasses.dataclass(frozen=True)
class Portrait:
    """A photo of a face without a hand, and its head.

    Attributes:
        pixels: the photo, RGB.
        person: shape of the fitted head, and the colors of its skin.
        face: expression, neck and jaw of the fitted head.
        camera: of the whole photo, in pixels of the photo.
        lighting: estimated from the face.
    """

    pixels: UInt8[np.ndarray, "H W 3"]
    person: Person
    face: Face
    camera: PinholeCamera
    lighting: Lighting


def make_portrait(
    pixels: UInt8[np.ndarray, "H W 3"],
    number: int,
    head: BodyModel,
    own_vertices: Float[np.ndarray, "5023 3"],
    betas: Float[np.ndarray, "100"],
    face: Face,
    camera: PinholeCamera,
) -> Portrait:
    """Estimates skin and light of a fitted face.

    Args:
        pixels: the photo, RGB.
        number: of the person, from which hair, clothes and hand are drawn.
        head: the head model.
        own_vertices: of the fitted head in its own axes, meters.
        betas: shape of the fitted head.
        face: expression, neck and jaw of the fitted head.
        camera: of the whole photo, in pixels of the photo.
    """
    normals = outward_normals(own_vertices, head) @ camera.rotation.T
    colors, seen = _skin_colors(pixels, head, own_vertices, normals, camera)
    skin = _skin_albedo(colors[seen])
    person = dataclasses.replace(
        sample_person(number, seed=0),
        head_betas=np.asarray(betas, np.float64),
        skin=skin,
        lips=skin * np.array([1.0, 0.62, 0.62]),
        skin_tone=float(np.clip(1 - _luminance(skin) / _SKIN_LUMINANCE[0], 0, 1)),
        beard=0.0,
    )
    lighting = _estimate_light(normals[seen], colors[seen] / skin)
    return Portrait(pixels, person, face, camera, lighting)


def _skin_colors(pixels, head, vertices, normals, camera):
    """Linear color at each vertex, and which vertices are skin that faces the camera."""
    points = vertices @ camera.rotation.T + camera.transl
    xy = camera.focal_length * points[:, :2] / points[:, 2:] + camera.camera_center
    smooth = cv2.GaussianBlur(pixels, (0, 0), max(len(pixels) / 200, 0.5))
    linear = to_linear(smooth.astype(np.float32) / 255)
    x, y = (xy - 0.5).astype(np.float32).T[..., None]
    colors = cv2.remap(
        linear.astype(np.float32), x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )[:, 0]
    view = -points / np.linalg.norm(points, axis=1, keepdims=True)
    skin = np.any([np.asarray(head.region(name)) for name in _SKIN], axis=0)
    inside = ((xy >= 0) & (xy < pixels.shape[1::-1])).all(1)
    seen = skin & inside & ((normals * view).sum(1) > _FACING) & ~np.asarray(head.cavity)
    return colors.astype(np.float64), _without_outliers(colors, seen)


def _without_outliers(colors, seen) -> Bool[np.ndarray, "5023"]:
    """Leaves out the darkest and the brightest tenth: hair, glasses, highlights."""
    luminance = colors @ _LUMINANCE
    low, high = np.percentile(luminance[seen], (10, 90))
    return seen & (luminance >= low) & (luminance <= high)


def _skin_albedo(colors):
    """The hue of the skin in the photo, with a brightness that skin has."""
    color = np.median(colors, axis=0)
    bright = np.clip(_luminance(color) / 0.5, 0.0, 1.0)
    light, dark = _SKIN_LUMINANCE
    albedo = color / max(_luminance(color), 1e-4) * (dark + (light - dark) * bright)
    return np.clip(albedo, 0.01, 0.9)


def _luminance(color) -> float:
    return float(color @ _LUMINANCE)


def _estimate_light(
    normals: Float[np.ndarray, "N 3"], shading: Float[np.ndarray, "N 3"]
) -> Lighting:
    """The lights under which the shading of the skin is most nearly what the photo shows.

    The main light is searched on a grid; the strengths of all lights follow by non-negative least
    squares. Their color is in that of the skin.
    """
    gray = shading @ _LUMINANCE
    grid = [_directions(*angles) for angles in itertools.product(_AZIMUTHS, _ELEVATIONS)]
    directions = min(grid, key=lambda directions: nnls(_basis(normals, directions), gray)[1])
    main, fill, sky, ground = nnls(_basis(normals, directions), gray)[0]
    white = np.ones(3)
    return Lighting(
        directions=directions,
        colors=np.outer([main, fill, 0.0], white),
        sky=sky * white,
        ground=ground * white,
        shadow_softness=_SOFTNESS,
    )


def _directions(azimuth, elevation):
    """Towards a main light, a fill light from the other side, and a light from behind.

    The one from behind is off: the skin that the camera sees does not tell of it.
    """
    angles = np.array([(azimuth, elevation), (-np.sign(azimuth or 1) * 0.9, 0.1), (3.0, 0.5)])
    around, up = angles.T
    return np.stack([np.sin(around) * np.cos(up), -np.sin(up), -np.cos(around) * np.cos(up)], -1)


def _basis(normals, directions):
    """What each light of strength 1 gives: the main and the fill light, the sky and the ground."""
    directional = np.maximum((normals @ directions[:2].T + _WRAP) / (1 + _WRAP), 0.0)
    up = 0.5 - 0.5 * normals[:, 1]
    return np.column_stack([directional, up, 1 - up])


def camera_of(
    own_vertices: Float[np.ndarray, "N 3"],
    vertices: Float[np.ndarray, "N 3"],
    transl: Float[np.ndarray, "3"],
    focal_length: float,
    center: Float[np.ndarray, "2"],
) -> PinholeCamera:
    """The camera of a photo as `PinholeCamera`, from a head posed in camera axes.

    Args:
        own_vertices: of the head in its own axes, meters.
        vertices: the same in camera axes, about any origin.
        transl: from that origin to the camera's.
        focal_length, center: pixels of the photo.
    """
    middle, own_middle = vertices.mean(0), own_vertices.mean(0)
    turn = Rotation.align_vectors(vertices - middle, own_vertices - own_middle)[0]
    rotation = turn.as_matrix()
    return PinholeCamera(
        rotation=rotation,
        transl=middle - rotation @ own_middle + transl,
        focal_length=float(focal_length),
        camera_center=np.asarray(center, np.float64),
    )
