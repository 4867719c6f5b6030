"""The authors' weights as ours: sizes read off the file, names mapped, every tensor accounted for.

Two kinds of entries are left behind: those that the authors' network never uses (`_DEAD`), and the
rows of its position tables beyond the number of tokens.
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
from dice_jax.errors import UserError
from dice_jax.models.backbones.hrnet import HRNet
from dice_jax.models.config import BackboneConfig, EncodersConfig, ModelConfig
from dice_jax.models.layers.tokens import NUM_TOKENS
from dice_jax.models.presets import release_config
from dice_jax.untrusted_files.torch_module import Saved

# BERT's word embeddings and poolers, and HRNet's classifier.
_DEAD = re.compile(
    r"\w+_encoder\.\d\.bert\.(embeddings\..+|pooler\.dense\.\w+)|(backbone\.)?classifier\.\w+"
)
_DEFAULT_HEADS = 4
_HAND_COUNTS, _HEAD_COUNTS = (778, 195), (5023, 1675, 559)


class Converted(NamedTuple):
    """Attributes: `config` and `variables` of our network, `dead` the entries left behind, `notes`
    what was assumed.
    """

    config: ModelConfig | BackboneConfig
    variables: dict[str, Any]
    dead: list[str]
    notes: list[str]


class MismatchError(UserError):
    """The file is not the network that it seems to be; `problems` lists each tensor at fault, one
    line each.
    """

    def __init__(self, what: str, problems: list[str]):
        super().__init__(f"{what}: {len(problems)} tensors do not fit, first {problems[0]}")
        self.problems = problems


def convert_network(saved: Saved, heads: int | None = None) -> Converted:
    """Converts the authors' network.

    Args:
        saved: from `torch_module.read_module`: their pickled module, or its state dict.
        heads: attention heads, for a state dict, in which they leave no trace; None: four.

    Raises:
        UserError: another network; a `MismatchError` if single tensors do not fit.
    """
    state, dead = _split_dead(_normalize(saved.state))
    heads, notes = _heads(saved, heads)
    try:
        config = network_config(state, heads)
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
    if mix is not None and mix.ndim == 3:  # a convolution of size 1 is a matrix
        state["conv_learn_tokens.weight"] = mix[..., 0]
    renamed = torch_names.rename(state, torch_names.OFFICIAL)
    for key, table in positions.items():
        encoder, index = key.split(".")[:2]
        net = {"trans_encoder": "mesh_net", "deform_encoder": "interaction_net"}.get(
            encoder, encoder
        )
        ours = f"params/{net}/encoder_{index}/position_embedding"
        renamed.variables[ours], renamed.sources[ours] = table[:NUM_TOKENS], key

    return Converted(config, _fit(renamed, _shapes(config), "the authors' network"), dead, notes)


def convert_hrnet(state: Mapping[str, np.ndarray]) -> Converted:
    """Converts a classification HRNet of any width: the authors' ImageNet weights, or timm's.

    Raises:
        UserError: another network; a `MismatchError` if single tensors do not fit.
    """
    state, dead = _split_dead({key.removeprefix("module."): value for key, value in state.items()})
    try:
        config = hrnet_config(state)
    except KeyError as error:
        raise UserError(
            f"this is not a classification HRNet: there is no {error.args[0]}"
        ) from None
    renamed = torch_names.rename(state, torch_names.HRNET)
    return Converted(config, _fit(renamed, _shapes(config), "HRNet"), dead, [])


def network_config(state: Mapping[str, np.ndarray], heads: Mapping[str, int]) -> ModelConfig:
    """The configuration that a state of the authors' network asks for.

    Args:
        state: with encoders counted from 0 and no dead entries.
        heads: attention heads of "trans_encoder" and "deform_encoder".

    Raises:
        KeyError: an entry of their network is missing, naming it.
        UserError: sizes that no network of theirs has.
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
        hand_ik=_ik(base.hand_ik, state, "hand", _HAND_COUNTS),
        head_ik=_ik(base.head_ik, state, "face", _HEAD_COUNTS),
        camera=dataclasses.replace(base.camera, hidden=width("cam_param_fc2")),
        presence_hidden=(width("contact_feat_extractor.0"), width("contact_feat_extractor.2")),
    )


