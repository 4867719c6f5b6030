"""Converts the authors' weights: reads sizes from the file, maps names, checks every tensor.

Two kinds of entries are not converted: those that the authors' network never uses (`_UNUSED`), and
the rows of its position tables beyond the number of tokens.
"""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from dice_jax.body_models import assets
from dice_jax.checkpoints import torch_names
from dice_jax.constants import CROP_SIZE, HAND_LEVELS, HEAD_LEVELS
from dice_jax.errors import UserError
from dice_jax.models.backbones.hrnet import HRNet
from dice_jax.models.config import BackboneConfig, EncodersConfig, IKNetConfig, ModelConfig
from dice_jax.models.layers.tokens import NUM_TOKENS
from dice_jax.models.presets import release_config
from dice_jax.untrusted_files.torch_module import Saved

# BERT's word embeddings and poolers, and HRNet's classifier.
_UNUSED = re.compile(
    r"\w+_encoder\.\d\.bert\.(embeddings\..+|pooler\.dense\.\w+)|(backbone\.)?classifier\.\w+"
)
_DEFAULT_HEADS = 4


class Converted(NamedTuple):
    """A converted network.

    Attributes:
        config: of the network here.
        variables: its weights, {"params": ..., "batch_stats": ...}.
        left_out: in words, everything in the file that was not converted.
        notes: assumptions that were made.
    """

    config: ModelConfig | BackboneConfig
    variables: dict[str, Any]
    left_out: list[str]
    notes: list[str]


class MismatchError(UserError):
    """Tensors do not fit the network that the file seems to hold.

    Attributes:
        problems: one line for each of these tensors.
    """

    def __init__(self, what: str, problems: list[str]):
        super().__init__(f"{what}: {len(problems)} tensors do not fit, first {problems[0]}")
        self.problems = problems


def convert_network(saved: Saved, heads: int | None = None) -> Converted:
    """Converts the authors' network.

    Args:
        saved: from `torch_module.read_module`: their pickled module, or its state dict.
        heads: number of attention heads, which a state dict does not contain; None: four.

    Raises:
        UserError: another network; a `MismatchError` if single tensors do not fit.
    """
    state, unused = split_unused(normalize_names(saved.state))
    heads_by_encoder, notes = _attention_heads(saved, heads)
    try:
        config = network_config(state, heads_by_encoder)
    except KeyError as error:
        raise UserError(f"this is not the authors' network: there is no {error.args[0]}") from None
    except IndexError:
        raise UserError("this is not the authors' network: some weights are not matrices") from None

    positions = {
        key: state.pop(key)
        for key in list(state)
        if key.endswith("bert.position_embeddings.weight")
    }
    mix = state.get("conv_learn_tokens.weight")
    if mix is not None and mix.ndim == 3:  # a convolution of size 1, here a matrix
        state["conv_learn_tokens.weight"] = mix[..., 0]
    renamed = torch_names.rename(state, torch_names.OFFICIAL)
    nets = {"trans_encoder": "mesh_net", "deform_encoder": "interaction_net"}
    left_out = [*unused, *_counters(state)]
    for key, table in positions.items():
        if len(table) > NUM_TOKENS:
            left_out.append(f"{key}, rows {NUM_TOKENS} to {len(table) - 1}: there are no tokens")
        encoder, index = key.split(".")[:2]
        name = f"params/{nets.get(encoder, encoder)}/encoder_{index}/position_embedding"
        renamed.variables[name], renamed.sources[name] = table[:NUM_TOKENS], key
    variables = _checked(renamed, weight_shapes(config), "the authors' network")
    return Converted(config, variables, left_out, notes)


def convert_hrnet(state: Mapping[str, np.ndarray]) -> Converted:
    """Converts a classification HRNet of any width: the authors' ImageNet weights, or timm's.

    Raises:
        UserError: another network; a `MismatchError` if single tensors do not fit.
    """
    state, unused = split_unused(
        {key.removeprefix("module."): value for key, value in state.items()}
    )
    try:
        config = hrnet_config(state)
    except KeyError as error:
        raise UserError(
            f"this is not a classification HRNet: there is no {error.args[0]}"
        ) from None
    renamed = torch_names.rename(state, torch_names.HRNET)
    variables = _checked(renamed, weight_shapes(config), "HRNet")
    return Converted(config, variables, [*unused, *_counters(state)], [])


