"""The paper's ablation with a single branch, and the baselines of its Table 1."""

from dice_jax.models.baselines.fastmetro import FastMETRO
from dice_jax.models.baselines.metro import METRO
from dice_jax.models.baselines.pixie_r import PixieR
from dice_jax.models.baselines.single_branch import SingleBranch

__all__ = ["METRO", "FastMETRO", "PixieR", "SingleBranch"]
