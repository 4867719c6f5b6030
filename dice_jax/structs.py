"""Dataclasses shared by the whole project: parameters, camera, batch, targets, prediction.

Conventions:
  * Units are meters, radians (axis-angle) and pixels of the 224 x 224 crop.
  * Camera axes: x right, y down, z away from the camera.
  * Head-centered frame: camera axes, origin at the mean of the vertices of the undeformed head.
  * Deformations are displacements in camera axes with the sign of Decaf and DICE:
    `deformed = vertices - deformations`.
  * The 21 hand keypoints follow OpenPose and MediaPipe: wrist, then thumb, index, middle, ring and
    little finger, each from the palm to the tip. The 68 face landmarks follow iBUG.

Leading batch dimensions are written `*B`.
"""

from __future__ import annotations

import numpy as np
from flax import struct
from jaxtyping import Float, UInt8

from dice_jax.array_types import Array
from dice_jax.constants import NUM_FACE_POINTS, NUM_HAND_KEYPOINTS


class HandParams(struct.PyTreeNode):
    """Parameters of a right hand in the layout of MANO, names as in smplx.

    Attributes:
        betas: coefficients of the shape space.
        global_orient: rotation of the whole hand about its wrist joint, axis-angle.
        hand_pose: 15 joint rotations, axis-angle.
        transl: translation, meters, added after the rotation.
    """

    betas: Float[Array, "*B 10"]
    global_orient: Float[Array, "*B 3"]
    hand_pose: Float[Array, "*B 45"]
    transl: Float[Array, "*B 3"]


class HeadParams(struct.PyTreeNode):
    """Parameters of a head in the layout of FLAME, names as in smplx. Eye poses are zero.

    Attributes:
        betas: coefficients of the identity (shape) space.
        expression: coefficients of the expression space.
        global_orient: rotation of the whole head about its root joint, axis-angle.
        neck_pose: rotation of the neck joint, axis-angle.
        jaw_pose: rotation of the jaw joint, axis-angle.
        transl: translation, meters, added after the rotation.
    """

    betas: Float[Array, "*B 100"]
    expression: Float[Array, "*B 50"]
    global_orient: Float[Array, "*B 3"]
    neck_pose: Float[Array, "*B 3"]
    jaw_pose: Float[Array, "*B 3"]
    transl: Float[Array, "*B 3"]


class Camera(struct.PyTreeNode):
    """Scaled orthographic camera: `pixels = scale * point[..., :2] + transl`.

    Attributes:
        scale: pixels of the crop per meter.
        transl: pixels of the crop.
    """

    scale: Float[Array, "*B"]
    transl: Float[Array, "*B 2"]


class Detections(struct.PyTreeNode):
    """Landmarks that detectors found in an image, in pixels of the crop. Confidence 0: not seen.

    Attributes:
        hand_points: the 21 hand keypoints: x, y, depth relative to the wrist in the same pixels
            (away from the camera is positive), and a confidence in [0, 1].
        hand_world: the same keypoints in meters, camera axes, about any origin.
        face_points: the 468 points of MediaPipe's face mesh, as `hand_points`; their depth is
            relative to any plane.
    """

    hand_points: Float[Array, "*B 21 4"]
    hand_world: Float[Array, "*B 21 3"]
    face_points: Float[Array, "*B 468 4"]

    @classmethod
    def nothing(cls, *batch: int) -> Detections:
        """Nothing was found in any image of a batch; NumPy zeros."""
        zeros = lambda *shape: np.zeros((*batch, *shape), np.float32)
        return cls(
            zeros(NUM_HAND_KEYPOINTS, 4), zeros(NUM_HAND_KEYPOINTS, 3), zeros(NUM_FACE_POINTS, 4)
        )


class Intrinsics(struct.PyTreeNode):
    """A pinhole camera, in pixels of the crop.

    Attributes:
        focal_length: pixels of the crop; infinite for scaled orthography.
        camera_center: principal point, pixels of the crop; often outside it.
    """

    focal_length: Float[Array, "*B"]
    camera_center: Float[Array, "*B 2"]

    @classmethod
    def unknown(cls, *batch: int) -> Intrinsics:
        """Nothing is known of the cameras of a batch; NumPy."""
        return cls(np.full(batch, np.inf, np.float32), np.zeros((*batch, 2), np.float32))