def network_config(state: Mapping[str, np.ndarray], heads: Mapping[str, int]) -> ModelConfig:
    """Reads the configuration from the shapes in a state dict of the authors' network.

    Args:
        state: from `normalize_names` and `split_unused`.
        heads: attention heads of "trans_encoder" and "deform_encoder".

    Raises:
        KeyError: the entry of this name is missing.
        UserError: the sizes do not belong to such a network.
    """
    width = lambda key: state[f"{key}.weight"].shape[0]
    base = release_config()
    return dataclasses.replace(
        base,
        backbone=hrnet_config(state, "backbone."),
        mesh_net=dataclasses.replace(
            base.mesh_net, encoders=_encoders(state, "trans_encoder", heads)
        ),
        interaction_net=dataclasses.replace(
            base.interaction_net,
            projection=width("feat_downsampler"),
            encoders=_encoders(state, "deform_encoder", heads),
        ),
        hand_ik=_ik(base.hand_ik, state, "hand", HAND_LEVELS),
        head_ik=_ik(base.head_ik, state, "face", HEAD_LEVELS),
        camera=dataclasses.replace(base.camera, hidden=width("cam_param_fc2")),
        presence_hidden=(width("contact_feat_extractor.0"), width("contact_feat_extractor.2")),
    )


def hrnet_config(state: Mapping[str, np.ndarray], prefix: str = "") -> BackboneConfig:
    """Reads the configuration from the shapes in a state dict of an HRNet.

    Args:
        state: the state dict, or that of a network with an HRNet in it.
        prefix: of the names of the HRNet, such as "backbone.".

    Raises:
        KeyError: the entry of this name is missing.
    """
    blocks = re.compile(re.escape(prefix) + r"stage2\.0\.branches\.0\.(\d+)\.conv1\.weight")
    first = state[f"{prefix}stage2.0.branches.0.0.conv1.weight"]
    return BackboneConfig(
        width=first.shape[0],
        depth=sum(bool(blocks.fullmatch(key)) for key in state),
        features=state[f"{prefix}final_layer.0.weight"].shape[0],
    )


@functools.lru_cache(maxsize=4)
def weight_shapes(config: ModelConfig | BackboneConfig) -> dict[str, jax.ShapeDtypeStruct]:
    """Shapes and types of all weights of a network by name, without computing any."""
    images, inputs = jax.ShapeDtypeStruct((1, CROP_SIZE, CROP_SIZE, 3), jnp.float32), ()
    if isinstance(config, BackboneConfig):
        module = HRNet(config)
    else:
        module, queries = config.create(assets.load_hand(), assets.load_head())
        inputs = (queries,)
    shapes = jax.eval_shape(
        functools.partial(module.init, train=False), jax.random.key(0), images, *inputs
    )
    flat: dict[str, Any] = traverse_util.flatten_dict(shapes, sep="/")
    return flat


