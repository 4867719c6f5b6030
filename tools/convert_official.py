"""`python -m tools.convert_official` is `python -m dice_jax.tools.convert_official`."""

import runpy

runpy.run_module("dice_jax.tools.convert_official", run_name="__main__", alter_sys=True)
