"""The authors' network in PyTorch, for tests of parity and of the conversion of its weights.

It is written from its specification, with the authors' class and parameter names. Unused parts
(BERT's word embeddings and poolers, HRNet's classifier) are included, because the files have their
weights. `Sizes()` are the authors' sizes; other sizes change no name.
"""

from __future__ import annotations

import contextlib
import dataclasses
import sys
import types
import warnings

import torch
from torch import nn
from torch.nn import functional as F

from dice_jax.constants import HAND_LEVELS, HEAD_LEVELS
from support.torch_hrnet import BasicBlock, Bottleneck, HighResolutionModule, HighResolutionNet


@dataclasses.dataclass(frozen=True)
class Sizes:
    """The sizes that a converter must find in the file."""

    width: int = 64
    depth: int = 4
    features: int = 2048
    mesh_hidden: tuple[int, ...] = (1024, 256, 128)
    mesh_outputs: tuple[int, ...] = (512, 128, 3)
    projection: int = 512
    deform_hidden: tuple[int, ...] = (256, 64)
    deform_outputs: tuple[int, ...] = (128, 4)
    layers: int = 4
    feed_forward: int = 3072
    heads: int = 4
    camera: int = 250
    presence: tuple[int, int] = (512, 64)
    ik: int = 1024
    vocabulary: int = 30522


NARROW = Sizes(
    width=4,
    depth=1,
    features=24,
    mesh_hidden=(16, 8, 12),
    mesh_outputs=(10, 8, 3),
    projection=14,
    deform_hidden=(12, 8),
    deform_outputs=(6, 4),
    layers=2,
    feed_forward=20,
    heads=2,
    camera=15,
    presence=(9, 7),
    ik=32,
    vocabulary=11,
)


################ Transformers ################


class FusedLayerNorm(nn.LayerNorm):
    """The class of apex that the authors' pickles refer to."""


class BertSelfAttention(nn.Module):
    def __init__(self, hidden, heads):
        super().__init__()
        self.num_attention_heads = heads
        self.query, self.key, self.value = (nn.Linear(hidden, hidden) for _ in range(3))

    def forward(self, x):
        q, k, v = (
            layer(x).unflatten(-1, (self.num_attention_heads, -1)).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        )
        weights = (q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5).softmax(-1)
        return (weights @ v).transpose(1, 2).flatten(2)


class BertOutput(nn.Module):
    """Layer norm of the sum of a linear layer and the residual."""

    def __init__(self, inputs, hidden):
        super().__init__()
        self.dense, self.LayerNorm = nn.Linear(inputs, hidden), FusedLayerNorm(hidden, eps=1e-12)

    def forward(self, x, residual):
        return self.LayerNorm(self.dense(x) + residual)


class BertLayer(nn.Module):
    def __init__(self, hidden, s: Sizes):
        super().__init__()
        self.attention = nn.ModuleDict(
            {"self": BertSelfAttention(hidden, s.heads), "output": BertOutput(hidden, hidden)}
        )
        self.intermediate = nn.ModuleDict({"dense": nn.Linear(hidden, s.feed_forward)})
        self.output = BertOutput(s.feed_forward, hidden)

    def forward(self, x):
        x = self.attention["output"](self.attention["self"](x), x)
        return self.output(F.gelu(self.intermediate["dense"](x)), x)


class METRO_Encoder(nn.Module):
    def __init__(self, inputs, hidden, s: Sizes):
        super().__init__()
        embeddings = {"word": s.vocabulary, "position": 512, "token_type": 2}
        self.embeddings = nn.ModuleDict(
            {
                **{
                    f"{name}_embeddings": nn.Embedding(rows, hidden)
                    for name, rows in embeddings.items()
                },
                "LayerNorm": FusedLayerNorm(hidden, eps=1e-12),
            }
        )
        self.encoder = nn.ModuleDict(
            {"layer": nn.ModuleList(BertLayer(hidden, s) for _ in range(s.layers))}
        )
        self.pooler = nn.ModuleDict({"dense": nn.Linear(hidden, hidden)})
        self.position_embeddings = nn.Embedding(1024, hidden)
        self.img_embedding = nn.Linear(inputs, hidden)

    def forward(self, x):
        x = self.img_embedding(x) + self.position_embeddings.weight[: x.shape[1]]
        for layer in self.encoder["layer"]:
            x = layer(x)
        return x


