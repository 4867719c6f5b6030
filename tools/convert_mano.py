"""`python -m tools.convert_mano` is `python -m dice_jax.tools.convert_mano`."""

import runpy

runpy.run_module("dice_jax.tools.convert_mano", run_name="__main__", alter_sys=True)
