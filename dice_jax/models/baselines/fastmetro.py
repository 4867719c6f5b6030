"""FastMETRO* of the paper's Table 1: two FastMETROs (Cho et al. 2022) without exchange.

One estimates the hand and its contact, the other the head, its deformation and its contact. Each
has a backbone of its own. Their tokens are learned and have no image features; they attend to the
grid of image features. This version has no adjacency mask, and a learned position for each grid
cell. "*" is the parametric version: IKNets predict the parameters from the meshes.
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Float

from dice_jax.array_types import Array
from dice_jax.models.baselines.metro import zero_params
from dice_jax.models.baselines.single_branch import interaction_of
from dice_jax.models.config import EncodersConfig
from dice_jax.models.interaction_net import NUM_OUTPUTS
from dice_jax.models.layers import tokens as layout
from dice_jax.models.layers.as_module import AsModule
from dice_jax.models.layers.attention import attention
from dice_jax.models.layers.dropout import Dropout
from dice_jax.models.layers.initializers import bert_normal
from dice_jax.models.layers.tokens import NUM_TOKENS
from dice_jax.models.layers.transformer import EncoderLayer, dense, layer_norm, split_heads
from dice_jax.models.mesh_net import MeshNetOutput, upsample_meshes
from dice_jax.models.network import Network
from dice_jax.models.preprocess import rgb_to_bgr
from dice_jax.structs import Detections, Intrinsics, NetworkOutput


class FastMETRO(Network):
    """Two independent encoder-decoders, of the hand and of the head; IKNets with `parametric`.

    The camera and the presence of contact, if any, belong to the network of the head.
    """

    @nn.compact
    def __call__(
        self,
        images: Float[Array, "B 224 224 3"],
        queries: Float[Array, "843 3"],
        detections: Detections | None = None,
        intrinsics: Intrinsics | None = None,
        *,
        train: bool,
    ) -> NetworkOutput:
        """Runs both networks, see `Network.__call__`; they have no use for `queries`."""
        config = self.config
        image = self.encode_image(images, queries, train=train)
        backbone = config.backbone.create(
            self.dtype,
            self.axis_name,
            fold_batch_norm=self.fold_batch_norm,
            name="hand_backbone",
        )
        seen = rgb_to_bgr(images) if config.channels == "bgr" else images
        hand_grid = backbone(seen, train=train).features
        grids = hand_grid.reshape(image.grid.shape), image.grid
        part = layout.PART_OF_TOKEN
        outputs = jnp.zeros((images.shape[0], NUM_TOKENS, 3 + NUM_OUTPUTS))
        for number, (name, grid) in enumerate(zip(("hand_net", "head_net"), grids)):
            own = np.flatnonzero(part == number)
            of_part = AsModule(encode_cross, name=name)(
                config.mesh_net.encoders,
                3 + NUM_OUTPUTS,
                grid,
                count=len(own),
                train=train,
                dtype=self.dtype,
                axis_name=self.axis_name,
            )
            outputs = outputs.at[:, own].set(of_part)

        positions = config.mesh_net.position_scale * outputs[..., :3]
        rough = AsModule(upsample_meshes, name="mesh_net")(
            positions,
            config.mesh_net.keypoint_order,
            config.upsampling,
            self.hand_levels,
            self.head_levels,
        )
        mesh = MeshNetOutput(positions, rough, outputs[..., 3:])
        interaction = interaction_of(self, mesh)
        parametric = config.parametric
        params = self.regress_params(mesh, train=train) if parametric else zero_params(images)
        of_head = jnp.where(jnp.asarray(part == 1)[None, :, None], positions, 0.0)
        return NetworkOutput(
            rough=mesh.rough,
            hand_params=params.hand,
            head_params=params.head,
            head_root=params.head_root,
            camera=self.regress_camera(image, of_head),
            deformations=interaction.deformations,
            contact_logits=interaction.contact_logits,
            presence_logit=self.presence_logit(image),
            heatmaps=image.heatmaps,
            parametric=parametric,
        )


class DecoderLayer(nn.Module):
    """Cross-attention from the tokens to a memory, then a BERT layer; post-norm."""

    config: EncodersConfig
    dtype: DTypeLike = jnp.float32
    axis_name: str | None = None

    @nn.compact
    def __call__(
        self, x: Float[Array, "B N C"], memory: Float[Array, "B M C"], train: bool
    ) -> Float[Array, "B N C"]:
        width = x.shape[-1]
        query, key, value = (
            split_heads(dense(width, self.dtype, name)(source), self.config.heads)
            for name, source in (("query", x), ("key", memory), ("value", memory))
        )
        mixed = attention(query, key, value).reshape(x.shape)
        mixed = dense(width, self.dtype, "cross_output")(mixed)
        mixed = Dropout(self.config.dropout, self.axis_name)(mixed, train=train)
        x = layer_norm("cross_norm")(x + mixed).astype(self.dtype)
        return EncoderLayer(self.config, self.dtype, self.axis_name, name="self")(x, train)


def encode_cross(
    config: EncodersConfig,
    features: int,
    grid: Float[Array, "B G C"],
    *,
    count: int = NUM_TOKENS,
    train: bool,
    dtype: DTypeLike = jnp.float32,
    axis_name: str | None = None,
) -> Float[Array, "B {count} {features}"]:
    """FastMETRO's transformer; its layers become children of the calling module.

    Each stage projects grid and tokens to its width, runs encoder layers on the grid, and then as
    many decoder layers from the tokens to the grid. `config.outputs` is not used.

    Returns:
        `features` numbers for each token, float32.
    """
    stages = list(zip(config.hidden, config.layers, strict=True))
    embed = lambda count, name: nn.Embed(count, stages[0][0], name=name, embedding_init=bert_normal)
    memory, x = grid, None
    for stage, (hidden, layers) in enumerate(stages):
        memory = dense(hidden, dtype, f"grid_{stage}")(memory)
        if x is None:
            memory = memory + embed(memory.shape[1], "grid_positions").embedding[None]
            table = embed(count, "tokens").embedding.astype(dtype)
            x = jnp.broadcast_to(table, (memory.shape[0], *table.shape))
        else:
            x = dense(hidden, dtype, f"tokens_{stage}")(x)
        memory = memory.astype(dtype)
        for k in range(layers):
            layer = EncoderLayer(config, dtype, axis_name, name=f"encoder_{stage}_{k}")
            memory = layer(memory, train)
        for k in range(layers):
            layer = DecoderLayer(config, dtype, axis_name, name=f"decoder_{stage}_{k}")
            x = layer(x, memory, train)
    init = nn.initializers.normal(config.output_std)
    return nn.Dense(features, kernel_init=init, dtype=dtype, name="head")(x).astype(jnp.float32)