class METRO(nn.Module):
    def __init__(self, inputs, hidden, outputs, s: Sizes):
        super().__init__()
        self.bert = METRO_Encoder(inputs, hidden, s)
        self.cls_head, self.residual = nn.Linear(hidden, outputs), nn.Linear(inputs, outputs)

    def forward(self, x):
        return self.cls_head(self.bert(x)) + self.residual(x)


def encoders(inputs, hidden, outputs, s, digits):
    rows = zip((inputs, *outputs[:-1]), hidden, outputs, strict=True)
    names = (str(i) if digits else f"layer{i + 1}" for i in range(len(hidden)))
    result = nn.Sequential()
    for name, row in zip(names, rows, strict=True):
        result.add_module(name, METRO(*row, s))
    return result


################ The network ################


class FCBlock(nn.Module):
    def __init__(self, inputs, hidden):
        super().__init__()
        self.fc_block = nn.Sequential(nn.Linear(inputs, hidden), nn.BatchNorm1d(hidden), nn.ReLU())

    def forward(self, x):
        return self.fc_block(x)


class FCResBlock(nn.Module):
    def __init__(self, hidden):
        super().__init__()
        self.fc_block = nn.Sequential(
            nn.Linear(hidden, hidden),
            nn.BatchNorm1d(hidden),
            nn.ReLU(),
            nn.Linear(hidden, hidden),
            nn.BatchNorm1d(hidden),
        )

    def forward(self, x):
        return F.relu(x + self.fc_block(x))


class ParamRegressor(nn.Module):
    def __init__(self, inputs, hidden, outputs):
        super().__init__()
        blocks = FCBlock(inputs, hidden), FCResBlock(hidden), FCResBlock(hidden)
        self.regressor = nn.Sequential(*blocks, nn.Linear(hidden, outputs))

    def forward(self, vertices):
        return self.regressor(vertices.flatten(1))


class METRO_Decaf_Network_DeformBranch_Presence(nn.Module):
    def __init__(self, s: Sizes, digits: bool = False):
        super().__init__()
        self.backbone = HighResolutionNet(s.width, s.depth, s.features)
        self.trans_encoder = encoders(3 + s.features, s.mesh_hidden, s.mesh_outputs, s, digits)
        self.feat_downsampler = nn.Linear(3 + s.features, s.projection)
        self.deform_encoder = encoders(s.projection, s.deform_hidden, s.deform_outputs, s, digits)
        self.conv_learn_tokens = nn.Conv1d(49, 843, 1)
        for name, (coarse, fine) in {
            "hand_upsampling": (195, 778),
            "head_upsampling1": (559, 1675),
            "head_upsampling2": (1675, 5023),
            "head_deform_upsampling1": (559, 1675),
            "head_deform_upsampling2": (1675, 5023),
            "hand_contact_upsampling": (195, 778),
            "head_contact_upsampling1": (559, 1675),
            "head_contact_upsampling2": (1675, 5023),
        }.items():
            setattr(self, name, nn.Linear(coarse, fine))
        self.cam_param_fc, self.cam_param_fc2 = nn.Linear(3, 1), nn.Linear(843, s.camera)
        self.cam_param_fc3 = nn.Linear(s.camera, 3)
        self.hand_param_regressor = ParamRegressor(778 * 3, s.ik, 61)
        self.face_param_regressor = ParamRegressor(1675 * 3, s.ik, 162)
        a, b = s.presence
        self.contact_feat_extractor = nn.Sequential(
            nn.Linear(s.features, a), nn.ReLU(), nn.Linear(a, b), nn.ReLU(), nn.Linear(b, 1)
        )
        self.contact_classifier = nn.Sequential(nn.Linear(49, 1), nn.Sigmoid())

    def forward(self, images, queries):
        """Runs the network.

        Args:
            images: (B, 3, 224, 224) BGR, normalized.
            queries: (843, 3).

        Returns:
            The outputs of the network by name, in meters and pixels.
        """
        grid = self.backbone(images).flatten(2).transpose(1, 2)
        tokens = torch.cat([queries.expand(len(images), -1, -1), self.conv_learn_tokens(grid)], -1)
        positions = self.trans_encoder(tokens)
        hand_coarse, head_coarse = positions[:, 89:284], positions[:, 284:]
        hand = over_vertices(hand_coarse, self.hand_upsampling)
        head_mid = over_vertices(head_coarse, self.head_upsampling1)
        head = over_vertices(head_mid, self.head_upsampling2)

        x = self.deform_encoder(self.feat_downsampler(tokens))
        deformations = over_vertices(
            x[:, 284:, :3], self.head_deform_upsampling1, self.head_deform_upsampling2
        )
        hand_contact = over_vertices(x[:, 89:284, 3:], self.hand_contact_upsampling)
        head_contact = over_vertices(
            x[:, 284:, 3:], self.head_contact_upsampling1, self.head_contact_upsampling2
        )

        camera = self.cam_param_fc3(self.cam_param_fc2(self.cam_param_fc(positions)[..., 0]))
        presence = self.contact_classifier(self.contact_feat_extractor(grid)[..., 0])[:, 0]
        return {
            "positions": positions,
            "hand": hand,
            "head_mid": head_mid,
            "head": head,
            "hand_params": self.hand_param_regressor(hand),
            "head_params": self.face_param_regressor(head_mid),
            "scale": 10 * camera[:, 0].abs(),
            "transl": camera[:, 1:],
            "presence": presence,
            "deformations": deformations,
            "hand_contact": hand_contact[..., 0].sigmoid(),
            "head_contact": head_contact[..., 0].sigmoid(),
        }


