"""L_params: the parameters of the two body models (paper sec. 3.3, app. C)."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Float

from dice_jax.array_types import Array
from dice_jax.structs import HandParams, HeadParams


def params_loss(
    hand: HandParams,
    head: HeadParams,
    target_hand: HandParams,
    target_head: HeadParams,
    *,
    head_divisor: float = 3.0,
    with_neck: bool = True,
) -> Float[Array, "*B"]:
    """L_params = (|beta_f| + |expression| + |theta_f|) / 3 + (|beta_h| + |theta_h|) / 2, L1 means.

    Global orientation and translation are left out: the vertices supervise them.

    Args:
        hand, head: predicted parameters (radians, model coefficients).
        target_hand, target_head: ground truth.
        head_divisor: the 3 (paper); 2 in the released code.
        with_neck: theta_f is neck and jaw (paper); otherwise the jaw alone (released code).
    """
    l1 = lambda name, prediction, target: jnp.mean(
        jnp.abs(getattr(prediction, name) - getattr(target, name)), axis=-1
    )
    head_pose = l1("jaw_pose", head, target_head)
    if with_neck:
        head_pose = (head_pose + l1("neck_pose", head, target_head)) / 2
    head_terms = l1("betas", head, target_head) + l1("expression", head, target_head) + head_pose
    hand_terms = l1("betas", hand, target_hand) + l1("hand_pose", hand, target_hand)
    return head_terms / head_divisor + hand_terms / 2.0
