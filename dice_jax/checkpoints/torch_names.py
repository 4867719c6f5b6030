"""Maps names and layouts of published PyTorch weights to those of the networks here.

Each table maps the name of a module, by the first pattern that matches, to a path. In a path, "{0}"
and "{1}" stand for the convolution and the norm of a pair. "*" stands for the name of the weight
where that is not the end of the path.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

Names = Sequence[tuple[str, str]]
COUNTER = "num_batches_tracked"  # of batch norms

LITE0: Names = (
    (r"_conv_stem", "stem"),
    (r"_bn0", "stem_norm"),
    (r"_conv_head", "head"),
    (r"_bn1", "head_norm"),
    (r"_blocks\.(\d+)\._(expand|depthwise|project)_conv", r"block_\1_\2"),
    (r"_blocks\.(\d+)\._bn0", r"block_\1_expand_norm"),
    (r"_blocks\.(\d+)\._bn1", r"block_\1_depthwise_norm"),
    (r"_blocks\.(\d+)\._bn2", r"block_\1_project_norm"),
)

HRNET: Names = (
    (r"((?:conv|bn)\d)", r"\1"),
    (r"layer1\.(\d)\.((?:conv|bn)\d)", r"layer1_\1/\2"),
    (r"layer1\.(\d)\.downsample\.([01])", r"layer1_\1/downsample/{\2}"),
    (r"transition(\d)\.(\d)\.(?:0\.)?([01])", r"transition\1_\2/{\3}"),
    (r"stage(\d)\.(\d)\.branches\.(\d)\.(\d)\.((?:conv|bn)\d)", r"stage\1_\2/branch\3_\4/\5"),
    (r"stage(\d)\.(\d)\.fuse_layers\.(\d)\.(\d)\.([01])", r"stage\1_\2/fuse\3_\4_0/{\5}"),
    (r"stage(\d)\.(\d)\.fuse_layers\.(\d)\.(\d)\.(\d)\.([01])", r"stage\1_\2/fuse\3_\4_\5/{\6}"),
    (r"incre_modules\.(\d)\.0\.((?:conv|bn)\d)", r"incre\1/\2"),
    (r"incre_modules\.(\d)\.0\.downsample\.([01])", r"incre\1/downsample/{\2}"),
    (r"downsamp_modules\.(\d)\.([01])", r"downsamp\1/{\2}"),
    (r"final_layer\.([01])", r"final/{\1}"),
)


def _encoders(theirs: str, ours: str) -> Names:
    encoder, layer = rf"{theirs}\.(\d)", rf"{theirs}\.(\d)\.bert\.encoder\.layer\.(\d+)"
    to_encoder, to_layer = rf"{ours}/encoder_\1", rf"{ours}/encoder_\1/layer_\2"
    return (
        (rf"{encoder}\.bert\.img_embedding", f"{to_encoder}/embedding"),
        (rf"{encoder}\.cls_head", f"{to_encoder}/head"),
        (rf"{encoder}\.residual", f"{to_encoder}/residual"),
        (rf"{layer}\.attention\.self\.(query|key|value)", rf"{to_layer}/attention/\3"),
        (rf"{layer}\.attention\.output\.dense", f"{to_layer}/attention/output"),
        (rf"{layer}\.attention\.output\.LayerNorm", f"{to_layer}/attention_norm"),
        (rf"{layer}\.intermediate\.dense", f"{to_layer}/intermediate"),
        (rf"{layer}\.output\.dense", f"{to_layer}/output"),
        (rf"{layer}\.output\.LayerNorm", f"{to_layer}/output_norm"),
    )


def _regressor(part: str, ours: str) -> Names:
    blocks = rf"{part}_param_regressor\.regressor"
    parts = {"0": "inner", "1": "inner_norm", "3": "outer", "4": "outer_norm"}
    return (
        (rf"{blocks}\.0\.fc_block\.0", f"{ours}/mlp/block_1"),
        (rf"{blocks}\.0\.fc_block\.1", f"{ours}/mlp/block_1_norm"),
        *(
            (rf"{blocks}\.{i}\.fc_block\.{k}", f"{ours}/mlp/block_{i + 1}_{name}")
            for i in (1, 2)
            for k, name in parts.items()
        ),
        (rf"{blocks}\.3", f"{ours}/mlp/output"),
    )


# The authors' whole network, after `official_weights` has counted its encoders from 0 and reduced
# the convolution `conv_learn_tokens` to a matrix.
OFFICIAL: Names = (
    *((rf"backbone\.{theirs}", f"backbone/{ours}") for theirs, ours in HRNET),
    (r"conv_learn_tokens", "token_upsampling"),
    *_encoders("trans_encoder", "mesh_net"),
    (r"hand_upsampling", "mesh_net/hand_upsampling/*_1"),
    (r"head_upsampling1", "mesh_net/head_upsampling/*_2"),
    (r"head_upsampling2", "mesh_net/head_upsampling/*_1"),
    (r"feat_downsampler", "interaction_net/projection"),
    *_encoders("deform_encoder", "interaction_net"),
    (r"head_deform_upsampling1", "interaction_net/deformation_upsampling/*_2"),
    (r"head_deform_upsampling2", "interaction_net/deformation_upsampling/*_1"),
    (r"hand_contact_upsampling", "interaction_net/hand_contact_upsampling/*_1"),
    (r"head_contact_upsampling1", "interaction_net/head_contact_upsampling/*_2"),
    (r"head_contact_upsampling2", "interaction_net/head_contact_upsampling/*_1"),
    *_regressor("hand", "hand_ik"),
    *_regressor("face", "head_ik"),
    (r"cam_param_fc", "camera/per_token"),
    (r"cam_param_fc2", "camera/hidden"),
    (r"cam_param_fc3", "camera/output"),
    (r"contact_feat_extractor\.0", "presence/hidden_0"),
    (r"contact_feat_extractor\.2", "presence/hidden_1"),
    (r"contact_feat_extractor\.4", "presence/per_cell"),
    (r"contact_classifier\.0", "presence/output"),
)


class Renamed(NamedTuple):
    """Renamed weights.

    Attributes:
        variables: arrays under "params/..." and "batch_stats/...".
        sources: the old name of each of them.
        unknown: old names that no pattern matches.
    """

    variables: dict[str, np.ndarray]
    sources: dict[str, str]
    unknown: list[str]


def rename(state: Mapping[str, np.ndarray], names: Names) -> Renamed:
    """Renames and transposes all tensors of a state dict.

    Scale and bias of a norm become parameters, its mean and variance statistics. The counters of
    batch norm are dropped.
    """
    result = Renamed({}, {}, [])
    for key, value in state.items():
        module, _, weight = key.removeprefix("module.").rpartition(".")
        if weight == COUNTER:
            continue
        path = _path(module, names)
        if path is None or weight not in ("weight", "bias", "running_mean", "running_var"):
            result.unknown.append(key)
            continue
        collection, name, value = _weight(weight, value)
        ours = f"{collection}/{path.replace('*', name) if '*' in path else f'{path}/{name}'}"
        result.variables[ours], result.sources[ours] = value, key
    return result


def _path(module: str, names: Names) -> str | None:
    for pattern, ours in names:
        if match := re.fullmatch(pattern, module):
            return match.expand(ours).replace("{0}", "conv").replace("{1}", "bn")
    return None


def _weight(weight: str, value: np.ndarray) -> tuple[str, str, np.ndarray]:
    """Collection, name and value of a weight in Flax."""
    if weight.startswith("running_"):
        return "batch_stats", weight.removeprefix("running_"), value
    if weight == "bias":
        return "params", "bias", value
    if value.ndim == 1:
        return "params", "scale", value
    return "params", "kernel", value.transpose(2, 3, 1, 0) if value.ndim == 4 else value.T
