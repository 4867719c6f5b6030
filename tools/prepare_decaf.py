"""`python -m tools.prepare_decaf` is `python -m dice_jax.tools.prepare_decaf`."""

import runpy

runpy.run_module("dice_jax.tools.prepare_decaf", run_name="__main__", alter_sys=True)
