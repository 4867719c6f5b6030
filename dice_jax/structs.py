"""The dataclasses that flow through the system: parameters, camera, batch, targets, prediction.

Conventions, everywhere in this project:
  * meters, radians (axis-angle), pixels of the 224 x 224 crop;
  * camera axes: x right, y down, z away from the camera;
  * the HEAD-CENTRED frame: camera axes, origin at the mean of the undeformed head's vertices;
  * 21 hand keypoints in the OpenPose / MediaPipe order (wrist, then thumb, index, middle, ring,
  little,
    each from the palm to the tip); 68 face landmarks in the iBUG order;
  * `deformed = vertices - deformations`, the sign of Decaf and DICE.

Leading batch dimensions are written `*B`.
"""

from __future__ import annotations

from flax import struct
from jaxtyping import Float, UInt8

from dice_jax.array_types import Array


class HandParams(struct.PyTreeNode):
    """MANO-shaped parameters of a right hand, names as in smplx.

    `global_orient` turns the hand about its wrist joint; `transl` is added last.
    """

    betas: Float[Array, "*B 10"]
    global_orient: Float[Array, "*B 3"]
    hand_pose: Float[Array, "*B 45"]
    transl: Float[Array, "*B 3"]


class HeadParams(struct.PyTreeNode):
    """FLAME-shaped parameters of a head, names as in smplx (eye poses are zero).

    `global_orient` turns the head about its root joint; `transl` is added last.
    """

    betas: Float[Array, "*B 100"]
    expression: Float[Array, "*B 50"]
    global_orient: Float[Array, "*B 3"]
    neck_pose: Float[Array, "*B 3"]
    jaw_pose: Float[Array, "*B 3"]
    transl: Float[Array, "*B 3"]


class Camera(struct.PyTreeNode):
    """Scaled orthography: `pixels = scale * point[..., :2] + transl`, in pixels of the 224 crop."""

    scale: Float[Array, "*B"]
    transl: Float[Array, "*B 2"]


class PosedMesh(struct.PyTreeNode):
    """A skinned body model: vertices, joints and keypoints (hand 21, head 68), meters."""

    vertices: Float[Array, "*B V 3"]
    joints: Float[Array, "*B J 3"]
    keypoints: Float[Array, "*B K 3"]


class Batch(struct.PyTreeNode):
    """What a data set yields. Arrays are NumPy until they reach the device.

    Keypoints are pixels and a confidence in [0, 1]. `*_keypoints_depth` is the (pseudo) depth at
    the detected keypoint, any positive scale per image. The parameters live in camera axes;
    ground-truth meshes are posed from them on the device. A `has_*` mask is 1 where a sample
    carries that label; the array holds zeros elsewhere.
    """

    images: UInt8[Array, "B 224 224 3"]
    hand_keypoints_2d: Float[Array, "B 21 3"]
    head_keypoints_2d: Float[Array, "B 68 3"]
    hand_keypoints_depth: Float[Array, "B 21"]
    head_keypoints_depth: Float[Array, "B 68"]
    hand_params: HandParams
    head_params: HeadParams
    deformations: Float[Array, "B 5023 3"]
    hand_contact: Float[Array, "B 778"]
    head_contact: Float[Array, "B 5023"]
    has_2d: Float[Array, "B"]
    has_3d: Float[Array, "B"]
    has_params: Float[Array, "B"]
    has_contact: Float[Array, "B"]
    has_deformations: Float[Array, "B"]
    has_depth: Float[Array, "B"]


class Targets(struct.PyTreeNode):
    """Ground truth posed from a `Batch`, head-centerd, meters."""

    hand_vertices: Float[Array, "B 778 3"]
    head_vertices: Float[Array, "B 5023 3"]
    deformed_head_vertices: Float[Array, "B 5023 3"]
    hand_keypoints: Float[Array, "B 21 3"]
    head_keypoints: Float[Array, "B 68 3"]


class RoughMeshes(struct.PyTreeNode):
    """What MeshNet regresses before the parametric models: keypoints and vertices at every level,
    meters.
    """

    hand_keypoints: Float[Array, "*B 21 3"]
    head_keypoints: Float[Array, "*B 68 3"]
    hand_vertices_coarse: Float[Array, "*B 195 3"]
    hand_vertices: Float[Array, "*B 778 3"]
    head_vertices_coarse: Float[Array, "*B 559 3"]
    head_vertices_mid: Float[Array, "*B 1675 3"]
    head_vertices: Float[Array, "*B 5023 3"]


class ContactLogits(struct.PyTreeNode):
    """Per-vertex contact logits at every level."""

    hand_coarse: Float[Array, "*B 195"]
    hand: Float[Array, "*B 778"]
    head_coarse: Float[Array, "*B 559"]
    head_mid: Float[Array, "*B 1675"]
    head: Float[Array, "*B 5023"]


class NetworkOutput(struct.PyTreeNode):
    """What the network itself returns, before any body model is posed.

    `hand_params.transl` and `head_params` are relative to the head's centroid, see `models.decode`.
    With `head_root`, which the authors' weights put out, `hand_params.transl` is relative to the
    origin of a FLAME head whose `global_orient` is `head_root`. `heatmaps`, of a network that looks
    for keypoints in the image itself, are the logits of the cell that each is in, hand first. Where
    not `parametric`, the rough meshes are the answer and the parameters are zero.
    """

    rough: RoughMeshes
    hand_params: HandParams
    head_params: HeadParams
    camera: Camera
    deformations: Float[Array, "*B 5023 3"]
    contact_logits: ContactLogits
    presence_logit: Float[Array, "*B"]
    head_root: Float[Array, "*B 3"] | None = None
    heatmaps: Float[Array, "*B 28 28 89"] | None = None
    parametric: bool = struct.field(pytree_node=False, default=True)


class Prediction(struct.PyTreeNode):
    """The answer for an image: head-centerd meshes in camera axes (meters), contacts, parameters,
    camera.

    The parameters follow smplx and reproduce `hand_vertices` and `head_vertices` when given to MANO
    and FLAME.
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