def over_vertices(values, *layers):
    """Linear layers over the vertex axis."""
    for layer in layers:
        values = layer(values.transpose(1, 2)).transpose(1, 2)
    return values


################ Weights and files ################


def build(
    sizes: Sizes, digits: bool = False, seed: int = 0
) -> METRO_Decaf_Network_DeformBranch_Presence:
    """A network in evaluation mode with random weights and non-trivial norms."""
    torch.manual_seed(seed)
    model = METRO_Decaf_Network_DeformBranch_Presence(sizes, digits).eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            for tensor in (module.weight, module.running_var):
                nn.init.uniform_(tensor, 0.7, 1.3)
            for tensor in (module.bias, module.running_mean):
                nn.init.uniform_(tensor, -0.3, 0.3)
    return model


_PACKAGES = {
    "metro.modeling.bert.modeling_metro": (
        METRO_Decaf_Network_DeformBranch_Presence,
        METRO,
        METRO_Encoder,
    ),
    "metro.modeling.bert.modeling_bert": (BertLayer, BertSelfAttention, BertOutput),
    "metro.modeling.bert.param_regressor": (ParamRegressor, FCBlock, FCResBlock),
    "metro.modeling.hrnet.hrnet_cls_net_featmaps": (
        HighResolutionNet,
        HighResolutionModule,
        BasicBlock,
        Bottleneck,
    ),
    "apex.normalization.fused_layer_norm": (FusedLayerNorm,),
}


@contextlib.contextmanager
def authors_packages():
    """Puts the classes above into modules with the names that the authors' pickles refer to."""
    modules = {name: types.ModuleType(name) for name in _PACKAGES}
    homes = {cls: cls.__module__ for classes in _PACKAGES.values() for cls in classes}
    parents = {name.rsplit(".", k)[0] for name in modules for k in range(1, name.count(".") + 1)}
    added = {**{name: types.ModuleType(name) for name in parents}, **modules}
    sys.modules.update(added)
    try:
        for name, classes in _PACKAGES.items():
            for cls in classes:
                setattr(modules[name], cls.__name__, cls)
                cls.__module__ = name
        yield
    finally:
        for cls, home in homes.items():
            cls.__module__ = home
        for name in added:
            del sys.modules[name]


def save_module(model: nn.Module, path, *, zipped: bool = True) -> None:
    """Saves a whole module under the authors' class names."""
    # PyTorch warns that it finds no source code of those packages.
    with authors_packages(), warnings.catch_warnings(action="ignore"):
        torch.save(model, path, _use_new_zipfile_serialization=zipped)


def save_transforms(folder, selection: dict[str, list]) -> None:
    """Saves down-sampling matrices as the authors do: sparse matrices of float64 under "D"."""
    counts = {"hand": HAND_LEVELS, "head": HEAD_LEVELS}
    for part, all_ids in selection.items():
        matrices = []
        for ids, size in zip(all_ids, zip(counts[part][1:], counts[part]), strict=True):
            indices = torch.stack([torch.arange(len(ids)), torch.as_tensor(ids)])
            ones = torch.ones(len(ids)).double()
            matrix = torch.sparse_coo_tensor(indices, ones, size, check_invariants=True)
            matrices.append(matrix)
        transforms = {"A": [], "U": [], "D": matrices, "F": []}
        torch.save(transforms, folder / f"{part}_mesh_transforms.pt")
