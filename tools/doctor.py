"""`python -m tools.doctor` is `python -m dice_jax.tools.doctor`."""

import runpy

runpy.run_module("dice_jax.tools.doctor", run_name="__main__", alter_sys=True)
