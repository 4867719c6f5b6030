"""`python -m tools.run_ablations` is `python -m dice_jax.tools.run_ablations`."""

import runpy

runpy.run_module("dice_jax.tools.run_ablations", run_name="__main__", alter_sys=True)
