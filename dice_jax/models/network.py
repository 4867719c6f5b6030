"""The parts that all networks share: image features, tokens, IKNets, camera, contact presence."""

from __future__ import annotations

import abc
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax import struct
from jaxtyping import Float

from dice_jax.array_types import Array
from dice_jax.models.config import ModelConfig
from dice_jax.models.evidence import Evidence, EvidenceNet
from dice_jax.models.fine_map import FINE_CELLS, FineMap, Heatmaps, expected_keypoints
from dice_jax.models.heads import CameraHead, PresenceHead
from dice_jax.models.ik_net import HandIKNet, HeadIKNet
from dice_jax.models.layers.tokens import Tokens, TokenUpsampling
from dice_jax.models.mesh_aligned import MeshAlignedFeatures
from dice_jax.models.mesh_net import MeshNetOutput
from dice_jax.models.preprocess import rgb_to_bgr
from dice_jax.models.upsampling import MeshLevels
from dice_jax.structs import (
    Camera,
    Detections,
    HandParams,
    HeadParams,
    Intrinsics,
    NetworkOutput,
)

_GRID_CELLS = 7 * 7  # of every backbone


class EncodedImage(struct.PyTreeNode):
    """What a network computes from the image before its tokens.

    Attributes:
        grid: image features, row by row.
        camera: with `CameraConfig.source` "image"; else None.
        heatmaps: logits of the keypoints in the fine map; None without `ModelConfig.fine_features`.
        features: the fine map, for meshes to sample; None without `ModelConfig.fine_features`.
        evidence: of the detections, with `ModelConfig.evidence_hidden`; else None.
    """

    grid: Float[Array, "B 49 C"]
    camera: Camera | None = None
    heatmaps: Float[Array, "B 28 28 89"] | None = None
    features: MeshAlignedFeatures | None = None
    evidence: Evidence | None = None

    @property
    def evidence_features(self) -> Float[Array, "B F"] | None:
        """Hidden features of the evidence."""
        return None if self.evidence is None else self.evidence.features


class BodyParams(NamedTuple):
    """Parameters of both body models, and `NetworkOutput.head_root`."""

    hand: HandParams
    head: HeadParams
    head_root: Float[Array, "B 3"] | None = None


