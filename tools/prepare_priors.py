"""`python -m tools.prepare_priors` is `python -m dice_jax.tools.prepare_priors`."""

import runpy

runpy.run_module("dice_jax.tools.prepare_priors", run_name="__main__", alter_sys=True)