class PosedMesh(struct.PyTreeNode):
    """A skinned body model, meters.

    Attributes:
        vertices: all vertices of the full mesh.
        joints: joints of the kinematic tree.
        keypoints: 21 of a hand, 68 landmarks of a head.
    """

    vertices: Float[Array, "*B V 3"]
    joints: Float[Array, "*B J 3"]
    keypoints: Float[Array, "*B K 3"]


class Batch(struct.PyTreeNode):
    """Images with their labels, as the input pipeline yields them.

    Arrays are NumPy until they reach the device. Where a `has_*` mask is 0, the sample lacks that
    label and its array holds zeros. Ground-truth meshes are not stored: `models.pose_targets` poses
    them from the parameters.

    Attributes:
        images: RGB crops.
        hand_keypoints_2d, head_keypoints_2d: x and y in pixels, and a confidence in [0, 1].
        hand_keypoints_depth, head_keypoints_depth: (pseudo) depth at each 2D keypoint, known up to
            a positive scale for each image.
        hand_params, head_params: parameters in camera axes.
        deformations: displacement of each head vertex, meters, see the module's conventions.
        hand_contact, head_contact: 1 at vertices in contact, 0 elsewhere.
        has_2d: mask of the 2D keypoints.
        has_3d: mask of vertices and 3D keypoints posed from the parameters.
        has_params: mask of the parameters themselves.
        has_contact: mask of the contact labels.
        has_deformations: mask of the deformations.
        has_depth: mask of the keypoint depths.
        has_hand: 1 where a hand can be seen. Where it is 0, the masks of the meshes and parameters
            are 0 too.
        detections: what landmark networks found in the images.
        intrinsics: cameras of the images; an infinite focal length is one that nobody knows.
    """

    images: UInt8[Array, "*B 224 224 3"]
    hand_keypoints_2d: Float[Array, "*B 21 3"]
    head_keypoints_2d: Float[Array, "*B 68 3"]
    hand_keypoints_depth: Float[Array, "*B 21"]
    head_keypoints_depth: Float[Array, "*B 68"]
    hand_params: HandParams
    head_params: HeadParams
    deformations: Float[Array, "*B 5023 3"]
    hand_contact: Float[Array, "*B 778"]
    head_contact: Float[Array, "*B 5023"]
    has_2d: Float[Array, "*B"]
    has_3d: Float[Array, "*B"]
    has_params: Float[Array, "*B"]
    has_contact: Float[Array, "*B"]
    has_deformations: Float[Array, "*B"]
    has_depth: Float[Array, "*B"]
    has_hand: Float[Array, "*B"]
    detections: Detections
    intrinsics: Intrinsics


class Targets(struct.PyTreeNode):
    """Ground-truth meshes and keypoints posed from a `Batch`, head-centered, meters.

    Attributes:
        hand_vertices: vertices of the hand.
        head_vertices: vertices of the undeformed head.
        deformed_head_vertices: vertices of the deformed head.
        hand_keypoints: 21 hand keypoints.
        head_keypoints: 68 landmarks of the undeformed head.
    """

    hand_vertices: Float[Array, "*B 778 3"]
    head_vertices: Float[Array, "*B 5023 3"]
    deformed_head_vertices: Float[Array, "*B 5023 3"]
    hand_keypoints: Float[Array, "*B 21 3"]
    head_keypoints: Float[Array, "*B 68 3"]


class RoughMeshes(struct.PyTreeNode):
    """Keypoints and vertices that MeshNet regresses without a body model (V' in the paper), meters.

    Attributes:
        hand_keypoints, head_keypoints: 21 hand keypoints, 68 landmarks.
        hand_vertices_coarse, hand_vertices: the hand at its coarse and its full level.
        head_vertices_coarse, head_vertices_mid, head_vertices: the head at its three levels.
    """

    hand_keypoints: Float[Array, "*B 21 3"]
    head_keypoints: Float[Array, "*B 68 3"]
    hand_vertices_coarse: Float[Array, "*B 195 3"]
    hand_vertices: Float[Array, "*B 778 3"]
    head_vertices_coarse: Float[Array, "*B 559 3"]
    head_vertices_mid: Float[Array, "*B 1675 3"]
    head_vertices: Float[Array, "*B 5023 3"]