class Network(nn.Module, abc.ABC):
    """Base class of DICE and of the baselines: from a normalized crop to a `NetworkOutput`.

    Training needs the random streams "dropout" and "mask"; inference is deterministic. Batch norm
    keeps its statistics in the collection "batch_stats".

    Attributes:
        config: sizes and switches.
        hand_levels, head_levels: the mesh hierarchies.
        axis_name: mapped axis of the devices that train together. Batch norm averages over it, and
            dropout draws the mask of a sample by its index in the batch of all devices.
        fold_batch_norm: the variables are from `fold`; for inference only.
    """

    config: ModelConfig
    hand_levels: MeshLevels
    head_levels: MeshLevels
    axis_name: str | None = None
    fold_batch_norm: bool = False

    @abc.abstractmethod
    def __call__(
        self,
        images: Float[Array, "B 224 224 3"],
        queries: Float[Array, "843 3"],
        detections: Detections | None = None,
        intrinsics: Intrinsics | None = None,
        *,
        train: bool,
    ) -> NetworkOutput:
        """Runs the network.

        Args:
            images: RGB, from `preprocess`.
            queries: from `template_queries`.
            detections: landmarks found in the images, for `ModelConfig.evidence_hidden`; None:
                nothing was found.
            intrinsics: cameras of the crops, likewise; None: nothing is known of them.
            train: mask tokens, use dropout, and normalize with the batch's own statistics where
                they are not frozen.

        Returns:
            The output, float32. `decode` poses the body models with it.
        """

    @property
    def dtype(self) -> jnp.dtype:
        """Type of the activations of backbone and transformers."""
        return jnp.dtype(self.config.dtype)

    @property
    def mesh_fields(self) -> dict[str, Any]:
        """Fields that `MeshNet` and `InteractionNet` have in common."""
        return {
            "upsampling": self.config.upsampling,
            "hand_levels": self.hand_levels,
            "head_levels": self.head_levels,
            "dtype": self.dtype,
            "axis_name": self.axis_name,
        }

    # The methods below run within the `__call__` of a network, whose children the parts become.

    def encode_image(
        self,
        images: Float[Array, "B 224 224 3"],
        queries: Float[Array, "843 3"],
        detections: Detections | None = None,
        intrinsics: Intrinsics | None = None,
        *,
        train: bool,
    ) -> EncodedImage:
        """Runs the backbone and what reads its features: fine map, heatmaps and camera.

        The keypoints of the detections, where they are sure, take the place of the heatmaps'.
        """
        config, size = self.config, images.shape[0]
        if config.blind:
            grid, levels = jnp.zeros((size, _GRID_CELLS, config.backbone.features), self.dtype), ()
        else:
            images = rgb_to_bgr(images) if config.channels == "bgr" else images
            backbone = config.backbone.create(
                self.dtype, self.axis_name, fold_batch_norm=self.fold_batch_norm
            )
            output = backbone(images, train=train)
            grid = output.features.reshape(size, -1, output.features.shape[-1])
            levels = output.levels
        if config.camera.source != "image":
            return EncodedImage(grid)
        evidence = self._evidence(size, queries, detections, intrinsics)
        camera_head = CameraHead(config.camera, name="camera")
        if evidence is None:
            camera = camera_head(grid)
        else:
            camera = camera_head(grid, evidence.camera, evidence.features)
        if not config.fine_features:
            return EncodedImage(grid, camera)
        if config.blind:
            assert evidence is not None, "blind needs evidence_hidden"
            empty = jnp.zeros((size, FINE_CELLS, FINE_CELLS, config.fine_features), self.dtype)
            keypoints = jnp.where(evidence.keypoints[..., 2:] > 0, evidence.keypoints, jnp.nan)
            features = MeshAlignedFeatures(empty, keypoints[..., :2], camera)
            return EncodedImage(grid, camera, None, features, evidence)
        fine_map = FineMap(config.fine_features, self.dtype, name="fine_map")(levels)
        heatmaps = Heatmaps(name="heatmaps")(fine_map)
        keypoints = expected_keypoints(heatmaps)
        if evidence is not None:
            detected, confidence = evidence.keypoints[..., :2], evidence.keypoints[..., 2:]
            keypoints = confidence * detected + (1.0 - confidence) * keypoints
        features = MeshAlignedFeatures(fine_map, keypoints, camera)
        return EncodedImage(grid, camera, heatmaps, features, evidence)

    def _evidence(self, size, queries, detections, intrinsics) -> Evidence | None:
        if not self.config.evidence_hidden:
            return None
        # Broadcast by JAX: the size of an exported program's batch is a symbol.
        repeat = lambda x: jnp.broadcast_to(x, (size, *x.shape))
        if detections is None:
            detections = jax.tree.map(repeat, Detections.nothing())
        if intrinsics is None:
            intrinsics = jax.tree.map(repeat, Intrinsics.unknown())
        net = EvidenceNet(self.config.evidence_hidden, name="evidence")
        return net(detections, intrinsics, queries)

    def make_tokens(
        self, image: EncodedImage, queries: Float[Array, "843 3"], *, train: bool
    ) -> Tokens:
        """The tokens of MeshNet and InteractionNet, masked in training."""
        upsampling = TokenUpsampling(self.config.masking, name="token_upsampling")
        return upsampling(image.grid, queries, train=train)

    def regress_params(
        self,
        mesh: MeshNetOutput,
        evidence_features: Float[Array, "B F"] | None = None,
        *,
        train: bool,
    ) -> BodyParams:
        """Runs both IKNets on the rough meshes."""
        rough, config = mesh.rough, self.config
        hand_levels = rough.hand_vertices, rough.hand_vertices_coarse
        head_levels = rough.head_vertices, rough.head_vertices_mid, rough.head_vertices_coarse
        hand, head = hand_levels[config.hand_ik.level], head_levels[config.head_ik.level]
        return self.run_iknets(
            hand, head, mesh.head_center, mesh.template_orient, evidence_features, train=train
        )

    def run_iknets(
        self,
        hand_inputs: Float[Array, "B V 3"] | Float[Array, "B F"],
        head_inputs: Float[Array, "B W 3"] | Float[Array, "B F"],
        head_center: Float[Array, "B 3"],
        template_orient: Float[Array, "B 2 3 3"] | None,
        evidence_features: Float[Array, "B F"] | None = None,
        *,
        train: bool,
    ) -> BodyParams:
        """Runs both IKNets; for the arguments see `HandIKNet`."""
        hand_template_orient = None if template_orient is None else template_orient[:, 0]
        head_template_orient = None if template_orient is None else template_orient[:, 1]
        hand_ik = HandIKNet(self.config.hand_ik, self.axis_name, name="hand_ik")
        head_ik = HeadIKNet(self.config.head_ik, self.axis_name, name="head_ik")
        hand = hand_ik(
            hand_inputs, head_center, hand_template_orient, evidence_features, train=train
        )
        head, head_root = head_ik(
            head_inputs, head_center, head_template_orient, evidence_features, train=train
        )
        # Head-centered meshes depend on the difference of both translations only. It becomes the
        # hand's translation.
        hand = hand.replace(transl=hand.transl - head.transl)
        return BodyParams(hand, head.replace(transl=jnp.zeros_like(head.transl)), head_root)

    def regress_camera(
        self, image: EncodedImage, positions: Float[Array, "B 843 3"] | None
    ) -> Camera:
        """The camera, from the image or from MeshNet's positions by `CameraConfig.source`."""
        if image.camera is not None:
            return image.camera
        assert positions is not None, "a camera of the mesh needs positions"
        return CameraHead(self.config.camera, name="camera")(positions)

    def presence_logit(self, image: EncodedImage) -> Float[Array, "B"] | None:
        """The logit that hand and head touch; None without `ModelConfig.presence`."""
        if not self.config.presence:
            return None
        head = PresenceHead(self.config.presence_hidden, name="presence")
        return head(image.grid, image.evidence_features)

    def hand_presence_logit(self, image: EncodedImage) -> Float[Array, "B"] | None:
        """The logit that there is a hand, from the image alone; with `config.hand_presence`."""
        if not self.config.hand_presence:
            return None
        return PresenceHead(self.config.presence_hidden, name="hand_presence")(image.grid)
