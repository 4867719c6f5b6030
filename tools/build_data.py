"""`python -m tools.build_data` is `python -m dice_jax.tools.build_data`."""

import runpy

runpy.run_module("dice_jax.tools.build_data", run_name="__main__", alter_sys=True)
