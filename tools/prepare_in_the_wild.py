"""`python -m tools.prepare_in_the_wild` is `python -m dice_jax.tools.prepare_in_the_wild`."""

import runpy

runpy.run_module("dice_jax.tools.prepare_in_the_wild", run_name="__main__", alter_sys=True)
