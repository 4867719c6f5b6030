"""What a hand is fitted to: detections, the network's answer, and the head before which it is."""

from __future__ import annotations

from flax import struct
from jaxtyping import Bool, Float

from dice_jax.array_types import Array
from dice_jax.fitting.motion import HandBefore
from dice_jax.geometry import camera
from dice_jax.structs import Camera, HandParams, Intrinsics


class HandEvidence(struct.PyTreeNode):
    """What the hand is fitted to.

    Attributes:
        points: see `Detections.hand_points`.
        world: see `Detections.hand_world`.
        network: the network's hand, head-centered.
        trust: 1 where the network saw what it was trained for, 0 where its pose says nothing.
        depth: mean depth of the network's keypoints, meters.
        depth_sigma: standard deviation of that depth where the hand touches nothing, meters.
        contact: probability that each coarse vertex touches, zero where hand and face do not.
        touches: probability that hand and face touch.
        camera, intrinsics: of the crop.
        before: the hand of the photo before, in a sequence.
    """

    points: Float[Array, "*B 21 4"]
    world: Float[Array, "*B 21 3"]
    network: HandParams
    trust: Float[Array, "*B"]
    depth: Float[Array, "*B"]
    depth_sigma: Float[Array, "*B"]
    contact: Float[Array, "*B N"]
    touches: Float[Array, "*B"]
    camera: Camera
    intrinsics: Intrinsics
    before: HandBefore | None = None

    def project(self, points: Float[Array, "N 3"]) -> Float[Array, "N 2"]:
        """Pixels of the crop."""
        cam, intrinsics = self.camera, self.intrinsics
        return camera.project_scaled_perspective(
            points, cam.scale, cam.transl, intrinsics.focal_length, intrinsics.camera_center
        )


class HeadSurface(struct.PyTreeNode):
    """The skin that the hand may touch.

    Attributes:
        vertices: head-centered, meters.
        normals: unit, outwards.
        outside: False for vertices that are no skin (inner mouth, eye sockets).
        give: how far the skin may give way, meters.
        contact: probability of contact.
    """

    vertices: Float[Array, "*B V 3"]
    normals: Float[Array, "*B V 3"]
    outside: Bool[Array, "*B V"]
    give: Float[Array, "*B V"]
    contact: Float[Array, "*B V"]
