"""`python -m tools.export_model` is `python -m dice_jax.tools.export_model`."""

import runpy

runpy.run_module("dice_jax.tools.export_model", run_name="__main__", alter_sys=True)
