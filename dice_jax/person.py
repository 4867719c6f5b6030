"""A reconstructed person: a head, up to two hands, and how they touch.

Lengths are meters in camera axes (x right, y down, z away from the camera). The
origin is the centroid of the undeformed head; for a person without a head in view, it is about the
centroid of the keypoints of the first hand.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Float

from dice_jax.array_types import Array
from dice_jax.constants import CROP_SIZE
from dice_jax.structs import Camera, HandParams, HeadParams


@dataclasses.dataclass(frozen=True)
class Head:
    """The head of a person.

    Attributes:
        params: pose the head model to `vertices`.
        vertices: of the undeformed head.
        deformations: to be subtracted from `vertices`; zero where nothing touches.
        contact_probs: probability that each vertex touches a hand.
        keypoints_3d: the 68 landmarks.
        keypoints_2d: their projections, pixels of the photo.
        keypoints_sigma: standard deviation of `keypoints_2d`, pixels of the photo.
        score: probability that there is a face, in [0, 1].
        residual: root mean square distance of the mesh from the detected landmarks, pixels of the
            photo; NaN without a fit.
    """

    params: HeadParams
    vertices: Float[Array, "5023 3"]
    deformations: Float[Array, "5023 3"]
    contact_probs: Float[Array, "5023"]
    keypoints_3d: Float[Array, "68 3"]
    keypoints_2d: Float[Array, "68 2"]
    keypoints_sigma: Float[Array, "68"]
    score: float
    residual: float

    @property
    def deformed_vertices(self) -> Float[Array, "5023 3"]:
        """Vertices of the head as the hands deform it."""
        return self.vertices - self.deformations


@dataclasses.dataclass(frozen=True)
class Hand:
    """A hand of a person.

    Attributes:
        side: "right" or "left" hand of the person.
        params: pose the hand model; for a left hand, negate the x of the posed vertices.
        vertices: of the hand.
        contact_probs: probability that each vertex touches the head.
        contact_presence: probability that this hand touches the head at all.
        keypoints_3d: the 21 keypoints.
        keypoints_2d: their projections, pixels of the photo.
        keypoints_sigma: standard deviation of `keypoints_2d`, pixels of the photo.
        score: probability that there is a hand, in [0, 1].
        residual: root mean square distance of the mesh from the detected keypoints, pixels of the
            photo; NaN without a fit.
    """

    side: str
    params: HandParams
    vertices: Float[Array, "778 3"]
    contact_probs: Float[Array, "778"]
    contact_presence: float
    keypoints_3d: Float[Array, "21 3"]
    keypoints_2d: Float[Array, "21 2"]
    keypoints_sigma: Float[Array, "21"]
    score: float
    residual: float


@dataclasses.dataclass(frozen=True)
class PhotoCamera:
    """The pinhole camera of the photo: fitted `keypoints_2d` are exactly its projections.

    Without a fit, `keypoints_2d` are those of the network, whose camera is a scaled orthography:
    they agree with the pinhole in the plane z = 0.

    Attributes:
        focal_length: pixels of the photo.
        center: principal point, pixels of the photo.
        transl: what to add to points of the person, meters.
    """

    focal_length: float
    center: Float[Array, "2"]
    transl: Float[Array, "3"]

    def project(self, points: Float[Array, "*B 3"]) -> Float[Array, "*B 2"]:
        """Pixels of the photo."""
        moved = points + self.transl
        return self.focal_length * moved[..., :2] / moved[..., 2:] + self.center


@dataclasses.dataclass(frozen=True)
class Person:
    """A head and up to two hands of one person, in one frame.

    Attributes:
        head: None if no face was found.
        hands: at most one right and one left hand, the surest first.
        photo_camera: the pinhole of the photo.
        crop_box: left, top and side of the square that the network saw, pixels of the photo.
        crop_camera: scaled orthography in pixels of the 224 crop: the closest to `photo_camera`;
            without a fit, the network's own.
    """

    head: Head | None
    hands: tuple[Hand, ...]
    photo_camera: PhotoCamera
    crop_box: Float[Array, "3"]
    crop_camera: Camera

    @property
    def is_fitted(self) -> bool:
        """Whether the meshes were fitted to detected landmarks."""
        parts = [part for part in (self.head, *self.hands) if part is not None]
        return all(np.isfinite(part.residual) for part in parts)

    def project(self, points: Float[Array, "*B 3"]) -> Float[Array, "*B 2"]:
        """Pixels of the photo, as `keypoints_2d` are.

        Through the pinhole; without a fit, through the network's camera.
        """
        if self.is_fitted:
            return self.photo_camera.project(points)
        left, top, side = self.crop_box
        camera = self.crop_camera
        in_crop = camera.scale * points[..., :2] + np.asarray(camera.transl)
        return in_crop * (side / CROP_SIZE) + np.array([left, top])
