"""`python -m tools.convert_flame` is `python -m dice_jax.tools.convert_flame`."""

import runpy

runpy.run_module("dice_jax.tools.convert_flame", run_name="__main__", alter_sys=True)
