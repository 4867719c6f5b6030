"""`python -m tools.convert_hrnet` is `python -m dice_jax.tools.convert_hrnet`."""

import runpy

runpy.run_module("dice_jax.tools.convert_hrnet", run_name="__main__", alter_sys=True)