def normalize_names(state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Renames encoders to trans_encoder.0, .1, ..., and removes the prefix "module.".

    The authors' files count encoders as layer1, layer2, ... or as 0, 1, ...
    """
    state = {key.removeprefix("module."): value for key, value in state.items()}
    for encoder in ("trans_encoder", "deform_encoder"):
        children = {key.split(".")[1] for key in state if key.startswith(f"{encoder}.")}
        ordered = sorted(children, key=lambda name: (int("0" + re.sub(r"\D", "", name)), name))
        number = {name: str(i) for i, name in enumerate(ordered)}

        def renumber(key, encoder=encoder, number=number):
            first, _, rest = key.partition(".")
            child, _, rest = rest.partition(".")
            return f"{encoder}.{number[child]}.{rest}" if first == encoder else key

        state = {renumber(key): value for key, value in state.items()}
    return state


def split_unused(
    state: Mapping[str, np.ndarray],
) -> tuple[dict[str, np.ndarray], list[str]]:
    """Separates a state dict into used entries and the names of those never used."""
    unused = [key for key in state if _UNUSED.fullmatch(key)]
    return {key: value for key, value in state.items() if key not in set(unused)}, unused


def _counters(state: Mapping[str, np.ndarray]) -> list[str]:
    """One line for the counters of batch norms, which only PyTorch's momentum needs."""
    count = sum(key.endswith(f".{torch_names.COUNTER}") for key in state)
    return [f"{count} counters of batch norms (*.{torch_names.COUNTER})"] if count else []


def _attention_heads(saved: Saved, given: int | None) -> tuple[dict[str, int], list[str]]:
    """Attention heads of "trans_encoder" and "deform_encoder", and assumptions about them.

    A pickled module has this number as an attribute, a state dict has not.
    """
    found: dict[str, set[int]] = {"trans_encoder": set(), "deform_encoder": set()}
    for path, attributes in saved.modules.items():
        encoder = next((name for name in found if name in path.split(".")), None)
        if encoder and isinstance(attributes.get("num_attention_heads"), int):
            found[encoder].add(attributes["num_attention_heads"])
    for encoder, counts in found.items():
        if len(counts) > 1:
            raise UserError(
                f"the layers of {encoder} have {sorted(counts)} attention heads: "
                "different numbers are not supported"
            )
    heads = {
        encoder: min(counts, default=given or _DEFAULT_HEADS) for encoder, counts in found.items()
    }
    if given or all(found.values()):
        return heads, []
    return heads, [f"{_DEFAULT_HEADS} attention heads, which a state dict does not contain"]


def _encoders(
    state: Mapping[str, np.ndarray], name: str, heads: Mapping[str, int]
) -> EncodersConfig:
    weight = lambda key: state[f"{name}.{key}.weight"]
    count = len({key.split(".")[1] for key in state if key.startswith(f"{name}.")})
    indices = range(max(count, 1))
    layers = re.compile(rf"{name}\.(\d+)\.bert\.encoder\.layer\.(\d+)\..+")
    found = {match.groups() for key in state if (match := layers.fullmatch(key))}
    wide = {weight(f"{i}.bert.encoder.layer.0.intermediate.dense").shape[0] for i in indices}
    if len(wide) > 1:
        raise UserError(
            f"the feed-forward layers of {name} have widths {sorted(wide)}: "
            "different widths are not supported"
        )
    hidden = tuple(weight(f"{i}.bert.img_embedding").shape[0] for i in indices)
    if any(width % heads[name] for width in hidden):
        raise UserError(f"{name}: {heads[name]} attention heads do not divide its widths {hidden}")
    return EncodersConfig(
        hidden=hidden,
        outputs=tuple(weight(f"{i}.cls_head").shape[0] for i in indices[:-1]),
        layers=tuple(sum(encoder == str(i) for encoder, _ in found) for i in indices),
        feed_forward=wide.pop(),
        heads=heads[name],
    )


def _ik(
    base: IKNetConfig, state: Mapping[str, np.ndarray], part: str, counts: tuple[int, ...]
) -> IKNetConfig:
    first = state[f"{part}_param_regressor.regressor.0.fc_block.0.weight"]
    vertices = first.shape[1] // 3
    if vertices not in counts:
        raise UserError(
            f"{part}_param_regressor has {first.shape[1]} inputs: "
            f"meshes here have {counts} vertices"
        )
    return dataclasses.replace(base, hidden=first.shape[0], level=counts.index(vertices))


def _checked(
    renamed: torch_names.Renamed, wanted: Mapping[str, jax.ShapeDtypeStruct], what: str
) -> dict[str, Any]:
    """The variables in float32.

    Raises:
        MismatchError: tensors are unknown, missing, of another shape, or not finite.
    """
    found, sources = renamed.variables, renamed.sources
    problems = [f"{key} is unknown" for key in renamed.unknown]
    problems += [f"{sources[name]} is unknown ({name})" for name in found if name not in wanted]
    problems += [f"{name} is missing" for name in wanted if name not in found]
    for name in (name for name in wanted if name in found):
        if found[name].shape != wanted[name].shape:
            shapes = f"shape {found[name].shape}, wanted {wanted[name].shape}"
            problems.append(f"{sources[name]} has, as {name}, {shapes}")
        elif not np.isfinite(found[name].astype(np.float32)).all():
            problems.append(f"{sources[name]} holds NaN or infinity")
    if problems:
        raise MismatchError(what, problems)
    variables = {name: np.ascontiguousarray(found[name], np.float32) for name in wanted}
    return traverse_util.unflatten_dict(variables, sep="/")
