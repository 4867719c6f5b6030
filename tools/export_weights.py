"""`python -m tools.export_weights` is `python -m dice_jax.tools.export_weights`."""

import runpy

runpy.run_module("dice_jax.tools.export_weights", run_name="__main__", alter_sys=True)