def hrnet_config(state: Mapping[str, np.ndarray], prefix: str = "") -> BackboneConfig:
    """The configuration of a saved HRNet; a `KeyError` names the entry that it lacks."""
    blocks = re.compile(re.escape(prefix) + r"stage2\.0\.branches\.0\.(\d+)\.conv1\.weight")
    first = state[f"{prefix}stage2.0.branches.0.0.conv1.weight"]
    return BackboneConfig(
        width=first.shape[0],
        depth=sum(bool(blocks.fullmatch(key)) for key in state),
        features=state[f"{prefix}final_layer.0.weight"].shape[0],
    )


@functools.lru_cache(maxsize=4)
def _shapes(config: ModelConfig | BackboneConfig) -> dict[str, jax.ShapeDtypeStruct]:
    """All weights of a network by name; nothing is computed."""
    images, inputs = jax.ShapeDtypeStruct((1, 224, 224, 3), jnp.float32), ()
    if isinstance(config, BackboneConfig):
        module = HRNet(config)
    else:
        module, queries = config.create(assets.load_hand(), assets.load_head())
        inputs = (queries,)
    shapes = jax.eval_shape(
        functools.partial(module.init, train=False), jax.random.key(0), images, *inputs
    )
    return traverse_util.flatten_dict(shapes, sep="/")


def _normalize(state):
    """Without `module.`, and with the encoders counted from 0, which the authors' files call
    layer1... or 0...
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


def _split_dead(state):
    dead = [key for key in state if _DEAD.fullmatch(key)]
    return {key: value for key, value in state.items() if key not in set(dead)}, dead


def _heads(saved, given):
    """Attention heads of both rows of encoders: a pickled module says how many, a state dict does
    not.
    """
    found: dict[str, set[int]] = {"trans_encoder": set(), "deform_encoder": set()}
    for path, attributes in saved.modules.items():
        encoder = next((name for name in found if name in path.split(".")), None)
        if encoder and isinstance(attributes.get("num_attention_heads"), int):
            found[encoder].add(attributes["num_attention_heads"])
    for encoder, counts in found.items():
        if len(counts) > 1:
            raise UserError(
                f"the layers of {encoder} have {sorted(counts)} attention heads: one number is supported"
            )
    heads = {
        encoder: min(counts, default=given or _DEFAULT_HEADS) for encoder, counts in found.items()
    }
    assumed = (
        []
        if given or all(found.values())
        else [f"{_DEFAULT_HEADS} attention heads, which a state dict cannot say"]
    )
    return heads, assumed


def _encoders(state, name, heads):
    weight = lambda key: state[f"{name}.{key}.weight"]
    count = len({key.split(".")[1] for key in state if key.startswith(f"{name}.")})
    indices = range(max(count, 1))
    layers = re.compile(rf"{name}\.(\d+)\.bert\.encoder\.layer\.(\d+)\..+")
    found = {match.groups() for key in state if (match := layers.fullmatch(key))}
    wide = {weight(f"{i}.bert.encoder.layer.0.intermediate.dense").shape[0] for i in indices}
    if len(wide) > 1:
        raise UserError(
            f"the feed-forward layers of {name} are {sorted(wide)} wide: one width is supported"
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


def _ik(base, state, part, counts):
    first = state[f"{part}_param_regressor.regressor.0.fc_block.0.weight"]
    vertices = first.shape[1] // 3
    if vertices not in counts:
        raise UserError(
            f"{part}_param_regressor takes {first.shape[1]} numbers: meshes here have {counts} vertices"
        )
    return dataclasses.replace(base, hidden=first.shape[0], level=counts.index(vertices))


def _fit(
    renamed: torch_names.Renamed, want: Mapping[str, jax.ShapeDtypeStruct], what: str
) -> dict[str, Any]:
    """The variables in float32, or a `MismatchError` that lists whatever is unknown, missing,
    mis-shaped or no number.
    """
    got, problems = renamed.variables, [f"{key} is unknown" for key in renamed.unknown]
    problems += [f"{renamed.sources[name]} is unknown ({name})" for name in got if name not in want]
    problems += [f"{name} is missing" for name in want if name not in got]
    for name in want:
        if name in got and got[name].shape != want[name].shape:
            shapes = f"shape {got[name].shape}, wanted {want[name].shape}"
            problems.append(f"{renamed.sources[name]} has, as {name}, {shapes}")
        elif name in got and not np.isfinite(got[name].astype(np.float32)).all():
            problems.append(f"{renamed.sources[name]} holds NaN or infinity")
    if problems:
        raise MismatchError(what, problems)
    return traverse_util.unflatten_dict(
        {name: np.ascontiguousarray(got[name], np.float32) for name in want}, sep="/"
    )