class ContactLogits(struct.PyTreeNode):
    """Contact logits of every vertex, at the levels of `RoughMeshes`."""

    hand_coarse: Float[Array, "*B 195"]
    hand: Float[Array, "*B 778"]
    head_coarse: Float[Array, "*B 559"]
    head_mid: Float[Array, "*B 1675"]
    head: Float[Array, "*B 5023"]


class NetworkOutput(struct.PyTreeNode):
    """Output of the network, before `models.decode` poses the body models.

    Attributes:
        rough: meshes regressed without a body model.
        hand_params: parameters of the hand. `transl` is relative to the centroid of the head; with
            `head_root`, it is relative to the origin of a FLAME head of that `global_orient`.
        head_params: parameters of the head; `transl` is zero.
        camera: projects the head-centered meshes into the crop.
        deformations: displacement of each head vertex, meters.
        contact_logits: of every vertex at every level.
        presence_logit: logit that hand and face touch anywhere in the image; None if the network
            has no such output.
        hand_presence_logit: logit that there is a hand; None if the network does not tell.
        hand_depth_sigma: scale of the error of the hand's mean depth relative to the head, meters,
            as that of a Laplace distribution; None if the network does not tell.
        head_root: rotation of the root of the head, axis-angle; only the authors' weights have it.
        heatmaps: for each of 21 hand and 68 head keypoints, in this order, the logits of the cell
            of a 28 x 28 grid that contains it; None if the network has no such output.
        parametric: whether the parameters are predicted. If not, they are zero and the rough meshes
            are the prediction.
    """

    rough: RoughMeshes
    hand_params: HandParams
    head_params: HeadParams
    camera: Camera
    deformations: Float[Array, "*B 5023 3"]
    contact_logits: ContactLogits
    presence_logit: Float[Array, "*B"] | None = None
    hand_presence_logit: Float[Array, "*B"] | None = None
    hand_depth_sigma: Float[Array, "*B"] | None = None
    head_root: Float[Array, "*B 3"] | None = None
    heatmaps: Float[Array, "*B 28 28 89"] | None = None
    parametric: bool = struct.field(pytree_node=False, default=True)


class Prediction(struct.PyTreeNode):
    """Prediction for an image: head-centered meshes, keypoints, contacts, parameters, camera.

    Attributes:
        hand_vertices: vertices of the hand, meters.
        head_vertices: vertices of the undeformed head, meters.
        deformations: displacement of each head vertex, meters.
        deformed_head_vertices: `head_vertices - deformations`, meters.
        hand_keypoints_3d, head_keypoints_3d: 21 hand keypoints, 68 landmarks, meters.
        hand_keypoints_2d, head_keypoints_2d: their projections, pixels.
        hand_contact_probs, head_contact_probs: probability that each vertex is in contact.
        contact_presence: probability that hand and face touch at all; from a network that does not
            predict it, the highest contact probability of a vertex.
        hand_params, head_params: parameters with which MANO and FLAME (or the open body models)
            reproduce `hand_vertices` and `head_vertices`.
        camera: projects the 3D keypoints to the 2D keypoints.
        hand_presence: probability that there is a hand; 1 where nothing tells. `infer` sets it.
        hand_keypoints_sigma, head_keypoints_sigma: standard deviation of the 2D keypoints, pixels;
            None where the network has no heatmaps.
        hand_depth_sigma: scale of the error of the hand's mean depth relative to the head, meters;
            None where the network does not tell.
    """

    hand_vertices: Float[Array, "*B 778 3"]
    head_vertices: Float[Array, "*B 5023 3"]
    deformations: Float[Array, "*B 5023 3"]
    deformed_head_vertices: Float[Array, "*B 5023 3"]
    hand_keypoints_3d: Float[Array, "*B 21 3"]
    head_keypoints_3d: Float[Array, "*B 68 3"]
    hand_keypoints_2d: Float[Array, "*B 21 2"]
    head_keypoints_2d: Float[Array, "*B 68 2"]
    hand_contact_probs: Float[Array, "*B 778"]
    head_contact_probs: Float[Array, "*B 5023"]
    contact_presence: Float[Array, "*B"]
    hand_params: HandParams
    head_params: HeadParams
    camera: Camera
    hand_presence: Float[Array, "*B"] | None = None
    hand_keypoints_sigma: Float[Array, "*B 21"] | None = None
    head_keypoints_sigma: Float[Array, "*B 68"] | None = None
    hand_depth_sigma: Float[Array, "*B"] | None = None
