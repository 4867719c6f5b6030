"""`python -m tools.data_card` is `python -m dice_jax.tools.data_card`."""

import runpy

runpy.run_module("dice_jax.tools.data_card", run_name="__main__", alter_sys=True)
